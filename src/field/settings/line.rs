//! core: what a plain serial line is run with: where its frames end, what protects them, and where values stand in them.

use std::sync::Arc;
use std::time::Duration;

use crc::Algorithm;

use super::pattern::Pattern;
use super::{Order, SerialSettings, TcpSettings};

/// A line whose devices speak no protocol that is known here: one task, one port.
#[derive(Debug, Clone, PartialEq)]
pub struct LineSettings {
    /// The key under `buses`.
    pub name: Arc<str>,
    /// What carries the bytes.
    pub port: LinePort,
    /// Where a frame begins and ends.
    pub frame: FrameSettings,
    /// What says whether a frame is as it was sent; `None` when nothing does.
    pub checksum: Option<ChecksumSettings>,
    /// How long a device that is asked has for its answer.
    pub timeout: Duration,
    /// How long devices that speak by themselves may say nothing; `None` for as long as they like.
    pub silent_after: Option<Duration>,
}

/// What carries the bytes of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinePort {
    /// A serial port.
    Serial(SerialSettings),
    /// A converter that passes bytes on.
    Tcp(TcpSettings),
}

/// Where a frame begins and ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameSettings {
    /// The bytes each frame begins with; empty when there are none.
    pub starts_with: Arc<[u8]>,
    /// What ends it.
    pub end: FrameEnd,
    /// Bytes of a frame, at most, 1 to 65,536.
    pub bytes_max: usize,
}

/// What ends a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameEnd {
    /// These bytes, at least one, and as many more behind them.
    Mark {
        /// The bytes.
        mark: Arc<[u8]>,
        /// How many bytes follow them: a checksum, for example.
        tail: usize,
    },
    /// It has this many bytes, all counted.
    Length(usize),
    /// A number in the frame says how long it is.
    Field {
        /// Where the number stands, from 0.
        at: usize,
        /// Bytes of the number, 1 or 2.
        size: usize,
        /// Which of two comes first.
        order: Order,
        /// What the number does not count.
        adds: usize,
    },
    /// Nothing comes for this long.
    Silence(Duration),
}

/// What says whether a frame is as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumSettings {
    /// Exclusive or of what stands between `$` or `!` and `*`, as two hexadecimal digits behind that (NMEA 0183).
    Nmea,
    /// A sum over a part of the frame. Positions below 0 count from its end: -1 is the last byte.
    Range {
        /// How it is calculated.
        sum: Sum,
        /// The first byte that it covers.
        from: i32,
        /// The first byte behind what it covers.
        to: i32,
        /// Where it stands.
        at: i32,
        /// How it is written there.
        written: Written,
    },
}

/// How a checksum is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// As bytes, in this order.
    Bytes(Order),
    /// As hexadecimal digits, two for each byte.
    Hex,
}

/// How a checksum is calculated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sum {
    /// Exclusive or of all bytes, often called BCC.
    Xor,
    /// The sum of all bytes, its lowest eight bits.
    Sum8,
    /// The sum of all bytes, its lowest sixteen bits.
    Sum16,
    /// What makes the sum of all bytes 0: its two's complement.
    Lrc,
    /// A cyclic redundancy check of eight bits.
    Crc8(&'static Algorithm<u8>),
    /// One of sixteen.
    Crc16(&'static Algorithm<u16>),
    /// One of thirty-two.
    Crc32(&'static Algorithm<u32>),
}

impl Sum {
    /// Each with its name in the configuration; those of CRCs are the names of the catalogue of parametrised CRC
    /// algorithms (reveng), with `-` for `/`.
    pub const NAMES: [(&'static str, Self); 23] = [
        ("xor", Self::Xor),
        ("sum8", Self::Sum8),
        ("sum16", Self::Sum16),
        ("lrc", Self::Lrc),
        ("crc-8-smbus", Self::Crc8(&crc::CRC_8_SMBUS)),
        ("crc-8-maxim-dow", Self::Crc8(&crc::CRC_8_MAXIM_DOW)),
        ("crc-8-rohc", Self::Crc8(&crc::CRC_8_ROHC)),
        ("crc-8-nrsc-5", Self::Crc8(&crc::CRC_8_NRSC_5)),
        ("crc-16-modbus", Self::Crc16(&crc::CRC_16_MODBUS)),
        ("crc-16-arc", Self::Crc16(&crc::CRC_16_ARC)),
        ("crc-16-ibm-3740", Self::Crc16(&crc::CRC_16_IBM_3740)),
        ("crc-16-ibm-sdlc", Self::Crc16(&crc::CRC_16_IBM_SDLC)),
        ("crc-16-xmodem", Self::Crc16(&crc::CRC_16_XMODEM)),
        ("crc-16-kermit", Self::Crc16(&crc::CRC_16_KERMIT)),
        ("crc-16-spi-fujitsu", Self::Crc16(&crc::CRC_16_SPI_FUJITSU)),
        ("crc-16-usb", Self::Crc16(&crc::CRC_16_USB)),
        ("crc-16-maxim-dow", Self::Crc16(&crc::CRC_16_MAXIM_DOW)),
        ("crc-16-dnp", Self::Crc16(&crc::CRC_16_DNP)),
        ("crc-16-en-13757", Self::Crc16(&crc::CRC_16_EN_13757)),
        ("crc-32-iso-hdlc", Self::Crc32(&crc::CRC_32_ISO_HDLC)),
        ("crc-32-bzip2", Self::Crc32(&crc::CRC_32_BZIP2)),
        ("crc-32-mpeg-2", Self::Crc32(&crc::CRC_32_MPEG_2)),
        ("crc-32-iscsi", Self::Crc32(&crc::CRC_32_ISCSI)),
    ];

    /// How many bytes it has: 1, 2 or 4.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::Xor | Self::Sum8 | Self::Lrc | Self::Crc8(_) => 1,
            Self::Sum16 | Self::Crc16(_) => 2,
            Self::Crc32(_) => 4,
        }
    }
}

/// How a point takes its value out of a frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Pick {
    /// Where the value stands.
    pub from: PickFrom,
    /// Only frames in which this is found are for the point.
    pub when: Option<Pattern>,
    /// What the device is asked with; `None` when it speaks by itself.
    pub send: Option<Arc<[u8]>>,
    /// Texts, or numbers, that stand for no value. Packed numbers have markers instead.
    pub invalid: Vec<Arc<str>>,
    /// Whether numbers are written as `1.234,5`.
    pub decimal_comma: bool,
}

/// Where a value stands in a frame.
#[derive(Debug, Clone, PartialEq)]
pub enum PickFrom {
    /// What a group of a regular expression takes. For a bit: whether the group takes part in what is found.
    Match {
        /// The expression.
        pattern: Pattern,
        /// The number of the group; 0 for all that is found.
        group: usize,
    },
    /// Fixed columns: bytes from the first to the last, counted from 0, the last one included.
    Characters {
        /// The first.
        first: usize,
        /// The last.
        last: usize,
    },
    /// A column between separators, counted from 0.
    Column {
        /// Which.
        index: usize,
        /// What stands between two.
        separator: u8,
    },
    /// A JSON pointer (RFC 6901) into a frame that is a JSON text.
    Json(Arc<str>),
    /// Packed bytes of the type of the point.
    Bytes {
        /// The first byte, from 0.
        at: usize,
        /// Which byte of a number comes first.
        order: Order,
    },
}

impl PickFrom {
    /// Whether the value is written as text.
    #[must_use]
    pub fn is_text(&self) -> bool {
        !matches!(self, Self::Bytes { .. })
    }
}

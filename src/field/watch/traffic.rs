//! core: what passed on a bus as a person reads it: frame by frame, with time, direction and words.

use std::time::Duration;

use super::ring::{Kind, Record, RingCopy};
use crate::field::PortSettings;
use crate::field::modbus::scribe::Scribe;

/// A wall clock that is off by more than this from what the monotonic clock says was stepped.
const STEP_US: u64 = 5_000;

/// How frames are wrapped on a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Modbus RTU.
    Rtu,
    /// Modbus ASCII.
    Ascii,
    /// Modbus TCP, a stream.
    Tcp,
    /// The same in datagrams.
    Udp,
    /// No Modbus.
    Plain,
}

impl Framing {
    /// What comes within this time of each other belongs together, as far as that can be known without looking at it: a USB
    /// adapter holds bytes back for 16 ms, and a busy machine takes them late. Datagrams stand for themselves.
    #[must_use]
    pub fn burst_gap(self) -> Option<Duration> {
        match self {
            // Nobody speaks by himself there.
            Self::Rtu | Self::Ascii | Self::Tcp => Some(Duration::from_millis(100)),
            Self::Plain => Some(Duration::from_millis(25)),
            Self::Udp => None,
        }
    }

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Rtu => "rtu",
            Self::Ascii => "ascii",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Plain => "plain",
        }
    }

    /// The framing with this word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        let all = [Self::Rtu, Self::Ascii, Self::Tcp, Self::Udp, Self::Plain];
        all.into_iter().find(|framing| framing.word() == word)
    }
}

impl From<&PortSettings> for Framing {
    fn from(port: &PortSettings) -> Self {
        match port {
            PortSettings::Rtu(_) | PortSettings::RtuOverTcp(_) => Self::Rtu,
            PortSettings::Ascii(_) | PortSettings::AsciiOverTcp(_) => Self::Ascii,
            PortSettings::Tcp(_) | PortSettings::Tls(..) => Self::Tcp,
            PortSettings::Udp(_) => Self::Udp,
        }
    }
}

/// One frame, or a stretch of bytes that is none, or a word about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// The number of the record it stood in; several may have one.
    pub number: u64,
    /// Which way it went, or what else it is.
    pub kind: Kind,
    /// By the wall clock, in microseconds since the Unix epoch.
    pub wall_us: u64,
    /// By the monotonic clock, in microseconds since the bus started.
    pub mono_us: u64,
    /// What passed; empty for words.
    pub bytes: Vec<u8>,
    /// What it is.
    pub words: String,
    /// Whether it is a frame that came over as it was sent; `None` where that cannot be told.
    pub is_sound: Option<bool>,
}

/// What a stretch of bytes is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::field) struct Piece {
    pub(in crate::field) bytes: Vec<u8>,
    pub(in crate::field) words: String,
    pub(in crate::field) is_sound: Option<bool>,
}

/// What passed, oldest first: `copy` on a bus whose frames are wrapped as `framing` says.
pub fn passed(copy: &RingCopy, framing: Framing) -> impl Iterator<Item = Passed> {
    let mut scribe = Scribe::new(framing);
    let mut clock: Option<(u64, u64)> = None;
    copy.records().flat_map(move |record| {
        let wall_us = wall_us(&mut clock, &record);
        let Record { number, kind, mono_us, .. } = record;
        let passed = move |Piece { bytes, words, is_sound }: Piece| Passed {
            number,
            kind,
            wall_us,
            mono_us,
            bytes,
            words,
            is_sound,
        };
        pieces(&mut scribe, record).into_iter().map(passed)
    })
}

fn pieces(scribe: &mut Scribe, record: Record) -> Vec<Piece> {
    match record.kind {
        Kind::Sent => vec![scribe.handle_sent(record.bytes, record.mono_us)],
        Kind::Received => scribe.handle_received(record.bytes, record.mono_us),
        Kind::Opened => {
            scribe.handle_opened();
            vec![words("opened".to_owned())]
        }
        Kind::Lost => vec![words(format!("lost: {}", String::from_utf8_lossy(&record.bytes)))],
        Kind::Note => vec![words(String::from_utf8_lossy(&record.bytes).into_owned())],
    }
}

fn words(words: String) -> Piece {
    Piece { bytes: Vec::new(), words, is_sound: None }
}

/// The wall clock in microseconds: it is kept in milliseconds, and the monotonic clock says what is between two records.
fn wall_us(clock: &mut Option<(u64, u64)>, record: &Record) -> u64 {
    let told = record.wall.unix_ms().saturating_mul(1000);
    let reckoned = clock.map(|(wall, mono)| wall + record.mono_us.saturating_sub(mono));
    let wall = reckoned.filter(|reckoned| reckoned.abs_diff(told) <= STEP_US).unwrap_or(told);
    *clock = Some((wall, record.mono_us));
    wall
}

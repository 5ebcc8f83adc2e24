//! core: what the field is run with, checked and with every default applied.

mod fingerprint;
mod formula;
mod line;
mod pattern;
mod report;
mod value_type;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::tls::TlsSettings;
pub use fingerprint::{Expected, Fingerprint, Identity, Sign};
pub use formula::{Formula, FormulaError, Function, Operator};
pub use line::{
    ChecksumSettings, FrameEnd, FrameSettings, LinePort, LineSettings, Pick, PickFrom, Sum, Written,
};
pub use pattern::{Pattern, PatternError};
pub use report::{Change, ReportSettings};
pub use value_type::{Encoding, Half, Marker, TimeLayout, ValueType};

/// A bus: one serial line or one TCP endpoint, owned by one task.
#[derive(Debug, Clone, PartialEq)]
pub struct BusSettings {
    /// The key under `buses`.
    pub name: Arc<str>,
    /// What carries the frames.
    pub port: PortSettings,
    /// How long a device has for its answer at most, from the last byte of the request on the wire.
    pub timeout: Duration,
    /// What questions to devices that give nothing may take of the time of the bus, in per cent, 1 to 50.
    pub probe_share: u8,
    /// How many questions may be under way at once, at least 1; more than 1 only where frames have numbers.
    pub in_flight: usize,
}

/// What carries the frames of a bus.
#[derive(Debug, Clone, PartialEq)]
pub enum PortSettings {
    /// Modbus RTU on a serial port.
    Rtu(SerialSettings),
    /// Modbus ASCII on a serial port.
    Ascii(SerialSettings),
    /// Modbus TCP.
    Tcp(TcpSettings),
    /// Modbus TCP in TLS (Modbus/TCP Security 3.6).
    Tls(TcpSettings, NamedTls),
    /// The frames of Modbus TCP in datagrams.
    Udp(TcpSettings),
    /// Modbus RTU behind a converter that passes bytes on.
    RtuOverTcp(TcpSettings),
    /// Modbus ASCII behind a converter that passes bytes on.
    AsciiOverTcp(TcpSettings),
}

impl PortSettings {
    /// The serial port, if it is one.
    #[must_use]
    pub fn serial(&self) -> Option<&SerialSettings> {
        match self {
            Self::Rtu(serial) | Self::Ascii(serial) => Some(serial),
            Self::Tcp(_)
            | Self::Tls(..)
            | Self::Udp(_)
            | Self::RtuOverTcp(_)
            | Self::AsciiOverTcp(_) => None,
        }
    }

    /// Whether each frame says which question it answers.
    #[must_use]
    pub fn has_numbers(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Tls(..) | Self::Udp(_) => true,
            Self::Rtu(_) | Self::Ascii(_) | Self::RtuOverTcp(_) | Self::AsciiOverTcp(_) => false,
        }
    }
}

/// A serial port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialSettings {
    /// Device file, for example `/dev/serial/by-id/usb-FTDI…`.
    pub path: Arc<str>,
    /// Bits per second.
    pub baud: u32,
    /// Data bits of a character, 8, or 7 with ASCII.
    pub data_bits: u8,
    /// Parity bit.
    pub parity: Parity,
    /// Stop bits, 1 or 2.
    pub stop_bits: u8,
    /// Whether and how the kernel switches the direction; `None` leaves that as it is.
    pub rs485: Option<Rs485Settings>,
}

/// How the kernel switches the direction of an RS-485 port by RTS (`linux/serial.h`, `struct serial_rs485`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rs485Settings {
    /// What RTS is while we send; the other while we do not.
    pub rts_on_send: Level,
    /// Between the switch and the first bit, 0 to 100 ms.
    pub delay_before: Duration,
    /// Between the last bit and the switch back, 0 to 100 ms.
    pub delay_after: Duration,
}

/// What a control line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Set.
    High,
    /// Not set.
    Low,
}

impl SerialSettings {
    /// Bits a character takes on the wire: start, data bits, parity if any, stop bits.
    #[must_use]
    pub fn bits_per_character(&self) -> u32 {
        let parity = u32::from(self.parity != Parity::None);
        1 + u32::from(self.data_bits) + parity + u32::from(self.stop_bits)
    }

    /// How long `count` characters take on the wire.
    #[must_use]
    pub fn characters(&self, count: u32) -> Duration {
        let bits = u64::from(count) * u64::from(self.bits_per_character());
        Duration::from_nanos(bits * 1_000_000_000 / u64::from(self.baud.max(1)))
    }
}

/// Parity of a serial port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Parity {
    /// No parity bit.
    None,
    /// Even parity, the default of Modbus over serial line 1.02, section 2.5.1.
    #[default]
    Even,
    /// Odd parity.
    Odd,
}

/// Where a device or converter listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpSettings {
    /// Host name or address.
    pub host: Arc<str>,
    /// TCP or UDP port.
    pub port: u16,
}

/// What TLS towards a device is run with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedTls {
    /// Whom to trust, and our own certificate.
    pub settings: TlsSettings,
    /// The name in the device's certificate, if that is not the host.
    pub name: Option<Arc<str>>,
}

/// A unit id, 0 to 255 on TCP and 1 to 247 on a serial line (Modbus over serial line 1.02, section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnitId(pub u8);

/// A device: one unit on one bus.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceSettings {
    /// The key under `devices`; a topic level.
    pub name: Arc<str>,
    /// Which bus, by its key.
    pub bus: Arc<str>,
    /// Which unit on it.
    pub unit: UnitId,
    /// The points that are read, in the order of the file.
    pub points: Vec<PointSettings>,
    /// Points made of those.
    pub computed: Vec<ComputedSettings>,
    /// What it allows to be asked.
    pub allowed: Allowed,
}

impl DeviceSettings {
    /// Whether somebody wants the point with this index to be read: one that is written and neither published nor part of
    /// another may be none that can be read.
    #[must_use]
    pub fn is_read(&self, index: usize) -> bool {
        let point = self.points.get(index);
        if point.is_none_or(|point| point.publish || point.writable.is_none()) {
            return true;
        }
        let mut is_part = false;
        let note = &mut |part| is_part |= part == index;
        self.computed.iter().for_each(|made| made.formula.parts(note));
        is_part
    }

    /// How many points the operator gave a name: one that is scaled by another is read and made, and is one.
    #[must_use]
    pub fn point_count(&self) -> usize {
        let is_read = |made: &ComputedSettings| self.points.iter().any(|it| it.name == made.name);
        self.points.len() + self.computed.iter().filter(|made| !is_read(made)).count()
    }
}

/// A point that is made of others of its device.
#[derive(Debug, Clone, PartialEq)]
pub struct ComputedSettings {
    /// The key under `points`; a topic level.
    pub name: Arc<str>,
    /// What it is made of; parts are the indices of [`DeviceSettings::points`].
    pub formula: Formula,
    /// Digits after the decimal point to write; `None` for as many as it takes.
    pub decimals: Option<u8>,
    /// Physical unit to publish with the value.
    pub unit: Option<Arc<str>>,
    /// Which readings are news; `None` when all are.
    pub report: Option<ReportSettings>,
}

/// What a device allows in one read, as far as somebody has said so; the rest is learnt by asking.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allowed {
    /// Registers in one read, 1 to 125.
    pub registers_max: Option<u16>,
    /// Coils or discrete inputs in one read, 1 to 2000.
    pub bits_max: Option<u16>,
    /// Addresses that no read may touch.
    pub holes: Vec<Hole>,
    /// Addresses before which a read must end: no read may hold both sides.
    pub borders: Vec<(Table, u16)>,
}

/// A run of addresses that a device does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hole {
    /// In which table.
    pub table: Table,
    /// The first address.
    pub address: u16,
    /// How many, at least 1.
    pub count: u16,
}

impl Hole {
    /// The address after the last one, 1 to 65536 and more if it reaches beyond the table.
    #[must_use]
    pub fn end(&self) -> u32 {
        u32::from(self.address) + u32::from(self.count)
    }
}

/// A point: one value of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct PointSettings {
    /// The key under `points`; a topic level.
    pub name: Arc<str>,
    /// Where it stands.
    pub place: Place,
    /// What the registers mean; [`ValueType::Bool`] for coils, discrete inputs and bits of a register.
    pub value_type: ValueType,
    /// Which register of a value comes first.
    pub word_order: Order,
    /// Which byte of a register comes first.
    pub byte_order: Order,
    /// How many values stand one behind the other and make a list; `None` for a single value.
    pub count: Option<u16>,
    /// How many of the bits of a whole number stand behind the binary point.
    pub fraction_bits: u8,
    /// What the device says instead of a value.
    pub invalid: Vec<Marker>,
    /// Factor for numbers; 1 leaves them whole.
    pub scale: f64,
    /// Added after scaling; 0 leaves them whole.
    pub offset: f64,
    /// Digits after the decimal point to write.
    pub decimals: Option<u8>,
    /// Physical unit to publish with the value.
    pub unit: Option<Arc<str>>,
    /// Names for numbers, sorted by number; a number without a name is published as it is.
    pub names: Vec<(i64, Arc<str>)>,
    /// Names for bits, sorted by bit. Where there are any, the value is the list of the bits that are set; one without a name
    /// is published as its number.
    pub bit_names: Vec<(u8, Arc<str>)>,
    /// How often it is read.
    pub every: Duration,
    /// Which readings are news; `None` when all are.
    pub report: Option<ReportSettings>,
    /// Whether and how it may be written; `None` for what is only read.
    pub writable: Option<Writable>,
    /// Whether its readings go out; otherwise it is there for points that are made of it.
    pub publish: bool,
    /// How it is taken out of the frames of a plain serial line, where it is on one: of its place the bit alone counts then.
    pub pick: Option<Pick>,
}

impl PointSettings {
    /// A point as it is when nothing else is said of it.
    #[must_use]
    pub fn new(name: Arc<str>, place: Place, value_type: ValueType, every: Duration) -> Self {
        Self {
            name,
            place,
            value_type,
            word_order: Order::Big,
            byte_order: Order::Big,
            count: None,
            fraction_bits: 0,
            invalid: Vec::new(),
            scale: 1.0,
            offset: 0.0,
            decimals: None,
            unit: None,
            names: Vec::new(),
            bit_names: Vec::new(),
            every,
            report: None,
            writable: None,
            publish: true,
            pick: None,
        }
    }

    /// How many registers or bits it takes. The configuration sees to it that one read can bring them.
    #[must_use]
    pub fn width(&self) -> u16 {
        let one = match self.place.table {
            Table::Coil | Table::DiscreteInput => 1,
            Table::Holding | Table::Input => self.value_type.registers(),
        };
        one.saturating_mul(self.count.unwrap_or(1))
    }
}

/// How a point may be written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Writable {
    /// The least value, as it is published; `None` for what the type can be.
    pub min: Option<f64>,
    /// The greatest.
    pub max: Option<f64>,
    /// Whether it is read afterwards and must be what was written.
    pub read_back: bool,
}

impl Default for Writable {
    fn default() -> Self {
        Self { min: None, max: None, read_back: true }
    }
}

/// Where a point stands in a device (Modbus application protocol 1.1b3, section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// Which of the four tables.
    pub table: Table,
    /// Address from 0, as on the wire.
    pub address: u16,
    /// Which bit of the register, 0 the lowest; only for a bit of a register.
    pub bit: Option<u8>,
}

/// The four tables of a Modbus device (application protocol 1.1b3, section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Single bits, read and write (function 1).
    Coil,
    /// Single bits, read only (function 2).
    DiscreteInput,
    /// 16-bit words, read and write (function 3).
    Holding,
    /// 16-bit words, read only (function 4).
    Input,
}

impl Table {
    /// What it is called as a key of the configuration.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Coil => "coil",
            Self::DiscreteInput => "discrete",
            Self::Holding => "holding",
            Self::Input => "input",
        }
    }
}

/// Which end of a value comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// Most significant first, as the Modbus specification has it.
    #[default]
    Big,
    /// Least significant first.
    Little,
}

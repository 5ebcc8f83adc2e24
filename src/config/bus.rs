//! core: a bus as written, and what it is run with.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::bus_kind::{self, Kind, Place};
use super::bus_tls::Tls;
use super::endpoint::Endpoint;
use super::fields::{Field, Later};
use super::line_checksum;
use super::line_frame::{self, Frame};
use super::name;
use super::notes::{At, Given, Notes, Spot};
use crate::field::{
    BusSettings, ChecksumSettings, LinePort, LineSettings, Parity, PortSettings, Rs485Settings,
    SerialSettings, TcpSettings,
};

pub(super) const EXAMPLE: &str =
    "write `{ modbus-rtu: /dev/ttyUSB0, baud: 9600 }` or `{ modbus-tcp: 192.0.2.10:502 }`";

/// Per cent of the time of a bus for questions to devices that give nothing.
const PROBE_SHARE_DEFAULT: u8 = 5;
const BAUD_DEFAULT: u32 = 9_600;
/// Modbus over serial line 1.02, section 2.5.2.
const DATA_BITS_ASCII_DEFAULT: u8 = 7;
const TIMEOUT_SERIAL_DEFAULT: Duration = Duration::from_millis(300);
const TIMEOUT_LINE_DEFAULT: Duration = Duration::from_secs(1);
const SILENT_AFTER_DEFAULT: Duration = Duration::from_secs(60);
const TIMEOUT_TCP_DEFAULT: Duration = Duration::from_secs(1);

/// Questions that may be under way at once; Modbus messaging on TCP/IP 1.0b, section 4.3.1.3, has 1 to 16.
const IN_FLIGHT_MAX: i128 = 16;

/// The rates serial ports are set to; any other is likely a slip of the finger.
const BAUD_USUAL: [u32; 25] = [
    300, 600, 1_200, 1_800, 2_400, 4_800, 9_600, 14_400, 19_200, 28_800, 38_400, 57_600, 76_800,
    115_200, 230_400, 250_000, 460_800, 500_000, 921_600, 1_000_000, 1_500_000, 2_000_000,
    2_500_000, 3_000_000, 4_000_000,
];

const INSTEAD: &[Later] = &[
    ("rtu", "modbus-rtu"),
    ("ascii", "modbus-ascii"),
    ("udp", "modbus-udp"),
    ("rtu-over-tcp", "modbus-rtu-over-tcp"),
    ("modbus-rtu-tcp", "modbus-rtu-over-tcp"),
    ("modbus-tls", "modbus-tcp"),
    ("bits", "data_bits"),
    ("databits", "data_bits"),
    ("bytesize", "data_bits"),
    ("tcp", "modbus-tcp"),
    ("port", "modbus-rtu"),
    ("device", "modbus-rtu"),
    ("path", "modbus-rtu"),
    ("host", "modbus-tcp"),
    ("address", "modbus-tcp"),
    ("url", "modbus-tcp"),
    ("baudrate", "baud"),
    ("baud_rate", "baud"),
    ("speed", "baud"),
    ("window", "in_flight"),
    ("inflight", "in_flight"),
    ("rs_485", "rs485"),
    ("rts", "rs485"),
    ("serial", "line"),
    ("line-tcp", "line-over-tcp"),
    ("framing", "frame"),
    ("crc", "checksum"),
    ("silence", "silent_after"),
];

/// A bus as written.
#[derive(Debug)]
pub(super) struct Bus {
    pub(super) name: At<Rc<str>>,
    head: Spot,
    /// What carries its frames: one, unless somebody could not decide.
    kinds: Vec<(Kind, Given<Place>)>,
    tls: Given<Tls>,
    baud: Given<u32>,
    data_bits: Given<u8>,
    parity: Given<Parity>,
    stop_bits: Given<u8>,
    rs485: Given<Rs485Settings>,
    timeout: Given<Duration>,
    probe_share: Given<u8>,
    in_flight: Given<usize>,
    frame: Given<Frame>,
    checksum: Given<ChecksumSettings>,
    /// `None` within for never.
    silent_after: Given<Option<Duration>>,
}

/// What kind of wire a bus is, as far as that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    /// Plain: no Modbus.
    Line,
    Serial,
    Tcp,
    Unknown,
}

impl Bus {
    pub(super) fn read(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<Self> {
        let name = name::name(field, &[], notes);
        let mut fields = field.fields(EXAMPLE, notes)?;
        let timeouts = Duration::from_millis(10)..=Duration::from_secs(60);
        let bus = Self {
            head: name.spot.clone(),
            kinds: bus_kind::read(&mut fields, notes),
            tls: fields.given("tls", notes, Tls::read),
            baud: fields.given("baud", notes, |field, notes| {
                let example = "it stands on the device's label or in its menu";
                field.integer(300..=4_000_000, example, notes)
            }),
            data_bits: fields.given("data_bits", notes, |field, notes| {
                field.integer(7..=8, "Modbus ASCII has 7 as a rule", notes)
            }),
            parity: fields.given("parity", notes, |field, notes| {
                let choices =
                    [("none", Parity::None), ("even", Parity::Even), ("odd", Parity::Odd)];
                field.choice(&choices, &[], notes)
            }),
            stop_bits: fields.given("stop_bits", notes, |field, notes| {
                field.integer(1..=2, "most devices have 1", notes)
            }),
            rs485: fields.given("rs485", notes, bus_kind::rs485),
            timeout: fields.given("timeout", notes, |field, notes| field.duration(timeouts, notes)),
            probe_share: fields.given("probe_share", notes, probe_share),
            in_flight: fields.given("in_flight", notes, |field, notes| {
                field.integer(1..=IN_FLIGHT_MAX, "many devices take no more than 1", notes)
            }),
            frame: fields.given("frame", notes, line_frame::read),
            checksum: fields.given("checksum", notes, line_checksum::read),
            silent_after: fields.given("silent_after", notes, silent_after),
            name,
        };
        fields.finish(&[], INSTEAD, notes);
        Some(bus)
    }

    fn kind(&self) -> Option<Kind> {
        match self.kinds[..] {
            [(kind, _)] => Some(kind),
            _ => None,
        }
    }

    fn place(&self) -> Option<&At<Place>> {
        self.kinds.first().and_then(|(_, place)| place.written())
    }

    pub(super) fn wire(&self) -> Wire {
        match self.kind() {
            Some(kind) if kind.is_plain() => Wire::Line,
            Some(kind) if kind.is_line() => Wire::Serial,
            Some(_) => Wire::Tcp,
            None => Wire::Unknown,
        }
    }

    /// What stands at the far end, in a form that is equal for the same port.
    pub(super) fn port(&self) -> Option<At<String>> {
        let At { value, spot } = self.place()?;
        let value = match value {
            Place::Port(path) => path.to_string(),
            Place::Endpoint(Endpoint { host, port }) => {
                let host = host.to_lowercase();
                let udp = if self.kind() == Some(Kind::Udp) { " (UDP)" } else { "" };
                format!("{host}:{port}{udp}")
            }
        };
        Some(At { value, spot: spot.clone() })
    }

    /// How long each frame of a plain serial line is, if that is written.
    pub(super) fn frame_length(&self) -> Option<usize> {
        self.frame.written()?.value.length()
    }

    /// What a Modbus bus is run with; `None` for a plain serial line.
    pub(super) fn settle(&self, notes: &mut Notes<'_>) -> Option<BusSettings> {
        let Some(kind) = self.kind() else {
            self.complain_of_kinds(notes);
            return None;
        };
        if kind.is_plain() {
            return None;
        }
        self.check_keys(kind, notes);
        let timeout = if kind.is_port() { TIMEOUT_SERIAL_DEFAULT } else { TIMEOUT_TCP_DEFAULT };
        let tls = self.tls.written().map(|tls| tls.value.settle(notes));
        let port = match &self.place()?.value {
            Place::Port(path) => {
                let serial = self.settle_serial(kind, path, notes);
                if kind == Kind::Ascii {
                    PortSettings::Ascii(serial)
                } else {
                    PortSettings::Rtu(serial)
                }
            }
            Place::Endpoint(Endpoint { host, port }) => {
                let tcp = TcpSettings { host: Arc::from(&**host), port: *port };
                match (kind, tls) {
                    (Kind::Tcp, Some(tls)) => PortSettings::Tls(tcp, tls),
                    (Kind::Udp, _) => PortSettings::Udp(tcp),
                    (Kind::RtuOverTcp, _) => PortSettings::RtuOverTcp(tcp),
                    (Kind::AsciiOverTcp, _) => PortSettings::AsciiOverTcp(tcp),
                    (Kind::Tcp | Kind::Rtu | Kind::Ascii | Kind::Line | Kind::LineOverTcp, _) => {
                        PortSettings::Tcp(tcp)
                    }
                }
            }
        };
        let (name, timeout) = (Arc::from(&*self.name.value), self.timeout.or(timeout));
        Some(BusSettings {
            name,
            port,
            timeout,
            probe_share: self.probe_share.or(PROBE_SHARE_DEFAULT),
            in_flight: self.in_flight.or(1),
        })
    }

    /// What a plain serial line is run with; `None` for any other bus.
    pub(super) fn settle_line(&self, notes: &mut Notes<'_>) -> Option<LineSettings> {
        let kind = self.kind().filter(|kind| kind.is_plain())?;
        self.check_keys(kind, notes);
        if self.frame.is_absent() {
            let message = "this line does not say where a frame ends";
            notes.error(&self.head, message, line_frame::EXAMPLE);
        }
        let frame = self.frame.written().and_then(|frame| frame.value.settle(notes));
        let port = match &self.place()?.value {
            Place::Port(path) => LinePort::Serial(self.settle_serial(kind, path, notes)),
            Place::Endpoint(Endpoint { host, port }) => {
                LinePort::Tcp(TcpSettings { host: Arc::from(&**host), port: *port })
            }
        };
        Some(LineSettings {
            name: Arc::from(&*self.name.value),
            port,
            frame: frame?,
            checksum: self.checksum.written().map(|at| at.value),
            timeout: self.timeout.or(TIMEOUT_LINE_DEFAULT),
            silent_after: self.silent_after.or(Some(SILENT_AFTER_DEFAULT)),
        })
    }

    fn complain_of_kinds(&self, notes: &mut Notes<'_>) {
        match &self.kinds[..] {
            [(first, _), (second, _), ..] => {
                let message = format!("this bus is both `{}` and `{}`", first.key(), second.key());
                notes.error(&self.head, message, EXAMPLE);
            }
            _ => notes.error(&self.head, "this bus does not say what it is", EXAMPLE),
        }
    }

    /// Keys that mean nothing on a bus of this kind.
    fn check_keys(&self, kind: Kind, notes: &mut Notes<'_>) {
        let serial_keys = [
            ("baud", self.baud.written().map(|at| &at.spot)),
            ("data_bits", self.data_bits.written().map(|at| &at.spot)),
            ("parity", self.parity.written().map(|at| &at.spot)),
            ("stop_bits", self.stop_bits.written().map(|at| &at.spot)),
            ("rs485", self.rs485.written().map(|at| &at.spot)),
        ];
        for (key, spot) in serial_keys {
            if let Some(spot) = spot.filter(|_| !kind.is_port()) {
                let message =
                    format!("`{key}` belongs to a serial port, and this is `{}`", kind.key());
                notes.error(spot, message, "remove it: what stands at the far end knows it");
            }
        }
        if let Some(tls) = self.tls.written().filter(|_| kind != Kind::Tcp) {
            let message = format!("`tls` belongs to `modbus-tcp`, and this is `{}`", kind.key());
            notes.error(&tls.spot, message, "remove it");
        }
        for (key, spot, is_right) in [
            ("frame", self.frame.spot(), kind.is_plain()),
            ("checksum", self.checksum.spot(), kind.is_plain()),
            ("silent_after", self.silent_after.spot(), kind.is_plain()),
            ("probe_share", self.probe_share.spot(), !kind.is_plain()),
        ] {
            if let Some(spot) = spot.filter(|_| !is_right) {
                let owner = if kind.is_plain() { "Modbus" } else { "a plain serial line, `line`" };
                let message = format!("`{key}` belongs to {owner}, and this is `{}`", kind.key());
                notes.error(spot, message, "remove it");
            }
        }
        if let Some(in_flight) = self.in_flight.written().filter(|_| kind.is_line()) {
            let message = format!(
                "`in_flight` needs frames with numbers, and those of `{}` have none",
                kind.key()
            );
            notes.error(&in_flight.spot, message, "remove it: a line carries one thing at a time");
        }
        let seven = self.data_bits.written().filter(|bits| bits.value == 7);
        if let Some(bits) = seven.filter(|_| kind == Kind::Rtu) {
            let message = "the bytes of Modbus RTU have 8 bits, and 7 cannot carry them";
            notes.error(&bits.spot, message, "remove it, or write `modbus-ascii`");
        }
    }

    fn settle_serial(&self, kind: Kind, path: &Rc<str>, notes: &mut Notes<'_>) -> SerialSettings {
        if let Some(baud) = self.baud.written().filter(|baud| !BAUD_USUAL.contains(&baud.value)) {
            let message = format!("{} is not a usual rate", baud.value);
            let written = baud.value.to_string();
            let near = BAUD_USUAL.iter().min_by_key(|usual| {
                let distance = strsim::damerau_levenshtein(&usual.to_string(), &written);
                (distance, usual.abs_diff(baud.value))
            });
            let remedy = near.map_or(String::new(), |near| format!("did you mean {near}?"));
            notes.warning(&baud.spot, message, remedy);
        }
        let data_bits = if kind == Kind::Ascii { DATA_BITS_ASCII_DEFAULT } else { 8 };
        SerialSettings {
            path: Arc::from(&**path),
            baud: self.baud.or(BAUD_DEFAULT),
            data_bits: self.data_bits.or(data_bits),
            parity: self.parity.or(if kind == Kind::Line { Parity::None } else { Parity::Even }),
            stop_bits: self.stop_bits.or(1),
            rs485: self.rs485.written().map(|at| at.value),
        }
    }
}

fn silent_after(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Option<Duration>>> {
    if field.is_text("never") {
        return Some(At { value: None, spot: field.spot.clone() });
    }
    let longest = Duration::from_secs(7 * 86_400);
    let after = field.duration(Duration::from_millis(100)..=longest, notes)?;
    Some(At { value: Some(after.value), spot: after.spot })
}

fn probe_share(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<u8>> {
    let example = "write `5%`: what questions to devices that give nothing may take of the time";
    let text = field.text(example, notes)?;
    let number = text.value.trim().strip_suffix('%').map(str::trim_end);
    let share = number.and_then(|number| number.parse().ok()).filter(|it| (1..=50).contains(it));
    if share.is_none() {
        let shown = notes.shown(&text.spot);
        let message = format!("`probe_share` cannot be `{shown}`");
        notes.error(&text.spot, message, "write `1%` to `50%`; usual is `5%`");
    }
    Some(At { value: share?, spot: text.spot })
}

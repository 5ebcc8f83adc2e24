//! core: a bus as written, and what it is run with.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::endpoint::Endpoint;
use super::fields::{Field, Later};
use super::name;
use super::notes::{At, Given, Notes, Spot};
use crate::field::{BusSettings, Parity, PortSettings, SerialSettings, TcpSettings};

const EXAMPLE: &str =
    "write `{ modbus-rtu: /dev/ttyUSB0, baud: 9600 }` or `{ modbus-tcp: 192.0.2.10:502 }`";

const PORT_OF_MODBUS: u16 = 502;
/// Per cent of the time of a bus for questions to devices that give nothing.
const PROBE_SHARE_DEFAULT: u8 = 5;
const BAUD_DEFAULT: u32 = 9_600;
const TIMEOUT_RTU_DEFAULT: Duration = Duration::from_millis(300);
const TIMEOUT_TCP_DEFAULT: Duration = Duration::from_secs(1);

/// The rates serial ports are set to; any other is likely a slip of the finger.
const BAUD_USUAL: [u32; 25] = [
    300, 600, 1_200, 1_800, 2_400, 4_800, 9_600, 14_400, 19_200, 28_800, 38_400, 57_600, 76_800,
    115_200, 230_400, 250_000, 460_800, 500_000, 921_600, 1_000_000, 1_500_000, 2_000_000,
    2_500_000, 3_000_000, 4_000_000,
];

const OTHER_KINDS: &[Later] = &[
    ("line", "remove this bus and its devices: the kinds are `modbus-rtu` and `modbus-tcp`"),
    (
        "modbus-ascii",
        "remove this bus and its devices: the kinds are `modbus-rtu` and `modbus-tcp`",
    ),
    ("modbus-udp", "remove this bus and its devices: the kinds are `modbus-rtu` and `modbus-tcp`"),
    (
        "modbus-rtu-over-tcp",
        "remove this bus and its devices: the kinds are `modbus-rtu` and `modbus-tcp`",
    ),
];

const LATER: &[Later] = &[
    OTHER_KINDS[0],
    OTHER_KINDS[1],
    OTHER_KINDS[2],
    OTHER_KINDS[3],
    ("in_flight", "remove it: one transaction at a time is under way"),
    ("frame", "remove it"),
    ("rs485", "remove it: the direction is the adapter's or the driver's business"),
];

const INSTEAD: &[Later] = &[
    ("rtu", "modbus-rtu"),
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
];

/// A bus as written.
#[derive(Debug)]
pub(super) struct Bus {
    pub(super) name: At<Rc<str>>,
    head: Spot,
    /// Whether it is of a kind this version has not; nobody complains that it has no port.
    is_other_kind: bool,
    rtu: Given<Rc<str>>,
    tcp: Given<Endpoint>,
    baud: Given<u32>,
    parity: Given<Parity>,
    stop_bits: Given<u8>,
    timeout: Given<Duration>,
    probe_share: Given<u8>,
}

/// What kind of wire a bus is, as far as that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
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
            is_other_kind: fields.has_any(OTHER_KINDS),
            rtu: fields.given("modbus-rtu", notes, serial_path),
            tcp: fields.given("modbus-tcp", notes, |field, notes| {
                let text = field.text(EXAMPLE, notes)?;
                endpoint(&text, notes)
            }),
            baud: fields.given("baud", notes, |field, notes| {
                let example = "it stands on the device's label or in its menu";
                field.integer(300..=4_000_000, example, notes)
            }),
            parity: fields.given("parity", notes, |field, notes| {
                let choices =
                    [("none", Parity::None), ("even", Parity::Even), ("odd", Parity::Odd)];
                field.choice(&choices, &[], notes)
            }),
            stop_bits: fields.given("stop_bits", notes, |field, notes| {
                field.integer(1..=2, "most devices have 1", notes)
            }),
            timeout: fields.given("timeout", notes, |field, notes| field.duration(timeouts, notes)),
            probe_share: fields.given("probe_share", notes, probe_share),
            name,
        };
        fields.finish(LATER, INSTEAD, notes);
        Some(bus)
    }

    pub(super) fn wire(&self) -> Wire {
        match (&self.rtu, &self.tcp) {
            (Given::Absent, Given::Absent) => Wire::Unknown,
            (_, Given::Absent) => Wire::Serial,
            (Given::Absent, _) => Wire::Tcp,
            _ => Wire::Unknown,
        }
    }

    /// What stands at the far end, in a form that is equal for the same port.
    pub(super) fn port(&self) -> Option<At<String>> {
        let serial = self.rtu.written().map(|path| (path.value.to_string(), &path.spot));
        let (value, spot) = serial.or_else(|| {
            let tcp = self.tcp.written()?;
            Some((format!("{}:{}", tcp.value.host.to_lowercase(), tcp.value.port), &tcp.spot))
        })?;
        Some(At { value, spot: spot.clone() })
    }

    pub(super) fn settle(&self, notes: &mut Notes<'_>) -> Option<BusSettings> {
        let (port, timeout) = match self.wire() {
            Wire::Serial => (self.settle_serial(notes)?, TIMEOUT_RTU_DEFAULT),
            Wire::Tcp => (self.settle_tcp(notes)?, TIMEOUT_TCP_DEFAULT),
            Wire::Unknown if self.is_other_kind => return None,
            Wire::Unknown => {
                let message = if self.rtu.is_absent() {
                    "this bus does not say what it is"
                } else {
                    "this bus is both `modbus-rtu` and `modbus-tcp`"
                };
                notes.error(&self.head, message, EXAMPLE);
                return None;
            }
        };
        let name = Arc::from(&*self.name.value);
        let probe_share = self.probe_share.or(PROBE_SHARE_DEFAULT);
        Some(BusSettings { name, port, timeout: self.timeout.or(timeout), probe_share })
    }

    fn settle_serial(&self, notes: &mut Notes<'_>) -> Option<PortSettings> {
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
        Some(PortSettings::Rtu(SerialSettings {
            path: Arc::from(&*self.rtu.written()?.value),
            baud: self.baud.or(BAUD_DEFAULT),
            parity: self.parity.or(Parity::Even),
            stop_bits: self.stop_bits.or(1),
        }))
    }

    fn settle_tcp(&self, notes: &mut Notes<'_>) -> Option<PortSettings> {
        let serial_keys = [
            ("baud", self.baud.written().map(|at| &at.spot)),
            ("parity", self.parity.written().map(|at| &at.spot)),
            ("stop_bits", self.stop_bits.written().map(|at| &at.spot)),
        ];
        for (key, spot) in serial_keys {
            if let Some(spot) = spot {
                let message = format!("`{key}` belongs to a serial bus, and this is `modbus-tcp`");
                notes.error(spot, message, "remove it: the gateway at the far end knows it");
            }
        }
        let endpoint = &self.tcp.written()?.value;
        Some(PortSettings::Tcp(TcpSettings {
            host: Arc::from(&*endpoint.host),
            port: endpoint.port,
        }))
    }
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

fn serial_path(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Rc<str>>> {
    let path = field.text(EXAMPLE, notes)?;
    if !path.value.starts_with('/') {
        let shown = notes.shown(&path.spot);
        let remedy = if path.value.starts_with("COM") {
            "serial ports are called `/dev/ttyUSB0` here; `ls -l /dev/serial/by-id` shows yours"
                .to_owned()
        } else {
            format!(
                "write `/dev/{}`; `ls -l /dev/serial/by-id` shows names that stay",
                path.value.trim()
            )
        };
        notes.error(&path.spot, format!("`{shown}` is not the path of a serial port"), remedy);
        return None;
    }
    Some(path)
}

fn endpoint(text: &At<Rc<str>>, notes: &mut Notes<'_>) -> Option<At<Endpoint>> {
    let shown = notes.shown(&text.spot);
    if text.value.contains("://") {
        let message = format!("`{shown}` is a URL");
        notes.error(&text.spot, message, "write only the host and the port: `192.0.2.10:502`");
        return None;
    }
    match Endpoint::parse(text.value.trim(), PORT_OF_MODBUS) {
        Ok(value) => Some(At { value, spot: text.spot.clone() }),
        Err(misread) => {
            notes.error(&text.spot, format!("`{shown}` {}", misread.message), misread.remedy);
            None
        }
    }
}

//! core: what carries the frames of a bus, as written: its key and where it leads.

use std::rc::Rc;
use std::time::Duration;

use super::bus::EXAMPLE;
use super::endpoint::Endpoint;
use super::fields::{Field, Fields, Later};
use super::notes::{At, Given, Notes};
use crate::field::{Level, Rs485Settings};

const PORT_OF_MODBUS: u16 = 502;
/// The port of Modbus in TLS.
const PORT_OF_MODBUS_TLS: u16 = 802;
/// What converters are often set to; there is no usual port.
const PORT_EXAMPLE: u16 = 4001;

const RS485_EXAMPLE: &str = "write `{}`, or `{ rts_on_send: low, delay_before: 1ms, delay_after: 1ms }`; \
                             most adapters switch by themselves and need none of it";

/// What a bus is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Rtu,
    Ascii,
    Tcp,
    Udp,
    RtuOverTcp,
    AsciiOverTcp,
    /// A plain serial line.
    Line,
    LineOverTcp,
}

/// Each with the key that says so.
pub(super) const KINDS: [(&str, Kind); 8] = [
    ("modbus-rtu", Kind::Rtu),
    ("modbus-tcp", Kind::Tcp),
    ("modbus-rtu-over-tcp", Kind::RtuOverTcp),
    ("modbus-ascii", Kind::Ascii),
    ("modbus-ascii-over-tcp", Kind::AsciiOverTcp),
    ("modbus-udp", Kind::Udp),
    ("line", Kind::Line),
    ("line-over-tcp", Kind::LineOverTcp),
];

impl Kind {
    /// Its key.
    pub(super) fn key(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(key, _)| key)
    }

    /// Whether it is a serial port of this machine.
    pub(super) fn is_port(self) -> bool {
        match self {
            Self::Rtu | Self::Ascii | Self::Line => true,
            Self::Tcp | Self::Udp | Self::RtuOverTcp | Self::AsciiOverTcp | Self::LineOverTcp => {
                false
            }
        }
    }

    /// Whether it speaks no protocol that is known here.
    pub(super) fn is_plain(self) -> bool {
        matches!(self, Self::Line | Self::LineOverTcp)
    }

    /// Whether its units stand on a serial line, here or behind a converter.
    pub(super) fn is_line(self) -> bool {
        match self {
            Self::Rtu
            | Self::Ascii
            | Self::RtuOverTcp
            | Self::AsciiOverTcp
            | Self::Line
            | Self::LineOverTcp => true,
            Self::Tcp | Self::Udp => false,
        }
    }
}

/// Where a bus leads.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Port(Rc<str>),
    Endpoint(Endpoint),
}

/// Reads the keys that say what a bus is: those that are written, one as a rule.
pub(super) fn read(fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> Vec<(Kind, Given<Place>)> {
    const TLS: &[Later] = &[("tls", "")];
    let has_tls = fields.has_any(TLS);
    let kinds = KINDS.iter().map(|(key, kind)| {
        (*kind, fields.given(key, notes, |field, notes| place(*kind, has_tls, field, notes)))
    });
    kinds.filter(|(_, place)| !place.is_absent()).collect()
}

fn place(kind: Kind, has_tls: bool, field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Place>> {
    match kind {
        Kind::Rtu | Kind::Ascii | Kind::Line => {
            let At { value, spot } = serial_path(kind, field, notes)?;
            Some(At { value: Place::Port(value), spot })
        }
        Kind::Tcp if has_tls => endpoint(field, Some(PORT_OF_MODBUS_TLS), notes),
        Kind::Tcp | Kind::Udp => endpoint(field, Some(PORT_OF_MODBUS), notes),
        Kind::RtuOverTcp | Kind::AsciiOverTcp | Kind::LineOverTcp => endpoint(field, None, notes),
    }
}

fn serial_path(kind: Kind, field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Rc<str>>> {
    let path = field.text(EXAMPLE, notes)?;
    if !path.value.starts_with('/') {
        let shown = notes.shown(&path.spot);
        let remedy = if path.value.starts_with("COM") {
            "serial ports are called `/dev/ttyUSB0` here; `ls -l /dev/serial/by-id` shows yours"
                .to_owned()
        } else if Endpoint::parse_with_port(path.value.trim(), PORT_EXAMPLE).is_ok() {
            format!("for a converter in the network write `{}-over-tcp`", kind.key())
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

/// `default` is the usual port; without one it must be written.
fn endpoint(field: &Field<'_>, default: Option<u16>, notes: &mut Notes<'_>) -> Option<At<Place>> {
    let text = field.text(EXAMPLE, notes)?;
    let shown = notes.shown(&text.spot);
    if text.value.contains("://") {
        let message = format!("`{shown}` is a URL");
        let port = default.unwrap_or(PORT_EXAMPLE);
        let remedy = format!("write only the host and the port: `192.0.2.10:{port}`");
        notes.error(&text.spot, message, remedy);
        return None;
    }
    let parsed = match default {
        Some(port) => Endpoint::parse(text.value.trim(), port),
        None => Endpoint::parse_with_port(text.value.trim(), PORT_EXAMPLE),
    };
    match parsed {
        Ok(value) => Some(At { value: Place::Endpoint(value), spot: text.spot.clone() }),
        Err(misread) => {
            notes.error(&text.spot, format!("`{shown}` {}", misread.message), misread.remedy);
            None
        }
    }
}

/// How the kernel is to switch the direction of an RS-485 port.
pub(super) fn rs485(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Rs485Settings>> {
    let mut fields = field.fields(RS485_EXAMPLE, notes)?;
    let delays = Duration::ZERO..=Duration::from_millis(100);
    let rts_on_send = fields.given("rts_on_send", notes, |field, notes| {
        field.choice(&[("high", Level::High), ("low", Level::Low)], &[], notes)
    });
    let delay_before =
        fields.given("delay_before", notes, |field, notes| field.duration(delays.clone(), notes));
    let delay_after =
        fields.given("delay_after", notes, |field, notes| field.duration(delays, notes));
    fields.finish(&[], &[("before", "delay_before"), ("after", "delay_after")], notes);
    let value = Rs485Settings {
        rts_on_send: rts_on_send.or(Level::High),
        delay_before: delay_before.or(Duration::ZERO),
        delay_after: delay_after.or(Duration::ZERO),
    };
    Some(At { value, spot: field.spot.clone() })
}

//! core: what was learnt about the devices of a bus, kept over restarts as text.
//!
//! It belongs to a device as it is configured: on another port, with another unit or other points, nothing of it holds.

use serde::{Deserialize, Serialize};

use super::modbus::known::{Learnt, Longest};
use super::modbus::pdu::ReadRange;
use super::{DeviceSettings, PortSettings, Table};

/// The version of the text.
const VERSION: u32 = 1;

/// Why a text cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// It is something else, or damaged.
    #[error("what was learnt about devices is damaged and begun again: {detail}")]
    Damaged {
        /// What stands there.
        detail: String,
    },
    /// It is of a later version of this program.
    #[error("what was learnt about devices is of version {found}, not {VERSION}, and begun again")]
    Version {
        /// The version it has.
        found: u32,
    },
}

/// What was learnt about the devices of one bus.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    devices: Vec<Remembered>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Text {
    version: u32,
    devices: Vec<Remembered>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    device: String,
    unit: u8,
    /// What it was learnt with.
    configured: String,
    #[serde(default)]
    refused: Vec<(String, u16, u16)>,
    #[serde(default)]
    cuts: Vec<(String, u16, u32, u16)>,
    #[serde(default)]
    registers: LongestText,
    #[serde(default)]
    bits: LongestText,
    #[serde(default)]
    by_silence: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct LongestText {
    answered: u16,
    refused: Option<(String, u16, u16)>,
}

impl Memory {
    /// Reads what [`Memory::to_text`] wrote.
    ///
    /// # Errors
    /// [`MemoryError`] when it is something else; nothing is known then.
    pub fn parse(text: &str) -> Result<Self, MemoryError> {
        let damaged = |error: serde_json::Error| MemoryError::Damaged { detail: error.to_string() };
        let version: serde_json::Value = serde_json::from_str(text).map_err(damaged)?;
        let version = version.get("version").and_then(serde_json::Value::as_u64);
        if let Some(found) = version.and_then(|found| u32::try_from(found).ok())
            && found > VERSION
        {
            return Err(MemoryError::Version { found });
        }
        let Text { devices, .. } = serde_json::from_str(text).map_err(damaged)?;
        let memory = Self { devices };
        match memory.devices.iter().find(|device| device.learnt().is_none()) {
            Some(device) => Err(MemoryError::Damaged {
                detail: format!("the device `{}` has a place that cannot be", device.device),
            }),
            None => Ok(memory),
        }
    }

    /// One JSON object, for [`Memory::parse`].
    #[must_use]
    pub fn to_text(&self) -> String {
        let text = Text { version: VERSION, devices: self.devices.clone() };
        serde_json::to_string_pretty(&text).unwrap_or_default() + "\n"
    }

    /// What is known of `device` on `port`, if it is configured as it was then.
    #[must_use]
    pub fn of(&self, port: &PortSettings, device: &DeviceSettings) -> Learnt {
        let configured = fingerprint(port, device);
        let is_it = |it: &&Remembered| *it.device == *device.name && it.configured == configured;
        self.devices.iter().find(is_it).and_then(Remembered::learnt).unwrap_or_default()
    }

    /// Adds what was learnt about `device` on `port`, if anything.
    pub fn add(&mut self, port: &PortSettings, device: &DeviceSettings, learnt: &Learnt) {
        if learnt.is_empty() {
            return;
        }
        self.devices.push(Remembered {
            device: device.name.to_string(),
            unit: device.unit.0,
            configured: fingerprint(port, device),
            refused: learnt.refused.iter().map(|range| place(*range)).collect(),
            cuts: learnt
                .cuts
                .iter()
                .map(|((table, at), (end, count))| (table.key().to_owned(), *at, *end, *count))
                .collect(),
            registers: LongestText::from(&learnt.registers),
            bits: LongestText::from(&learnt.bits),
            by_silence: learnt.by_silence,
        });
    }
}

impl Remembered {
    fn learnt(&self) -> Option<Learnt> {
        let cut = |(table, at, end, count): &(String, u16, u32, u16)| {
            Some(((self::table(table)?, *at), (*end, *count)))
        };
        Some(Learnt {
            refused: self.refused.iter().map(range).collect::<Option<_>>()?,
            cuts: self.cuts.iter().map(cut).collect::<Option<_>>()?,
            registers: self.registers.longest()?,
            bits: self.bits.longest()?,
            by_silence: self.by_silence,
        })
    }
}

impl From<&Longest> for LongestText {
    fn from(longest: &Longest) -> Self {
        Self { answered: longest.answered, refused: longest.refused.map(place) }
    }
}

impl LongestText {
    fn longest(&self) -> Option<Longest> {
        let refused = match &self.refused {
            Some(place) => Some(range(place)?),
            None => None,
        };
        let is_above = refused.is_none_or(|refused| refused.count() > self.answered);
        is_above.then_some(Longest { answered: self.answered, refused })
    }
}

fn place(range: ReadRange) -> (String, u16, u16) {
    (range.table().key().to_owned(), range.address(), range.count())
}

fn range((table, address, count): &(String, u16, u16)) -> Option<ReadRange> {
    ReadRange::new(self::table(table)?, *address, *count).ok()
}

fn table(key: &str) -> Option<Table> {
    let all = [Table::Coil, Table::DiscreteInput, Table::Holding, Table::Input];
    all.into_iter().find(|table| table.key() == key)
}

/// A number for everything that must be as it was for the old knowledge to hold (FNV-1a, 64 bits).
fn fingerprint(port: &PortSettings, device: &DeviceSettings) -> String {
    let mut text = format!("{port:?} {} {:?}", device.unit.0, device.allowed);
    for point in &device.points {
        let (place, registers) = (point.place, point.value_type.registers());
        text += &format!(" {} {} {registers}", place.table.key(), place.address);
    }
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, step))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::{Allowed, TcpSettings, UnitId};

    fn holding(address: u16, count: u16) -> ReadRange {
        ReadRange::new(Table::Holding, address, count).expect("allowed")
    }

    fn port(port: u16) -> PortSettings {
        PortSettings::Tcp(TcpSettings { host: "plc".into(), port })
    }

    fn device(unit: u8) -> DeviceSettings {
        DeviceSettings {
            name: "boiler".into(),
            bus: "plant".into(),
            unit: UnitId(unit),
            points: Vec::new(),
            computed: Vec::new(),
            allowed: Allowed::default(),
        }
    }

    fn learnt() -> Learnt {
        Learnt {
            refused: vec![holding(40, 2)],
            cuts: [((Table::Input, 10), (7, 30))].into(),
            registers: Longest { answered: 16, refused: Some(holding(0, 17)) },
            bits: Longest { answered: 100, refused: None },
            by_silence: true,
        }
    }

    #[test]
    fn what_was_learnt_comes_back_for_a_device_as_it_was_configured() {
        let mut memory = Memory::default();
        memory.add(&port(502), &device(1), &learnt());
        let memory = Memory::parse(&memory.to_text()).expect("it was written so");
        assert_eq!(memory.of(&port(502), &device(1)), learnt());
        assert_eq!(memory.of(&port(502), &device(2)), Learnt::default());
        assert_eq!(memory.of(&port(503), &device(1)), Learnt::default());
        let told = Allowed { registers_max: Some(16), ..Allowed::default() };
        let told = DeviceSettings { allowed: told, ..device(1) };
        assert_eq!(memory.of(&port(502), &told), Learnt::default());
    }

    #[test]
    fn nothing_learnt_is_not_written_down() {
        let mut memory = Memory::default();
        memory.add(&port(502), &device(1), &Learnt::default());
        assert_eq!(memory, Memory::default());
    }

    #[test]
    fn what_is_no_such_text_is_an_error() {
        let mut memory = Memory::default();
        memory.add(&port(502), &device(1), &learnt());
        let text = memory.to_text();
        let later = text.replace("\"version\": 1", "\"version\": 2");
        assert!(matches!(Memory::parse(&later), Err(MemoryError::Version { found: 2 })));
        let wrong = ["", "{", "[]", "{}", &text[..text.len() / 2]].map(str::to_owned);
        let impossible = [text.replace("holding", "heating"), text.replace("17", "16")];
        for text in wrong.iter().chain(&impossible) {
            assert!(matches!(Memory::parse(text), Err(MemoryError::Damaged { .. })), "{text}");
        }
    }
}

//! core: settings of a serial line to try, the likely ones first.

use std::fmt;
use std::time::Duration;

use crate::field::{Parity, SerialSettings};

/// Bits and their rate, as they stand on the label of a device: `9600 8N1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Setting {
    /// Bits per second.
    pub baud: u32,
    /// Data bits of a character, 8, or 7 with ASCII.
    pub data_bits: u8,
    /// Parity bit.
    pub parity: Parity,
    /// Stop bits, 1 or 2.
    pub stop_bits: u8,
}

/// What was said about the settings to try; what is empty was left open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Bits per second.
    pub baud: Vec<u32>,
    /// Data bits.
    pub data_bits: Vec<u8>,
    /// Parity.
    pub parity: Vec<Parity>,
    /// Stop bits.
    pub stop_bits: Vec<u8>,
}

/// What devices come with, by how often one meets it. Two stop bits are not among them: a receiver looks at the first
/// one only, so 8N1 reaches devices with 8N2 as well.
const LIKELY_RTU: &[(u32, Parity)] = &[
    (9_600, Parity::None),
    (19_200, Parity::Even),
    (9_600, Parity::Even),
    (115_200, Parity::None),
    (19_200, Parity::None),
    (38_400, Parity::None),
    (57_600, Parity::None),
    (4_800, Parity::None),
    (2_400, Parity::None),
    (38_400, Parity::Even),
    (115_200, Parity::Even),
    (57_600, Parity::Even),
    (4_800, Parity::Even),
    (2_400, Parity::Even),
    (9_600, Parity::Odd),
    (19_200, Parity::Odd),
];

/// The same for ASCII, with its data bits: 7 are usual (Modbus over serial line 1.02, section 2.5.2).
const LIKELY_ASCII: &[(u32, u8, Parity)] = &[
    (9_600, 7, Parity::Even),
    (19_200, 7, Parity::Even),
    (9_600, 8, Parity::None),
    (9_600, 7, Parity::None),
    (19_200, 8, Parity::None),
    (9_600, 8, Parity::Even),
    (9_600, 7, Parity::Odd),
    (4_800, 7, Parity::Even),
    (2_400, 7, Parity::Even),
    (38_400, 7, Parity::Even),
    (115_200, 8, Parity::None),
];

/// Rates and parities that are crossed once one of them is told, the likely ones first.
const RATES: &[u32] = &[9_600, 19_200, 115_200, 38_400, 57_600, 4_800, 2_400, 1_200];
const PARITIES: &[Parity] = &[Parity::None, Parity::Even, Parity::Odd];

impl Setting {
    /// The settings to try for `choice`. With nothing chosen, those one meets; otherwise all that fit.
    #[must_use]
    pub fn to_try(choice: &Choice, ascii: bool) -> Vec<Self> {
        let usual_bits = if ascii { 7 } else { 8 };
        if *choice == Choice::default() {
            let of = |(baud, data_bits, parity)| Self { baud, data_bits, parity, stop_bits: 1 };
            return if ascii {
                LIKELY_ASCII.iter().copied().map(of).collect()
            } else {
                LIKELY_RTU.iter().map(|(baud, parity)| of((*baud, 8, *parity))).collect()
            };
        }
        let or =
            |given: &[u8], usual: u8| if given.is_empty() { vec![usual] } else { given.to_vec() };
        let rates = if choice.baud.is_empty() { RATES } else { &choice.baud };
        let parities = if choice.parity.is_empty() { PARITIES } else { &choice.parity };
        let mut settings = Vec::new();
        for stop_bits in or(&choice.stop_bits, 1) {
            for data_bits in or(&choice.data_bits, usual_bits) {
                // One parity after the other, so that the likely ones of all rates come early.
                for parity in parities.iter().copied() {
                    for baud in rates.iter().copied() {
                        let setting = Self { baud, data_bits, parity, stop_bits };
                        if !settings.contains(&setting) {
                            settings.push(setting);
                        }
                    }
                }
            }
        }
        settings
    }

    /// How long `count` characters take.
    #[must_use]
    pub fn characters(&self, count: u32) -> Duration {
        self.on("").characters(count)
    }

    /// The port at `path` set so.
    #[must_use]
    pub fn on(&self, path: &str) -> SerialSettings {
        let Self { baud, data_bits, parity, stop_bits } = *self;
        SerialSettings { path: path.into(), baud, data_bits, parity, stop_bits, rs485: None }
    }
}

impl From<&SerialSettings> for Setting {
    fn from(serial: &SerialSettings) -> Self {
        let SerialSettings { baud, data_bits, parity, stop_bits, .. } = *serial;
        Self { baud, data_bits, parity, stop_bits }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parity = match self.parity {
            Parity::None => 'N',
            Parity::Even => 'E',
            Parity::Odd => 'O',
        };
        write!(f, "{} {}{parity}{}", self.baud, self.data_bits, self.stop_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(choice: &Choice, ascii: bool) -> Vec<String> {
        Setting::to_try(choice, ascii).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_one_meets_comes_first() {
        let settings = words(&Choice::default(), false);
        assert_eq!(settings[..4], ["9600 8N1", "19200 8E1", "9600 8E1", "115200 8N1"]);
        assert_eq!(words(&Choice::default(), true)[0], "9600 7E1");
    }

    #[test]
    fn what_is_told_is_crossed_with_what_was_left_open() {
        let choice = Choice { baud: vec![9_600, 19_200], ..Choice::default() };
        assert_eq!(
            words(&choice, false),
            ["9600 8N1", "19200 8N1", "9600 8E1", "19200 8E1", "9600 8O1", "19200 8O1"]
        );
        let choice = Choice {
            baud: vec![9_600],
            parity: vec![Parity::None],
            stop_bits: vec![2, 2],
            ..Choice::default()
        };
        assert_eq!(words(&choice, false), ["9600 8N2"]);
        let choice = Choice { parity: vec![Parity::Odd], ..Choice::default() };
        assert_eq!(words(&choice, true).len(), RATES.len());
        assert_eq!(words(&choice, true)[0], "9600 7O1");
    }
}

//! core: what passed on a bus, as it is told to another process.

use serde::{Deserialize, Serialize};

use crate::field::watch::ring::{Kind, RingCopy};
use crate::field::watch::traffic::{Framing, Passed};

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameKind {
    /// Bytes that were sent.
    Sent,
    /// Bytes that came.
    Received,
    /// What the gateway made of what passed before.
    Note,
    /// The port or connection was opened.
    Opened,
    /// It was lost.
    Lost,
}

impl From<Kind> for FrameKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Sent => Self::Sent,
            Kind::Received => Self::Received,
            Kind::Note => Self::Note,
            Kind::Opened => Self::Opened,
            Kind::Lost => Self::Lost,
        }
    }
}

/// A frame, a stretch of bytes that is none, or a word about them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameReport {
    /// Grows from entry to entry since the bus started; those that came in one stretch share it.
    pub number: u64,
    /// When it began by the wall clock, in microseconds since the Unix epoch.
    pub wall_us: u64,
    /// When it began by the monotonic clock, in microseconds since the bus started.
    pub mono_us: u64,
    /// What it is.
    pub kind: FrameKind,
    /// The bytes, two digits each; empty for words.
    pub hex: String,
    /// In words.
    pub words: String,
    /// Whether it is a frame that came over as it was sent; `None` where that cannot be told.
    pub sound: Option<bool>,
}

impl From<Passed> for FrameReport {
    fn from(passed: Passed) -> Self {
        let Passed { number, kind, wall_us, mono_us, bytes, words, is_sound } = passed;
        let (kind, hex) = (kind.into(), hex(&bytes));
        Self { number, wall_us, mono_us, kind, hex, words, sound: is_sound }
    }
}

impl FrameReport {
    /// The bytes that passed; `None` if they are not well written.
    #[must_use]
    pub fn bytes(&self) -> Option<Vec<u8>> {
        let digit = |c: &u8| char::from(*c).to_digit(16).and_then(|it| u8::try_from(it).ok());
        let (pairs, []) = self.hex.as_bytes().as_chunks::<2>() else { return None };
        pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.filter_map(|digit| DIGITS.get(usize::from(digit))).map(|c| char::from(*c)).collect()
}

/// What is known of all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FramesReport {
    /// The bus.
    pub bus: String,
    /// How its frames are wrapped: `rtu`, `ascii`, `tcp`, `udp`, or `plain` where it speaks no Modbus.
    pub framing: String,
    /// Bytes that are kept, what they cost beside their content included.
    pub bytes_kept: u64,
    /// The most that is kept.
    pub bytes_max: u64,
    /// Entries that were kept once and had to go.
    pub gone: u64,
}

impl FramesReport {
    /// Of what was copied.
    #[must_use]
    pub fn new(bus: &str, framing: Framing, copy: &RingCopy) -> Self {
        Self {
            bus: bus.to_owned(),
            framing: framing.word().to_owned(),
            bytes_kept: copy.bytes_kept() as u64,
            bytes_max: copy.bytes_max as u64,
            gone: copy.gone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_as_they_went() {
        let passed = Passed {
            number: 7,
            kind: Kind::Sent,
            wall_us: 1,
            mono_us: 2,
            bytes: vec![0x00, 0x3a, 0xff],
            words: "unit 3 read holding 0+1".to_owned(),
            is_sound: None,
        };
        let mut report = FrameReport::from(passed);
        assert_eq!((report.hex.as_str(), report.bytes()), ("003aff", Some(vec![0, 0x3a, 0xff])));
        for wrong in ["0", "0g", "é"] {
            report.hex = wrong.to_owned();
            assert_eq!(report.bytes(), None, "{wrong}");
        }
    }
}

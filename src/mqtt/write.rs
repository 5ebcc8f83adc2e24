//! core: the primitives every packet is written with (MQTT 5.0 section 1.5), and the measure taken before.

use bytes::{BufMut, BytesMut};

use super::error::EncodeError;
use super::properties::PropertySet;
use crate::model::TopicName;

/// Where a packet is written: a buffer, or a [`Measure`] that only counts. One body of code serves both, so what was
/// measured is what is written.
pub(super) trait Sink {
    /// One byte.
    fn byte(&mut self, value: u8);
    /// A two byte integer (1.5.2).
    fn two(&mut self, value: u16);
    /// A four byte integer (1.5.3).
    fn four(&mut self, value: u32);
    /// A variable byte integer (1.5.5).
    fn variable(&mut self, value: usize);
    /// Bytes without a length: the payload of PUBLISH.
    fn raw(&mut self, bytes: &[u8]);
    /// A UTF-8 string with its length (1.5.4).
    fn text(&mut self, text: &str);
    /// Binary data with its length (1.5.6).
    fn binary(&mut self, data: &[u8]);

    /// A topic name (4.7), whose characters and length are right; an empty string for none.
    fn topic(&mut self, topic: Option<&TopicName>) {
        self.binary(topic.map_or("", TopicName::as_str).as_bytes());
    }

    /// A property section with its length (2.2.2).
    fn properties<P: PropertySet>(&mut self, set: &P)
    where
        Self: Sized,
    {
        let mut section = Measure::default();
        set.write(&mut section);
        self.variable(section.bytes);
        set.write(self);
    }
}

/// Counts the bytes of a packet and notes the first string or data that MQTT cannot carry.
#[derive(Default)]
pub(super) struct Measure {
    /// The bytes so far.
    pub(super) bytes: usize,
    /// Why this cannot be written.
    pub(super) refused: Option<EncodeError>,
}

impl Measure {
    fn prefixed(&mut self, length: usize) {
        if length > usize::from(u16::MAX) {
            self.refused.get_or_insert(EncodeError::TooLong { bytes: length });
        }
        self.bytes = self.bytes.saturating_add(length).saturating_add(2);
    }
}

impl Sink for Measure {
    fn byte(&mut self, _: u8) {
        self.bytes += 1;
    }

    fn two(&mut self, _: u16) {
        self.bytes += 2;
    }

    fn four(&mut self, _: u32) {
        self.bytes += 4;
    }

    fn variable(&mut self, value: usize) {
        self.bytes += variable_len(value);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.bytes = self.bytes.saturating_add(bytes.len());
    }

    fn text(&mut self, text: &str) {
        if text.contains('\0') {
            self.refused.get_or_insert(EncodeError::NullCharacter);
        }
        self.prefixed(text.len());
    }

    fn binary(&mut self, data: &[u8]) {
        self.prefixed(data.len());
    }
}

impl Sink for BytesMut {
    fn byte(&mut self, value: u8) {
        self.put_u8(value);
    }

    fn two(&mut self, value: u16) {
        self.put_u16(value);
    }

    fn four(&mut self, value: u32) {
        self.put_u32(value);
    }

    fn variable(&mut self, mut value: usize) {
        while value > 0x7f {
            self.put_u8(low_seven_bits(value) | 0x80);
            value >>= 7;
        }
        self.put_u8(low_seven_bits(value));
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.put_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.binary(text.as_bytes());
    }

    fn binary(&mut self, data: &[u8]) {
        let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
        debug_assert_eq!(usize::from(length), data.len(), "measured before it is written");
        self.put_u16(length);
        self.put_slice(data);
    }
}

#[allow(clippy::cast_possible_truncation, reason = "seven bits fit")]
fn low_seven_bits(value: usize) -> u8 {
    (value & 0x7f) as u8
}

/// How many bytes a variable byte integer takes.
pub(super) fn variable_len(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

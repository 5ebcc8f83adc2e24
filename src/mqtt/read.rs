//! core: the primitives every packet is read with (MQTT 5.0 section 1.5).

use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::Bytes;

use super::error::CodecError;
use super::packet::{PacketId, Version};
use super::properties::{Property, PropertySet};
use super::reason::ReasonCode;
use crate::model::{TopicFilter, TopicName};

/// The largest number a variable byte integer can hold (MQTT 5.0 section 1.5.5).
pub(super) const VARIABLE_MAX: u32 = 268_435_455;

/// Takes a variable byte integer (1.5.5) off the front of `bytes`: its value and its length in bytes, or `None` if more
/// bytes must come first.
pub(super) fn variable(bytes: &[u8]) -> Result<Option<(u32, usize)>, CodecError> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            if byte == 0 && index > 0 {
                return Err(CodecError::LengthNotMinimal { bytes: index + 1 });
            }
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() >= 4 { Err(CodecError::LengthTooLong) } else { Ok(None) }
}

/// The part of one packet, or of one property section, that is still to be read.
pub(super) struct Reader<'a> {
    packet: &'static str,
    version: Version,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `rest`, the body of a packet called `packet` in errors.
    pub(super) fn new(packet: &'static str, version: Version, rest: &'a [u8]) -> Self {
        Self { packet, version, rest }
    }

    /// The packet's name, for errors.
    pub(super) fn packet(&self) -> &'static str {
        self.packet
    }

    /// The version the packet is read in.
    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// CONNECT alone learns its version while it is read.
    pub(super) fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    /// Whether everything was read.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Refuses bytes that no field claims.
    pub(super) fn end(&self) -> Result<(), CodecError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(CodecError::TrailingBytes { packet: self.packet, bytes: self.rest.len() })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], CodecError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(CodecError::Truncated { packet: self.packet })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(CodecError::Truncated { packet: self.packet })?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte.
    pub(super) fn byte(&mut self) -> Result<u8, CodecError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A two byte integer (1.5.2).
    pub(super) fn two(&mut self) -> Result<u16, CodecError> {
        self.array().map(u16::from_be_bytes)
    }

    /// A four byte integer (1.5.3).
    pub(super) fn four(&mut self) -> Result<u32, CodecError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A variable byte integer (1.5.5).
    pub(super) fn variable(&mut self) -> Result<u32, CodecError> {
        let (value, length) =
            variable(self.rest)?.ok_or(CodecError::Truncated { packet: self.packet })?;
        self.take(length)?;
        Ok(value)
    }

    /// A UTF-8 string (1.5.4), borrowed.
    pub(super) fn str(&mut self) -> Result<&'a str, CodecError> {
        let length = self.two()?;
        let text = self.take(usize::from(length))?;
        let text =
            std::str::from_utf8(text).map_err(|_| CodecError::Utf8 { packet: self.packet })?;
        if text.contains('\0') {
            return Err(CodecError::NullCharacter { packet: self.packet });
        }
        Ok(text)
    }

    /// A UTF-8 string (1.5.4).
    pub(super) fn text(&mut self) -> Result<Arc<str>, CodecError> {
        self.str().map(Arc::from)
    }

    /// Binary data (1.5.6).
    pub(super) fn binary(&mut self) -> Result<Bytes, CodecError> {
        let length = self.two()?;
        self.take(usize::from(length)).map(Bytes::copy_from_slice)
    }

    /// All that is left: the payload of PUBLISH.
    pub(super) fn remainder(&mut self) -> Bytes {
        Bytes::copy_from_slice(std::mem::take(&mut self.rest))
    }

    /// A packet id (2.2.1), never 0.
    pub(super) fn packet_id(&mut self) -> Result<PacketId, CodecError> {
        let id = self.two()?;
        NonZeroU16::new(id).map(PacketId).ok_or(CodecError::PacketIdZero { packet: self.packet })
    }

    /// A topic name (4.7), never empty.
    pub(super) fn topic_name(&mut self) -> Result<TopicName, CodecError> {
        TopicName::new(self.str()?)
            .map_err(|rule| CodecError::TopicName { packet: self.packet, rule })
    }

    /// A topic filter (4.7), with the rules of `$share` (4.8.2) in 5.0, which alone knows them.
    pub(super) fn topic_filter(&mut self) -> Result<TopicFilter, CodecError> {
        let filter = TopicFilter::new(self.str()?)
            .map_err(|rule| CodecError::TopicFilter { packet: self.packet, rule })?;
        if self.version == Version::V5 && Share::of(filter.as_str()) == Share::Malformed {
            return Err(CodecError::ShareName { packet: self.packet });
        }
        Ok(filter)
    }

    /// A reason code, one of those `permitted` in this packet.
    pub(super) fn reason(&mut self, permitted: &[ReasonCode]) -> Result<ReasonCode, CodecError> {
        let byte = self.byte()?;
        ReasonCode::from_byte(byte)
            .filter(|reason| permitted.contains(reason))
            .ok_or(CodecError::Reason { packet: self.packet, byte })
    }

    /// A property section with its length (2.2.2), into the fields of `set`.
    pub(super) fn properties<P: PropertySet>(&mut self, set: &mut P) -> Result<(), CodecError> {
        self.section()?.fill(set)
    }

    /// Takes a property section (2.2.2) off, to [`fill`](Self::fill) its set when that can be made.
    pub(super) fn section(&mut self) -> Result<Self, CodecError> {
        let length = self.variable()?;
        let rest = self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        Ok(Self { rest, ..*self })
    }

    /// Reads all of a property section into the fields of `set`.
    pub(super) fn fill<P: PropertySet>(mut self, set: &mut P) -> Result<(), CodecError> {
        while !self.is_empty() {
            let id = self.variable()?;
            let property = Property::from_id(id)
                .ok_or(CodecError::PropertyUnknown { packet: self.packet, id })?;
            set.read(property, &mut self)?;
        }
        Ok(())
    }
}

/// What a filter of 5.0 says of sharing (4.8.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// Not a shared subscription.
    No,
    /// `$share/name/filter`.
    Yes,
    /// Begins with `$share/` and breaks [MQTT-4.8.2-1] or [MQTT-4.8.2-2].
    Malformed,
}

impl Share {
    pub(super) fn of(filter: &str) -> Self {
        let Some(shared) = filter.strip_prefix("$share/") else { return Self::No };
        match shared.split_once('/') {
            Some((name, filter))
                if !name.is_empty() && !name.contains(['+', '#']) && !filter.is_empty() =>
            {
                Self::Yes
            }
            Some(_) | None => Self::Malformed,
        }
    }
}

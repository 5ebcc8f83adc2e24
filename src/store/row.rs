//! core: how a message's flags, targets and properties stand in a row.

use std::sync::Arc;

use bytes::Bytes;

use super::change::{SessionId, Target};
use crate::model::{Body, MessageProperties, QoS, TimePlaces, Timestamp, TopicName, Unsynced};

/// Why a row cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// A column ends before its content does.
    #[error("the column {column} ends too early")]
    Short {
        /// Which column.
        column: &'static str,
    },
    /// A column holds something that was never written there.
    #[error("the column {column} holds something that does not belong there")]
    Foreign {
        /// Which column.
        column: &'static str,
    },
    /// A column does not have the checksum it was written with.
    #[error("the column {column} is damaged: its checksum does not fit")]
    Damaged {
        /// Which column.
        column: &'static str,
    },
}

/// QoS in the low two bits, the retain flag above them.
pub(super) fn flags(qos: QoS, retain: bool) -> u8 {
    qos.level() | u8::from(retain) << 2
}

/// The inverse of [`flags`].
pub(super) fn read_flags(flags: u8) -> Result<(QoS, bool), RowError> {
    let qos = QoS::try_from(flags & 3).map_err(|_| RowError::Foreign { column: "flags" })?;
    Ok((qos, flags & 4 != 0))
}

/// The bit of a message's flags that says it is of the gateway itself.
const READING: u8 = 8;
/// The bit that says it was taken before the clock was synchronised.
const UNSYNCED: u8 = 16;
/// The bit that says it tells of several points.
const DEVICE: u8 = 32;
/// The bit that says it is in the operator's words.
const WORDED: u8 = 64;

/// What a message's flags say of its body, beside [`flags`].
pub(super) fn body_flags(body: Body) -> u8 {
    let kind = match body {
        Body::Foreign => return 0,
        Body::Reading { .. } => READING,
        Body::Device { .. } => READING | DEVICE,
        Body::Worded { .. } => READING | WORDED,
    };
    kind | if body.unsynced_at().is_some() { UNSYNCED } else { 0 }
}

/// What of a body does not fit into the flags, little endian.
pub(super) fn write_body(body: Body, out: &mut Vec<u8>) {
    if let Some(at) = body.unsynced_at() {
        out.extend_from_slice(&at.to_le_bytes());
    }
    match body {
        Body::Device { points, .. } => out.extend_from_slice(&points.to_le_bytes()),
        Body::Worded { unsynced: Some(Unsynced { said, places, .. }) } => {
            out.extend_from_slice(&said.unix_ms().to_le_bytes());
            for place in places.to_numbers() {
                out.extend_from_slice(&place.to_le_bytes());
            }
        }
        Body::Foreign | Body::Reading { .. } | Body::Worded { unsynced: None } => {}
    }
}

/// The inverse of [`body_flags`] and [`write_body`]; `None` if `from` ends too early.
pub(super) fn read_body(flags: u8, from: &mut &[u8]) -> Option<Body> {
    fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
        let (head, rest) = from.split_first_chunk()?;
        *from = rest;
        Some(*head)
    }
    if flags & READING == 0 {
        return Some(Body::Foreign);
    }
    let unsynced_at = match flags & UNSYNCED {
        0 => None,
        _ => Some(u64::from_le_bytes(take(from)?)),
    };
    if flags & DEVICE != 0 {
        return Some(Body::Device { unsynced_at, points: u32::from_le_bytes(take(from)?) });
    }
    if flags & WORDED == 0 {
        return Some(Body::Reading { unsynced_at });
    }
    let Some(taken_ms) = unsynced_at else { return Some(Body::Worded { unsynced: None }) };
    let said = Timestamp::from_unix_ms(u64::from_le_bytes(take(from)?));
    let mut numbers = [0; TimePlaces::MAX];
    for number in &mut numbers {
        *number = u32::from_le_bytes(take(from)?);
    }
    let places = TimePlaces::from_numbers(numbers);
    Some(Body::Worded { unsynced: Some(Unsynced { taken_ms, said, places }) })
}

/// The body of a retained message, of which the flags alone are kept.
pub(super) fn retained_body(flags: u8) -> Body {
    if flags & READING == 0 { Body::Foreign } else { Body::Reading { unsynced_at: None } }
}

/// The bit of a target's flags that says it gets the message as the member of a shared subscription.
const SHARED: u8 = 8;
/// Bytes of a target.
pub(super) const TARGET_LEN: usize = 5;

/// Five bytes a target: the session, little endian, and its flags.
pub(super) fn write_targets(targets: &[Target], out: &mut Vec<u8>) {
    for target in targets {
        out.extend_from_slice(&target.session.0.to_le_bytes());
        let shared = if target.shared { SHARED } else { 0 };
        out.push(flags(target.qos, target.retain) | shared);
    }
}

/// The inverse of [`write_targets`].
pub(super) fn read_targets(bytes: &[u8]) -> Result<Arc<[Target]>, RowError> {
    let (chunks, rest) = bytes.as_chunks::<TARGET_LEN>();
    if !rest.is_empty() {
        return Err(RowError::Short { column: "targets" });
    }
    chunks
        .iter()
        .map(|&[a, b, c, d, bits]| {
            let (qos, retain) = read_flags(bits)?;
            let session = SessionId(u32::from_le_bytes([a, b, c, d]));
            Ok(Target { session, qos, retain, shared: bits & SHARED != 0 })
        })
        .collect()
}

const PAYLOAD_FORMAT: u8 = 1;
const CONTENT_TYPE: u8 = 2;
const RESPONSE_TOPIC: u8 = 3;
const CORRELATION_DATA: u8 = 4;
const USER_PROPERTY: u8 = 5;

/// A list of tag, length (little endian, four bytes), bytes; a user property is two such fields.
pub(super) fn write_properties(properties: &MessageProperties) -> Vec<u8> {
    let mut out = Vec::new();
    let mut field = |tag: u8, bytes: &[u8]| {
        // Every field came out of an MQTT packet, where none is longer than 65,535 bytes.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        out.push(tag);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(bytes);
    };
    if let Some(is_utf8) = properties.payload_is_utf8 {
        field(PAYLOAD_FORMAT, &[u8::from(is_utf8)]);
    }
    if let Some(text) = &properties.content_type {
        field(CONTENT_TYPE, text.as_bytes());
    }
    if let Some(topic) = &properties.response_topic {
        field(RESPONSE_TOPIC, topic.as_str().as_bytes());
    }
    if let Some(data) = &properties.correlation_data {
        field(CORRELATION_DATA, data);
    }
    for (name, value) in &properties.user_properties {
        field(USER_PROPERTY, name.as_bytes());
        field(USER_PROPERTY, value.as_bytes());
    }
    out
}

/// The inverse of [`write_properties`].
pub(super) fn read_properties(mut bytes: &[u8]) -> Result<MessageProperties, RowError> {
    let mut properties = MessageProperties::default();
    let foreign = RowError::Foreign { column: "properties" };
    while !bytes.is_empty() {
        let (tag, value) = take_field(&mut bytes)?;
        match tag {
            PAYLOAD_FORMAT => properties.payload_is_utf8 = Some(value == [1]),
            CONTENT_TYPE => properties.content_type = Some(text(value)?),
            RESPONSE_TOPIC => {
                let topic = TopicName::new(&text(value)?).map_err(|_| foreign)?;
                properties.response_topic = Some(topic);
            }
            CORRELATION_DATA => properties.correlation_data = Some(Bytes::copy_from_slice(value)),
            USER_PROPERTY => {
                let name = text(value)?;
                let (tag, value) = take_field(&mut bytes)?;
                if tag != USER_PROPERTY {
                    return Err(foreign);
                }
                properties.user_properties.push((name, text(value)?));
            }
            _ => return Err(foreign),
        }
    }
    Ok(properties)
}

fn take_field<'a>(bytes: &mut &'a [u8]) -> Result<(u8, &'a [u8]), RowError> {
    let short = RowError::Short { column: "properties" };
    let (&[tag, a, b, c, d], rest) = bytes.split_first_chunk::<5>().ok_or(short)?;
    let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    let (value, rest) = rest.split_at_checked(length).ok_or(short)?;
    *bytes = rest;
    Ok((tag, value))
}

fn text(bytes: &[u8]) -> Result<Arc<str>, RowError> {
    std::str::from_utf8(bytes)
        .map(Arc::from)
        .map_err(|_| RowError::Foreign { column: "properties" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_come_back_as_they_went_in() {
        let properties = MessageProperties {
            payload_is_utf8: Some(true),
            content_type: Some("application/json".into()),
            response_topic: Some(TopicName::new("a/b").unwrap()),
            correlation_data: Some(Bytes::from_static(&[0, 255, 7])),
            user_properties: vec![("k".into(), "v".into()), ("k".into(), String::new().into())],
        };
        assert_eq!(read_properties(&write_properties(&properties)), Ok(properties));
        assert_eq!(read_properties(&[]), Ok(MessageProperties::default()));
    }

    #[test]
    fn a_damaged_column_is_an_error_and_not_a_panic() {
        assert_eq!(
            read_properties(&[2, 255, 0, 0, 0]),
            Err(RowError::Short { column: "properties" })
        );
        assert_eq!(
            read_properties(&[9, 0, 0, 0, 0]),
            Err(RowError::Foreign { column: "properties" })
        );
        assert_eq!(read_targets(&[1, 2, 3]), Err(RowError::Short { column: "targets" }));
        assert_eq!(read_targets(&[1, 0, 0, 0, 3]), Err(RowError::Foreign { column: "flags" }));
    }

    #[test]
    fn targets_come_back_as_they_went_in() {
        let targets = [
            Target { session: SessionId(1), qos: QoS::ExactlyOnce, retain: false, shared: false },
            Target { session: SessionId(70_000), qos: QoS::AtMostOnce, retain: true, shared: true },
        ];
        let mut bytes = Vec::new();
        write_targets(&targets, &mut bytes);
        assert_eq!(bytes.len(), targets.len() * TARGET_LEN);
        assert_eq!(read_targets(&bytes).unwrap().as_ref(), targets);
    }
}

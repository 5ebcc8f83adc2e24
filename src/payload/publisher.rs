//! core: what a reading looks like on its way: its topic, its JSON, its id.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use crate::model::{
    Body, ClockState, Message, QoS, Reading, ReadingId, Timestamp, TopicError, TopicFilter,
    TopicName, Value,
};

/// What stands behind the time of a reading while the clock cannot be believed.
pub(super) const UNSYNCED_MARK: &str = ",\"clock\":\"unsynced\"";

/// Names readings and device states in the topics of one gateway.
#[derive(Debug, Clone)]
pub struct Publisher {
    gateway: Arc<str>,
    start: u64,
    last_number: u64,
}

impl Publisher {
    /// A publisher for the gateway's `start`-th start; readings are numbered from 1.
    #[must_use]
    pub fn new(gateway: Arc<str>, start: u64) -> Self {
        Self { gateway, start, last_number: 0 }
    }

    /// The topic where uplinks say `online` and `offline`.
    ///
    /// # Errors
    /// [`TopicError`] if the gateway id is no topic level.
    pub fn status_topic(gateway: &str) -> Result<TopicName, TopicError> {
        TopicName::new(&format!("{gateway}/status"))
    }

    /// The topic where the LAN is told how an uplink is doing.
    ///
    /// # Errors
    /// [`TopicError`] if the gateway id or the name is no topic level.
    pub fn uplink_topic(gateway: &str, uplink: &str) -> Result<TopicName, TopicError> {
        TopicName::new(&format!("{gateway}/uplinks/{uplink}/state"))
    }

    /// All of these topics: they are of no use upstream.
    ///
    /// # Errors
    /// [`TopicError`] if the gateway id is no topic level.
    pub fn uplinks_filter(gateway: &str) -> Result<TopicFilter, TopicError> {
        TopicFilter::new(&format!("{gateway}/uplinks/#"))
    }

    /// The topic where an upstream is told of messages it will not get.
    ///
    /// # Errors
    /// [`TopicError`] if the gateway id is no topic level.
    pub fn drops_topic(gateway: &str) -> Result<TopicName, TopicError> {
        TopicName::new(&format!("{gateway}/gateway/dropped"))
    }

    /// The topic where the gateway says how it is doing.
    ///
    /// # Errors
    /// [`TopicError`] if the gateway id is no topic level.
    pub fn state_topic(gateway: &str) -> Result<TopicName, TopicError> {
        TopicName::new(&format!("{gateway}/gateway/state"))
    }

    /// How many readings were published since the start.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.last_number
    }

    /// The message for a reading: topic `{gateway}/{device}/{point}`, the JSON of [`payload`], QoS as high as each
    /// subscription wants it. `clock` says whether the time of the reading may be believed.
    ///
    /// # Errors
    /// [`TopicError`] if a name is no topic level.
    pub fn reading(&mut self, reading: &Reading, clock: ClockState) -> Result<Message, TopicError> {
        let topic = format!("{}/{}/{}", self.gateway, reading.point.device, reading.point.point);
        let topic = TopicName::new(&topic)?;
        self.last_number += 1;
        let id = ReadingId { start: self.start, number: self.last_number };
        let is_dated = clock.covers(reading.taken);
        let payload = payload(reading, &self.gateway, id, is_dated);
        let unsynced_at = (!is_dated).then_some(reading.taken.boot_ms);
        let message = message(topic, Bytes::from(payload), false, reading.taken.wall);
        Ok(Message { body: Body::Reading { unsynced_at }, ..message })
    }

    /// The retained message for a device's state: `online`, or `offline` with nothing else.
    ///
    /// # Errors
    /// [`TopicError`] if the name is no topic level.
    pub fn device(
        &self,
        device: &str,
        online: bool,
        time: Timestamp,
    ) -> Result<Message, TopicError> {
        let topic = TopicName::new(&format!("{}/{device}/status", self.gateway))?;
        let payload: &'static [u8] = if online { b"online" } else { b"offline" };
        Ok(message(topic, Bytes::from_static(payload), true, time))
    }

    /// Messages that take back what is retained of devices which are not among `devices` any more: their last state would
    /// stand for ever.
    #[must_use]
    pub fn taken_back(
        &self,
        retained: &[Message],
        devices: &BTreeSet<Arc<str>>,
        time: Timestamp,
    ) -> Vec<Message> {
        let is_gone = |topic: &TopicName| {
            let device = topic.as_str().strip_prefix(&*self.gateway);
            let device = device.and_then(|rest| rest.strip_prefix('/')?.strip_suffix("/status"));
            device.is_some_and(|device| !device.contains('/') && !devices.contains(device))
        };
        let gone = retained.iter().map(|message| &message.topic).filter(|topic| is_gone(topic));
        gone.map(|topic| message(topic.clone(), Bytes::new(), true, time)).collect()
    }
}

fn message(topic: TopicName, payload: Bytes, retain: bool, accepted: Timestamp) -> Message {
    let qos = QoS::ExactlyOnce;
    Message {
        topic,
        payload,
        qos,
        retain,
        properties: None,
        accepted,
        expires: None,
        body: Body::Foreign,
    }
}

/// The JSON of a reading, keys in this order: `value` (`null` without one), `unit` if it has one, `quality`, `reason` if the
/// quality is not good, `time` (RFC 3339, UTC, milliseconds), `clock` (`unsynced`) if the time is by a clock that cannot be
/// believed (not `is_dated`), `id` (`{gateway}-{start}-{number}`).
#[must_use]
pub fn payload(reading: &Reading, gateway: &str, id: ReadingId, is_dated: bool) -> String {
    let mut json = String::with_capacity(160);
    json.push_str("{\"value\":");
    match &reading.value {
        None => json.push_str("null"),
        Some(value) => push_value(&mut json, value),
    }
    if let Some(unit) = &reading.unit {
        json.push_str(",\"unit\":");
        push_text(&mut json, unit);
    }
    _ = write!(json, ",\"quality\":\"{}\"", reading.quality.word());
    if let Some(reason) = reading.quality.reason() {
        json.push_str(",\"reason\":");
        push_text(&mut json, reason);
    }
    _ = write!(json, ",\"time\":\"{}\"", reading.taken.wall);
    if !is_dated {
        json.push_str(UNSYNCED_MARK);
    }
    json.push_str(",\"id\":");
    // The gateway id has no character that JSON would escape.
    _ = write!(json, "\"{gateway}-{}-{}\"}}", id.start, id.number);
    json
}

/// Writes a value as JSON.
pub fn push_value(json: &mut String, value: &Value) {
    match value {
        Value::Text(text) => push_text(json, text),
        Value::List(values) => {
            json.push('[');
            for (index, value) in values.iter().enumerate() {
                json.push_str(if index > 0 { "," } else { "" });
                match value {
                    Some(value) => push_value(json, value),
                    None => json.push_str("null"),
                }
            }
            json.push(']');
        }
        // Writing to a String cannot fail.
        Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Float { .. } => {
            _ = write!(json, "{value}");
        }
    }
}

/// Writes a JSON string (RFC 8259 section 7).
pub fn push_text(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            control if u32::from(control) < 0x20 => {
                _ = write!(json, "\\u{:04x}", u32::from(control));
            }
            other => json.push(other),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Moment, PointName, Quality};

    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    fn moment(unix_ms: u64, boot_ms: u64) -> Moment {
        let mono = std::time::Instant::now();
        Moment { mono, wall: Timestamp::from_unix_ms(unix_ms), boot_ms }
    }

    fn reading(value: Option<Value>, quality: Quality) -> Reading {
        Reading {
            point: PointName { device: "boiler".into(), point: "flow".into() },
            value,
            unit: Some("°C".into()),
            quality,
            taken: moment(1_795_230_600_123, 5_000),
        }
    }

    #[test]
    fn a_reading_becomes_the_documented_json() {
        let mut publisher = Publisher::new("pump-house".into(), 7);
        let value = Value::Float { value: 21.4, decimals: Some(1) };
        let reading = reading(Some(value), Quality::Good);
        let message = publisher.reading(&reading, ClockState::default()).expect("well named");
        assert_eq!(message.body, Body::Reading { unsynced_at: None });
        assert_eq!(message.topic.as_str(), "pump-house/boiler/flow");
        assert_eq!(
            std::str::from_utf8(&message.payload).expect("text"),
            r#"{"value":21.4,"unit":"°C","quality":"good","time":"2026-11-21T03:10:00.123Z","id":"pump-house-7-1"}"#
        );
    }

    #[test]
    fn a_reading_by_a_clock_nobody_can_believe_says_so() {
        let mut publisher = Publisher::new("pump-house".into(), 7);
        let mut reading = reading(Some(Value::Bool(true)), Quality::Good);
        let mut publish = |reading: &Reading, clock| {
            let message = publisher.reading(reading, clock).expect("well named");
            let json: serde_json::Value = serde_json::from_slice(&message.payload).expect("JSON");
            (json.get("clock").cloned(), message.body)
        };
        let marked = (Some("unsynced".into()), Body::Reading { unsynced_at: Some(5_000) });
        assert_eq!(publish(&reading, ClockState::Unsynced), marked);
        // It was taken before the clock was set, and is carried after.
        assert_eq!(publish(&reading, ClockState::Synced { since_ms: 5_001 }), marked);
        let plain = (None, Body::Reading { unsynced_at: None });
        assert_eq!(publish(&reading, ClockState::Synced { since_ms: 5_000 }), plain);
        reading.taken = moment(60_000, 5_000);
        assert_eq!(publish(&reading, ClockState::default()), marked);
    }

    #[test]
    fn the_state_of_a_device_that_was_removed_is_taken_back() {
        let publisher = Publisher::new("gw".into(), 7);
        let time = Timestamp::default();
        let state = |topic: &str| {
            message(TopicName::new(topic).expect("a topic"), Bytes::from("online"), true, time)
        };
        let topics =
            ["gw/old/status", "gw/boiler/status", "gw/status", "gw/old/x/status", "lan/old/status"];
        let devices = BTreeSet::from(["boiler".into()]);
        let gone = publisher.taken_back(&topics.map(state), &devices, time);
        let gone: Vec<_> =
            gone.iter().map(|m| (m.topic.as_str(), m.retain, m.payload.len())).collect();
        assert_eq!(gone, [("gw/old/status", true, 0)]);
    }

    #[test]
    fn whatever_a_device_says_the_payload_is_json() {
        let text = "a\"b\\c\n\u{1}\u{7f}é";
        let reason = Quality::Stale { reason: "no answer; \"bus\"\t1".into() };
        let json = payload(
            &reading(Some(Value::Text(text.into())), reason),
            "g",
            ReadingId { start: 1, number: 2 },
            true,
        );
        let parsed: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(parsed["value"], text);
        assert_eq!(parsed["quality"], "stale");
        assert_eq!(parsed["reason"], "no answer; \"bus\"\t1");
        assert_eq!(parsed["id"], "g-1-2");
        let without = payload(
            &reading(None, Quality::Error { reason: "x".into() }),
            "g",
            ReadingId { start: 1, number: 3 },
            true,
        );
        let parsed: serde_json::Value = serde_json::from_str(&without).expect("JSON");
        assert!(parsed["value"].is_null());
    }

    #[test]
    fn a_list_is_a_json_array_with_null_where_a_value_is_missing() {
        let text = Value::Text("a\"b".into());
        let float = Value::Float { value: 1.5, decimals: Some(2) };
        let list = Value::List(Arc::from([Some(text), None, Some(float), Some(Value::Int(-7))]));
        let id = ReadingId { start: 1, number: 1 };
        let json = payload(&reading(Some(list), Quality::Good), "g", id, true);
        assert!(json.starts_with(r#"{"value":["a\"b",null,1.50,-7],"#), "{json}");
        serde_json::from_str::<serde_json::Value>(&json).expect("JSON");
    }

    #[test]
    fn numbers_read_back_as_they_were() {
        for value in [0.1 + 0.2, 1e300, -1e-300, 5e-324, 16_777_217.0] {
            let json = payload(
                &reading(Some(Value::Float { value, decimals: None }), Quality::Good),
                "g",
                ReadingId { start: 1, number: 1 },
                true,
            );
            let parsed: serde_json::Value = serde_json::from_str(&json).expect("JSON");
            assert_eq!(parsed["value"].as_f64().map(f64::to_bits), Some(value.to_bits()));
        }
        let value = Value::UInt(u64::MAX);
        let json = payload(
            &reading(Some(value), Quality::Good),
            "g",
            ReadingId { start: 1, number: 1 },
            true,
        );
        let parsed: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(parsed["value"].as_u64(), Some(u64::MAX));
    }
}

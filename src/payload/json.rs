//! core: what is said as JSON: values, texts, and a reading with all that is known of it.

use std::fmt::Write as _;

use super::number::push_number;
use crate::model::{Reading, ReadingId, Value};

/// What stands behind the time of a reading while the clock cannot be believed.
pub(super) const UNSYNCED_MARK: &str = ",\"clock\":\"unsynced\"";

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
    json.push_str(",\"quality\":\"");
    json.push_str(reading.quality.word());
    json.push('"');
    if let Some(reason) = reading.quality.reason() {
        json.push_str(",\"reason\":");
        push_text(&mut json, reason);
    }
    _ = write!(json, ",\"time\":\"{}\"", reading.taken.wall);
    if !is_dated {
        json.push_str(UNSYNCED_MARK);
    }
    json.push_str(",\"id\":");
    push_id(&mut json, gateway, id);
    json.push('}');
    json
}

/// Writes an id as JSON.
pub(super) fn push_id(json: &mut String, gateway: &str, id: ReadingId) {
    // The gateway id has no character that JSON would escape.
    json.push('"');
    json.push_str(gateway);
    json.push('-');
    push_number(json, id.start);
    json.push('-');
    push_number(json, id.number);
    json.push('"');
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
        Value::UInt(value) => push_number(json, *value),
        Value::Int(value) if *value >= 0 => push_number(json, value.unsigned_abs()),
        // Writing to a String cannot fail.
        Value::Bool(_) | Value::Int(_) | Value::Float { .. } => {
            _ = write!(json, "{value}");
        }
    }
}

/// Writes a JSON string (RFC 8259 section 7).
pub fn push_text(json: &mut String, text: &str) {
    json.push('"');
    push_escaped(json, text);
    json.push('"');
}

/// Writes a text as it stands in a JSON string.
pub(super) fn push_escaped(json: &mut String, text: &str) {
    // Names and units stand in every message, and hardly one of them has anything to escape.
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        json.push_str(text);
        return;
    }
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
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Moment, PointName, Quality, Timestamp};

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

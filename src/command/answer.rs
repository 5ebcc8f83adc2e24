//! core: the answer to a request as JSON.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value as Json;

use super::writing::{End, Outcome};
use crate::model::{Body, Message, MessageProperties, QoS, Timestamp, TopicError, TopicName};
use crate::payload::{push_text, push_value};

/// What an answer is about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum About<'a> {
    /// The one point of the topic, or a request that could not be read.
    One(&'a Outcome),
    /// Points of a device, each with what became of it.
    Points(&'a [(Arc<str>, Outcome)]),
}

/// The JSON of an answer, keys in this order: `id` if the request had one, `result` (`confirmed`, `written`, `refused`,
/// `failed` or `unknown`; of several points the worst), `value` and `before` as far as they are known, `reason` if there is
/// something to say; for several points these but the id under `points` by name; `time` (RFC 3339, UTC, milliseconds).
#[must_use]
pub fn payload(id: Option<&Json>, about: About<'_>, time: Timestamp) -> Bytes {
    let mut json = String::from("{");
    // Writing to a String cannot fail.
    if let Some(id) = id {
        _ = write!(json, "\"id\":{id},");
    }
    match about {
        About::One(outcome) => push_outcome(&mut json, outcome),
        About::Points(points) => {
            let worst = points.iter().map(|(_, outcome)| outcome.end).max();
            _ = write!(json, "\"result\":\"{}\",\"points\":{{", worst.unwrap_or(End::Refused));
            for (index, (name, outcome)) in points.iter().enumerate() {
                json.push_str(if index > 0 { "," } else { "" });
                push_text(&mut json, name);
                json.push_str(":{");
                push_outcome(&mut json, outcome);
                json.push('}');
            }
            json.push('}');
        }
    }
    _ = write!(json, ",\"time\":\"{time}\"}}");
    Bytes::from(json)
}

fn push_outcome(json: &mut String, outcome: &Outcome) {
    _ = write!(json, "\"result\":\"{}\"", outcome.end);
    for (key, value) in [("value", &outcome.value), ("before", &outcome.before)] {
        if let Some(value) = value {
            _ = write!(json, ",\"{key}\":");
            push_value(json, value);
        }
    }
    if let Some(reason) = &outcome.reason {
        json.push_str(",\"reason\":");
        push_text(json, reason);
    }
}

/// Where the answer to a request goes: beside its topic, under `…/result`.
///
/// # Errors
/// [`TopicError`] if that is longer than a topic may be.
pub fn topic(request: &TopicName) -> Result<TopicName, TopicError> {
    TopicName::new(&format!("{request}/result"))
}

/// The message with an answer. The correlation data of the request goes with it (MQTT 5.0, 4.10).
#[must_use]
pub fn message(
    topic: TopicName,
    payload: Bytes,
    correlation: Option<&Bytes>,
    time: Timestamp,
) -> Message {
    let properties = correlation.map(|data| {
        let correlation_data = Some(data.clone());
        Arc::new(MessageProperties { correlation_data, ..MessageProperties::default() })
    });
    Message {
        topic,
        payload,
        qos: QoS::ExactlyOnce,
        retain: false,
        properties,
        accepted: time,
        expires: None,
        body: Body::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Value;

    #[test]
    fn an_answer_becomes_the_documented_json() {
        let float = |value| Some(Value::Float { value, decimals: Some(1) });
        let (value, before) = (float(55.0), float(20.5));
        let done = Outcome { end: End::Confirmed, value, before, reason: None };
        let at = Timestamp::from_unix_ms(1_795_230_600_123);
        let one = payload(Some(&json!("a\"1")), About::One(&done), at);
        assert_eq!(
            std::str::from_utf8(&one).expect("text"),
            r#"{"id":"a\"1","result":"confirmed","value":55.0,"before":20.5,"time":"2026-11-21T03:10:00.123Z"}"#
        );
        let points = [("flow".into(), done), ("pump".into(), Outcome::refused("no \"pump\""))];
        let several = payload(None, About::Points(&points), at);
        assert_eq!(
            std::str::from_utf8(&several).expect("text"),
            "{\"result\":\"refused\",\"points\":{\"flow\":{\"result\":\"confirmed\",\"value\":55.0,\"before\":20.5},\
             \"pump\":{\"result\":\"refused\",\"reason\":\"no \\\"pump\\\"\"}},\"time\":\"2026-11-21T03:10:00.123Z\"}"
        );
        serde_json::from_slice::<Json>(&several).expect("JSON");
    }
}

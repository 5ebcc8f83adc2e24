//! core: which messages are meant, and how one is written down.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::base64::{decode_base64, encode_base64};
use super::request::ExportRequest;
use crate::model::{Message, MessageProperties, Timestamp, TopicFilter};
use crate::store::{Selection, SessionId, SessionOwner, StoredMessage};

/// A message of the queue as it is handed out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExportedMessage {
    /// Its place in the order.
    pub seq: u64,
    /// When it entered the gateway, RFC 3339.
    pub accepted: String,
    /// When it stops being worth delivering, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Its topic.
    pub topic: String,
    /// How it was published.
    pub qos: u8,
    /// Whether it was published as retained.
    pub retain: bool,
    /// Its payload, if that is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// Its payload, if that is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
    /// MQTT 5.0 properties, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<Value>,
    /// The sessions that still wait for it.
    #[serde(rename = "for")]
    pub waiting: Vec<String>,
}

impl ExportedMessage {
    /// Writes a message down with those who wait for it.
    #[must_use]
    pub fn new(stored: &StoredMessage, waiting: &[SessionOwner]) -> Self {
        let Message { topic, payload, qos, retain, properties, accepted, expires, body: _ } =
            &*stored.message;
        let text = std::str::from_utf8(payload).ok().map(str::to_owned);
        let payload_base64 = text.is_none().then(|| encode_base64(payload));
        let name = |owner: &SessionOwner| match owner {
            SessionOwner::Uplink(name) | SessionOwner::Client(name) => name.to_string(),
        };
        Self {
            seq: stored.seq.0,
            accepted: accepted.to_string(),
            expires: expires.map(|expires| expires.to_string()),
            topic: topic.to_string(),
            qos: qos.level(),
            retain: *retain,
            payload: text,
            payload_base64,
            properties: properties.as_deref().filter(|p| !p.is_empty()).map(properties_json),
            waiting: waiting.iter().map(name).collect(),
        }
    }

    /// The payload itself; `None` if it is not well written.
    #[must_use]
    pub fn payload_bytes(&self) -> Option<Vec<u8>> {
        match (&self.payload, &self.payload_base64) {
            (Some(text), _) => Some(text.clone().into_bytes()),
            (None, Some(base64)) => decode_base64(base64),
            (None, None) => None,
        }
    }
}

fn properties_json(properties: &MessageProperties) -> Value {
    let MessageProperties {
        payload_is_utf8,
        content_type,
        response_topic,
        correlation_data,
        user_properties,
    } = properties;
    let mut json = serde_json::Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        value.map(|value| json.insert(name.to_owned(), value));
    };
    put("payload_is_utf8", payload_is_utf8.map(Value::from));
    put("content_type", content_type.as_deref().map(Value::from));
    put("response_topic", response_topic.as_ref().map(|topic| topic.as_str().into()));
    put("correlation_data_base64", correlation_data.as_deref().map(|d| encode_base64(d).into()));
    let pairs: Vec<Value> =
        user_properties.iter().map(|(name, value)| json!([**name, **value])).collect();
    put("user_properties", (!pairs.is_empty()).then_some(Value::Array(pairs)));
    Value::Object(json)
}

/// The durable sessions by number.
pub(super) type Names = BTreeMap<SessionId, SessionOwner>;

/// Finds a session by its name, or by `uplink:NAME` or `client:NAME`.
pub(super) fn find_session(text: &str, names: &Names) -> Result<SessionId, String> {
    let found = |wanted: &dyn Fn(&SessionOwner) -> bool| -> Vec<SessionId> {
        names.iter().filter(|(_, owner)| wanted(owner)).map(|(id, _)| *id).collect()
    };
    let plain = found(&|owner| match owner {
        SessionOwner::Uplink(name) | SessionOwner::Client(name) => **name == *text,
    });
    let exact = found(&|owner| match owner {
        SessionOwner::Uplink(name) => text.strip_prefix("uplink:") == Some(name),
        SessionOwner::Client(name) => text.strip_prefix("client:") == Some(name),
    });
    match (plain.as_slice(), exact.as_slice()) {
        ([id], _) | ([], [id]) => Ok(*id),
        ([], _) => Err(format!(
            "nothing is stored for a session `{text}`; `fieldpost queue status` lists those there are"
        )),
        (_, _) => Err(format!(
            "`{text}` is both an uplink and a client: write uplink:{text} or client:{text}"
        )),
    }
}

pub(super) fn filter(text: Option<&str>) -> Result<Option<TopicFilter>, String> {
    let parse = |text| TopicFilter::new(text).map_err(|error| format!("`{text}`: {error}"));
    text.map(parse).transpose()
}

/// What an export means, in a store with these sessions.
pub(super) fn selection(request: &ExportRequest, names: &Names) -> Result<Selection, String> {
    let session = request.session.as_deref().map(|text| find_session(text, names)).transpose()?;
    Ok(Selection {
        session,
        filter: filter(request.topic.as_deref())?,
        since: request.since_ms.map(Timestamp::from_unix_ms),
        before: request.until_ms.map(Timestamp::from_unix_ms),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::model::{Body, QoS, Seq, TopicName};

    fn stored(payload: &'static [u8]) -> StoredMessage {
        let properties = MessageProperties {
            content_type: Some("text/plain".into()),
            correlation_data: Some(Bytes::from_static(&[0, 255])),
            user_properties: vec![("k".into(), "v".into())],
            ..MessageProperties::default()
        };
        let message = Message {
            topic: TopicName::new("g/d/p").unwrap(),
            payload: Bytes::from_static(payload),
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: Some(Arc::new(properties)),
            accepted: Timestamp::from_unix_ms(1_795_230_600_123),
            expires: None,
            body: Body::Foreign,
        };
        StoredMessage { seq: Seq(7), message: message.into(), targets: Arc::from([]) }
    }

    #[test]
    fn a_message_is_written_down_in_full() {
        let line = ExportedMessage::new(&stored(b"{}"), &[SessionOwner::Uplink("far".into())]);
        assert_eq!(
            serde_json::to_string(&line).unwrap(),
            "{\"seq\":7,\"accepted\":\"2026-11-21T03:10:00.123Z\",\"topic\":\"g/d/p\",\"qos\":1,\"retain\":true,\
             \"payload\":\"{}\",\"properties\":{\"content_type\":\"text/plain\",\"correlation_data_base64\":\"AP8=\",\
             \"user_properties\":[[\"k\",\"v\"]]},\"for\":[\"far\"]}"
        );
        let text = serde_json::to_string(&line).unwrap();
        assert_eq!(serde_json::from_str::<ExportedMessage>(&text).unwrap(), line);
    }

    #[test]
    fn a_payload_that_is_no_text_comes_back_from_base64() {
        let line = ExportedMessage::new(&stored(&[1, 0xff]), &[]);
        assert_eq!((line.payload.clone(), line.payload_base64.as_deref()), (None, Some("Af8=")));
        assert_eq!(line.payload_bytes(), Some(vec![1, 0xff]));
    }

    #[test]
    fn a_name_that_means_two_sessions_is_not_guessed_at() {
        let names = Names::from([
            (SessionId(1), SessionOwner::Uplink("far".into())),
            (SessionId(2), SessionOwner::Client("far".into())),
            (SessionId(3), SessionOwner::Client("panel".into())),
        ]);
        assert_eq!(find_session("panel", &names), Ok(SessionId(3)));
        assert_eq!(find_session("uplink:far", &names), Ok(SessionId(1)));
        assert!(find_session("far", &names).unwrap_err().contains("uplink:far"));
        assert!(find_session("fra", &names).unwrap_err().contains("queue status"));
    }
}

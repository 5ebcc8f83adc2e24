//! core: how a received message is printed: as it is, with its topic, as JSON, or as a format of `mosquitto_sub -F` says.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

use super::template::Template;
use crate::control::encode_base64;
use crate::model::TopicName;
use crate::mqtt::Publish;

/// How a message is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Format {
    /// The payload alone.
    Payload,
    /// Topic, a space, the payload.
    Verbose,
    /// One JSON object.
    Json,
    /// As the operator wants it.
    Template(Template),
}

/// A message cannot be printed as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("message on `{topic}` left out: its payload is no JSON, which %J needs (%j takes any)")]
pub(super) struct NotJson {
    topic: Arc<str>,
}

impl Format {
    /// Appends a message that came at `now` and, if `ends_line`, a newline.
    pub(super) fn write(
        &self,
        publish: &Publish,
        now: SystemTime,
        ends_line: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), NotJson> {
        let topic = publish.topic.as_ref().map_or("", TopicName::as_str);
        match self {
            Self::Payload => out.extend_from_slice(&publish.payload),
            Self::Verbose => {
                out.extend_from_slice(topic.as_bytes());
                out.push(b' ');
                let payload: &[u8] =
                    if publish.payload.is_empty() { b"(null)" } else { &publish.payload };
                out.extend_from_slice(payload);
            }
            Self::Json => out.extend_from_slice(json(publish, now).as_bytes()),
            Self::Template(template) => template
                .write(publish, now, out)
                .map_err(|()| NotJson { topic: Arc::from(topic) })?,
        }
        if ends_line {
            out.push(b'\n');
        }
        Ok(())
    }
}

/// `{"topic":…,"payload":…,"qos":…,"retain":…,"mid":…,"properties":{…},"time":…}`; a payload that is no UTF-8 stands as
/// base64 under `payload_base64`. `mid` is there at QoS 1 and 2, `properties` if there are any.
fn json(publish: &Publish, now: SystemTime) -> String {
    let text = std::str::from_utf8(&publish.payload).ok();
    let message = JsonMessage {
        topic: publish.topic.as_ref().map_or("", TopicName::as_str),
        payload: text,
        payload_base64: text.is_none().then(|| encode_base64(&publish.payload)),
        qos: publish.qos.level(),
        retain: publish.retain,
        mid: publish.packet_id.map(crate::mqtt::PacketId::get),
        properties: JsonProperties::of(publish),
        time: humantime::format_rfc3339_millis(now.max(UNIX_EPOCH)).to_string(),
    };
    serde_json::to_string(&message).unwrap_or_default()
}

#[derive(Serialize)]
struct JsonMessage<'a> {
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    qos: u8,
    retain: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    mid: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<JsonProperties<'a>>,
    time: String,
}

#[derive(Serialize, Default, PartialEq)]
struct JsonProperties<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_format_indicator: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_expiry_interval: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic_alias: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_topic: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_data_base64: Option<String>,
    #[serde(skip_serializing_if = "<[u32]>::is_empty")]
    subscription_identifiers: &'a [u32],
    /// Pairs in their order: a name may come twice.
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "as_pairs")]
    user_properties: &'a [(Arc<str>, Arc<str>)],
}

impl<'a> JsonProperties<'a> {
    fn of(publish: &'a Publish) -> Option<Self> {
        let mut properties = Self {
            message_expiry_interval: publish.message_expiry,
            topic_alias: publish.topic_alias.map(std::num::NonZero::get),
            subscription_identifiers: &publish.subscription_ids,
            ..Self::default()
        };
        if let Some(travelling) = &publish.properties {
            properties.payload_format_indicator = travelling.payload_is_utf8.map(u8::from);
            properties.content_type = travelling.content_type.as_deref();
            properties.response_topic = travelling.response_topic.as_ref().map(TopicName::as_str);
            properties.user_properties = &travelling.user_properties;
            if let Some(data) = &travelling.correlation_data {
                match std::str::from_utf8(data) {
                    Ok(text) => properties.correlation_data = Some(text),
                    Err(_) => properties.correlation_data_base64 = Some(encode_base64(data)),
                }
            }
        }
        (properties != Self::default()).then_some(properties)
    }
}

/// What `%j` and `%J` of mosquitto_sub print; `payload` is JSON already.
pub(super) fn mosquitto_json(publish: &Publish, now: SystemTime, payload: &str) -> String {
    let message = MosquittoMessage {
        tst: humantime::format_rfc3339_micros(now.max(UNIX_EPOCH)).to_string(),
        topic: publish.topic.as_ref().map_or("", TopicName::as_str),
        qos: publish.qos.level(),
        retain: u8::from(publish.retain),
        payloadlen: publish.payload.len(),
        mid: publish.packet_id.map(crate::mqtt::PacketId::get),
        properties: MosquittoProperties::of(publish),
    };
    let mut text = serde_json::to_string(&message).unwrap_or_default();
    text.pop();
    text.push_str(",\"payload\":");
    text.push_str(payload);
    text.push('}');
    text
}

#[derive(Serialize)]
struct MosquittoMessage<'a> {
    tst: String,
    topic: &'a str,
    qos: u8,
    retain: u8,
    payloadlen: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    mid: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<MosquittoProperties<'a>>,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "kebab-case")]
struct MosquittoProperties<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "as_map")]
    user_properties: &'a [(Arc<str>, Arc<str>)],
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_format_indicator: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_topic: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_expiry_interval: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic_alias: Option<u16>,
}

impl<'a> MosquittoProperties<'a> {
    fn of(publish: &'a Publish) -> Option<Self> {
        let travelling = publish.properties.as_deref();
        if travelling.is_none() && publish.message_expiry.is_none() && publish.topic_alias.is_none()
        {
            return None;
        }
        let mut properties = Self {
            message_expiry_interval: publish.message_expiry,
            topic_alias: publish.topic_alias.map(std::num::NonZero::get),
            ..Self::default()
        };
        if let Some(travelling) = travelling {
            properties.user_properties = &travelling.user_properties;
            properties.content_type = travelling.content_type.as_deref();
            properties.correlation_data = travelling
                .correlation_data
                .as_ref()
                .map(|data| String::from_utf8_lossy(data).into_owned());
            properties.payload_format_indicator = travelling.payload_is_utf8.map(u8::from);
            properties.response_topic = travelling.response_topic.as_ref().map(TopicName::as_str);
        }
        Some(properties)
    }
}

/// A list of lists of two.
fn as_pairs<S: Serializer>(
    pairs: &[(Arc<str>, Arc<str>)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(pairs.iter().map(|(name, value)| (&**name, &**value)))
}

/// An object, in which a name may come twice.
fn as_map<S: Serializer>(pairs: &[(Arc<str>, Arc<str>)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (&**name, &**value)))
}

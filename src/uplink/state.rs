//! core: how an uplink is doing, as it is told to the LAN.

use bytes::Bytes;
use serde_json::json;

use crate::model::{Body, Message, QoS, Timestamp, TopicName};

/// What an uplink is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Condition {
    /// It tries to connect.
    #[default]
    Offline,
    /// It is connected.
    Online,
    /// `start: lazy`: nothing waits.
    Resting,
    /// `start: once`: it was connected, and is not again.
    Over,
}

impl Condition {
    fn word(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Online => "online",
            Self::Resting => "resting",
            Self::Over => "over",
        }
    }
}

/// How an uplink is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Situation {
    pub(super) condition: Condition,
    /// Since when.
    pub(super) since: Timestamp,
    /// The broker that is connected or tried, `HOST:PORT`.
    pub(super) broker: String,
    /// Why the last connection, or try, ended.
    pub(super) error: Option<String>,
    /// Tries that failed since it was connected.
    pub(super) failures: u32,
}

impl Situation {
    /// The retained messages that say so: JSON on `topic`, and `1` or `0` where mosquitto says it of its bridges.
    pub(super) fn messages(
        &self,
        uplink: &str,
        topic: &TopicName,
        queued: u64,
        now: Timestamp,
    ) -> Vec<Message> {
        let state = json!({
            "state": self.condition.word(),
            "since": self.since.to_string(),
            "broker": self.broker,
            "queued": queued,
            "failures": self.failures,
            "last_error": self.error,
        });
        let flag = if self.condition == Condition::Online { "1" } else { "0" };
        let sys = TopicName::new(&format!("$SYS/broker/connection/{uplink}/state"));
        let said = [(Ok(topic.clone()), state.to_string()), (sys, flag.to_owned())];
        let message = |topic, payload: String| Message {
            topic,
            payload: Bytes::from(payload),
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: None,
            accepted: now,
            expires: None,
            body: Body::Foreign,
        };
        said.into_iter()
            .filter_map(|(topic, payload)| Some(message(topic.ok()?, payload)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_said_in_words_and_as_mosquitto_says_it() {
        let situation = Situation {
            condition: Condition::Offline,
            since: Timestamp::from_unix_ms(1_795_230_600_123),
            broker: "broker.example.com:8883".to_owned(),
            error: Some("connection refused".to_owned()),
            failures: 2,
        };
        let topic = TopicName::new("gw/uplinks/cloud/state").unwrap();
        let said = situation.messages("cloud", &topic, 7, Timestamp::default());
        let said: Vec<(&str, &str)> = said
            .iter()
            .map(|said| (said.topic.as_str(), std::str::from_utf8(&said.payload).unwrap()))
            .collect();
        let json = "{\"broker\":\"broker.example.com:8883\",\"failures\":2,\
                    \"last_error\":\"connection refused\",\"queued\":7,\
                    \"since\":\"2026-11-21T03:10:00.123Z\",\"state\":\"offline\"}";
        assert_eq!(
            said,
            [("gw/uplinks/cloud/state", json), ("$SYS/broker/connection/cloud/state", "0")]
        );
    }
}

//! core: the retained message of each topic, MQTT 5.0 section 3.3.1.3.

use std::collections::BTreeMap;

use crate::model::{Message, TopicFilter, TopicName};

/// The retained messages, one a topic.
#[derive(Debug, Default)]
pub struct Retained {
    messages: BTreeMap<TopicName, Message>,
}

impl Retained {
    /// Takes what a start found in the store.
    #[must_use]
    pub fn new(messages: Vec<Message>) -> Self {
        Self { messages: messages.into_iter().map(|m| (m.topic.clone(), m)).collect() }
    }

    /// Keeps `message` as the retained one of its topic; an empty payload clears it [MQTT-3.3.1-6]. Tells whether
    /// anything changed.
    pub fn keep(&mut self, message: &Message) -> bool {
        if message.payload.is_empty() {
            self.messages.remove(&message.topic).is_some()
        } else {
            self.messages.insert(message.topic.clone(), message.clone());
            true
        }
    }

    /// The retained messages that `filter` takes, in the order of their topics.
    pub fn matching<'a>(&'a self, filter: &'a TopicFilter) -> impl Iterator<Item = &'a Message> {
        let text = filter.as_str();
        let literal = text.find(['+', '#']).map_or(text, |end| &text[..end]);
        // `a/#` takes `a` too, which sorts before `a/`.
        let start = literal.strip_suffix('/').unwrap_or(literal);
        self.messages
            .range::<str, _>((std::ops::Bound::Included(start), std::ops::Bound::Unbounded))
            .take_while(move |(topic, _)| topic.as_str().starts_with(start))
            .map(|(_, message)| message)
            .filter(move |message| filter.matches(&message.topic))
    }

    /// How many topics have one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether no topic has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::{QoS, Timestamp};

    fn message(topic: &str, payload: &'static str) -> Message {
        Message {
            topic: TopicName::new(topic).expect("well formed"),
            payload: Bytes::from_static(payload.as_bytes()),
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: None,
            accepted: Timestamp::default(),
            expires: None,
            body: crate::model::Body::Foreign,
        }
    }

    fn topics(retained: &Retained, filter: &str) -> Vec<String> {
        let filter = TopicFilter::new(filter).expect("well formed");
        retained.matching(&filter).map(|m| m.topic.as_str().to_owned()).collect()
    }

    #[test]
    fn a_filter_finds_its_retained_messages_and_no_others() {
        let mut retained = Retained::default();
        for topic in ["a", "a/b", "a/b/c", "a-b", "b", "$SYS/x"] {
            assert!(retained.keep(&message(topic, "1")));
        }
        assert_eq!(topics(&retained, "a/#"), ["a", "a/b", "a/b/c"]);
        assert_eq!(topics(&retained, "a/+"), ["a/b"]);
        assert_eq!(topics(&retained, "+"), ["a", "a-b", "b"]);
        assert_eq!(topics(&retained, "$SYS/#"), ["$SYS/x"]);
        assert_eq!(topics(&retained, "#").len(), 5);
    }

    #[test]
    fn an_empty_payload_clears() {
        let mut retained = Retained::default();
        retained.keep(&message("a", "1"));
        assert!(retained.keep(&message("a", "")));
        assert!(!retained.keep(&message("a", "")));
        assert!(retained.is_empty());
    }
}

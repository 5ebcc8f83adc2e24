//! core: the retained message of each topic, MQTT 5.0 section 3.3.1.3.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Message, Timestamp, TopicFilter, TopicName};

/// The retained messages, one a topic.
#[derive(Debug, Default)]
pub struct Retained {
    messages: BTreeMap<TopicName, Message>,
    /// Those that expire, the first first.
    expiring: BTreeSet<(Timestamp, TopicName)>,
    bytes: usize,
}

impl Retained {
    /// Takes what a start found in the store.
    #[must_use]
    pub fn new(messages: Vec<Message>) -> Self {
        let mut retained = Self::default();
        messages.into_iter().for_each(|message| retained.insert(message));
        retained
    }

    /// Keeps `message` as the retained one of its topic; an empty payload clears it [MQTT-3.3.1-6]. Tells whether
    /// anything changed.
    pub fn keep(&mut self, message: &Message) -> bool {
        if message.payload.is_empty() {
            return self.remove(&message.topic);
        }
        self.insert(message.clone());
        true
    }

    fn insert(&mut self, message: Message) {
        self.bytes += size(&message);
        let expiry = message.expires.map(|end| (end, message.topic.clone()));
        let replaced = self.messages.insert(message.topic.clone(), message);
        if let Some(replaced) = replaced {
            self.forget(&replaced);
        }
        self.expiring.extend(expiry);
    }

    /// Takes away that of a topic; tells whether there was one.
    pub fn remove(&mut self, topic: &TopicName) -> bool {
        let Some(removed) = self.messages.remove(topic) else { return false };
        self.forget(&removed);
        true
    }

    fn forget(&mut self, message: &Message) {
        self.bytes -= size(message);
        if let Some(end) = message.expires {
            self.expiring.remove(&(end, message.topic.clone()));
        }
    }

    /// Whether `message` may be kept within so many messages and bytes. What is cleared always may, and what replaces no
    /// fewer bytes.
    #[must_use]
    pub fn has_room(&self, message: &Message, count_max: usize, bytes_max: usize) -> bool {
        if message.payload.is_empty() {
            return true;
        }
        let replaced = self.messages.get(&message.topic).map(size);
        let grows = size(message).saturating_sub(replaced.unwrap_or(0));
        let has_place = replaced.is_some() || self.messages.len() < count_max;
        has_place && (grows == 0 || self.bytes + grows <= bytes_max)
    }

    /// Those that expire, the first first.
    pub fn expiring(&self) -> impl Iterator<Item = &Message> {
        self.expiring.iter().filter_map(|(_, topic)| self.messages.get(topic))
    }

    /// Bytes of their topics and payloads.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
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

/// What a message counts for: its topic and payload.
fn size(message: &Message) -> usize {
    message.topic.as_str().len() + message.payload.len()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::QoS;

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

    #[test]
    fn a_full_table_takes_what_replaces_and_clears() {
        let mut retained = Retained::default();
        retained.keep(&message("a", "123"));
        retained.keep(&message("b", "123"));
        assert_eq!(retained.bytes(), 8);
        assert!(!retained.has_room(&message("c", "1"), 2, 100));
        assert!(retained.has_room(&message("a", "1234"), 2, 100));
        assert!(!retained.has_room(&message("a", "1234"), 2, 8));
        assert!(retained.has_room(&message("a", "321"), 2, 4), "it was over its bound already");
        assert!(retained.has_room(&message("c", ""), 2, 4));
        retained.keep(&message("a", ""));
        assert_eq!(retained.bytes(), 4);
        assert!(retained.has_room(&message("c", "123"), 2, 8));
    }

    #[test]
    fn those_that_expire_are_known_in_their_order() {
        let mut retained = Retained::default();
        for (topic, end) in [("a", 7), ("b", 5), ("c", 6)] {
            let expires = Some(Timestamp::from_unix_ms(end));
            retained.keep(&Message { expires, ..message(topic, "1") });
        }
        retained.keep(&message("c", "for ever"));
        let order: Vec<&str> = retained.expiring().map(|m| m.topic.as_str()).collect();
        assert_eq!(order, ["b", "a"]);
        assert!(retained.remove(&TopicName::new("b").expect("well formed")));
        assert_eq!(retained.expiring().count(), 1);
    }
}

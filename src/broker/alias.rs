//! core: topic aliases of one connection, both ways: a number in the place of a topic (MQTT 5.0 section 3.3.2.3.4).

use std::num::NonZeroU16;

use crate::model::TopicName;
use crate::mqtt::{Publish, ReasonCode};

/// A topic keeps its alias while it was sent among so many of the last messages: otherwise topics that come round in turn
/// would take it from each other, and every message would carry both.
const REST: u64 = 1024;
/// A shorter topic takes no more bytes than its alias.
const TOPIC_BYTES_MIN: usize = 4;

/// The aliases a client has set.
#[derive(Debug)]
pub(super) struct AliasesIn {
    max: u16,
    topics: Vec<Option<TopicName>>,
}

impl AliasesIn {
    /// At most so many, as CONNACK said.
    pub(super) fn new(max: u16) -> Self {
        Self { max, topics: Vec::new() }
    }

    /// Puts the topic in the place of its alias.
    ///
    /// # Errors
    /// An alias beyond the maximum [MQTT-3.3.2-9], or one that stands for nothing (3.3.4).
    pub(super) fn resolve(&mut self, publish: &mut Publish) -> Result<(), ReasonCode> {
        let Some(alias) = publish.topic_alias.take() else { return Ok(()) };
        if alias.get() > self.max {
            return Err(ReasonCode::TopicAliasInvalid);
        }
        let place = usize::from(alias.get() - 1);
        if let Some(topic) = &publish.topic {
            if self.topics.len() <= place {
                self.topics.resize(place + 1, None);
            }
            if let Some(known) = self.topics.get_mut(place) {
                *known = Some(topic.clone());
            }
            return Ok(());
        }
        publish.topic = self.topics.get(place).cloned().flatten();
        if publish.topic.is_some() { Ok(()) } else { Err(ReasonCode::ProtocolError) }
    }
}

/// The aliases we have set for a client. The place of a topic is its alias.
#[derive(Debug)]
pub(super) struct AliasesOut {
    max: u16,
    topics: Vec<(TopicName, u64)>,
    sent: u64,
}

impl AliasesOut {
    /// At most so many.
    pub(super) fn new(max: u16) -> Self {
        Self { max, topics: Vec::new(), sent: 0 }
    }

    /// Gives a message its alias, and takes its topic away where the client knows that already. One is set only if `fits`
    /// says that the packet may grow by it.
    pub(super) fn apply(&mut self, publish: &mut Publish, fits: impl FnOnce(&Publish) -> bool) {
        if self.max == 0 {
            return;
        }
        let Some(topic) = publish.topic.clone().filter(|t| t.as_str().len() >= TOPIC_BYTES_MIN)
        else {
            return;
        };
        self.sent += 1;
        if let Some(place) = self.topics.iter().position(|(known, _)| *known == topic) {
            if let Some((_, last)) = self.topics.get_mut(place) {
                *last = self.sent;
            }
            publish.topic_alias = alias(place);
            publish.topic = None;
            return;
        }
        let free = (self.topics.len() < usize::from(self.max)).then_some(self.topics.len());
        let Some(place) = free.or_else(|| self.rested()) else { return };
        publish.topic_alias = alias(place);
        if !fits(publish) {
            publish.topic_alias = None;
            return;
        }
        match self.topics.get_mut(place) {
            Some(rested) => *rested = (topic, self.sent),
            None => self.topics.push((topic, self.sent)),
        }
    }

    /// The one that has not been sent for longest, if that is long enough.
    fn rested(&self) -> Option<usize> {
        let (place, (_, last)) =
            self.topics.iter().enumerate().min_by_key(|(_, (_, last))| *last)?;
        (self.sent - last > REST).then_some(place)
    }
}

fn alias(place: usize) -> Option<NonZeroU16> {
    u16::try_from(place + 1).ok().and_then(NonZeroU16::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::QoS;

    fn publish(topic: Option<&str>, alias: u16) -> Publish {
        Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic: topic.map(|topic| TopicName::new(topic).expect("a topic")),
            packet_id: None,
            payload: bytes::Bytes::new(),
            properties: None,
            message_expiry: None,
            topic_alias: NonZeroU16::new(alias),
            subscription_ids: Vec::new(),
        }
    }

    fn resolved(
        aliases: &mut AliasesIn,
        topic: Option<&str>,
        alias: u16,
    ) -> Result<String, ReasonCode> {
        let mut publish = publish(topic, alias);
        aliases.resolve(&mut publish)?;
        assert_eq!(publish.topic_alias, None);
        Ok(publish.topic.expect("resolved").as_str().to_owned())
    }

    fn sent(aliases: &mut AliasesOut, topic: &str) -> (bool, u16) {
        let mut publish = publish(Some(topic), 0);
        aliases.apply(&mut publish, |_| true);
        (publish.topic.is_some(), publish.topic_alias.map_or(0, NonZeroU16::get))
    }

    #[test]
    fn an_alias_stands_for_the_topic_it_was_last_set_to() {
        let mut aliases = AliasesIn::new(2);
        assert_eq!(resolved(&mut aliases, Some("a"), 0).as_deref(), Ok("a"));
        assert_eq!(resolved(&mut aliases, Some("a"), 2).as_deref(), Ok("a"));
        assert_eq!(resolved(&mut aliases, None, 2).as_deref(), Ok("a"));
        assert_eq!(resolved(&mut aliases, Some("b"), 2).as_deref(), Ok("b"));
        assert_eq!(resolved(&mut aliases, None, 2).as_deref(), Ok("b"));
        assert_eq!(resolved(&mut aliases, None, 1), Err(ReasonCode::ProtocolError));
        assert_eq!(resolved(&mut aliases, Some("a"), 3), Err(ReasonCode::TopicAliasInvalid));
    }

    #[test]
    fn a_topic_is_said_once_and_one_that_rests_gives_its_alias_away() {
        let mut aliases = AliasesOut::new(2);
        assert_eq!(sent(&mut aliases, "abc"), (true, 0), "it would save nothing");
        assert_eq!(sent(&mut aliases, "abcd"), (true, 1));
        assert_eq!(sent(&mut aliases, "abcd"), (false, 1));
        assert_eq!(sent(&mut aliases, "efgh"), (true, 2));
        assert_eq!(sent(&mut aliases, "ijkl"), (true, 0), "none is free");
        (0..REST).for_each(|_| assert_eq!(sent(&mut aliases, "efgh"), (false, 2)));
        assert_eq!(sent(&mut aliases, "ijkl"), (true, 1));
        assert_eq!(sent(&mut aliases, "abcd"), (true, 0));
        assert_eq!(sent(&mut AliasesOut::new(0), "abcd"), (true, 0));
    }

    #[test]
    fn an_alias_that_does_not_fit_is_not_set() {
        let mut aliases = AliasesOut::new(2);
        let mut first = publish(Some("abcd"), 0);
        aliases.apply(&mut first, |_| false);
        assert_eq!(first, publish(Some("abcd"), 0));
        assert_eq!(sent(&mut aliases, "abcd"), (true, 1));
    }
}

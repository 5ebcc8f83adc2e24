//! core: what is taken from a client, and what is not: topics, subscriptions, retained messages, queues in memory.

use std::sync::Arc;

use super::{Engine, Fact};
use crate::hub::session::Counters;
use crate::hub::topic_tree::LEVELS_MAX;
use crate::model::{Message, Moment, TopicFilter, TopicName};
use crate::mqtt::ReasonCode;
use crate::store::SessionId;

/// A client's wish that is not granted, and what it may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: ReasonCode,
    /// Words for a person (MQTT 5.0 reason string).
    pub(super) why: &'static str,
}

pub(super) const NO_ROOM: Refusal =
    Refusal { reason: ReasonCode::QuotaExceeded, why: "the queue takes no more messages" };
pub(super) const NO_ROOM_RETAINED: Refusal = Refusal {
    reason: ReasonCode::QuotaExceeded,
    why: "the server keeps no more retained messages",
};
pub(super) const NOT_ALLOWED: Refusal =
    Refusal { reason: ReasonCode::NotAuthorized, why: "the rules do not allow it" };
const OWN_TOPIC: Refusal =
    Refusal { reason: ReasonCode::NotAuthorized, why: "only the server publishes to $SYS" };
const TOPIC_TOO_LONG: Refusal = Refusal {
    reason: ReasonCode::TopicNameInvalid,
    why: "the topic has more levels or bytes than the server takes",
};
const FILTER_TOO_LONG: Refusal = Refusal {
    reason: ReasonCode::TopicFilterInvalid,
    why: "the filter has more levels or bytes than the server takes",
};
const FILTER_MALFORMED: Refusal =
    Refusal { reason: ReasonCode::TopicFilterInvalid, why: "a share is $share/name/filter" };
const TOO_MANY_FILTERS: Refusal = Refusal {
    reason: ReasonCode::QuotaExceeded,
    why: "the session has as many subscriptions as the server takes",
};

impl Engine {
    /// Why a publication of a client is not taken, if it is not. An upstream's always is.
    pub(super) fn publication_refused(
        &self,
        message: &Message,
        origin: SessionId,
    ) -> Option<Refusal> {
        if self.sessions.get(&origin).is_some_and(|session| session.is_uplink()) {
            return None;
        }
        let topic = message.topic.as_str();
        if topic.strip_prefix("$SYS").is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            return Some(OWN_TOPIC);
        }
        let (bytes_max, levels_max) = (self.options.topic_bytes_max, self.options.topic_levels_max);
        // So many levels take at least as many bytes.
        let is_deep = topic.len() >= levels_max && message.topic.levels().count() > levels_max;
        (is_deep || topic.len() > bytes_max).then_some(TOPIC_TOO_LONG)
    }

    /// Why a filter is not taken, if it is not. What a session has subscribed to already it may subscribe to again.
    pub(super) fn subscription_refused(
        &self,
        id: SessionId,
        filter: &TopicFilter,
    ) -> Option<Refusal> {
        let session = self.sessions.get(&id)?;
        if filter.is_shared() && filter.shared().is_none() {
            return Some(FILTER_MALFORMED);
        }
        // The share and its name are no levels of a topic.
        let levels =
            filter.shared().map_or(filter.as_str(), |(_, filter)| filter).split('/').count();
        let is_deep = levels > self.options.topic_levels_max.min(LEVELS_MAX);
        if is_deep || filter.as_str().len() > self.options.topic_bytes_max {
            return Some(FILTER_TOO_LONG);
        }
        let is_full = session.subscriptions.len() >= self.options.subscriptions_max;
        let is_new = || !session.subscriptions.contains_key(filter);
        (is_full && is_new()).then_some(TOO_MANY_FILTERS)
    }

    /// Whether there is room to retain a message of a client. What is cleared, or replaced by no more bytes, always has.
    pub(super) fn has_room_retained(&self, message: &Message) -> bool {
        let options = &self.options;
        !message.retain
            || self.retained.has_room(message, options.retained_max, options.retained_bytes_max)
    }

    /// Counts a publication that was not taken.
    pub(super) fn count_rejected(&mut self, id: SessionId, topic: &TopicName, reason: ReasonCode) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.counters.rejected += 1;
        let Counters { rejected: count, .. } = session.counters;
        let (session, topic) = (session.name().clone(), Arc::from(topic.as_str()));
        self.facts.push_back(Fact::PublicationRefused { session, topic, reason, count });
    }

    /// Counts messages that found the queue of a client full.
    pub(super) fn count_overflow(&mut self, id: SessionId, count: u64, now: Moment) {
        if count == 0 {
            return;
        }
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.counters.dropped += count;
        let name = session.name().clone();
        let (waiting, bytes) = (session.outbox.queued(), session.outbox.ready_bytes());
        if self.bounds.note_drop(id, count, now) {
            self.facts.push_back(Fact::Overflowed { session: name, waiting, bytes });
        }
    }
}

//! core: what is taken from a client, and what is not: topics, subscriptions, retained messages, queues in memory.

use std::sync::Arc;

use super::{Engine, Fact};
use crate::hub::session::Counters;
use crate::hub::tally::Counted;
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
    /// The bound that was reached.
    pub(super) bound: Option<Counted>,
}

pub(super) const NO_ROOM: Refusal = refusal(
    ReasonCode::QuotaExceeded,
    "the queue takes no more messages",
    Some(Counted::NotStored),
);
/// Counted where it is said.
pub(super) const NO_ROOM_RETAINED: Refusal =
    refusal(ReasonCode::QuotaExceeded, "the server keeps no more retained messages", None);
pub(super) const NOT_ALLOWED: Refusal =
    refusal(ReasonCode::NotAuthorized, "the rules do not allow it", None);
const OWN_TOPIC: Refusal =
    refusal(ReasonCode::NotAuthorized, "only the server publishes to $SYS", None);
const FILTER_MALFORMED: Refusal =
    refusal(ReasonCode::TopicFilterInvalid, "a share is $share/name/filter", None);
const TOO_MANY_FILTERS: Refusal = refusal(
    ReasonCode::QuotaExceeded,
    "the session has as many subscriptions as the server takes",
    Some(Counted::TooManySubscriptions),
);

const fn refusal(reason: ReasonCode, why: &'static str, bound: Option<Counted>) -> Refusal {
    Refusal { reason, why, bound }
}

/// What a topic or filter is refused with that is too large.
fn too_large(what: What, bound: Counted) -> Refusal {
    let (reason, why) = match what {
        What::Topic => (
            ReasonCode::TopicNameInvalid,
            "the topic has more levels or bytes than the server takes",
        ),
        What::Filter => (
            ReasonCode::TopicFilterInvalid,
            "the filter has more levels or bytes than the server takes",
        ),
    };
    refusal(reason, why, Some(bound))
}

enum What {
    Topic,
    Filter,
}

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
        if topic.len() > bytes_max {
            return Some(too_large(What::Topic, Counted::TopicTooLong));
        }
        is_deep.then(|| too_large(What::Topic, Counted::TopicTooDeep))
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
        if filter.as_str().len() > self.options.topic_bytes_max {
            return Some(too_large(What::Filter, Counted::TopicTooLong));
        }
        if is_deep {
            return Some(too_large(What::Filter, Counted::TopicTooDeep));
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
    pub(super) fn count_rejected(&mut self, id: SessionId, topic: &TopicName, refusal: Refusal) {
        self.count_refusal(refusal);
        let reason = refusal.reason;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.counters.rejected += 1;
        let Counters { rejected: count, .. } = session.counters;
        let address = session.rights.address();
        let (session, topic) = (session.name().clone(), Arc::from(topic.as_str()));
        self.facts.push_back(Fact::PublicationRefused { session, topic, reason, address, count });
    }

    /// Counts the bound that a refusal is for.
    pub(super) fn count_refusal(&mut self, refusal: Refusal) {
        if let Some(bound) = refusal.bound {
            self.counts.add(bound, 1);
        }
    }

    /// Counts messages that found the queue of a client full; `bound` says which.
    pub(super) fn count_overflow(
        &mut self,
        id: SessionId,
        bound: Counted,
        count: u64,
        now: Moment,
    ) {
        if count == 0 {
            return;
        }
        self.counts.add(bound, count);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.counters.dropped += count;
        let name = session.name().clone();
        let (waiting, bytes) = (session.outbox.queued(), session.outbox.ready_bytes());
        if self.bounds.note_drop(id, count, now) {
            self.facts.push_back(Fact::Overflowed { session: name, waiting, bytes });
        }
    }
}

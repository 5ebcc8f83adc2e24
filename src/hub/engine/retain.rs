//! core: the retained messages of the hub: kept within their bounds, found, and gone when they expire. MQTT 5.0 sections
//! 3.3.1.3 and 3.3.2.3.3.

use std::time::{Duration, Instant};

use super::{Engine, Fact};
use crate::hub::tally::Counted;
use crate::model::{Message, Moment, Seq, TopicFilter};
use crate::store::{Change, SessionId};

/// How often expired ones are looked for: at most, and at least while any can expire.
const EXPIRY_CHECK_MIN: Duration = Duration::from_secs(1);
const EXPIRY_CHECK_MAX: Duration = Duration::from_secs(60);

impl Engine {
    /// Keeps a message as the retained one of its topic, if there is room. What the gateway says itself always has. Gives
    /// the batch that makes it durable; 0 if nothing changed.
    pub(super) fn keep_retained(
        &mut self,
        message: &Message,
        origin: Option<SessionId>,
        now: Moment,
    ) -> u64 {
        if origin.is_some() && !self.has_room_retained(message) {
            self.count_retained_refused(message);
            return 0;
        }
        if !self.retained.keep(message) {
            return 0;
        }
        if message.expires.is_some() && !message.payload.is_empty() {
            let next = self.expiry_check(message, now);
            self.retained_check = Some(self.retained_check.map_or(next, |at| at.min(next)));
        }
        let kept = (!message.payload.is_empty()).then(|| message.clone());
        self.uncommitted_bytes += message.payload.len();
        self.changes.push(Change::Retain { topic: message.topic.clone(), message: kept });
        self.open_batch
    }

    /// Counts a message that could not be retained.
    pub(super) fn count_retained_refused(&mut self, message: &Message) {
        self.retained_refused += 1;
        self.counts.add(Counted::NotRetained, 1);
        let (topic, count) = (message.topic.as_str().into(), self.retained_refused);
        let (messages, bytes) = (self.retained.len(), self.retained.bytes());
        self.facts.push_back(Fact::RetainedRefused { topic, count, messages, bytes });
    }

    /// The retained messages that `filter` takes and that have not expired.
    pub(super) fn retained_for<'a>(
        &'a self,
        filter: &'a TopicFilter,
        now: Moment,
    ) -> impl Iterator<Item = &'a Message> {
        let is_expired = move |message: &Message| self.is_retained_expired(message, now);
        let of_self = self.of_self.matching(filter);
        self.retained.matching(filter).filter(move |message| !is_expired(message)).chain(of_self)
    }

    /// Takes expired ones out, here and in the store.
    pub(super) fn expire_retained(&mut self, now: Moment) {
        if self.retained_check.take_if(|at| *at <= now.mono).is_none() {
            return;
        }
        let expiring = self.retained.expiring();
        let expired: Vec<_> = expiring
            .filter(|message| self.is_retained_expired(message, now))
            .map(|message| message.topic.clone())
            .collect();
        for topic in expired {
            self.retained.remove(&topic);
            self.retained_expired += 1;
            self.changes.push(Change::Retain { topic, message: None });
        }
        self.retained_check =
            self.retained.expiring().next().map(|message| self.expiry_check(message, now));
    }

    /// When to look whether a message has expired.
    fn expiry_check(&self, message: &Message, now: Moment) -> Instant {
        let left = self.clock.left(OF_THIS_START, message, now);
        now.mono + left.unwrap_or_default().clamp(EXPIRY_CHECK_MIN, EXPIRY_CHECK_MAX)
    }

    fn is_retained_expired(&self, message: &Message, now: Moment) -> bool {
        self.clock.is_expired(OF_THIS_START, message, now)
    }
}

/// Retained messages that are dated by the time since the boot came since this start.
const OF_THIS_START: Seq = Seq(u64::MAX);

//! core: what a session lost to the queue's bounds, counted by reason until the other side has been told.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::model::{Timestamp, TopicName};
use crate::store::{Change, DropCount, DropReason, SessionId};

/// How an uplink is told what it will not get: one message once the link is back, or no more is dropped.
#[derive(Debug, Clone)]
pub struct TellDrops {
    /// Where it is published.
    pub topic: TopicName,
    /// What it says.
    pub payload: fn(&DropSummary<'_>) -> Bytes,
}

/// What one message tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropSummary<'a> {
    /// The session that will not get them.
    pub session: &'a str,
    /// How many by reason, none of them zero.
    pub counts: &'a [DropCount],
}

/// The drops of one session that nobody has been told yet.
#[derive(Debug, Default)]
pub(super) struct Drops {
    counts: BTreeMap<DropReason, DropCount>,
    moved: bool,
}

impl Drops {
    /// What a start found.
    pub(super) fn new(stored: impl IntoIterator<Item = DropCount>) -> Self {
        let counts = stored.into_iter().map(|count| (count.reason, count)).collect();
        Self { counts, moved: false }
    }

    /// `count` more were dropped.
    pub(super) fn add(&mut self, reason: DropReason, count: u64, now: Timestamp) {
        let new = DropCount { reason, count: 0, first: now, last: now };
        let so_far = self.counts.entry(reason).or_insert(new);
        so_far.count += count;
        so_far.last = now;
        self.moved = true;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Puts the counts into the batch, if they have changed.
    pub(super) fn checkpoint(&mut self, session: SessionId, changes: &mut Vec<Change>) {
        if std::mem::take(&mut self.moved) {
            let dropped = |count: &DropCount| Change::Dropped { session, count: *count };
            changes.extend(self.counts.values().map(dropped));
        }
    }

    /// Hands out all counts to be told, and takes them back in the batch that holds the message which tells them.
    pub(super) fn take(&mut self, session: SessionId, changes: &mut Vec<Change>) -> Vec<DropCount> {
        self.moved = false;
        let told: Vec<DropCount> = std::mem::take(&mut self.counts).into_values().collect();
        let none = |count: &DropCount| Change::Dropped {
            session,
            count: DropCount { count: 0, ..*count },
        };
        changes.extend(told.iter().map(none));
        told
    }
}

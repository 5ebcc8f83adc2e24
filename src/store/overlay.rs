//! core: what is staged and not yet in the database: changes that cancel each other never get there.
//!
//! A message that everybody has acknowledged before its time leaves nothing; a cursor alone is no reason to write while
//! the database holds no message it would pass. What is left after `commit_every` goes to the database in one piece.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::change::{
    Change, DropCount, DropReason, Phase, SessionId, Snapshot, StoredMessage, StoredSession,
    StoredWill, Target,
};
use super::slice::{DamagedSegment, Slice};
use crate::model::{Message, Seq};

/// Bytes a staged message takes beside its topic and payload, about.
const MESSAGE_OVERHEAD: usize = 200;

#[derive(Debug, Clone)]
struct StagedMessage {
    message: Arc<Message>,
    targets: Arc<[Target]>,
    staged: Instant,
}

impl StagedMessage {
    fn bytes(&self) -> usize {
        self.message.payload.len() + self.message.topic.as_str().len() + MESSAGE_OVERHEAD
    }
}

#[derive(Debug, Clone, Copy)]
struct StagedFlight {
    packet_id: NonZeroU16,
    phase: Phase,
    staged: Instant,
}

/// The changes that the database does not have.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    /// In order, up to the last session that ended: its end looks at what is in the database.
    sealed: Vec<Change>,
    /// Sessions, subscriptions and retained messages, in order.
    plain: Vec<Change>,
    messages: BTreeMap<Seq, StagedMessage>,
    message_bytes: usize,
    /// Ranges of places that neither overlap nor touch: the last of each. A backlog that drains in order is one, however
    /// many batches it took, and each message that is read is looked up here.
    deletes: BTreeMap<Seq, Seq>,
    /// `None` takes back what the database has.
    flights: BTreeMap<(SessionId, Seq), Option<StagedFlight>>,
    cursors: BTreeMap<SessionId, Seq>,
    /// Runs of settled places: the last of each.
    settled: BTreeMap<(SessionId, Seq), Seq>,
    dropped: BTreeMap<(SessionId, DropReason), DropCount>,
    inbox: BTreeMap<(SessionId, NonZeroU16), (bool, Instant)>,
    /// `None` takes back what the database has.
    wills: BTreeMap<SessionId, (Option<StoredWill>, Instant)>,
    /// Since when something waits that only the database can settle.
    waiting: Option<Instant>,
    /// What the database has of flights, inbox and wills, and whether it has any message.
    stored_flights: BTreeSet<(SessionId, Seq)>,
    stored_inbox: BTreeSet<(SessionId, NonZeroU16)>,
    stored_settled: BTreeSet<(SessionId, Seq)>,
    stored_wills: BTreeSet<SessionId>,
    has_messages: bool,
    /// The last place of a message that went to the database.
    stored_to: Seq,
}

impl Overlay {
    /// An empty one over a database that holds what a start found there, and messages or none.
    pub(super) fn new(found: &Snapshot, has_messages: bool) -> Self {
        let mut overlay = Self { has_messages, stored_to: found.last_seq, ..Self::default() };
        for StoredSession { id, flights, inbox, settled, .. } in &found.sessions {
            overlay.stored_flights.extend(flights.iter().map(|flight| (*id, flight.seq)));
            overlay.stored_inbox.extend(inbox.iter().map(|packet_id| (*id, *packet_id)));
            overlay.stored_settled.extend(settled.iter().map(|(first, _)| (*id, *first)));
        }
        overlay.stored_wills.extend(found.wills.iter().map(|(session, _)| *session));
        overlay
    }

    /// Takes a change.
    pub(super) fn handle_change(&mut self, change: Change, now: Instant) {
        match change {
            Change::Append { seq, message, targets } => {
                let staged = StagedMessage { message, targets, staged: now };
                self.message_bytes += staged.bytes();
                self.messages.insert(seq, staged);
            }
            Change::Delete { first, last } => self.delete(first, last, now),
            Change::Flight { session, seq, packet_id, phase } => {
                let key = (session, seq);
                let staged = match self.flights.get(&key) {
                    Some(Some(have)) => have.staged,
                    Some(None) | None => now,
                };
                self.flights.insert(key, Some(StagedFlight { packet_id, phase, staged }));
            }
            Change::Recall { session, seq } => {
                let key = (session, seq);
                let since = self.end_flights(key..=key, now);
                if self.stored_flights.contains(&key) {
                    self.flights.insert(key, None);
                    self.wait(since);
                }
            }
            Change::Settled { session, first, last } => self.settle(session, first, last, now),
            Change::Dropped { session, count } => {
                self.dropped.insert((session, count.reason), count);
                self.wait(now);
            }
            Change::Cursor { session, cursor } => self.move_cursor(session, cursor, now),
            Change::Inbox { session, packet_id, present } => {
                let key = (session, packet_id);
                if present == self.stored_inbox.contains(&key) {
                    self.inbox.remove(&key);
                } else {
                    self.inbox.insert(key, (present, now));
                }
            }
            Change::Will { session, will: None } if !self.stored_wills.contains(&session) => {
                self.wills.remove(&session);
            }
            Change::Will { session, will } => _ = self.wills.insert(session, (will, now)),
            Change::EndSession { .. } => {
                let mut sealed = std::mem::take(&mut self.sealed);
                self.put_net(&mut sealed);
                // They go to the database with it, and what deletes them must follow.
                self.has_messages |= !self.messages.is_empty();
                self.forget_net();
                sealed.push(change);
                self.sealed = sealed;
                self.wait(now);
            }
            Change::Reserve { .. }
            | Change::IdsClosed { .. }
            | Change::Retain { .. }
            | Change::Session { .. }
            | Change::Away { .. }
            | Change::Subscription { .. } => {
                self.plain.push(change);
                self.wait(now);
            }
        }
    }

    fn delete(&mut self, first: Seq, last: Seq, now: Instant) {
        let mut staged = 0;
        while let Some(message) = self.take_message(first, last) {
            staged += 1;
            self.message_bytes = self.message_bytes.saturating_sub(message.bytes());
        }
        if staged < last.0 - first.0 + 1 && self.has_messages {
            self.add_delete(first, last);
            self.wait(now);
        }
    }

    /// Takes out the first message from `first` to `last`.
    fn take_message(&mut self, first: Seq, last: Seq) -> Option<StagedMessage> {
        // Mostly the first of all, which need not be searched for.
        let front = self.messages.first_entry()?;
        if (first..=last).contains(front.key()) {
            return Some(front.remove());
        }
        let seq = *self.messages.range(first..=last).next()?.0;
        self.messages.remove(&seq)
    }

    fn add_delete(&mut self, mut first: Seq, mut last: Seq) {
        while let Some((&from, &to)) = self.deletes.range(..=after(last)).next_back()
            && after(to) >= first
        {
            self.deletes.remove(&from);
            (first, last) = (first.min(from), last.max(to));
        }
        self.deletes.insert(first, last);
    }

    fn settle(&mut self, session: SessionId, first: Seq, last: Seq, now: Instant) {
        let within = (session, first)..=(session, last);
        let since = self.end_flights(within.clone(), now);
        remove_range(&mut self.settled, within.clone());
        self.settled.insert((session, first), last);
        // What never went to the database need not be settled there.
        if first <= self.stored_to || self.stored_flights.range(within).next().is_some() {
            self.wait(since);
        }
    }

    fn move_cursor(&mut self, session: SessionId, cursor: Seq, now: Instant) {
        self.cursors.insert(session, cursor);
        let passed = (session, Seq(0))..=(session, cursor);
        let since = self.end_flights(passed.clone(), now);
        remove_range(&mut self.settled, passed.clone());
        let is_stored = self.stored_flights.range(passed.clone()).next().is_some()
            || self.stored_settled.range(passed).next().is_some();
        if self.has_messages || is_stored {
            self.wait(since);
        }
    }

    /// Takes out flights that are over; gives since when the database has not heard of the oldest of them, at most `now`.
    /// What ends a flight waits no longer than the flight would have: after a power cut the database goes back to what
    /// was so `commit_every` ago, not to what was so before that.
    fn end_flights(&mut self, range: RangeInclusive<(SessionId, Seq)>, now: Instant) -> Instant {
        let staged = self.flights.range(range.clone()).filter_map(|(_, flight)| *flight);
        let since = staged.map(|flight| flight.staged).fold(now, Instant::min);
        remove_range(&mut self.flights, range);
        since
    }

    fn wait(&mut self, since: Instant) {
        self.waiting = Some(self.waiting.map_or(since, |waiting| waiting.min(since)));
    }

    /// Whether the database must have it before anything else is done.
    pub(super) fn is_sealed(&self) -> bool {
        !self.sealed.is_empty()
    }

    /// Bytes of staged messages, about.
    pub(super) fn bytes(&self) -> usize {
        self.message_bytes
    }

    /// When the database must have what is staged.
    pub(super) fn poll_timeout(&self, commit_every: Duration) -> Option<Instant> {
        let message = self.messages.first_key_value().map(|(_, message)| message.staged);
        let flight = self.flights.values().flatten().map(|flight| flight.staged).min();
        let inbox = self.inbox.values().map(|(_, staged)| *staged).min();
        let will = self.wills.values().map(|(_, staged)| *staged).min();
        let oldest = [self.waiting, message, flight, inbox, will].into_iter().flatten().min();
        oldest.map(|oldest| oldest + commit_every)
    }

    /// All that is staged, as the changes that bring the database up to date, in order.
    pub(super) fn net(&self) -> Vec<Change> {
        let mut changes = self.sealed.clone();
        self.put_net(&mut changes);
        changes
    }

    fn put_net(&self, changes: &mut Vec<Change>) {
        changes.extend(self.plain.iter().cloned());
        changes.extend(self.messages.iter().map(|(seq, staged)| Change::Append {
            seq: *seq,
            message: staged.message.clone(),
            targets: staged.targets.clone(),
        }));
        changes.extend(self.deletes.iter().map(|(&first, &last)| Change::Delete { first, last }));
        let cursor = |(session, cursor): (&SessionId, &Seq)| Change::Cursor {
            session: *session,
            cursor: *cursor,
        };
        changes.extend(self.cursors.iter().map(cursor));
        changes.extend(
            self.dropped.iter().map(|(&(session, _), &count)| Change::Dropped { session, count }),
        );
        changes.extend(self.settled.iter().map(|(&(session, first), &last)| Change::Settled {
            session,
            first,
            last,
        }));
        changes.extend(self.flights.iter().map(|(&(session, seq), flight)| match flight {
            Some(StagedFlight { packet_id, phase, .. }) => {
                Change::Flight { session, seq, packet_id: *packet_id, phase: *phase }
            }
            None => Change::Recall { session, seq },
        }));
        changes.extend(self.inbox.iter().map(|(&(session, packet_id), &(present, _))| {
            Change::Inbox { session, packet_id, present }
        }));
        changes.extend(
            self.wills
                .iter()
                .map(|(&session, (will, _))| Change::Will { session, will: will.clone() }),
        );
    }

    /// Forgets what went to the database, and notes what it has of it.
    fn forget_net(&mut self) {
        self.plain.clear();
        let last = self.messages.last_key_value().map(|(seq, _)| *seq);
        self.stored_to = last.map_or(self.stored_to, |last| last.max(self.stored_to));
        self.messages.clear();
        self.message_bytes = 0;
        self.deletes.clear();
        self.dropped.clear();
        for (key, flight) in std::mem::take(&mut self.flights) {
            match flight {
                Some(_) => self.stored_flights.insert(key),
                None => self.stored_flights.remove(&key),
            };
        }
        for (session, cursor) in std::mem::take(&mut self.cursors) {
            let is_left = |(of, seq): &(SessionId, Seq)| *of != session || *seq > cursor;
            self.stored_flights.retain(is_left);
            self.stored_settled.retain(is_left);
        }
        for ((session, first), last) in std::mem::take(&mut self.settled) {
            let is_left =
                |(of, seq): &(SessionId, Seq)| *of != session || !(first..=last).contains(seq);
            self.stored_flights.retain(is_left);
            self.stored_settled.retain(is_left);
            self.stored_settled.insert((session, first));
        }
        for (key, (present, _)) in std::mem::take(&mut self.inbox) {
            if present {
                self.stored_inbox.insert(key)
            } else {
                self.stored_inbox.remove(&key)
            };
        }
        for (session, (will, _)) in std::mem::take(&mut self.wills) {
            if will.is_some() {
                self.stored_wills.insert(session)
            } else {
                self.stored_wills.remove(&session)
            };
        }
    }

    /// The database has everything; `has_messages` says whether it holds any message.
    pub(super) fn handle_flushed(&mut self, has_messages: bool) {
        let ended: Vec<SessionId> = self
            .sealed
            .drain(..)
            .filter_map(|change| match change {
                Change::EndSession { session } => Some(session),
                Change::Append { .. }
                | Change::Delete { .. }
                | Change::Flight { .. }
                | Change::Recall { .. }
                | Change::Settled { .. }
                | Change::Dropped { .. }
                | Change::Cursor { .. }
                | Change::Inbox { .. }
                | Change::Reserve { .. }
                | Change::IdsClosed { .. }
                | Change::Retain { .. }
                | Change::Session { .. }
                | Change::Away { .. }
                | Change::Will { .. }
                | Change::Subscription { .. } => None,
            })
            .collect();
        self.forget_net();
        self.stored_flights.retain(|(session, _)| !ended.contains(session));
        self.stored_inbox.retain(|(session, _)| !ended.contains(session));
        self.stored_settled.retain(|(session, _)| !ended.contains(session));
        self.stored_wills.retain(|session| !ended.contains(session));
        self.has_messages = has_messages;
        self.waiting = None;
    }

    /// Puts the staged messages of `session` after `after` among those the database had: `examined` is the last place
    /// looked at there, `None` if there is nothing beyond.
    pub(super) fn merge(
        &self,
        session: SessionId,
        after: Seq,
        stored: Vec<StoredMessage>,
        examined: Option<Seq>,
    ) -> Vec<StoredMessage> {
        let is_its = |targets: &[Target]| targets.iter().any(|target| target.session == session);
        self.merge_those(is_its, after, stored, examined)
    }

    /// Puts all staged messages into a slice of the database that begins after `after`.
    pub(super) fn merge_slice(&self, after: Seq, slice: &mut Slice) {
        let stored = std::mem::take(&mut slice.messages);
        slice.messages = self.merge_those(|_| true, after, stored, slice.examined);
        let is_deleted = |row: &DamagedSegment| {
            self.deletes.iter().any(|(first, last)| *first <= row.first && row.last <= *last)
        };
        slice.damaged.retain(|row| !is_deleted(row));
    }

    fn merge_those(
        &self,
        wanted: impl Fn(&[Target]) -> bool,
        after: Seq,
        stored: Vec<StoredMessage>,
        examined: Option<Seq>,
    ) -> Vec<StoredMessage> {
        let mut merged: BTreeMap<Seq, StoredMessage> = stored
            .into_iter()
            .filter(|stored| !self.is_deleted(stored.seq))
            .map(|stored| (stored.seq, stored))
            .collect();
        let end = examined.unwrap_or(Seq(u64::MAX));
        if after < end {
            let range = (std::ops::Bound::Excluded(after), std::ops::Bound::Included(end));
            for (seq, staged) in self.messages.range(range) {
                if wanted(&staged.targets) {
                    let (message, targets) = (staged.message.clone(), staged.targets.clone());
                    merged.insert(*seq, StoredMessage { seq: *seq, message, targets });
                }
            }
        }
        merged.into_values().collect()
    }

    fn is_deleted(&self, seq: Seq) -> bool {
        self.deletes.range(..=seq).next_back().is_some_and(|(_, last)| *last >= seq)
    }
}

fn remove_range<K: Ord + Copy, V>(map: &mut BTreeMap<K, V>, range: RangeInclusive<K>) {
    let keys: Vec<K> = map.range(range).map(|(key, _)| *key).collect();
    keys.iter().for_each(|key| _ = map.remove(key));
}

/// The place after `seq`, if there is one.
fn after(seq: Seq) -> Seq {
    Seq(seq.0.saturating_add(1))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_flight_goes_to_the_database_when_the_flight_would_have() {
        const EVERY: Duration = Duration::from_secs(1);
        let (session, packet_id) = (SessionId(1), NonZeroU16::MIN);
        let flight = |phase| Change::Flight { session, seq: Seq(5), packet_id, phase };
        let ends = [
            Change::Cursor { session, cursor: Seq(5) },
            Change::Settled { session, first: Seq(5), last: Seq(5) },
            Change::Recall { session, seq: Seq(5) },
        ];
        for end in ends {
            let begin = Instant::now();
            let at = |ms| begin + Duration::from_millis(ms);
            let mut overlay = Overlay::default();
            overlay.handle_change(flight(Phase::Assigned), begin);
            overlay.handle_flushed(true);
            assert_eq!(overlay.poll_timeout(EVERY), None);
            overlay.handle_change(flight(Phase::Released), at(300));
            overlay.handle_change(end.clone(), at(900));
            assert_eq!(overlay.poll_timeout(EVERY), Some(at(1300)), "{end:?}");
        }
    }

    #[test]
    fn deletes_that_touch_are_one_range_and_others_stay_apart() {
        let mut overlay = Overlay { has_messages: true, ..Overlay::default() };
        for (first, last) in [(5, 6), (1, 2), (9, 9), (7, 7), (20, 30), (25, 40), (3, 3)] {
            overlay.add_delete(Seq(first), Seq(last));
        }
        let ranges: Vec<(u64, u64)> = overlay.deletes.iter().map(|(f, l)| (f.0, l.0)).collect();
        assert_eq!(ranges, [(1, 3), (5, 7), (9, 9), (20, 40)]);
        let deleted: Vec<u64> = (0..=10).filter(|seq| overlay.is_deleted(Seq(*seq))).collect();
        assert_eq!(deleted, [1, 2, 3, 5, 6, 7, 9]);
        assert!(overlay.is_deleted(Seq(40)) && !overlay.is_deleted(Seq(41)));
        overlay.add_delete(Seq(1), Seq(u64::MAX));
        assert_eq!(overlay.deletes.len(), 1);
    }
}

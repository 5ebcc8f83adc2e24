//! core: the bounds of the queue: when something must give way, what was dropped, and who is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Engine, Fact};
use crate::hub::drops::DropSummary;
use crate::hub::outbox::Outgoing;
use crate::hub::tally::Counted;
use crate::model::{Body, Message, Moment, QoS, Seq};
use crate::store::{Change, DropReason, SessionId, StoreCommand, Target, Trimmed, WhenFull};

/// How often the age of the queue is looked at.
const AGE_CHECK: Duration = Duration::from_secs(60);
/// How long after a trim that could not help, or failed, the next one waits.
const TRIM_PAUSE: Duration = Duration::from_secs(10);
/// Room the store needs beside what it holds. A full disk could not even take the word that a message was delivered, and
/// would stay full. The write-ahead log up to its checkpoint is 4 MiB, and the checkpoint may write as much to the file.
const ROOM_MIN: u64 = 8 * 1024 * 1024;
/// How long no message must have been dropped until that counts as over; longer than [`AGE_CHECK`].
const DROP_QUIET: Duration = Duration::from_secs(300);

/// How the queue stands against its bounds.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    bytes_used: u64,
    /// What is lacking of [`ROOM_MIN`].
    bytes_lacking: u64,
    /// Why the trim under way drops.
    trimming: Option<DropReason>,
    /// Before then a trim for size would not help.
    trim_from: Option<Instant>,
    age_checked: Option<Instant>,
    /// Why new messages are not taken.
    refusing: Option<DropReason>,
    /// Whose messages are being dropped: how many so far, and when the last. An operator's purge is none of them, but the
    /// upstream is told of it when that is over as well.
    dropping: BTreeMap<SessionId, (u64, Instant)>,
}

impl Bounds {
    /// Whether the store is dropping messages: what stands there must not get under way, it may be gone already.
    pub(super) fn is_trimming(&self) -> bool {
        self.trimming.is_some()
    }

    /// Bytes the store uses.
    pub(super) fn bytes_used(&self) -> u64 {
        self.bytes_used
    }

    /// Why new messages are not taken, if they are not.
    pub(super) fn refusing(&self) -> Option<DropReason> {
        self.refusing
    }

    /// Notes that messages of a session were dropped; tells whether none had been for a while.
    pub(super) fn note_drop(&mut self, id: SessionId, count: u64, now: Moment) -> bool {
        let (so_far, last) = self.dropping.entry(id).or_insert((0, now.mono));
        let first = *so_far == 0;
        (*so_far, *last) = (*so_far + count, now.mono);
        first
    }

    /// When drops may be over.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.dropping.values().map(|(_, last)| *last + DROP_QUIET).min()
    }

    fn why_full(&self, bytes_max: u64) -> Option<DropReason> {
        if self.bytes_used > bytes_max {
            Some(DropReason::QueueFull)
        } else {
            (self.bytes_lacking > 0).then_some(DropReason::DiskFull)
        }
    }
}

/// A little below the bound, so that not every batch trims.
fn low_mark(bytes_max: u64) -> u64 {
    bytes_max - bytes_max / 64
}

impl Engine {
    /// What must be dropped to keep the bounds, if anything.
    pub(super) fn poll_trim(&mut self, now: Moment) -> Option<StoreCommand> {
        self.clock.handle_time(now);
        // What an operator removed must not be counted as dropped as well.
        if !self.is_committed(self.purge_batch) {
            return None;
        }
        let Self { bounds, options, .. } = self;
        let size_max = options.store_bytes_max;
        let full = bounds
            .why_full(size_max)
            .filter(|_| options.when_full != WhenFull::DropNewest)
            .filter(|_| bounds.trim_from.is_none_or(|at| at <= now.mono));
        let due = bounds.age_checked.is_none_or(|last| now.mono.duration_since(last) >= AGE_CHECK);
        if bounds.is_trimming() || (full.is_none() && !due) {
            return None;
        }
        let (mut bytes_target, mut older_than) = (None, None);
        if full.is_some() {
            bytes_target = Some(match bounds.bytes_lacking {
                0 => low_mark(size_max),
                lacking => low_mark(size_max)
                    .min(bounds.bytes_used.saturating_sub(lacking + ROOM_MIN / 64)),
            });
        } else {
            bounds.age_checked = Some(now.mono);
            older_than = Some(self.clock.age_limit(options.age_max, now)?);
        }
        bounds.trimming = Some(full.unwrap_or(DropReason::TooOld));
        let keep = self.sessions.values().flat_map(|s| s.outbox.inflight_seqs()).collect();
        let thin = bytes_target.is_some() && self.options.when_full == WhenFull::Thin;
        Some(StoreCommand::Trim { keep, bytes_target, thin, older_than })
    }

    /// Takes what the store says of its size.
    pub(super) fn measure(&mut self, bytes_used: u64, bytes_room: Option<u64>) {
        let size_max = self.options.store_bytes_max;
        let bounds = &mut self.bounds;
        bounds.bytes_used = bytes_used;
        bounds.bytes_lacking = bytes_room.map_or(0, |room| ROOM_MIN.saturating_sub(room));
        if self.options.when_full == WhenFull::DropNewest {
            let has_room = bounds.bytes_lacking == 0 && bytes_used <= low_mark(size_max);
            let before = bounds.refusing.filter(|_| !has_room);
            bounds.refusing = bounds.why_full(size_max).or(before);
        }
    }

    /// The store dropped what it had to.
    pub(super) fn handle_trimmed(&mut self, trimmed: &Trimmed, now: Moment) {
        let reason = self.bounds.trimming.take().unwrap_or(DropReason::QueueFull);
        self.measure(trimmed.bytes_used, trimmed.bytes_room);
        let (dropped, thinned) = (&trimmed.dropped, &trimmed.thinned);
        if reason != DropReason::TooOld && dropped.is_empty() && thinned.is_empty() {
            self.bounds.trim_from = Some(now.mono + TRIM_PAUSE);
        }
        self.handle_dropped(dropped, reason, now);
        self.handle_dropped(thinned, DropReason::Thinned, now);
        // What stands in the store may get under way again.
        self.dirty.extend(self.sessions.keys());
    }

    /// The store could not drop anything.
    pub(super) fn handle_trim_failed(&mut self, now: Moment) {
        self.bounds.trimming = None;
        self.bounds.trim_from = Some(now.mono + TRIM_PAUSE);
    }

    fn handle_dropped(
        &mut self,
        dropped: &[(Seq, Arc<[Target]>)],
        reason: DropReason,
        now: Moment,
    ) {
        let mut of: BTreeMap<SessionId, BTreeSet<Seq>> = BTreeMap::new();
        for (seq, targets) in dropped {
            for target in targets.iter() {
                let settled = self
                    .sessions
                    .get(&target.session)
                    .is_none_or(|session| session.outbox.is_settled(*seq));
                if !settled {
                    of.entry(target.session).or_default().insert(*seq);
                }
            }
        }
        for (id, seqs) in of {
            if let Some(session) = self.sessions.get_mut(&id) {
                session.outbox.handle_dropped(&seqs);
            }
            self.count_dropped(id, reason, seqs.len() as u64, now);
        }
    }

    /// Counts what a session will not get.
    pub(super) fn count_dropped(
        &mut self,
        id: SessionId,
        reason: DropReason,
        count: u64,
        now: Moment,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.counters.dropped += count;
        if let Some(counted) = Counted::of_drop(reason) {
            self.counts.add(counted, count);
        }
        if session.is_uplink() {
            session.drops.add(reason, count, now.wall);
        }
        let session = session.name().clone();
        let first = self.bounds.note_drop(id, count, now);
        self.facts.push_back(Fact::Dropped { session, reason, count, first });
        self.moved.insert(id);
        self.dirty.insert(id);
    }

    /// Notes a message that an upstream will not get although there was room for it.
    pub(super) fn note_dropped(&mut self, id: SessionId, reason: DropReason, now: Moment) {
        if let Some(session) = self.sessions.get_mut(&id).filter(|session| session.is_uplink()) {
            session.drops.add(reason, 1, now.wall);
            self.moved.insert(id);
        }
    }

    /// Counts what an operator took from a session: an upstream is told of it as of drops, and nobody here has to be.
    pub(super) fn note_purged(&mut self, id: SessionId, count: u64, now: Moment) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.counters.purged += count;
        self.counts.add(Counted::Purged, count);
        if session.is_uplink() {
            session.drops.add(DropReason::Purged, count, now.wall);
            self.bounds.dropping.entry(id).or_insert((0, now.mono)).1 = now.mono;
        }
        self.moved.insert(id);
        self.dirty.insert(id);
    }

    /// Says that drops are over, where none came for a while.
    pub(super) fn end_drops(&mut self, now: Moment) {
        let dropping = self.bounds.dropping.iter();
        let over: Vec<(SessionId, u64)> = dropping
            .filter(|(_, (_, last))| *last + DROP_QUIET <= now.mono)
            .map(|(id, (count, _))| (*id, *count))
            .collect();
        for (id, count) in over {
            self.bounds.dropping.remove(&id);
            if let Some(session) = self.sessions.get(&id).filter(|_| count > 0) {
                let session = session.name().clone();
                self.facts.push_back(Fact::DropsEnded { session, count });
            }
            self.tell_drops(id, now);
        }
    }

    /// Tells a connected upstream what it will not get, before everything else that waits for it.
    pub(super) fn tell_drops(&mut self, id: SessionId, now: Moment) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(tell) = session.tell_drops.clone() else { return };
        if session.link.is_none() || session.drops.is_empty() {
            return;
        }
        let name = session.name().clone();
        let counts = session.drops.take(id, &mut self.changes);
        let payload = (tell.payload)(&DropSummary { session: &name, counts: &counts });
        let qos = session.forward.iter().map(|rule| rule.qos).max();
        let qos = qos.unwrap_or_default().max(QoS::AtLeastOnce);
        let message = Message {
            topic: tell.topic,
            payload,
            qos,
            retain: false,
            properties: None,
            accepted: now.wall,
            expires: None,
            body: Body::Foreign,
        };
        let seq = self.next_seq();
        let target = Target { session: id, qos, retain: false, shared: false };
        let targets: Arc<[Target]> = Arc::from([target]);
        let (message, copy) = (Arc::new(message), targets.clone());
        self.changes.push(Change::Append { seq, message: message.clone(), targets: copy });
        let out = Outgoing {
            seq,
            message,
            qos,
            retain: false,
            subscription_ids: Vec::new(),
            shared: false,
            stored: Some(targets),
            batch: self.open_batch,
            late: false,
        };
        if let Some(session) = self.sessions.get_mut(&id) {
            session.outbox.push_stored_front(out);
        }
        self.dirty.insert(id);
    }
}

//! core: which of the stored messages somebody means, and what removing them from a store that nobody runs changes.

use std::collections::{BTreeMap, BTreeSet};

use super::change::{
    Change, DropCount, DropReason, SessionId, SessionOwner, StoredMessage, StoredSession, Target,
};
use super::slice::Slice;
use crate::model::{Message, Seq, Timestamp, TopicFilter};

/// Some of the stored messages. What is given must hold all at once; the default takes every message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Waiting for this session.
    pub session: Option<SessionId>,
    /// With a topic under this filter.
    pub filter: Option<TopicFilter>,
    /// Accepted at this time or later.
    pub since: Option<Timestamp>,
    /// Accepted before this time.
    pub before: Option<Timestamp>,
}

impl Selection {
    /// Whether it means this message, as far as the message itself says.
    #[must_use]
    pub fn takes(&self, message: &Message) -> bool {
        let accepted = message.accepted;
        // A time from before the clock was set says nothing about when it was.
        let told = accepted.is_set() || (self.since.is_none() && self.before.is_none());
        told && self.since.is_none_or(|since| accepted >= since)
            && self.before.is_none_or(|before| accepted < before)
            && self.filter.as_ref().is_none_or(|filter| filter.matches(&message.topic))
    }

    /// Whether it means deliveries to this session.
    #[must_use]
    pub fn includes(&self, session: SessionId) -> bool {
        self.session.is_none_or(|chosen| chosen == session)
    }
}

/// What a purge removed, or would remove.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Purged {
    /// Messages that somebody no longer gets.
    pub messages: u64,
    /// Rows that could not be understood.
    pub damaged: u64,
    /// For each session concerned.
    pub sessions: BTreeMap<SessionId, PurgedSession>,
}

/// What a purge removed of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PurgedSession {
    /// Waiting messages that go.
    pub removed: u64,
    /// Chosen messages that stay because they are in flight.
    pub in_flight: u64,
}

impl Purged {
    /// Adds what another slice gave.
    pub fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.damaged += other.damaged;
        for (id, more) in &other.sessions {
            let sum = self.sessions.entry(*id).or_default();
            sum.removed += more.removed;
            sum.in_flight += more.in_flight;
        }
    }
}

/// How far a session has come, by its rows.
#[derive(Debug)]
struct Progress {
    cursor: Seq,
    /// What is settled above the cursor: the first place of a run to its last.
    runs: BTreeMap<Seq, Seq>,
    in_flight: BTreeSet<Seq>,
    /// The place before the first thing seen that stays: the cursor cannot pass that.
    stop: Option<Seq>,
    /// The run that what goes behind that makes; it ends before the next thing that stays.
    run: Option<(Seq, Seq)>,
    /// What an uplink has to tell of purges, its own included.
    to_tell: Option<DropCount>,
    is_uplink: bool,
}

impl Progress {
    fn new(session: &StoredSession) -> Self {
        let purged = |count: &&DropCount| count.reason == DropReason::Purged;
        Self {
            cursor: session.cursor,
            runs: session.settled.iter().copied().collect(),
            in_flight: session.flights.iter().map(|flight| flight.seq).collect(),
            stop: None,
            run: None,
            to_tell: session.dropped.iter().find(purged).copied(),
            is_uplink: matches!(session.owner, SessionOwner::Uplink(_)),
        }
    }

    fn stop_before(&mut self, seq: Seq) {
        self.stop.get_or_insert(Seq(seq.0.saturating_sub(1)));
        self.run = None;
    }

    fn last_of_run_at(&self, seq: Seq) -> Option<Seq> {
        let (_, last) = self.runs.range(..=seq).next_back()?;
        (*last >= seq).then_some(*last)
    }

    /// The message at `seq` goes while its row stays for others; gives the run that says so, if the cursor cannot.
    fn settle(&mut self, seq: Seq) -> Option<(Seq, Seq)> {
        self.stop?;
        let first = self.run.map_or(seq, |(first, _)| first);
        self.run = Some((first, seq));
        self.run
    }

    fn tell(&mut self, removed: u64, now: Timestamp) -> Option<DropCount> {
        if !self.is_uplink {
            return None;
        }
        let none = DropCount { reason: DropReason::Purged, count: 0, first: now, last: now };
        let so_far = self.to_tell.get_or_insert(none);
        (so_far.count, so_far.last) = (so_far.count + removed, now);
        Some(*so_far)
    }
}

/// Who still waits for what in a store that nobody runs, by its rows alone.
#[derive(Debug)]
pub struct Waiting {
    sessions: BTreeMap<SessionId, Progress>,
}

impl Waiting {
    /// Takes the sessions as the store has them.
    #[must_use]
    pub fn new(sessions: &[StoredSession]) -> Self {
        Self { sessions: sessions.iter().map(|s| (s.id, Progress::new(s))).collect() }
    }

    /// Whether `session` still waits for the message at `seq`, as far as it was for it.
    #[must_use]
    pub fn waits(&self, session: SessionId, seq: Seq) -> bool {
        self.sessions
            .get(&session)
            .is_some_and(|progress| progress.cursor < seq && progress.last_of_run_at(seq).is_none())
    }

    /// Whether the message at `seq` has a packet id in this session.
    #[must_use]
    pub fn is_in_flight(&self, session: SessionId, seq: Seq) -> bool {
        self.sessions.get(&session).is_some_and(|progress| progress.in_flight.contains(&seq))
    }

    /// The next slice of a purge: what goes, at `now`, and the changes that make it so. Slices come in order, from the
    /// first on.
    pub fn purge(
        &mut self,
        selection: &Selection,
        slice: &Slice,
        now: Timestamp,
    ) -> (Purged, Vec<Change>) {
        let (mut purged, mut changes) = (Purged::default(), Vec::new());
        let mut runs: BTreeMap<(SessionId, Seq), Seq> = BTreeMap::new();
        // Nobody can tell whom a segment is for that cannot be read: it stays, and stops every cursor and run.
        let mut damaged = slice.damaged.iter().map(|segment| segment.first).peekable();
        let stop_all = |sessions: &mut BTreeMap<SessionId, Progress>, seq| {
            sessions.values_mut().for_each(|progress| progress.stop_before(seq));
        };
        for stored in &slice.messages {
            while let Some(damaged) = damaged.next_if(|damaged| *damaged < stored.seq) {
                stop_all(&mut self.sessions, damaged);
            }
            let chosen = selection.takes(&stored.message);
            self.purge_one(selection, stored, chosen, &mut purged, &mut changes, &mut runs);
        }
        damaged.for_each(|damaged| stop_all(&mut self.sessions, damaged));
        changes.extend(runs.into_iter().map(|((session, first), last)| Change::Settled {
            session,
            first,
            last,
        }));
        for (id, of) in purged.sessions.iter().filter(|(_, of)| of.removed > 0) {
            let progress = self.sessions.get_mut(id);
            let count = progress.and_then(|progress| progress.tell(of.removed, now));
            changes.extend(count.map(|count| Change::Dropped { session: *id, count }));
        }
        for (id, progress) in &mut self.sessions {
            let cursor = progress.stop.unwrap_or_else(|| slice.end(progress.cursor));
            // A run is passed as a whole.
            let cursor = progress.last_of_run_at(cursor).unwrap_or(cursor);
            if selection.includes(*id) && cursor > progress.cursor {
                progress.cursor = cursor;
                changes.push(Change::Cursor { session: *id, cursor });
            }
        }
        (purged, changes)
    }

    fn purge_one(
        &mut self,
        selection: &Selection,
        stored: &StoredMessage,
        chosen: bool,
        purged: &mut Purged,
        changes: &mut Vec<Change>,
        runs: &mut BTreeMap<(SessionId, Seq), Seq>,
    ) {
        let seq = stored.seq;
        let mut left = false;
        let mut gone = Vec::new();
        for Target { session, .. } in stored.targets.iter() {
            if !self.waits(*session, seq) {
                continue;
            }
            let Some(progress) = self.sessions.get_mut(session) else { continue };
            let goes = chosen && selection.includes(*session);
            let in_flight = progress.in_flight.contains(&seq);
            if goes && !in_flight {
                purged.sessions.entry(*session).or_default().removed += 1;
                gone.push(*session);
                continue;
            }
            if goes {
                purged.sessions.entry(*session).or_default().in_flight += 1;
            }
            progress.stop_before(seq);
            left = true;
        }
        if gone.is_empty() {
            return;
        }
        purged.messages += 1;
        if !left {
            changes.push(Change::Delete { first: seq, last: seq });
            return;
        }
        for session in gone {
            // Where the cursor passes it, that says enough.
            let run = self.sessions.get_mut(&session).and_then(|progress| progress.settle(seq));
            if let Some((first, last)) = run {
                runs.insert((session, first), last);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;
    use std::sync::Arc;

    use bytes::Bytes;

    use super::super::change::{Phase, StoredFlight};
    use super::super::slice::DamagedSegment;
    use super::*;
    use crate::model::{Body, QoS, TopicName};

    const FAR: SessionId = SessionId(1);
    const NEAR: SessionId = SessionId(2);

    fn stored(seq: u64, topic: &str, sessions: &[SessionId]) -> StoredMessage {
        let target = |session: &SessionId| Target {
            session: *session,
            qos: QoS::ExactlyOnce,
            retain: false,
            shared: false,
        };
        let message = Message {
            topic: TopicName::new(topic).unwrap(),
            payload: Bytes::from_static(b"x"),
            qos: QoS::ExactlyOnce,
            retain: false,
            properties: None,
            accepted: Timestamp::from_unix_ms(1_795_230_600_000 + seq),
            expires: None,
            body: Body::Foreign,
        };
        let targets: Arc<[Target]> = sessions.iter().map(target).collect();
        StoredMessage { seq: Seq(seq), message: message.into(), targets }
    }

    const NOW: Timestamp = Timestamp::from_unix_ms(1_795_230_700_000);

    fn session(id: SessionId, cursor: u64) -> StoredSession {
        StoredSession {
            id,
            owner: SessionOwner::Client("x".into()),
            cursor: Seq(cursor),
            expiry: u32::MAX,
            away_since: None,
            subscriptions: Vec::new(),
            settled: Vec::new(),
            flights: Vec::new(),
            dropped: Vec::new(),
            inbox: Vec::new(),
            reserved: None,
            ids_lost: false,
            queued: 0,
            queued_bytes: Some(0),
        }
    }

    fn slice(messages: Vec<StoredMessage>) -> Slice {
        Slice { messages, ..Slice::default() }
    }

    fn delete(seq: u64) -> Change {
        Change::Delete { first: Seq(seq), last: Seq(seq) }
    }

    fn cursor(session: SessionId, cursor: u64) -> Change {
        Change::Cursor { session, cursor: Seq(cursor) }
    }

    fn settled(session: SessionId, first: u64, last: u64) -> Change {
        Change::Settled { session, first: Seq(first), last: Seq(last) }
    }

    #[test]
    fn one_sessions_messages_go_and_the_others_keep_theirs() {
        let mut waiting = Waiting::new(&[session(FAR, 0), session(NEAR, 0)]);
        let selection = Selection { session: Some(FAR), ..Selection::default() };
        let both = [FAR, NEAR];
        let messages = vec![stored(1, "a", &both), stored(2, "a", &[FAR]), stored(3, "a", &[NEAR])];
        let (purged, changes) = waiting.purge(&selection, &slice(messages), NOW);
        assert_eq!(changes, [delete(2), cursor(FAR, 3)]);
        assert_eq!((purged.messages, purged.sessions[&FAR].removed), (2, 2));
        assert!(!waiting.waits(FAR, Seq(1)) && waiting.waits(NEAR, Seq(1)));
    }

    #[test]
    fn what_is_in_flight_stays_and_stops_the_cursor() {
        let mut far = session(FAR, 0);
        let (packet_id, phase) = (NonZeroU16::MIN, Phase::Released);
        far.flights = vec![StoredFlight { seq: Seq(2), packet_id, phase, stored: None }];
        far.settled = vec![(Seq(3), Seq(3))];
        let mut waiting = Waiting::new(&[far, session(NEAR, 9)]);
        let both = [FAR, NEAR];
        let messages = (1..=4).map(|seq| stored(seq, "a", &both)).collect();
        let (purged, changes) = waiting.purge(&Selection::default(), &slice(messages), NOW);
        // NEAR has all of them already.
        assert_eq!(changes, [delete(1), delete(4), cursor(FAR, 1)]);
        assert_eq!(purged.sessions[&FAR], PurgedSession { removed: 2, in_flight: 1 });
    }

    #[test]
    fn a_message_behind_one_that_stays_is_noted_if_its_row_stays() {
        let mut waiting = Waiting::new(&[session(FAR, 0), session(NEAR, 0)]);
        let filter = Some(TopicFilter::new("b").unwrap());
        let selection = Selection { session: Some(FAR), filter, ..Selection::default() };
        let both = [FAR, NEAR];
        let messages = vec![stored(1, "b", &both), stored(2, "a", &both), stored(3, "b", &both)];
        let (_, changes) = waiting.purge(&selection, &slice(messages), NOW);
        assert_eq!(changes, [settled(FAR, 3, 3), cursor(FAR, 1)]);
        // The run goes on over the end of a slice and ends at what stays.
        let messages = [(4, "b"), (5, "b"), (6, "a"), (7, "b")];
        let messages = messages.map(|(seq, topic)| stored(seq, topic, &both)).to_vec();
        let (_, changes) = waiting.purge(&selection, &slice(messages), NOW);
        assert_eq!(changes, [settled(FAR, 3, 5), settled(FAR, 7, 7)]);
        let (_, changes) = waiting.purge(&selection, &slice(vec![stored(8, "b", &[FAR])]), NOW);
        assert_eq!(changes, [delete(8)]);
    }

    #[test]
    fn a_cursor_passes_a_run_as_a_whole() {
        let mut far = session(FAR, 0);
        far.settled = vec![(Seq(2), Seq(9))];
        let mut waiting = Waiting::new(&[far]);
        let messages = vec![stored(1, "a", &[FAR]), stored(4, "a", &[FAR, NEAR])];
        let (_, changes) = waiting.purge(&Selection::default(), &slice(messages), NOW);
        assert_eq!(changes, [delete(1), cursor(FAR, 9)]);
    }

    #[test]
    fn an_uplink_is_to_tell_what_was_purged_and_what_had_been_before() {
        let mut far = session(FAR, 0);
        far.owner = SessionOwner::Uplink("far".into());
        let before = Timestamp::from_unix_ms(1_795_230_600_000);
        let mut count =
            DropCount { reason: DropReason::Purged, count: 5, first: before, last: before };
        far.dropped = vec![count];
        let mut waiting = Waiting::new(&[far, session(NEAR, 0)]);
        for (seq, sum) in [(1, 6), (2, 7)] {
            let messages = slice(vec![stored(seq, "a", &[FAR, NEAR])]);
            let (_, changes) = waiting.purge(&Selection::default(), &messages, NOW);
            (count.count, count.last) = (sum, NOW);
            let told = Change::Dropped { session: FAR, count };
            assert_eq!(changes, [delete(seq), told, cursor(FAR, seq), cursor(NEAR, seq)]);
        }
    }

    #[test]
    fn a_segment_that_cannot_be_read_stops_every_cursor() {
        let mut waiting = Waiting::new(&[session(FAR, 0)]);
        let fault = String::new();
        let damaged = vec![DamagedSegment { first: Seq(2), last: Seq(2), count: 1, fault }];
        let messages = vec![stored(1, "a", &[FAR]), stored(3, "a", &[FAR])];
        let slice = Slice { messages, damaged, examined: None };
        let (_, changes) = waiting.purge(&Selection::default(), &slice, NOW);
        assert_eq!(changes, [delete(1), delete(3), cursor(FAR, 1)]);
    }

    #[test]
    fn a_time_from_before_the_clock_was_set_is_in_no_span() {
        let mut early = stored(1, "a", &[FAR]).message;
        Arc::make_mut(&mut early).accepted = Timestamp::from_unix_ms(5);
        let before = Some(Timestamp::from_unix_ms(1_795_230_600_000));
        assert!(!Selection { before, ..Selection::default() }.takes(&early));
        assert!(Selection::default().takes(&early));
    }
}

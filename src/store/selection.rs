//! core: which of the stored messages somebody means, and what removing them from a store that nobody runs changes.

use std::collections::{BTreeMap, BTreeSet};

use super::change::{Change, Phase, SessionId, StoredMessage, StoredSession, Target};
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
    settled: BTreeSet<Seq>,
    in_flight: BTreeSet<Seq>,
    /// The place before the first thing seen that stays: the cursor cannot pass that.
    stop: Option<Seq>,
}

impl Progress {
    fn stop_before(&mut self, seq: Seq) {
        self.stop.get_or_insert(Seq(seq.0.saturating_sub(1)));
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
        let progress = |session: &StoredSession| {
            let (settled, in_flight): (Vec<_>, Vec<_>) =
                session.flights.iter().partition(|flight| flight.phase == Phase::Settled);
            Progress {
                cursor: session.cursor,
                settled: settled.iter().map(|flight| flight.seq).collect(),
                in_flight: in_flight.iter().map(|flight| flight.seq).collect(),
                stop: None,
            }
        };
        Self { sessions: sessions.iter().map(|s| (s.id, progress(s))).collect() }
    }

    /// Whether `session` still waits for the message at `seq`, as far as it was for it.
    #[must_use]
    pub fn waits(&self, session: SessionId, seq: Seq) -> bool {
        self.sessions
            .get(&session)
            .is_some_and(|progress| progress.cursor < seq && !progress.settled.contains(&seq))
    }

    /// Whether the message at `seq` has a packet id in this session.
    #[must_use]
    pub fn is_in_flight(&self, session: SessionId, seq: Seq) -> bool {
        self.sessions.get(&session).is_some_and(|progress| progress.in_flight.contains(&seq))
    }

    /// The next slice of a purge: what goes, and the changes that make it so. Slices come in order, from the first on.
    pub fn purge(&mut self, selection: &Selection, slice: &Slice) -> (Purged, Vec<Change>) {
        let (mut purged, mut changes) = (Purged::default(), Vec::new());
        // Nobody can tell whom a row is for that cannot be read: it stays, and stops every cursor.
        let damaged = slice.damaged.first().map(|row| row.seq);
        let stop_all = |sessions: &mut BTreeMap<SessionId, Progress>, seq| {
            sessions.values_mut().for_each(|progress| progress.stop_before(seq));
        };
        for stored in &slice.messages {
            if let Some(damaged) = damaged.filter(|damaged| *damaged < stored.seq) {
                stop_all(&mut self.sessions, damaged);
            }
            let chosen = selection.takes(&stored.message);
            self.purge_one(selection, stored, chosen, &mut purged, &mut changes);
        }
        if let Some(damaged) = damaged {
            stop_all(&mut self.sessions, damaged);
        }
        for (id, progress) in &mut self.sessions {
            let cursor = progress.stop.unwrap_or_else(|| slice.end(progress.cursor));
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
            if self.sessions.get(&session).is_some_and(|progress| progress.stop.is_some()) {
                let (packet_id, phase) = (None, Phase::Settled);
                changes.push(Change::Flight { session, seq, packet_id, phase });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;
    use std::sync::Arc;

    use bytes::Bytes;

    use super::super::change::{SessionOwner, StoredFlight};
    use super::super::slice::DamagedRow;
    use super::*;
    use crate::model::{QoS, TopicName};

    const FAR: SessionId = SessionId(1);
    const NEAR: SessionId = SessionId(2);

    fn stored(seq: u64, topic: &str, sessions: &[SessionId]) -> StoredMessage {
        let target = |session: &SessionId| Target {
            session: *session,
            qos: QoS::ExactlyOnce,
            retain: false,
        };
        let message = Message {
            topic: TopicName::new(topic).unwrap(),
            payload: Bytes::from_static(b"x"),
            qos: QoS::ExactlyOnce,
            retain: false,
            properties: None,
            accepted: Timestamp::from_unix_ms(1_795_230_600_000 + seq),
            expires: None,
        };
        let targets: Arc<[Target]> = sessions.iter().map(target).collect();
        StoredMessage { seq: Seq(seq), message, targets }
    }

    fn session(id: SessionId, cursor: u64, flights: &[(u64, Phase)]) -> StoredSession {
        let flight = |&(seq, phase): &(u64, Phase)| StoredFlight {
            seq: Seq(seq),
            packet_id: (phase != Phase::Settled).then_some(NonZeroU16::MIN),
            phase,
            stored: None,
        };
        StoredSession {
            id,
            owner: SessionOwner::Uplink("x".into()),
            cursor: Seq(cursor),
            expiry: u32::MAX,
            away_since: None,
            subscriptions: Vec::new(),
            flights: flights.iter().map(flight).collect(),
            inbox: Vec::new(),
            reserved: None,
            queued: 0,
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

    fn settled(session: SessionId, seq: u64) -> Change {
        Change::Flight { session, seq: Seq(seq), packet_id: None, phase: Phase::Settled }
    }

    #[test]
    fn one_sessions_messages_go_and_the_others_keep_theirs() {
        let mut waiting = Waiting::new(&[session(FAR, 0, &[]), session(NEAR, 0, &[])]);
        let selection = Selection { session: Some(FAR), ..Selection::default() };
        let both = [FAR, NEAR];
        let messages = vec![stored(1, "a", &both), stored(2, "a", &[FAR]), stored(3, "a", &[NEAR])];
        let (purged, changes) = waiting.purge(&selection, &slice(messages));
        assert_eq!(changes, [delete(2), cursor(FAR, 3)]);
        assert_eq!((purged.messages, purged.sessions[&FAR].removed), (2, 2));
        assert!(!waiting.waits(FAR, Seq(1)) && waiting.waits(NEAR, Seq(1)));
    }

    #[test]
    fn what_is_in_flight_stays_and_stops_the_cursor() {
        let flights = [(2, Phase::Released), (3, Phase::Settled)];
        let mut waiting = Waiting::new(&[session(FAR, 0, &flights), session(NEAR, 9, &[])]);
        let both = [FAR, NEAR];
        let messages = (1..=4).map(|seq| stored(seq, "a", &both)).collect();
        let (purged, changes) = waiting.purge(&Selection::default(), &slice(messages));
        // NEAR has all of them already.
        assert_eq!(changes, [delete(1), delete(4), cursor(FAR, 1)]);
        assert_eq!(purged.sessions[&FAR], PurgedSession { removed: 2, in_flight: 1 });
    }

    #[test]
    fn a_message_behind_one_that_stays_is_noted_if_its_row_stays() {
        let mut waiting = Waiting::new(&[session(FAR, 0, &[]), session(NEAR, 0, &[])]);
        let filter = Some(TopicFilter::new("b").unwrap());
        let selection = Selection { session: Some(FAR), filter, ..Selection::default() };
        let both = [FAR, NEAR];
        let messages = vec![stored(1, "b", &both), stored(2, "a", &both), stored(3, "b", &both)];
        let (_, changes) = waiting.purge(&selection, &slice(messages));
        assert_eq!(changes, [settled(FAR, 3), cursor(FAR, 1)]);
        let (_, changes) = waiting.purge(&selection, &slice(vec![stored(4, "b", &[FAR])]));
        assert_eq!(changes, [delete(4)]);
    }

    #[test]
    fn a_row_that_cannot_be_read_stops_every_cursor() {
        let mut waiting = Waiting::new(&[session(FAR, 0, &[])]);
        let damaged = vec![DamagedRow { seq: Seq(2), fault: String::new() }];
        let messages = vec![stored(1, "a", &[FAR]), stored(3, "a", &[FAR])];
        let slice = Slice { messages, damaged, examined: None };
        let (_, changes) = waiting.purge(&Selection::default(), &slice);
        assert_eq!(changes, [delete(1), delete(3), cursor(FAR, 1)]);
    }

    #[test]
    fn a_time_from_before_the_clock_was_set_is_in_no_span() {
        let mut early = stored(1, "a", &[FAR]).message;
        early.accepted = Timestamp::from_unix_ms(5);
        let before = Some(Timestamp::from_unix_ms(1_795_230_600_000));
        assert!(!Selection { before, ..Selection::default() }.takes(&early));
        assert!(Selection::default().takes(&early));
    }
}

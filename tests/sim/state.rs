//! core: what the store has made durable, as a plain value.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use fieldpost::model::{Body, Message, Seq, Timestamp, TopicFilter, TopicName};
use fieldpost::store::{
    Change, DropCount, DropReason, Phase, SessionId, SessionOwner, Slice, Snapshot, StoredFlight,
    StoredMessage, StoredSession, StoredWill, Target,
};

#[derive(Debug, Clone)]
pub struct SessionRow {
    pub owner: SessionOwner,
    pub cursor: Seq,
    pub expiry: u32,
    pub away_since: Option<Timestamp>,
    pub reserved: Option<(NonZeroU16, NonZeroU16)>,
    pub ids_lost: bool,
}

/// What a commit took out of the store, for whoever checks that it was allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Appended(Seq, Message, Vec<Target>),
    /// A message is gone: because everybody had it (`None`), or with a session.
    Deleted(StoredMessage, Option<SessionId>),
    Ended(SessionId),
}

#[derive(Debug, Clone, Default)]
pub struct State {
    /// Which store it is.
    pub store: u64,
    pub starts: u64,
    pub messages: BTreeMap<Seq, StoredMessage>,
    pub sessions: BTreeMap<SessionId, SessionRow>,
    pub flights: BTreeMap<(SessionId, Seq), (NonZeroU16, Phase)>,
    /// Runs of settled places above the cursor: the last of each.
    pub settled: BTreeMap<(SessionId, Seq), Seq>,
    pub dropped: BTreeMap<(SessionId, DropReason), DropCount>,
    pub inbox: BTreeSet<(SessionId, NonZeroU16)>,
    pub subscriptions: BTreeMap<(SessionId, TopicFilter), (u8, Option<u32>)>,
    pub retained: BTreeMap<TopicName, Message>,
    pub wills: BTreeMap<SessionId, StoredWill>,
    pub last_session: u32,
    /// The first place of this boot; 0 if there was no start in it.
    pub boot_first: Seq,
}

/// What one stored message counts for against the bound.
pub const MESSAGE_BYTES: u64 = 1000;

impl State {
    pub fn bytes_used(&self) -> u64 {
        self.messages.len() as u64 * MESSAGE_BYTES
    }

    pub fn apply(&mut self, change: &Change, events: &mut Vec<Event>) {
        let change = change.clone();
        match change.clone() {
            Change::Append { seq, message, targets } => {
                assert!(!targets.is_empty(), "a message nobody wants is stored");
                events.push(Event::Appended(seq, Message::clone(&message), targets.to_vec()));
                let stored = StoredMessage { seq, message, targets };
                assert!(self.messages.insert(seq, stored).is_none(), "{seq:?} is given twice");
            }
            Change::Delete { first, last } => {
                let gone: Vec<Seq> =
                    self.messages.range(first..=last).map(|(seq, _)| *seq).collect();
                for seq in gone {
                    let stored = self.messages.remove(&seq).expect("just seen");
                    events.push(Event::Deleted(stored, None));
                }
            }
            Change::Flight { session, seq, packet_id, phase } => {
                assert!(self.sessions.contains_key(&session), "a flight of no session");
                self.flights.insert((session, seq), (packet_id, phase));
            }
            Change::Settled { session, first, last } => {
                let cursor = self.sessions.get(&session).expect("a run of no session").cursor;
                assert!(cursor < first && first <= last, "no run above {cursor:?}: {change:?}");
                let inside = |id: SessionId, seq: Seq| id == session && first <= seq && seq <= last;
                self.flights.retain(|(id, seq), _| !inside(*id, *seq));
                self.settled.retain(|(id, seq), _| !inside(*id, *seq));
                self.settled.insert((session, first), last);
            }
            Change::Dropped { session, count } => {
                if count.count == 0 {
                    self.dropped.remove(&(session, count.reason));
                } else {
                    self.dropped.insert((session, count.reason), count);
                }
            }
            Change::Recall { session, seq } => {
                self.flights.remove(&(session, seq));
            }
            Change::Cursor { session, cursor } => {
                let row = self.sessions.get_mut(&session).expect("a cursor of no session");
                assert!(row.cursor <= cursor, "the cursor of {session:?} goes back");
                row.cursor = cursor;
                let runs = self.settled.range((session, Seq(0))..=(session, cursor));
                let cut = runs.map(|(_, last)| *last).find(|last| *last > cursor);
                assert_eq!(cut, None, "{cursor:?} of {session:?} cuts a run");
                self.flights.retain(|(id, seq), _| *id != session || *seq > cursor);
                self.settled.retain(|(id, seq), _| *id != session || *seq > cursor);
            }
            Change::Inbox { session, packet_id, present } => {
                assert!(self.sessions.contains_key(&session), "an inbox of no session");
                if present {
                    self.inbox.insert((session, packet_id));
                } else {
                    self.inbox.remove(&(session, packet_id));
                }
            }
            Change::Reserve { session, first, last } => {
                let row = self.sessions.get_mut(&session).expect("a block of no session");
                row.reserved = Some((first, last));
            }
            Change::IdsClosed { session } => {
                let row = self.sessions.get_mut(&session).expect("ids of no session");
                assert!(std::mem::take(&mut row.ids_lost), "none of {session:?} was open");
            }
            Change::Retain { topic, message } => {
                match message {
                    Some(message) => self.retained.insert(topic, message),
                    None => self.retained.remove(&topic),
                };
            }
            Change::Session { session, owner, cursor, expiry } => {
                self.last_session = self.last_session.max(session.0);
                if let Some(row) = self.sessions.get_mut(&session) {
                    row.expiry = expiry;
                    return;
                }
                let taken = self.sessions.values().any(|row| row.owner == owner);
                assert!(!taken, "two sessions of {owner:?}");
                let row = SessionRow {
                    owner,
                    cursor,
                    expiry,
                    away_since: None,
                    reserved: None,
                    ids_lost: false,
                };
                self.sessions.insert(session, row);
            }
            Change::Away { session, since } => {
                if let Some(row) = self.sessions.get_mut(&session) {
                    row.away_since = since;
                }
            }
            Change::Will { session, will } => {
                match will {
                    Some(will) => self.wills.insert(session, will),
                    None => self.wills.remove(&session),
                };
            }
            Change::EndSession { session } => self.end_session(session, events),
            Change::Subscription { session, filter, options } => {
                assert!(self.sessions.contains_key(&session), "a subscription of no session");
                match options {
                    Some(options) => self.subscriptions.insert((session, filter), options),
                    None => self.subscriptions.remove(&(session, filter)),
                };
            }
        }
    }

    /// What was staged is gone: ids among those reserved may be open.
    pub fn lose_ids(&mut self) {
        self.sessions.values_mut().for_each(|row| row.ids_lost |= row.reserved.is_some());
    }

    fn end_session(&mut self, ended: SessionId, events: &mut Vec<Event>) {
        let Some(row) = self.sessions.remove(&ended) else { return };
        self.flights.retain(|(id, _), _| *id != ended);
        self.settled.retain(|(id, _), _| *id != ended);
        self.dropped.retain(|(id, _), _| *id != ended);
        self.inbox.retain(|(id, _)| *id != ended);
        self.subscriptions.retain(|(id, _), _| *id != ended);
        self.wills.remove(&ended);
        let mine = |stored: &StoredMessage| stored.targets.iter().any(|t| t.session == ended);
        let gone: Vec<Seq> = self
            .messages
            .values()
            .filter(|stored| stored.seq > row.cursor && mine(stored) && !self.is_waited_for(stored))
            .map(|stored| stored.seq)
            .collect();
        for seq in gone {
            let stored = self.messages.remove(&seq).expect("just seen");
            events.push(Event::Deleted(stored, Some(ended)));
        }
        events.push(Event::Ended(ended));
    }

    /// Whether the rows say that a session still wants this message.
    fn is_waited_for(&self, stored: &StoredMessage) -> bool {
        stored.targets.iter().any(|target| {
            let row = self.sessions.get(&target.session);
            row.is_some_and(|row| row.cursor < stored.seq)
                && !self.is_settled(target.session, stored.seq)
        })
    }

    fn is_settled(&self, session: SessionId, seq: Seq) -> bool {
        let mut runs = self.settled.range((session, Seq(0))..=(session, seq));
        runs.next_back().is_some_and(|(_, last)| *last >= seq)
    }

    pub fn fetch(
        &self,
        session: SessionId,
        after: Seq,
        count_max: usize,
    ) -> (Vec<StoredMessage>, Option<Seq>) {
        let rows: Vec<&StoredMessage> =
            self.messages.range(after.next()..).map(|(_, stored)| stored).take(count_max).collect();
        let examined = rows.last().filter(|_| rows.len() == count_max).map(|stored| stored.seq);
        let wanted = |stored: &&StoredMessage| stored.targets.iter().any(|t| t.session == session);
        (rows.into_iter().filter(wanted).cloned().collect(), examined)
    }

    /// All messages after a place.
    pub fn look(&self, after: Seq, count_max: usize) -> Slice {
        let rows = self.messages.range(after.next()..).map(|(_, stored)| stored.clone());
        let messages: Vec<StoredMessage> = rows.take(count_max).collect();
        let examined = messages.last().filter(|_| messages.len() == count_max).map(|m| m.seq);
        Slice { messages, damaged: Vec::new(), examined }
    }

    pub fn trim(&mut self, keep: &BTreeSet<Seq>, bytes_target: Option<u64>) -> Vec<StoredMessage> {
        let mut dropped = Vec::new();
        let candidates: Vec<Seq> =
            self.messages.keys().filter(|seq| !keep.contains(seq)).copied().collect();
        for seq in candidates {
            if bytes_target.is_none_or(|target| self.bytes_used() <= target) {
                break;
            }
            dropped.extend(self.messages.remove(&seq));
        }
        dropped
    }

    /// Takes every second reading out, from the oldest on, once over.
    pub fn thin(&mut self, keep: &BTreeSet<Seq>, bytes_target: u64) -> Vec<StoredMessage> {
        let is_reading = |stored: &&StoredMessage| !matches!(stored.message.body, Body::Foreign);
        let readings = self.messages.values().filter(is_reading).map(|stored| stored.seq);
        let candidates: Vec<Seq> = readings.filter(|seq| !keep.contains(seq)).collect();
        let mut thinned = Vec::new();
        for seq in candidates.into_iter().skip(1).step_by(2) {
            if self.bytes_used() > bytes_target {
                thinned.extend(self.messages.remove(&seq));
            }
        }
        thinned
    }

    /// What a start finds, as `Database::open` reads it.
    pub fn snapshot(&mut self) -> Snapshot {
        self.starts += 1;
        let places = self.messages.keys().copied();
        let places = places.chain(self.sessions.values().map(|row| row.cursor));
        let places = places.chain(self.flights.keys().map(|(_, seq)| *seq));
        let places = places.chain(self.settled.values().copied());
        let last_seq = places.max().unwrap_or_default();
        let is_first = self.boot_first == Seq(0);
        self.boot_first =
            if is_first { last_seq.next() } else { self.boot_first.min(last_seq.next()) };
        Snapshot {
            store: self.store,
            start: self.starts,
            staged_lost: false,
            last_seq,
            boot_first: self.boot_first,
            last_session: self.last_session,
            sessions: self.sessions.iter().map(|(id, row)| self.session(*id, row)).collect(),
            retained: self.retained.values().cloned().collect(),
            wills: self.wills.iter().map(|(id, will)| (*id, will.clone())).collect(),
        }
    }

    fn session(&self, id: SessionId, row: &SessionRow) -> StoredSession {
        let flights = self.flights.range((id, Seq(0))..=(id, Seq(u64::MAX)));
        let flights: Vec<StoredFlight> = flights
            .map(|((_, seq), (packet_id, phase))| StoredFlight {
                seq: *seq,
                packet_id: *packet_id,
                phase: *phase,
                stored: self.messages.get(seq).cloned(),
            })
            .collect();
        let waiting: Vec<_> = self
            .messages
            .values()
            .filter(|stored| {
                let is_for_it = stored.targets.iter().any(|t| t.session == id);
                stored.seq > row.cursor && is_for_it && !self.is_settled(id, stored.seq)
            })
            .collect();
        let bytes = waiting.iter().map(|stored| stored.message.payload.len() as u64);
        let runs = self.settled.range((id, Seq(0))..=(id, Seq(u64::MAX)));
        StoredSession {
            id,
            owner: row.owner.clone(),
            cursor: row.cursor,
            expiry: row.expiry,
            away_since: row.away_since,
            reserved: row.reserved,
            ids_lost: row.ids_lost,
            subscriptions: self
                .subscriptions
                .iter()
                .filter(|((session, _), _)| *session == id)
                .map(|((_, filter), (options, number))| (filter.clone(), *options, *number))
                .collect(),
            queued: waiting.len() as u64,
            queued_bytes: Some(bytes.sum()),
            settled: runs.map(|((_, first), last)| (*first, *last)).collect(),
            flights,
            dropped: self
                .dropped
                .iter()
                .filter(|((session, _), _)| *session == id)
                .map(|(_, count)| *count)
                .collect(),
            inbox: self
                .inbox
                .iter()
                .filter(|(session, _)| *session == id)
                .map(|(_, p)| *p)
                .collect(),
        }
    }
}

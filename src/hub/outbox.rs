//! core: what a session sends next: the waiting messages, the window, packet ids and phases (MQTT 5.0 section 4.3, 4.4).
//!
//! A message waits in `ready`, then it is a *flight* until it is settled. The messages of a durable session stand in the
//! store from before they are picked until they are settled; `ready` holds only the first of them, the rest is fetched.
//! Whatever must be durable before a packet leaves is put into the open batch and the packet says which batch it needs.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::num::NonZeroU16;
use std::sync::Arc;

pub use operator::Oldest;

use super::packet_ids::{MESSAGE_ID_MAX, PacketIds};
use crate::model::{Message, QoS, Seq, Timestamp};
use crate::store::{Change, Phase, SessionId, StoredFlight, Target};

mod operator;

/// How many fetched messages wait in memory at most; what is beyond stays in the store.
pub const READY_MAX: usize = 1000;

/// A message on its way to one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Its place in the hub's order.
    pub seq: Seq,
    /// The message.
    pub message: Message,
    /// The QoS of this delivery.
    pub qos: QoS,
    /// The retain flag of this delivery.
    pub retain: bool,
    /// The subscription ids that brought it.
    pub subscription_ids: Vec<u32>,
    /// Who the stored copy is for; `None` if it lives in memory only.
    pub stored: Option<Arc<[Target]>>,
    /// The batch that makes the stored copy durable.
    pub batch: u64,
}

/// A packet that may leave once `needs` is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// What to send.
    pub what: Send,
    /// The batch that must be durable first; 0 for none.
    pub needs: u64,
}

/// What the outbox sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Send {
    /// PUBLISH; without a packet id it is QoS 0 and [`Outbox::handle_written`] must be told when it has left.
    Publish {
        /// The message.
        out: Outgoing,
        /// Its packet id.
        packet_id: Option<NonZeroU16>,
        /// Whether it may have been sent before.
        dup: bool,
        /// The flight, for [`Outbox::handle_written`].
        flight: FlightNumber,
    },
    /// PUBREL.
    PubRel {
        /// Its packet id.
        packet_id: NonZeroU16,
    },
}

/// A message that left the outbox for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The message.
    pub out: Outgoing,
    /// Why it left.
    pub outcome: Outcome,
}

/// Why a message left the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was acknowledged (QoS 0: written).
    Delivered,
    /// The other side refused it with a reason code.
    Refused,
    /// It expired before it was sent.
    Expired,
    /// It is larger than the other side takes.
    TooLarge,
}

/// The order in which messages were picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlightNumber(u64);

/// What an acknowledgement did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acknowledged {
    /// The message is settled.
    Settled(Box<Settled>),
    /// PUBREL follows.
    Released(Transmit),
    /// A packet id that may have been open is closed.
    Closed,
    /// The packet id is under way, but not in that phase on this connection.
    Early,
    /// No such packet id is under way.
    Unknown,
}

/// What became of the flights when the other side had lost the session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lost {
    /// Messages that will be published again although they may have arrived.
    pub republished: u64,
    /// Messages taken for delivered because they were received and the operator trusts that.
    pub trusted: Vec<Settled>,
}

/// What a pick may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PickLimits {
    /// The wall clock, for expiry.
    pub now: Timestamp,
    /// The batch that takes changes.
    pub batch: u64,
    /// Whether the connection's queue is full: no QoS 0 then.
    pub congested: bool,
    /// Whether the store is dropping messages: what stands there must not get under way, it may be gone already.
    pub trimming: bool,
    /// The highest QoS the other side takes.
    pub qos_max: QoS,
}

#[derive(Debug)]
struct Flight {
    out: Outgoing,
    packet_id: Option<NonZeroU16>,
    released: bool,
    /// The batch that makes its phase durable.
    batch: u64,
    /// Sent on this connection.
    sent: bool,
    /// Sent on any connection.
    dup: bool,
}

/// What one session sends next.
#[derive(Debug)]
pub struct Outbox {
    durable: Option<SessionId>,
    window: u16,
    ready: VecDeque<Outgoing>,
    flights: BTreeMap<FlightNumber, Flight>,
    ids: HashMap<NonZeroU16, FlightNumber>,
    unsent: BTreeSet<FlightNumber>,
    in_window: u16,
    last_flight: u64,
    packet_ids: PacketIds,
    /// A block of packet ids was reserved: its commit must survive a power cut.
    reserving: bool,
    cursor: Seq,
    /// Stored messages in memory that are not settled.
    pending: BTreeSet<Seq>,
    /// Settled above the cursor; `true` once a row says so.
    settled: BTreeMap<Seq, bool>,
    /// Every stored message up to here is in memory or settled.
    loaded_to: Seq,
    /// The last stored message for this session.
    last_appended: Seq,
    /// What was durable when the read under way was asked for.
    fetching: Option<Seq>,
    /// What that read brings was purged meanwhile, or part of it.
    fetching_in_vain: bool,
    queued: u64,
    cursor_moved: bool,
}

impl Outbox {
    /// An outbox in memory.
    #[must_use]
    pub fn new(window: u16) -> Self {
        Self {
            durable: None,
            window: window.clamp(1, MESSAGE_ID_MAX),
            ready: VecDeque::new(),
            flights: BTreeMap::new(),
            ids: HashMap::new(),
            unsent: BTreeSet::new(),
            in_window: 0,
            last_flight: 0,
            packet_ids: PacketIds::default(),
            reserving: false,
            cursor: Seq(0),
            pending: BTreeSet::new(),
            settled: BTreeMap::new(),
            loaded_to: Seq(0),
            last_appended: Seq(0),
            fetching: None,
            fetching_in_vain: false,
            queued: 0,
            cursor_moved: false,
        }
    }

    /// An outbox whose messages stand in the store: nothing at or below `cursor` is for it, `last_seq` is the last place
    /// given, `queued` messages wait and `flights` were under way.
    #[must_use]
    pub fn durable(
        session: SessionId,
        window: u16,
        cursor: Seq,
        last_seq: Seq,
        queued: u64,
        flights: Vec<StoredFlight>,
    ) -> Self {
        let mut outbox = Self::new(window);
        outbox.durable = Some(session);
        outbox.cursor = cursor;
        outbox.loaded_to = cursor;
        outbox.last_appended = last_seq;
        outbox.queued = queued;
        for StoredFlight { seq, packet_id, phase, stored } in flights {
            let (Some(packet_id), Some(stored)) = (packet_id, stored) else {
                outbox.settled.insert(seq, true);
                continue;
            };
            let qos =
                stored.targets.iter().find(|t| t.session == session).map(|t| (t.qos, t.retain));
            let (qos, retain) = qos.unwrap_or((QoS::ExactlyOnce, false));
            let out = Outgoing {
                seq,
                message: stored.message,
                qos,
                retain,
                subscription_ids: Vec::new(),
                stored: Some(stored.targets),
                batch: 0,
            };
            outbox.pending.insert(seq);
            let number = outbox.next_flight();
            outbox.ids.insert(packet_id, number);
            outbox.packet_ids.handle_known(packet_id);
            let released = phase == Phase::Released;
            let flight = Flight {
                out,
                packet_id: Some(packet_id),
                released,
                batch: 0,
                sent: false,
                dup: true,
            };
            outbox.flights.insert(number, flight);
        }
        outbox
    }

    /// What was staged is gone: packet ids from `first` round to `last` may be open at the other side, and are released
    /// before they are given again.
    pub fn distrust(&mut self, first: NonZeroU16, last: NonZeroU16) {
        let ids = &self.ids;
        self.packet_ids.distrust(first, last, |id| ids.contains_key(&id));
    }

    /// Whether a block of packet ids was reserved since this was asked last.
    pub fn take_reserving(&mut self) -> bool {
        std::mem::take(&mut self.reserving)
    }

    /// Messages that are not settled: in memory, in flight, and in the store.
    #[must_use]
    pub fn queued(&self) -> u64 {
        self.queued
    }

    /// Messages in flight.
    #[must_use]
    pub fn inflight(&self) -> usize {
        self.flights.len()
    }

    /// Messages waiting in memory.
    #[must_use]
    pub fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// The places of stored messages that are on the wire.
    pub fn inflight_seqs(&self) -> impl Iterator<Item = Seq> {
        self.flights.values().filter(|f| f.out.stored.is_some()).map(|f| f.out.seq)
    }

    /// Whether the message at `seq` is settled for this session, as far as it was for it.
    #[must_use]
    pub fn is_settled(&self, seq: Seq) -> bool {
        seq <= self.cursor
            || self.settled.contains_key(&seq)
            || (seq <= self.loaded_to && !self.pending.contains(&seq))
    }

    /// Takes a message. A stored one is kept in memory only if everything before it is there too and there is room.
    pub fn push(&mut self, out: Outgoing) {
        self.queued += 1;
        if out.stored.is_some() {
            let caught_up = self.loaded_to >= self.last_appended;
            self.last_appended = out.seq;
            if !caught_up || self.ready.len() >= READY_MAX {
                return;
            }
            self.loaded_to = out.seq;
            self.pending.insert(out.seq);
        }
        self.ready.push_back(out);
    }

    /// Takes a message that goes before all waiting ones and lives in memory only.
    pub fn push_front(&mut self, out: Outgoing) {
        debug_assert!(out.stored.is_none(), "the order of stored messages is the store's");
        self.queued += 1;
        self.ready.push_front(out);
    }

    /// Where to read on, if memory runs low and the store has more that is durable up to `committed_to`.
    pub fn poll_fetch(&mut self, committed_to: Seq) -> Option<Seq> {
        let more = self.loaded_to < self.last_appended.min(committed_to);
        let low = self.ready.len() <= READY_MAX / 2;
        if self.durable.is_none() || self.fetching.is_some() || !more || !low {
            return None;
        }
        self.fetching = Some(committed_to);
        Some(self.loaded_to)
    }

    /// Takes what the store had: messages for this session, oldest first, and the last place looked at; `None` if there
    /// is nothing beyond.
    pub fn handle_fetched(
        &mut self,
        messages: impl IntoIterator<Item = Outgoing>,
        examined: Option<Seq>,
    ) {
        let Some(durable_then) = self.fetching.take() else { return };
        if std::mem::take(&mut self.fetching_in_vain) {
            return;
        }
        let examined = examined.unwrap_or(durable_then);
        for out in messages {
            if out.seq > self.loaded_to
                && !self.settled.contains_key(&out.seq)
                && self.pending.insert(out.seq)
            {
                self.ready.push_back(out);
            }
        }
        if examined > self.loaded_to {
            self.loaded_to = examined;
            self.cursor_moved = true;
        }
        self.recount();
    }

    /// When everything is in memory, an estimate made at the start can be set right.
    fn recount(&mut self) {
        if self.loaded_to >= self.last_appended {
            self.queued = (self.ready.len() + self.flights.len()) as u64;
        }
    }

    /// A read failed; it may be asked for again.
    pub fn handle_fetch_failed(&mut self) {
        self.fetching = None;
        self.fetching_in_vain = false;
    }

    /// Takes out messages that the store dropped. Those in flight stay.
    pub fn handle_dropped(&mut self, dropped: &BTreeSet<Seq>) {
        self.ready.retain(|out| {
            let gone = out.stored.is_some() && dropped.contains(&out.seq);
            if gone {
                self.pending.remove(&out.seq);
            }
            !gone
        });
        self.queued = self.queued.saturating_sub(dropped.len() as u64);
        self.cursor_moved = true;
    }

    /// A connection is there and the other side has the session: what is under way will be sent again, in order, under
    /// the same packet ids [MQTT-4.4.0-1]. The window follows the other side's receive maximum.
    pub fn handle_resumed(&mut self, window: u16) {
        self.packet_ids.handle_resumed();
        self.window = window.clamp(1, MESSAGE_ID_MAX);
        self.in_window = 0;
        self.unsent.clear();
        for (number, flight) in &mut self.flights {
            flight.sent = false;
            self.unsent.insert(*number);
        }
    }

    /// A connection is there and the other side has lost the session. What had been published goes back to the front of
    /// the queue and gets new packet ids; what had been received by the other side (PUBREC) too, unless `trust` says to
    /// take it for delivered.
    pub fn handle_session_lost(
        &mut self,
        window: u16,
        trust: bool,
        changes: &mut Vec<Change>,
    ) -> Lost {
        let mut lost = Lost::default();
        self.packet_ids.handle_session_lost();
        let flights = std::mem::take(&mut self.flights);
        self.ids.clear();
        self.unsent.clear();
        self.in_window = 0;
        self.window = window.clamp(1, MESSAGE_ID_MAX);
        for flight in flights.into_values().rev() {
            if flight.released && trust {
                self.settle_pending(&flight.out);
                lost.trusted.push(Settled { out: flight.out, outcome: Outcome::Delivered });
                continue;
            }
            lost.republished += u64::from(flight.dup);
            if let (Some(session), true) = (self.durable, flight.packet_id.is_some()) {
                changes.push(Change::Recall { session, seq: flight.out.seq });
            }
            self.ready.push_front(flight.out);
        }
        lost.trusted.reverse();
        lost
    }

    /// The connection is gone: QoS 0 under way is taken back, what lives in memory only goes, everything else waits for
    /// the next connection.
    pub fn handle_disconnected(&mut self) {
        self.unsent.clear();
        let flights = std::mem::take(&mut self.flights);
        let mut unwritten = Vec::new();
        for (number, flight) in flights {
            match (flight.out.stored.is_some(), flight.packet_id) {
                (true, None) => unwritten.push(flight.out),
                (true, Some(_)) => {
                    self.flights.insert(number, flight);
                }
                (false, packet_id) => {
                    self.queued = self.queued.saturating_sub(1);
                    packet_id.map(|id| self.ids.remove(&id));
                }
            }
        }
        unwritten.into_iter().rev().for_each(|out| self.ready.push_front(out));
        let waiting = self.ready.len();
        self.ready.retain(|out| out.stored.is_some());
        self.queued = self.queued.saturating_sub((waiting - self.ready.len()) as u64);
    }

    /// What to send next: first what is to be sent again, then the waiting messages, as far as the window allows. What
    /// expired, or does not fit into a packet the other side takes (`fits`), is settled instead.
    pub fn poll_transmit(
        &mut self,
        limits: PickLimits,
        fits: impl Fn(&Outgoing) -> bool,
        changes: &mut Vec<Change>,
        settled: &mut Vec<Settled>,
    ) -> Option<Transmit> {
        if let Some(transmit) = self.resend(&fits, settled) {
            return transmit;
        }
        if let Some(packet_id) = self.packet_ids.poll_release(self.window) {
            return Some(Transmit { what: Send::PubRel { packet_id }, needs: 0 });
        }
        loop {
            let next = self.ready.front()?;
            let must_wait = (next.qos == QoS::AtMostOnce && limits.congested)
                || (next.stored.is_some() && limits.trimming);
            if self.in_window >= self.window || must_wait {
                return None;
            }
            let mut out = self.ready.pop_front()?;
            out.qos = out.qos.min(limits.qos_max);
            let outcome = if out.message.is_expired(limits.now) {
                Outcome::Expired
            } else if !fits(&out) {
                Outcome::TooLarge
            } else {
                return Some(self.launch(out, limits.batch, changes));
            };
            self.settle_pending(&out);
            settled.push(Settled { out, outcome });
        }
    }

    /// The next flight that is to be sent again; `Some(None)` if it must wait for the window.
    #[allow(clippy::option_option, reason = "nothing to resend and not yet are different answers")]
    fn resend(
        &mut self,
        fits: impl Fn(&Outgoing) -> bool,
        settled: &mut Vec<Settled>,
    ) -> Option<Option<Transmit>> {
        let number = loop {
            let number = *self.unsent.first()?;
            if self.in_window >= self.window {
                return Some(None);
            }
            self.unsent.remove(&number);
            let flight = self.flights.get(&number)?;
            if flight.released || fits(&flight.out) {
                break number;
            }
            // This connection takes smaller packets than the last one (3.1.2.11.4).
            let Flight { out, packet_id, .. } = self.flights.remove(&number)?;
            packet_id.map(|packet_id| self.ids.remove(&packet_id));
            self.settle_pending(&out);
            settled.push(Settled { out, outcome: Outcome::TooLarge });
        };
        let flight = self.flights.get_mut(&number)?;
        self.in_window += 1;
        flight.sent = true;
        let needs = flight.batch.max(flight.out.batch);
        let what = match flight.packet_id {
            Some(packet_id) if flight.released => Send::PubRel { packet_id },
            packet_id => {
                let dup = std::mem::replace(&mut flight.dup, true) && packet_id.is_some();
                Send::Publish { out: flight.out.clone(), packet_id, dup, flight: number }
            }
        };
        Some(Some(Transmit { what, needs }))
    }

    fn launch(&mut self, out: Outgoing, batch: u64, changes: &mut Vec<Change>) -> Transmit {
        let number = self.next_flight();
        let ids = &self.ids;
        let packet_id =
            (out.qos > QoS::AtMostOnce).then(|| self.packet_ids.next(|id| ids.contains_key(&id)));
        let mut needs = out.batch;
        if let Some(packet_id) = packet_id {
            self.ids.insert(packet_id, number);
            if let (QoS::ExactlyOnce, Some(session), true) =
                (out.qos, self.durable, out.stored.is_some())
            {
                needs = batch;
                changes.push(Change::Flight {
                    session,
                    seq: out.seq,
                    packet_id: Some(packet_id),
                    phase: Phase::Assigned,
                });
                let oldest = self.flights.values().find_map(|flight| flight.packet_id);
                let block = self.packet_ids.reserve(packet_id, oldest.unwrap_or(packet_id));
                if let Some((first, last)) = block {
                    changes.push(Change::Reserve { session, first, last });
                    self.reserving = true;
                }
            }
        }
        self.in_window += 1;
        let flight = Flight {
            out: out.clone(),
            packet_id,
            released: false,
            batch: needs,
            sent: true,
            dup: true,
        };
        self.flights.insert(number, flight);
        Transmit { what: Send::Publish { out, packet_id, dup: false, flight: number }, needs }
    }

    /// A QoS 0 message has been handed to the socket.
    pub fn handle_written(&mut self, flight: FlightNumber) -> Option<Settled> {
        let flight = self.flights.remove(&flight)?;
        debug_assert!(flight.packet_id.is_none(), "the others wait for their acknowledgement");
        self.in_window = self.in_window.saturating_sub(1);
        self.settle_pending(&flight.out);
        Some(Settled { out: flight.out, outcome: Outcome::Delivered })
    }

    /// PUBACK came.
    pub fn handle_puback(&mut self, packet_id: NonZeroU16, refused: bool) -> Acknowledged {
        self.settle_id(packet_id, refused, |flight| flight.out.qos == QoS::AtLeastOnce)
    }

    /// PUBREC came: the message is released in the open batch, or settled if it was refused.
    pub fn handle_pubrec(
        &mut self,
        packet_id: NonZeroU16,
        refused: bool,
        batch: u64,
        changes: &mut Vec<Change>,
    ) -> Acknowledged {
        if refused {
            return self
                .settle_id(packet_id, true, |f| f.out.qos == QoS::ExactlyOnce && !f.released);
        }
        let flight = self.ids.get(&packet_id).and_then(|number| self.flights.get_mut(number));
        let Some(flight) = flight else { return Acknowledged::Unknown };
        if flight.out.qos != QoS::ExactlyOnce || !flight.sent {
            return Acknowledged::Early;
        }
        if !flight.released {
            flight.released = true;
            if let (Some(session), true) = (self.durable, flight.out.stored.is_some()) {
                flight.batch = batch;
                changes.push(Change::Flight {
                    session,
                    seq: flight.out.seq,
                    packet_id: Some(packet_id),
                    phase: Phase::Released,
                });
            }
        }
        Acknowledged::Released(Transmit { what: Send::PubRel { packet_id }, needs: flight.batch })
    }

    /// PUBCOMP came.
    pub fn handle_pubcomp(&mut self, packet_id: NonZeroU16) -> Acknowledged {
        if self.packet_ids.handle_pubcomp(packet_id) {
            return Acknowledged::Closed;
        }
        self.settle_id(packet_id, false, |f| f.out.qos == QoS::ExactlyOnce && f.released)
    }

    fn settle_id(
        &mut self,
        packet_id: NonZeroU16,
        refused: bool,
        fits: impl Fn(&Flight) -> bool,
    ) -> Acknowledged {
        let Some(number) = self.ids.get(&packet_id).copied() else { return Acknowledged::Unknown };
        if !self.flights.get(&number).is_some_and(|flight| flight.sent && fits(flight)) {
            return Acknowledged::Early;
        }
        self.ids.remove(&packet_id);
        let Some(flight) = self.flights.remove(&number) else { return Acknowledged::Unknown };
        self.in_window = self.in_window.saturating_sub(1);
        self.settle_pending(&flight.out);
        let outcome = if refused { Outcome::Refused } else { Outcome::Delivered };
        Acknowledged::Settled(Box::new(Settled { out: flight.out, outcome }))
    }

    fn settle_pending(&mut self, out: &Outgoing) {
        self.queued = self.queued.saturating_sub(1);
        if out.stored.is_some() && self.pending.remove(&out.seq) {
            self.settled.insert(out.seq, false);
            self.cursor_moved = true;
        }
    }

    /// Puts how far this session has come into the batch: its cursor, and what is settled above it.
    pub fn checkpoint(&mut self, changes: &mut Vec<Change>) {
        let Some(session) = self.durable else { return };
        if !std::mem::take(&mut self.cursor_moved) {
            return;
        }
        // A message that was under way at the start may lie beyond what has been read since.
        let first = self.pending.first().map_or(self.loaded_to, |first| Seq(first.0 - 1));
        let cursor = first.min(self.loaded_to);
        if cursor > self.cursor {
            self.cursor = cursor;
            changes.push(Change::Cursor { session, cursor });
            self.settled = self.settled.split_off(&cursor.next());
        }
        for (seq, written) in self.settled.iter_mut().filter(|(_, written)| !**written) {
            *written = true;
            let (seq, packet_id, phase) = (*seq, None, Phase::Settled);
            changes.push(Change::Flight { session, seq, packet_id, phase });
        }
    }

    fn next_flight(&mut self) -> FlightNumber {
        self.last_flight += 1;
        FlightNumber(self.last_flight)
    }
}

#[cfg(test)]
mod tests;

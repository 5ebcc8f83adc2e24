//! core: what a session sends next: the waiting messages, the window, packet ids and phases (MQTT 5.0 section 4.3, 4.4).
//!
//! A message waits in `ready`, then it is a *flight* until it is settled. The messages of a durable session stand in the
//! store from before they are picked until they are settled; `ready` holds only the first of them, the rest is fetched.
//! Where new messages pass a backlog they wait in `live`, which goes first; the backlog follows at its own rate.
//! Whatever must be durable before a packet leaves is put into the open batch and the packet says which batch it needs.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::time::Instant;

pub use operator::Oldest;

use self::flights::Flights;
use self::waiting::Waiting;
use super::node::has_passed;
use super::numbers::NumberMap;
pub use super::outgoing::{
    Acknowledged, FlightNumber, LiveFirst, Lost, Outcome, Outgoing, PickLimits, Send, Settled,
    Transmit,
};
use super::packet_ids::{MESSAGE_ID_MAX, PacketIds};
use super::progress::Progress;
use crate::model::{QoS, Seq};
use crate::store::{Change, Phase, SessionId, StoredFlight};

mod count;
mod flights;
mod live;
mod operator;
mod shared;
mod waiting;

/// How many fetched messages wait in memory at most; what is beyond stays in the store.
pub const READY_MAX: usize = 1000;
/// How many bytes of payload they may hold (one message more).
const READY_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of payload in flight at most (one message more): a peer that takes much and acknowledges nothing costs no more.
const WINDOW_BYTES_MAX: usize = 4 * 1024 * 1024;

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
    /// It was under way before this start, and how it was sent is not known.
    found: bool,
    /// It is not sent again, and why; it is settled once its packet id is closed.
    given_up: Option<Outcome>,
}

/// What one session sends next.
#[derive(Debug)]
pub struct Outbox {
    durable: Option<SessionId>,
    window: u16,
    ready: Waiting,
    /// Messages that pass those in `ready` and behind them in the store.
    live: Waiting,
    live_first: Option<LiveFirst>,
    /// What waited when new messages began to pass it is late: everything stored up to here.
    late_to: Seq,
    /// Before then nothing of the backlog is picked.
    backfill_from: Option<Instant>,
    /// Nothing else kept the last pick from going on.
    waits_for_rate: bool,
    /// Whether there is a connection.
    connected: bool,
    flights: Flights,
    ids: NumberMap<NonZeroU16, FlightNumber>,
    unsent: BTreeSet<FlightNumber>,
    in_window: u16,
    /// Bytes of payload that takes.
    window_bytes: usize,
    last_flight: u64,
    packet_ids: PacketIds,
    /// A block of packet ids was reserved: its commit must survive a power cut.
    reserving: bool,
    progress: Progress,
    /// The last stored message for this session.
    last_appended: Seq,
    /// What was durable when the read under way was asked for.
    fetching: Option<Seq>,
    /// What that read brings was purged meanwhile, or part of it.
    fetching_in_vain: bool,
    queued: u64,
    /// Bytes of payload they hold, as far as they are known.
    queued_bytes: u64,
    /// What of `queued` was only estimated at the start: the bounds do not count it.
    estimated: u64,
}

impl Outbox {
    /// An outbox in memory.
    #[must_use]
    pub fn new(window: u16) -> Self {
        Self {
            durable: None,
            window: window.clamp(1, MESSAGE_ID_MAX),
            ready: Waiting::default(),
            live: Waiting::default(),
            live_first: None,
            late_to: Seq(0),
            backfill_from: None,
            waits_for_rate: false,
            connected: false,
            flights: Flights::default(),
            ids: NumberMap::default(),
            unsent: BTreeSet::new(),
            in_window: 0,
            window_bytes: 0,
            last_flight: 0,
            packet_ids: PacketIds::default(),
            reserving: false,
            progress: Progress::default(),
            last_appended: Seq(0),
            fetching: None,
            fetching_in_vain: false,
            queued: 0,
            queued_bytes: 0,
            estimated: 0,
        }
    }

    /// An outbox whose messages stand in the store: nothing at or below `cursor` is for it, nor in the runs of places
    /// `settled`; `last_seq` is the last place given, `queued` messages wait and `flights` were under way.
    #[must_use]
    pub fn durable(
        session: SessionId,
        window: u16,
        cursor: Seq,
        last_seq: Seq,
        queued: u64,
        settled: Vec<(Seq, Seq)>,
        flights: Vec<StoredFlight>,
    ) -> Self {
        let mut outbox = Self::new(window);
        outbox.durable = Some(session);
        outbox.progress = Progress::new(cursor, settled);
        outbox.last_appended = last_seq;
        outbox.queued = queued;
        for StoredFlight { seq, packet_id, phase, stored } in flights {
            // Without its row nothing is left to deliver.
            let Some(stored) = stored else { continue };
            let target = stored.targets.iter().find(|target| target.session == session);
            let (qos, retain, shared) =
                target.map_or((QoS::ExactlyOnce, false, false), |t| (t.qos, t.retain, t.shared));
            let out = Outgoing {
                seq,
                message: stored.message,
                qos,
                retain,
                subscription_ids: Vec::new(),
                shared,
                stored: Some(stored.targets),
                batch: 0,
                late: phase == Phase::AssignedLate,
            };
            if !outbox.progress.take(seq) {
                continue;
            }
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
                found: true,
                given_up: None,
            };
            outbox.flights.push(number, flight);
        }
        outbox
    }

    /// What was staged is gone: packet ids from `first` round to `last` may be open at the other side, and are released
    /// before they are given again.
    pub fn distrust(&mut self, first: NonZeroU16, last: NonZeroU16) {
        self.packet_ids.distrust(first, last, self.ids.keys().copied());
    }

    /// Whether a block of packet ids was reserved since this was asked last.
    pub fn take_reserving(&mut self) -> bool {
        std::mem::take(&mut self.reserving)
    }

    /// Messages in flight.
    #[must_use]
    pub fn inflight(&self) -> usize {
        self.flights.len()
    }

    /// Bytes of payload waiting in memory.
    #[must_use]
    pub fn ready_bytes(&self) -> usize {
        self.ready.bytes() + self.live.bytes()
    }

    /// Messages waiting in memory.
    #[must_use]
    pub fn ready_len(&self) -> usize {
        self.ready.len() + self.live.len()
    }

    /// The places of stored messages that are on the wire.
    pub fn inflight_seqs(&self) -> impl Iterator<Item = Seq> {
        self.flights.values().filter(|f| f.out.stored.is_some()).map(|f| f.out.seq)
    }

    /// Whether the message at `seq` is settled for this session, as far as it was for it.
    #[must_use]
    pub fn is_settled(&self, seq: Seq) -> bool {
        self.progress.is_settled(seq)
    }

    /// Takes a message. A stored one is kept in memory only if everything before it is there too and there is room.
    pub fn push(&mut self, out: Outgoing) {
        self.count_in(&out);
        if out.stored.is_none() {
            self.ready.push_back(out);
            return;
        }
        let before = std::mem::replace(&mut self.last_appended, out.seq);
        if self.progress.live_from().is_none() {
            let caught_up = self.progress.loaded_to() >= before;
            if caught_up && has_room(&self.ready) {
                self.progress.load_to(out.seq);
                self.progress.take(out.seq);
                self.ready.push_back(out);
                return;
            }
            if self.live_first.is_none() || !self.connected {
                return;
            }
            self.begin_live(before);
        } else if !has_room(&self.live) {
            // The other side takes less than comes in: what waits is the backlog from here on.
            self.end_live();
            self.begin_live(before);
        }
        self.progress.take(out.seq);
        self.live.push_back(out);
    }

    /// Takes a message that goes before all waiting ones and lives in memory only.
    pub fn push_front(&mut self, out: Outgoing) {
        debug_assert!(out.stored.is_none(), "the order of stored messages is the store's");
        self.push_before_all(out);
    }

    fn push_before_all(&mut self, out: Outgoing) {
        self.count_in(&out);
        let goes_first = self.progress.live_from().is_some();
        if goes_first { &mut self.live } else { &mut self.ready }.push_front(out);
    }

    /// Takes a stored message that goes before all waiting ones.
    pub fn push_stored_front(&mut self, out: Outgoing) {
        debug_assert!(out.stored.is_some(), "the others are pushed by `push_front`");
        let caught_up = self.progress.loaded_to() >= self.last_appended;
        self.last_appended = out.seq;
        if caught_up && self.progress.live_from().is_none() {
            self.progress.load_to(out.seq);
        }
        self.progress.take(out.seq);
        self.push_before_all(out);
    }

    /// Where to read on, if memory runs low and the store has more that is durable up to `committed_to`.
    pub fn poll_fetch(&mut self, committed_to: Seq) -> Option<Seq> {
        let end = self.progress.live_from().unwrap_or(self.last_appended);
        let more = self.progress.loaded_to() < end.min(committed_to);
        let low = self.ready.len() <= READY_MAX / 2 && self.ready.bytes() <= READY_BYTES_MAX / 2;
        if self.durable.is_none() || self.fetching.is_some() || !more || !low {
            return None;
        }
        self.fetching = Some(committed_to);
        Some(self.progress.loaded_to())
    }

    /// Whether there is more in the store than in memory.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        let end = self.progress.live_from().unwrap_or(self.last_appended);
        self.durable.is_some() && self.progress.loaded_to() < end
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
        let mut examined = examined.unwrap_or(durable_then);
        for out in messages {
            // More may have become durable since it was asked.
            examined = examined.max(out.seq);
            if out.seq > self.progress.loaded_to() && self.progress.take(out.seq) {
                self.ready.push_back(out);
            }
        }
        // What lies beyond was in memory already, and may be given back.
        let end = self.progress.live_from().unwrap_or(examined);
        self.progress.load_to(examined.min(end));
        self.join_live();
        self.recount();
    }

    /// A read failed; it may be asked for again.
    pub fn handle_fetch_failed(&mut self) {
        self.fetching = None;
        self.fetching_in_vain = false;
    }

    /// Takes out messages that the store dropped. Those in flight stay.
    pub fn handle_dropped(&mut self, dropped: &BTreeSet<Seq>) {
        let is_gone = |out: &Outgoing| out.stored.is_some() && dropped.contains(&out.seq);
        self.take_from_memory(is_gone, dropped.len());
        let in_flight: BTreeSet<Seq> = self.inflight_seqs().collect();
        dropped.difference(&in_flight).for_each(|seq| self.progress.drop(*seq));
        self.join_live();
    }

    /// A connection is there and the other side has the session: what is under way will be sent again, in order, under
    /// the same packet ids [MQTT-4.4.0-1]. The window follows the other side's receive maximum.
    pub fn handle_resumed(&mut self, window: u16) {
        self.packet_ids.handle_resumed();
        self.connect();
        self.window = window.clamp(1, MESSAGE_ID_MAX);
        (self.in_window, self.window_bytes) = (0, 0);
        self.unsent.clear();
        for (number, flight) in self.flights.iter_mut() {
            flight.sent = false;
            self.unsent.insert(number);
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
        let flights = self.flights.take_all();
        self.ids.clear();
        self.unsent.clear();
        (self.in_window, self.window_bytes) = (0, 0);
        self.window = window.clamp(1, MESSAGE_ID_MAX);
        let mut unsettled = Vec::new();
        for (_, flight) in flights.rev() {
            if flight.released && trust {
                self.settle_pending(&flight.out);
                let outcome = flight.given_up.unwrap_or(Outcome::Delivered);
                lost.trusted.push(Settled { out: flight.out, outcome });
                continue;
            }
            lost.republished += u64::from(flight.dup);
            if let (Some(session), true) = (self.durable, flight.packet_id.is_some()) {
                changes.push(Change::Recall { session, seq: flight.out.seq });
            }
            if flight.out.stored.is_some() && flight.out.seq > self.progress.loaded_to() {
                // What waits in the store goes before it.
                self.progress.give_back(flight.out.seq);
            } else {
                unsettled.push(flight.out);
            }
        }
        self.ready.put_back(unsettled);
        lost.trusted.reverse();
        self.connect();
        lost
    }

    /// The connection is gone: QoS 0 under way is taken back, what lives in memory only goes, everything else waits for
    /// the next connection.
    pub fn handle_disconnected(&mut self) {
        self.connected = false;
        self.waits_for_rate = false;
        self.end_live();
        self.unsent.clear();
        let flights = self.flights.take_all();
        let mut unwritten = Vec::new();
        for (number, flight) in flights {
            match (flight.out.stored.is_some(), flight.packet_id) {
                (true, None) if flight.out.seq > self.progress.loaded_to() => {
                    self.progress.give_back(flight.out.seq);
                }
                (true, None) => unwritten.push(flight.out),
                (true, Some(_)) => {
                    self.flights.push(number, flight);
                }
                (false, packet_id) => {
                    self.count_off(1, flight.out.message.payload.len() as u64);
                    packet_id.map(|id| self.ids.remove(&id));
                }
            }
        }
        self.ready.put_back(unwritten);
        self.take_from_memory(|out| out.stored.is_none(), 0);
    }

    /// What to send next: first what is to be sent again, then the waiting messages, as far as the window allows. What
    /// expired, or must not be sent (`unfit` says why), is settled instead. `set_right` is applied to what is sent for the
    /// first time, as far as that is known; a repeat says what was said before.
    pub fn poll_transmit(
        &mut self,
        limits: PickLimits,
        set_right: impl Fn(&mut Outgoing),
        unfit: impl Fn(&Outgoing) -> Option<Outcome>,
        changes: &mut Vec<Change>,
        settled: &mut Vec<Settled>,
    ) -> Option<Transmit> {
        self.waits_for_rate = false;
        if let Some(transmit) = self.resend(&set_right, &unfit, limits.batch, changes, settled) {
            return transmit;
        }
        if let Some(packet_id) = self.packet_ids.poll_release(self.window) {
            return Some(Transmit { what: Send::PubRel { packet_id }, needs: 0 });
        }
        loop {
            let next = self.live.front().or_else(|| self.ready.front())?;
            let bytes = self.window_bytes + next.message.payload.len();
            let must_wait = limits.congested
                || (self.in_window > 0 && bytes > WINDOW_BYTES_MAX)
                || (next.stored.is_some() && limits.trimming)
                || (next.qos > QoS::AtMostOnce && self.packet_ids.is_exhausted(self.ids.len()));
            if self.in_window >= self.window || must_wait {
                return None;
            }
            if self.is_held_back(limits.now.mono) {
                self.waits_for_rate = true;
                return None;
            }
            let mut out = self.live.pop_front().or_else(|| self.ready.pop_front())?;
            // What newer ones have passed once, they have passed.
            out.late |= self.is_late(&out);
            if out.late {
                self.pace(limits.now.mono);
            }
            self.join_live();
            out.qos = out.qos.min(limits.qos_max);
            set_right(&mut out);
            let outcome = if limits.clock.is_expired(out.seq, &out.message, limits.now) {
                Outcome::Expired
            } else if limits.peer.is_some_and(|peer| has_passed(&out.message, peer)) {
                Outcome::Returning
            } else if let Some(outcome) = unfit(&out) {
                outcome
            } else {
                return Some(self.launch(out, limits, changes));
            };
            self.settle_pending(&out);
            settled.push(Settled { out, outcome });
        }
    }

    /// The next flight that is to be sent again; `Some(None)` if it must wait for the window.
    #[allow(clippy::option_option, reason = "nothing to resend and not yet are different answers")]
    fn resend(
        &mut self,
        set_right: impl Fn(&mut Outgoing),
        unfit: impl Fn(&Outgoing) -> Option<Outcome>,
        batch: u64,
        changes: &mut Vec<Change>,
        settled: &mut Vec<Settled>,
    ) -> Option<Option<Transmit>> {
        let number = loop {
            let number = *self.unsent.first()?;
            if self.in_window >= self.window {
                return Some(None);
            }
            self.unsent.remove(&number);
            let flight = self.flights.get_mut(number)?;
            if std::mem::take(&mut flight.found) {
                set_right(&mut flight.out);
            }
            if flight.released {
                break number;
            }
            // This connection takes smaller packets than the last one (3.1.2.11.4), or the rules have changed.
            let Some(outcome) = unfit(&flight.out) else { break number };
            if let (QoS::ExactlyOnce, Some(session), Some(packet_id)) =
                (flight.out.qos, self.durable, flight.packet_id)
            {
                // It may have arrived, and then the other side holds its id open until PUBREL, whenever the program ends.
                (flight.released, flight.given_up, flight.batch) = (true, Some(outcome), batch);
                let (seq, phase) = (flight.out.seq, Phase::Released);
                changes.push(Change::Flight { session, seq, packet_id, phase });
                break number;
            }
            let Flight { out, packet_id, .. } = self.flights.remove(number)?;
            packet_id.map(|id| self.ids.remove(&id));
            self.settle_pending(&out);
            settled.push(Settled { out, outcome });
        };
        let flight = self.flights.get_mut(number)?;
        self.in_window += 1;
        self.window_bytes += flight.out.message.payload.len();
        flight.sent = true;
        let needs = flight.batch.max(flight.out.batch);
        let what = match flight.packet_id {
            Some(packet_id) if flight.released => Send::PubRel { packet_id },
            packet_id => {
                let dup = std::mem::replace(&mut flight.dup, true) && packet_id.is_some();
                let flight_number = packet_id.is_none().then_some(number);
                Send::Publish { out: flight.out.clone(), packet_id, dup, flight: flight_number }
            }
        };
        Some(Some(Transmit { what, needs }))
    }

    fn launch(&mut self, out: Outgoing, limits: PickLimits, changes: &mut Vec<Change>) -> Transmit {
        let is_quick = out.qos == QoS::AtMostOnce && out.stored.is_none();
        if is_quick && limits.leaves.is_some_and(|leaves| out.batch <= leaves) {
            self.settle_pending(&out);
            let needs = out.batch;
            let what = Send::Publish { out, packet_id: None, dup: false, flight: None };
            return Transmit { what, needs };
        }
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
                needs = limits.batch;
                changes.push(Change::Flight {
                    session,
                    seq: out.seq,
                    packet_id,
                    phase: if out.late { Phase::AssignedLate } else { Phase::Assigned },
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
        self.window_bytes += out.message.payload.len();
        let flight = Flight {
            out: out.clone(),
            packet_id,
            released: false,
            batch: needs,
            sent: true,
            dup: true,
            found: false,
            given_up: None,
        };
        self.flights.push(number, flight);
        let flight = packet_id.is_none().then_some(number);
        Transmit { what: Send::Publish { out, packet_id, dup: false, flight }, needs }
    }

    /// A QoS 0 message has been handed to the socket.
    pub fn handle_written(&mut self, flight: FlightNumber) -> Option<Settled> {
        let flight = self.flights.remove(flight)?;
        debug_assert!(flight.packet_id.is_none(), "the others wait for their acknowledgement");
        self.leave_window(&flight.out);
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
        let flight = self.ids.get(&packet_id).and_then(|number| self.flights.get_mut(*number));
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
                    packet_id,
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
        if !self.flights.get_mut(number).is_some_and(|flight| flight.sent && fits(flight)) {
            return Acknowledged::Early;
        }
        self.ids.remove(&packet_id);
        let Some(flight) = self.flights.remove(number) else { return Acknowledged::Unknown };
        self.leave_window(&flight.out);
        self.settle_pending(&flight.out);
        let outcome = if refused { Outcome::Refused } else { Outcome::Delivered };
        let outcome = flight.given_up.unwrap_or(outcome);
        Acknowledged::Settled(Settled { out: flight.out, outcome })
    }

    fn leave_window(&mut self, out: &Outgoing) {
        self.in_window = self.in_window.saturating_sub(1);
        self.window_bytes = self.window_bytes.saturating_sub(out.message.payload.len());
    }

    fn settle_pending(&mut self, out: &Outgoing) {
        self.count_off(1, out.message.payload.len() as u64);
        if out.stored.is_some() {
            self.progress.settle(out.seq);
        }
    }

    /// Puts how far this session has come into the batch: its cursor, what is settled above it, and that packet ids which
    /// may have been open are closed.
    pub fn checkpoint(&mut self, changes: &mut Vec<Change>) {
        if let Some(session) = self.durable {
            self.progress.checkpoint(session, changes);
            if self.packet_ids.take_closed() {
                changes.push(Change::IdsClosed { session });
            }
        }
    }

    fn next_flight(&mut self) -> FlightNumber {
        self.last_flight += 1;
        FlightNumber(self.last_flight)
    }
}

fn has_room(waiting: &Waiting) -> bool {
    waiting.len() < READY_MAX && waiting.bytes() < READY_BYTES_MAX
}

#[cfg(test)]
mod tests;

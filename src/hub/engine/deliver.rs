//! core: what a session sends: pick, hold until durable, release, settle.

use std::sync::Arc;
use std::time::Duration;

use super::subscriptions::subscription_ids;
use super::{DeniedWhat, Engine, FETCH_BYTES, FETCH_COUNT, Fact, Output};
use crate::hub::clock::Clock;
use crate::hub::node::{NodeId, has_passed, passed};
use crate::hub::outbox::{Outcome, Outgoing, PickLimits, Send, Settled, Transmit};
use crate::hub::retouch::{Marks, Retouch};
use crate::hub::session::{ConnectionId, Forward, Held, Link, Session};
use crate::hub::tally::Counted;
use crate::model::{Body, Message, Moment, QoS, Seq, TopicFilter};
use crate::mqtt::{Ack, Packet, PacketId, Publish, ReasonCode, Version};
use crate::store::{DropReason, SessionId, StoreCommand, StoredMessage};

impl Engine {
    /// Sends what the session may send and asks the store for more if it runs low.
    pub(super) fn pump(&mut self, id: SessionId, now: Moment) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let is_client = !session.is_uplink();
        let Session { link: Some(link), outbox, forward, rights, peer, counters, durable, .. } =
            session.as_mut()
        else {
            return;
        };
        let naming = Naming {
            forward: forward.as_slice(),
            mark: (!forward.is_empty()).then_some((self.node, self.accepted_up.as_slice())),
        };
        let mut settled = Vec::new();
        let clock = self.clock;
        while !link.closing {
            if outbox.inflight() == 0
                && let Some(out) = link.last_words.take()
            {
                link.farewell = Some(out.seq);
                outbox.push_front(*out);
            }
            let limits = PickLimits {
                now,
                clock,
                batch: self.open_batch,
                leaves: link.held.is_empty().then_some(self.committed_batch),
                congested: link.congested || link.last_words.is_some(),
                trimming: self.bounds.is_trimming(),
                qos_max: link.qos_max,
                peer: peer.map(|peer| peer.node),
            };
            let set_right = |out: &mut Outgoing| set_right(out, &clock, self.options.retouch, now);
            let left = |out: &Outgoing| clock.left(out.seq, &out.message, now);
            let is_too_large = |out: &Outgoing, max: u32| {
                let packet = publish_packet(out, PacketId::new(1), false, naming, left(out));
                crate::mqtt::encoded_len(&Packet::Publish(packet), link.version) > max as usize
            };
            let unfit = |out: &Outgoing| {
                if rights.recalls(&out.message.topic) {
                    return Some(Outcome::Denied);
                }
                let is_too_large = link.packet_bytes_max.is_some_and(|max| is_too_large(out, max));
                is_too_large.then_some(Outcome::TooLarge)
            };
            let Some(Transmit { what, needs }) =
                outbox.poll_transmit(limits, set_right, unfit, &mut self.changes, &mut settled)
            else {
                break;
            };
            let (packet, written) = match what {
                Send::Publish { out, packet_id, dup, flight } => {
                    if is_client {
                        self.counts.add(Counted::Sent, 1);
                        self.counts.add(Counted::SentBytes, out.message.payload.len() as u64);
                    }
                    link.closing = link.farewell == Some(out.seq);
                    let packet_id = packet_id.map(PacketId);
                    let mut packet = publish_packet(&out, packet_id, dup, naming, left(&out));
                    packet.retain &= link.retain_available;
                    if packet_id.is_none() && flight.is_none() {
                        // It leaves here and now, and nobody has to hear more of it.
                        self.outputs.push_back(Output::Packet(link.id, Packet::Publish(packet)));
                        if link.saying == Some(out.seq) {
                            settled.push(Settled { out, outcome: Outcome::Delivered });
                        } else {
                            counters.delivered += 1;
                        }
                        continue;
                    }
                    (Packet::Publish(packet), flight)
                }
                Send::PubRel { packet_id } => (pubrel(PacketId(packet_id)), None),
            };
            let held = Held { needs, packet, written };
            if link.held.is_empty() && needs <= self.committed_batch {
                let written = release(link.id, held, &mut self.outputs);
                settled.extend(written.and_then(|flight| outbox.handle_written(flight)));
            } else {
                link.held.push_back(held);
            }
        }
        self.sync |= outbox.take_reserving();
        // What was purged must be gone from the store before it is read again.
        let readable = self.reads_from.is_none_or(|at| at <= now.mono)
            && self.purge_batch <= self.committed_batch;
        if readable && let Some(after) = outbox.poll_fetch(self.committed_to) {
            let (count_max, bytes_max) = (FETCH_COUNT, FETCH_BYTES);
            self.commands.push_back(StoreCommand::Fetch {
                session: id,
                after,
                count_max,
                bytes_max,
            });
        }
        if !link.held.is_empty() || outbox.is_behind() {
            self.committing_for.insert(id);
        }
        if *durable {
            self.moved.insert(id);
        }
        if outbox.queued() == 0 {
            rights.handle_empty();
        }
        for settled in settled {
            self.note_and_settle(id, settled, now);
        }
    }

    /// A message has left a session's outbox for good; an upstream that will not get it is told, and so is who looks after
    /// the rules.
    pub(super) fn note_and_settle(&mut self, id: SessionId, settled: Settled, now: Moment) {
        match settled.outcome {
            Outcome::Expired => self.note_dropped(id, DropReason::Expired, now),
            Outcome::TooLarge => self.note_dropped(id, DropReason::TooLarge, now),
            Outcome::Denied => {
                let topic = settled.out.message.topic.as_str().into();
                self.deny(id, DeniedWhat::Delivery, topic);
            }
            Outcome::Delivered | Outcome::Refused | Outcome::Returning => {}
        }
        self.handle_settled(id, settled);
    }

    /// Queues an answer to the peer behind what is already held for it.
    pub(super) fn answer(&mut self, id: SessionId, packet: Packet, needs: u64) {
        let Some(link) = self.sessions.get_mut(&id).and_then(|session| session.link.as_mut())
        else {
            return;
        };
        if link.held.is_empty() && needs <= self.committed_batch {
            self.outputs.push_back(Output::Packet(link.id, packet));
        } else {
            link.held.push_back(Held { needs, packet, written: None });
            self.committing_for.insert(id);
        }
    }

    /// A batch is durable: what waited for it leaves, in order.
    pub(super) fn release_held(&mut self) {
        let mut all_settled = Vec::new();
        for id in std::mem::take(&mut self.committing_for) {
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            let Some(link) = &mut session.link else { continue };
            while link.held.front().is_some_and(|held| held.needs <= self.committed_batch) {
                let Some(held) = link.held.pop_front() else { break };
                if let Some(flight) = release(link.id, held, &mut self.outputs)
                    && let Some(settled) = session.outbox.handle_written(flight)
                {
                    all_settled.push((id, settled));
                }
            }
            if !link.held.is_empty() {
                self.committing_for.insert(id);
            }
            if session.durable {
                self.dirty.insert(id);
            }
        }
        for (id, settled) in all_settled {
            self.handle_settled(id, settled);
        }
    }

    /// A message has left a session's outbox for good: it is counted, and deleted once nobody waits for it.
    pub(super) fn handle_settled(&mut self, id: SessionId, settled: Settled) {
        let Settled { out, outcome } = settled;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let topic = || Arc::from(out.message.topic.as_str());
        match outcome {
            Outcome::Delivered => session.counters.delivered += 1,
            Outcome::Expired => {
                session.counters.expired += 1;
                self.counts.add(Counted::Expired, 1);
            }
            // Counted where that was found.
            Outcome::Denied => {}
            Outcome::Returning => {
                session.counters.returning += 1;
                self.counts.add(Counted::Returning, 1);
            }
            Outcome::TooLarge => {
                session.counters.too_large += 1;
                self.counts.add(Counted::TooLarge, 1);
                let session = session.name().clone();
                self.facts.push_back(Fact::TooLarge { session, topic: topic() });
            }
            Outcome::Refused => {
                session.counters.refused += 1;
                self.counts.add(Counted::RefusedByOthers, 1);
                let (session, count) = (session.name().clone(), session.counters.refused);
                self.facts.push_back(Fact::Refused { session, topic: topic(), count });
            }
        }
        if let Some(link) = &mut session.link
            && link.saying == Some(out.seq)
        {
            link.saying = None;
            self.outputs.push_back(Output::Said(link.id));
        }
        self.moved.insert(id);
        self.dirty.insert(id);
        if let Some(targets) = &out.stored {
            let wanted = targets.iter().filter(|target| target.session != id).any(|target| {
                let other = self.sessions.get(&target.session);
                other.is_some_and(|other| !other.outbox.is_settled(out.seq))
            });
            if !wanted {
                self.deletes.push(out.seq);
            }
        }
    }

    /// The store brought messages of a session.
    pub(super) fn handle_fetched(
        &mut self,
        id: SessionId,
        messages: Vec<StoredMessage>,
        examined: Option<Seq>,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let subscriptions = &session.subscriptions;
        let outgoing = messages.into_iter().filter_map(|stored| {
            let target = stored.targets.iter().find(|target| target.session == id)?;
            let topic = &stored.message.topic;
            Some(Outgoing {
                seq: stored.seq,
                qos: target.qos,
                retain: target.retain,
                subscription_ids: subscription_ids(subscriptions, topic, target.shared),
                shared: target.shared,
                message: stored.message,
                stored: Some(stored.targets.clone()),
                batch: 0,
                late: false,
            })
        });
        session.outbox.handle_fetched(outgoing, examined);
        self.moved.insert(id);
        self.dirty.insert(id);
    }

    /// Lets the connection say one message before all others, in memory only; [`Output::Said`] tells when it is
    /// acknowledged. The last one is said once nothing is in flight any more, because the order of MQTT holds within one
    /// QoS only (section 4.6): a server passes on a QoS 2 message at PUBREL, and would be told of the end before it.
    /// Nothing else is picked from then on.
    pub fn handle_say(&mut self, connection: ConnectionId, message: Message, last: bool) {
        let Some(id) = self.connections.get(&connection).copied() else { return };
        let seq = self.next_seq();
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(link) = &mut session.link else { return };
        link.saying = Some(seq);
        let out = Outgoing {
            seq,
            qos: message.qos,
            retain: message.retain,
            message: Arc::new(message),
            subscription_ids: Vec::new(),
            shared: false,
            stored: None,
            batch: 0,
            late: false,
        };
        if last {
            link.last_words = Some(Box::new(out));
        } else {
            session.outbox.push_front(out);
        }
        self.dirty.insert(id);
    }

    /// The connection's own queue filled up, or has room again.
    pub fn handle_congestion(&mut self, connection: ConnectionId, congested: bool) {
        let Some(id) = self.connections.get(&connection).copied() else { return };
        if let Some(link) = self.sessions.get_mut(&id).and_then(|session| session.link.as_mut()) {
            link.congested = congested;
            self.dirty.insert(id);
        }
    }
}

fn release(
    connection: ConnectionId,
    held: Held,
    outputs: &mut std::collections::VecDeque<Output>,
) -> Option<crate::hub::outbox::FlightNumber> {
    outputs.push_back(Output::Packet(connection, held.packet));
    held.written
}

fn pubrel(packet_id: PacketId) -> Packet {
    Packet::PubRel(Ack::new(packet_id, ReasonCode::Success))
}

/// Sets right what the payload of a reading says of itself, as far as that is known by the time it is sent.
fn set_right(out: &mut Outgoing, clock: &Clock, retouch: Retouch, now: Moment) {
    let marks = Marks { time: clock.right_time(out.seq, &out.message, now), late: out.late };
    if matches!(out.message.body, Body::Foreign) || marks == Marks::default() {
        return;
    }
    let message = Arc::make_mut(&mut out.message);
    message.payload = retouch(&message.payload, message.body, marks);
    if marks.time.is_some() {
        message.body = message.body.set_right();
    }
}

/// What a message is called where a session leads to.
#[derive(Debug, Clone, Copy)]
struct Naming<'a> {
    /// An uplink's rules; empty for clients.
    forward: &'a [Forward],
    /// Of an uplink, this gateway, and what is accepted from any upstream: what may come back that way is marked.
    mark: Option<(NodeId, &'a [TopicFilter])>,
}

fn publish_packet(
    out: &Outgoing,
    packet_id: Option<PacketId>,
    dup: bool,
    Naming { forward, mark }: Naming<'_>,
    left: Option<Duration>,
) -> Publish {
    // What a connection says itself keeps its topic: the will that takes it back has that one, too.
    let renames = out.stored.is_some() && forward.iter().any(|rule| rule.to.is_some());
    let rules = if renames { forward } else { &[] };
    let rule = rules.iter().find(|rule| rule.filter.matches(&out.message.topic));
    let renamed = rule.and_then(|rule| {
        let to = rule.to.as_ref()?;
        // A rule whose result is no topic (an empty rest) leaves the topic as it is.
        to.apply(&out.message.topic).ok()
    });
    let topic = renamed.unwrap_or_else(|| out.message.topic.clone());
    let mut properties = out.message.properties.clone();
    if let Some((node, accepted)) = mark
        && out.stored.is_some()
        && accepted.iter().any(|filter| filter.matches(&topic))
        && !has_passed(&out.message, node)
    {
        properties = Some(passed(properties.as_ref(), [node]));
    }
    let seconds = |left: Duration| u32::try_from(left.as_secs().max(1)).unwrap_or(u32::MAX);
    Publish {
        dup,
        qos: out.qos,
        retain: out.retain,
        topic: Some(topic),
        packet_id: packet_id.filter(|_| out.qos > QoS::AtMostOnce),
        payload: out.message.payload.clone(),
        properties,
        message_expiry: left.map(seconds),
        topic_alias: None,
        subscription_ids: out.subscription_ids.clone(),
    }
}

impl Link {
    /// A connection that just came up.
    pub(super) fn new(id: ConnectionId, version: Version, packet_bytes_max: Option<u32>) -> Self {
        Self {
            id,
            version,
            packet_bytes_max,
            qos_max: QoS::ExactlyOnce,
            retain_available: true,
            held: std::collections::VecDeque::new(),
            congested: false,
            will: None,
            last_words: None,
            farewell: None,
            closing: false,
            saying: None,
        }
    }
}

//! core: what a peer says once it is connected: messages, acknowledgements, subscriptions. MQTT 5.0 sections 3.3 to 3.11
//! and 4.3.

use std::time::Duration;

use super::addressed::Arrival;
use super::limits::{NO_ROOM, NO_ROOM_RETAINED, NOT_ALLOWED, Refusal};
use super::{DeniedWhat, Engine, Output};
use crate::hub::inbox::Received;
use crate::hub::outbox::{Acknowledged, Send};
use crate::hub::session::{ConnectionId, Session};
use crate::hub::tally::Counted;
use crate::model::{Body, Message, Moment, QoS};
use crate::mqtt::{Ack, Packet, PacketId, Publish, ReasonCode, Version};
use crate::store::{Change, SessionId};

impl Engine {
    /// A connected peer sent a packet. What breaks the protocol ends its connection with a reason.
    pub fn handle_packet(&mut self, connection: ConnectionId, packet: Packet, now: Moment) {
        let Some(id) = self.connections.get(&connection).copied() else { return };
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let result = match packet {
            Packet::Publish(publish) => self.handle_published(id, publish, now),
            Packet::PubAck(ack) if !is_held(session, ack.packet_id) => {
                let done = session.outbox.handle_puback(ack.packet_id.0, ack.reason.is_failure());
                self.handle_acknowledged(id, done, now);
                Ok(())
            }
            Packet::PubRec(ack) if !is_held(session, ack.packet_id) => {
                self.handle_received(id, &ack, now);
                Ok(())
            }
            Packet::PubComp(ack) => {
                let done = session.outbox.handle_pubcomp(ack.packet_id.0);
                self.handle_acknowledged(id, done, now);
                Ok(())
            }
            // An acknowledgement of what has not been sent means nothing.
            Packet::PubAck(_) | Packet::PubRec(_) => Ok(()),
            Packet::PubRel(ack) => {
                self.handle_released(id, ack.packet_id);
                Ok(())
            }
            Packet::Subscribe(request) if !session.is_uplink() => {
                self.handle_subscribe(id, &request, now);
                Ok(())
            }
            Packet::Unsubscribe(request) if !session.is_uplink() => {
                self.handle_unsubscribe(id, &request);
                Ok(())
            }
            Packet::SubAck(_) | Packet::UnsubAck(_) if session.is_uplink() => Ok(()),
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::Subscribe(_)
            | Packet::SubAck(_)
            | Packet::Unsubscribe(_)
            | Packet::UnsubAck(_)
            | Packet::PingReq
            | Packet::PingResp
            | Packet::Disconnect(_)
            | Packet::Auth(_) => Err(ReasonCode::ProtocolError),
        };
        if let Err(reason) = result {
            self.outputs.push_back(Output::Close(connection, reason));
        }
    }

    fn handle_published(
        &mut self,
        id: SessionId,
        publish: Publish,
        now: Moment,
    ) -> Result<(), ReasonCode> {
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        if !session.is_uplink() {
            self.counts.add(Counted::Received, 1);
            self.counts.add(Counted::ReceivedBytes, publish.payload.len() as u64);
        }
        // The connection has put the topic in the place of its alias.
        let (Some(topic), None) = (publish.topic, publish.topic_alias) else {
            return Err(ReasonCode::TopicAliasInvalid);
        };
        if !session.is_uplink() && !publish.subscription_ids.is_empty() {
            return Err(ReasonCode::ProtocolError);
        }
        if let (QoS::ExactlyOnce, Some(packet_id)) = (publish.qos, publish.packet_id) {
            match session.inbox.handle_publish(packet_id.0, self.open_batch) {
                Received::Repeat { batch } => {
                    self.answer(id, pubrec(packet_id), batch);
                    return Ok(());
                }
                Received::First if session.durable => {
                    let (session, packet_id) = (id, packet_id.0);
                    self.changes.push(Change::Inbox { session, packet_id, present: true });
                }
                Received::First => {}
            }
        }
        let arrival = Arrival {
            retained: publish.retain,
            repeated: publish.dup,
            packet_id: publish.packet_id.map(|id| id.0.get()),
        };
        let message = Message {
            topic,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            properties: publish.properties,
            accepted: now.wall,
            expires: publish
                .message_expiry
                .map(|seconds| now.wall.plus(Duration::from_secs(seconds.into()))),
            body: Body::Foreign,
        };
        let durable = session.durable;
        let version = session.link.as_ref().map(|link| link.version);
        let message = self.come_over(id, message);
        let told = publish.packet_id.filter(|_| version == Some(Version::V5));
        let mut refusal = message.as_ref().and_then(|it| self.publication_refused(it, id));
        if let (Some(refusal), Some(message)) = (refusal, &message) {
            self.count_rejected(id, &message.topic, refusal);
        } else if let Some(message) = &message
            && self.denies_publish(id, &message.topic, DeniedWhat::Publish)
        {
            refusal = Some(NOT_ALLOWED);
        }
        if let (Some(packet_id), Some(message)) = (told, &message)
            && let Some(refusal) = refusal.or_else(|| self.no_room(message, id))
        {
            self.refuse(id, message, packet_id, refusal);
            return Ok(());
        }
        // Before 5.0 nobody can be told, and who is not would send it again for ever: it is acknowledged (3.1.1 section
        // 3.3.5). So is what is not taken over a bridge.
        let taken = message.filter(|_| refusal.is_none());
        let mut needs = taken.map_or(0, |mut message| {
            self.hand_over(&mut message, id, arrival, now);
            self.route(message, Some(id), now)
        });
        // Whoever is told that we have it will not send it again, also after a power cut.
        self.sync |= publish.packet_id.is_some() && needs > 0;
        match (publish.qos, publish.packet_id) {
            (QoS::AtLeastOnce, Some(packet_id)) => {
                let ack = Packet::PubAck(Ack::new(packet_id, ReasonCode::Success));
                self.answer(id, ack, needs);
            }
            (QoS::ExactlyOnce, Some(packet_id)) => {
                if durable {
                    needs = self.open_batch;
                    self.sync = true;
                }
                // Without a change of its own the open batch may never be committed.
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.inbox.set_batch(packet_id.0, needs);
                }
                self.answer(id, pubrec(packet_id), needs);
            }
            (_, _) => {}
        }
        Ok(())
    }

    /// Why there is no room for a message that would have to be kept, if there is none.
    fn no_room(&mut self, message: &Message, id: SessionId) -> Option<Refusal> {
        if !self.has_room_retained(message) {
            self.count_retained_refused(message);
            return Some(NO_ROOM_RETAINED);
        }
        let is_refused = self.is_refused(message, id);
        is_refused.then_some(NO_ROOM).inspect(|refusal| self.count_refusal(*refusal))
    }

    /// A message is not taken: whoever can be told keeps it.
    fn refuse(&mut self, id: SessionId, message: &Message, packet_id: PacketId, refusal: Refusal) {
        let Refusal { reason, why, .. } = refusal;
        let refused = Ack { reason_string: Some(why.into()), ..Ack::new(packet_id, reason) };
        if message.qos == QoS::AtLeastOnce {
            self.answer(id, Packet::PubAck(refused), 0);
            return;
        }
        // A refusal leaves no packet id open (4.3.3).
        if let Some(session) = self.sessions.get_mut(&id) {
            session.inbox.handle_pubrel(packet_id.0);
            if session.durable {
                let (session, packet_id) = (id, packet_id.0);
                self.changes.push(Change::Inbox { session, packet_id, present: false });
            }
        }
        self.answer(id, Packet::PubRec(refused), 0);
    }

    /// PUBREC: the message is released, or it was refused.
    fn handle_received(&mut self, id: SessionId, ack: &Ack, now: Moment) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let v5 = session.link.as_ref().is_some_and(|link| link.version == Version::V5);
        let refused = ack.reason.is_failure();
        let batch = self.open_batch;
        let done = session.outbox.handle_pubrec(ack.packet_id.0, refused, batch, &mut self.changes);
        if done == Acknowledged::Unknown && !refused {
            // The peer holds an id open that we know nothing of: let it go.
            let reason = if v5 { ReasonCode::PacketIdNotFound } else { ReasonCode::Success };
            self.answer(id, Packet::PubRel(Ack::new(ack.packet_id, reason)), 0);
            return;
        }
        self.handle_acknowledged(id, done, now);
    }

    fn handle_acknowledged(&mut self, id: SessionId, done: Acknowledged, now: Moment) {
        match done {
            Acknowledged::Settled(settled) => self.note_and_settle(id, settled, now),
            Acknowledged::Released(transmit) => {
                if let Send::PubRel { packet_id } = transmit.what {
                    let packet = Packet::PubRel(Ack::new(PacketId(packet_id), ReasonCode::Success));
                    self.answer(id, packet, transmit.needs);
                }
            }
            Acknowledged::Closed => self.dirty.insert(id),
            Acknowledged::Early | Acknowledged::Unknown => {}
        }
    }

    /// PUBREL: the id is free again. PUBCOMP waits until that is durable: otherwise a crash would bring the id back, and
    /// the next message under it would be taken for a repeat.
    fn handle_released(&mut self, id: SessionId, packet_id: PacketId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let v5 = session.link.as_ref().is_some_and(|link| link.version == Version::V5);
        let known = session.inbox.handle_pubrel(packet_id.0);
        let durable = session.durable;
        if known && durable {
            let (session, packet_id) = (id, packet_id.0);
            self.changes.push(Change::Inbox { session, packet_id, present: false });
            self.sync = true;
        }
        // An id that is not open may have been released in a batch that is still on its way.
        let needs = if durable { self.last_batch() } else { 0 };
        let reason = if known || !v5 { ReasonCode::Success } else { ReasonCode::PacketIdNotFound };
        self.answer(id, Packet::PubComp(Ack::new(packet_id, reason)), needs);
    }
}

/// Whether the PUBLISH under this id still waits to be sent.
fn is_held(session: &Session, packet_id: PacketId) -> bool {
    let waits = |packet: &Packet| matches!(packet, Packet::Publish(publish) if publish.packet_id == Some(packet_id));
    session.link.iter().flat_map(|link| &link.held).any(|held| waits(&held.packet))
}

fn pubrec(packet_id: PacketId) -> Packet {
    Packet::PubRec(Ack::new(packet_id, ReasonCode::Success))
}

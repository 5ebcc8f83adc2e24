//! core: a client on the LAN that publishes at QoS 1 and 2 and repeats what was not acknowledged, whatever happens to us.

use std::collections::VecDeque;
use std::num::NonZeroU16;

use super::payload::{self, Number};
use crate::hub::ConnectionId;
use crate::model::{QoS, TopicName};
use crate::mqtt::{Ack, Packet, PacketId, Publish, ReasonCode};

/// Publications under way at most. Packet ids go round soon after, so that a stale one would swallow a message.
const WINDOW: u16 = 6;

#[derive(Debug, Clone)]
struct Publication {
    packet: Publish,
    id: PacketId,
    /// PUBREC came.
    received: bool,
}

/// The publisher and what is under way on its link.
#[derive(Debug, Clone, Default)]
pub(super) struct Publisher {
    pub(super) connection: Option<ConnectionId>,
    /// The batch it waits for before it may speak or be spoken to.
    pub(super) waits_for: u64,
    pub(super) to_gateway: VecDeque<Packet>,
    pub(super) to_publisher: VecDeque<Packet>,
    publications: Vec<Publication>,
    last_id: u16,
}

impl Publisher {
    /// The link is gone with all that is under way on it.
    pub(super) fn handle_cut(&mut self) {
        self.connection = None;
        self.to_gateway.clear();
        self.to_publisher.clear();
    }

    /// The link is there. Without its session the gateway knows none of the packet ids: all is published anew.
    pub(super) fn come_up(&mut self, session_present: bool) {
        if !session_present {
            self.publications.retain(|publication| !publication.received);
        }
        for publication in &self.publications {
            let Publication { packet, id, received } = publication;
            self.to_gateway.push_back(if *received {
                Packet::PubRel(Ack::new(*id, ReasonCode::Success))
            } else {
                Packet::Publish(Publish { dup: session_present, ..packet.clone() })
            });
        }
    }

    /// Whether it may publish one more.
    pub(super) fn has_room(&self) -> bool {
        self.connection.is_some() && self.publications.len() < usize::from(WINDOW)
    }

    /// Whether everything it published is acknowledged to the end.
    pub(super) fn is_done(&self) -> bool {
        self.publications.is_empty()
    }

    pub(super) fn publish(&mut self, topic: &TopicName, number: Number, qos: QoS, len: usize) {
        let id = loop {
            self.last_id = self.last_id % (2 * WINDOW) + 1;
            let id = PacketId(NonZeroU16::MIN.saturating_add(self.last_id - 1));
            if self.publications.iter().all(|publication| publication.id != id) {
                break id;
            }
        };
        let packet = Publish {
            dup: false,
            qos,
            retain: false,
            topic: Some(topic.clone()),
            packet_id: Some(id),
            payload: payload::write(number, len),
            properties: None,
            message_expiry: None,
            topic_alias: None,
            subscription_ids: Vec::new(),
        };
        self.to_gateway.push_back(Packet::Publish(packet.clone()));
        self.publications.push(Publication { packet, id, received: false });
    }

    /// The message that this PUBACK or PUBREC is for.
    pub(super) fn told_by(&self, packet: &Packet) -> Option<Number> {
        let (Packet::PubAck(ack) | Packet::PubRec(ack)) = packet else { return None };
        let of = self.publications.iter().find(|publication| publication.id == ack.packet_id)?;
        payload::read(&of.packet.payload)
    }

    /// Takes the next packet that is under way to it.
    pub(super) fn receive(&mut self) -> bool {
        let Some(packet) = self.to_publisher.pop_front() else { return false };
        if let Packet::PubAck(ack) | Packet::PubComp(ack) = packet {
            self.publications.retain(|publication| publication.id != ack.packet_id);
        } else if let Packet::PubRec(ack) = packet {
            let of = self.publications.iter_mut().find(|p| p.id == ack.packet_id);
            if let Some(publication) = of {
                publication.received = true;
            }
            let release = Ack::new(ack.packet_id, ReasonCode::Success);
            self.to_gateway.push_back(Packet::PubRel(release));
        }
        true
    }
}

//! core: the broker upstream: it receives at QoS 1 and 2 and keeps its session, whatever happens to us.

use std::collections::{BTreeMap, VecDeque};

use super::payload::{self, Number};
use crate::hub::ConnectionId;
use crate::model::QoS;
use crate::mqtt::{Ack, Packet, PacketId, ReasonCode};

/// What a packet brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Brought {
    /// A message that counts: not one recognised as a repeat.
    Message(Number),
    /// A message that is not one of ours.
    Garbled,
    Nothing,
}

/// The upstream and what is under way on the link to it.
#[derive(Debug, Clone, Default)]
pub(super) struct Upstream {
    pub(super) connection: Option<ConnectionId>,
    /// The batch it waits for before it may speak or be spoken to.
    pub(super) waits_for: u64,
    pub(super) has_session: bool,
    pub(super) to_gateway: VecDeque<Packet>,
    pub(super) to_upstream: VecDeque<Packet>,
    /// QoS 2 packet ids received and not released.
    open: BTreeMap<PacketId, Option<Number>>,
}

impl Upstream {
    /// The link is gone with all that is under way on it.
    pub(super) fn handle_cut(&mut self) {
        self.connection = None;
        self.to_gateway.clear();
        self.to_upstream.clear();
    }

    /// Takes the next packet that is under way to it.
    pub(super) fn receive(&mut self) -> Option<Brought> {
        let packet = self.to_upstream.pop_front()?;
        let answer = |kind: fn(Ack) -> Packet, id| kind(Ack::new(id, ReasonCode::Success));
        if let Packet::PubRel(ack) = packet {
            self.open.remove(&ack.packet_id);
            self.to_gateway.push_back(answer(Packet::PubComp, ack.packet_id));
            return Some(Brought::Nothing);
        }
        let Packet::Publish(publish) = packet else { return Some(Brought::Nothing) };
        let number = payload::read(&publish.payload);
        match (publish.qos, publish.packet_id) {
            (QoS::AtLeastOnce, Some(id)) => {
                self.to_gateway.push_back(answer(Packet::PubAck, id));
            }
            (QoS::ExactlyOnce, Some(id)) => {
                self.to_gateway.push_back(answer(Packet::PubRec, id));
                if self.open.contains_key(&id) {
                    return Some(Brought::Nothing);
                }
                self.open.insert(id, number);
            }
            (_, _) => {}
        }
        Some(number.map_or(Brought::Garbled, Brought::Message))
    }

    /// The message it holds open under a packet id.
    pub(super) fn open(&self, id: PacketId) -> Option<Number> {
        self.open.get(&id).copied().flatten()
    }
}

//! core: listens to what the upstream sends at QoS 2 and notes what it publishes again although it has been told that it
//! arrived. A receiver cannot know such a message from another one (MQTT 5.0 section 4.3.3), so it is not to blame.
//!
//! mosquitto 2.0.11 does that when a connection ends while it repeats PUBREL, and when it is restarted in between.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU16;

use super::number_of;
use crate::model::QoS;
use crate::mqtt::Packet;

/// What the upstream has sent, over all connections.
#[derive(Debug, Default)]
pub struct Tap {
    /// The number that was last published under each packet id.
    ids: HashMap<NonZeroU16, u64>,
    /// Numbers for which PUBREL was sent: their PUBREC had come.
    released: BTreeSet<u64>,
    /// How often each of them was published after that.
    repeated: BTreeMap<u64, u64>,
}

impl Tap {
    /// The upstream has sent a packet.
    #[allow(clippy::wildcard_enum_match_arm, reason = "two packets tell everything")]
    pub fn handle_packet(&mut self, packet: &Packet) {
        match packet {
            Packet::Publish(publish) if publish.qos == QoS::ExactlyOnce => {
                let (Some(id), Some(number)) = (publish.packet_id, number_of(publish)) else {
                    return;
                };
                self.ids.insert(id.0, number);
                if self.released.contains(&number) {
                    *self.repeated.entry(number).or_default() += 1;
                }
            }
            Packet::PubRel(ack) => {
                self.released.extend(self.ids.get(&ack.packet_id.0));
            }
            _ => {}
        }
    }

    /// How often the upstream published `number` again although it had been told that it arrived.
    #[must_use]
    pub fn repeated(&self, number: u64) -> u64 {
        self.repeated.get(&number).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::TopicName;
    use crate::mqtt::{Ack, PacketId, Publish, ReasonCode};

    fn publish(number: u64, id: u16) -> Packet {
        Packet::Publish(Publish {
            dup: false,
            qos: QoS::ExactlyOnce,
            retain: false,
            topic: Some(TopicName::new("down/crash").expect("a topic")),
            packet_id: PacketId::new(id),
            payload: Bytes::from(format!("{number} of many")),
            properties: None,
            message_expiry: None,
            topic_alias: None,
            subscription_ids: Vec::new(),
        })
    }

    fn release(id: u16) -> Packet {
        Packet::PubRel(Ack::new(PacketId::new(id).expect("not 0"), ReasonCode::Success))
    }

    #[test]
    fn a_repeat_before_pubrel_is_right_and_one_after_it_is_noted() {
        let mut tap = Tap::default();
        for packet in [publish(1, 7), publish(1, 7), release(7), publish(2, 7)] {
            tap.handle_packet(&packet);
        }
        assert_eq!((tap.repeated(1), tap.repeated(2)), (0, 0));
        tap.handle_packet(&publish(1, 8));
        assert_eq!((tap.repeated(1), tap.repeated(2)), (1, 0));
    }
}

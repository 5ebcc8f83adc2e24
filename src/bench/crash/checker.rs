//! core: receives numbers through a session that outlives its connections, as a receiver must (MQTT 5.0 section 4.3), and
//! keeps the books on them.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::num::NonZeroU16;

use super::{End, Progress, number_of};
use crate::model::{QoS, TopicFilter};
use crate::mqtt::{
    Ack, Packet, PacketId, Publish, ReasonCode, RetainHandling, Subscribe, SubscribeFilter,
};

/// The receiving end of a lane.
#[derive(Debug)]
pub struct Checker {
    filter: TopicFilter,
    qos: QoS,
    outgoing: VecDeque<Packet>,
    /// Packet ids of QoS 2 that are received and not released.
    inbox: HashSet<NonZeroU16>,
    /// How often each number came.
    arrivals: BTreeMap<u64, u64>,
    out_of_order: u64,
    connections: u64,
    sessions_lost: u64,
    subscribed: bool,
}

impl Checker {
    /// A checker of what comes on `filter` at `qos`.
    #[must_use]
    pub fn new(filter: TopicFilter, qos: QoS) -> Self {
        Self {
            filter,
            qos,
            outgoing: VecDeque::new(),
            inbox: HashSet::new(),
            arrivals: BTreeMap::new(),
            out_of_order: 0,
            connections: 0,
            sessions_lost: 0,
            subscribed: false,
        }
    }

    /// The numbers from 1 to `accepted` that did not come, in order.
    pub fn missing(&self, accepted: u64) -> impl Iterator<Item = u64> {
        (1..=accepted).filter(|number| !self.arrivals.contains_key(number))
    }

    /// Arrivals after the first of a number, all together, beyond those that `excused` allows each.
    pub fn doubled(&self, excused: impl Fn(u64) -> u64) -> u64 {
        let beyond = |(number, count): (&u64, &u64)| (count - 1).saturating_sub(excused(*number));
        self.arrivals.iter().map(beyond).sum()
    }

    /// Numbers whose first arrival came after that of a higher one.
    #[must_use]
    pub fn out_of_order(&self) -> u64 {
        self.out_of_order
    }

    /// How often the broker had forgotten the session.
    #[must_use]
    pub fn sessions_lost(&self) -> u64 {
        self.sessions_lost
    }

    fn highest(&self) -> u64 {
        self.arrivals.last_key_value().map_or(0, |(number, _)| *number)
    }

    fn handle_publish(&mut self, publish: &Publish) {
        let Some(PacketId(packet_id)) = publish.packet_id else { return self.count(publish) };
        let ack = Ack::new(PacketId(packet_id), ReasonCode::Success);
        if publish.qos == QoS::ExactlyOnce {
            if self.inbox.insert(packet_id) {
                self.count(publish);
            }
            self.outgoing.push_back(Packet::PubRec(ack));
        } else {
            self.count(publish);
            self.outgoing.push_back(Packet::PubAck(ack));
        }
    }

    fn count(&mut self, publish: &Publish) {
        let Some(number) = number_of(publish) else { return };
        let highest = self.highest();
        let count = self.arrivals.entry(number).or_default();
        *count += 1;
        self.out_of_order += u64::from(*count == 1 && number < highest);
    }
}

impl End for Checker {
    fn handle_connected(&mut self, session_present: bool, _receive_maximum: NonZeroU16) {
        self.connections += 1;
        self.outgoing.clear();
        if !session_present {
            self.sessions_lost += u64::from(self.connections > 1);
            self.inbox.clear();
            self.outgoing.push_back(Packet::Subscribe(Subscribe {
                packet_id: PacketId(NonZeroU16::MIN),
                subscription_id: None,
                user_properties: Vec::new(),
                filters: vec![SubscribeFilter {
                    filter: self.filter.clone(),
                    qos: self.qos,
                    no_local: false,
                    retain_as_published: false,
                    retain_handling: RetainHandling::Send,
                }],
            }));
        }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "a receiver hears of messages only")]
    fn handle_packet(&mut self, packet: &Packet) {
        match packet {
            Packet::Publish(publish) => self.handle_publish(publish),
            Packet::PubRel(ack) => {
                self.inbox.remove(&ack.packet_id.0);
                self.outgoing
                    .push_back(Packet::PubComp(Ack::new(ack.packet_id, ReasonCode::Success)));
            }
            Packet::SubAck(ack) => {
                self.subscribed = !ack.reasons.iter().any(|reason| reason.is_failure());
            }
            _ => {}
        }
    }

    fn poll_packet(&mut self) -> Option<Packet> {
        self.outgoing.pop_front()
    }

    fn exchange_progress(&mut self, progress: &mut Progress) {
        progress.connections.1 = self.connections;
        progress.subscribed = self.subscribed;
        progress.arrived = self.arrivals.len() as u64;
        progress.highest = self.highest();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::TopicName;

    fn checker() -> Checker {
        let mut checker =
            Checker::new(TopicFilter::new("lan/#").expect("a filter"), QoS::ExactlyOnce);
        checker.handle_connected(false, NonZeroU16::MAX);
        assert!(matches!(checker.poll_packet(), Some(Packet::Subscribe(_))));
        checker
    }

    fn publish(checker: &mut Checker, number: u64, id: u16) {
        checker.handle_packet(&Packet::Publish(Publish {
            dup: false,
            qos: QoS::ExactlyOnce,
            retain: false,
            topic: Some(TopicName::new("lan/crash").expect("a topic")),
            packet_id: PacketId::new(id),
            payload: Bytes::from(format!("{number} of many")),
            properties: None,
            message_expiry: None,
            topic_alias: None,
            subscription_ids: Vec::new(),
        }));
    }

    fn release(checker: &mut Checker, id: u16) {
        let ack = Ack::new(PacketId::new(id).expect("not 0"), ReasonCode::Success);
        checker.handle_packet(&Packet::PubRel(ack));
    }

    #[test]
    fn a_repeat_under_an_open_id_is_no_second_arrival_and_one_under_a_free_id_is() {
        let mut checker = checker();
        publish(&mut checker, 1, 7);
        checker.handle_connected(true, NonZeroU16::MAX);
        publish(&mut checker, 1, 7);
        assert_eq!(checker.doubled(|_| 0), 0);
        release(&mut checker, 7);
        publish(&mut checker, 1, 7);
        assert_eq!(checker.doubled(|_| 0), 1);
        assert_eq!(checker.doubled(|_| 1), 0);
    }

    #[test]
    fn what_did_not_come_and_what_came_late_is_told() {
        let mut checker = checker();
        for (number, id) in [(1, 1), (4, 2), (3, 3), (1, 4)] {
            publish(&mut checker, number, id);
        }
        assert_eq!(checker.missing(5).collect::<Vec<_>>(), [2, 5]);
        assert_eq!((checker.out_of_order(), checker.doubled(|_| 0)), (1, 1));
    }
}

//! core: publishes numbers in order through a session that outlives its connections; what is not acknowledged is
//! repeated under its packet id. MQTT 5.0 section 4.3, 4.4.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::num::NonZeroU16;

use bytes::Bytes;

use super::{End, Progress};
use crate::model::{QoS, TopicName};
use crate::mqtt::{Ack, Packet, PacketId, Publish, ReasonCode};

/// Messages published and not arrived at which it waits, so that the end of a run is not spent on draining.
const BACKLOG_MAX: u64 = 1500;
/// What it publishes on each connection whatever the backlog: a gateway that has lost its queue would never work it off.
const FRESH_MAX: u64 = 200;

/// A message whose exchange is not over.
#[derive(Debug, Clone, Copy)]
struct Open {
    packet_id: NonZeroU16,
    /// Whether PUBREC came.
    released: bool,
    /// Whether it was published on an earlier connection.
    dup: bool,
}

/// The publishing end of a lane.
#[derive(Debug)]
pub struct Publisher {
    topic: TopicName,
    qos: QoS,
    window: usize,
    receive_maximum: usize,
    open: BTreeMap<u64, Open>,
    numbers: HashMap<NonZeroU16, u64>,
    last_id: u16,
    outgoing: VecDeque<Packet>,
    published: u64,
    fresh: u64,
    accepted: u64,
    refused: u64,
    connections: u64,
    sessions_lost: u64,
    highest_arrived: u64,
    last: Option<u64>,
}

impl Publisher {
    /// A publisher of the numbers from 1, at QoS 1 or 2, with at most `window` messages under way.
    #[must_use]
    pub fn new(topic: TopicName, qos: QoS, window: usize) -> Self {
        Self {
            topic,
            qos,
            window,
            receive_maximum: usize::from(u16::MAX),
            open: BTreeMap::new(),
            numbers: HashMap::new(),
            last_id: 0,
            outgoing: VecDeque::new(),
            published: 0,
            fresh: 0,
            accepted: 0,
            refused: 0,
            connections: 0,
            sessions_lost: 0,
            highest_arrived: 0,
            last: None,
        }
    }

    /// Messages acknowledged, so that they are the broker's: the numbers from 1 to this, once nothing is open.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Messages the broker refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// How often the broker had forgotten the session.
    #[must_use]
    pub fn sessions_lost(&self) -> u64 {
        self.sessions_lost
    }

    fn may_publish(&self) -> bool {
        let room = self.open.len() < self.window.min(self.receive_maximum);
        let wanted = self.last.is_none_or(|last| self.published < last);
        let backlog = self.published.saturating_sub(self.highest_arrived);
        let timely = backlog < BACKLOG_MAX || self.fresh < FRESH_MAX || self.last.is_some();
        self.connections > 0 && room && wanted && timely
    }

    fn next_id(&mut self) -> NonZeroU16 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if let Some(id) = NonZeroU16::new(self.last_id)
                && !self.numbers.contains_key(&id)
            {
                return id;
            }
        }
    }

    fn publish(&self, number: u64, open: Open) -> Packet {
        Packet::Publish(Publish {
            dup: open.dup,
            qos: self.qos,
            retain: false,
            topic: Some(self.topic.clone()),
            packet_id: Some(PacketId(open.packet_id)),
            payload: Bytes::from(format!("{number} of the messages that are counted")),
            properties: None,
            message_expiry: None,
            topic_alias: None,
            subscription_ids: Vec::new(),
        })
    }

    /// The exchange under a packet id is over.
    fn close(&mut self, packet_id: NonZeroU16) -> Option<Open> {
        let number = self.numbers.remove(&packet_id)?;
        self.open.remove(&number)
    }

    fn handle_received(&mut self, ack: &Ack) {
        let packet_id = ack.packet_id.0;
        if ack.reason.is_failure() {
            self.refused += u64::from(self.close(packet_id).is_some());
            return;
        }
        let open = self.numbers.get(&packet_id).and_then(|number| self.open.get_mut(number));
        if let Some(open) = open
            && !std::mem::replace(&mut open.released, true)
        {
            self.accepted += 1;
        }
        self.outgoing.push_back(pubrel(packet_id));
    }
}

impl End for Publisher {
    fn handle_connected(&mut self, session_present: bool, receive_maximum: NonZeroU16) {
        self.connections += 1;
        self.fresh = 0;
        self.receive_maximum = receive_maximum.get().into();
        self.outgoing.clear();
        if !session_present {
            self.sessions_lost += u64::from(self.connections > 1);
            // The broker has said that it has them: nothing is repeated.
            let released = self.open.values().filter(|open| open.released);
            let released: Vec<NonZeroU16> = released.map(|open| open.packet_id).collect();
            released.into_iter().for_each(|id| _ = self.close(id));
            self.open.values_mut().for_each(|open| open.dup = false);
        }
        let again: Vec<Packet> = self
            .open
            .iter()
            .map(|(number, open)| match open.released {
                true => pubrel(open.packet_id),
                false => self.publish(*number, *open),
            })
            .collect();
        self.outgoing.extend(again);
        self.open.values_mut().for_each(|open| open.dup = true);
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "a publisher hears of acknowledgements only")]
    fn handle_packet(&mut self, packet: &Packet) {
        match packet {
            Packet::PubAck(ack) => {
                let known = self.close(ack.packet_id.0).is_some();
                self.accepted += u64::from(known && !ack.reason.is_failure());
                self.refused += u64::from(known && ack.reason.is_failure());
            }
            Packet::PubRec(ack) => self.handle_received(ack),
            Packet::PubComp(ack) => _ = self.close(ack.packet_id.0),
            _ => {}
        }
    }

    fn poll_packet(&mut self) -> Option<Packet> {
        if let Some(packet) = self.outgoing.pop_front() {
            return Some(packet);
        }
        if !self.may_publish() {
            return None;
        }
        self.published += 1;
        self.fresh += 1;
        let open = Open { packet_id: self.next_id(), released: false, dup: false };
        let packet = self.publish(self.published, open);
        self.numbers.insert(open.packet_id, self.published);
        self.open.insert(self.published, Open { dup: true, ..open });
        Some(packet)
    }

    fn exchange_progress(&mut self, progress: &mut Progress) {
        progress.connections.0 = self.connections;
        progress.published = self.published;
        progress.accepted = self.accepted;
        progress.open = self.open.len();
        self.highest_arrived = progress.highest;
        self.last = progress.last;
    }
}

fn pubrel(packet_id: NonZeroU16) -> Packet {
    Packet::PubRel(Ack::new(PacketId(packet_id), ReasonCode::Success))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publisher(qos: QoS) -> Publisher {
        let topic = TopicName::new("lan/crash").expect("a topic");
        let mut publisher = Publisher::new(topic, qos, 3);
        publisher.handle_connected(false, NonZeroU16::MAX);
        publisher
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "a publisher sends nothing else")]
    /// What it sends: `p1` is PUBLISH of number 1, `d1` the same with DUP, `r1` PUBREL for packet id 1.
    fn sent(publisher: &mut Publisher) -> Vec<String> {
        std::iter::from_fn(|| publisher.poll_packet())
            .map(|packet| match packet {
                Packet::Publish(publish) => {
                    let text = String::from_utf8(publish.payload.to_vec()).expect("text");
                    let number = text.split(' ').next().expect("a number");
                    format!("{}{number}", if publish.dup { "d" } else { "p" })
                }
                Packet::PubRel(ack) => format!("r{}", ack.packet_id.get()),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn ack(id: u16) -> Ack {
        Ack::new(PacketId::new(id).expect("not 0"), ReasonCode::Success)
    }

    #[test]
    fn what_is_open_is_repeated_in_order_with_dup_under_the_same_id() {
        let mut publisher = publisher(QoS::ExactlyOnce);
        assert_eq!(sent(&mut publisher), ["p1", "p2", "p3"]);
        publisher.handle_packet(&Packet::PubRec(ack(1)));
        assert_eq!((sent(&mut publisher), publisher.accepted()), (vec!["r1".to_owned()], 1));
        publisher.handle_connected(true, NonZeroU16::MAX);
        assert_eq!(sent(&mut publisher), ["r1", "d2", "d3"]);
        publisher.handle_packet(&Packet::PubRec(ack(1)));
        publisher.handle_packet(&Packet::PubComp(ack(1)));
        assert_eq!(
            (sent(&mut publisher), publisher.accepted()),
            (vec!["r1".into(), "p4".into()], 1)
        );
    }

    #[test]
    fn a_broker_that_forgot_the_session_gets_what_it_had_not_accepted_as_new() {
        let mut publisher = publisher(QoS::ExactlyOnce);
        sent(&mut publisher);
        publisher.handle_packet(&Packet::PubRec(ack(1)));
        publisher.handle_connected(false, NonZeroU16::MAX);
        assert_eq!(sent(&mut publisher), ["p2", "p3", "p4"]);
        assert_eq!((publisher.sessions_lost(), publisher.accepted()), (1, 1));
    }

    #[test]
    fn it_ends_with_the_last_number() {
        let mut publisher = publisher(QoS::AtLeastOnce);
        publisher.exchange_progress(&mut Progress { last: Some(4), ..Progress::default() });
        assert_eq!(sent(&mut publisher), ["p1", "p2", "p3"]);
        (1..=3).for_each(|id| publisher.handle_packet(&Packet::PubAck(ack(id))));
        assert_eq!((sent(&mut publisher), publisher.accepted()), (vec!["p4".to_owned()], 3));
        publisher.handle_packet(&Packet::PubAck(ack(4)));
        assert!(sent(&mut publisher).is_empty());
    }
}

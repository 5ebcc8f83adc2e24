//! core: one MQTT peer, seen from its own side: what it received, what it holds open, what it publishes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU16;

use bytes::Bytes;
use fieldpost::hub::ConnectionId;
use fieldpost::model::{QoS, TopicFilter, TopicName};
use fieldpost::mqtt::{
    Ack, Packet, PacketId, Publish, ReasonCode, RetainHandling, Subscribe, SubscribeFilter,
};

/// A message this peer publishes, until it is acknowledged.
#[derive(Debug, Clone)]
pub struct Publication {
    pub payload: u64,
    pub qos: QoS,
    pub packet_id: NonZeroU16,
    pub received: bool,
}

/// Before the number in a payload that newer ones have passed.
pub const LATE: char = '-';

/// What a peer tells the world about a packet it got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Arrived {
        payload: u64,
        qos: QoS,
        late: bool,
    },
    /// PUBACK or PUBREC: the engine has taken responsibility.
    Accepted {
        payload: u64,
    },
    Subscribed,
    Nothing,
}

#[derive(Debug, Default)]
pub struct Peer {
    pub name: &'static str,
    pub is_uplink: bool,
    pub durable: bool,
    pub connection: Option<ConnectionId>,
    /// The engine has the attach and has not answered yet: this batch must be durable.
    pub waiting: Option<u64>,
    /// The batch that makes it durable that this upstream lost the session; 0 for none.
    pub reset: u64,
    pub receive_maximum: u16,
    pub to_engine: VecDeque<Packet>,
    pub to_peer: VecDeque<Packet>,
    /// Whether the peer has a session to come back to.
    pub has_session: bool,
    /// QoS 2 packet ids received and not released, with their payloads.
    open: BTreeMap<NonZeroU16, u64>,
    /// PUBLISH received on this connection and not yet acknowledged to the end.
    inflight: BTreeSet<NonZeroU16>,
    pub publications: Vec<Publication>,
    last_id: u16,
    pub subscribed: bool,
}

impl Peer {
    pub fn new(name: &'static str, is_uplink: bool, durable: bool) -> Self {
        Self { name, is_uplink, durable, ..Self::default() }
    }

    pub fn is_up(&self) -> bool {
        self.connection.is_some() && self.waiting.is_none()
    }

    /// The connection is gone, with all that was under way on it.
    pub fn cut(&mut self) {
        self.connection = None;
        self.waiting = None;
        self.to_engine.clear();
        self.to_peer.clear();
        self.inflight.clear();
    }

    /// Forgets the session: an upstream that lost it, a client that starts clean.
    pub fn forget(&mut self) {
        self.has_session = false;
        self.open.clear();
        self.publications.clear();
        self.subscribed = false;
    }

    /// The connection is up: subscribes if the session is new, and sends again what is under way.
    pub fn come_up(&mut self) {
        if !self.is_uplink && !self.subscribed {
            self.to_engine.push_back(subscribe());
        }
        for publication in &self.publications {
            self.to_engine.push_back(if publication.received {
                Packet::PubRel(Ack::new(PacketId(publication.packet_id), ReasonCode::Success))
            } else {
                publish(self.is_uplink, publication, true)
            });
        }
    }

    pub fn publish(&mut self, payload: u64, qos: QoS) {
        let packet_id = loop {
            // A small space, so that ids are used again soon.
            self.last_id = self.last_id % 5 + 1;
            let id = NonZeroU16::new(self.last_id).expect("from 1");
            if !self.publications.iter().any(|publication| publication.packet_id == id) {
                break id;
            }
        };
        let publication = Publication { payload, qos, packet_id, received: false };
        self.to_engine.push_back(publish(self.is_uplink, &publication, false));
        if qos > QoS::AtMostOnce {
            self.publications.push(publication);
        }
    }

    /// Takes the next packet from the engine and answers it.
    pub fn receive(&mut self) -> Heard {
        let Some(packet) = self.to_peer.pop_front() else { return Heard::Nothing };
        match packet {
            Packet::Publish(publish) => self.receive_publish(&publish),
            Packet::PubRel(ack) => {
                self.open.remove(&ack.packet_id.0);
                self.inflight.remove(&ack.packet_id.0);
                self.to_engine.push_back(answer(Packet::PubComp, ack.packet_id));
                Heard::Nothing
            }
            // A full queue takes nothing; the publisher knows.
            Packet::PubAck(ack) | Packet::PubRec(ack) if ack.reason.is_failure() => {
                assert_eq!(ack.reason, ReasonCode::QuotaExceeded);
                self.publications.retain(|p| p.packet_id != ack.packet_id.0);
                Heard::Nothing
            }
            Packet::PubAck(ack) => {
                let at = self.publications.iter().position(|p| p.packet_id == ack.packet_id.0);
                let done = self.publications.remove(at.expect("PUBACK for what was published"));
                assert_eq!(done.qos, QoS::AtLeastOnce, "PUBACK for QoS 2");
                Heard::Accepted { payload: done.payload }
            }
            Packet::PubRec(ack) => {
                self.to_engine.push_back(answer(Packet::PubRel, ack.packet_id));
                let publication =
                    self.publications.iter_mut().find(|p| p.packet_id == ack.packet_id.0);
                let publication = publication.expect("PUBREC for what was published");
                publication.received = true;
                Heard::Accepted { payload: publication.payload }
            }
            Packet::PubComp(ack) => {
                self.publications.retain(|p| p.packet_id != ack.packet_id.0);
                Heard::Nothing
            }
            Packet::SubAck(_) => {
                self.subscribed = true;
                Heard::Subscribed
            }
            other => panic!("{} got {other:?}", self.name),
        }
    }

    fn receive_publish(&mut self, publish: &Publish) -> Heard {
        let text = std::str::from_utf8(&publish.payload).expect("a number");
        let late = text.starts_with(LATE);
        let payload: u64 = text.trim_start_matches(LATE).parse().expect("a number");
        let Some(packet_id) = publish.packet_id else {
            return Heard::Arrived { payload, qos: QoS::AtMostOnce, late };
        };
        assert!(
            self.inflight.insert(packet_id.0),
            "{}: packet id {packet_id:?} is used while it is open on this connection",
            self.name
        );
        assert!(
            self.inflight.len() <= usize::from(self.receive_maximum),
            "{}: more under way than the receive maximum {}",
            self.name,
            self.receive_maximum
        );
        if publish.qos == QoS::AtLeastOnce {
            self.inflight.remove(&packet_id.0);
            self.to_engine.push_back(answer(Packet::PubAck, packet_id));
            return Heard::Arrived { payload, qos: publish.qos, late };
        }
        self.to_engine.push_back(answer(Packet::PubRec, packet_id));
        match self.open.insert(packet_id.0, payload) {
            Some(before) => {
                assert_eq!(before, payload, "{}: {packet_id:?} is given twice", self.name);
                assert!(publish.dup, "{}: a repeat without DUP", self.name);
                Heard::Nothing
            }
            None => Heard::Arrived { payload, qos: publish.qos, late },
        }
    }
}

fn answer(kind: fn(Ack) -> Packet, packet_id: PacketId) -> Packet {
    kind(Ack::new(packet_id, ReasonCode::Success))
}

fn publish(from_upstream: bool, publication: &Publication, dup: bool) -> Packet {
    let topic = if from_upstream { "t/down" } else { "t/lan" };
    Packet::Publish(Publish {
        dup: dup && publication.qos > QoS::AtMostOnce,
        qos: publication.qos,
        retain: false,
        topic: Some(TopicName::new(topic).unwrap()),
        packet_id: (publication.qos > QoS::AtMostOnce).then_some(PacketId(publication.packet_id)),
        payload: Bytes::from(publication.payload.to_string()),
        properties: None,
        message_expiry: None,
        topic_alias: None,
        subscription_ids: Vec::new(),
    })
}

fn subscribe() -> Packet {
    Packet::Subscribe(Subscribe {
        packet_id: PacketId(NonZeroU16::MAX),
        subscription_id: None,
        user_properties: Vec::new(),
        filters: vec![SubscribeFilter {
            filter: TopicFilter::new("t/#").unwrap(),
            qos: QoS::ExactlyOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        }],
    })
}

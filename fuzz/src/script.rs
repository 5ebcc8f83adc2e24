//! core: what a fuzzer's bytes tell clients to do. Whole packets for depth, raw bytes for everything else.

use bytes::BytesMut;
use fieldpost::model::{QoS, TopicFilter, TopicName};
use fieldpost::mqtt::{
    Ack, Connect, ConnectProperties, Packet, PacketId, Publish, ReasonCode, RetainHandling,
    Subscribe, SubscribeFilter, Unsubscribe, Version, Will, encode,
};

/// Clients there are.
pub const CLIENTS: usize = 3;

/// One thing that happens.
#[derive(Debug)]
pub enum Act {
    /// A client sends bytes, on a connection of its own if it has none.
    Bytes(usize, Vec<u8>),
    /// A client says one of its packets.
    Say(usize, Packet),
    /// A client answers the first message it has not answered.
    Answer(usize),
    /// A connection ends without a word.
    Cut(usize),
    /// So many seconds pass.
    Pass(u64),
    /// The store stops answering, or goes on.
    Hold(bool),
    /// A client reads too slowly, or no longer.
    Congest(usize, bool),
    /// The program is killed and starts again.
    Kill,
}

/// Acts drawn from bytes, to their end.
#[derive(Debug)]
pub struct Script<'a>(pub &'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }
}

impl Iterator for Script<'_> {
    type Item = Act;

    fn next(&mut self) -> Option<Act> {
        let code = self.byte()?;
        let client = usize::from(code & 3) % CLIENTS;
        let detail = self.byte().unwrap_or(0);
        Some(match code >> 2 & 0x0f {
            0..=2 => Act::Bytes(client, self.take(detail.into())),
            3 | 4 => Act::Say(client, Packet::Connect(Box::new(connect(client, detail)))),
            5 | 6 => Act::Say(client, subscribe(detail)),
            7 | 8 => Act::Say(client, publish(detail, self.byte().unwrap_or(1))),
            9 | 10 => Act::Answer(client),
            11 if detail < 128 => Act::Say(client, unsubscribe(detail)),
            11 => Act::Say(client, Packet::PubRel(ack(detail % 8 + 1))),
            12 => Act::Cut(client),
            13 if detail < 200 => Act::Pass(detail.into()),
            13 => Act::Congest(client, detail & 1 == 1),
            14 => Act::Hold(detail & 1 == 1),
            _ if detail < 16 => Act::Kill,
            _ => Act::Say(client, Packet::PingReq),
        })
    }
}

/// The bytes of a packet.
pub fn said(packet: &Packet, version: Version) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    // Some packets cannot be said in every version.
    let _ = encode(packet, version, &mut bytes);
    bytes.to_vec()
}

fn connect(client: usize, detail: u8) -> Connect {
    let version = [Version::V31, Version::V311, Version::V5, Version::V5][usize::from(detail & 3)];
    let (clean_start, has_will, is_narrow) = (detail & 4 != 0, detail & 8 != 0, detail & 16 != 0);
    let is_v5 = version == Version::V5;
    let mut properties = ConnectProperties::default();
    if is_v5 {
        properties.session_expiry = (detail & 32 != 0).then_some(100);
        properties.receive_maximum = std::num::NonZeroU16::new(2).filter(|_| is_narrow);
        properties.maximum_packet_size =
            std::num::NonZeroU32::new(60).filter(|_| is_narrow && detail & 64 != 0);
        properties.topic_alias_maximum = (detail & 64 != 0).then_some(2);
        properties.request_problem_information = Some(detail & 128 == 0);
    }
    let will = Will {
        topic: TopicName::new("t/will").expect("a topic"),
        payload: "gone".into(),
        qos: qos(detail >> 5),
        retain: detail & 128 != 0,
        delay: (is_v5 && detail & 64 != 0).then_some(50),
        message_expiry: None,
        properties: fieldpost::model::MessageProperties::default(),
    };
    Connect {
        version,
        bridge: detail & 0x48 == 0x48 && !is_v5,
        clean_start,
        keep_alive: if detail & 128 == 0 { 0 } else { 30 },
        client_id: ["a", "b", "c"][client].into(),
        will: has_will.then_some(will),
        username: None,
        password: None,
        properties,
    }
}

const FILTERS: [&str; 8] =
    ["t/a", "t/#", "+/b", "$share/g/t/#", "#", "$share/h/+/a", "t/+/c", "$SYS/#"];
const TOPICS: [&str; 8] = ["t/a", "t/b", "u/b", "t/x/c", "t", "/", "$SYS/x", "t/a/"];

fn qos(detail: u8) -> QoS {
    QoS::try_from(detail % 3).expect("0 to 2")
}

fn id(detail: u8) -> PacketId {
    PacketId::new(u16::from(detail) + 1).expect("not 0")
}

fn ack(number: u8) -> Ack {
    Ack::new(PacketId::new(number.into()).expect("not 0"), ReasonCode::Success)
}

fn subscribe(detail: u8) -> Packet {
    let filter = FILTERS[usize::from(detail & 7)];
    Packet::Subscribe(Subscribe {
        packet_id: id(detail),
        subscription_id: (detail & 32 != 0).then_some(u32::from(detail)),
        user_properties: Vec::new(),
        filters: vec![SubscribeFilter {
            filter: TopicFilter::new(filter).expect("a filter"),
            qos: qos(detail >> 3 & 3),
            no_local: detail & 64 != 0 && !filter.starts_with("$share"),
            retain_as_published: detail & 128 != 0,
            retain_handling: RetainHandling::Send,
        }],
    })
}

fn unsubscribe(detail: u8) -> Packet {
    let filter = TopicFilter::new(FILTERS[usize::from(detail & 7)]).expect("a filter");
    Packet::Unsubscribe(Unsubscribe {
        packet_id: id(detail),
        user_properties: Vec::new(),
        filters: vec![filter],
    })
}

fn publish(detail: u8, more: u8) -> Packet {
    let qos = qos(detail >> 3 & 3);
    Packet::Publish(Publish {
        dup: qos > QoS::AtMostOnce && more & 8 != 0,
        qos,
        retain: detail & 64 != 0,
        topic: Some(TopicName::new(TOPICS[usize::from(detail & 7)]).expect("a topic")),
        packet_id: (qos > QoS::AtMostOnce).then(|| id(more & 7)),
        payload: vec![b'x'; usize::from(more >> 4) * 20].into(),
        properties: None,
        message_expiry: (detail & 128 != 0).then_some(u32::from(more)),
        topic_alias: None,
        subscription_ids: Vec::new(),
    })
}

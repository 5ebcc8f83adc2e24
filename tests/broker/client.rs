//! shell: a client that says exactly what a test wants, packet by packet.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::num::NonZeroU16;

use bytes::{Bytes, BytesMut};
use fieldpost::model::{QoS, TopicFilter, TopicName};
use fieldpost::mqtt::{
    Ack, ConnAck, Connect, ConnectProperties, DecodeOptions, Disconnect, Packet, PacketId, Publish,
    ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeFilter, Unsubscribe, Version, Will,
    decode, encode,
};

use crate::support::DEADLINE;

pub const VERSIONS: [Version; 2] = [Version::V311, Version::V5];
pub use QoS::{AtLeastOnce as QOS1, AtMostOnce as QOS0, ExactlyOnce as QOS2};

/// A CONNECT that a test may change.
pub fn connect(version: Version, client_id: &str) -> Connect {
    Connect {
        version,
        bridge: false,
        clean_start: true,
        keep_alive: 60,
        client_id: client_id.into(),
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

/// A CONNECT to a session that stays.
pub fn persistent(version: Version, client_id: &str) -> Connect {
    let mut connect = Connect { clean_start: false, ..connect(version, client_id) };
    connect.properties.session_expiry = (version == Version::V5).then_some(3600);
    connect
}

pub fn will(payload: &'static str) -> Will {
    Will {
        topic: topic("will"),
        payload: Bytes::from_static(payload.as_bytes()),
        qos: QOS1,
        retain: false,
        delay: None,
        message_expiry: None,
        properties: fieldpost::model::MessageProperties::default(),
    }
}

pub fn topic(text: &str) -> TopicName {
    TopicName::new(text).expect("a topic")
}

pub fn id(number: u16) -> PacketId {
    PacketId(NonZeroU16::new(number).expect("a packet id"))
}

pub fn publish(qos: QoS, number: u16, at: &str, payload: &str) -> Publish {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: Some(topic(at)),
        packet_id: (qos > QOS0).then(|| id(number)),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        properties: None,
        message_expiry: None,
        topic_alias: None,
        subscription_ids: Vec::new(),
    }
}

pub fn subscription(filter: &str, qos: QoS) -> SubscribeFilter {
    SubscribeFilter {
        filter: TopicFilter::new(filter).expect("a filter"),
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Send,
    }
}

pub struct Client {
    pub stream: TcpStream,
    pub bytes: BytesMut,
    pub version: Version,
}

impl Client {
    /// A connection on which nothing has been said.
    #[track_caller]
    pub fn dial(port: u16, version: Version) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Self { stream, bytes: BytesMut::new(), version }
    }

    /// Connects; gives the CONNACK, whatever it says.
    #[track_caller]
    pub fn try_connect(port: u16, connect: Connect) -> (Self, ConnAck) {
        let mut client = Self::dial(port, connect.version);
        client.send(Packet::Connect(Box::new(connect)));
        match client.receive() {
            Packet::ConnAck(ack) => (client, *ack),
            other => panic!("not a CONNACK: {other:?}"),
        }
    }

    /// Connects; gives whether the session was there.
    #[track_caller]
    pub fn connect(port: u16, connect: Connect) -> (Self, bool) {
        let (client, ack) = Self::try_connect(port, connect);
        assert_eq!(ack.reason, ReasonCode::Success);
        (client, ack.session_present)
    }

    /// A client in memory only, subscribed.
    #[track_caller]
    pub fn subscriber(port: u16, version: Version, name: &str, filter: &str, qos: QoS) -> Self {
        let (mut client, _) = Self::connect(port, connect(version, name));
        client.subscribe(&[subscription(filter, qos)]);
        client
    }

    #[track_caller]
    pub fn send(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        encode(&packet, self.version, &mut bytes).expect("a packet that can be said");
        self.send_bytes(&bytes);
    }

    #[track_caller]
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("bytes leave");
    }

    /// The next packet.
    #[track_caller]
    pub fn receive(&mut self) -> Packet {
        self.read().expect("the connection is open")
    }

    #[track_caller]
    fn read(&mut self) -> Option<Packet> {
        let options = DecodeOptions { version: self.version, packet_bytes_max: 1 << 28 };
        loop {
            if let Some(packet) = decode(&mut self.bytes, &options).expect("MQTT comes back") {
                return Some(packet);
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(count) => self.bytes.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing comes: {error}"),
            }
        }
    }

    /// Waits until the broker has closed; gives what it said before.
    #[track_caller]
    pub fn until_closed(&mut self) -> Vec<Packet> {
        std::iter::from_fn(|| self.read()).collect()
    }

    #[track_caller]
    pub fn receive_publish(&mut self) -> Publish {
        match self.receive() {
            Packet::Publish(publish) => publish,
            other => panic!("not a PUBLISH: {other:?}"),
        }
    }

    #[track_caller]
    pub fn expect(&mut self, packet: Packet) {
        assert_eq!(self.receive(), packet);
    }

    #[track_caller]
    pub fn subscribe(&mut self, filters: &[SubscribeFilter]) -> Vec<ReasonCode> {
        self.subscribe_with_id(filters, None)
    }

    #[track_caller]
    pub fn subscribe_with_id(
        &mut self,
        filters: &[SubscribeFilter],
        subscription_id: Option<u32>,
    ) -> Vec<ReasonCode> {
        self.send(Packet::Subscribe(Subscribe {
            packet_id: id(60_000),
            subscription_id,
            user_properties: Vec::new(),
            filters: filters.to_vec(),
        }));
        match self.receive() {
            Packet::SubAck(SubAck { packet_id, reasons, .. }) => {
                assert_eq!(packet_id, id(60_000));
                reasons
            }
            other => panic!("not a SUBACK: {other:?}"),
        }
    }

    /// Publishes and waits until the broker has taken responsibility.
    #[track_caller]
    pub fn publish(&mut self, qos: QoS, number: u16, at: &str, payload: &str) {
        self.send(Packet::Publish(publish(qos, number, at, payload)));
        match qos {
            QOS0 => assert_eq!(self.so_far(), []),
            QOS1 => self.expect(Packet::PubAck(ok(number))),
            QOS2 => {
                self.expect(Packet::PubRec(ok(number)));
                self.send(Packet::PubRel(ok(number)));
                self.expect(Packet::PubComp(ok(number)));
            }
        }
    }

    /// All the session had to say until now. The question goes through the session, so its answer comes after that.
    #[track_caller]
    pub fn so_far(&mut self) -> Vec<Packet> {
        self.send(Packet::Unsubscribe(Unsubscribe {
            packet_id: id(61_000),
            user_properties: Vec::new(),
            filters: vec![TopicFilter::new("nothing/like/it").unwrap()],
        }));
        let mut packets = Vec::new();
        loop {
            match self.receive() {
                Packet::UnsubAck(ack) if ack.packet_id == id(61_000) => return packets,
                packet => packets.push(packet),
            }
        }
    }

    /// The payloads of so many messages, which may have to be fetched first, and that no more come.
    #[track_caller]
    pub fn fetched(&mut self, count: usize) -> Vec<String> {
        let text = |publish: Publish| String::from_utf8_lossy(&publish.payload).into_owned();
        let mut payloads: Vec<String> = (0..count).map(|_| text(self.receive_publish())).collect();
        payloads.extend(self.payloads());
        payloads
    }

    /// The payloads of all messages that came until now.
    #[track_caller]
    pub fn payloads(&mut self) -> Vec<String> {
        let text = |packet| match packet {
            Packet::Publish(publish) => String::from_utf8_lossy(&publish.payload).into_owned(),
            other => panic!("not a PUBLISH: {other:?}"),
        };
        self.so_far().into_iter().map(text).collect()
    }

    #[track_caller]
    pub fn disconnect(mut self, reason: ReasonCode, session_expiry: Option<u32>) {
        let disconnect = Disconnect { session_expiry, ..Disconnect::new(reason) };
        self.send(Packet::Disconnect(disconnect));
        assert_eq!(self.until_closed(), []);
    }

    /// Ends the connection without a word and waits until the broker has seen it.
    #[track_caller]
    pub fn cut(mut self) {
        self.stream.shutdown(Shutdown::Write).expect("it was open");
        self.until_closed();
    }
}

pub fn ok(number: u16) -> Ack {
    Ack::new(id(number), ReasonCode::Success)
}

//! core: one packet model for MQTT 3.1, 3.1.1 and 5.0; what a version lacks stays empty.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use bytes::Bytes;

use super::codec::Kind;
use super::{ReasonCode, disconnect};
use crate::model::{MessageProperties, QoS, TopicFilter, TopicName};

/// The protocol versions that CONNECT can name (MQTT 5.0 section 3.1.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// MQTT 3.1: protocol name `MQIsdp`, level 3.
    V31,
    /// MQTT 3.1.1: level 4.
    V311,
    /// MQTT 5.0: level 5.
    V5,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V31 => "MQTT 3.1",
            Self::V311 => "MQTT 3.1.1",
            Self::V5 => "MQTT 5.0",
        })
    }
}

/// A packet id, 1 to 65,535 (MQTT 5.0 section 2.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(pub NonZeroU16);

impl PacketId {
    /// Takes 1 to 65,535.
    #[must_use]
    pub fn new(id: u16) -> Option<Self> {
        NonZeroU16::new(id).map(Self)
    }

    /// The id as a number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

/// User properties in wire order (MQTT 5.0 section 2.2.2.2).
pub type UserProperties = Vec<(Arc<str>, Arc<str>)>;

/// Any MQTT control packet (MQTT 5.0 section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// 3.1 CONNECT, client to server.
    Connect(Box<Connect>),
    /// 3.2 CONNACK, server to client.
    ConnAck(Box<ConnAck>),
    /// 3.3 PUBLISH, both ways.
    Publish(Publish),
    /// 3.4 PUBACK, both ways.
    PubAck(Ack),
    /// 3.5 PUBREC, both ways.
    PubRec(Ack),
    /// 3.6 PUBREL, both ways.
    PubRel(Ack),
    /// 3.7 PUBCOMP, both ways.
    PubComp(Ack),
    /// 3.8 SUBSCRIBE, client to server.
    Subscribe(Subscribe),
    /// 3.9 SUBACK, server to client.
    SubAck(SubAck),
    /// 3.10 UNSUBSCRIBE, client to server.
    Unsubscribe(Unsubscribe),
    /// 3.11 UNSUBACK, server to client.
    UnsubAck(SubAck),
    /// 3.12 PINGREQ, client to server.
    PingReq,
    /// 3.13 PINGRESP, server to client.
    PingResp,
    /// 3.14 DISCONNECT, both ways in 5.0, client to server before.
    Disconnect(Disconnect),
    /// 3.15 AUTH, both ways, 5.0 only.
    Auth(Auth),
}

impl Packet {
    /// The specification's name for this type of packet, as in `CONNECT`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        Kind::of(self).name()
    }

    /// Whether a client may send this packet: its type (2.1.2), no subscription ids in PUBLISH [MQTT-3.3.4-6], and
    /// only a client's reasons and properties in DISCONNECT and AUTH (3.14.2, 3.15.2.1).
    #[must_use]
    pub fn sent_by_client(&self) -> bool {
        match self {
            Self::Connect(_)
            | Self::PubAck(_)
            | Self::PubRec(_)
            | Self::PubRel(_)
            | Self::PubComp(_)
            | Self::Subscribe(_)
            | Self::Unsubscribe(_)
            | Self::PingReq => true,
            Self::ConnAck(_) | Self::SubAck(_) | Self::UnsubAck(_) | Self::PingResp => false,
            Self::Publish(publish) => publish.subscription_ids.is_empty(),
            Self::Disconnect(disconnect) => disconnect::sent_by_client(disconnect),
            Self::Auth(auth) => disconnect::auth_sent_by_client(auth),
        }
    }

    /// Whether a server may send this packet: its type (2.1.2), and only a server's reasons and properties in
    /// DISCONNECT and AUTH (3.14.2, 3.15.2.1). Before 5.0 a server sends no DISCONNECT at all.
    #[must_use]
    pub fn sent_by_server(&self) -> bool {
        match self {
            Self::ConnAck(_)
            | Self::Publish(_)
            | Self::PubAck(_)
            | Self::PubRec(_)
            | Self::PubRel(_)
            | Self::PubComp(_)
            | Self::SubAck(_)
            | Self::UnsubAck(_)
            | Self::PingResp => true,
            Self::Connect(_) | Self::Subscribe(_) | Self::Unsubscribe(_) | Self::PingReq => false,
            Self::Disconnect(disconnect) => disconnect::sent_by_server(disconnect),
            Self::Auth(auth) => disconnect::auth_sent_by_server(auth),
        }
    }
}

/// 3.1 CONNECT.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// The version the client speaks.
    pub version: Version,
    /// Whether the client is a broker that bridges: bit 7 of the level, which mosquitto made of it before 5.0.
    pub bridge: bool,
    /// Clean start (5.0) or clean session (3.x).
    pub clean_start: bool,
    /// Keep alive in seconds; 0 turns it off.
    pub keep_alive: u16,
    /// The client's name; empty asks the server to assign one.
    pub client_id: Arc<str>,
    /// The will, if any.
    pub will: Option<Will>,
    /// User name, if any.
    pub username: Option<Arc<str>>,
    /// Password, if any. Never logged.
    pub password: Option<Bytes>,
    /// Properties of 5.0, empty before.
    pub properties: ConnectProperties,
}

impl std::fmt::Debug for Connect {
    /// Everything but the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("bridge", &self.bridge)
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("client_id", &self.client_id)
            .field("will", &self.will)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("properties", &self.properties)
            .finish()
    }
}

/// 3.1.2.11 CONNECT properties.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConnectProperties {
    /// Session expiry interval in seconds; `u32::MAX` never expires.
    pub session_expiry: Option<u32>,
    /// Receive maximum; absent means 65,535.
    pub receive_maximum: Option<NonZeroU16>,
    /// The largest packet the client takes, in bytes.
    pub maximum_packet_size: Option<NonZeroU32>,
    /// How many topic aliases the client accepts; absent means 0.
    pub topic_alias_maximum: Option<u16>,
    /// Whether the client wants response information.
    pub request_response_information: Option<bool>,
    /// Whether the client takes reason strings and user properties on every packet.
    pub request_problem_information: Option<bool>,
    /// User properties.
    pub user_properties: UserProperties,
    /// Method of enhanced authentication.
    pub authentication_method: Option<Arc<str>>,
    /// Data of enhanced authentication.
    pub authentication_data: Option<Bytes>,
}

/// 3.1.3.2 to 3.1.3.4: the message the server publishes when this client is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Where.
    pub topic: TopicName,
    /// What.
    pub payload: Bytes,
    /// How.
    pub qos: QoS,
    /// Whether retained.
    pub retain: bool,
    /// Will delay interval in seconds.
    pub delay: Option<u32>,
    /// Message expiry interval in seconds.
    pub message_expiry: Option<u32>,
    /// Properties that travel with the will message.
    pub properties: MessageProperties,
}

/// 3.2 CONNACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnAck {
    /// Whether the server still had the session.
    pub session_present: bool,
    /// Outcome. Return codes of 3.x are mapped to their 5.0 reason and back.
    pub reason: ReasonCode,
    /// Properties of 5.0.
    pub properties: ConnAckProperties,
}

/// 3.2.2.3 CONNACK properties.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConnAckProperties {
    /// The session expiry the server uses, in seconds.
    pub session_expiry: Option<u32>,
    /// Receive maximum of the server; absent means 65,535.
    pub receive_maximum: Option<NonZeroU16>,
    /// The highest QoS the server takes: 0 or 1; absent means 2.
    pub maximum_qos: Option<QoS>,
    /// Whether the server keeps retained messages; absent means it does.
    pub retain_available: Option<bool>,
    /// The largest packet the server takes, in bytes.
    pub maximum_packet_size: Option<NonZeroU32>,
    /// The client id the server made up.
    pub assigned_client_id: Option<Arc<str>>,
    /// How many topic aliases the server accepts; absent means 0.
    pub topic_alias_maximum: Option<u16>,
    /// Words for a person.
    pub reason_string: Option<Arc<str>>,
    /// User properties.
    pub user_properties: UserProperties,
    /// Whether wildcard filters are taken; absent means they are.
    pub wildcard_subscription_available: Option<bool>,
    /// Whether subscription ids are taken; absent means they are.
    pub subscription_ids_available: Option<bool>,
    /// Whether shared subscriptions are taken; absent means they are.
    pub shared_subscription_available: Option<bool>,
    /// The keep alive the client must use instead of its own, in seconds.
    pub server_keep_alive: Option<u16>,
    /// Basis for response topics.
    pub response_information: Option<Arc<str>>,
    /// Another server to use.
    pub server_reference: Option<Arc<str>>,
    /// Method of enhanced authentication.
    pub authentication_method: Option<Arc<str>>,
    /// Data of enhanced authentication.
    pub authentication_data: Option<Bytes>,
}

/// 3.3 PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Whether this packet may have been sent before.
    pub dup: bool,
    /// Delivery asked for.
    pub qos: QoS,
    /// Retain flag.
    pub retain: bool,
    /// The topic; `None` only in 5.0, when the topic alias stands for it.
    pub topic: Option<TopicName>,
    /// Present exactly when `qos` is above 0.
    pub packet_id: Option<PacketId>,
    /// The message itself.
    pub payload: Bytes,
    /// Properties that travel unchanged from publisher to subscriber; `None` if there are none.
    pub properties: Option<Arc<MessageProperties>>,
    /// Message expiry interval in seconds.
    pub message_expiry: Option<u32>,
    /// Topic alias.
    pub topic_alias: Option<NonZeroU16>,
    /// Subscription ids (1 to 268,435,455), only from server to client.
    pub subscription_ids: Vec<u32>,
}

/// 3.4 to 3.7: PUBACK, PUBREC, PUBREL, PUBCOMP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// Which message.
    pub packet_id: PacketId,
    /// Outcome; always success before 5.0.
    pub reason: ReasonCode,
    /// Words for a person.
    pub reason_string: Option<Arc<str>>,
    /// User properties.
    pub user_properties: UserProperties,
}

impl Ack {
    /// An acknowledgement with a reason and nothing else.
    #[must_use]
    pub fn new(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self { packet_id, reason, reason_string: None, user_properties: Vec::new() }
    }
}

/// 3.8 SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Packet id.
    pub packet_id: PacketId,
    /// Subscription id (1 to 268,435,455) for all filters in this packet.
    pub subscription_id: Option<u32>,
    /// User properties.
    pub user_properties: UserProperties,
    /// At least one.
    pub filters: Vec<SubscribeFilter>,
}

/// One filter of a SUBSCRIBE with its options (3.8.3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeFilter {
    /// The filter, also `$share/group/filter`.
    pub filter: TopicFilter,
    /// The highest QoS wanted.
    pub qos: QoS,
    /// No local: not what this client published itself (5.0).
    pub no_local: bool,
    /// Retain as published (5.0).
    pub retain_as_published: bool,
    /// Retain handling (5.0).
    pub retain_handling: RetainHandling,
}

/// 3.8.3.1: what a new subscription is sent of the retained messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum RetainHandling {
    /// Send them at each subscribe.
    #[default]
    Send = 0,
    /// Send them only if the subscription did not exist.
    SendIfNew = 1,
    /// Do not send them.
    DoNotSend = 2,
}

/// 3.9 SUBACK and 3.11 UNSUBACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubAck {
    /// Which request.
    pub packet_id: PacketId,
    /// Words for a person.
    pub reason_string: Option<Arc<str>>,
    /// User properties.
    pub user_properties: UserProperties,
    /// One a filter, in their order; an UNSUBACK before 5.0 has none.
    pub reasons: Vec<ReasonCode>,
}

/// 3.10 UNSUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Packet id.
    pub packet_id: PacketId,
    /// User properties.
    pub user_properties: UserProperties,
    /// At least one.
    pub filters: Vec<TopicFilter>,
}

/// 3.14 DISCONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    /// Why; always normal disconnection before 5.0.
    pub reason: ReasonCode,
    /// A last change of the session expiry, in seconds.
    pub session_expiry: Option<u32>,
    /// Words for a person.
    pub reason_string: Option<Arc<str>>,
    /// User properties.
    pub user_properties: UserProperties,
    /// Another server to use.
    pub server_reference: Option<Arc<str>>,
}

impl Disconnect {
    /// A DISCONNECT with a reason and nothing else.
    #[must_use]
    pub fn new(reason: ReasonCode) -> Self {
        Self {
            reason,
            session_expiry: None,
            reason_string: None,
            user_properties: Vec::new(),
            server_reference: None,
        }
    }
}

/// 3.15 AUTH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// Success, continue, or re-authenticate.
    pub reason: ReasonCode,
    /// Method.
    pub method: Option<Arc<str>>,
    /// Data.
    pub data: Option<Bytes>,
    /// Words for a person.
    pub reason_string: Option<Arc<str>>,
    /// User properties.
    pub user_properties: UserProperties,
}

//! What encode refuses, and that it then writes nothing.

use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use fieldpost::model::{QoS, TopicFilter, TopicName};
use fieldpost::mqtt::{
    Ack, Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect, EncodeError,
    Packet, PacketId, Publish, ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeFilter,
    Unsubscribe, Version, encode,
};

use crate::notation::{ALL, V3};

fn refused(packet: &Packet, version: Version) -> EncodeError {
    let mut out = BytesMut::new();
    let error = encode(packet, version, &mut out).expect_err("refused");
    assert!(out.is_empty(), "nothing is written");
    error
}

fn said(packet: &Packet, version: Version) {
    assert_eq!(encode(packet, version, &mut BytesMut::new()), Ok(()), "{packet:?}");
}

fn id() -> PacketId {
    PacketId::new(1).expect("not 0")
}

fn publish() -> Publish {
    Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: Some(TopicName::new("a").expect("a topic")),
        packet_id: None,
        payload: Bytes::new(),
        properties: None,
        message_expiry: None,
        topic_alias: None,
        subscription_ids: Vec::new(),
    }
}

fn connect(version: Version) -> Connect {
    Connect {
        version,
        bridge: false,
        clean_start: true,
        keep_alive: 0,
        client_id: "c".into(),
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

fn connack(reason: ReasonCode) -> ConnAck {
    ConnAck { session_present: false, reason, properties: ConnAckProperties::default() }
}

fn subscribe(filter: &str, no_local: bool) -> Subscribe {
    Subscribe {
        packet_id: id(),
        subscription_id: None,
        user_properties: Vec::new(),
        filters: vec![SubscribeFilter {
            filter: TopicFilter::new(filter).expect("a filter"),
            qos: QoS::AtMostOnce,
            no_local,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        }],
    }
}

fn suback(reasons: Vec<ReasonCode>) -> SubAck {
    SubAck { packet_id: id(), reason_string: None, user_properties: Vec::new(), reasons }
}

#[test]
fn a_string_above_65535_bytes_is_refused() {
    for &version in ALL {
        let client_id: Arc<str> = "c".repeat(65_535).into();
        said(&Packet::Connect(Box::new(Connect { client_id, ..connect(version) })), version);
        let client_id: Arc<str> = "c".repeat(65_536).into();
        let packet = Packet::Connect(Box::new(Connect { client_id, ..connect(version) }));
        assert_eq!(refused(&packet, version), EncodeError::TooLong { bytes: 65_536 });
    }
    let ack = Ack {
        reason_string: Some("r".repeat(70_000).into()),
        ..Ack::new(id(), ReasonCode::Success)
    };
    assert_eq!(refused(&Packet::PubAck(ack), Version::V5), EncodeError::TooLong { bytes: 70_000 });
}

#[test]
fn a_null_character_is_refused() {
    let packet = Packet::Connect(Box::new(Connect {
        username: Some("a\0b".into()),
        ..connect(Version::V311)
    }));
    assert_eq!(refused(&packet, Version::V311), EncodeError::NullCharacter);
    let packet = Packet::Disconnect(Disconnect {
        reason_string: Some("\0".into()),
        ..Disconnect::new(ReasonCode::Success)
    });
    assert_eq!(refused(&packet, Version::V5), EncodeError::NullCharacter);
    said(&packet, Version::V311);
}

#[test]
fn a_body_above_the_largest_length_is_refused() {
    let most = 268_435_455 - 3;
    let payload = Bytes::from(vec![0; most + 1]);
    let packet = Packet::Publish(Publish { payload, ..publish() });
    let error = EncodeError::PacketTooLarge { bytes: 268_435_456 };
    assert_eq!(refused(&packet, Version::V311), error);
}

#[test]
fn a_publish_that_contradicts_itself_is_refused() {
    for &version in ALL {
        let packet = Packet::Publish(Publish { packet_id: Some(id()), ..publish() });
        assert_eq!(refused(&packet, version), EncodeError::PacketId);
        let packet = Packet::Publish(Publish { qos: QoS::AtLeastOnce, ..publish() });
        assert_eq!(refused(&packet, version), EncodeError::PacketId);
        let packet = Packet::Publish(Publish { dup: true, ..publish() });
        assert_eq!(refused(&packet, version), EncodeError::DupAtQoS0);
        let packet = Packet::Publish(Publish { topic: None, ..publish() });
        assert_eq!(refused(&packet, version), EncodeError::TopicMissing);
    }
    let aliased =
        Packet::Publish(Publish { topic: None, topic_alias: Some(NonZeroU16::MIN), ..publish() });
    said(&aliased, Version::V5);
    assert_eq!(refused(&aliased, Version::V311), EncodeError::TopicMissing);
    for id in [0, 268_435_456, u32::MAX] {
        let packet = Packet::Publish(Publish { subscription_ids: vec![1, id], ..publish() });
        assert_eq!(refused(&packet, Version::V5), EncodeError::SubscriptionId { id });
        said(&packet, Version::V311);
    }
}

#[test]
fn a_connect_that_contradicts_itself_is_refused() {
    for &version in V3 {
        let password = Some(Bytes::from_static(b"p"));
        let packet = Packet::Connect(Box::new(Connect { password, ..connect(version) }));
        assert_eq!(refused(&packet, version), EncodeError::PasswordWithoutUsername);
    }
    let packet = Packet::Connect(Box::new(Connect {
        clean_start: false,
        client_id: "".into(),
        ..connect(Version::V311)
    }));
    assert_eq!(refused(&packet, Version::V311), EncodeError::ClientIdMissing);
    let properties = ConnectProperties {
        authentication_data: Some(Bytes::new()),
        ..ConnectProperties::default()
    };
    let packet = Packet::Connect(Box::new(Connect { properties, ..connect(Version::V5) }));
    let error = EncodeError::AuthenticationMethodMissing { packet: "CONNECT" };
    assert_eq!(refused(&packet, Version::V5), error);
}

#[test]
fn a_connack_says_only_what_its_version_knows() {
    let packet = Packet::ConnAck(Box::new(connack(ReasonCode::Banned)));
    said(&packet, Version::V5);
    for &version in V3 {
        let error = EncodeError::Reason { packet: "CONNACK", reason: ReasonCode::Banned };
        assert_eq!(refused(&packet, version), error);
    }
    let packet = Packet::ConnAck(Box::new(connack(ReasonCode::KeepAliveTimeout)));
    let error = EncodeError::Reason { packet: "CONNACK", reason: ReasonCode::KeepAliveTimeout };
    assert_eq!(refused(&packet, Version::V5), error);
    let packet = Packet::ConnAck(Box::new(ConnAck {
        session_present: true,
        ..connack(ReasonCode::NotAuthorized)
    }));
    assert_eq!(refused(&packet, Version::V5), EncodeError::SessionPresent);
    let mut connack = connack(ReasonCode::Success);
    connack.properties.maximum_qos = Some(QoS::ExactlyOnce);
    assert_eq!(refused(&Packet::ConnAck(Box::new(connack)), Version::V5), EncodeError::MaximumQoS);
}

#[test]
fn acknowledgements_have_only_their_own_reasons() {
    let ack = |reason| Ack::new(id(), reason);
    let (foreign, lost) = (ReasonCode::Banned, ReasonCode::PacketIdNotFound);
    for (packet, reason) in [
        (Packet::PubAck(ack(lost)), lost),
        (Packet::PubRec(ack(lost)), lost),
        (Packet::PubRel(ack(foreign)), foreign),
        (Packet::PubComp(ack(foreign)), foreign),
        (Packet::SubAck(suback(vec![foreign])), foreign),
        (Packet::UnsubAck(suback(vec![foreign])), foreign),
    ] {
        let error = EncodeError::Reason { packet: packet.name(), reason };
        assert_eq!(refused(&packet, Version::V5), error);
    }
    said(&Packet::PubComp(ack(lost)), Version::V311);
    said(&Packet::UnsubAck(suback(Vec::new())), Version::V311);
}

#[test]
fn empty_lists_are_refused() {
    for &version in ALL {
        let packet = Packet::Subscribe(Subscribe { filters: Vec::new(), ..subscribe("a", false) });
        assert_eq!(refused(&packet, version), EncodeError::PayloadEmpty { packet: "SUBSCRIBE" });
        let packet = Packet::Unsubscribe(Unsubscribe {
            packet_id: id(),
            user_properties: Vec::new(),
            filters: Vec::new(),
        });
        assert_eq!(refused(&packet, version), EncodeError::PayloadEmpty { packet: "UNSUBSCRIBE" });
        let packet = Packet::SubAck(suback(Vec::new()));
        assert_eq!(refused(&packet, version), EncodeError::PayloadEmpty { packet: "SUBACK" });
    }
    let packet = Packet::UnsubAck(suback(Vec::new()));
    assert_eq!(refused(&packet, Version::V5), EncodeError::PayloadEmpty { packet: "UNSUBACK" });
}

#[test]
fn shared_subscriptions_follow_their_rules_in_5() {
    for filter in ["$share/g", "$share//a", "$share/+/a", "$share/g/"] {
        let packet = Packet::Subscribe(subscribe(filter, false));
        assert_eq!(refused(&packet, Version::V5), EncodeError::ShareName { packet: "SUBSCRIBE" });
        said(&packet, Version::V311);
    }
    let packet = Packet::Subscribe(subscribe("$share/g/a", true));
    assert_eq!(refused(&packet, Version::V5), EncodeError::ShareNoLocal);
    let unsubscribe = Packet::Unsubscribe(Unsubscribe {
        packet_id: id(),
        user_properties: Vec::new(),
        filters: vec![TopicFilter::new("$share/g").expect("a filter")],
    });
    let error = EncodeError::ShareName { packet: "UNSUBSCRIBE" };
    assert_eq!(refused(&unsubscribe, Version::V5), error);
    let packet = Packet::Subscribe(Subscribe { subscription_id: Some(0), ..subscribe("a", false) });
    assert_eq!(refused(&packet, Version::V5), EncodeError::SubscriptionId { id: 0 });
}

#[test]
fn before_5_a_disconnect_has_no_reason_and_there_is_no_auth() {
    for &version in V3 {
        let reason = ReasonCode::DisconnectWithWill;
        let packet = Packet::Disconnect(Disconnect::new(reason));
        let error = EncodeError::Reason { packet: "DISCONNECT", reason };
        assert_eq!(refused(&packet, version), error);
    }
    let mut auth = Auth {
        reason: ReasonCode::ContinueAuthentication,
        method: None,
        data: None,
        reason_string: None,
        user_properties: Vec::new(),
    };
    let error = EncodeError::AuthenticationMethodMissing { packet: "AUTH" };
    assert_eq!(refused(&Packet::Auth(auth.clone()), Version::V5), error);
    auth.method = Some("m".into());
    said(&Packet::Auth(auth.clone()), Version::V5);
    let version = Version::V311;
    let error = EncodeError::NotInVersion { what: "AUTH", version };
    assert_eq!(refused(&Packet::Auth(auth.clone()), version), error);
    auth.reason = ReasonCode::Banned;
    let error = EncodeError::Reason { packet: "AUTH", reason: ReasonCode::Banned };
    assert_eq!(refused(&Packet::Auth(auth), Version::V5), error);
}

//! The client's side of a session, packet by packet.

use bytes::Bytes;

use super::*;
use crate::mqtt::{Connect, ConnectProperties};

#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
fn start() -> Instant {
    Instant::now()
}

fn connect(version: Version) -> Connect {
    Connect {
        bridge: false,
        version,
        clean_start: true,
        keep_alive: 60,
        client_id: "c".into(),
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

/// A session that is up; the broker says `properties`.
fn up(window: u16, session_present: bool, properties: ConnAckProperties) -> Session {
    let settings = ClientSettings { connect: connect(Version::V5), window: Some(window) };
    let mut session = Session::new(settings, start());
    assert!(matches!(session.poll_packet(), Some(Packet::Connect(_))));
    let reason = ReasonCode::Success;
    let ack = Packet::ConnAck(Box::new(ConnAck { session_present, reason, properties }));
    session.handle_packet(ack, start()).expect("accepted");
    assert!(matches!(session.poll_event(), Some(ClientEvent::Connected(_))));
    session
}

fn message(qos: QoS, payload: &'static str) -> Publish {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: TopicName::new("t").ok(),
        packet_id: None,
        payload: Bytes::from_static(payload.as_bytes()),
        properties: None,
        message_expiry: None,
        topic_alias: None,
        subscription_ids: Vec::new(),
    }
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("not 0")
}

fn ok(number: u16) -> Ack {
    Ack::new(id(number), ReasonCode::Success)
}

/// What goes out, shortly.
#[allow(clippy::wildcard_enum_match_arm, reason = "the others are their names")]
fn sent(session: &mut Session) -> Vec<String> {
    let told = |packet: Packet| match packet {
        Packet::Publish(publish) => {
            let id = publish.packet_id.map_or(0, PacketId::get);
            format!("PUBLISH {id} {}", String::from_utf8_lossy(&publish.payload))
        }
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            format!("ACK {}", ack.packet_id.get())
        }
        other => other.name().to_owned(),
    };
    std::iter::from_fn(|| session.poll_packet()).map(told).collect()
}

#[test]
fn no_more_is_under_way_than_the_window_and_the_broker_allow() {
    let receive_maximum = NonZeroU16::new(2);
    let mut session =
        up(9, false, ConnAckProperties { receive_maximum, ..ConnAckProperties::default() });
    for payload in ["a", "b", "c"] {
        session.publish(message(QoS::AtLeastOnce, payload)).expect("taken");
    }
    assert_eq!(sent(&mut session), ["PUBLISH 1 a", "PUBLISH 2 b"]);
    assert_eq!(session.waiting(), 1);
    session.handle_packet(Packet::PubAck(ok(2)), start()).expect("fine");
    assert_eq!(sent(&mut session), ["PUBLISH 3 c"]);
    assert!(matches!(session.poll_event(), Some(ClientEvent::Settled { .. })));
    session.handle_packet(Packet::PubAck(ok(1)), start()).expect("fine");
    session.handle_packet(Packet::PubAck(ok(3)), start()).expect("fine");
    assert!(session.is_settled());
}

#[test]
fn a_message_at_qos_2_is_settled_by_its_pubcomp() {
    let mut session = up(9, false, ConnAckProperties::default());
    session.publish(message(QoS::ExactlyOnce, "a")).expect("taken");
    assert_eq!(sent(&mut session), ["PUBLISH 1 a"]);
    session.handle_packet(Packet::PubRec(ok(1)), start()).expect("fine");
    assert_eq!(sent(&mut session), ["ACK 1"]);
    assert!(!session.is_settled());
    session.handle_packet(Packet::PubComp(ok(1)), start()).expect("fine");
    assert!(session.is_settled());
    assert!(
        matches!(session.poll_event(), Some(ClientEvent::Settled { reason, .. }) if reason == ReasonCode::Success)
    );
}

#[test]
fn ids_an_earlier_process_may_have_left_open_are_released_before_they_are_used() {
    let mut session = up(9, true, ConnAckProperties::default());
    session.publish(message(QoS::ExactlyOnce, "a")).expect("taken");
    assert_eq!(sent(&mut session), ["ACK 1"], "PUBREL goes first");
    let not_found = Ack::new(id(1), ReasonCode::PacketIdNotFound);
    session.handle_packet(Packet::PubComp(not_found), start()).expect("fine");
    assert_eq!(sent(&mut session), ["PUBLISH 1 a"]);
}

#[test]
fn a_repeat_at_qos_2_is_acknowledged_and_handed_on_once_also_on_the_next_connection() {
    let mut session = up(9, false, ConnAckProperties::default());
    let publish = Publish { packet_id: Some(id(7)), ..message(QoS::ExactlyOnce, "a") };
    session.handle_packet(Packet::Publish(publish.clone()), start()).expect("fine");
    assert_eq!(session.poll_event(), Some(ClientEvent::Message(publish.clone())));
    assert!(sent(&mut session).is_empty(), "it is acknowledged when it is where it should be");
    session.handle_dialled(start());
    assert_eq!(sent(&mut session), ["CONNECT"]);
    let (session_present, reason) = (true, ReasonCode::Success);
    let properties = ConnAckProperties::default();
    let ack = Packet::ConnAck(Box::new(ConnAck { session_present, reason, properties }));
    session.handle_packet(ack, start()).expect("accepted");
    assert!(matches!(session.poll_event(), Some(ClientEvent::Connected(_))));
    let repeat = Publish { dup: true, ..publish };
    session.handle_packet(Packet::Publish(repeat), start()).expect("fine");
    assert_eq!(session.poll_event(), None);
    assert_eq!(sent(&mut session), ["ACK 7"]);
    session.handle_packet(Packet::PubRel(ok(7)), start()).expect("fine");
    assert_eq!(sent(&mut session), ["ACK 7"]);
}

#[test]
fn what_the_broker_does_not_take_is_not_sent() {
    let properties = ConnAckProperties {
        maximum_qos: Some(QoS::AtLeastOnce),
        retain_available: Some(false),
        maximum_packet_size: std::num::NonZeroU32::new(12),
        ..ConnAckProperties::default()
    };
    let mut session = up(9, false, properties);
    let high = session.publish(message(QoS::ExactlyOnce, "a"));
    assert!(matches!(high, Err(ClientError::QoSTooHigh { most: QoS::AtLeastOnce })));
    let retained = Publish { retain: true, ..message(QoS::AtMostOnce, "a") };
    assert!(matches!(session.publish(retained), Err(ClientError::NoRetained)));
    let large = session.publish(message(QoS::AtLeastOnce, "too large"));
    assert!(matches!(large, Err(ClientError::TooLarge { most: 12, .. })));
    session.publish(message(QoS::AtLeastOnce, "abc")).expect("12 bytes");
    assert_eq!(sent(&mut session), ["PUBLISH 1 abc"]);
}

//! Messages both ways at each QoS.

use fieldpost::mqtt::{Connect, ConnectProperties, Packet, ReasonCode, Version};

use crate::client::{
    Client, QOS0, QOS1, QOS2, VERSIONS, connect, id, ok, persistent, publish, subscription,
};
use crate::gateway::Gateway;

#[test]
fn each_qos_arrives_at_the_lower_of_both_sides() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        for wanted in [QOS0, QOS1, QOS2] {
            let mut subscriber = Client::subscriber(gateway.port, version, "s", "t", wanted);
            let (mut publisher, _) = Client::connect(gateway.port, connect(version, "p"));
            for (number, qos) in [(1, QOS0), (2, QOS1), (3, QOS2)] {
                publisher.publish(qos, number, "t", "x");
                let got = subscriber.receive_publish();
                assert_eq!(got.qos, qos.min(wanted));
                assert!(!got.dup && !got.retain);
                match (got.qos, got.packet_id) {
                    (QOS0, None) => {}
                    (QOS1, Some(packet_id)) => {
                        subscriber.send(Packet::PubAck(ok(packet_id.0.get())))
                    }
                    (QOS2, Some(packet_id)) => {
                        subscriber.send(Packet::PubRec(ok(packet_id.0.get())));
                        subscriber.expect(Packet::PubRel(ok(packet_id.0.get())));
                        subscriber.send(Packet::PubComp(ok(packet_id.0.get())));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

#[test]
fn a_repeat_before_pubrel_is_answered_and_not_delivered_again() {
    for version in VERSIONS {
        for connect in [connect(version, "p"), persistent(version, "p")] {
            let gateway = Gateway::start();
            let mut subscriber = Client::subscriber(gateway.port, version, "s", "t", QOS0);
            let (mut publisher, _) = Client::connect(gateway.port, connect);
            for dup in [false, true, true] {
                publisher.send(Packet::Publish(fieldpost::mqtt::Publish {
                    dup,
                    ..publish(QOS2, 7, "t", "once")
                }));
                publisher.expect(Packet::PubRec(ok(7)));
            }
            for known in [true, false] {
                publisher.send(Packet::PubRel(ok(7)));
                let Packet::PubComp(done) = publisher.receive() else { panic!("no PUBCOMP") };
                let reason = if known || version == Version::V311 {
                    ReasonCode::Success
                } else {
                    ReasonCode::PacketIdNotFound
                };
                assert_eq!((done.packet_id, done.reason), (id(7), reason));
            }
            publisher.publish(QOS2, 7, "t", "twice");
            assert_eq!(subscriber.payloads(), ["once", "twice"]);
        }
    }
}

#[test]
fn no_more_are_under_way_than_the_client_takes() {
    let gateway = Gateway::start();
    let one =
        ConnectProperties { receive_maximum: std::num::NonZeroU16::new(1), ..Default::default() };
    let narrow = Connect { properties: one, ..connect(Version::V5, "s") };
    let (mut subscriber, _) = Client::connect(gateway.port, narrow);
    subscriber.subscribe(&[subscription("t", QOS1)]);
    let (mut publisher, _) = Client::connect(gateway.port, connect(Version::V5, "p"));
    for number in 1..4 {
        publisher.publish(QOS1, number, "t", &number.to_string());
    }
    for number in 1..4 {
        let got = subscriber.receive_publish();
        assert_eq!(&got.payload[..], number.to_string().as_bytes());
        assert_eq!(subscriber.so_far(), []);
        subscriber.send(Packet::PubAck(ok(got.packet_id.unwrap().0.get())));
    }
}

#[test]
fn what_a_client_says_of_a_message_reaches_the_other() {
    let gateway = Gateway::start();
    let mut subscriber = Client::subscriber(gateway.port, Version::V5, "s", "t", QOS0);
    let (mut publisher, _) = Client::connect(gateway.port, connect(Version::V5, "p"));
    let properties = fieldpost::model::MessageProperties {
        payload_is_utf8: Some(true),
        content_type: Some("text/plain".into()),
        response_topic: Some(crate::client::topic("answers")),
        correlation_data: Some(vec![0, 255].into()),
        user_properties: vec![("k".into(), "1".into()), ("k".into(), "2".into())],
    };
    publisher.send(Packet::Publish(fieldpost::mqtt::Publish {
        properties: Some(properties.clone().into()),
        message_expiry: Some(100),
        ..publish(QOS0, 1, "t", "x")
    }));
    let got = subscriber.receive_publish();
    assert_eq!(got.properties.as_deref(), Some(&properties));
    assert!(got.message_expiry.is_some_and(|left| (1..=100).contains(&left)), "{got:?}");
}

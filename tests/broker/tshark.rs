//! A conversation with every packet the broker says, as tshark reads it.

use std::collections::BTreeSet;

use fieldpost::model::MessageProperties;
use fieldpost::mqtt::{Connect, Packet, Publish, ReasonCode, Version, Will};

use crate::client::{
    Client, QOS0, QOS1, QOS2, VERSIONS, connect, ok, persistent, publish, subscription, topic, will,
};
use crate::gateway::Gateway;
use crate::support::pcap::{Pcap, dissect};
use crate::support::{Capture, program};

fn properties(version: Version) -> MessageProperties {
    if version != Version::V5 {
        return MessageProperties::default();
    }
    MessageProperties {
        payload_is_utf8: Some(true),
        content_type: Some("text/plain".into()),
        response_topic: Some(topic("answers")),
        correlation_data: Some(vec![1, 255].into()),
        user_properties: vec![("k".into(), "1".into()), ("k".into(), "ä".into())],
    }
}

/// Everything a client can ask of the broker, on the port of a capture.
fn converse(port: u16, version: Version) {
    let is_v5 = version == Version::V5;
    let mut asking = Connect {
        will: Some(Will { properties: properties(version), ..will("gone") }),
        username: Some("user".into()),
        password: Some("secret".into()),
        ..persistent(version, "asking")
    };
    if is_v5 {
        asking.properties.receive_maximum = std::num::NonZeroU16::new(20);
        asking.properties.maximum_packet_size = std::num::NonZeroU32::new(10_000);
        asking.properties.topic_alias_maximum = Some(5);
        asking.properties.request_response_information = Some(true);
        asking.properties.request_problem_information = Some(true);
    }
    let (mut client, _) = Client::connect(port, asking.clone());
    let deep = "a/".repeat(200);
    client.subscribe_with_id(
        &[subscription("t/#", QOS2), subscription(&deep, QOS0), subscription("r", QOS1)],
        is_v5.then_some(300),
    );
    for (number, qos) in [(1, QOS0), (2, QOS1), (3, QOS2)] {
        for (at, retain) in [("t/one", false), ("t/one", true), ("t/two", false)] {
            client.send(Packet::Publish(Publish {
                retain,
                properties: is_v5.then(|| properties(version).into()),
                message_expiry: is_v5.then_some(100),
                ..publish(qos, number, at, &"x".repeat(200))
            }));
            if qos == QOS2 {
                client.send(Packet::PubRel(ok(number)));
            }
        }
    }
    // Each message is answered as its QoS has it.
    let mut left = 9;
    while left > 0 {
        match client.receive() {
            Packet::Publish(Publish { qos: QOS0, .. }) => left -= 1,
            Packet::Publish(Publish { qos: QOS1, packet_id: Some(id), .. }) => {
                client.send(Packet::PubAck(ok(id.get())));
                left -= 1;
            }
            Packet::Publish(Publish { packet_id: Some(id), .. }) => {
                client.send(Packet::PubRec(ok(id.get())));
            }
            Packet::PubRel(ack) => {
                client.send(Packet::PubComp(ok(ack.packet_id.get())));
                left -= 1;
            }
            _ => {}
        }
    }
    // Of nothing: PUBCOMP and PUBREL say so in 5.0.
    client.send(Packet::PubRel(ok(77)));
    client.send(Packet::PubRec(ok(78)));
    client.send(Packet::PingReq);
    client.so_far();
    // Somebody else of this name: DISCONNECT in 5.0. Then a goodbye.
    let (other, _) = Client::connect(port, asking);
    client.until_closed();
    other.disconnect(ReasonCode::Success, is_v5.then_some(10));
    // A refused one.
    let mut refused = connect(version, "refused");
    if is_v5 {
        refused.properties.authentication_method = Some("none".into());
    } else {
        (refused.client_id, refused.clean_start) = ("x".into(), true);
    }
    let _ = Client::try_connect(port, refused);
    if is_v5 {
        Client::try_connect(port, connect(version, ""));
    }
}

#[test]
fn tshark_reads_all_the_broker_says_without_a_complaint() {
    let mut pcap = Pcap::default();
    for version in VERSIONS {
        let gateway = Gateway::start();
        let capture = Capture::start(gateway.port);
        converse(capture.port(), version);
        capture.add_to(&mut pcap);
    }
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("broker.pcap");
    pcap.write(&path);
    let dissected = dissect(program("tshark"), &path);
    assert!(dissected.complaints.is_empty(), "{:#?}", dissected.complaints);
    // All types but AUTH, which is not said.
    let types: BTreeSet<u8> = dissected.types.iter().copied().collect();
    assert_eq!(types, (1..=14).collect());
}

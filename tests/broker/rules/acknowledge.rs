//! Packet ids, DUP, and what QoS 1 and 2 ask of both sides. MQTT 5.0 sections 2.2.1, 3.3, 4.3, 4.4, 4.9.

use std::collections::BTreeSet;

use fieldpost::mqtt::{Ack, Packet, Publish, ReasonCode, Version};

use super::{enter, stay};
use crate::client::{Client, QOS0, QOS1, QOS2, VERSIONS, id, ok, persistent, subscription};
use crate::gateway::Gateway;

fn number(publish: &Publish) -> u16 {
    publish.packet_id.expect("a packet id").get()
}

#[test]
fn an_acknowledgement_has_the_packet_id_of_what_it_acknowledges() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut client = enter(&gateway, version, "c");
        for id in ["0001", "0100", "ffff"] {
            for (said, heard) in [
                ("82 [ _ () 'a' 01 ]", "90 [ _ () 01 ]"),
                ("32 [ 't' _ () =x ]", "40 [ _ ]"),
                ("34 [ 't' _ () =x ]", "50 [ _ ]"),
                ("62 [ _ ]", "70 [ _ ]"),
            ] {
                client.say(&said.replace('_', id));
                client.hear(&heard.replace('_', id));
            }
            client.say(&format!("a2 [ {id} () 'a' ]"));
            let v5 = if version == Version::V5 { "() 00" } else { "" };
            client.hear(&format!("b0 [ {id} {v5} ]"));
        }
    }
}

#[test]
fn what_is_delivered_at_qos_0_has_no_packet_id_and_no_dup() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut subscriber = Client::subscriber(gateway.port, version, "s", "t", QOS0);
        let mut publisher = enter(&gateway, version, "p");
        for said in ["30 [ 't' () =x ]", "32 [ 't' 0001 () =x ]", "34 [ 't' 0002 () =x ]"] {
            publisher.say(said);
            subscriber.hear("30 [ 't' () =x ]");
        }
    }
}

#[test]
fn dup_of_a_publication_is_not_passed_on() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut subscriber = Client::subscriber(gateway.port, version, "s", "t", QOS2);
        let mut publisher = enter(&gateway, version, "p");
        for said in ["3a [ 't' 0001 () =x ]", "3c [ 't' 0002 () =x ]"] {
            publisher.say(said);
            assert!(!subscriber.receive_publish().dup);
        }
    }
}

#[test]
fn after_puback_the_same_packet_id_is_another_message_whatever_dup_says() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut subscriber = Client::subscriber(gateway.port, version, "s", "t", QOS0);
        let mut publisher = enter(&gateway, version, "p");
        for said in ["32 [ 't' 0001 () =a ]", "32 [ 't' 0001 () =b ]", "3a [ 't' 0001 () =c ]"] {
            publisher.say(said);
            publisher.hear("40 [ 0001 ]");
        }
        assert_eq!(subscriber.payloads(), ["a", "b", "c"]);
    }
}

#[test]
fn after_pubcomp_the_same_packet_id_is_another_message() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut subscriber = Client::subscriber(gateway.port, version, "s", "t", QOS0);
        let mut publisher = enter(&gateway, version, "p");
        for said in ["34 [ 't' 0001 () =a ]", "34 [ 't' 0001 () =a ]"] {
            publisher.say(said);
            publisher.hear("50 [ 0001 ]");
            publisher.say("62 [ 0001 ]");
            publisher.hear("70 [ 0001 ]");
        }
        assert_eq!(subscriber.payloads(), ["a", "a"]);
    }
}

/// A session with a subscription to `t` at QoS 2.
fn subscribed(gateway: &Gateway, version: Version) -> Client {
    let mut client = stay(gateway, version, "s");
    client.subscribe(&[subscription("t", QOS2)]);
    client
}

#[test]
fn packet_ids_under_way_are_each_its_own() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut subscriber = subscribed(&gateway, version);
        let mut publisher = enter(&gateway, version, "p");
        let mut open = BTreeSet::new();
        for round in 0..3 {
            for at in 1..=30 {
                publisher.publish(if at % 2 == 0 { QOS1 } else { QOS2 }, at, "t", "x");
                let got = subscriber.receive_publish();
                assert!(!got.dup);
                assert!(open.insert(number(&got)), "{} is open, round {round}", number(&got));
                // Every third is done with at once, one of them halfway.
                match (at % 6, got.qos) {
                    (0, QOS1) => {
                        subscriber.send(Packet::PubAck(ok(number(&got))));
                        open.remove(&number(&got));
                    }
                    (3, QOS2) => {
                        subscriber.send(Packet::PubRec(ok(number(&got))));
                        subscriber.expect(Packet::PubRel(ok(number(&got))));
                    }
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn pubrel_follows_pubrec_until_pubcomp_and_the_message_is_not_sent_again() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut subscriber = subscribed(&gateway, version);
        enter(&gateway, version, "p").publish(QOS2, 1, "t", "x");
        let packet_id = number(&subscriber.receive_publish());
        subscriber.send(Packet::PubRec(ok(packet_id)));
        subscriber.expect(Packet::PubRel(ok(packet_id)));
        for _ in 0..2 {
            subscriber.cut();
            subscriber = stay(&gateway, version, "s");
            subscriber.expect(Packet::PubRel(ok(packet_id)));
            assert_eq!(subscriber.so_far(), []);
        }
        subscriber.send(Packet::PubComp(ok(packet_id)));
        subscriber.cut();
        assert_eq!(stay(&gateway, version, "s").so_far(), []);
    }
}

#[test]
fn nothing_is_sent_again_while_the_connection_stands() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut subscriber = subscribed(&gateway, version);
        let mut publisher = enter(&gateway, version, "p");
        publisher.publish(QOS1, 1, "t", "a");
        publisher.publish(QOS2, 2, "t", "b");
        assert_eq!(subscriber.payloads(), ["a", "b"]);
        publisher.publish(QOS1, 3, "t", "c");
        assert_eq!(subscriber.payloads(), ["c"]);
        assert_eq!(subscriber.so_far(), []);
    }
}

#[test]
fn what_its_receiver_refuses_is_done_with() {
    let gateway = Gateway::start();
    let mut subscriber = subscribed(&gateway, Version::V5);
    let mut publisher = enter(&gateway, Version::V5, "p");
    let refused = |publish: &Publish| Ack::new(id(number(publish)), ReasonCode::UnspecifiedError);
    publisher.publish(QOS1, 1, "t", "a");
    let got = subscriber.receive_publish();
    subscriber.send(Packet::PubAck(refused(&got)));
    publisher.publish(QOS2, 2, "t", "b");
    let got = subscriber.receive_publish();
    subscriber.send(Packet::PubRec(refused(&got)));
    assert_eq!(subscriber.so_far(), [], "no PUBREL");
    subscriber.cut();
    assert_eq!(stay(&gateway, Version::V5, "s").so_far(), []);
}

#[test]
fn an_empty_send_quota_delays_messages_only_and_each_end_of_one_fills_it() {
    let gateway = Gateway::start();
    let mut narrow = persistent(Version::V5, "s");
    narrow.properties.receive_maximum = std::num::NonZeroU16::new(2);
    let (mut subscriber, _) = Client::connect(gateway.port, narrow);
    subscriber.subscribe(&[subscription("t", QOS2)]);
    let mut publisher = enter(&gateway, Version::V5, "p");
    for number in 1..=6 {
        publisher.publish(QOS2, number, "t", &number.to_string());
    }
    let mut under_way: Vec<u16> = Vec::new();
    for _ in 0..2 {
        under_way.push(number(&subscriber.receive_publish()));
    }
    // The quota is empty: pings, subscriptions and releases are answered, no message comes.
    subscriber.say("c0 []");
    subscriber.hear("d0 []");
    subscriber.subscribe(&[subscription("u", QOS0)]);
    subscriber.send(Packet::PubRec(ok(under_way[0])));
    subscriber.expect(Packet::PubRel(ok(under_way[0])));
    assert_eq!(subscriber.so_far(), []);
    // PUBCOMP ends one, a PUBREC that refuses another.
    subscriber.send(Packet::PubComp(ok(under_way[0])));
    assert_eq!(&subscriber.receive_publish().payload[..], b"3");
    subscriber.send(Packet::PubRec(Ack::new(id(under_way[1]), ReasonCode::QuotaExceeded)));
    let fourth = subscriber.receive_publish();
    assert_eq!(&fourth.payload[..], b"4");
    assert_eq!(subscriber.so_far(), []);
}

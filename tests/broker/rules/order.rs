//! Messages keep their order, at each QoS, also when they are sent again. MQTT 5.0 section 4.6.

use fieldpost::model::QoS;
use fieldpost::mqtt::{Packet, Publish, Version};

use super::{enter, stay};
use crate::client::{Client, QOS0, QOS1, QOS2, VERSIONS, ok, publish, subscription};
use crate::gateway::Gateway;

const COUNT: u16 = 60;

fn expected() -> Vec<String> {
    (1..=COUNT).map(|number| number.to_string()).collect()
}

fn publish_all(publisher: &mut Client, qos: QoS) {
    for number in 1..=COUNT {
        publisher.publish(qos, number, "t", &number.to_string());
    }
}

/// Publishes without waiting for answers between them.
fn publish_at_once(publisher: &mut Client, qos: QoS) {
    for number in 1..=COUNT {
        publisher.send(Packet::Publish(publish(qos, number, "t", &number.to_string())));
    }
}

fn publishes(client: &mut Client) -> Vec<Publish> {
    let as_publish = |packet| match packet {
        Packet::Publish(publish) => publish,
        other => panic!("not a PUBLISH: {other:?}"),
    };
    client.so_far().into_iter().map(as_publish).collect()
}

fn payloads(publishes: &[Publish]) -> Vec<String> {
    publishes.iter().map(|one| String::from_utf8_lossy(&one.payload).into_owned()).collect()
}

#[test]
fn messages_arrive_in_the_order_they_were_sent_at_each_qos() {
    for version in VERSIONS {
        for qos in [QOS0, QOS1, QOS2] {
            let gateway = Gateway::start();
            let mut subscriber = Client::subscriber(gateway.port, version, "s", "t", qos);
            publish_all(&mut enter(&gateway, version, "p"), qos);
            assert_eq!(payloads(&publishes(&mut subscriber)), expected(), "{version} {qos:?}");
        }
    }
}

#[test]
fn what_is_sent_again_keeps_its_order_and_its_packet_ids() {
    for version in VERSIONS {
        for qos in [QOS1, QOS2] {
            let gateway = Gateway::start();
            let mut subscriber = stay(&gateway, version, "s");
            subscriber.subscribe(&[subscription("t", qos)]);
            publish_all(&mut enter(&gateway, version, "p"), qos);
            let first = publishes(&mut subscriber);
            subscriber.cut();
            let again = publishes(&mut stay(&gateway, version, "s"));
            assert_eq!(payloads(&again), expected());
            let repeats = first.into_iter().map(|first| Publish { dup: true, ..first });
            assert_eq!(again, repeats.collect::<Vec<_>>());
        }
    }
}

#[test]
fn acknowledgements_come_in_the_order_of_what_they_acknowledge() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut publisher = enter(&gateway, version, "p");
        publish_at_once(&mut publisher, QOS1);
        (1..=COUNT).for_each(|number| publisher.expect(Packet::PubAck(ok(number))));
        publish_at_once(&mut publisher, QOS2);
        (1..=COUNT).for_each(|number| publisher.expect(Packet::PubRec(ok(number))));
        (1..=COUNT).rev().for_each(|number| publisher.send(Packet::PubRel(ok(number))));
        (1..=COUNT).rev().for_each(|number| publisher.expect(Packet::PubComp(ok(number))));
    }
}

#[test]
fn pubrels_come_in_the_order_of_the_pubrecs() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut subscriber = Client::subscriber(gateway.port, version, "s", "t", QOS2);
        publish_all(&mut enter(&gateway, version, "p"), QOS2);
        let mut ids: Vec<u16> = publishes(&mut subscriber)
            .iter()
            .map(|publish| publish.packet_id.expect("a packet id").get())
            .collect();
        ids.reverse();
        for &id in &ids {
            subscriber.send(Packet::PubRec(ok(id)));
        }
        for &id in &ids {
            subscriber.expect(Packet::PubRel(ok(id)));
        }
    }
}

#[test]
fn a_client_that_takes_one_message_at_a_time_has_them_in_order_too() {
    let gateway = Gateway::start();
    let mut narrow = crate::client::connect(Version::V5, "s");
    narrow.properties.receive_maximum = std::num::NonZeroU16::new(1);
    let (mut subscriber, _) = Client::connect(gateway.port, narrow);
    subscriber.subscribe(&[subscription("t", QOS1)]);
    publish_all(&mut enter(&gateway, Version::V5, "p"), QOS1);
    for number in expected() {
        let got = subscriber.receive_publish();
        assert_eq!(&got.payload[..], number.as_bytes());
        subscriber.send(Packet::PubAck(ok(got.packet_id.expect("a packet id").get())));
    }
}

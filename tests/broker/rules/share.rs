//! Shared subscriptions. MQTT 5.0 section 4.8.2.

use fieldpost::mqtt::{Packet, Publish, ReasonCode};

use super::{enter, stay};
use crate::client::{Client, QOS0, QOS2, VERSIONS, ok, subscription};
use crate::gateway::Gateway;

const SHARED: &str = "$share/g/t";

#[test]
fn each_member_has_the_qos_its_own_subscription_was_granted() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut publisher = enter(&gateway, version, "p");
        let mut low = Client::subscriber(gateway.port, version, "low", SHARED, QOS0);
        let mut high = Client::subscriber(gateway.port, version, "high", SHARED, QOS2);
        for number in 1..=6 {
            publisher.publish(QOS2, number, "t", "x");
        }
        let mut count = 0;
        for (member, qos) in [(&mut low, QOS0), (&mut high, QOS2)] {
            let packets = member.so_far();
            assert!(!packets.is_empty(), "{qos:?}");
            for packet in packets {
                let Packet::Publish(Publish { qos: got, .. }) = packet else {
                    panic!("{packet:?}")
                };
                assert_eq!(got, qos);
                count += 1;
            }
        }
        assert_eq!(count, 6, "each message to one member");
    }
}

#[test]
fn qos_2_that_is_under_way_to_a_member_is_completed_when_it_returns() {
    for version in VERSIONS {
        for released in [false, true] {
            let gateway = Gateway::start();
            let mut first = stay(&gateway, version, "first");
            first.subscribe(&[subscription(SHARED, QOS2)]);
            enter(&gateway, version, "p").publish(QOS2, 1, "t", "x");
            let begun = first.receive_publish();
            let id = begun.packet_id.expect("a packet id").get();
            if released {
                first.send(Packet::PubRec(ok(id)));
                first.expect(Packet::PubRel(ok(id)));
            }
            let mut other = Client::subscriber(gateway.port, version, "other", SHARED, QOS2);
            first.cut();
            assert_eq!(other.so_far(), []);
            let mut first = stay(&gateway, version, "first");
            if released {
                first.expect(Packet::PubRel(ok(id)));
            } else {
                first.expect(Packet::Publish(Publish { dup: true, ..begun }));
            }
            assert_eq!(other.so_far(), []);
        }
    }
}

#[test]
fn qos_2_that_was_under_way_goes_to_nobody_else_when_its_members_session_ends() {
    for version in VERSIONS {
        for received in [false, true] {
            let gateway = Gateway::start();
            let mut first = stay(&gateway, version, "first");
            first.subscribe(&[subscription(SHARED, QOS2)]);
            enter(&gateway, version, "p").publish(QOS2, 1, "t", "x");
            let id = first.receive_publish().packet_id.expect("a packet id").get();
            if received {
                first.send(Packet::PubRec(ok(id)));
                first.expect(Packet::PubRel(ok(id)));
            }
            let mut other = Client::subscriber(gateway.port, version, "other", SHARED, QOS2);
            first.cut();
            // A clean start ends the session.
            enter(&gateway, version, "first").disconnect(ReasonCode::Success, None);
            assert_eq!(other.so_far(), [], "{version}, received: {received}");
        }
    }
}

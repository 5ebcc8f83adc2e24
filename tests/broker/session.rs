//! Sessions that outlive their connections, and the program.

use fieldpost::hub::EngineOptions;
use fieldpost::mqtt::{Connect, Packet, Publish, ReasonCode, Version};

use crate::client::{
    Client, QOS0, QOS1, QOS2, VERSIONS, connect, ok, persistent, publish, subscription,
};
use crate::gateway::Gateway;
use crate::support::wait_until;

/// A session with a subscription, left.
fn leave_a_session(gateway: &Gateway, version: Version) {
    let (mut client, present) = Client::connect(gateway.port, persistent(version, "s"));
    assert!(!present);
    client.subscribe(&[subscription("t", QOS2)]);
    client.disconnect(ReasonCode::Success, None);
}

fn payloads(count: usize, client: &mut Client) -> Vec<(String, u16)> {
    let mut got = Vec::new();
    for _ in 0..count {
        let publish = client.receive_publish();
        let text = String::from_utf8_lossy(&publish.payload).into_owned();
        got.push((text, publish.packet_id.map_or(0, |id| id.0.get())));
    }
    got
}

#[test]
fn messages_wait_for_a_session_over_stops_and_kills() {
    for version in VERSIONS {
        for kill in [false, true] {
            let mut gateway = Gateway::start();
            leave_a_session(&gateway, version);
            let (mut publisher, _) = Client::connect(gateway.port, connect(version, "p"));
            publisher.publish(QOS0, 1, "t", "zero");
            publisher.publish(QOS1, 2, "t", "one");
            publisher.publish(QOS2, 3, "t", "two");
            if kill {
                gateway.kill();
            } else {
                gateway.restart();
            }
            let (mut client, present) = Client::connect(gateway.port, persistent(version, "s"));
            assert!(present);
            let got = payloads(2, &mut client);
            assert_eq!((&*got[0].0, &*got[1].0), ("one", "two"));
            client.send(Packet::PubAck(ok(got[0].1)));
            client.send(Packet::PubRec(ok(got[1].1)));
            client.expect(Packet::PubRel(ok(got[1].1)));
            client.send(Packet::PubComp(ok(got[1].1)));
            assert_eq!(client.so_far(), []);
            client.disconnect(ReasonCode::Success, None);
            let (mut client, _) = Client::connect(gateway.port, persistent(version, "s"));
            assert_eq!(client.so_far(), []);
        }
    }
}

#[test]
fn a_delivery_goes_on_where_it_was_after_a_cut_and_after_a_kill() {
    for version in VERSIONS {
        let mut gateway = Gateway::start();
        leave_a_session(&gateway, version);
        let (mut publisher, _) = Client::connect(gateway.port, connect(version, "p"));
        publisher.publish(QOS2, 1, "t", "x");
        let (mut client, _) = Client::connect(gateway.port, persistent(version, "s"));
        let first = client.receive_publish();
        assert!(!first.dup);
        let number = first.packet_id.unwrap().0.get();
        client.cut();
        for _ in 0..2 {
            let (mut client, _) = Client::connect(gateway.port, persistent(version, "s"));
            assert_eq!(client.receive_publish(), Publish { dup: true, ..first.clone() });
            gateway.kill();
        }
        let (mut client, _) = Client::connect(gateway.port, persistent(version, "s"));
        client.receive_publish();
        client.send(Packet::PubRec(ok(number)));
        client.expect(Packet::PubRel(ok(number)));
        for _ in 0..2 {
            gateway.kill();
            let (mut client, _) = Client::connect(gateway.port, persistent(version, "s"));
            client.expect(Packet::PubRel(ok(number)));
        }
        let (mut client, _) = Client::connect(gateway.port, persistent(version, "s"));
        client.expect(Packet::PubRel(ok(number)));
        client.send(Packet::PubComp(ok(number)));
        assert_eq!(client.so_far(), []);
        gateway.restart();
        let (mut client, _) = Client::connect(gateway.port, persistent(version, "s"));
        assert_eq!(client.so_far(), []);
    }
}

#[test]
fn a_publisher_killed_upon_in_the_middle_of_qos_2_is_heard_once() {
    for version in VERSIONS {
        let mut gateway = Gateway::start();
        leave_a_session(&gateway, version);
        let (mut publisher, _) = Client::connect(gateway.port, persistent(version, "p"));
        publisher.send(Packet::Publish(publish(QOS2, 5, "t", "x")));
        publisher.expect(Packet::PubRec(ok(5)));
        gateway.kill();
        let (mut publisher, present) = Client::connect(gateway.port, persistent(version, "p"));
        assert!(present);
        publisher.send(Packet::Publish(Publish { dup: true, ..publish(QOS2, 5, "t", "x") }));
        publisher.expect(Packet::PubRec(ok(5)));
        publisher.send(Packet::PubRel(ok(5)));
        publisher.expect(Packet::PubComp(ok(5)));
        gateway.kill();
        let (mut publisher, _) = Client::connect(gateway.port, persistent(version, "p"));
        publisher.publish(QOS2, 5, "t", "y");
        let (mut client, _) = Client::connect(gateway.port, persistent(version, "s"));
        let got: Vec<String> = payloads(2, &mut client).into_iter().map(|(text, _)| text).collect();
        assert_eq!(got, ["x", "y"]);
        assert_eq!(client.so_far(), []);
    }
}

#[test]
fn the_packet_id_of_what_is_too_large_to_be_sent_again_is_released_also_after_a_kill() {
    let mut gateway = Gateway::start();
    leave_a_session(&gateway, Version::V5);
    let (mut publisher, _) = Client::connect(gateway.port, connect(Version::V5, "p"));
    publisher.publish(QOS2, 1, "t", &"x".repeat(100));
    let (mut client, _) = Client::connect(gateway.port, persistent(Version::V5, "s"));
    let number = client.receive_publish().packet_id.unwrap().0.get();
    client.cut();
    let small = |gateway: &Gateway| {
        let mut small = persistent(Version::V5, "s");
        small.properties.maximum_packet_size = std::num::NonZeroU32::new(60);
        Client::connect(gateway.port, small).0
    };
    // It has the message, and its PUBREC was lost.
    let mut client = small(&gateway);
    client.expect(Packet::PubRel(ok(number)));
    gateway.kill();
    let mut client = small(&gateway);
    client.expect(Packet::PubRel(ok(number)));
    client.send(Packet::PubComp(ok(number)));
    assert_eq!(client.so_far(), []);
    let status = gateway.status();
    assert!(status.sessions.iter().all(|session| session.queued == 0));
}

#[test]
fn a_clean_start_throws_the_session_away() {
    for version in VERSIONS {
        let mut gateway = Gateway::start();
        leave_a_session(&gateway, version);
        let clean = Connect { clean_start: true, ..persistent(version, "s") };
        let (client, present) = Client::connect(gateway.port, clean);
        assert!(!present);
        client.disconnect(ReasonCode::Success, None);
        let (mut publisher, _) = Client::connect(gateway.port, connect(version, "p"));
        publisher.publish(QOS1, 1, "t", "x");
        gateway.restart();
        let (mut client, _) = Client::connect(gateway.port, persistent(version, "s"));
        assert_eq!(client.so_far(), []);
    }
}

#[test]
fn a_session_ends_when_its_time_is_over() {
    let mut gateway = Gateway::start();
    for restart in [false, true] {
        let mut brief = persistent(Version::V5, "brief");
        brief.properties.session_expiry = Some(1);
        let (client, present) = Client::connect(gateway.port, brief);
        assert!(!present);
        client.cut();
        assert_eq!(gateway.sessions(), 1);
        if restart {
            gateway.restart();
        }
        wait_until("the session ends", || gateway.sessions() == 0);
    }
}

#[test]
fn a_goodbye_may_change_how_long_the_session_stays() {
    let mut gateway = Gateway::start();
    let (client, _) = Client::connect(gateway.port, persistent(Version::V5, "a"));
    client.disconnect(ReasonCode::Success, Some(0));
    let (client, present) = Client::connect(gateway.port, persistent(Version::V5, "a"));
    assert!(!present);
    client.disconnect(ReasonCode::DisconnectWithWill, Some(0));
    gateway.restart();
    let (_, present) = Client::connect(gateway.port, persistent(Version::V5, "a"));
    assert!(!present);
}

#[test]
fn what_comes_back_from_the_store_names_its_subscriptions() {
    for kill in [false, true] {
        let mut gateway = Gateway::start();
        let (mut client, _) = Client::connect(gateway.port, persistent(Version::V5, "s"));
        client.subscribe_with_id(&[subscription("a/#", QOS2)], Some(7));
        client.subscribe_with_id(&[subscription("a/+", QOS1)], Some(3));
        client.subscribe_with_id(&[subscription("b/+", QOS1)], Some(5));
        let (mut publisher, _) = Client::connect(gateway.port, connect(Version::V5, "p"));
        publisher.publish(QOS2, 1, "a/b", "under way");
        client.receive_publish();
        client.cut();
        publisher.publish(QOS1, 2, "a/b/c", "waiting");
        if kill {
            gateway.kill();
        }
        let (mut client, _) = Client::connect(gateway.port, persistent(Version::V5, "s"));
        for (ids, payload) in [(&[3, 7][..], "under way"), (&[7], "waiting")] {
            let mut got = client.receive_publish();
            got.subscription_ids.sort_unstable();
            assert_eq!((&got.subscription_ids[..], &got.payload[..]), (ids, payload.as_bytes()));
        }
    }
}

#[test]
fn a_client_is_told_how_long_its_session_stays_at_most() {
    let options = EngineOptions { session_expiry_max: 100, ..EngineOptions::default() };
    let gateway = Gateway::with(options);
    for (asked, told) in [(50, None), (100, None), (101, Some(100)), (u32::MAX, Some(100))] {
        let mut connect = persistent(Version::V5, "s");
        connect.properties.session_expiry = Some(asked);
        let (_, ack) = Client::try_connect(gateway.port, connect);
        assert_eq!(ack.properties.session_expiry, told, "{asked}");
    }
}

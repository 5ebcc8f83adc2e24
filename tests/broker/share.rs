//! Subscriptions that several clients share: each message goes to one of them.

use fieldpost::mqtt::{
    Ack, Packet, Publish, ReasonCode, Subscribe, SubscribeFilter, Unsubscribe, Version,
};

use crate::client::{
    Client, QOS0, QOS1, QOS2, VERSIONS, connect, id, ok, persistent, publish, subscription,
};
use crate::gateway::Gateway;
use crate::support::{mosquitto_pub, mosquitto_sub, wait_until};

const SHARED: &str = "$share/workers/jobs/+";

fn publisher(gateway: &Gateway, version: Version) -> Client {
    Client::connect(gateway.port, connect(version, "p")).0
}

/// Publishes jobs with these payloads.
fn give(publisher: &mut Client, payloads: &[&str]) {
    payloads.iter().for_each(|payload| publisher.publish(QOS1, 1, "jobs/a", payload));
}

/// A session that has joined the workers, left.
fn leave_a_worker(gateway: &Gateway, version: Version, name: &str) {
    let (mut client, _) = Client::connect(gateway.port, persistent(version, name));
    client.subscribe(&[subscription(SHARED, QOS2)]);
    client.disconnect(ReasonCode::Success, None);
}

#[test]
fn members_take_turns_and_whoever_does_not_share_gets_everything() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let join = |name, filter| Client::subscriber(gateway.port, version, name, filter, QOS0);
        let mut workers = [join("a", SHARED), join("b", SHARED)];
        let mut other_group = join("c", "$share/others/jobs/+");
        let mut alone = join("d", "jobs/#");
        let all = ["1", "2", "3", "4"];
        give(&mut publisher(&gateway, version), &all);
        assert_eq!(workers[0].payloads(), ["1", "3"]);
        assert_eq!(workers[1].payloads(), ["2", "4"]);
        assert_eq!(other_group.payloads(), all);
        assert_eq!(alone.payloads(), all);
        assert_eq!(gateway.status().shared_subscriptions, 3);
    }
}

#[test]
fn whoever_shares_and_subscribes_gets_a_copy_for_each() {
    let gateway = Gateway::start();
    let (mut client, _) = Client::connect(gateway.port, connect(Version::V5, "c"));
    client.subscribe_with_id(&[subscription(SHARED, QOS0)], Some(1));
    client.subscribe_with_id(&[subscription("jobs/#", QOS1)], Some(2));
    client.subscribe_with_id(&[subscription("$share/others/jobs/a", QOS1)], Some(3));
    give(&mut publisher(&gateway, Version::V5), &["x"]);
    let mut copies: Vec<_> = (0..3)
        .map(|_| client.receive_publish())
        .map(|publish| (publish.subscription_ids, publish.qos))
        .collect();
    copies.sort();
    assert_eq!(copies, [(vec![1], QOS0), (vec![2], QOS1), (vec![3], QOS1)]);
    assert_eq!(client.so_far(), []);
}

#[test]
fn messages_wait_for_a_member_that_is_away_if_nobody_else_is_there_also_over_a_kill() {
    for version in VERSIONS {
        let mut gateway = Gateway::start();
        leave_a_worker(&gateway, version, "away");
        let mut there = Client::subscriber(gateway.port, version, "there", SHARED, QOS1);
        let mut publisher_ = publisher(&gateway, version);
        publisher_.publish(QOS1, 1, "jobs/a", "1");
        let first = there.receive_publish();
        there.send(Packet::PubAck(ok(first.packet_id.unwrap().get())));
        there.cut();
        give(&mut publisher_, &["2"]);
        gateway.kill();
        give(&mut publisher(&gateway, version), &["3"]);
        let (mut away, present) = Client::connect(gateway.port, persistent(version, "away"));
        assert!(present);
        assert_eq!(away.fetched(2), ["2", "3"]);
        give(&mut publisher(&gateway, version), &["4"]);
        assert_eq!(away.payloads(), ["4"]);
    }
}

#[test]
fn what_a_member_that_is_gone_for_good_has_not_acknowledged_goes_to_another() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut lost = Client::subscriber(gateway.port, version, "lost", SHARED, QOS2);
        let mut publisher = publisher(&gateway, version);
        publisher.publish(QOS1, 1, "jobs/a", "once");
        publisher.publish(QOS2, 2, "jobs/a", "never twice");
        assert_eq!(lost.payloads(), ["once", "never twice"]);
        let mut other = Client::subscriber(gateway.port, version, "other", SHARED, QOS1);
        lost.cut();
        assert_eq!(other.payloads(), ["once"]);
    }
}

#[test]
fn a_delivery_at_qos_2_is_ended_with_the_member_it_began_with() {
    for version in VERSIONS {
        let mut gateway = Gateway::start();
        let (mut first, _) = Client::connect(gateway.port, persistent(version, "first"));
        first.subscribe(&[subscription(SHARED, QOS2)]);
        publisher(&gateway, version).publish(QOS2, 1, "jobs/a", "x");
        let begun = first.receive_publish();
        first.cut();
        let mut other = Client::subscriber(gateway.port, version, "other", SHARED, QOS2);
        assert_eq!(other.so_far(), []);
        gateway.kill();
        let (mut first, _) = Client::connect(gateway.port, persistent(version, "first"));
        assert_eq!(first.receive_publish(), Publish { dup: true, ..begun });
    }
}

#[test]
fn what_a_member_refuses_goes_to_nobody_else() {
    let gateway = Gateway::start();
    let mut first = Client::subscriber(gateway.port, Version::V5, "first", SHARED, QOS1);
    publisher(&gateway, Version::V5).publish(QOS1, 1, "jobs/a", "x");
    let packet_id = first.receive_publish().packet_id.unwrap();
    let mut other = Client::subscriber(gateway.port, Version::V5, "other", SHARED, QOS1);
    first.send(Packet::PubAck(Ack::new(packet_id, ReasonCode::ImplementationSpecificError)));
    assert_eq!(first.so_far(), []);
    first.cut();
    assert_eq!(other.so_far(), []);
}

#[test]
fn retained_messages_are_not_sent_to_those_who_share() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut publisher = publisher(&gateway, version);
        let retained = Publish { retain: true, ..publish(QOS1, 1, "jobs/a", "kept") };
        publisher.send(Packet::Publish(retained.clone()));
        publisher.expect(Packet::PubAck(ok(1)));
        let mut worker = Client::subscriber(gateway.port, version, "w", SHARED, QOS0);
        assert_eq!(worker.so_far(), []);
        publisher.send(Packet::Publish(retained));
        assert!(!worker.receive_publish().retain);
    }
}

#[test]
fn a_member_that_unsubscribes_gets_nothing_more() {
    for version in VERSIONS {
        let mut gateway = Gateway::start();
        leave_a_worker(&gateway, version, "a");
        let (mut leaver, _) = Client::connect(gateway.port, persistent(version, "a"));
        leaver.send(Packet::Unsubscribe(Unsubscribe {
            packet_id: id(3),
            user_properties: Vec::new(),
            filters: vec![subscription(SHARED, QOS0).filter],
        }));
        let Packet::UnsubAck(ack) = leaver.receive() else { panic!("no UNSUBACK") };
        if version == Version::V5 {
            assert_eq!(ack.reasons, [ReasonCode::Success]);
        }
        give(&mut publisher(&gateway, version), &["1"]);
        gateway.kill();
        give(&mut publisher(&gateway, version), &["2"]);
        let (mut leaver, _) = Client::connect(gateway.port, persistent(version, "a"));
        assert_eq!(leaver.so_far(), []);
    }
}

#[test]
fn a_share_without_a_name_or_with_no_local_is_a_protocol_error() {
    let gateway = Gateway::start();
    for (bytes, reason) in [
        (&b"\x82\x0f\x00\x01\x00\x00\x09$share/+/\x00"[..], ReasonCode::TopicFilterInvalid),
        (b"\x82\x10\x00\x01\x00\x00\x0a$share/+/a\x00", ReasonCode::TopicFilterInvalid),
        (b"\x82\x10\x00\x01\x00\x00\x0a$share/g/a\x05", ReasonCode::ProtocolError),
    ] {
        let (mut client, _) = Client::connect(gateway.port, connect(Version::V5, "c"));
        client.send_bytes(bytes);
        let said = client.until_closed();
        let [Packet::Disconnect(why)] = &said[..] else { panic!("{said:?}") };
        assert_eq!(why.reason, reason);
        assert!(why.reason_string.is_some());
    }
    let (mut early, _) = Client::connect(gateway.port, connect(Version::V311, "c"));
    let malformed = SubscribeFilter { ..subscription("$share/workers", QOS1) };
    early.send(Packet::Subscribe(Subscribe {
        packet_id: id(1),
        subscription_id: None,
        user_properties: Vec::new(),
        filters: vec![malformed, subscription(SHARED, QOS1)],
    }));
    let Packet::SubAck(ack) = early.receive() else { panic!("no SUBACK") };
    assert_eq!(ack.reasons, [ReasonCode::UnspecifiedError, ReasonCode::GrantedQoS1]);
}

#[test]
fn mosquitto_s_clients_share_too() {
    for version in ["311", "5"] {
        let gateway = Gateway::start();
        let join = || mosquitto_sub(gateway.port, SHARED, &["-V", version, "-q", "1"]);
        let (one, two) = (join(), join());
        wait_until("both share", || gateway.status().shared_subscriptions == 2);
        for number in 0..10 {
            mosquitto_pub(gateway.port, "jobs/a", &number.to_string(), &["-V", version, "-q", "1"]);
        }
        let all = || {
            let got = one.received().into_iter().chain(two.received());
            let mut got: Vec<String> = got.map(|message| message.payload).collect();
            got.sort();
            got
        };
        wait_until("all have come", || all().len() >= 10);
        assert_eq!(all(), (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
        assert_eq!((one.received().len(), two.received().len()), (5, 5));
    }
}

//! What one client may cost, and what it is told at each bound.

use std::num::{NonZeroU16, NonZeroU32};

use fieldpost::hub::{Counters, EngineOptions};
use fieldpost::mqtt::{Connect, Packet, Publish, ReasonCode, SubAck, Subscribe, Version};
use fieldpost::store::SessionOwner;

use crate::client::{
    Client, QOS0, QOS1, QOS2, VERSIONS, connect, id, ok, persistent, publish, subscription, topic,
};
use crate::gateway::Gateway;

fn counters(gateway: &Gateway, name: &str) -> Counters {
    let owner = SessionOwner::Client(name.into());
    let status = gateway.status();
    status.sessions.iter().find(|session| session.owner == owner).expect("it is there").counters
}

/// Publishes at QoS 1; gives the reason of the answer.
#[track_caller]
fn told(client: &mut Client, publish: Publish) -> ReasonCode {
    client.send(Packet::Publish(publish));
    match client.receive() {
        Packet::PubAck(ack) | Packet::PubRec(ack) => {
            assert_eq!(ack.reason_string.is_some(), ack.reason.is_failure());
            ack.reason
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_has_so_many_subscriptions_and_no_more() {
    for version in VERSIONS {
        let options = EngineOptions { subscriptions_max: 2, ..EngineOptions::default() };
        let gateway = Gateway::with(options);
        let (mut client, _) = Client::connect(gateway.port, connect(version, "c"));
        let filters = ["a", "b", "c", "a"].map(|filter| subscription(filter, QOS0));
        let granted = client.subscribe(&filters);
        let refused = match version {
            Version::V5 => ReasonCode::QuotaExceeded,
            _ => ReasonCode::UnspecifiedError,
        };
        let success = ReasonCode::Success;
        assert_eq!(granted, [success, success, refused, success]);
        assert_eq!(counters(&gateway, "c").subscriptions_refused, 1);
        assert_eq!(gateway.status().sessions[0].subscriptions, 2);
    }
}

#[test]
fn a_topic_that_is_too_deep_or_too_long_or_the_server_s_own_is_refused_alone() {
    let long = "x".repeat(4097);
    for (at, reason) in [
        (&*"a/".repeat(128), ReasonCode::TopicNameInvalid),
        (&*long, ReasonCode::TopicNameInvalid),
        ("$SYS/broker/uptime", ReasonCode::NotAuthorized),
        ("$SYS", ReasonCode::NotAuthorized),
    ] {
        for version in VERSIONS {
            let gateway = Gateway::start();
            let mut watcher = Client::subscriber(gateway.port, version, "w", "#", QOS0);
            watcher.subscribe(&[subscription("$SYS/#", QOS0)]);
            let (mut client, _) = Client::connect(gateway.port, connect(version, "c"));
            for qos in [QOS1, QOS2] {
                let expected = if version == Version::V5 { reason } else { ReasonCode::Success };
                assert_eq!(told(&mut client, publish(qos, 1, at, "x")), expected);
                if qos == QOS2 && version == Version::V311 {
                    client.send(Packet::PubRel(ok(1)));
                    client.expect(Packet::PubComp(ok(1)));
                }
            }
            client.publish(QOS0, 1, at, "x");
            assert_eq!(counters(&gateway, "c").rejected, 3);
            // The connection is none the worse for it.
            client.publish(QOS2, 1, "$SYStem", "x");
            client.publish(QOS2, 1, "fine", "taken");
            assert_eq!(watcher.payloads(), ["taken"]);
        }
    }
}

#[test]
fn a_full_table_of_retained_messages_takes_what_replaces_and_clears() {
    for version in VERSIONS {
        let options = EngineOptions { retained_max: 2, ..EngineOptions::default() };
        let mut gateway = Gateway::with(options);
        let mut live = Client::subscriber(gateway.port, version, "live", "#", QOS0);
        let (mut client, _) = Client::connect(gateway.port, connect(version, "c"));
        let keep = |at, payload| Publish { retain: true, ..publish(QOS1, 1, at, payload) };
        let refused = match version {
            Version::V5 => ReasonCode::QuotaExceeded,
            _ => ReasonCode::Success,
        };
        for (at, payload, reason) in [
            ("a", "1", ReasonCode::Success),
            ("b", "1", ReasonCode::Success),
            ("c", "1", refused),
            ("a", "2", ReasonCode::Success),
            ("b", "", ReasonCode::Success),
            ("c", "2", ReasonCode::Success),
        ] {
            assert_eq!(told(&mut client, keep(at, payload)), reason, "{at} {payload}");
        }
        let status = gateway.status();
        assert_eq!((status.retained, status.retained_refused, status.retained_bytes), (2, 1, 4));
        // Who cannot be told has its message delivered to those who are there.
        assert_eq!(live.payloads().len(), if version == Version::V5 { 5 } else { 6 });
        gateway.restart();
        let mut late = Client::subscriber(gateway.port, version, "late", "#", QOS0);
        assert_eq!(late.payloads(), ["2", "2"]);
    }
}

#[test]
fn a_client_that_acknowledges_nothing_costs_so_many_messages_and_bytes() {
    for version in VERSIONS {
        for (memory_queue_max, memory_queue_bytes_max) in [(5, 1 << 20), (100, 41)] {
            let options = EngineOptions {
                client_window: 2,
                memory_queue_max,
                memory_queue_bytes_max,
                ..EngineOptions::default()
            };
            let gateway = Gateway::with(options);
            let mut slow = Client::subscriber(gateway.port, version, "slow", "t", QOS1);
            let mut quick = Client::subscriber(gateway.port, version, "quick", "t", QOS0);
            let (mut publisher, _) = Client::connect(gateway.port, connect(version, "p"));
            for number in 0..10 {
                publisher.publish(QOS1, 1, "t", &format!("message {number}"));
            }
            assert_eq!(quick.payloads().len(), 10);
            assert_eq!(slow.payloads(), ["message 0", "message 1"]);
            assert_eq!(counters(&gateway, "slow").dropped, 3);
            let status = gateway.status();
            assert!(status.sessions.iter().any(|session| session.waiting_bytes == 45));
        }
    }
}

#[test]
fn a_client_that_does_not_read_costs_so_many_messages_and_bytes() {
    for version in VERSIONS {
        let options = EngineOptions { memory_queue_bytes_max: 1 << 16, ..EngineOptions::default() };
        let gateway = Gateway::with(options);
        let mut deaf = Client::subscriber(gateway.port, version, "deaf", "t", QOS0);
        let (mut publisher, _) = Client::connect(gateway.port, connect(version, "p"));
        let payload = "x".repeat(16 * 1024);
        // The system's buffers for the connection take some megabytes first.
        let mut published = 0;
        while counters(&gateway, "deaf").dropped == 0 {
            assert!(published < 6000, "everything is kept for a client that does not read");
            (0..50).for_each(|_| publisher.publish(QOS1, 1, "t", &payload));
            published += 50;
        }
        // What was there before comes once it reads.
        assert_eq!(deaf.receive_publish().payload.len(), payload.len());
    }
}

#[test]
fn so_many_sessions_outlive_their_connections_also_over_a_kill() {
    for version in VERSIONS {
        let options = EngineOptions { client_sessions_max: 2, ..EngineOptions::default() };
        let mut gateway = Gateway::with(options);
        let comes = |gateway: &Gateway, connect: Connect| {
            let (mut client, ack) = Client::try_connect(gateway.port, connect);
            if ack.reason == ReasonCode::Success {
                // It is told once its session is durable.
                client.subscribe(&[subscription("t", QOS1)]);
            }
            ack.reason
        };
        let (success, full) = match version {
            Version::V5 => (ReasonCode::Success, ReasonCode::QuotaExceeded),
            _ => (ReasonCode::Success, ReasonCode::ServerUnavailable),
        };
        assert_eq!(comes(&gateway, persistent(version, "a")), success);
        assert_eq!(comes(&gateway, persistent(version, "b")), success);
        gateway.kill();
        assert_eq!(comes(&gateway, persistent(version, "c")), full);
        assert_eq!(comes(&gateway, connect(version, "c")), success, "it leaves nothing behind");
        assert_eq!(comes(&gateway, persistent(version, "a")), success, "it is there already");
        assert_eq!(comes(&gateway, connect(version, "a")), success, "its session ends with it");
        assert_eq!(comes(&gateway, persistent(version, "c")), success);
        assert_eq!(comes(&gateway, persistent(version, "d")), full);
    }
}

#[test]
fn a_stored_queue_holds_so_many_messages() {
    for version in VERSIONS {
        let options = EngineOptions { client_queue_max: 3, ..EngineOptions::default() };
        let mut gateway = Gateway::with(options);
        let (mut away, _) = Client::connect(gateway.port, persistent(version, "away"));
        away.subscribe(&[subscription("t", QOS1)]);
        away.disconnect(ReasonCode::Success, None);
        let (mut publisher, _) = Client::connect(gateway.port, connect(version, "p"));
        let fill = |publisher: &mut Client, from: usize| {
            (from..from + 2).for_each(|n| publisher.publish(QOS1, 1, "t", &n.to_string()));
        };
        fill(&mut publisher, 0);
        gateway.kill();
        let (mut publisher, _) = Client::connect(gateway.port, connect(version, "p"));
        fill(&mut publisher, 2);
        assert_eq!(counters(&gateway, "away").dropped, 1);
        let (mut away, _) = Client::connect(gateway.port, persistent(version, "away"));
        assert_eq!(away.fetched(3), ["0", "1", "2"]);
    }
}

#[test]
fn a_stored_queue_holds_so_many_bytes_also_over_a_kill() {
    let payload = |number: usize| format!("{number:0>10}");
    for version in VERSIONS {
        let options = EngineOptions { client_queue_bytes_max: 25, ..EngineOptions::default() };
        let mut gateway = Gateway::with(options);
        let (mut away, _) = Client::connect(gateway.port, persistent(version, "away"));
        away.subscribe(&[subscription("t", QOS1)]);
        away.disconnect(ReasonCode::Success, None);
        let (mut publisher, _) = Client::connect(gateway.port, connect(version, "p"));
        (0..2).for_each(|number| publisher.publish(QOS1, 1, "t", &payload(number)));
        gateway.kill();
        let (mut publisher, _) = Client::connect(gateway.port, connect(version, "p"));
        (2..5).for_each(|number| publisher.publish(QOS1, 1, "t", &payload(number)));
        assert_eq!(counters(&gateway, "away").dropped, 2);
        let (mut away, _) = Client::connect(gateway.port, persistent(version, "away"));
        for number in 0..3 {
            let got = away.receive_publish();
            assert_eq!(got.payload, payload(number).as_bytes());
            away.send(Packet::PubAck(ok(got.packet_id.expect("QoS 1").0.get())));
        }
        assert_eq!(away.so_far(), []);
        publisher.publish(QOS1, 1, "t", "there is room again");
        assert_eq!(away.fetched(1), ["there is room again"]);
    }
}

#[test]
fn more_under_way_than_the_server_announced_ends_the_connection() {
    let gateway = Gateway::start();
    let (mut client, ack) = Client::try_connect(gateway.port, connect(Version::V5, "c"));
    let announced = ack.properties.receive_maximum.map_or(0, NonZeroU16::get);
    for number in 1..=announced {
        assert_eq!(told(&mut client, publish(QOS2, number, "t", "x")), ReasonCode::Success);
    }
    client.send(Packet::Publish(publish(QOS0, 1, "t", "not counted")));
    client.send(Packet::PubRel(ok(1)));
    client.expect(Packet::PubComp(ok(1)));
    assert_eq!(told(&mut client, publish(QOS1, 1, "t", "x")), ReasonCode::Success);
    assert_eq!(told(&mut client, publish(QOS2, 1, "t", "x")), ReasonCode::Success);
    client.send(Packet::Publish(publish(QOS1, announced + 1, "t", "x")));
    let said = client.until_closed();
    let [Packet::Disconnect(why)] = &said[..] else { panic!("{said:?}") };
    assert_eq!(why.reason, ReasonCode::ReceiveMaximumExceeded);
}

#[test]
fn topics_go_by_their_aliases_both_ways() {
    let gateway = Gateway::start();
    let mut asks = connect(Version::V5, "s");
    asks.properties.topic_alias_maximum = Some(1);
    let (mut subscriber, _) = Client::connect(gateway.port, asks);
    subscriber.subscribe(&[subscription("long/#", QOS0)]);
    let mut plain = Client::subscriber(gateway.port, Version::V5, "plain", "long/#", QOS0);
    let (mut client, ack) = Client::try_connect(gateway.port, connect(Version::V5, "c"));
    let max = ack.properties.topic_alias_maximum.expect("aliases are offered");
    let aliased = |at: Option<&str>, alias| {
        let topic = at.map(topic);
        let topic_alias = NonZeroU16::new(alias);
        Packet::Publish(Publish { topic, topic_alias, ..publish(QOS0, 1, "x", "y") })
    };
    client.send(aliased(Some("long/topic"), max));
    client.send(aliased(None, max));
    client.send(aliased(Some("long/other"), max));
    client.send(aliased(None, max));
    let said = |client: &mut Client| -> Vec<(Option<String>, u16)> {
        let got = (0..4).map(|_| client.receive_publish());
        got.map(|p| {
            (p.topic.map(|t| t.as_str().to_owned()), p.topic_alias.map_or(0, NonZeroU16::get))
        })
        .collect()
    };
    let named = |topic: &str, alias| (Some(topic.to_owned()), alias);
    let other = named("long/other", 0);
    assert_eq!(
        said(&mut subscriber),
        [named("long/topic", 1), (None, 1), other.clone(), other.clone()]
    );
    let topic = named("long/topic", 0);
    assert_eq!(said(&mut plain), [topic.clone(), topic, other.clone(), other]);
    for (packet, reason) in [
        (aliased(Some("a"), max + 1), ReasonCode::TopicAliasInvalid),
        (aliased(None, max - 1), ReasonCode::ProtocolError),
    ] {
        // Those of the last connection are gone (3.3.2.3.4).
        let (mut client, _) = Client::connect(gateway.port, connect(Version::V5, "c"));
        client.send(packet);
        let said = client.until_closed();
        let [Packet::Disconnect(why)] = &said[..] else { panic!("{said:?}") };
        assert_eq!(why.reason, reason);
    }
}

#[test]
fn nothing_larger_than_the_client_takes_is_sent_to_it_and_nothing_it_does_not_want() {
    let gateway = Gateway::start();
    let mut small = connect(Version::V5, "small");
    small.properties.maximum_packet_size = NonZeroU32::new(50);
    let (mut client, _) = Client::connect(gateway.port, small);
    client.subscribe(&[subscription("t", QOS1)]);
    let (mut publisher, _) = Client::connect(gateway.port, connect(Version::V5, "p"));
    publisher.publish(QOS1, 1, "t", &"x".repeat(50));
    publisher.publish(QOS1, 1, "t", "fits");
    assert_eq!(client.payloads(), ["fits"]);
    assert_eq!(counters(&gateway, "small").too_large, 1);
    let mut quiet = connect(Version::V5, "quiet");
    quiet.properties.request_problem_information = Some(false);
    for (connect, speaks) in [(quiet, false), (connect(Version::V5, "open"), true)] {
        let (mut client, _) = Client::connect(gateway.port, connect);
        client.send(Packet::Publish(publish(QOS1, 1, "$SYS/x", "x")));
        let Packet::PubAck(ack) = client.receive() else { panic!("no PUBACK") };
        assert_eq!((ack.reason, ack.reason_string.is_some()), (ReasonCode::NotAuthorized, speaks));
        client.send(Packet::Subscribe(Subscribe {
            packet_id: id(1),
            subscription_id: None,
            user_properties: Vec::new(),
            filters: vec![subscription(&"deep/".repeat(128), QOS0)],
        }));
        let Packet::SubAck(SubAck { reasons, reason_string, .. }) = client.receive() else {
            panic!("no SUBACK")
        };
        assert_eq!(reasons, [ReasonCode::TopicFilterInvalid]);
        assert_eq!(reason_string.is_some(), speaks);
    }
}

#[test]
fn authentication_that_is_not_spoken_is_refused() {
    let gateway = Gateway::start();
    let mut asks = connect(Version::V5, "c");
    asks.properties.authentication_method = Some("SCRAM-SHA-1".into());
    let (mut client, ack) = Client::try_connect(gateway.port, asks);
    assert_eq!(ack.reason, ReasonCode::BadAuthenticationMethod);
    assert_eq!(client.until_closed(), []);
    let (mut client, _) = Client::connect(gateway.port, connect(Version::V5, "c"));
    client.send_bytes(b"\xf0\x05\x19\x03\x15\x00\x00");
    let said = client.until_closed();
    let [Packet::Disconnect(why)] = &said[..] else { panic!("{said:?}") };
    assert_eq!(why.reason, ReasonCode::ProtocolError);
}

#[test]
fn a_connect_of_5_that_is_malformed_is_told_so() {
    let gateway = Gateway::start();
    let mut client = Client::dial(gateway.port, Version::V5);
    client.send_bytes(b"\x10\x0e\x00\x04MQTT\x05\x03\x00\x3c\x00\x00\x01a");
    let said = client.until_closed();
    let [Packet::ConnAck(ack)] = &said[..] else { panic!("{said:?}") };
    assert_eq!(ack.reason, ReasonCode::MalformedPacket);
    assert!(ack.properties.reason_string.is_some());
    let keeps_alive = Connect { keep_alive: 60, ..connect(Version::V5, "c") };
    let (_, ack) = Client::try_connect(gateway.port, keeps_alive);
    assert_eq!(ack.properties.server_keep_alive, None);
    assert_eq!(ack.properties.shared_subscription_available, None.or(Some(true)));
}

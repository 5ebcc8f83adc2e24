//! Filters, and what several of them make of one message.

use fieldpost::mqtt::{Packet, ReasonCode, SubscribeFilter, Unsubscribe, Version};

use crate::client::{Client, QOS0, QOS1, QOS2, VERSIONS, connect, id, subscription};
use crate::gateway::Gateway;

#[test]
fn wildcards_take_what_the_specification_says_and_no_dollar_topics() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let (mut publisher, _) = Client::connect(gateway.port, connect(version, "p"));
        for (filter, takes) in [
            ("#", &["a", "a/b", "a/b/c", "/a"][..]),
            ("+", &["a"]),
            ("+/+", &["a/b", "/a"]),
            ("a/#", &["a", "a/b", "a/b/c"]),
            ("a/+/c", &["a/b/c"]),
            ("$dollar/#", &["$dollar/x"]),
        ] {
            let mut subscriber = Client::subscriber(gateway.port, version, "s", filter, QOS0);
            for at in ["a", "a/b", "a/b/c", "/a", "$dollar/x"] {
                publisher.publish(QOS1, 1, at, at);
            }
            assert_eq!(subscriber.payloads(), takes, "{filter}");
        }
    }
}

#[test]
fn overlapping_subscriptions_make_one_message_at_the_highest_qos() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let (mut client, _) = Client::connect(gateway.port, connect(version, "c"));
        client.subscribe_with_id(
            &[subscription("a/#", QOS0)],
            Some(1).filter(|_| version == Version::V5),
        );
        client.subscribe_with_id(
            &[subscription("a/+", QOS1)],
            Some(2).filter(|_| version == Version::V5),
        );
        client.send(Packet::Publish(crate::client::publish(QOS1, 9, "a/b", "x")));
        let got = [client.receive(), client.receive()];
        assert_eq!(client.so_far(), []);
        let (mut ids, mut count) = (Vec::new(), 0);
        for packet in got {
            match packet {
                Packet::Publish(publish) => {
                    assert_eq!(publish.qos, QOS1);
                    ids = publish.subscription_ids;
                    count += 1;
                }
                Packet::PubAck(ack) => assert_eq!(ack.packet_id, id(9)),
                other => panic!("{other:?}"),
            }
        }
        ids.sort_unstable();
        assert_eq!(count, 1);
        assert_eq!(ids, if version == Version::V5 { vec![1, 2] } else { Vec::new() });
    }
}

#[test]
fn each_filter_is_granted_for_itself() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let (mut client, _) = Client::connect(gateway.port, connect(version, "c"));
        let granted = client.subscribe(&[
            subscription("a", QOS0),
            subscription("b", QOS1),
            subscription("c", QOS2),
            subscription("$share/g/d", QOS1),
            subscription(&"deep/".repeat(128), QOS0),
        ]);
        let [first, second, third, shared, deep] = granted[..] else { panic!("{granted:?}") };
        assert_eq!(
            [first, second, third],
            [0, 1, 2].map(|qos| ReasonCode::from_byte(qos).unwrap())
        );
        assert_eq!(shared, ReasonCode::GrantedQoS1);
        assert!(deep.is_failure());
    }
}

#[test]
fn an_unsubscribed_filter_takes_nothing_more() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut client = Client::subscriber(gateway.port, version, "c", "a", QOS0);
        client.send(Packet::Unsubscribe(Unsubscribe {
            packet_id: id(3),
            user_properties: Vec::new(),
            filters: vec![subscription("a", QOS0).filter, subscription("b", QOS0).filter],
        }));
        let Packet::UnsubAck(ack) = client.receive() else { panic!("no UNSUBACK") };
        if version == Version::V5 {
            assert_eq!(ack.reasons, [ReasonCode::Success, ReasonCode::NoSubscriptionExisted]);
        }
        client.publish(QOS1, 1, "a", "x");
        assert_eq!(client.so_far(), []);
    }
}

#[test]
fn no_local_keeps_a_client_s_own_messages_from_it() {
    let gateway = Gateway::start();
    let (mut client, _) = Client::connect(gateway.port, connect(Version::V5, "c"));
    client.subscribe(&[SubscribeFilter { no_local: true, ..subscription("a", QOS0) }]);
    client.publish(QOS1, 1, "a", "mine");
    let (mut other, _) = Client::connect(gateway.port, connect(Version::V5, "o"));
    other.publish(QOS1, 1, "a", "theirs");
    assert_eq!(client.payloads(), ["theirs"]);
}

//! Retained messages. MQTT 5.0 sections 3.3.1.3, 3.8.3.1.

use fieldpost::mqtt::{Publish, ReasonCode, Version};

use super::{enter, stay};
use crate::client::{Client, QOS0, QOS1, QOS2, VERSIONS, subscription};
use crate::gateway::Gateway;

/// What somebody gets who subscribes: topic, payload, QoS, all with RETAIN.
#[track_caller]
fn retained(gateway: &Gateway, version: Version, filter: &str) -> Vec<(String, String, u8)> {
    let mut client = Client::subscriber(gateway.port, version, "late", filter, QOS2);
    let mut got = Vec::new();
    for packet in client.so_far() {
        let fieldpost::mqtt::Packet::Publish(Publish { retain, topic, payload, qos, .. }) = packet
        else {
            panic!("not a PUBLISH: {packet:?}")
        };
        assert!(retain);
        let topic = topic.expect("a topic").as_str().to_owned();
        got.push((topic, String::from_utf8_lossy(&payload).into_owned(), qos.level()));
    }
    got.sort();
    got
}

fn row(topic: &str, payload: &str, qos: u8) -> (String, String, u8) {
    (topic.to_owned(), payload.to_owned(), qos)
}

#[test]
fn a_retained_message_is_kept_with_its_qos_and_outlives_its_publisher() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut publisher = enter(&gateway, version, "p");
        publisher.say("31 [ 'r/0' () =zero ]");
        publisher.say("33 [ 'r/1' 0001 () =one ]");
        publisher.hear("40 [ 0001 ]");
        publisher.say("35 [ 'r/2' 0002 () =two ]");
        publisher.hear("50 [ 0002 ]");
        publisher.disconnect(ReasonCode::Success, None);
        assert_eq!(
            retained(&gateway, version, "r/+"),
            [row("r/0", "zero", 0), row("r/1", "one", 1), row("r/2", "two", 2)]
        );
    }
}

#[test]
fn the_last_retained_message_counts_also_at_qos_0() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut publisher = enter(&gateway, version, "p");
        publisher.say("33 [ 'r' 0001 () =old ]");
        publisher.hear("40 [ 0001 ]");
        publisher.say("31 [ 'r' () =new ]");
        assert_eq!(publisher.so_far(), []);
        assert_eq!(retained(&gateway, version, "r"), [row("r", "new", 0)]);
    }
}

#[test]
fn an_empty_retained_message_is_delivered_clears_and_is_not_kept() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut subscriber = Client::subscriber(gateway.port, version, "s", "r", QOS0);
        let mut publisher = enter(&gateway, version, "p");
        publisher.say("31 [ 'r' () =x ]");
        subscriber.hear("30 [ 'r' () =x ]");
        publisher.say("31 [ 'r' () ]");
        subscriber.hear("30 [ 'r' () ]");
        assert_eq!(retained(&gateway, version, "r"), []);
    }
}

#[test]
fn a_message_without_retain_neither_stands_nor_replaces_nor_clears() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut publisher = enter(&gateway, version, "p");
        publisher.say("31 [ 'r' () =kept ]");
        publisher.say("30 [ 'r' () =other ] 30 [ 'r' () ] 30 [ 'q' () =never ]");
        assert_eq!(publisher.so_far(), []);
        assert_eq!(retained(&gateway, version, "#"), [row("r", "kept", 0)]);
    }
}

#[test]
fn a_subscription_brings_the_retained_message_of_every_topic_it_takes() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut publisher = enter(&gateway, version, "p");
        for number in 0..100 {
            publisher.say(&format!("31 [ 'r/{number:03}/x' () ={number:03} ]"));
        }
        publisher.say("31 [ 's/000/x' () =no ] 31 [ '$r/000/x' () =no ]");
        assert_eq!(publisher.so_far(), []);
        let expected: Vec<_> = (0..100)
            .map(|number| row(&format!("r/{number:03}/x"), &format!("{number:03}"), 0))
            .collect();
        assert_eq!(retained(&gateway, version, "r/+/x"), expected);
    }
}

#[test]
fn the_end_of_a_session_leaves_what_it_retained() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut publisher = stay(&gateway, version, "p");
        publisher.say("31 [ 'r' () =x ]");
        assert_eq!(publisher.so_far(), []);
        publisher.disconnect(ReasonCode::Success, None);
        // A clean start throws the session away.
        enter(&gateway, version, "p").disconnect(ReasonCode::Success, None);
        assert_eq!(retained(&gateway, version, "r"), [row("r", "x", 0)]);
    }
}

#[test]
fn retain_handling_and_retain_as_published_do_what_their_bits_say() {
    let gateway = Gateway::start();
    let mut publisher = enter(&gateway, Version::V5, "p");
    publisher.say("31 [ 'r' () =x ]");
    assert_eq!(publisher.so_far(), []);
    // Options, and what the first and the second subscription with them bring.
    for (options, first, second) in [("00", 1, 1), ("10", 1, 0), ("20", 0, 0)] {
        let mut client = enter(&gateway, Version::V5, "c");
        for count in [first, second] {
            client.say(&format!("82 [ 0001 () 'r' {options} ]"));
            client.hear("90 [ 0001 () 00 ]");
            assert_eq!(client.so_far().len(), count, "{options}");
        }
    }
    // Bit 3: RETAIN as it was published.
    let mut client = enter(&gateway, Version::V5, "c");
    client.say("82 [ 0001 () 'kept' 28 'not/kept' 20 ]");
    client.hear("90 [ 0001 () 00 00 ]");
    for (said, heard) in [
        ("31 [ 'kept' () =a ]", "31 [ 'kept' () =a ]"),
        ("30 [ 'kept' () =b ]", "30 [ 'kept' () =b ]"),
        ("31 [ 'not/kept' () =c ]", "30 [ 'not/kept' () =c ]"),
        ("30 [ 'not/kept' () =d ]", "30 [ 'not/kept' () =d ]"),
    ] {
        publisher.say(said);
        client.hear(heard);
    }
}

#[test]
fn making_a_subscription_again_sends_what_is_retained_again_and_loses_nothing() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut publisher = enter(&gateway, version, "p");
        publisher.say("33 [ 't' 0001 () =r ]");
        publisher.hear("40 [ 0001 ]");
        let mut subscriber = stay(&gateway, version, "s");
        let mut got = Vec::new();
        for number in 0..20 {
            subscriber.subscribe(&[subscription("t", QOS1)]);
            publisher.say(&format!("30 [ 't' () ={number:02} ] 32 [ 't' 0002 () ={number:02} ]"));
            publisher.hear("40 [ 0002 ]");
            got.extend(subscriber.payloads());
        }
        let expected: Vec<String> = (0..20)
            .flat_map(|number| ["r".to_owned(), format!("{number:02}"), format!("{number:02}")])
            .collect();
        assert_eq!(got, expected);
    }
}

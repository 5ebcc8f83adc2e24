//! SUBSCRIBE, UNSUBSCRIBE and matching. MQTT 5.0 sections 3.8 to 3.11, 4.7.

use fieldpost::hub::EngineOptions;
use fieldpost::mqtt::{Packet, Version};

use super::{enter, stay};
use crate::client::{Client, QOS0, QOS1, QOS2, VERSIONS, ok, subscription};
use crate::gateway::Gateway;

#[test]
fn a_subscription_to_the_same_filter_takes_the_place_of_the_first() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut client = enter(&gateway, version, "c");
        let mut publisher = enter(&gateway, version, "p");
        for (asked, granted) in [("02", QOS2), ("00", QOS0), ("01", QOS1)] {
            client.say(&format!("82 [ 0001 () 't' {asked} ]"));
            client.hear(&format!("90 [ 0001 () {asked} ]"));
            publisher.publish(QOS2, 1, "t", "x");
            assert_eq!(client.receive_publish().qos, granted);
            assert_eq!(client.so_far(), [], "one message only");
        }
    }
}

#[test]
fn a_subscription_that_is_made_again_has_its_own_id_and_options() {
    let gateway = Gateway::start();
    let mut client = enter(&gateway, Version::V5, "c");
    for (said, heard) in [
        ("82 [ 0001 ( 0b 01 ) 't' 00 ]", "30 [ 't' ( 0b 01 ) =x ]"),
        ("82 [ 0001 ( 0b 8001 ) 't' 00 ]", "30 [ 't' ( 0b 8001 ) =x ]"),
        ("82 [ 0001 () 't' 00 ]", "30 [ 't' () =x ]"),
    ] {
        client.say(said);
        client.hear("90 [ 0001 () 00 ]");
        client.say("30 [ 't' () =x ]");
        client.hear(heard);
    }
    client.say("82 [ 0001 () 't' 04 ]");
    client.hear("90 [ 0001 () 00 ]");
    client.say("30 [ 't' () =x ]");
    assert_eq!(client.so_far(), [], "no local");
}

#[test]
fn several_filters_in_one_packet_are_as_one_after_the_other() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut client = enter(&gateway, version, "c");
        let mut publisher = enter(&gateway, version, "p");
        // The second `a` replaces the first.
        client.say("82 [ 0007 () 'a' 02 'b' 00 'a' 01 'c' 02 ]");
        client.hear("90 [ 0007 () 02 00 01 02 ]");
        for (topic, qos) in [("a", QOS1), ("b", QOS0), ("c", QOS2)] {
            publisher.publish(QOS2, 1, topic, "x");
            assert_eq!(client.receive_publish().qos, qos);
        }
        client.say("a2 [ 0008 () 'c' 'none' 'a' 'c' ]");
        let reasons = if version == Version::V5 { "() 00 11 00 11" } else { "" };
        client.hear(&format!("b0 [ 0008 {reasons} ]"));
        for topic in ["a", "b", "c"] {
            publisher.publish(QOS1, 1, topic, topic);
        }
        assert_eq!(client.payloads(), ["b"]);
    }
}

#[test]
fn a_filter_that_is_refused_has_the_failure_its_version_knows() {
    let deep = "a/".repeat(200);
    let gateway = Gateway::start();
    let mut client = enter(&gateway, Version::V311, "c");
    client.say(&format!("82 [ 0001 'a' 00 '{deep}' 02 'b' 01 ]"));
    client.hear("90 [ 0001 00 80 01 ]");
    let mut client = enter(&gateway, Version::V5, "c");
    let filters = [("a", QOS0), (&*deep, QOS2), ("b", QOS1)];
    let reasons = client.subscribe(&filters.map(|(filter, qos)| subscription(filter, qos)));
    let bytes: Vec<u8> = reasons.iter().map(|reason| reason.byte()).collect();
    assert_eq!(bytes, [0x00, 0x8f, 0x01]);
}

#[test]
fn filters_to_unsubscribe_are_compared_character_by_character() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut client = enter(&gateway, version, "c");
        client.say("82 [ 0001 () 'a/+' 00 ]");
        client.hear("90 [ 0001 () 00 ]");
        let mut publisher = enter(&gateway, version, "p");
        for (filter, gone) in [
            ("a/b", false),
            ("#", false),
            ("A/+", false),
            ("a/+/", false),
            ("+/+", false),
            ("a/+", true),
        ] {
            client.say(&format!("a2 [ 0002 () '{filter}' ]"));
            let reason = if gone { "() 00" } else { "() 11" };
            let reason = if version == Version::V5 { reason } else { "" };
            client.hear(&format!("b0 [ 0002 {reason} ]"));
            publisher.publish(QOS1, 1, "a/b", "x");
            assert_eq!(client.so_far().len(), usize::from(!gone), "{filter}");
        }
    }
}

#[test]
fn what_was_under_way_when_its_subscription_ended_is_brought_to_its_end() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut client = stay(&gateway, version, "c");
        client.subscribe(&[subscription("t", QOS2)]);
        let mut publisher = enter(&gateway, version, "p");
        publisher.publish(QOS1, 1, "t", "one");
        publisher.publish(QOS2, 2, "t", "two");
        let ids: Vec<u16> = (0..2)
            .map(|_| client.receive_publish().packet_id.expect("a packet id").get())
            .collect();
        client.send(Packet::PubRec(ok(ids[1])));
        client.expect(Packet::PubRel(ok(ids[1])));
        client.say("a2 [ 0001 () 't' ]");
        let reason = if version == Version::V5 { "() 00" } else { "" };
        client.hear(&format!("b0 [ 0001 {reason} ]"));
        publisher.publish(QOS1, 3, "t", "three");
        client.cut();
        let mut client = stay(&gateway, version, "c");
        let again = client.receive_publish();
        assert_eq!((&again.payload[..], again.dup), (&b"one"[..], true));
        client.expect(Packet::PubRel(ok(ids[1])));
        client.send(Packet::PubAck(ok(ids[0])));
        client.send(Packet::PubComp(ok(ids[1])));
        assert_eq!(client.so_far(), []);
        client.cut();
        assert_eq!(stay(&gateway, version, "c").so_far(), []);
    }
}

/// Topics are compared as they are: case, composition of letters, empty levels, spaces, a byte order mark.
#[test]
fn nothing_is_made_alike_when_topics_are_matched() {
    let topics = [
        "61", "41", "2f61", "612f", "612f2f62", "612f62", "2061", "6120", "c3a4", "61cc88",
        "efbbbf61", "c2a061", "efbfbd", "f09f9880",
    ];
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut publisher = enter(&gateway, version, "p");
        for filter in topics {
            let mut client = enter(&gateway, version, "c");
            client.say(&format!("82 [ 0001 () {:04x} {filter} 00 ]", filter.len() / 2));
            client.hear("90 [ 0001 () 00 ]");
            for topic in topics {
                publisher.say(&format!("30 [ {:04x} {topic} () =x ]", topic.len() / 2));
            }
            assert_eq!(publisher.so_far(), []);
            client.hear(&format!("30 [ {:04x} {filter} () =x ]", filter.len() / 2));
            assert_eq!(client.so_far(), [], "{filter}");
        }
    }
}

#[test]
fn topics_and_filters_may_be_as_long_as_a_string() {
    for version in VERSIONS {
        let options = EngineOptions { topic_bytes_max: 65_535, ..EngineOptions::default() };
        let gateway = Gateway::with(options);
        let long = "a".repeat(65_535);
        let mut client = Client::subscriber(gateway.port, version, "c", &long, QOS1);
        enter(&gateway, version, "p").publish(QOS1, 1, &long, "x");
        assert_eq!(client.payloads(), ["x"]);
    }
}

#[test]
fn no_local_goes_by_the_client_id_also_on_its_next_connection() {
    let gateway = Gateway::start();
    let mut client = stay(&gateway, Version::V5, "c");
    client.say("82 [ 0001 () 't' 05 ]");
    client.hear("90 [ 0001 () 01 ]");
    client.cut();
    let mut client = stay(&gateway, Version::V5, "c");
    client.publish(QOS1, 1, "t", "mine");
    enter(&gateway, Version::V5, "o").publish(QOS1, 1, "t", "theirs");
    assert_eq!(client.payloads(), ["theirs"]);
}

#[test]
fn the_ids_of_all_subscriptions_that_match_come_with_the_message_also_after_a_restart() {
    let mut gateway = Gateway::start();
    let mut client = stay(&gateway, Version::V5, "c");
    client.say(
        "82 [ 0001 ( 0b 07 ) 'a/#' 01 ] 82 [ 0002 ( 0b 08 ) 'a/+' 01 ] 82 [ 0003 () '+/b' 02 ]",
    );
    client.hear("90 [ 0001 () 01 ] 90 [ 0002 () 01 ] 90 [ 0003 () 02 ]");
    for round in 0..2 {
        let mut publisher = enter(&gateway, Version::V5, "p");
        publisher.publish(QOS2, 1, "a/b", "x");
        let mut got = client.receive_publish();
        got.subscription_ids.sort_unstable();
        assert_eq!((got.qos, &got.subscription_ids[..]), (QOS2, &[7, 8][..]), "round {round}");
        assert_eq!(client.so_far(), []);
        client.send(Packet::PubRec(ok(got.packet_id.expect("a packet id").get())));
        client.receive();
        client.send(Packet::PubComp(ok(got.packet_id.expect("a packet id").get())));
        assert_eq!(client.so_far(), []);
        client.cut();
        gateway.restart();
        client = stay(&gateway, Version::V5, "c");
    }
}

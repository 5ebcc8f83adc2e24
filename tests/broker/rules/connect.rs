//! Client ids, CONNACK, what a client may decline.

use std::num::NonZeroU32;

use fieldpost::mqtt::{Connect, Packet, ReasonCode, Version};

use super::{enter, stay};
use crate::client::{Client, QOS1, VERSIONS, connect, persistent};
use crate::gateway::Gateway;

#[test]
fn client_ids_of_1_to_23_letters_and_digits_are_taken() {
    let gateway = Gateway::start();
    let all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for version in VERSIONS {
        for length in [1, 2, 22, 23] {
            for start in (0..all.len() - length).step_by(length) {
                let (_, present) =
                    Client::connect(gateway.port, connect(version, &all[start..start + length]));
                assert!(!present);
            }
        }
    }
}

#[test]
fn names_that_are_given_are_each_another_and_bring_their_session_back() {
    let gateway = Gateway::start();
    let given = |ack: fieldpost::mqtt::ConnAck| ack.properties.assigned_client_id.expect("a name");
    let (first, ack) = Client::try_connect(gateway.port, persistent(Version::V5, ""));
    let name = given(ack);
    let (_second, ack) = Client::try_connect(gateway.port, persistent(Version::V5, ""));
    assert_ne!(given(ack), name);
    first.disconnect(ReasonCode::Success, None);
    let (_, present) = Client::connect(gateway.port, persistent(Version::V5, &name));
    assert!(present);
}

#[test]
fn session_present_says_what_there_is() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let flags = |connect: Connect| {
            let (client, ack) = Client::try_connect(gateway.port, connect);
            assert_eq!(ack.reason, ReasonCode::Success);
            client.disconnect(ReasonCode::Success, None);
            ack.session_present
        };
        assert!(!flags(persistent(version, "a")), "there is none");
        assert!(flags(persistent(version, "a")), "there is one");
        assert!(!flags(connect(version, "a")), "it is not wanted");
        assert!(!flags(persistent(version, "a")), "it is gone");
    }
}

#[test]
fn connack_comes_first_and_once_and_the_rest_behind_it() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut sleeper = stay(&gateway, version, "sleeper");
        sleeper.say("82 [ 0001 () 't' 01 ]");
        sleeper.hear("90 [ 0001 () 01 ]");
        sleeper.disconnect(ReasonCode::Success, None);
        enter(&gateway, version, "p").publish(QOS1, 1, "t", "x");
        let mut sleeper = Client::dial(gateway.port, version);
        sleeper.send(Packet::Connect(Box::new(persistent(version, "sleeper"))));
        sleeper.say("c0 [] c0 []");
        assert_eq!(sleeper.receive().name(), "CONNACK");
        let mut names: Vec<_> = sleeper.so_far().iter().map(Packet::name).collect();
        names.sort_unstable();
        assert_eq!(names, ["PINGRESP", "PINGRESP", "PUBLISH"]);
    }
}

#[test]
fn a_ping_is_answered() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut client = enter(&gateway, version, "a");
        for _ in 0..3 {
            client.say("c0 []");
            client.hear("d0 []");
        }
    }
}

#[test]
fn what_was_not_asked_for_is_not_in_the_connack() {
    let gateway = Gateway::start();
    for asked in [None, Some(false)] {
        let mut modest = connect(Version::V5, "modest");
        modest.properties.request_response_information = asked;
        let (_, ack) = Client::try_connect(gateway.port, modest);
        assert_eq!(ack.properties.response_information, None);
        assert_eq!(ack.properties.authentication_method, None);
        assert_eq!(ack.properties.authentication_data, None);
        assert_eq!(ack.properties.assigned_client_id, None);
    }
}

#[test]
fn whoever_declines_reasons_in_words_gets_codes_alone() {
    let gateway = Gateway::start();
    let mut terse = connect(Version::V5, "terse");
    terse.properties.request_problem_information = Some(false);
    let (mut client, _) = Client::connect(gateway.port, terse);
    for (said, heard) in [
        ("82 [ 0001 () 't' 01 ]", "90 [ 0001 () 01 ]"),
        ("a2 [ 0002 () 't' 'none' ]", "b0 [ 0002 () 00 11 ]"),
        ("32 [ 't' 0003 () =x ]", "40 [ 0003 ]"),
        ("34 [ 't' 0004 () =x ]", "50 [ 0004 ]"),
        ("62 [ 0004 ]", "70 [ 0004 ]"),
        ("62 [ 0004 ]", "70 [ 0004 92 ]"),
        ("50 [ 0005 ]", "62 [ 0005 92 ]"),
    ] {
        client.say(said);
        client.hear(heard);
    }
}

#[test]
fn nothing_larger_than_a_client_takes_is_sent_to_it() {
    let gateway = Gateway::start();
    let limited = |name: &str, bytes: u32| {
        let mut limited = connect(Version::V5, name);
        limited.properties.maximum_packet_size = NonZeroU32::new(bytes);
        limited
    };
    // Too small for our CONNACK: it is refused, in five bytes.
    for bytes in 5..10 {
        let (mut client, ack) = Client::try_connect(gateway.port, limited("a", bytes));
        assert_eq!(ack.reason, ReasonCode::PacketTooLarge, "{bytes}");
        assert_eq!(client.until_closed(), []);
    }
    // A SUBACK that would be larger is left out, and what is behind it comes.
    let (mut client, ack) = Client::try_connect(gateway.port, limited("b", 100));
    assert_eq!(ack.reason, ReasonCode::Success);
    let filters = "'f' 00 ".repeat(200);
    client.say(&format!("82 [ 0001 () {filters} ]"));
    client.say("82 [ 0002 () 'g' 00 ]");
    client.hear("90 [ 0002 () 00 ]");
}

#[test]
fn words_that_make_a_packet_too_large_are_left_out_and_the_packet_comes() {
    let gateway = Gateway::start();
    let deep = "a/".repeat(200);
    for (bytes, has_words) in [(1000, true), (40, false)] {
        let mut limited = connect(Version::V5, "c");
        limited.properties.maximum_packet_size = NonZeroU32::new(bytes);
        let (mut client, ack) = Client::try_connect(gateway.port, limited);
        assert_eq!(ack.reason, ReasonCode::Success);
        client.say(&format!("82 [ 0001 () '{deep}' 00 ]"));
        let Packet::SubAck(refused) = client.receive() else { panic!("no SUBACK") };
        assert_eq!(refused.reason_string.is_some(), has_words);
        client.say("32 [ '$SYS/x' 0002 () =x ]");
        let Packet::PubAck(refused) = client.receive() else { panic!("no PUBACK") };
        assert_eq!(refused.reason_string.is_some(), has_words);
        client.say("34 [ '$SYS/x' 0003 () =x ]");
        let Packet::PubRec(refused) = client.receive() else { panic!("no PUBREC") };
        assert_eq!(refused.reason_string.is_some(), has_words);
        // A variable byte integer that does not end.
        client.say("30 ffffffff");
        let said = client.until_closed();
        let [Packet::Disconnect(why)] = &said[..] else { panic!("{said:?}") };
        assert_eq!((why.reason.byte(), why.reason_string.is_some()), (0x81, has_words));
    }
}

#[test]
fn a_message_too_large_for_a_client_counts_as_sent() {
    let gateway = Gateway::start();
    let mut limited = persistent(Version::V5, "limited");
    limited.properties.maximum_packet_size = NonZeroU32::new(100);
    let (mut client, _) = Client::connect(gateway.port, limited.clone());
    client.say("82 [ 0001 () 't' 02 ]");
    client.hear("90 [ 0001 () 02 ]");
    let mut publisher = enter(&gateway, Version::V5, "p");
    for (number, qos) in [(1, crate::client::QOS0), (2, QOS1), (3, crate::client::QOS2)] {
        publisher.publish(qos, number, "t", &"x".repeat(200));
    }
    publisher.publish(QOS1, 4, "t", "small");
    assert_eq!(client.payloads(), ["small"]);
    client.disconnect(ReasonCode::Success, None);
    limited.properties.maximum_packet_size = None;
    let (mut client, present) = Client::connect(gateway.port, limited);
    assert!(present);
    assert_eq!(
        client.payloads(),
        ["small"],
        "which was not acknowledged; the others are done with"
    );
}

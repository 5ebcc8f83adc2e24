//! Packets that are well-formed and out of place: too early, twice, the other side's, not offered, or about nothing.

use fieldpost::mqtt::{Version, connect_version};

use crate::client::Client;
use crate::gateway::Gateway;
use crate::malformed::notation::{ALL, V3, V5, V31, V311, wire};

/// What the broker does.
#[derive(Clone, Copy)]
enum Then {
    /// It says this, closes, and says no more. Empty is nothing.
    Closes(&'static str),
    /// It says this and goes on: a ping is answered after it.
    Answers(&'static str),
}
use Then::{Answers, Closes};

/// A conversation: its name, the versions it is had in, what is said after an accepted CONNECT, what follows.
type Case = (&'static str, &'static [Version], &'static str, Then);

/// A CONNECT in each version and the CONNACK it gets.
fn opening(version: Version) -> &'static str {
    match version {
        Version::V31 => "10 [ 'MQIsdp' 03 02 0000 'misplaced' ]",
        Version::V311 => "10 [ 'MQTT' 04 02 0000 'misplaced' ]",
        Version::V5 => "10 [ 'MQTT' 05 02 0000 () 'misplaced' ]",
    }
}

/// DISCONNECT with Protocol Error, Topic Alias Invalid.
const PROTOCOL_ERROR: Then = Closes("e0 [ 82 ]");
const ALIAS_INVALID: Then = Closes("e0 [ 94 ]");
/// Before 5.0 a server has nothing to say.
const SILENCE: Then = Closes("");

#[rustfmt::skip]
const AFTER_CONNECT: &[Case] = &[
    ("a second CONNECT", V31, "10 [ 'MQIsdp' 03 02 0000 'misplaced' ]", SILENCE),
    ("a second CONNECT", V311, "10 [ 'MQTT' 04 02 0000 'misplaced' ]", SILENCE),
    ("a second CONNECT", V5, "10 [ 'MQTT' 05 02 0000 () 'misplaced' ]", PROTOCOL_ERROR),
    ("a second CONNECT in another version", V311, "10 [ 'MQTT' 05 02 0000 () 'misplaced' ]", SILENCE),
    ("a second CONNECT in another version", V5, "10 [ 'MQTT' 04 02 0000 'misplaced' ]", PROTOCOL_ERROR),
    ("a CONNACK", V3, "20 [ 00 00 ]", SILENCE),
    ("a CONNACK", V5, "20 [ 00 00 () ]", PROTOCOL_ERROR),
    ("a SUBACK", V3, "90 [ 0001 00 ]", SILENCE),
    ("a SUBACK", V5, "90 [ 0001 () 00 ]", PROTOCOL_ERROR),
    ("an UNSUBACK", V3, "b0 [ 0001 ]", SILENCE),
    ("an UNSUBACK", V5, "b0 [ 0001 () 00 ]", PROTOCOL_ERROR),
    ("a PINGRESP", V3, "d0 []", SILENCE),
    ("a PINGRESP", V5, "d0 []", PROTOCOL_ERROR),
    ("an AUTH to go on with", V5, "f0 [ 18 ( 15 'm' ) ]", PROTOCOL_ERROR),
    ("an AUTH to begin again", V5, "f0 [ 19 ( 15 'm' ) ]", PROTOCOL_ERROR),
    ("an AUTH of success", V5, "f0 []", PROTOCOL_ERROR),
    ("a PUBLISH with a subscription id", V5, "30 [ 't' ( 0b 01 ) =x ]", PROTOCOL_ERROR),
    ("a topic alias that stands for nothing", V5, "30 [ '' ( 23 0001 ) =x ]", PROTOCOL_ERROR),
    ("a topic alias above all that are offered", V5, "30 [ 't' ( 23 ffff ) =x ]", ALIAS_INVALID),
    ("a DISCONNECT for the server to say: shutting down", V5, "e0 [ 8b ]", PROTOCOL_ERROR),
    ("a DISCONNECT for the server to say: keep alive", V5, "e0 [ 8d ]", PROTOCOL_ERROR),
    ("a DISCONNECT for the server to say: taken over", V5, "e0 [ 8e ]", PROTOCOL_ERROR),
    ("a DISCONNECT with a server reference", V5, "e0 [ 00 ( 1c 'other' ) ]", PROTOCOL_ERROR),
    ("a DISCONNECT that revives a session", V5, "e0 [ 00 ( 11 00000001 ) ]", PROTOCOL_ERROR),
    ("a DISCONNECT", ALL, "e0 []", Closes("")),
    ("a DISCONNECT and a packet behind it", ALL, "e0 [] c0 []", Closes("")),
    ("a PUBREL of nothing", V3, "62 [ 0007 ]", Answers("70 [ 0007 ]")),
    ("a PUBREL of nothing", V5, "62 [ 0007 ]", Answers("70 [ 0007 92 ]")),
    ("a PUBREC of nothing", V3, "50 [ 0007 ]", Answers("62 [ 0007 ]")),
    ("a PUBREC of nothing", V5, "50 [ 0007 ]", Answers("62 [ 0007 92 ]")),
    ("a PUBREC that refuses nothing", V5, "50 [ 0007 87 ]", Answers("")),
    ("a PUBACK of nothing", ALL, "40 [ 0007 ]", Answers("")),
    ("a PUBCOMP of nothing", ALL, "70 [ 0007 ]", Answers("")),
    ("an UNSUBSCRIBE of nothing", V3, "a2 [ 0007 'no/such' ]", Answers("b0 [ 0007 ]")),
    ("an UNSUBSCRIBE of nothing", V5, "a2 [ 0007 () 'no/such' '#' ]", Answers("b0 [ 0007 () 11 11 ]")),
    ("a packet id at its highest", V311, "34 [ 't' ffff =x ]", Answers("50 [ ffff ]")),
    ("a DUP that was never sent without", V3, "3a [ 't' 0007 =x ]", Answers("40 [ 0007 ]")),
];

/// What comes before CONNECT is not answered: the peer may be no MQTT client.
#[rustfmt::skip]
const BEFORE_CONNECT: &[(&str, &str)] = &[
    ("a CONNACK", "20 [ 00 00 ]"),
    ("a PUBLISH", "30 [ 't' =x ]"),
    ("a PUBLISH at QoS 1", "32 [ 't' 0001 =x ]"),
    ("a PUBLISH at QoS 2", "34 [ 't' 0001 =x ]"),
    ("a PUBACK", "40 [ 0001 ]"),
    ("a PUBREC", "50 [ 0001 ]"),
    ("a PUBREL", "62 [ 0001 ]"),
    ("a PUBCOMP", "70 [ 0001 ]"),
    ("a SUBSCRIBE", "82 [ 0001 'a' 00 ]"),
    ("a SUBACK", "90 [ 0001 00 ]"),
    ("an UNSUBSCRIBE", "a2 [ 0001 'a' ]"),
    ("an UNSUBACK", "b0 [ 0001 ]"),
    ("a PINGREQ", "c0 []"),
    ("a PINGRESP", "d0 []"),
    ("a DISCONNECT", "e0 []"),
    ("an AUTH", "f0 [ 18 ( 15 'm' ) ]"),
    ("a line of HTTP", "=GET 20 =/ 20 =HTTP/1.1 0d0a 0d0a"),
    ("a hello of TLS", "16 0301 0005 01 00 00 01 03"),
    ("a line of SSH", "=SSH-2.0-x 0d0a"),
];

/// CONNECTs that are well-formed and refused, and the CONNACK they get.
#[rustfmt::skip]
const REFUSED: &[(&str, &str, &str)] = &[
    ("an unknown way to authenticate", "10 [ 'MQTT' 05 02 003c ( 15 'SCRAM-SHA-1' ) 'c' ]", "20 [ 00 8c () ]"),
    ("the same with data", "10 [ 'MQTT' 05 02 003c ( 15 'm' 16 'd' ) 'c' ]", "20 [ 00 8c () ]"),
    ("no client id in 3.1.1 and a session to keep", "10 [ 'MQTT' 04 00 003c '' ]", "20 [ 00 02 ]"),
    ("no client id in 3.1", "10 [ 'MQIsdp' 03 02 003c '' ]", "20 [ 00 02 ]"),
];

fn connected(port: u16, version: Version) -> Client {
    let mut client = Client::dial(port, version);
    client.say(opening(version));
    assert_eq!(client.receive().name(), "CONNACK");
    client
}

#[test]
fn what_is_out_of_place_after_connect_has_the_end_or_the_answer_it_deserves() {
    let gateway = Gateway::start();
    for &(name, versions, text, then) in AFTER_CONNECT {
        for &version in versions {
            println!("{version}: {name}: {text}");
            let mut client = connected(gateway.port, version);
            client.say(text);
            match then {
                Closes(said) => client.hear(said),
                Answers(said) => {
                    // Behind an unsubscription, whose answer goes the same way as the session's.
                    assert_eq!(client.so_far_bytes(), wire(said));
                    client.say("c0 []");
                    client.hear("d0 []");
                    continue;
                }
            }
            assert_eq!(client.until_closed(), []);
        }
    }
}

#[test]
fn what_comes_before_connect_is_not_answered() {
    let gateway = Gateway::start();
    for &(name, text) in BEFORE_CONNECT {
        println!("{name}: {text}");
        let mut client = Client::dial(gateway.port, Version::V311);
        client.say(text);
        assert_eq!(client.until_closed(), []);
        // Nothing of it was taken, nor is what follows.
        let mut client = Client::dial(gateway.port, Version::V311);
        client.send_bytes(&[wire(text), wire(opening(Version::V311))].concat());
        assert_eq!(client.until_closed(), []);
    }
    assert_eq!(gateway.sessions(), 0);
}

#[test]
fn a_connect_that_cannot_be_granted_is_answered_with_why_and_nothing_behind_it_is_heard() {
    let gateway = Gateway::start();
    let mut watcher = connected(gateway.port, Version::V311);
    watcher.say("82 [ 0001 '#' 00 ]");
    watcher.hear("90 [ 0001 00 ]");
    for &(name, text, said) in REFUSED {
        println!("{name}: {text}");
        let version = connect_version(&wire(text)).expect("a version");
        let mut client = Client::dial(gateway.port, version);
        client.send_bytes(&[wire(text), wire("30 [ 'heard' =x ]")].concat());
        client.hear(said);
        assert_eq!(client.until_closed(), []);
    }
    assert_eq!(watcher.so_far(), []);
    assert_eq!(gateway.sessions(), 1);
}

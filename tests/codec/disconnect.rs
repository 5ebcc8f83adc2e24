//! DISCONNECT and AUTH, and who may send what.

use fieldpost::mqtt::Version;

use crate::malformed::disconnect::MALFORMED;
use crate::notation::{ALL, V5, all_refused, all_taken, read};

#[test]
fn malformed_disconnects_and_auths_are_refused() {
    all_refused(MALFORMED);
}

#[test]
fn every_form_of_disconnect_and_auth_is_taken() {
    all_taken(&[
        (ALL, "e0 []"),
        (V5, "e0 [ 04 ]"),
        (V5, "e0 [ 00 () ]"),
        (V5, "e0 [ 9d ( 1c 'other' 1f 'why' 26 'a' 'b' 11 ffffffff ) ]"),
        (V5, "f0 []"),
        (V5, "f0 [ 00 ( 15 'm' ) ]"),
        (V5, "f0 [ 18 ( 16 'd' 15 'm' 1f 'r' 26 'a' 'b' ) ]"),
    ]);
}

#[test]
fn who_may_send_a_packet_is_told_by_its_type_and_by_what_it_says() {
    // Bytes, by a client, by a server.
    for (text, client, server) in [
        ("10 [ 'MQTT' 05 02 003c () 'c' ]", true, false),
        ("20 [ 00 00 () ]", false, true),
        ("30 [ 'a' () ]", true, true),
        ("30 [ 'a' ( 0b 01 ) ]", false, true),
        ("40 [ 0001 ]", true, true),
        ("50 [ 0001 ]", true, true),
        ("62 [ 0001 ]", true, true),
        ("70 [ 0001 ]", true, true),
        ("82 [ 0001 () 'a' 00 ]", true, false),
        ("90 [ 0001 () 00 ]", false, true),
        ("a2 [ 0001 () 'a' ]", true, false),
        ("b0 [ 0001 () 00 ]", false, true),
        ("c0 []", true, false),
        ("d0 []", false, true),
        ("e0 []", true, true),
        ("e0 [ 04 ]", true, false),
        ("e0 [ 8d ]", false, true),
        ("e0 [ 81 ]", true, true),
        ("e0 [ 00 ( 11 00000000 ) ]", true, false),
        ("e0 [ 9c ( 1c 'other' ) ]", false, true),
        ("f0 [ 18 ( 15 'm' ) ]", true, true),
        ("f0 [ 19 ( 15 'm' ) ]", true, false),
        ("f0 [ 00 ( 15 'm' ) ]", false, true),
    ] {
        let Ok(Some(packet)) = read(Version::V5, text) else { panic!("{text}") };
        assert_eq!((packet.sent_by_client(), packet.sent_by_server()), (client, server), "{text}");
    }
}

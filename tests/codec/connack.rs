//! CONNACK and the acknowledgements of PUBLISH.

use fieldpost::mqtt::{Packet, Version};

use crate::malformed::connack::MALFORMED;
use crate::notation::{ALL, V3, V5, V31, V311, all_refused, all_taken, read, reason};

#[test]
fn malformed_acknowledgements_are_refused() {
    all_refused(MALFORMED);
}

#[test]
fn every_form_of_an_acknowledgement_is_taken() {
    all_taken(&[
        (V5, "20 [ 01 00 () ]"),
        (V311, "20 [ 01 00 ]"),
        (V3, "20 [ 00 05 ]"),
        (V31, "20 [ ff 00 ]"),
        (ALL, "40 [ 0001 ]"),
        (ALL, "50 [ ffff ]"),
        (ALL, "62 [ 0001 ]"),
        (ALL, "70 [ 0001 ]"),
        (V5, "40 [ 0001 10 ]"),
        (V5, "40 [ 0001 00 () ]"),
        (V5, "62 [ 0001 92 ( 1f 'who' 26 'a' 'b' 26 'a' 'b' ) ]"),
    ]);
}

#[test]
fn return_codes_of_3_are_the_reasons_of_5() {
    for (code, byte) in [(0, 0x00), (1, 0x84), (2, 0x85), (3, 0x88), (4, 0x86), (5, 0x87)] {
        for &version in V3 {
            let Ok(Some(Packet::ConnAck(connack))) =
                read(version, &format!("20 [ 00 {code:02x} ]"))
            else {
                panic!("a CONNACK")
            };
            assert_eq!(connack.reason, reason(byte));
        }
    }
}

#[test]
fn all_fields_of_a_connack_arrive() {
    let text =
        "20 [ 01 00 ( 11 00000e10 21 000a 24 01 25 00 27 00001000 12 'made-up' 22 0005 1f 'ok'
        26 'k' 'v' 28 00 29 01 2a 00 13 001e 1a 'resp/' 1c 'other' 15 'm' 16 'd' ) ]";
    let Ok(Some(Packet::ConnAck(connack))) = read(Version::V5, text) else { panic!("a CONNACK") };
    assert!(connack.session_present);
    let properties = &connack.properties;
    assert_eq!(properties.session_expiry, Some(3600));
    assert_eq!(properties.receive_maximum.map(u16::from), Some(10));
    assert_eq!(properties.maximum_qos.map(|qos| qos.level()), Some(1));
    assert_eq!(properties.retain_available, Some(false));
    assert_eq!(properties.maximum_packet_size.map(u32::from), Some(4096));
    assert_eq!(properties.assigned_client_id.as_deref(), Some("made-up"));
    assert_eq!(properties.topic_alias_maximum, Some(5));
    assert_eq!(properties.reason_string.as_deref(), Some("ok"));
    assert_eq!(properties.user_properties, [("k".into(), "v".into())]);
    assert_eq!(properties.wildcard_subscription_available, Some(false));
    assert_eq!(properties.subscription_ids_available, Some(true));
    assert_eq!(properties.shared_subscription_available, Some(false));
    assert_eq!(properties.server_keep_alive, Some(30));
    assert_eq!(properties.response_information.as_deref(), Some("resp/"));
    assert_eq!(properties.server_reference.as_deref(), Some("other"));
    assert_eq!(properties.authentication_method.as_deref(), Some("m"));
    assert_eq!(properties.authentication_data.as_deref(), Some(&b"d"[..]));
}

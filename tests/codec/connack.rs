//! CONNACK and the acknowledgements of PUBLISH.

use fieldpost::mqtt::{Packet, Version};

use crate::notation::{ALL, NOT_31, Row, V3, V5, V31, V311, all_refused, all_taken, read, reason};

#[rustfmt::skip]
pub(crate) const MALFORMED: &[Row] = &[
    // CONNACK.
    (ALL, "20 []", 0x81, "ends within a field"),
    (ALL, "20 [ 00 ]", 0x81, "ends within a field"),
    (NOT_31, "20 [ 02 00 ]", 0x81, "acknowledge flags 0b00000010"),
    (NOT_31, "20 [ 81 00 ]", 0x81, "acknowledge flags 0b10000001"),
    (V311, "20 [ 01 05 ]", 0x82, "refuses and has a session present"),
    (V5, "20 [ 01 87 () ]", 0x82, "refuses and has a session present"),
    (V3, "20 [ 00 06 ]", 0x82, "reason code 0x06"),
    (V3, "20 [ 00 80 ]", 0x82, "reason code 0x80"),
    (V3, "20 [ 00 ff ]", 0x82, "reason code 0xff"),
    (V5, "20 [ 00 01 () ]", 0x82, "reason code 0x01"),
    (V5, "20 [ 00 05 () ]", 0x82, "reason code 0x05"),
    (V5, "20 [ 00 8d () ]", 0x82, "reason code 0x8d"),
    (V5, "20 [ 00 00 ]", 0x81, "ends within a field"),
    (V5, "20 [ 00 00 () 00 ]", 0x81, "CONNACK has 1 bytes after its last field"),
    (V3, "20 [ 00 00 00 ]", 0x81, "CONNACK has 1 bytes after its last field"),
    (V5, "20 [ 00 00 ( 16 'd' ) ]", 0x82, "lacks the authentication method"),
    // PUBACK, PUBREC, PUBREL, PUBCOMP.
    (ALL, "40 []", 0x81, "PUBACK ends within a field"),
    (ALL, "40 [ 00 ]", 0x81, "PUBACK ends within a field"),
    (ALL, "50 [ 01 ]", 0x81, "PUBREC ends within a field"),
    (ALL, "62 []", 0x81, "PUBREL ends within a field"),
    (ALL, "70 [ 00 ]", 0x81, "PUBCOMP ends within a field"),
    (ALL, "40 [ 0000 ]", 0x82, "PUBACK has packet id 0"),
    (ALL, "50 [ 0000 ]", 0x82, "PUBREC has packet id 0"),
    (ALL, "62 [ 0000 ]", 0x82, "PUBREL has packet id 0"),
    (ALL, "70 [ 0000 ]", 0x82, "PUBCOMP has packet id 0"),
    (V3, "40 [ 0001 00 ]", 0x81, "PUBACK has 1 bytes after its last field"),
    (V3, "50 [ 0001 00 ]", 0x81, "PUBREC has 1 bytes after its last field"),
    (V3, "62 [ 0001 00 00 ]", 0x81, "PUBREL has 2 bytes after its last field"),
    (V3, "70 [ 0001 00 ]", 0x81, "PUBCOMP has 1 bytes after its last field"),
    (V5, "40 [ 0001 01 ]", 0x82, "PUBACK has reason code 0x01"),
    (V5, "40 [ 0001 92 ]", 0x82, "PUBACK has reason code 0x92"),
    (V5, "50 [ 0001 11 ]", 0x82, "PUBREC has reason code 0x11"),
    (V5, "62 [ 0001 10 ]", 0x82, "PUBREL has reason code 0x10"),
    (V5, "62 [ 0001 80 ]", 0x82, "PUBREL has reason code 0x80"),
    (V5, "70 [ 0001 91 ]", 0x82, "PUBCOMP has reason code 0x91"),
    (V5, "40 [ 0001 00 () 00 ]", 0x81, "PUBACK has 1 bytes after its last field"),
    (V5, "62 [ 0001 00 () 0000 ]", 0x81, "PUBREL has 2 bytes after its last field"),
    (V5, "40 [ 0001 00 04 1f ]", 0x81, "PUBACK ends within a field"),
    (V5, "50 [ 0001 00 ( 1f 'a' 1f 'b' ) ]", 0x82, "PUBREC has the property reason string twice"),
];

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

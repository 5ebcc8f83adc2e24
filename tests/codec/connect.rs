//! CONNECT.

use fieldpost::model::QoS;
use fieldpost::mqtt::{Packet, Version};

use crate::notation::{ALL, Row, all_refused, all_taken, read};

// CONNECT names its own version: every row must fail whatever version the connection is read in.
#[rustfmt::skip]
pub(crate) const MALFORMED: &[Row] = &[
    // Name and level.
    (ALL, "10 []", 0x81, "ends within a field"),
    (ALL, "10 [ 0004 =MQT ]", 0x81, "ends within a field"),
    (ALL, "10 [ 'MQTT' ]", 0x81, "ends within a field"),
    (ALL, "10 [ 'MQTT' 00 02 003c 'c' ]", 0x84, "level 0"),
    (ALL, "10 [ 'MQTT' 03 02 003c 'c' ]", 0x84, "level 3"),
    (ALL, "10 [ 'MQTT' 06 02 003c () 'c' ]", 0x84, "level 6"),
    (ALL, "10 [ 'MQTT' 83 02 003c 'c' ]", 0x84, "level 131"),
    (ALL, "10 [ 'MQTT' 85 02 003c () 'c' ]", 0x84, "level 133"),
    (ALL, "10 [ 'MQIsdp' 04 02 003c 'c' ]", 0x84, "level 4"),
    (ALL, "10 [ 'MQIsdp' 05 02 003c () 'c' ]", 0x84, "level 5"),
    (ALL, "10 [ 'mqtt' 04 02 003c 'c' ]", 0x84, "protocol name \"mqtt\""),
    (ALL, "10 [ 'HTTP' 04 02 003c 'c' ]", 0x84, "protocol name \"HTTP\""),
    (ALL, "10 [ '' 04 02 003c 'c' ]", 0x84, "protocol name \"\""),
    (ALL, "10 [ 0004 4d51ff54 04 02 003c 'c' ]", 0x81, "not UTF-8"),
    // Flags.
    (ALL, "10 [ 'MQTT' 04 03 003c 'c' ]", 0x81, "reserved flag"),
    (ALL, "10 [ 'MQTT' 05 03 003c () 'c' ]", 0x81, "reserved flag"),
    (ALL, "10 [ 'MQTT' 04 0a 003c 'c' ]", 0x81, "will QoS or will retain without a will"),
    (ALL, "10 [ 'MQTT' 04 12 003c 'c' ]", 0x81, "will QoS or will retain without a will"),
    (ALL, "10 [ 'MQTT' 04 1a 003c 'c' ]", 0x81, "will QoS or will retain without a will"),
    (ALL, "10 [ 'MQTT' 04 22 003c 'c' ]", 0x81, "will QoS or will retain without a will"),
    (ALL, "10 [ 'MQTT' 05 0a 003c () 'c' ]", 0x81, "will QoS or will retain without a will"),
    (ALL, "10 [ 'MQTT' 05 22 003c () 'c' ]", 0x81, "will QoS or will retain without a will"),
    (ALL, "10 [ 'MQIsdp' 03 0a 003c 'c' ]", 0x81, "will QoS or will retain without a will"),
    (ALL, "10 [ 'MQTT' 04 1e 003c 'c' 'w' 'p' ]", 0x81, "will QoS 3"),
    (ALL, "10 [ 'MQTT' 05 1e 003c () 'c' () 'w' 'p' ]", 0x81, "will QoS 3"),
    (ALL, "10 [ 'MQIsdp' 03 1e 003c 'c' 'w' 'p' ]", 0x81, "will QoS 3"),
    (ALL, "10 [ 'MQTT' 04 42 003c 'c' 'p' ]", 0x81, "a password without a user name"),
    (ALL, "10 [ 'MQIsdp' 03 42 003c 'c' 'p' ]", 0x81, "a password without a user name"),
    // Client id.
    (ALL, "10 [ 'MQTT' 04 00 003c '' ]", 0x85, "empty client id"),
    (ALL, "10 [ 'MQTT' 04 02 003c 0002 c3 ]", 0x81, "ends within a field"),
    (ALL, "10 [ 'MQTT' 04 02 003c 0001 ff ]", 0x81, "not UTF-8"),
    (ALL, "10 [ 'MQTT' 05 02 003c () 0001 80 ]", 0x81, "not UTF-8"),
    (ALL, "10 [ 'MQTT' 04 02 003c 0002 c080 ]", 0x81, "not UTF-8"),
    (ALL, "10 [ 'MQTT' 04 02 003c 0002 c1bf ]", 0x81, "not UTF-8"),
    (ALL, "10 [ 'MQTT' 04 02 003c 0003 e08080 ]", 0x81, "not UTF-8"),
    (ALL, "10 [ 'MQTT' 04 02 003c 0003 eda080 ]", 0x81, "not UTF-8"),
    (ALL, "10 [ 'MQTT' 05 02 003c () 0003 edbfbf ]", 0x81, "not UTF-8"),
    (ALL, "10 [ 'MQTT' 05 02 003c () 0004 f4908080 ]", 0x81, "not UTF-8"),
    (ALL, "10 [ 'MQIsdp' 03 02 003c 0003 eda080 ]", 0x81, "not UTF-8"),
    (ALL, "10 [ 'MQTT' 04 02 003c 0001 00 ]", 0x81, "null character"),
    (ALL, "10 [ 'MQTT' 05 02 003c () 0003 610062 ]", 0x81, "null character"),
    (ALL, "10 [ 'MQIsdp' 03 02 003c 0001 00 ]", 0x81, "null character"),
    // What the flags announce must come.
    (ALL, "10 [ 'MQTT' 04 02 00 ]", 0x81, "ends within a field"),
    (ALL, "10 [ 'MQTT' 04 02 003c ]", 0x81, "ends within a field"),
    (ALL, "10 [ 'MQTT' 05 02 003c ]", 0x81, "ends within a field"),
    (ALL, "10 [ 'MQTT' 05 02 003c () ]", 0x81, "ends within a field"),
    (ALL, "10 [ 'MQTT' 05 02 003c 05 'c' ]", 0x81, "ends within a field"),
    (ALL, "10 [ 'MQTT' 04 06 003c 'c' ]", 0x81, "ends within a field"),
    (ALL, "10 [ 'MQTT' 04 06 003c 'c' 'w' ]", 0x81, "ends within a field"),
    (ALL, "10 [ 'MQTT' 05 06 003c () 'c' ]", 0x81, "ends within a field"),
    (ALL, "10 [ 'MQIsdp' 03 06 003c 'c' 'w' ]", 0x81, "ends within a field"),
    (ALL, "10 [ 'MQTT' 04 82 003c 'c' ]", 0x81, "ends within a field"),
    (ALL, "10 [ 'MQTT' 04 c2 003c 'c' 'u' ]", 0x81, "ends within a field"),
    (ALL, "10 [ 'MQTT' 05 c2 003c () 'c' 'u' 0005 =pw ]", 0x81, "ends within a field"),
    // Will topic.
    (ALL, "10 [ 'MQTT' 04 06 003c 'c' '' 'p' ]", 0x90, "at least one character"),
    (ALL, "10 [ 'MQTT' 05 06 003c () 'c' () '' 'p' ]", 0x90, "at least one character"),
    (ALL, "10 [ 'MQIsdp' 03 06 003c 'c' 'w/#' 'p' ]", 0x90, "must not contain `#`"),
    (ALL, "10 [ 'MQTT' 04 06 003c 'c' 'w/+' 'p' ]", 0x90, "must not contain `+`"),
    (ALL, "10 [ 'MQTT' 05 06 003c () 'c' () 'w/#' 'p' ]", 0x90, "must not contain `#`"),
    (ALL, "10 [ 'MQTT' 04 06 003c 'c' 0001 00 'p' ]", 0x81, "null character"),
    // User name.
    (ALL, "10 [ 'MQTT' 04 82 003c 'c' 0001 ff ]", 0x81, "not UTF-8"),
    (ALL, "10 [ 'MQTT' 04 82 003c 'c' 0001 00 ]", 0x81, "null character"),
    // Nothing follows.
    (ALL, "10 [ 'MQTT' 04 02 003c 'c' 00 ]", 0x81, "CONNECT has 1 bytes after its last field"),
    (ALL, "10 [ 'MQTT' 05 02 003c () 'c' 0000 ]", 0x81, "CONNECT has 2 bytes after its last field"),
    (ALL, "10 [ 'MQIsdp' 03 02 003c 'c' 'x' ]", 0x81, "CONNECT has 3 bytes after its last field"),
    (ALL, "10 [ 'MQTT' 04 82 003c 'c' 'u' 'p' ]", 0x81, "CONNECT has 3 bytes after its last field"),
];

#[test]
fn malformed_connects_are_refused_whatever_version_was_expected() {
    all_refused(MALFORMED);
}

#[test]
fn every_form_of_connect_is_taken_whatever_version_was_expected() {
    all_taken(&[
        (ALL, "10 [ 'MQTT' 04 02 0000 '' ]"),
        (ALL, "10 [ 'MQTT' 04 00 003c 'c' ]"),
        (ALL, "10 [ 'MQTT' 05 00 003c () '' ]"),
        (ALL, "10 [ 'MQTT' 05 42 003c () 'c' 'password-alone' ]"),
        (ALL, "10 [ 'MQTT' 04 c2 003c 'c' '' '' ]"),
        (ALL, "10 [ 'MQTT' 04 c2 003c 'c' 'u' 0003 ff00fe ]"),
        (ALL, "10 [ 'MQTT' 04 36 003c 'c' 'w' '' ]"),
        (ALL, "10 [ 'MQTT' 05 ee 003c () 'c' () 'w' 0002 ff00 'u' 'p' ]"),
        (ALL, "10 [ 'MQIsdp' 03 02 003c '' ]"),
        (ALL, "10 [ 'MQTT' 84 02 003c 'c' ]"),
        (ALL, "10 [ 'MQIsdp' 83 02 003c 'c' ]"),
        (ALL, "10 [ 'MQIsdp' 03 03 003c 'c' ]"),
        (ALL, "10 [ 'MQIsdp' 03 02 003c 'more-than-twenty-three-characters' ]"),
        (ALL, "10 [ 'MQTT' 04 02 003c 0004 f48fbfbf ]"),
    ]);
}

#[test]
fn all_fields_of_a_connect_arrive() {
    let text = "10 [ 'MQTT' 05 ee 012c ( 11 00000e10 21 000a 27 00001000 22 0005 19 01 17 00
        26 'k' 'v' 15 'SCRAM' 16 0002 ff00 )
        'client' ( 18 0000003c 01 01 02 00000005 03 'text/plain' 08 'answer/to' 09 0001 aa 26 'a' 'b' )
        'last/will' 'gone' 'user' 0002 fe01 ]";
    let Ok(Some(Packet::Connect(connect))) = read(Version::V311, text) else { panic!("a CONNECT") };
    assert_eq!(connect.version, Version::V5);
    assert!(connect.clean_start);
    assert_eq!(connect.keep_alive, 300);
    assert_eq!(&*connect.client_id, "client");
    assert_eq!(connect.username.as_deref(), Some("user"));
    assert_eq!(connect.password.as_deref(), Some(&[0xfe, 0x01][..]));
    let properties = &connect.properties;
    assert_eq!(properties.session_expiry, Some(3600));
    assert_eq!(properties.receive_maximum.map(u16::from), Some(10));
    assert_eq!(properties.maximum_packet_size.map(u32::from), Some(4096));
    assert_eq!(properties.topic_alias_maximum, Some(5));
    assert_eq!(properties.request_response_information, Some(true));
    assert_eq!(properties.request_problem_information, Some(false));
    assert_eq!(properties.user_properties, [("k".into(), "v".into())]);
    assert_eq!(properties.authentication_method.as_deref(), Some("SCRAM"));
    assert_eq!(properties.authentication_data.as_deref(), Some(&[0xff, 0x00][..]));
    let will = connect.will.as_ref().expect("a will");
    assert_eq!(will.topic.as_str(), "last/will");
    assert_eq!(&will.payload[..], b"gone");
    assert_eq!((will.qos, will.retain), (QoS::AtLeastOnce, true));
    assert_eq!((will.delay, will.message_expiry), (Some(60), Some(5)));
    assert_eq!(will.properties.payload_is_utf8, Some(true));
    assert_eq!(will.properties.content_type.as_deref(), Some("text/plain"));
    assert_eq!(will.properties.response_topic.as_ref().map(|t| t.as_str()), Some("answer/to"));
    assert_eq!(will.properties.correlation_data.as_deref(), Some(&[0xaa][..]));
    assert_eq!(will.properties.user_properties, [("a".into(), "b".into())]);
}

#[test]
fn in_31_a_user_name_that_was_announced_may_be_missing() {
    let Ok(Some(Packet::Connect(connect))) = read(Version::V311, "10 [ 'MQIsdp' 03 c2 003c 'c' ]")
    else {
        panic!("a CONNECT")
    };
    assert_eq!((connect.username.as_deref(), connect.password.as_deref()), (None, None));
    let Ok(Some(Packet::Connect(connect))) =
        read(Version::V311, "10 [ 'MQIsdp' 03 c2 003c 'c' 'u' ]")
    else {
        panic!("a CONNECT")
    };
    assert_eq!((connect.username.as_deref(), connect.password.as_deref()), (Some("u"), None));
}

//! CONNECT.

use fieldpost::model::QoS;
use fieldpost::mqtt::{Packet, Version};

use crate::malformed::connect::MALFORMED;
use crate::notation::{ALL, all_refused, all_taken, read};

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

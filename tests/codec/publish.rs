//! PUBLISH.

use fieldpost::model::QoS;
use fieldpost::mqtt::{Packet, Version};

use crate::notation::{ALL, Row, V3, V5, all_refused, all_taken, read};

#[rustfmt::skip]
pub(crate) const MALFORMED: &[Row] = &[
    (ALL, "30 []", 0x81, "ends within a field"),
    (ALL, "30 [ 00 ]", 0x81, "ends within a field"),
    (ALL, "30 [ 0005 =abc ]", 0x81, "ends within a field"),
    (ALL, "32 [ 'a' ]", 0x81, "ends within a field"),
    (ALL, "34 [ 'a' 00 ]", 0x81, "ends within a field"),
    (V5, "30 [ 'a' ]", 0x81, "ends within a field"),
    (V5, "32 [ 'a' 0001 ]", 0x81, "ends within a field"),
    (V5, "30 [ 'a' 05 01 ]", 0x81, "ends within a field"),
    (V5, "30 [ 'a' 8000 ]", 0x81, "needs fewer"),
    (V5, "30 [ 'a' 80808080 00 ]", 0x81, "longer than four bytes"),
    // Packet id.
    (V3, "32 [ 'a' 0000 =x ]", 0x82, "packet id 0"),
    (V3, "34 [ 'a' 0000 ]", 0x82, "packet id 0"),
    (V5, "32 [ 'a' 0000 () =x ]", 0x82, "packet id 0"),
    (V5, "3c [ 'a' 0000 () =x ]", 0x82, "packet id 0"),
    // Topic.
    (V3, "30 [ '' =x ]", 0x90, "at least one character"),
    (V5, "30 [ '' () =x ]", 0x82, "neither a topic nor a topic alias"),
    (V5, "30 [ '' ( 01 01 ) =x ]", 0x82, "neither a topic nor a topic alias"),
    (V3, "30 [ '+' =x ]", 0x90, "must not contain `+`"),
    (V3, "30 [ 'a/+/b' =x ]", 0x90, "must not contain `+`"),
    (V3, "30 [ '#' =x ]", 0x90, "must not contain `#`"),
    (V3, "30 [ 'a#' =x ]", 0x90, "must not contain `#`"),
    (V5, "30 [ 'a/#' () =x ]", 0x90, "must not contain `#`"),
    (V5, "30 [ 'a+' ( 23 0001 ) =x ]", 0x90, "must not contain `+`"),
    (ALL, "30 [ 0001 00 00 ]", 0x81, "null character"),
    (ALL, "30 [ 0003 610062 00 ]", 0x81, "null character"),
    (ALL, "30 [ 0001 ff 00 ]", 0x81, "not UTF-8"),
    (ALL, "30 [ 0002 c3 28 00 ]", 0x81, "not UTF-8"),
    (ALL, "30 [ 0002 c0af 00 ]", 0x81, "not UTF-8"),
    (ALL, "30 [ 0003 e0809f 00 ]", 0x81, "not UTF-8"),
    (ALL, "30 [ 0004 f08080af 00 ]", 0x81, "not UTF-8"),
    (ALL, "30 [ 0003 eda080 00 ]", 0x81, "not UTF-8"),
    (ALL, "30 [ 0003 edb080 00 ]", 0x81, "not UTF-8"),
    (ALL, "30 [ 0004 f5808080 00 ]", 0x81, "not UTF-8"),
    // Properties.
    (V5, "30 [ 'a' ( 23 0000 ) =x ]", 0x94, "topic alias 0"),
    (V5, "30 [ '' ( 23 0000 ) =x ]", 0x94, "topic alias 0"),
    (V5, "30 [ 'a' ( 01 02 ) =x ]", 0x82, "payload format indicator with value 2"),
    (V5, "30 [ 'a' ( 01 ff ) =x ]", 0x82, "payload format indicator with value 255"),
    (V5, "30 [ 'a' ( 0b 00 ) =x ]", 0x82, "subscription identifier with value 0"),
    (V5, "30 [ 'a' ( 0b 8100 ) =x ]", 0x81, "needs fewer"),
    (V5, "30 [ 'a' ( 0b 8080808001 ) =x ]", 0x81, "longer than four bytes"),
    (V5, "30 [ 'a' ( 08 'r/+' ) =x ]", 0x90, "must not contain `+`"),
    (V5, "30 [ 'a' ( 08 '#' ) =x ]", 0x90, "must not contain `#`"),
    (V5, "30 [ 'a' ( 08 '' ) =x ]", 0x90, "at least one character"),
    (V5, "30 [ 'a' ( 03 0001 00 ) =x ]", 0x81, "null character"),
    (V5, "30 [ 'a' ( 03 0001 ff ) =x ]", 0x81, "not UTF-8"),
    (V5, "30 [ 'a' ( 26 0001 ff 'v' ) =x ]", 0x81, "not UTF-8"),
    (V5, "30 [ 'a' ( 26 'k' 0001 00 ) =x ]", 0x81, "null character"),
    (V5, "30 [ 'a' ( 26 'k' ) =x ]", 0x81, "ends within a field"),
    (V5, "30 [ 'a' ( 09 0005 aa ) =x ]", 0x81, "ends within a field"),
];

#[test]
fn malformed_publishes_are_refused() {
    all_refused(MALFORMED);
}

#[test]
fn every_form_of_publish_is_taken() {
    all_taken(&[
        (V3, "30 [ 'a' ]"),
        (V3, "31 [ '/' =x ]"),
        (V3, "3b [ 'a/b' 0001 =x ]"),
        (V3, "3d [ '$SYS/x' ffff ]"),
        (V3, "30 [ 'ä' 00ff ]"),
        (V5, "30 [ 'a' () ]"),
        (V5, "30 [ '' ( 23 0001 ) ]"),
        (V5, "32 [ 'a' 0001 ( 23 ffff 0b 01 0b 02 0b ffffff7f ) ff ]"),
        (V5, "30 [ 'a' ( 01 00 26 '' '' 26 '' '' 03 '' 09 '' ) ]"),
        (ALL, "30 [ 0003 efbbbf 00 ]"),
    ]);
}

#[test]
fn all_fields_of_a_publish_arrive() {
    let text = "3d [ 'a/b' 1234 ( 01 01 02 0000003c 23 0007 08 'r' 09 0002 ff00 26 'k' 'v' 0b 05
        0b 8001 03 'json' ) =payload ]";
    let Ok(Some(Packet::Publish(publish))) = read(Version::V5, text) else { panic!("a PUBLISH") };
    assert!(publish.dup && publish.retain);
    assert_eq!(publish.qos, QoS::ExactlyOnce);
    assert_eq!(publish.topic.as_ref().map(|topic| topic.as_str()), Some("a/b"));
    assert_eq!(publish.packet_id.map(|id| id.get()), Some(0x1234));
    assert_eq!(publish.message_expiry, Some(60));
    assert_eq!(publish.topic_alias.map(u16::from), Some(7));
    assert_eq!(publish.subscription_ids, [5, 128]);
    assert_eq!(&publish.payload[..], b"payload");
    let properties = publish.properties.expect("properties");
    assert_eq!(properties.payload_is_utf8, Some(true));
    assert_eq!(properties.content_type.as_deref(), Some("json"));
    assert_eq!(properties.response_topic.as_ref().map(|topic| topic.as_str()), Some("r"));
    assert_eq!(properties.correlation_data.as_deref(), Some(&[0xff, 0x00][..]));
    assert_eq!(properties.user_properties, [("k".into(), "v".into())]);
}

#[test]
fn a_publish_without_message_properties_carries_none() {
    let text = "30 [ 'a' ( 02 0000003c 23 0007 ) =x ]";
    let Ok(Some(Packet::Publish(publish))) = read(Version::V5, text) else { panic!("a PUBLISH") };
    assert_eq!(publish.properties, None);
}

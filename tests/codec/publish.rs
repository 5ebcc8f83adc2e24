//! PUBLISH.

use fieldpost::model::QoS;
use fieldpost::mqtt::{Packet, Version};

use crate::malformed::publish::MALFORMED;
use crate::notation::{ALL, V3, V5, all_refused, all_taken, read};

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

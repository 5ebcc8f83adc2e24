//! SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK.

use fieldpost::model::QoS;
use fieldpost::mqtt::{Packet, RetainHandling, Version};

use crate::notation::{ALL, Row, V3, V5, V31, V311, all_refused, all_taken, read, reason};

#[rustfmt::skip]
pub(crate) const MALFORMED: &[Row] = &[
    // SUBSCRIBE.
    (ALL, "82 []", 0x81, "ends within a field"),
    (ALL, "82 [ 00 ]", 0x81, "ends within a field"),
    (V5, "82 [ 0001 ]", 0x81, "ends within a field"),
    (V3, "82 [ 0001 ]", 0x82, "SUBSCRIBE has an empty payload"),
    (V5, "82 [ 0001 () ]", 0x82, "SUBSCRIBE has an empty payload"),
    (V3, "82 [ 0000 'a' 00 ]", 0x82, "packet id 0"),
    (V5, "82 [ 0000 () 'a' 00 ]", 0x82, "packet id 0"),
    (V3, "82 [ 0001 'a' ]", 0x81, "ends within a field"),
    (V3, "82 [ 0001 0005 =a ]", 0x81, "ends within a field"),
    (V3, "82 [ 0001 'a' 00 'b' ]", 0x81, "ends within a field"),
    (V5, "82 [ 0001 () 'a' ]", 0x81, "ends within a field"),
    (V3, "82 [ 0001 'a' 03 ]", 0x82, "QoS 3"),
    (V5, "82 [ 0001 () 'a' 03 ]", 0x82, "QoS 3"),
    (V311, "82 [ 0001 'a' 04 ]", 0x81, "options 0b00000100 with reserved bits"),
    (V311, "82 [ 0001 'a' 08 ]", 0x81, "reserved bits"),
    (V311, "82 [ 0001 'a' 10 ]", 0x81, "reserved bits"),
    (V311, "82 [ 0001 'a' 80 ]", 0x81, "reserved bits"),
    (V311, "82 [ 0001 'b' 00 'a' 81 ]", 0x81, "reserved bits"),
    (V5, "82 [ 0001 () 'a' 40 ]", 0x81, "options 0b01000000 with reserved bits"),
    (V5, "82 [ 0001 () 'a' 80 ]", 0x81, "reserved bits"),
    (V5, "82 [ 0001 () 'a' 30 ]", 0x82, "retain handling 3"),
    (V5, "82 [ 0001 () 'b' 00 'a' 31 ]", 0x82, "retain handling 3"),
    (V3, "82 [ 0001 '' 00 ]", 0x8f, "at least one character"),
    (V5, "82 [ 0001 () '' 00 ]", 0x8f, "at least one character"),
    (V3, "82 [ 0001 'a#' 00 ]", 0x8f, "`#` must stand alone"),
    (V3, "82 [ 0001 '#/a' 00 ]", 0x8f, "`#` must stand alone"),
    (V3, "82 [ 0001 'a/#/b' 00 ]", 0x8f, "`#` must stand alone"),
    (V3, "82 [ 0001 '##' 00 ]", 0x8f, "`#` must stand alone"),
    (V3, "82 [ 0001 'a+' 00 ]", 0x8f, "`+` must stand alone"),
    (V3, "82 [ 0001 '+a/b' 00 ]", 0x8f, "`+` must stand alone"),
    (V3, "82 [ 0001 'a/++' 00 ]", 0x8f, "`+` must stand alone"),
    (V5, "82 [ 0001 () 'a#' 00 ]", 0x8f, "`#` must stand alone"),
    (V5, "82 [ 0001 () 'x' 00 'a/b+' 00 ]", 0x8f, "`+` must stand alone"),
    (V3, "82 [ 0001 0001 00 00 ]", 0x81, "null character"),
    (V5, "82 [ 0001 () 0001 00 00 ]", 0x81, "null character"),
    (V3, "82 [ 0001 0001 ff 00 ]", 0x81, "not UTF-8"),
    (V5, "82 [ 0001 () 0003 eda080 00 ]", 0x81, "not UTF-8"),
    (V5, "82 [ 0001 () '$share/' 00 ]", 0x8f, "malformed shared subscription"),
    (V5, "82 [ 0001 () '$share/g' 00 ]", 0x8f, "malformed shared subscription"),
    (V5, "82 [ 0001 () '$share/g/' 00 ]", 0x8f, "malformed shared subscription"),
    (V5, "82 [ 0001 () '$share//a' 00 ]", 0x8f, "malformed shared subscription"),
    (V5, "82 [ 0001 () '$share/+/a' 00 ]", 0x8f, "malformed shared subscription"),
    (V5, "82 [ 0001 () '$share/#' 00 ]", 0x8f, "malformed shared subscription"),
    (V5, "82 [ 0001 () '$share/g+/a' 00 ]", 0x8f, "`+` must stand alone"),
    (V5, "82 [ 0001 () '$share/g/a#' 00 ]", 0x8f, "`#` must stand alone"),
    (V5, "82 [ 0001 () '$share/g/a' 04 ]", 0x82, "no local on a shared subscription"),
    (V5, "82 [ 0001 () 'a' 04 '$share/g/#' 05 ]", 0x82, "no local on a shared subscription"),
    (V5, "82 [ 0001 ( 0b 00 ) 'a' 00 ]", 0x82, "subscription identifier with value 0"),
    (V5, "82 [ 0001 ( 0b 01 0b 02 ) 'a' 00 ]", 0x82, "subscription identifier twice"),
    (V5, "82 [ 0001 ( 0b ffffffff7f ) 'a' 00 ]", 0x81, "longer than four bytes"),
    // UNSUBSCRIBE.
    (ALL, "a2 []", 0x81, "ends within a field"),
    (V3, "a2 [ 0001 ]", 0x82, "UNSUBSCRIBE has an empty payload"),
    (V5, "a2 [ 0001 () ]", 0x82, "UNSUBSCRIBE has an empty payload"),
    (V5, "a2 [ 0001 ]", 0x81, "ends within a field"),
    (V3, "a2 [ 0000 'a' ]", 0x82, "packet id 0"),
    (V5, "a2 [ 0000 () 'a' ]", 0x82, "packet id 0"),
    (V3, "a2 [ 0001 '' ]", 0x8f, "at least one character"),
    (V3, "a2 [ 0001 'a#' ]", 0x8f, "`#` must stand alone"),
    (V5, "a2 [ 0001 () 'a/#/b' ]", 0x8f, "`#` must stand alone"),
    (V5, "a2 [ 0001 () 'a+' ]", 0x8f, "`+` must stand alone"),
    (V5, "a2 [ 0001 () '$share/g' ]", 0x8f, "malformed shared subscription"),
    (V3, "a2 [ 0001 'a' 00 ]", 0x81, "ends within a field"),
    (V3, "a2 [ 0001 0001 00 ]", 0x81, "null character"),
    (V5, "a2 [ 0001 () 0001 ff ]", 0x81, "not UTF-8"),
    // SUBACK.
    (ALL, "90 []", 0x81, "ends within a field"),
    (ALL, "90 [ 0000 00 00 ]", 0x82, "packet id 0"),
    (V3, "90 [ 0001 ]", 0x82, "SUBACK has an empty payload"),
    (V5, "90 [ 0001 () ]", 0x82, "SUBACK has an empty payload"),
    (V3, "90 [ 0001 03 ]", 0x82, "reason code 0x03"),
    (V3, "90 [ 0001 00 81 ]", 0x82, "reason code 0x81"),
    (V3, "90 [ 0001 87 ]", 0x82, "reason code 0x87"),
    (V5, "90 [ 0001 () 03 ]", 0x82, "reason code 0x03"),
    (V5, "90 [ 0001 () 00 11 ]", 0x82, "reason code 0x11"),
    (V5, "90 [ 0001 () 81 ]", 0x82, "reason code 0x81"),
    // UNSUBACK.
    (ALL, "b0 []", 0x81, "ends within a field"),
    (ALL, "b0 [ 0000 00 00 ]", 0x82, "packet id 0"),
    (V3, "b0 [ 0001 00 ]", 0x81, "UNSUBACK has 1 bytes after its last field"),
    (V5, "b0 [ 0001 ]", 0x81, "ends within a field"),
    (V5, "b0 [ 0001 () ]", 0x82, "UNSUBACK has an empty payload"),
    (V5, "b0 [ 0001 () 01 ]", 0x82, "reason code 0x01"),
    (V5, "b0 [ 0001 () 00 97 ]", 0x82, "reason code 0x97"),
];

#[test]
fn malformed_subscriptions_are_refused() {
    all_refused(MALFORMED);
}

#[test]
fn every_form_of_subscription_is_taken() {
    all_taken(&[
        (V3, "82 [ 0001 'a' 00 '#' 01 '+' 02 '/' 00 '+/+/#' 00 ]"),
        (V3, "82 [ 0001 '$share/g' 00 '$share/g/a' 00 ]"),
        (V31, "82 [ 0001 'a' fd ]"),
        (V5, "82 [ 0001 ( 0b ffffff7f 26 'a' 'b' 26 'a' 'b' ) 'a' 2e ]"),
        (V5, "82 [ 0001 () '$share/g/a/#' 02 '$share/ä/+' 00 '$share' 04 '$shared/x' 04 ]"),
        (V3, "a2 [ 0001 'a' '#' ]"),
        (V5, "a2 [ 0001 ( 26 'a' 'b' ) 'a' '$share/g/#' ]"),
        (V3, "90 [ 0001 00 01 02 80 ]"),
        (V5, "90 [ 0001 ( 1f 'x' 26 'a' 'b' ) 00 01 02 80 83 87 8f 91 97 9e a1 a2 ]"),
        (V3, "b0 [ 0001 ]"),
        (V5, "b0 [ 0001 () 00 11 80 83 87 8f 91 ]"),
    ]);
}

#[test]
fn all_fields_of_a_subscribe_arrive() {
    let text = "82 [ 0102 ( 0b 8001 26 'k' 'v' ) 'a/#' 2e 'b' 11 ]";
    let Ok(Some(Packet::Subscribe(subscribe))) = read(Version::V5, text) else {
        panic!("a SUBSCRIBE")
    };
    assert_eq!(subscribe.packet_id.get(), 0x0102);
    assert_eq!(subscribe.subscription_id, Some(128));
    assert_eq!(subscribe.user_properties, [("k".into(), "v".into())]);
    let [first, second] = &subscribe.filters[..] else { panic!("two filters") };
    assert_eq!(first.filter.as_str(), "a/#");
    assert_eq!(first.qos, QoS::ExactlyOnce);
    assert!(first.no_local && first.retain_as_published);
    assert_eq!(first.retain_handling, RetainHandling::DoNotSend);
    assert_eq!(second.filter.as_str(), "b");
    assert_eq!(second.qos, QoS::AtLeastOnce);
    assert!(!second.no_local && !second.retain_as_published);
    assert_eq!(second.retain_handling, RetainHandling::SendIfNew);
}

#[test]
fn reasons_of_a_suback_arrive_in_order() {
    let Ok(Some(Packet::SubAck(suback))) = read(Version::V311, "90 [ 0001 02 80 00 ]") else {
        panic!("a SUBACK")
    };
    assert_eq!(suback.reasons, [reason(0x02), reason(0x80), reason(0x00)]);
}

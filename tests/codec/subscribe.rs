//! SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK.

use fieldpost::model::QoS;
use fieldpost::mqtt::{Packet, RetainHandling, Version};

use crate::malformed::subscribe::MALFORMED;
use crate::notation::{V3, V5, V31, all_refused, all_taken, read, reason};

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

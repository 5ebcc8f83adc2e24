//! Which packet may have which property (MQTT 5.0 table 2-4), and what is wrong with properties anywhere.

use fieldpost::mqtt::{CodecError, Version};

use crate::malformed::properties::MALFORMED;
use crate::notation::{all_refused, read};

#[test]
fn malformed_properties_are_refused() {
    all_refused(MALFORMED);
}

/// The packets of table 2-4, `_` where the property goes.
#[rustfmt::skip]
const PACKETS: &[(&str, &str)] = &[
    ("CONNECT", "10 [ 'MQTT' 05 02 003c ( 15 'm' _ ) 'c' ]"),
    ("will", "10 [ 'MQTT' 05 06 003c () 'c' ( _ ) 'w' 'p' ]"),
    ("CONNACK", "20 [ 00 00 ( 15 'm' _ ) ]"),
    ("PUBLISH", "30 [ 'a' ( _ ) =x ]"),
    ("PUBACK", "40 [ 0001 00 ( _ ) ]"),
    ("PUBREC", "50 [ 0001 00 ( _ ) ]"),
    ("PUBREL", "62 [ 0001 00 ( _ ) ]"),
    ("PUBCOMP", "70 [ 0001 00 ( _ ) ]"),
    ("SUBSCRIBE", "82 [ 0001 ( _ ) 'a' 00 ]"),
    ("SUBACK", "90 [ 0001 ( _ ) 00 ]"),
    ("UNSUBSCRIBE", "a2 [ 0001 ( _ ) 'a' ]"),
    ("UNSUBACK", "b0 [ 0001 ( _ ) 00 ]"),
    ("DISCONNECT", "e0 [ 00 ( _ ) ]"),
    ("AUTH", "f0 [ 18 ( 15 'm' _ ) ]"),
];

/// Table 2-4: a property with a value, and the packets that may have it.
#[rustfmt::skip]
const TABLE: &[(&str, &[&str])] = &[
    ("01 01", &["PUBLISH", "will"]),
    ("02 00000001", &["PUBLISH", "will"]),
    ("03 'text'", &["PUBLISH", "will"]),
    ("08 'reply'", &["PUBLISH", "will"]),
    ("09 'data'", &["PUBLISH", "will"]),
    ("0b 01", &["PUBLISH", "SUBSCRIBE"]),
    ("11 00000001", &["CONNECT", "CONNACK", "DISCONNECT"]),
    ("12 'id'", &["CONNACK"]),
    ("13 0001", &["CONNACK"]),
    ("15 'm'", &["CONNECT", "CONNACK", "AUTH"]),
    ("16 'd'", &["CONNECT", "CONNACK", "AUTH"]),
    ("17 01", &["CONNECT"]),
    ("18 00000001", &["will"]),
    ("19 01", &["CONNECT"]),
    ("1a 'info'", &["CONNACK"]),
    ("1c 'other'", &["CONNACK", "DISCONNECT"]),
    ("1f 'why'", &["CONNACK", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBACK", "UNSUBACK", "DISCONNECT", "AUTH"]),
    ("21 0001", &["CONNECT", "CONNACK"]),
    ("22 0001", &["CONNECT", "CONNACK"]),
    ("23 0001", &["PUBLISH"]),
    ("24 01", &["CONNACK"]),
    ("25 01", &["CONNACK"]),
    ("26 'k' 'v'", &["CONNECT", "will", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE",
        "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "DISCONNECT", "AUTH"]),
    ("27 00000001", &["CONNECT", "CONNACK"]),
    ("28 01", &["CONNACK"]),
    ("29 01", &["CONNACK"]),
    ("2a 01", &["CONNACK"]),
];

#[test]
fn each_packet_takes_the_properties_of_table_2_4_once_and_no_others() {
    for &(property, allowed) in TABLE {
        for &(name, packet) in PACKETS {
            // The method that authentication data and AUTH need stands in the packet already.
            let packet = match property.starts_with("15") {
                true => packet.replace("15 'm' ", ""),
                false => packet.to_owned(),
            };
            let once = read(Version::V5, &packet.replace('_', property));
            let twice = read(Version::V5, &packet.replace('_', &format!("{property} {property}")));
            if !allowed.contains(&name) {
                let refused = matches!(once, Err(CodecError::PropertyNotAllowed { .. }));
                assert!(refused, "{property} in {name}: {once:?}");
                continue;
            }
            assert!(matches!(once, Ok(Some(_))), "{property} in {name}: {once:?}");
            let may_repeat =
                property.starts_with("26") || property.starts_with("0b") && name == "PUBLISH";
            if may_repeat {
                assert!(matches!(twice, Ok(Some(_))), "{property} twice in {name}: {twice:?}");
            } else {
                let refused = matches!(twice, Err(CodecError::PropertyRepeated { .. }));
                assert!(refused, "{property} twice in {name}: {twice:?}");
            }
        }
    }
}

#[test]
fn identifiers_that_no_property_has_are_refused_everywhere() {
    let known: Vec<u32> =
        TABLE.iter().map(|(text, _)| u32::from_str_radix(&text[..2], 16).unwrap()).collect();
    for id in (0..0x80).filter(|id| !known.contains(id)) {
        for &(name, packet) in PACKETS {
            let got = read(Version::V5, &packet.replace('_', &format!("{id:02x} 00")));
            let refused =
                matches!(got, Err(CodecError::PropertyUnknown { id: seen, .. }) if seen == id);
            assert!(refused, "{id:#x} in {name}: {got:?}");
        }
    }
}

//! Which packet may have which reason code (MQTT 5.0 section 2.4 and each packet's own table).

use fieldpost::mqtt::{CodecError, Version};

use crate::notation::read;

/// A packet with `_` where its reason code goes, and the codes it may have.
#[rustfmt::skip]
const TABLE: &[(Version, &str, &[u8])] = &[
    (Version::V5, "20 [ 00 _ () ]", &[0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c,
        0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9f]),
    (Version::V5, "40 [ 0001 _ ]", &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]),
    (Version::V5, "50 [ 0001 _ () ]", &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]),
    (Version::V5, "62 [ 0001 _ ]", &[0x00, 0x92]),
    (Version::V5, "70 [ 0001 _ () ]", &[0x00, 0x92]),
    (Version::V5, "90 [ 0001 () _ ]", &[0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2]),
    (Version::V5, "b0 [ 0001 () _ ]", &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91]),
    (Version::V5, "e0 [ _ ]", &[0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f, 0x90,
        0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2]),
    (Version::V5, "f0 [ _ ( 15 'm' ) ]", &[0x00, 0x18, 0x19]),
    (Version::V311, "20 [ 00 _ ]", &[0, 1, 2, 3, 4, 5]),
    (Version::V31, "20 [ 00 _ ]", &[0, 1, 2, 3, 4, 5]),
    (Version::V311, "90 [ 0001 _ ]", &[0x00, 0x01, 0x02, 0x80]),
    (Version::V31, "90 [ 0001 _ ]", &[0x00, 0x01, 0x02, 0x80]),
];

#[test]
fn each_packet_takes_its_own_reason_codes_and_no_others() {
    for &(version, packet, permitted) in TABLE {
        for byte in 0..=u8::MAX {
            let text = packet.replace('_', &format!("{byte:02x}"));
            let got = read(version, &text);
            if permitted.contains(&byte) {
                assert!(matches!(got, Ok(Some(_))), "{version}: {text}: {got:?}");
            } else {
                let refused =
                    matches!(got, Err(CodecError::Reason { byte: seen, .. }) if seen == byte);
                assert!(refused, "{version}: {text}: {got:?}");
            }
        }
    }
}

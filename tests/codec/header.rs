//! Fixed headers, lengths and what arrives in parts.

use bytes::BytesMut;
use fieldpost::mqtt::{CodecError, DecodeOptions, Packet, Version, connect_version, decode};

use crate::notation::{ALL, NOT_31, Row, V3, V5, V31, all_refused, options, read, wire};

#[rustfmt::skip]
pub(crate) const MALFORMED: &[Row] = &[
    // Types.
    (ALL, "00", 0x81, "packet type 0 is reserved"),
    (ALL, "00 []", 0x81, "packet type 0 is reserved"),
    (ALL, "02 [ 0001 ]", 0x81, "packet type 0 is reserved"),
    (V3, "f0", 0x81, "packet type 15 is reserved"),
    (V3, "f0 [ 18 ( 15 'm' ) ]", 0x81, "packet type 15 is reserved"),
    // Flags: each packet has its own, the length need not have come.
    (ALL, "11", 0x81, "CONNECT has fixed header flags 0b0001"),
    (ALL, "12", 0x81, "CONNECT has fixed header flags 0b0010"),
    (ALL, "18", 0x81, "CONNECT has fixed header flags 0b1000"),
    (ALL, "1f", 0x81, "CONNECT has fixed header flags 0b1111"),
    (ALL, "21", 0x81, "CONNACK has fixed header flags"),
    (ALL, "28", 0x81, "CONNACK has fixed header flags"),
    (ALL, "41", 0x81, "PUBACK has fixed header flags"),
    (ALL, "42", 0x81, "PUBACK has fixed header flags"),
    (ALL, "48", 0x81, "PUBACK has fixed header flags"),
    (ALL, "51", 0x81, "PUBREC has fixed header flags"),
    (ALL, "52", 0x81, "PUBREC has fixed header flags"),
    (ALL, "60", 0x81, "PUBREL has fixed header flags 0b0000"),
    (ALL, "61", 0x81, "PUBREL has fixed header flags"),
    (ALL, "63", 0x81, "PUBREL has fixed header flags"),
    (ALL, "64", 0x81, "PUBREL has fixed header flags"),
    (NOT_31, "6a", 0x81, "PUBREL has fixed header flags 0b1010"),
    (ALL, "71", 0x81, "PUBCOMP has fixed header flags"),
    (ALL, "72", 0x81, "PUBCOMP has fixed header flags"),
    (ALL, "80", 0x81, "SUBSCRIBE has fixed header flags 0b0000"),
    (ALL, "81", 0x81, "SUBSCRIBE has fixed header flags"),
    (ALL, "83", 0x81, "SUBSCRIBE has fixed header flags"),
    (ALL, "86", 0x81, "SUBSCRIBE has fixed header flags"),
    (NOT_31, "8a", 0x81, "SUBSCRIBE has fixed header flags 0b1010"),
    (ALL, "91", 0x81, "SUBACK has fixed header flags"),
    (ALL, "92", 0x81, "SUBACK has fixed header flags"),
    (ALL, "a0", 0x81, "UNSUBSCRIBE has fixed header flags 0b0000"),
    (ALL, "a3", 0x81, "UNSUBSCRIBE has fixed header flags"),
    (NOT_31, "aa", 0x81, "UNSUBSCRIBE has fixed header flags 0b1010"),
    (ALL, "b1", 0x81, "UNSUBACK has fixed header flags"),
    (ALL, "b2", 0x81, "UNSUBACK has fixed header flags"),
    (ALL, "c1", 0x81, "PINGREQ has fixed header flags"),
    (ALL, "c2 []", 0x81, "PINGREQ has fixed header flags"),
    (ALL, "d1", 0x81, "PINGRESP has fixed header flags"),
    (ALL, "d8 []", 0x81, "PINGRESP has fixed header flags"),
    (ALL, "e1", 0x81, "DISCONNECT has fixed header flags"),
    (ALL, "e2 []", 0x81, "DISCONNECT has fixed header flags"),
    (V5, "f1", 0x81, "AUTH has fixed header flags"),
    (V5, "f2", 0x81, "AUTH has fixed header flags"),
    (ALL, "36", 0x81, "PUBLISH has QoS 3"),
    (ALL, "37", 0x81, "PUBLISH has QoS 3"),
    (ALL, "3e", 0x81, "PUBLISH has QoS 3"),
    (ALL, "3f", 0x81, "PUBLISH has QoS 3"),
    (ALL, "38", 0x81, "PUBLISH has DUP at QoS 0"),
    (ALL, "39", 0x81, "PUBLISH has DUP at QoS 0"),
    // Remaining length.
    (ALL, "30 80808080", 0x81, "longer than four bytes"),
    (ALL, "30 ffffffff", 0x81, "longer than four bytes"),
    (ALL, "30 ffffffff7f", 0x81, "longer than four bytes"),
    (ALL, "c0 8080808000", 0x81, "longer than four bytes"),
    (ALL, "c0 8000", 0x81, "uses 2 bytes and needs fewer"),
    (ALL, "c0 808000", 0x81, "uses 3 bytes and needs fewer"),
    (ALL, "c0 80808000", 0x81, "uses 4 bytes and needs fewer"),
    (ALL, "40 8200 0001", 0x81, "uses 2 bytes and needs fewer"),
    (ALL, "30 ffffff7f", 0x95, "at most 1000000 are taken"),
    (ALL, "30 bd843d", 0x95, "has 1000001 bytes"),
    // Pings have nothing in them.
    (ALL, "c0 [ 00 ]", 0x81, "PINGREQ has 1 bytes after its last field"),
    (ALL, "d0 [ 00 ]", 0x81, "PINGRESP has 1 bytes after its last field"),
    (ALL, "c0 [ c000 ]", 0x81, "PINGREQ has 2 bytes after its last field"),
];

#[test]
fn malformed_fixed_headers_are_refused() {
    all_refused(MALFORMED);
}

#[test]
fn what_is_sent_at_qos_1_may_carry_dup_in_31() {
    for text in ["6a [ 0001 ]", "8a [ 0001 'a' 00 ]", "aa [ 0001 'a' ]"] {
        for &version in V31 {
            assert!(matches!(read(version, text), Ok(Some(_))), "{text}");
        }
    }
}

#[test]
fn a_packet_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() {
    let bytes = wire("30 [ 'a' =payload ]");
    let exact = u32::try_from(bytes.len()).unwrap();
    let with = |packet_bytes_max| {
        let options = DecodeOptions { version: Version::V311, packet_bytes_max };
        decode(&mut BytesMut::from(bytes.as_slice()), &options)
    };
    assert!(matches!(with(exact), Ok(Some(Packet::Publish(_)))));
    let max = exact - 1;
    assert_eq!(with(max), Err(CodecError::PacketTooLarge { bytes: bytes.len(), max }));
}

#[test]
fn a_packet_too_large_is_refused_before_it_has_come() {
    let options = DecodeOptions { version: Version::V5, packet_bytes_max: 100 };
    let mut bytes = BytesMut::from(&[0x30, 0xff, 0x7f][..]);
    assert!(matches!(decode(&mut bytes, &options), Err(CodecError::PacketTooLarge { .. })));
}

#[test]
fn half_a_packet_waits_and_stays_in_the_buffer() {
    let whole = wire("32 [ 'a/b' 0001 =payload ]");
    for cut in 0..whole.len() {
        let mut bytes = BytesMut::from(&whole[..cut]);
        assert_eq!(decode(&mut bytes, &options(Version::V311)), Ok(None));
        assert_eq!(bytes.len(), cut);
    }
}

#[test]
fn only_one_packet_is_taken_off_the_front() {
    let mut bytes = BytesMut::from(wire("c0 [] 40 [ 0001 ] 30 [ 'a' =x ] d0").as_slice());
    let names: Vec<_> = std::iter::from_fn(|| decode(&mut bytes, &options(Version::V311)).unwrap())
        .map(|packet| packet.name())
        .collect();
    assert_eq!(names, ["PINGREQ", "PUBACK", "PUBLISH"]);
    assert_eq!(&bytes[..], [0xd0]);
}

#[test]
fn a_payload_does_not_keep_the_buffer_it_came_in() {
    let mut bytes = BytesMut::from(wire("30 [ 'a' =payload ]").as_slice());
    let storage = bytes.as_ptr_range();
    let Ok(Some(Packet::Publish(publish))) = decode(&mut bytes, &options(Version::V311)) else {
        panic!("a PUBLISH")
    };
    assert_eq!(&publish.payload[..], b"payload");
    assert!(!storage.contains(&publish.payload.as_ptr()));
}

#[test]
fn the_version_of_a_connect_is_known_before_it_is_decoded() {
    let of = |text: &str| connect_version(&wire(text));
    assert_eq!(of("10 [ 'MQTT' 05 ff ]"), Some(Version::V5));
    assert_eq!(of("10 [ 'MQTT' 04 ff ]"), Some(Version::V311));
    assert_eq!(of("10 [ 'MQIsdp' 03 ]"), Some(Version::V31));
    assert_eq!(of("10 7f 'MQTT' 05"), Some(Version::V5));
    assert_eq!(of("10 [ 'MQTT' 06 ]"), None);
    assert_eq!(of("10 0c 0004 =MQ"), None);
    assert_eq!(of("30 [ 'MQTT' 05 ]"), None);
    assert_eq!(of("10"), None);
    assert_eq!(of(""), None);
}

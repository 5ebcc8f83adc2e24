//! Fixed headers, lengths and what arrives in parts.

use bytes::BytesMut;
use fieldpost::mqtt::{CodecError, DecodeOptions, Packet, Version, connect_version, decode};

use crate::malformed::header::MALFORMED;
use crate::notation::{V31, all_refused, options, read, wire};

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

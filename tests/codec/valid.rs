//! What is written, to the byte.

use bytes::BytesMut;
use fieldpost::mqtt::{Version, encode, encoded_len};

use crate::notation::{ALL, V3, V5, V311, options, wire};

/// Packets in their shortest form: read and written again they are the same bytes.
#[rustfmt::skip]
const CANONICAL: &[(&[Version], &str)] = &[
    (V311, "10 [ 'MQTT' 04 c6 003c 'c' 'w' 'p' 'u' 'pw' ]"),
    (V311, "10 [ 'MQIsdp' 03 02 003c 'c' ]"),
    (V5, "10 [ 'MQTT' 05 02 003c ( 11 00000e10 21 000a 26 'a' 'b' 26 'a' 'b' ) 'c' ]"),
    (V5, "10 [ 'MQTT' 05 36 003c () 'c' ( 18 00000001 01 01 ) 'w' '' ]"),
    (V311, "20 [ 01 00 ]"),
    (V3, "20 [ 00 05 ]"),
    (V5, "20 [ 00 87 ( 1f 'no' ) ]"),
    (V3, "30 [ 'a' =x ]"),
    (ALL, "3b [ 'a' 0001 00 ]"),
    (V5, "32 [ '' 0001 ( 23 0001 0b ffffff7f ) =x ]"),
    (ALL, "40 [ 0001 ]"),
    (V5, "50 [ 0001 80 ]"),
    (V5, "62 [ 0001 00 ( 26 'a' 'b' ) ]"),
    (V5, "70 [ 0001 92 ( 1f 'a' ) ]"),
    (V3, "82 [ 0001 'a' 01 '#' 02 ]"),
    (V5, "82 [ 0001 ( 0b 01 ) '$share/g/a' 2a ]"),
    (V3, "90 [ 0001 00 01 02 80 ]"),
    (V5, "90 [ 0001 () 97 ]"),
    (V3, "a2 [ 0001 'a' ]"),
    (V5, "a2 [ 0001 () 'a' ]"),
    (V3, "b0 [ 0001 ]"),
    (V5, "b0 [ 0001 () 11 ]"),
    (ALL, "c0 []"),
    (ALL, "d0 []"),
    (ALL, "e0 []"),
    (V5, "e0 [ 04 ]"),
    (V5, "e0 [ 00 ( 11 00000000 ) ]"),
    (V5, "f0 []"),
    (V5, "f0 [ 18 ( 15 'm' 16 'd' ) ]"),
];

#[test]
fn a_packet_in_its_shortest_form_is_written_as_it_was_read() {
    for &(versions, text) in CANONICAL {
        for &version in versions {
            let bytes = wire(text);
            let packet =
                fieldpost::mqtt::decode(&mut BytesMut::from(bytes.as_slice()), &options(version))
                    .unwrap_or_else(|error| panic!("{version}: {text}: {error}"))
                    .expect("a whole packet");
            let mut out = BytesMut::from(&b"before"[..]);
            encode(&packet, version, &mut out)
                .unwrap_or_else(|error| panic!("{version}: {text}: {error}"));
            assert_eq!(&out[..6], b"before");
            assert_eq!(&out[6..], bytes, "{version}: {text}");
            assert_eq!(encoded_len(&packet, version), bytes.len(), "{version}: {text}");
        }
    }
}

//! What holds for any packet and any bytes.

use bytes::BytesMut;
use fieldpost::mqtt::{Packet, Version, decode, encode, encoded_len};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::arbitrary::{left, packet};
use crate::notation::{ALL, options};

fn written(packet: &Packet, version: Version) -> BytesMut {
    let mut out = BytesMut::new();
    encode(packet, version, &mut out).unwrap_or_else(|error| panic!("{error}: {packet:?}"));
    out
}

fn versioned() -> impl Strategy<Value = (Version, Packet)> {
    prop::sample::select(ALL).prop_flat_map(|version| (Just(version), packet(version)))
}

fn conversation() -> impl Strategy<Value = (Version, Vec<Packet>)> {
    prop::sample::select(ALL).prop_flat_map(|version| (Just(version), vec(packet(version), 1..5)))
}

/// Decodes all there is; whatever was taken can be said, and means the same when it is read again.
fn decode_and_say_again(bytes: &[u8], version: Version) {
    let mut bytes = BytesMut::from(bytes);
    while let Ok(Some(packet)) = decode(&mut bytes, &options(version)) {
        let version =
            if let Packet::Connect(connect) = &packet { connect.version } else { version };
        let mut again = written(&packet, version);
        assert_eq!(decode(&mut again, &options(version)), Ok(Some(packet)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn what_was_encoded_decodes_to_what_the_version_can_say((version, packet) in versioned()) {
        let mut bytes = written(&packet, version);
        prop_assert_eq!(bytes.len(), encoded_len(&packet, version));
        prop_assert_eq!(decode(&mut bytes, &options(version)), Ok(Some(left(&packet, version))));
        prop_assert!(bytes.is_empty());
    }

    #[test]
    fn split_anywhere_the_same_packets_come_out(
        (version, packets) in conversation(),
        cuts in vec(any::<Index>(), 0..6),
    ) {
        let whole: Vec<u8> =
            packets.iter().flat_map(|packet| written(packet, version)).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len())).collect();
        cuts.sort_unstable();
        cuts.push(whole.len());
        let (mut buffer, mut seen, mut from) = (BytesMut::new(), Vec::new(), 0);
        for cut in cuts {
            buffer.extend_from_slice(&whole[from..cut]);
            from = cut;
            while let Some(packet) = decode(&mut buffer, &options(version)).unwrap() {
                seen.push(packet);
            }
        }
        let expected: Vec<Packet> = packets.iter().map(|packet| left(packet, version)).collect();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn any_bytes_give_a_packet_or_more_or_an_error(
        version in prop::sample::select(ALL),
        bytes in vec(any::<u8>(), 0..64),
    ) {
        decode_and_say_again(&bytes, version);
    }

    #[test]
    fn any_body_gives_a_packet_or_an_error(
        version in prop::sample::select(ALL),
        first in any::<u8>(),
        body in vec(prop_oneof![0_u8..0x30, any::<u8>()], 0..40),
    ) {
        let length = u8::try_from(body.len()).unwrap();
        let bytes = [&[first, length][..], &body].concat();
        let mut buffer = BytesMut::from(bytes.as_slice());
        prop_assert_ne!(decode(&mut buffer, &options(version)), Ok(None));
        decode_and_say_again(&bytes, version);
    }

    #[test]
    fn a_damaged_packet_never_panics_and_what_is_taken_can_be_said_again(
        (version, packet) in versioned(),
        damage in vec((any::<Index>(), any::<u8>()), 1..4),
        read_in in prop::sample::select(ALL),
    ) {
        let mut bytes = written(&packet, version);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        decode_and_say_again(&bytes, version);
        decode_and_say_again(&bytes, read_in);
    }
}

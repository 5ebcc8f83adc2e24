//! What the codec makes of the bytes the tables write.

use bytes::BytesMut;
use fieldpost::mqtt::{CodecError, DecodeOptions, Packet, ReasonCode, Version, decode};

pub(crate) use crate::malformed::notation::{ALL, PACKET_BYTES_MAX, Row, V3, V5, V31, V311, wire};

pub(crate) fn options(version: Version) -> DecodeOptions {
    DecodeOptions { version, packet_bytes_max: PACKET_BYTES_MAX }
}

/// Decodes what `text` stands for.
pub(crate) fn read(version: Version, text: &str) -> Result<Option<Packet>, CodecError> {
    let mut bytes = BytesMut::from(wire(text).as_slice());
    decode(&mut bytes, &options(version))
}

/// Every row is refused in each of its versions, with its reason code and its words.
pub(crate) fn all_refused(rows: &[Row]) {
    let mut wrong = Vec::new();
    for &(versions, text, reason, words) in rows {
        for &version in versions {
            match read(version, text) {
                Err(error) => {
                    let said = error.to_string();
                    if error.reason_code().byte() != reason || !said.contains(words) {
                        let got = error.reason_code();
                        wrong.push(format!("{version}: {text}: {got}: {said}, not {words}"));
                    }
                }
                Ok(packet) => wrong.push(format!("{version}: {text}: taken as {packet:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every packet is taken in each of its versions, to the last byte.
pub(crate) fn all_taken(rows: &[(&[Version], &str)]) {
    let mut wrong = Vec::new();
    for &(versions, text) in rows {
        for &version in versions {
            match read(version, text) {
                Ok(Some(_)) => {}
                other => wrong.push(format!("{version}: {text}: {other:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The reason for a byte the test knows to be one.
pub(crate) fn reason(byte: u8) -> ReasonCode {
    ReasonCode::from_byte(byte).expect("a reason code")
}

#[test]
fn the_notation_fills_in_lengths() {
    assert_eq!(wire("10 [ 'ab' ( 01 ) =c ]"), [0x10, 7, 0, 2, b'a', b'b', 1, 1, b'c']);
    assert_eq!(wire("c0 []"), [0xc0, 0]);
}

#[test]
fn the_tables_hold_at_least_150_malformed_packets() {
    let rows: usize = crate::malformed::TABLES.iter().map(|(_, rows)| rows.len()).sum();
    assert!(rows >= 150, "{rows} rows");
}

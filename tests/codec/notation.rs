//! How the tables write bytes: hex, with lengths and strings filled in.
//!
//! `[ … ]` is preceded by its length as a variable byte integer (a packet's body), so is `( … )` (a property section);
//! `'text'` is a string with its two-byte length; `=text` is text without one; all else is hex.

use bytes::BytesMut;
use fieldpost::mqtt::{CodecError, DecodeOptions, Packet, ReasonCode, Version, decode};

pub(crate) const V31: &[Version] = &[Version::V31];
pub(crate) const V311: &[Version] = &[Version::V311];
pub(crate) const V5: &[Version] = &[Version::V5];
/// 3.1.1 and 3.1.
pub(crate) const V3: &[Version] = &[Version::V311, Version::V31];
/// 3.1.1 and 5.0.
pub(crate) const NOT_31: &[Version] = &[Version::V311, Version::V5];
pub(crate) const ALL: &[Version] = &[Version::V31, Version::V311, Version::V5];

/// A packet that must be refused: in which versions, its bytes, the reason code, and words of the error.
pub(crate) type Row = (&'static [Version], &'static str, u8, &'static str);

/// The bytes that `text` stands for.
pub(crate) fn wire(text: &str) -> Vec<u8> {
    let mut open: Vec<Vec<u8>> = vec![Vec::new()];
    for token in text.split_whitespace() {
        match token {
            "[" | "(" => open.push(Vec::new()),
            "]" | ")" => {
                let inner = open.pop().expect("brackets match");
                let outer = open.last_mut().expect("brackets match");
                outer.extend(variable(inner.len()));
                outer.extend(inner);
            }
            "[]" | "()" => open.last_mut().expect("brackets match").push(0),
            _ => open.last_mut().expect("brackets match").extend(token_bytes(token)),
        }
    }
    assert_eq!(open.len(), 1, "brackets match in {text}");
    open.remove(0)
}

fn token_bytes(token: &str) -> Vec<u8> {
    if let Some(text) = token.strip_prefix('\'') {
        let text = text.strip_suffix('\'').expect("a quote is closed");
        let length = u16::try_from(text.len()).expect("a short string");
        return [&length.to_be_bytes(), text.as_bytes()].concat();
    }
    if let Some(text) = token.strip_prefix('=') {
        return text.as_bytes().to_vec();
    }
    assert!(token.len().is_multiple_of(2), "hex comes in pairs: {token}");
    (0..token.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&token[at..at + 2], 16).expect("hex"))
        .collect()
}

fn variable(mut length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(length % 128).expect("below 128");
        length /= 128;
        bytes.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            return bytes;
        }
    }
}

pub(crate) fn options(version: Version) -> DecodeOptions {
    DecodeOptions { version, packet_bytes_max: 1_000_000 }
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
    let tables = [
        crate::header::MALFORMED,
        crate::connect::MALFORMED,
        crate::connack::MALFORMED,
        crate::publish::MALFORMED,
        crate::subscribe::MALFORMED,
        crate::disconnect::MALFORMED,
        crate::properties::MALFORMED,
    ];
    let rows: usize = tables.iter().map(|table| table.len()).sum();
    assert!(rows >= 150, "{rows} rows");
}

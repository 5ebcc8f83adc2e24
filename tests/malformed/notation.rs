//! How the tables write bytes: hex, with lengths and strings filled in.
//!
//! `[ … ]` is preceded by its length as a variable byte integer (a packet's body), so is `( … )` (a property section);
//! `'text'` is a string with its two-byte length; `=text` is text without one; all else is hex.

use fieldpost::mqtt::Version;

/// The largest packet taken by whoever reads the tables, in bytes with its fixed header.
pub const PACKET_BYTES_MAX: u32 = 1024 * 1024;

pub const V31: &[Version] = &[Version::V31];
pub const V311: &[Version] = &[Version::V311];
pub const V5: &[Version] = &[Version::V5];
/// 3.1.1 and 3.1.
pub const V3: &[Version] = &[Version::V311, Version::V31];
/// 3.1.1 and 5.0.
pub const NOT_31: &[Version] = &[Version::V311, Version::V5];
pub const ALL: &[Version] = &[Version::V31, Version::V311, Version::V5];

/// A packet that must be refused: in which versions, its bytes, the reason code, and words of the error.
pub type Row = (&'static [Version], &'static str, u8, &'static str);

/// The bytes that `text` stands for.
pub fn wire(text: &str) -> Vec<u8> {
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

//! core: base64 (RFC 4648 section 4) for payloads that are no text.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Writes bytes as base64 with padding.
///
/// ```
/// assert_eq!(fieldpost::control::encode_base64(b"\x00\xff"), "AP8=");
/// ```
#[must_use]
pub fn encode_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three.iter_mut().zip(chunk).for_each(|(place, byte)| *place = *byte);
        let [a, b, c] = three;
        let bits = u32::from_be_bytes([0, a, b, c]);
        for at in 0..4 {
            let index = (bits >> (18 - 6 * at) & 63) as usize;
            let is_there = at <= chunk.len();
            let letter = ALPHABET.get(index).filter(|_| is_there).copied().unwrap_or(b'=');
            text.push(char::from(letter));
        }
    }
    text
}

/// The inverse of [`encode_base64`]; `None` if the text is no base64 with padding.
#[must_use]
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let (chunks, rest) = text.as_bytes().as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    let mut bytes = Vec::with_capacity(chunks.len() * 3);
    for (at, chunk) in chunks.iter().enumerate() {
        let padding = chunk.iter().rev().take_while(|letter| **letter == b'=').count();
        if padding > 2 || (padding > 0 && at + 1 < chunks.len()) {
            return None;
        }
        let mut bits = 0;
        for letter in chunk.iter().take(4 - padding) {
            let place = ALPHABET.iter().position(|known| known == letter)?;
            bits = bits << 6 | u32::try_from(place).ok()?;
        }
        for _ in 0..padding {
            bits <<= 6;
        }
        let [_, decoded @ ..] = bits.to_be_bytes();
        bytes.extend_from_slice(decoded.get(..3 - padding)?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_specification_go_both_ways() {
        let examples = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, coded) in examples {
            assert_eq!(encode_base64(plain.as_bytes()), coded);
            assert_eq!(decode_base64(coded).as_deref(), Some(plain.as_bytes()));
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode_base64(&encode_base64(&all)), Some(all));
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for text in ["A", "AAA", "A===", "====", "AA=A", "AA==AAAA", "A*AA"] {
            assert_eq!(decode_base64(text), None, "{text}");
        }
    }
}

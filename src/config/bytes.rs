//! core: bytes as people write them: characters, and escapes for what has none.

use std::sync::Arc;

use super::fields::Field;
use super::notes::{At, Notes};

/// Bytes of a mark or a request, at most.
const BYTES_MAX: usize = 256;

/// Reads bytes such as `\r\n` or `\x02`.
pub(super) fn read(
    field: &Field<'_>,
    example: &str,
    notes: &mut Notes<'_>,
) -> Option<At<Arc<[u8]>>> {
    let text = field.verbatim(example, notes)?;
    let complaint = match parse(&text.value) {
        Ok(bytes) if bytes.len() <= BYTES_MAX => {
            return Some(At { value: bytes.into(), spot: text.spot });
        }
        Ok(bytes) => format!("`{}` has {} bytes, more than {BYTES_MAX}", field.name, bytes.len()),
        Err(message) => message,
    };
    let remedy = r"write `\r`, `\n`, `\t`, `\0`, `\\` and, in single quotes, any byte as `'\xb0'`";
    notes.error(&text.spot, complaint, remedy);
    None
}

fn parse(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if ('\u{80}'..='\u{ff}').contains(&c) {
            return Err(format!("`{c}` may be one byte or a character of two"));
        }
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        bytes.push(match rest.next() {
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('\\') => b'\\',
            Some('x') => {
                let digits: String = rest.by_ref().take(2).collect();
                let is_plain = digits.len() == 2 && digits.chars().all(|c| c.is_ascii_hexdigit());
                let byte = u8::from_str_radix(&digits, 16).ok().filter(|_| is_plain);
                byte.ok_or_else(|| format!("`\\x{digits}` is not two hexadecimal digits"))?
            }
            Some(other) => return Err(format!("`\\{other}` stands for nothing")),
            None => return Err("a single `\\` stands at the end".to_owned()),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_characters_and_escapes() {
        assert_eq!(parse(r"W\r\n").expect("right"), b"W\r\n");
        assert_eq!(parse("\r\n").expect("right"), b"\r\n");
        assert_eq!(parse(r"\x02\xFF\0\t\\").expect("right"), b"\x02\xff\0\t\\");
        for text in [r"\q", r"\x2", r"\x+1", r"\xé", "\\", "\u{ff}"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

//! core: from registers to a text.

use std::sync::Arc;

use super::NoValue;
use crate::field::Encoding;

/// The text in `registers`, two bytes each, up to the first NUL, of `length` bytes at most, without white space at its end.
pub(super) fn decode(
    registers: impl Iterator<Item = u16>,
    length: usize,
    encoding: Encoding,
) -> Result<Arc<str>, NoValue> {
    if encoding == Encoding::Utf16 {
        let units = registers.take(length.div_ceil(2)).take_while(|unit| *unit != 0);
        let text = char::decode_utf16(units).collect::<Result<String, _>>();
        return match text {
            Ok(text) => Ok(text.trim_end().into()),
            Err(error) => Err(strange(error.unpaired_surrogate(), "UTF-16")),
        };
    }
    let mut bytes: Vec<u8> = registers.flat_map(u16::to_be_bytes).take(length).collect();
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    let bytes = bytes.trim_ascii_end();
    let latin_1 = || bytes.iter().copied().map(char::from).collect::<String>().into();
    match encoding {
        Encoding::Latin1 => Ok(latin_1()),
        Encoding::Ascii => match bytes.iter().find(|byte| !byte.is_ascii()) {
            Some(byte) => Err(strange((*byte).into(), "ASCII")),
            None => Ok(latin_1()),
        },
        Encoding::Guess | Encoding::Utf8 | Encoding::Utf16 => match str::from_utf8(bytes) {
            Ok(text) => Ok(text.into()),
            Err(_) if encoding == Encoding::Guess => Ok(latin_1()),
            Err(error) => {
                let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
                Err(strange(byte.into(), "UTF-8"))
            }
        },
    }
}

fn strange(unit: u16, encoding: &str) -> NoValue {
    NoValue::OutOfRange(format!("the text holds {unit:#04x}, which is no {encoding}"))
}

//! core: from registers and bits to a value with its quality.

use std::sync::Arc;

use super::pdu::{Data, ReadRange};
use crate::field::{Order, PointSettings, ValueType};
use crate::model::{Quality, Value};

/// Significant digits every `f32` keeps when it is written and read again.
const F32_DIGITS: usize = 9;
/// Significant digits a calculation with `f64` keeps.
const F64_DIGITS: usize = 15;
/// Beyond this many digits after the decimal point a scale is taken for the result of a division.
const DECIMALS_MAX: usize = 12;

/// What a point's value is before scale, offset and names.
enum Raw {
    Bool(bool),
    Int(i64),
    UInt(u64),
    F32(f32),
    F64(f64),
    Text(Arc<str>),
    OutOfRange(String),
}

/// Takes the value of `point` out of `data`, the answer to `range`. There is no value unless the quality is good.
///
/// Whole numbers stay whole while scale is 1, offset 0 and no digits after the decimal point are asked for. Other
/// numbers are rounded to `decimals`; where it is not given, to the digits that scale and offset have (integers), or
/// to the precision of the type (floats), so that 3 × 0.1 is 0.3. Names are looked up by the number before scaling.
#[must_use]
pub fn decode(point: &PointSettings, range: ReadRange, data: &Data) -> (Option<Value>, Quality) {
    let Some(raw) = raw(point, range, data) else {
        debug_assert!(false, "{} is not within {range}", point.name);
        let reason = Arc::from(format!("the answer to {range} does not hold this point"));
        return (None, Quality::Error { reason });
    };
    let value = match raw {
        Raw::Bool(bit) => named(point, i64::from(bit)).or(Some(Value::Bool(bit))),
        Raw::Int(int) => named(point, int).or_else(|| whole(point, int.into())),
        Raw::UInt(int) => {
            let name = i64::try_from(int).ok().and_then(|int| named(point, int));
            name.or_else(|| whole(point, int.into()))
        }
        Raw::F32(float) if float.is_finite() => {
            // The shortest text of a single, read as a double: 0.1 instead of 0.10000000149011612.
            fraction(point, float.to_string().parse().unwrap_or(f64::from(float)), F32_DIGITS)
        }
        Raw::F64(float) if float.is_finite() => fraction(point, float, F64_DIGITS),
        Raw::F32(float) => return out_of_range(format!("the device says {float}")),
        Raw::F64(float) => return out_of_range(format!("the device says {float}")),
        Raw::Text(text) => Some(Value::Text(text)),
        Raw::OutOfRange(reason) => return out_of_range(reason),
    };
    match value {
        Some(value) => (Some(value), Quality::Good),
        None => out_of_range("the scaled value is too large for a number".to_owned()),
    }
}

fn out_of_range(reason: String) -> (Option<Value>, Quality) {
    (None, Quality::OutOfRange { reason: reason.into() })
}

/// `None` if `data` does not hold the point.
fn raw(point: &PointSettings, range: ReadRange, data: &Data) -> Option<Raw> {
    let from = usize::from(point.place.address.checked_sub(range.address())?);
    let registers = match data {
        Data::Bits(bits) => return bits.get(from).copied().map(Raw::Bool),
        Data::Registers(registers) => {
            registers.get(from..from + usize::from(point.value_type.registers()))?
        }
    };
    Some(number(point, &bytes(point, registers)))
}

/// The bytes of a value, most significant (or first of a text) first.
fn bytes(point: &PointSettings, registers: &[u16]) -> Vec<u8> {
    let bytes = |register: u16| match point.byte_order {
        Order::Big => register.to_be_bytes(),
        Order::Little => register.to_le_bytes(),
    };
    match point.word_order {
        Order::Big => registers.iter().copied().flat_map(bytes).collect(),
        Order::Little => registers.iter().rev().copied().flat_map(bytes).collect(),
    }
}

fn number(point: &PointSettings, bytes: &[u8]) -> Raw {
    let unsigned = bytes.iter().rev().take(8).rev();
    let unsigned = unsigned.fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    // The types are as wide as their registers, so the low bits are all there is.
    let low32 = (unsigned & 0xffff_ffff) as u32;
    let low16 = (unsigned & 0xffff) as u16;
    match point.value_type {
        ValueType::Bool => match point.place.bit {
            Some(bit) => Raw::Bool(low16.checked_shr(u32::from(bit)).unwrap_or_default() & 1 == 1),
            None => Raw::Bool(low16 != 0),
        },
        ValueType::I16 => Raw::Int(i64::from(low16.cast_signed())),
        ValueType::I32 => Raw::Int(i64::from(low32.cast_signed())),
        ValueType::I64 => Raw::Int(unsigned.cast_signed()),
        ValueType::U16 | ValueType::U32 | ValueType::U64 => Raw::UInt(unsigned),
        ValueType::F32 => Raw::F32(f32::from_bits(low32)),
        ValueType::F64 => Raw::F64(f64::from_bits(unsigned)),
        ValueType::Bcd { .. } => bcd(unsigned, bytes.len() * 2),
        ValueType::Text { length } => Raw::Text(text(bytes, usize::from(length))),
    }
}

/// Reads each half byte as a decimal digit.
fn bcd(bits: u64, digits: usize) -> Raw {
    let mut number = 0u64;
    for place in (0..digits.min(16)).rev() {
        let digit = bits >> (place * 4) & 0xf;
        if digit > 9 {
            return Raw::OutOfRange(format!("{bits:#0width$x} is not decimal", width = digits + 2));
        }
        number = number * 10 + digit;
    }
    Raw::UInt(number)
}

/// Text up to the first NUL without trailing white space; bytes that are not UTF-8 are taken as Latin-1, which old devices
/// mean by them and which loses nothing.
fn text(bytes: &[u8], length: usize) -> Arc<str> {
    let bytes = bytes.get(..length).unwrap_or(bytes);
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii_end();
    match str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => bytes.iter().copied().map(char::from).collect::<String>().into(),
    }
}

fn named(point: &PointSettings, number: i64) -> Option<Value> {
    let index = point.names.binary_search_by_key(&number, |(number, _)| *number).ok()?;
    point.names.get(index).map(|(_, name)| Value::Text(Arc::clone(name)))
}

/// A whole number with scale and offset; `None` when it leaves the range of numbers.
fn whole(point: &PointSettings, number: i128) -> Option<Value> {
    let is_plain = is(point.scale, 1.0) && is(point.offset, 0.0);
    if is_plain && point.decimals.unwrap_or_default() == 0 {
        return match (i64::try_from(number), u64::try_from(number)) {
            (Ok(int), _) => Some(Value::Int(int)),
            (_, Ok(int)) => Some(Value::UInt(int)),
            _ => None,
        };
    }
    let scaled = number as f64 * point.scale + point.offset;
    let own = digits_after_point(point.scale).max(digits_after_point(point.offset));
    match (point.decimals, u8::try_from(own)) {
        (Some(decimals), _) => rounded(scaled, decimals),
        (None, Ok(decimals)) if own <= DECIMALS_MAX => rounded(scaled, decimals),
        (None, _) => significant(scaled, F64_DIGITS),
    }
}

/// A finite float with scale and offset; `None` when it leaves the range of numbers.
fn fraction(point: &PointSettings, number: f64, digits: usize) -> Option<Value> {
    let is_plain = is(point.scale, 1.0) && is(point.offset, 0.0);
    let scaled = if is_plain { number } else { number * point.scale + point.offset };
    match point.decimals {
        Some(decimals) => rounded(scaled, decimals),
        None if is_plain => finite(scaled, None),
        None => significant(scaled, digits),
    }
}

fn rounded(number: f64, decimals: u8) -> Option<Value> {
    let text = format!("{number:.*}", usize::from(decimals));
    finite(text.parse().unwrap_or(number), Some(decimals))
}

fn significant(number: f64, digits: usize) -> Option<Value> {
    let text = format!("{number:.*e}", digits - 1);
    finite(text.parse().unwrap_or(number), None)
}

fn finite(number: f64, decimals: Option<u8>) -> Option<Value> {
    // Adding zero makes -0 plain.
    number.is_finite().then_some(Value::Float { value: number + 0.0, decimals })
}

/// How many digits the shortest text of `number` has after the decimal point.
fn digits_after_point(number: f64) -> usize {
    number.to_string().split_once('.').map_or(0, |(_, digits)| digits.len())
}

/// Whether a setting was left at (or set to) exactly this number.
fn is(setting: f64, number: f64) -> bool {
    setting.to_bits() == number.to_bits()
}

#[cfg(test)]
mod tests;

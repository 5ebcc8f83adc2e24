//! core: from bits to a number, with scale, offset and names.

use std::fmt::Write as _;
use std::sync::Arc;

use super::NoValue;
use crate::field::{Half, Marker, PointSettings, ValueType};
use crate::model::Value;

/// Significant digits every `f32` keeps when it is written and read again.
const F32_DIGITS: usize = 9;
/// Significant digits a calculation with `f64` keeps.
const F64_DIGITS: usize = 15;
/// Beyond this many digits after the decimal point a scale is taken for the result of a division.
const DECIMALS_MAX: usize = 12;

/// What a point's value is before scale, offset and names.
enum Raw {
    Int(i64),
    UInt(u64),
    F32(f32),
    F64(f64),
}

/// The value of a single bit.
pub(super) fn bit(point: &PointSettings, bit: bool) -> Value {
    named(point, bit.into()).unwrap_or(Value::Bool(bit))
}

/// The value in `bits`: those of its registers, the most significant first.
pub(super) fn decode(point: &PointSettings, bits: u64) -> Result<Value, NoValue> {
    let value_type = point.value_type;
    let bits = if matches!(value_type, ValueType::I8(Half::High) | ValueType::U8(Half::High)) {
        bits >> 8
    } else {
        bits
    };
    let is_half = matches!(value_type, ValueType::I8(_) | ValueType::U8(_));
    let bits = if is_half { bits & 0xff } else { bits };
    if value_type == ValueType::Bool {
        let mask = point.place.bit.map_or(u64::MAX, |bit| 1 << (bit & 0xf));
        return Ok(bit(point, bits & mask != 0));
    }
    if point.invalid.iter().any(|marker| is_marked(*marker, value_type, bits)) {
        let what = match raw(value_type, bits) {
            Ok(Raw::F32(float)) => format!("{float} ({bits:#x})"),
            Ok(Raw::F64(float)) => format!("{float} ({bits:#x})"),
            Ok(Raw::Int(_) | Raw::UInt(_)) | Err(_) => format!("{bits:#x}"),
        };
        return Err(NoValue::Invalid(format!("the device says {what}, which stands for no value")));
    }
    if !point.bit_names.is_empty() {
        return Ok(set_bits(point, bits));
    }
    let value = match raw(value_type, bits)? {
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
        Raw::F32(float) => return Err(NoValue::OutOfRange(format!("the device says {float}"))),
        Raw::F64(float) => return Err(NoValue::OutOfRange(format!("the device says {float}"))),
    };
    value
        .ok_or_else(|| NoValue::OutOfRange("the scaled value is too large for a number".to_owned()))
}

fn raw(value_type: ValueType, bits: u64) -> Result<Raw, NoValue> {
    // The types are as wide as their registers, so the low bits are all there is.
    let low32 = (bits & 0xffff_ffff) as u32;
    Ok(match value_type {
        ValueType::I8(_) => Raw::Int(signed(bits, 8)),
        ValueType::I16 => Raw::Int(signed(bits, 16)),
        ValueType::I32 => Raw::Int(signed(bits, 32)),
        ValueType::I48 => Raw::Int(signed(bits, 48)),
        ValueType::I64 => Raw::Int(bits.cast_signed()),
        ValueType::U8(_)
        | ValueType::U16
        | ValueType::U32
        | ValueType::U48
        | ValueType::U64
        // Neither comes here: the one is done with, the others have bytes.
        | ValueType::Bool
        | ValueType::Text { .. }
        | ValueType::Time { .. } => Raw::UInt(bits),
        ValueType::SignMagnitude { registers } => Raw::Int(sign_magnitude(bits, registers)),
        ValueType::F32 => Raw::F32(f32::from_bits(low32)),
        ValueType::F64 => Raw::F64(f64::from_bits(bits)),
        ValueType::Bcd { registers } => Raw::UInt(bcd(bits, usize::from(registers) * 4)?),
    })
}

/// The lowest `width` bits in two's complement.
fn signed(bits: u64, width: u32) -> i64 {
    let unused = 64 - width;
    (bits << unused).cast_signed() >> unused
}

/// The highest bit is the sign, the others the magnitude; there are two zeros.
fn sign_magnitude(bits: u64, registers: u8) -> i64 {
    let sign = 1u64.checked_shl(u32::from(registers) * 16 - 1).unwrap_or(1 << 63);
    let magnitude = (bits & (sign - 1)).cast_signed();
    if bits & sign == 0 { magnitude } else { -magnitude }
}

/// Reads each half byte as a decimal digit.
fn bcd(bits: u64, digits: usize) -> Result<u64, NoValue> {
    let mut number = 0u64;
    for place in (0..digits.min(16)).rev() {
        let digit = bits >> (place * 4) & 0xf;
        if digit > 9 {
            let shown = format!("{bits:#0width$x} is not decimal", width = digits + 2);
            return Err(NoValue::OutOfRange(shown));
        }
        number = number * 10 + digit;
    }
    Ok(number)
}

fn is_marked(marker: Marker, value_type: ValueType, bits: u64) -> bool {
    match (marker, raw(value_type, bits)) {
        (Marker::Pattern(pattern), _) => pattern == bits,
        (Marker::NaN, Ok(Raw::F32(float))) => float.is_nan(),
        (Marker::NaN, Ok(Raw::F64(float))) => float.is_nan(),
        (Marker::NaN, Ok(Raw::Int(_) | Raw::UInt(_)) | Err(_)) => false,
    }
}

/// The bits that are set, the lowest first: their names, or their numbers where they have none.
fn set_bits(point: &PointSettings, bits: u64) -> Value {
    let set = (0..64u8).filter(|bit| bits >> bit & 1 == 1);
    let name = |bit: u8| {
        let index = point.bit_names.binary_search_by_key(&bit, |(bit, _)| *bit).ok();
        let name = index.and_then(|index| point.bit_names.get(index));
        Some(name.map_or(Value::Int(bit.into()), |(_, name)| Value::Text(Arc::clone(name))))
    };
    Value::List(set.map(name).collect())
}

fn named(point: &PointSettings, number: i64) -> Option<Value> {
    let index = point.names.binary_search_by_key(&number, |(number, _)| *number).ok()?;
    point.names.get(index).map(|(_, name)| Value::Text(Arc::clone(name)))
}

/// A whole number with scale and offset; `None` when it leaves the range of numbers.
fn whole(point: &PointSettings, number: i128) -> Option<Value> {
    if point.fraction_bits > 0 {
        // Exact but for the lowest bits of the widest types: the divisor is a power of two.
        let divisor = f64::from(2u8).powi(point.fraction_bits.into());
        return fraction(point, number as f64 / divisor, F64_DIGITS);
    }
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

/// `number` with that many digits after the decimal point; `None` if it is not finite.
pub(crate) fn rounded(number: f64, decimals: u8) -> Option<Value> {
    let text = format!("{number:.*}", usize::from(decimals));
    finite(text.parse().unwrap_or(number), Some(decimals))
}

/// `number` with the digits that a calculation keeps; `None` if it is not finite.
pub(crate) fn calculated(number: f64) -> Option<Value> {
    significant(number, F64_DIGITS)
}

/// `number` with that many significant digits; `None` if it is not finite.
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
    let mut counted = DigitsAfterPoint { seen_point: false, count: 0 };
    // Counting never fails.
    _ = write!(counted, "{number}");
    counted.count
}

/// Counts what is written behind a decimal point, without keeping it.
struct DigitsAfterPoint {
    seen_point: bool,
    count: usize,
}

impl std::fmt::Write for DigitsAfterPoint {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let behind = if self.seen_point { Some(text) } else { text.split_once('.').map(|it| it.1) };
        if let Some(digits) = behind {
            self.seen_point = true;
            self.count += digits.len();
        }
        Ok(())
    }
}

/// Whether a setting was left at (or set to) exactly this number.
fn is(setting: f64, number: f64) -> bool {
    setting.to_bits() == number.to_bits()
}

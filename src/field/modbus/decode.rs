//! core: from registers and bits to a value with its quality.

mod number;
mod packed;
mod text;
mod time;
mod written;

use std::sync::Arc;

use super::pdu::{Data, ReadRange};
use crate::field::{Order, PointSettings, ValueType};
use crate::model::{Quality, Value};
pub(crate) use number::{calculated, rounded};
pub(crate) use packed::{packed, packed_len};
pub(crate) use written::written;

/// Takes the value of `point` out of `data`, the answer to `range`. There is no value unless the quality is good, but in a
/// list: it has `None` for what is not good, and the quality of the first of these.
///
/// Whole numbers stay whole while scale is 1, offset 0 and no digits after the decimal point are asked for. Other
/// numbers are rounded to `decimals`; where it is not given, to the digits that scale and offset have (integers), or
/// to the precision of the type (floats), so that 3 × 0.1 is 0.3. Names are looked up by the number before scaling.
#[must_use]
pub fn decode(point: &PointSettings, range: ReadRange, data: &Data) -> (Option<Value>, Quality) {
    let from = point.place.address.checked_sub(range.address()).map(usize::from);
    let place = from.map(|from| from..from + usize::from(point.width()));
    let decoded = place.and_then(|place| match data {
        Data::Bits(bits) => {
            let bits = bits.get(place)?;
            let bit = |bit: &bool| (Some(number::bit(point, *bit)), Quality::Good);
            Some(match point.count {
                Some(_) => list(bits.iter().map(bit)),
                None => bit(bits.first()?),
            })
        }
        Data::Written | Data::ServerId(_) | Data::Identity(_) => None,
        Data::Registers(registers) => {
            let registers = registers.get(place)?;
            if point.count.is_none() {
                return Some(one(point, registers));
            }
            let each = registers.chunks(usize::from(point.value_type.registers()));
            Some(list(each.map(|registers| one(point, registers))))
        }
    });
    decoded.unwrap_or_else(|| {
        debug_assert!(false, "{} is not within {range}", point.name);
        let reason = Arc::from(format!("the answer to {range} does not hold this point"));
        (None, Quality::Error { reason })
    })
}

/// The values of a list and the quality of the first that is not good.
fn list(each: impl Iterator<Item = (Option<Value>, Quality)>) -> (Option<Value>, Quality) {
    let mut worst = Quality::Good;
    let values = each.enumerate().map(|(index, (value, quality))| {
        if worst == Quality::Good && quality != Quality::Good {
            let reason = quality.reason().map(|reason| format!("value {}: {reason}", index + 1));
            let reason = Arc::from(reason.unwrap_or_default());
            worst = match quality {
                Quality::Good => Quality::Good,
                Quality::Invalid { .. } => Quality::Invalid { reason },
                Quality::Stale { .. } | Quality::Error { .. } | Quality::OutOfRange { .. } => {
                    Quality::OutOfRange { reason }
                }
            };
        }
        value
    });
    let values = values.collect();
    (Some(Value::List(values)), worst)
}

/// The value in `registers`, which are those of one value.
fn one(point: &PointSettings, registers: &[u16]) -> (Option<Value>, Quality) {
    let words = ordered(point, registers);
    let decoded = if let ValueType::Text { length, encoding } = point.value_type {
        text::decode(words, length.into(), encoding).map(Value::Text)
    } else if let ValueType::Time { layout, offset_minutes } = point.value_type {
        time::decode(layout, offset_minutes, words).map(Value::Text)
    } else {
        number::decode(point, words.fold(0, |bits, word| bits << 16 | u64::from(word)))
    };
    with_quality(decoded)
}

fn with_quality(decoded: Result<Value, NoValue>) -> (Option<Value>, Quality) {
    match decoded {
        Ok(value) => (Some(value), Quality::Good),
        Err(NoValue::Invalid(reason)) => (None, Quality::Invalid { reason: reason.into() }),
        Err(NoValue::OutOfRange(reason)) => (None, Quality::OutOfRange { reason: reason.into() }),
    }
}

/// Why an answer holds no value, in plain words.
#[derive(Debug, PartialEq, Eq)]
enum NoValue {
    /// The device says so.
    Invalid(String),
    /// What it says is nothing the type can be.
    OutOfRange(String),
}

/// `registers` with the most significant first and their bytes in natural order.
pub(super) fn ordered<'r>(
    point: &PointSettings,
    registers: &'r [u16],
) -> impl Iterator<Item = u16> + 'r {
    let (word_order, byte_order) = (point.word_order, point.byte_order);
    let last = registers.len().saturating_sub(1);
    (0..registers.len()).filter_map(move |index| {
        let from = if word_order == Order::Big { index } else { last - index };
        let register = *registers.get(from)?;
        Some(if byte_order == Order::Big { register } else { register.swap_bytes() })
    })
}

#[cfg(test)]
mod tests;

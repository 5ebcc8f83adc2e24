//! core: what a device says instead of a value, as written under `invalid`.

use std::rc::Rc;

use super::notes::{At, Notes, Spot};
use super::quantity;
use super::value_type::{bit_count, no_number, whole_numbers};
use crate::field::{Marker, ValueType};

pub(super) const EXAMPLE: &str = "write the bits as the manual shows them, such as `0x8000`, a number as it is read, or `nan`, or a list of these";

/// The markers in `words` for a point of this type; complains of those that it can never say.
pub(super) fn settle(
    words: &At<Vec<At<Rc<str>>>>,
    value_type: ValueType,
    notes: &mut Notes<'_>,
) -> Vec<Marker> {
    if let Some(why) = no_number(value_type) {
        let message = format!("{why}, so `invalid` has nothing to look for");
        notes.error(&words.spot, message, "remove it");
        return Vec::new();
    }
    words.value.iter().filter_map(|word| marker(word, value_type, notes)).collect()
}

fn marker(word: &At<Rc<str>>, value_type: ValueType, notes: &mut Notes<'_>) -> Option<Marker> {
    let text = word.value.trim();
    let is_float = matches!(value_type, ValueType::F32 | ValueType::F64);
    if matches!(text.to_lowercase().as_str(), "nan" | ".nan") {
        if !is_float {
            notes.error(&word.spot, "only a float can say `nan`", EXAMPLE);
            return None;
        }
        return Some(Marker::NaN);
    }
    let number = quantity::integer(text);
    if let Some(pattern) = number.filter(|_| text.to_lowercase().starts_with("0x")) {
        let bits = bit_count(value_type);
        let fits = u64::try_from(pattern).ok().filter(|pattern| bits == 64 || pattern >> bits == 0);
        if fits.is_none() {
            let message = format!("{text} has more than the {bits} bits of this point");
            notes.error(&word.spot, message, "write as many as the point has");
        }
        return fits.map(Marker::Pattern);
    }
    if is_float {
        return match quantity::number(text) {
            Ok(number) => Some(Marker::Pattern(float_bits(number, value_type))),
            Err(misread) => {
                notes.error(&word.spot, format!("`{text}` {}", misread.message), EXAMPLE);
                None
            }
        };
    }
    let Some(number) = number else {
        let shown = notes.shown(&word.spot);
        notes.error(&word.spot, format!("`invalid` cannot be `{shown}`"), EXAMPLE);
        return None;
    };
    let range = whole_numbers(value_type)?;
    if !range.contains(&number) {
        complain_of_never(number, value_type, &word.spot, notes);
        return None;
    }
    Some(Marker::Pattern(whole_bits(number, value_type)))
}

fn complain_of_never(number: i128, value_type: ValueType, spot: &Spot, notes: &mut Notes<'_>) {
    let Some(range) = whole_numbers(value_type) else { return };
    let values = format!("its values are {} to {}", range.start(), range.end());
    let remedy = match u64::try_from(number) {
        Ok(pattern) if u128::from(pattern) >> bit_count(value_type) == 0 => {
            format!("{values}; if the manual means the bits, write {pattern:#x}")
        }
        _ => values,
    };
    notes.error(spot, format!("this point is never {number}"), remedy);
}

/// The bits of a float as wide as the type.
fn float_bits(number: f64, value_type: ValueType) -> u64 {
    if value_type == ValueType::F64 {
        return number.to_bits();
    }
    #[allow(clippy::cast_possible_truncation, reason = "the device says it as a single")]
    let single = number as f32;
    single.to_bits().into()
}

/// The bits of a whole number that is within the range of the type.
fn whole_bits(number: i128, value_type: ValueType) -> u64 {
    let mask = u64::MAX >> (64 - bit_count(value_type));
    let magnitude = u64::try_from(number.unsigned_abs()).unwrap_or(u64::MAX);
    if matches!(value_type, ValueType::Bcd { .. }) {
        // Each digit is one of the hexadecimal ones.
        return u64::from_str_radix(&magnitude.to_string(), 16).unwrap_or_default();
    }
    match (number < 0, value_type) {
        (false, _) => magnitude,
        (true, ValueType::SignMagnitude { .. }) => magnitude | ((mask >> 1) + 1),
        (true, _) => magnitude.wrapping_neg() & mask,
    }
}

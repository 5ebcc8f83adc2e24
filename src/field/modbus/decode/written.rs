//! core: from what is written in a frame to a value.

use super::number;
use super::{NoValue, with_quality};
use crate::field::{PointSettings, ValueType};
use crate::model::{Quality, Value};

/// The value of `point` as `text` says it. White space around a text, and anywhere in a number, means nothing: scales put it
/// between the sign and the digits.
pub(crate) fn written(point: &PointSettings, text: &str) -> (Option<Value>, Quality) {
    with_quality(read(point, text))
}

fn read(point: &PointSettings, text: &str) -> Result<Value, NoValue> {
    if matches!(point.value_type, ValueType::Text { .. }) {
        return Ok(Value::Text(text.trim().into()));
    }
    let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    if point.value_type == ValueType::Bool {
        return match compact.to_ascii_lowercase().as_str() {
            "1" | "true" | "on" | "yes" => Ok(number::bit(point, true)),
            "0" | "false" | "off" | "no" => Ok(number::bit(point, false)),
            _ => Err(says(text, "neither 1 nor 0, true nor false, on nor off")),
        };
    }
    // Only what people write: no `inf`, no `nan`.
    let is_plain =
        compact.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E'));
    let float = compact.parse::<f64>().ok().filter(|float| is_plain && float.is_finite());
    let Some(float) = float else { return Err(says(text, "no number")) };
    if point.value_type == ValueType::F64 {
        return number::decode(point, float.to_bits());
    }
    if point.value_type == ValueType::F32 {
        let single = compact.parse::<f32>().unwrap_or(f32::INFINITY);
        return number::decode(point, single.to_bits().into());
    }
    let digits = compact.strip_prefix('+').unwrap_or(&compact);
    let Ok(whole) = digits.parse::<i128>() else { return Err(says(text, "no whole number")) };
    let too_large = || says(text, "outside the range of this point");
    let value_type = point.value_type;
    let is_byte = matches!(value_type, ValueType::I8(_) | ValueType::U8(_));
    let is_signed = matches!(
        value_type,
        ValueType::I8(_) | ValueType::I16 | ValueType::I32 | ValueType::I48 | ValueType::I64
    );
    let bits = if is_byte { 8 } else { value_type.registers().min(4) * 16 };
    let range =
        if is_signed { -(1i128 << (bits - 1))..1i128 << (bits - 1) } else { 0..1i128 << bits };
    if !range.contains(&whole) {
        return Err(too_large());
    }
    let mask = u64::MAX >> (64 - u32::from(bits));
    let low = i64::try_from(whole).map(i64::cast_unsigned).or_else(|_| u64::try_from(whole));
    number::decode(point, low.map_err(|_| too_large())? & mask)
}

fn says(text: &str, what: &str) -> NoValue {
    let shown: String = text.trim().chars().take(40).collect();
    NoValue::OutOfRange(format!("the device says `{shown}`, which is {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::{Encoding, Half, Place, Table};
    use proptest::prelude::*;
    use std::time::Duration;

    fn point(value_type: ValueType) -> PointSettings {
        let place = Place { table: Table::Holding, address: 0, bit: None };
        PointSettings::new("it".into(), place, value_type, Duration::from_secs(1))
    }

    fn said(point: &PointSettings, text: &str) -> String {
        match written(point, text) {
            (Some(value), Quality::Good) => value.to_string(),
            (_, quality) => quality.reason().unwrap_or_default().to_owned(),
        }
    }

    #[test]
    fn numbers_are_read_as_devices_write_them() {
        let float = point(ValueType::F64);
        for (text, value) in [
            ("12.50", "12.5"),
            ("-  12.5", "-12.5"),
            ("+0012", "12"),
            ("1.5E3", "1500"),
            (" 7 ", "7"),
        ] {
            assert_eq!(said(&float, text), value, "{text}");
        }
        assert_eq!(said(&float, "OL"), "the device says `OL`, which is no number");
        assert_eq!(said(&float, "inf"), "the device says `inf`, which is no number");
        assert_eq!(said(&PointSettings { decimals: Some(2), ..float.clone() }, "3.14159"), "3.14");
        assert_eq!(said(&PointSettings { scale: 0.1, ..float }, "3"), "0.3");
        assert_eq!(said(&point(ValueType::F32), "0.1"), "0.1");
    }

    #[test]
    fn whole_numbers_keep_to_their_type() {
        assert_eq!(said(&point(ValueType::I16), "-5"), "-5");
        assert_eq!(said(&point(ValueType::U8(Half::Low)), "255"), "255");
        let far = "the device says `256`, which is outside the range of this point";
        assert_eq!(said(&point(ValueType::U8(Half::Low)), "256"), far);
        assert_eq!(
            said(&point(ValueType::U16), "1.5"),
            "the device says `1.5`, which is no whole number"
        );
        assert_eq!(said(&point(ValueType::U64), "18446744073709551615"), "18446744073709551615");
        assert_eq!(said(&point(ValueType::I64), "-9223372036854775808"), "-9223372036854775808");
        let named = PointSettings { names: vec![(2, "fault".into())], ..point(ValueType::U16) };
        assert_eq!(said(&named, "02"), "fault");
    }

    #[test]
    fn bits_and_texts_are_words() {
        assert_eq!(said(&point(ValueType::Bool), "ON"), "true");
        assert_eq!(said(&point(ValueType::Bool), "0"), "false");
        assert!(said(&point(ValueType::Bool), "perhaps").contains("neither 1 nor 0"));
        let text = ValueType::Text { length: 250, encoding: Encoding::Guess };
        assert_eq!(said(&point(text), " ok \r\n"), "ok");
    }

    proptest! {
        #[test]
        fn any_text_is_a_value_or_is_none(text in "\\PC{0,30}", index in 0..6usize) {
            let types = [
                ValueType::F64, ValueType::F32, ValueType::I8(Half::Low), ValueType::U32,
                ValueType::I48, ValueType::U64,
            ];
            let (value, quality) = written(&point(types[index]), &text);
            prop_assert_eq!(value.is_some(), quality == Quality::Good);
        }

        #[test]
        fn what_is_written_is_what_is_read(number in any::<i64>()) {
            prop_assert_eq!(said(&point(ValueType::I64), &number.to_string()), number.to_string());
        }
    }
}

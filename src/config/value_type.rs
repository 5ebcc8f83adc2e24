//! core: the word under `type`, and what its registers mean.

use std::ops::RangeInclusive;

use super::fields::{Field, Later};
use super::notes::{At, Given, Notes, Spot};
use crate::field::ValueType;

/// The word under `type`; `bcd` and `string` need a further key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TypeWord {
    Bool,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F32,
    F64,
    Bcd,
    String,
}

const WORDS: [(&str, TypeWord); 11] = [
    ("u16", TypeWord::U16),
    ("i16", TypeWord::I16),
    ("u32", TypeWord::U32),
    ("i32", TypeWord::I32),
    ("f32", TypeWord::F32),
    ("u64", TypeWord::U64),
    ("i64", TypeWord::I64),
    ("f64", TypeWord::F64),
    ("bool", TypeWord::Bool),
    ("bcd", TypeWord::Bcd),
    ("string", TypeWord::String),
];

/// Words of manuals and of other programs.
const INSTEAD: [Later; 14] = [
    ("uint16", "u16"),
    ("word", "u16"),
    ("int16", "i16"),
    ("short", "i16"),
    ("uint32", "u32"),
    ("dword", "u32"),
    ("int32", "i32"),
    ("uint64", "u64"),
    ("int64", "i64"),
    ("float", "f32"),
    ("float32", "f32"),
    ("real", "f32"),
    ("double", "f64"),
    ("float64", "f64"),
];

const DIGITS_HELP: &str = "four digits fit in a register: write 4, 8 or 16";

/// Reads the word under `type`.
pub(super) fn word(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<TypeWord>> {
    let text = field.text("write a type such as `u16`, `i32` or `f32`", notes)?;
    let lower = text.value.to_lowercase();
    if let Some((_, meant)) = INSTEAD.iter().find(|(word, _)| *word == lower) {
        let message = format!("`type` cannot be `{}`", notes.shown(&text.spot));
        notes.error(&text.spot, message, format!("did you mean `{meant}`?"));
        return None;
    }
    field.choice(&WORDS, &[], notes)
}

/// Reads how many digits a `bcd` has.
pub(super) fn digits(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<u8>> {
    let digits = field.integer::<u8>(4..=16, DIGITS_HELP, notes)?;
    if !matches!(digits.value, 4 | 8 | 16) {
        let message = format!("a `bcd` has 4, 8 or 16 digits, not {}", digits.value);
        notes.error(&digits.spot, message, DIGITS_HELP);
        return None;
    }
    Some(digits)
}

/// The type a word and its further keys make; complains of keys that belong to another word.
pub(super) fn settle(
    word: TypeWord,
    digits: &Given<u8>,
    length: &Given<u8>,
    point: &Spot,
    notes: &mut Notes<'_>,
) -> Option<ValueType> {
    if let Some(digits) = digits.written().filter(|_| word != TypeWord::Bcd) {
        let message = "`digits` belongs to `type: bcd`";
        notes.error(&digits.spot, message, "remove it, or write `type: bcd`");
    }
    if let Some(length) = length.written().filter(|_| word != TypeWord::String) {
        let message = "`length` belongs to `type: string`";
        notes.error(&length.spot, message, "remove it, or write `type: string`");
    }
    Some(match word {
        TypeWord::Bool => ValueType::Bool,
        TypeWord::I16 => ValueType::I16,
        TypeWord::U16 => ValueType::U16,
        TypeWord::I32 => ValueType::I32,
        TypeWord::U32 => ValueType::U32,
        TypeWord::I64 => ValueType::I64,
        TypeWord::U64 => ValueType::U64,
        TypeWord::F32 => ValueType::F32,
        TypeWord::F64 => ValueType::F64,
        TypeWord::Bcd => ValueType::Bcd { registers: digits.or(4) / 4 },
        TypeWord::String => match length {
            Given::Value(length) => ValueType::Text { length: length.value },
            Given::Wrong => return None,
            Given::Absent => {
                let remedy = "add `length: 20`, in bytes, two a register";
                notes.error(point, "a `string` needs its `length`", remedy);
                return None;
            }
        },
    })
}

/// The whole numbers a type can be; `None` when it is none.
pub(super) fn whole_numbers(value_type: ValueType) -> Option<RangeInclusive<i128>> {
    Some(match value_type {
        ValueType::I16 => i128::from(i16::MIN)..=i128::from(i16::MAX),
        ValueType::U16 => 0..=i128::from(u16::MAX),
        ValueType::I32 => i128::from(i32::MIN)..=i128::from(i32::MAX),
        ValueType::U32 => 0..=i128::from(u32::MAX),
        ValueType::I64 => i128::from(i64::MIN)..=i128::from(i64::MAX),
        ValueType::U64 => 0..=i128::from(u64::MAX),
        ValueType::Bcd { registers } => 0..=10i128.pow(u32::from(registers) * 4) - 1,
        ValueType::Bool | ValueType::F32 | ValueType::F64 | ValueType::Text { .. } => return None,
    })
}

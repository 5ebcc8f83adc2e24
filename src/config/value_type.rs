//! core: the word under `type`, the keys that go with it, and what they make of registers.

use std::ops::RangeInclusive;
use std::rc::Rc;

use super::fields::{Field, Fields, Later};
use super::notes::{At, Given, Notes, Spot};
use crate::field::{Encoding, Half, TimeLayout, ValueType};

/// The word under `type`; some need or take a further key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TypeWord {
    Bool,
    I8,
    U8,
    /// All that is to be known of it.
    Plain(ValueType),
    Bcd,
    String,
    Time,
}

const WORDS: [(&str, TypeWord); 19] = [
    ("u16", TypeWord::Plain(ValueType::U16)),
    ("i16", TypeWord::Plain(ValueType::I16)),
    ("u32", TypeWord::Plain(ValueType::U32)),
    ("i32", TypeWord::Plain(ValueType::I32)),
    ("f32", TypeWord::Plain(ValueType::F32)),
    ("u64", TypeWord::Plain(ValueType::U64)),
    ("i64", TypeWord::Plain(ValueType::I64)),
    ("f64", TypeWord::Plain(ValueType::F64)),
    ("u8", TypeWord::U8),
    ("i8", TypeWord::I8),
    ("u48", TypeWord::Plain(ValueType::U48)),
    ("i48", TypeWord::Plain(ValueType::I48)),
    ("sm16", TypeWord::Plain(ValueType::SignMagnitude { registers: 1 })),
    ("sm32", TypeWord::Plain(ValueType::SignMagnitude { registers: 2 })),
    ("sm64", TypeWord::Plain(ValueType::SignMagnitude { registers: 4 })),
    ("bool", TypeWord::Bool),
    ("bcd", TypeWord::Bcd),
    ("string", TypeWord::String),
    ("time", TypeWord::Time),
];

/// Words of manuals and of other programs.
const INSTEAD: [Later; 25] = [
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
    ("byte", "u8"),
    ("uint8", "u8"),
    ("int8", "i8"),
    ("uint48", "u48"),
    ("int48", "i48"),
    ("s16", "i16"),
    ("s32", "i32"),
    ("s64", "i64"),
    ("text", "string"),
    ("datetime", "time"),
    ("date", "time"),
];

const LAYOUTS: [(&str, TimeLayout); 6] = [
    ("unix", TimeLayout::Unix),
    ("unix-ms", TimeLayout::UnixMs),
    ("cp56", TimeLayout::Cp56),
    ("registers", TimeLayout::Registers),
    ("bytes", TimeLayout::Bytes),
    ("bcd", TimeLayout::Bcd),
];

const DIGITS_HELP: &str = "four digits fit in a register: write 4, 8 or 16";
const OFFSET_HELP: &str =
    "write what the device's clock is ahead of UTC, such as `+01:00`, or remove it for UTC";
/// No place on earth is further from UTC.
const OFFSET_MINUTES_MAX: i16 = 14 * 60;

/// `type` and the keys that go with it, as written.
#[derive(Debug)]
pub(super) struct TypeKeys {
    pub(super) word: Given<TypeWord>,
    digits: Given<u8>,
    length: Given<u8>,
    encoding: Given<Encoding>,
    byte: Given<Half>,
    layout: Given<TimeLayout>,
    utc_offset: Given<i16>,
}

impl TypeKeys {
    pub(super) fn read(fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> Self {
        let encodings = [
            ("ascii", Encoding::Ascii),
            ("latin-1", Encoding::Latin1),
            ("utf-8", Encoding::Utf8),
            ("utf-16", Encoding::Utf16),
        ];
        let halves = [("high", Half::High), ("low", Half::Low)];
        Self {
            word: fields.given("type", notes, word),
            digits: fields.given("digits", notes, digits),
            length: fields.given("length", notes, |field, notes| {
                field.integer(1..=250, "the length is in bytes, two a register", notes)
            }),
            encoding: fields
                .given("encoding", notes, |field, notes| field.choice(&encodings, &[], notes)),
            byte: fields.given("byte", notes, |field, notes| field.choice(&halves, &[], notes)),
            layout: fields
                .given("layout", notes, |field, notes| field.choice(&LAYOUTS, &[], notes)),
            utc_offset: fields.given("utc_offset", notes, utc_offset),
        }
    }

    /// The type that `word` and the further keys make; complains of keys that belong to another word.
    pub(super) fn settle(
        &self,
        word: TypeWord,
        point: &Spot,
        notes: &mut Notes<'_>,
    ) -> Option<ValueType> {
        self.check_strays(word, notes);
        Some(match word {
            TypeWord::Bool => ValueType::Bool,
            TypeWord::Plain(value_type) => value_type,
            TypeWord::I8 => ValueType::I8(self.byte.or(Half::Low)),
            TypeWord::U8 => ValueType::U8(self.byte.or(Half::Low)),
            TypeWord::Bcd => ValueType::Bcd { registers: self.digits.or(4) / 4 },
            TypeWord::String => {
                let remedy = "add `length: 20`, in bytes, two a register";
                needed(&self.length, "a `string` needs its `length`", remedy, point, notes).map(
                    |length| ValueType::Text {
                        length,
                        encoding: self.encoding.or(Encoding::Guess),
                    },
                )?
            }
            TypeWord::Time => {
                let names = LAYOUTS.map(|(name, _)| name);
                let remedy = format!("add `layout:` and {}", super::fields::alternatives(&names));
                let message = "a `time` needs its `layout`: how it is packed";
                let layout = needed(&self.layout, message, &remedy, point, notes)?;
                let is_unix = matches!(layout, TimeLayout::Unix | TimeLayout::UnixMs);
                if let Some(offset) = self.utc_offset.written().filter(|_| is_unix) {
                    let message = "seconds since 1970 are counted in UTC everywhere";
                    notes.error(&offset.spot, message, "remove `utc_offset`");
                }
                ValueType::Time { layout, offset_minutes: self.utc_offset.or(0) }
            }
        })
    }

    /// The type of a value that is written as text: a number with a point where nothing is said.
    pub(super) fn settle_written(&self, notes: &mut Notes<'_>) -> Option<ValueType> {
        let word = match &self.word {
            Given::Wrong => return None,
            Given::Absent => TypeWord::Plain(ValueType::F64),
            Given::Value(word) => word.value,
        };
        self.check_strays(word, notes);
        let is_packed = matches!(
            word,
            TypeWord::Bcd | TypeWord::Time | TypeWord::Plain(ValueType::SignMagnitude { .. })
        );
        if let Some(written) = self.word.written().filter(|_| is_packed) {
            let message = "this type is packed into bytes, and this value is written as text";
            notes.error(&written.spot, message, "write `f64`, `i32`, `bool` or `string`");
        }
        for spot in [self.length.spot(), self.encoding.spot()].into_iter().flatten() {
            if word == TypeWord::String {
                let message = "a text that is not packed is as long as it is, and UTF-8 or Latin-1";
                notes.error(spot, message, "remove it");
            }
        }
        Some(match word {
            TypeWord::Bool => ValueType::Bool,
            TypeWord::I8 => ValueType::I8(Half::Low),
            TypeWord::U8 => ValueType::U8(Half::Low),
            TypeWord::Plain(value_type) => value_type,
            TypeWord::String => ValueType::Text { length: 250, encoding: Encoding::Guess },
            TypeWord::Bcd | TypeWord::Time => return None,
        })
    }

    /// Where `byte` stands.
    pub(super) fn byte_spot(&self) -> Option<&Spot> {
        self.byte.spot()
    }

    /// Where the first of these keys stands.
    pub(super) fn first_spot(&self) -> Option<&Spot> {
        let keys = [self.word.spot(), self.digits.spot(), self.length.spot(), self.encoding.spot()];
        let others = [self.byte.spot(), self.layout.spot(), self.utc_offset.spot()];
        keys.into_iter().chain(others).flatten().next()
    }

    fn check_strays(&self, word: TypeWord, notes: &mut Notes<'_>) {
        let is_byte = matches!(word, TypeWord::I8 | TypeWord::U8);
        let (is_text, is_time) = (word == TypeWord::String, word == TypeWord::Time);
        for (key, spot, owner, is_right) in [
            ("digits", self.digits.spot(), "bcd", word == TypeWord::Bcd),
            ("length", self.length.spot(), "string", is_text),
            ("encoding", self.encoding.spot(), "string", is_text),
            ("byte", self.byte.spot(), "u8", is_byte),
            ("layout", self.layout.spot(), "time", is_time),
            ("utc_offset", self.utc_offset.spot(), "time", is_time),
        ] {
            if let Some(spot) = spot.filter(|_| !is_right) {
                let message = format!("`{key}` belongs to `type: {owner}`");
                notes.error(spot, message, format!("remove it, or write `type: {owner}`"));
            }
        }
    }
}

/// What is written, if it must be.
fn needed<T: Copy>(
    given: &Given<T>,
    message: &str,
    remedy: &str,
    point: &Spot,
    notes: &mut Notes<'_>,
) -> Option<T> {
    if given.is_absent() {
        notes.error(point, message, remedy);
    }
    given.written().map(|at| at.value)
}

/// Reads the word under `type`.
fn word(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<TypeWord>> {
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
fn digits(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<u8>> {
    let digits = field.integer::<u8>(4..=16, DIGITS_HELP, notes)?;
    if !matches!(digits.value, 4 | 8 | 16) {
        let message = format!("a `bcd` has 4, 8 or 16 digits, not {}", digits.value);
        notes.error(&digits.spot, message, DIGITS_HELP);
        return None;
    }
    Some(digits)
}

/// Reads what a clock is ahead of UTC.
fn utc_offset(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<i16>> {
    let text = field.text(OFFSET_HELP, notes)?;
    let Some(minutes) = offset_minutes(&text.value) else {
        let message = format!("`utc_offset` cannot be `{}`", notes.shown(&text.spot));
        notes.error(&text.spot, message, OFFSET_HELP);
        return None;
    };
    Some(At { value: minutes, spot: text.spot })
}

/// `+01:00` or `-03:30` in minutes.
fn offset_minutes(text: &Rc<str>) -> Option<i16> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let sign = if hours.starts_with('-') { -1 } else { 1 };
    let hours = hours.strip_prefix(['+', '-'])?;
    let digits = |text: &str| {
        let is_plain = text.len() == 2 && text.chars().all(|c| c.is_ascii_digit());
        is_plain.then(|| text.parse::<i16>().ok()).flatten()
    };
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    let total = hours * 60 + minutes;
    (minutes < 60 && total <= OFFSET_MINUTES_MAX).then_some(sign * total)
}

/// The whole numbers a type can be; `None` when it is none.
pub(super) fn whole_numbers(value_type: ValueType) -> Option<RangeInclusive<i128>> {
    let unsigned = |bits: u32| 0..=(1i128 << bits) - 1;
    let signed = |bits: u32| -(1i128 << (bits - 1))..=(1i128 << (bits - 1)) - 1;
    Some(match value_type {
        ValueType::I8(_) => signed(8),
        ValueType::U8(_) => unsigned(8),
        ValueType::I16 => signed(16),
        ValueType::U16 => unsigned(16),
        ValueType::I32 => signed(32),
        ValueType::U32 => unsigned(32),
        ValueType::I48 => signed(48),
        ValueType::U48 => unsigned(48),
        ValueType::I64 => signed(64),
        ValueType::U64 => unsigned(64),
        ValueType::SignMagnitude { registers } => {
            let most = (1i128 << (u32::from(registers) * 16 - 1)) - 1;
            -most..=most
        }
        ValueType::Bcd { registers } => 0..=10i128.pow(u32::from(registers) * 4) - 1,
        ValueType::Bool
        | ValueType::F32
        | ValueType::F64
        | ValueType::Text { .. }
        | ValueType::Time { .. } => return None,
    })
}

/// How many bits a number of this type has; for a text those of its registers.
pub(super) fn bit_count(value_type: ValueType) -> u32 {
    if is_byte(value_type) { 8 } else { u32::from(value_type.registers()) * 16 }
}

fn is_byte(value_type: ValueType) -> bool {
    matches!(value_type, ValueType::I8(_) | ValueType::U8(_))
}

/// Why a type is no number; `None` if it is one.
pub(super) fn no_number(value_type: ValueType) -> Option<&'static str> {
    let is_text = matches!(value_type, ValueType::Text { .. });
    let is_time = matches!(value_type, ValueType::Time { .. });
    if value_type == ValueType::Bool {
        Some("a bit is true or false")
    } else if is_text {
        Some("a text is no number")
    } else {
        is_time.then_some("a date and time is no number")
    }
}

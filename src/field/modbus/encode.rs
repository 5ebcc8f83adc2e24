//! core: from a value somebody wants to the registers or bits that say it: what [`decode`](super::decode) does, backwards.

use super::decode::{decode, ordered};
use super::pdu::{Data, ReadRange};
use super::write::{What, Write};
use crate::field::{Encoding, Half, Order, PointSettings, Table, ValueType, Writable};
use crate::model::{Quality, Value};

/// A value as somebody wrote it, before anybody knows what the point can be.
#[derive(Debug, Clone, PartialEq)]
pub enum Wish {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Whole(i128),
    /// Any other number; finite.
    Float(f64),
    /// A name or a text.
    Text(String),
    /// Several values.
    List(Vec<Wish>),
}

/// A wish that the point can be: what to send, and what the device must say of it afterwards.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// What to send.
    pub write: Write,
    /// What to send instead to a device that does not know that function; `None` where that depends on what stands there.
    pub otherwise: Option<Write>,
    /// The value that is then read.
    pub value: Value,
}

/// Why a point cannot become what somebody wants. The words are for whoever asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WishError {
    /// The configuration does not let it be written.
    #[error("this point is not `writable`")]
    NotWritable,
    /// It lies beyond what the operator allows.
    #[error("{asked} is {side}, the limit of this point")]
    Limit {
        /// What was asked for.
        asked: String,
        /// `below 20` or `above 80`.
        side: String,
    },
    /// It is nothing that a value of this type can be.
    #[error("{reason}")]
    Value {
        /// What is wrong with it, in plain words.
        reason: String,
    },
}

/// Finds what to send so that `point` becomes `wish`. Numbers are taken back through offset, scale and binary point to the
/// nearest step; names are looked up as written, then without regard to case.
///
/// # Errors
/// [`WishError`]; nothing of it may be sent then.
pub fn encode(point: &PointSettings, wish: &Wish) -> Result<Setting, WishError> {
    let writable = point.writable.ok_or(WishError::NotWritable)?;
    let range = ReadRange::new(point.place.table, point.place.address, point.width())
        .map_err(|error| wrong(error.to_string()))?;
    let (what, otherwise, data) = match point.place.table {
        Table::Coil => {
            let bits = each(point, wish)?.map(|wish| bit(point, wish));
            let bits = bits.collect::<Result<Vec<bool>, _>>()?;
            let single = bits.first().filter(|_| point.count.is_none());
            let what = single.map_or(What::Coils(bits.clone()), |bit| What::Coil(*bit));
            (what, Some(What::Coils(bits.clone())), Data::Bits(bits))
        }
        Table::Holding => {
            let mut words = Vec::new();
            for wish in each(point, wish)? {
                check_limits(&writable, wish)?;
                words.extend(ordered(point, &natural(point, wish)?));
            }
            let part = part(point).filter(|_| point.count.is_none());
            let (what, otherwise) = match (part, words.as_slice()) {
                (Some(part), [word]) => (What::Mask { keep: !part, set: word & part }, None),
                (None, [word]) => (What::Register(*word), Some(What::Registers(words.clone()))),
                (_, _) => (What::Registers(words.clone()), None),
            };
            (what, otherwise, Data::Registers(words))
        }
        Table::DiscreteInput | Table::Input => return Err(WishError::NotWritable),
    };
    // The device will be understood by the same rules: what it would not be understood in is not sent.
    let value = match decode(point, range, &data) {
        (Some(value), Quality::Good) => value,
        (_, quality) => return Err(wrong(quality.reason().unwrap_or("no value").to_owned())),
    };
    check_effect(&writable, &value)?;
    let write = |what| {
        Write::new(point.place.address, what).map_err(|error| wrong(format!("too long: {error}")))
    };
    Ok(Setting { write: write(what)?, otherwise: otherwise.map(write).transpose()?, value })
}

/// The write that sets the bits of a mask in a register which holds `word`, for devices without function 22.
#[must_use]
pub fn masked(write: &Write, word: u16) -> Option<Write> {
    let What::Mask { keep, set } = *write.what() else { return None };
    Write::new(write.range().address(), What::Register(word & keep | set)).ok()
}

fn wrong(reason: impl Into<String>) -> WishError {
    WishError::Value { reason: reason.into() }
}

/// The values of a list, or the one there is.
fn each<'w>(
    point: &PointSettings,
    wish: &'w Wish,
) -> Result<impl Iterator<Item = &'w Wish>, WishError> {
    let wishes = match (point.count, wish) {
        (Some(count), Wish::List(wishes)) if wishes.len() == usize::from(count) => wishes.iter(),
        (Some(count), _) => return Err(wrong(format!("this point is a list of {count} values"))),
        (None, Wish::List(_)) => return Err(wrong("this point is a single value, not a list")),
        (None, wish) => std::slice::from_ref(wish).iter(),
    };
    Ok(wishes)
}

/// Which bits of its register a point takes, as they are sent; `None` for all of them.
fn part(point: &PointSettings) -> Option<u16> {
    let natural = match (point.value_type, point.place.bit) {
        (ValueType::Bool, bit) => 1 << (bit.unwrap_or_default() & 0xf),
        (ValueType::I8(half) | ValueType::U8(half), _) => match half {
            Half::High => 0xff00,
            Half::Low => 0x00ff,
        },
        (_, _) => return None,
    };
    Some(if point.byte_order == Order::Big { natural } else { u16::swap_bytes(natural) })
}

/// True or false, also in words and by the names of the point.
fn bit(point: &PointSettings, wish: &Wish) -> Result<bool, WishError> {
    let known = || {
        let names: Vec<&str> = point.names.iter().map(|(_, name)| &**name).collect();
        if names.is_empty() { "true or false".to_owned() } else { names.join(", ") }
    };
    match wish {
        Wish::Bool(on) => Ok(*on),
        Wish::Whole(0) => Ok(false),
        Wish::Whole(1) => Ok(true),
        Wish::Text(text) => match (named(point, text), text.to_ascii_lowercase().as_str()) {
            (Some(number), _) => Ok(number != 0),
            (None, "true" | "on" | "yes" | "1") => Ok(true),
            (None, "false" | "off" | "no" | "0") => Ok(false),
            (None, _) => Err(wrong(format!("`{text}` is not {}", known()))),
        },
        Wish::Whole(_) | Wish::Float(_) | Wish::List(_) => {
            Err(wrong(format!("{} is not {}", shown(wish), known())))
        }
    }
}

fn named(point: &PointSettings, text: &str) -> Option<i64> {
    let exact = point.names.iter().find(|(_, name)| &**name == text);
    let close = || point.names.iter().find(|(_, name)| name.eq_ignore_ascii_case(text));
    exact.or_else(close).map(|(number, _)| *number)
}

/// The registers of one value, the most significant first and their bytes in natural order.
fn natural(point: &PointSettings, wish: &Wish) -> Result<Vec<u16>, WishError> {
    let value_type = point.value_type;
    if let ValueType::Text { length, encoding } = value_type {
        let Wish::Text(text) = wish else {
            return Err(wrong(format!("{} is not a text", shown(wish))));
        };
        return text_words(text, length.into(), encoding);
    }
    let bits = match value_type {
        ValueType::Bool => {
            u64::from(bit(point, wish)?) << (point.place.bit.unwrap_or_default() & 0xf)
        }
        ValueType::F32 => u64::from(single(unscaled(point, wish)?).to_bits()),
        ValueType::F64 => unscaled(point, wish)?.to_bits(),
        ValueType::Time { .. } => return Err(wrong("a date and time cannot be written")),
        ValueType::I8(_)
        | ValueType::U8(_)
        | ValueType::I16
        | ValueType::U16
        | ValueType::I32
        | ValueType::U32
        | ValueType::I48
        | ValueType::U48
        | ValueType::I64
        | ValueType::U64
        | ValueType::SignMagnitude { .. }
        | ValueType::Bcd { .. }
        | ValueType::Text { .. } => whole_bits(value_type, whole(point, wish)?)?,
    };
    let is_high = matches!(value_type, ValueType::I8(Half::High) | ValueType::U8(Half::High));
    let bits = if is_high { bits << 8 } else { bits };
    let words = bits.to_be_bytes();
    let (words, _) = words.as_chunks::<2>();
    let skipped = words.len() - usize::from(value_type.registers()).min(words.len());
    Ok(words.iter().skip(skipped).map(|word| u16::from_be_bytes(*word)).collect())
}

/// The number that stands in the device for this one.
fn unscaled(point: &PointSettings, wish: &Wish) -> Result<f64, WishError> {
    let number = number(wish)?;
    let raw = (number - point.offset) / point.scale;
    let raw = raw * f64::from(2u8).powi(point.fraction_bits.into());
    if raw.is_finite() { Ok(raw) } else { Err(wrong(format!("{number} is too large"))) }
}

/// The nearest single; what is too large for one becomes infinite, which is then no value.
#[allow(clippy::cast_possible_truncation, reason = "rounds to the nearest")]
fn single(number: f64) -> f32 {
    number as f32
}

/// The whole number that stands in the device for a wish.
fn whole(point: &PointSettings, wish: &Wish) -> Result<i128, WishError> {
    if !point.names.is_empty() {
        let number = match wish {
            Wish::Text(text) => named(point, text).map(i128::from),
            Wish::Whole(number) => {
                let is_named = point.names.iter().any(|(named, _)| i128::from(*named) == *number);
                is_named.then_some(*number)
            }
            Wish::Bool(_) | Wish::Float(_) | Wish::List(_) => None,
        };
        let names: Vec<&str> = point.names.iter().map(|(_, name)| &**name).collect();
        return number
            .ok_or_else(|| wrong(format!("{} is none of {}", shown(wish), names.join(", "))));
    }
    let is_plain = point.scale.to_bits() == 1f64.to_bits()
        && point.offset.to_bits() == 0f64.to_bits()
        && point.fraction_bits == 0;
    match wish {
        Wish::Whole(number) if is_plain => Ok(*number),
        Wish::Whole(_) | Wish::Bool(_) | Wish::Float(_) | Wish::Text(_) | Wish::List(_) => {
            let raw = unscaled(point, wish)?;
            if is_plain && raw.fract() != 0.0 {
                return Err(wrong(format!("{raw} is not a whole number")));
            }
            // Beyond every type is beyond, however the conversion cuts it.
            #[allow(clippy::cast_possible_truncation, reason = "a cast of floats saturates")]
            Ok(raw.round() as i128)
        }
    }
}

/// The bits of a whole number in its type, the lowest last.
fn whole_bits(value_type: ValueType, number: i128) -> Result<u64, WishError> {
    let is_half = matches!(value_type, ValueType::I8(_) | ValueType::U8(_));
    let bits = if is_half { 8 } else { u32::from(value_type.registers()) * 16 };
    let most = |bits: u32| (1i128 << bits) - 1;
    let is_signed = matches!(
        value_type,
        ValueType::I8(_) | ValueType::I16 | ValueType::I32 | ValueType::I48 | ValueType::I64
    );
    let is_marked = matches!(value_type, ValueType::SignMagnitude { .. });
    let range = if let ValueType::Bcd { registers } = value_type {
        0..=10i128.pow(u32::from(registers) * 4) - 1
    } else if is_signed {
        -most(bits - 1) - 1..=most(bits - 1)
    } else if is_marked {
        -most(bits - 1)..=most(bits - 1)
    } else {
        0..=most(bits)
    };
    if !range.contains(&number) {
        let (least, most) = (range.start(), range.end());
        let message = format!("this takes {number} in the register, which holds {least} to {most}");
        return Err(wrong(message));
    }
    let magnitude = u64::try_from(number.unsigned_abs()).unwrap_or(u64::MAX);
    Ok(if matches!(value_type, ValueType::Bcd { .. }) {
        bcd(magnitude)
    } else if number >= 0 {
        magnitude
    } else if is_marked {
        magnitude | 1 << (bits - 1)
    } else {
        magnitude.wrapping_neg() & (u64::MAX >> (64 - bits))
    })
}

/// Each decimal digit in a half byte.
fn bcd(mut number: u64) -> u64 {
    let (mut bits, mut place) = (0, 0);
    while number > 0 && place < 64 {
        bits |= (number % 10) << place;
        number /= 10;
        place += 4;
    }
    bits
}

fn text_words(text: &str, length: usize, encoding: Encoding) -> Result<Vec<u16>, WishError> {
    let too_long = || wrong(format!("the text takes more than the {length} bytes there are"));
    let stranger = |c: char, what: &str| wrong(format!("`{c}` is no {what}"));
    if text.contains('\0') {
        return Err(wrong("a text cannot hold a zero character"));
    }
    let count = length.div_ceil(2);
    let mut words: Vec<u16> = if encoding == Encoding::Utf16 {
        text.encode_utf16().collect()
    } else {
        let mut bytes = match encoding {
            Encoding::Latin1 => text
                .chars()
                .map(|c| u8::try_from(u32::from(c)).map_err(|_| stranger(c, "Latin-1")))
                .collect::<Result<Vec<u8>, _>>()?,
            Encoding::Ascii => match text.chars().find(|c| !c.is_ascii()) {
                Some(c) => return Err(stranger(c, "ASCII")),
                None => text.as_bytes().to_vec(),
            },
            Encoding::Guess | Encoding::Utf8 | Encoding::Utf16 => text.as_bytes().to_vec(),
        };
        if bytes.len() > length {
            return Err(too_long());
        }
        bytes.resize(count * 2, 0);
        let (pairs, _) = bytes.as_chunks::<2>();
        pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect()
    };
    if words.len() > count {
        return Err(too_long());
    }
    words.resize(count, 0);
    Ok(words)
}

fn number(wish: &Wish) -> Result<f64, WishError> {
    match wish {
        Wish::Whole(number) => Ok(*number as f64),
        Wish::Float(number) => Ok(*number),
        Wish::Text(text) => match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            Ok(_) | Err(_) => Err(wrong(format!("`{text}` is not a number"))),
        },
        Wish::Bool(_) | Wish::List(_) => Err(wrong(format!("{} is not a number", shown(wish)))),
    }
}

fn check_limits(writable: &Writable, wish: &Wish) -> Result<(), WishError> {
    if writable.min.is_none() && writable.max.is_none() {
        return Ok(());
    }
    check_number(writable, number(wish)?)
}

/// The nearest step may lie beyond a limit although what was asked for does not.
fn check_effect(writable: &Writable, value: &Value) -> Result<(), WishError> {
    match value {
        Value::Float { value, .. } => check_number(writable, *value),
        Value::Int(value) => check_number(writable, *value as f64),
        Value::UInt(value) => check_number(writable, *value as f64),
        Value::List(values) => {
            values.iter().flatten().try_for_each(|value| check_effect(writable, value))
        }
        Value::Bool(_) | Value::Text(_) => Ok(()),
    }
}

fn check_number(writable: &Writable, number: f64) -> Result<(), WishError> {
    let below = writable.min.filter(|min| number < *min).map(|min| format!("below {min}"));
    let above = writable.max.filter(|max| number > *max).map(|max| format!("above {max}"));
    match below.or(above) {
        Some(side) => Err(WishError::Limit { asked: number.to_string(), side }),
        None => Ok(()),
    }
}

fn shown(wish: &Wish) -> String {
    match wish {
        Wish::Bool(on) => on.to_string(),
        Wish::Whole(number) => number.to_string(),
        Wish::Float(number) => number.to_string(),
        Wish::Text(text) => format!("`{text}`"),
        Wish::List(_) => "a list".to_owned(),
    }
}

#[cfg(test)]
mod tests;

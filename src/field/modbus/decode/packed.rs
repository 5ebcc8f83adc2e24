//! core: from the bytes of a frame to a value.

use super::one;
use crate::field::{Order, PointSettings, ValueType};
use crate::model::{Quality, Value};

/// How many bytes a value takes where they are not packed into registers; a bit is one of a byte.
pub(crate) fn packed_len(value_type: ValueType) -> usize {
    match value_type {
        ValueType::Bool | ValueType::I8(_) | ValueType::U8(_) => 1,
        ValueType::Text { length, .. } => usize::from(length),
        ValueType::I16
        | ValueType::U16
        | ValueType::I32
        | ValueType::U32
        | ValueType::I48
        | ValueType::U48
        | ValueType::I64
        | ValueType::U64
        | ValueType::SignMagnitude { .. }
        | ValueType::F32
        | ValueType::F64
        | ValueType::Bcd { .. }
        | ValueType::Time { .. } => usize::from(value_type.registers()) * 2,
    }
}

/// The value of `point` in `bytes`, of which there are [`packed_len`]. Texts have no order of bytes.
pub(crate) fn packed(
    point: &PointSettings,
    bytes: &[u8],
    order: Order,
) -> (Option<Value>, Quality) {
    let is_text = matches!(point.value_type, ValueType::Text { .. });
    let mut bytes = bytes.to_vec();
    if order == Order::Little && !is_text {
        bytes.reverse();
    }
    if bytes.len() == 1 && !is_text {
        // The low half of a register.
        bytes.insert(0, 0);
    }
    let word = |pair: &[u8]| {
        let byte = |at| pair.get(at).copied().unwrap_or_default();
        u16::from_be_bytes([byte(0), byte(1)])
    };
    let registers: Vec<u16> = bytes.chunks(2).map(word).collect();
    one(point, &registers)
}

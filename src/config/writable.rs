//! core: `writable` as written: whether and within which limits a point may be written.

use super::fields::Field;
use super::notes::{At, Given, Notes, Spot};
use super::value_type::no_number;
use crate::field::{PointSettings, Table, ValueType, Writable};

const EXAMPLE: &str = "write `true`, or limits such as `{ min: 20, max: 80 }`";

/// What one write holds (Modbus application protocol 1.1b3, sections 6.11 and 6.12).
const COILS_MAX: u16 = 1_968;
const REGISTERS_MAX: u16 = 123;

/// `writable` as written.
#[derive(Debug)]
pub(super) struct WritableKeys {
    is_wanted: bool,
    min: Given<f64>,
    max: Given<f64>,
    read_back: Given<bool>,
}

/// Reads `writable` of a point.
pub(super) fn read(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<WritableKeys>> {
    let spot = field.key_spot.clone();
    let truths = [("true", true), ("false", false)];
    let (min, max, read_back) = (Given::Absent, Given::Absent, Given::Absent);
    if !field.is_group() {
        if field.is_list() || field.is_broken() {
            field.fields(EXAMPLE, notes)?;
        }
        let is_wanted = field.choice(&truths, &[], notes)?.value;
        return Some(At { value: WritableKeys { is_wanted, min, max, read_back }, spot });
    }
    let mut fields = field.fields(EXAMPLE, notes)?;
    let min = fields.given("min", notes, |field, notes| field.number(notes));
    let max = fields.given("max", notes, |field, notes| field.number(notes));
    let read_back =
        fields.given("read_back", notes, |field, notes| field.choice(&truths, &[], notes));
    let instead = [("minimum", "min"), ("maximum", "max"), ("confirm", "read_back")];
    fields.finish(&[], &instead, notes);
    if let (Some(min), Some(max)) = (min.written(), max.written())
        && min.value > max.value
    {
        let message = format!("`max` is below `min`, {}: nothing could be written", min.value);
        notes.error(&max.spot, message, "write the greatest value that is allowed");
    }
    Some(At { value: WritableKeys { is_wanted: true, min, max, read_back }, spot })
}

impl WritableKeys {
    /// Whether it may be written at all.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    /// What `point` is written with; complains of what cannot be.
    pub(super) fn settle(
        &self,
        key: &Spot,
        point: &PointSettings,
        notes: &mut Notes<'_>,
    ) -> Option<Writable> {
        if !self.is_wanted {
            return None;
        }
        let why = match (point.place.table, point.value_type) {
            (Table::DiscreteInput, _) => Some("a discrete input is only read"),
            (Table::Input, _) => Some("an input register is only read"),
            (_, ValueType::Time { .. }) => Some("a date and time is only read"),
            (_, _) if !point.bit_names.is_empty() => Some("a list of `bits` is only read"),
            (_, _) if point.count.is_some() && is_part(point) => {
                Some("a list of halves of registers is only read")
            }
            (_, _) if is_too_long(point) => {
                Some("one write holds 123 registers or 1968 coils, and this point takes more")
            }
            (_, _) => None,
        };
        if let Some(why) = why {
            notes.error(key, why, "remove `writable`, or tell of the value's other place");
        }
        let no_number = match no_number(point.value_type) {
            None if !point.names.is_empty() => Some("`enum` says what may be written"),
            why => why,
        };
        for spot in [self.min.spot(), self.max.spot()].into_iter().flatten() {
            if let Some(why) = no_number {
                notes.error(spot, format!("{why}, so there is no limit"), "write `writable: true`");
            }
        }
        Some(Writable {
            min: self.min.written().map(|at| at.value),
            max: self.max.written().map(|at| at.value),
            read_back: self.read_back.or(true),
        })
    }
}

/// Whether a value takes less than a register.
fn is_part(point: &PointSettings) -> bool {
    let is_register = point.place.table == Table::Holding;
    let is_half = matches!(point.value_type, ValueType::I8(_) | ValueType::U8(_));
    is_half || is_register && point.value_type == ValueType::Bool
}

fn is_too_long(point: &PointSettings) -> bool {
    let most = if point.place.table == Table::Coil { COILS_MAX } else { REGISTERS_MAX };
    point.width() > most
}

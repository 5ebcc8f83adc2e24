//! core: `checksum` of a plain serial line as written: what it covers and where it stands.

use super::fields::Field;
use super::notes::{At, Notes};
use crate::field::{ChecksumSettings, Order, Sum, Written};

const EXAMPLE: &str = "write `nmea`, `modbus`, or `{ type: crc-16-arc, at: -2, as: little }`";
const PLACE_HELP: &str = "bytes of a frame count from 0, or from its end with -1 for the last one";
const PLACES: std::ops::RangeInclusive<i128> = -65_536..=65_535;

/// Reads `checksum`.
pub(super) fn read(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<ChecksumSettings>> {
    let found = |value| Some(At { value, spot: field.spot.clone() });
    if field.is_broken() {
        return None;
    }
    if !field.is_group() && !field.is_list() {
        let modbus = Sum::NAMES.iter().find(|(name, _)| *name == "crc-16-modbus")?.1;
        let modbus = ChecksumSettings::Range {
            sum: modbus,
            from: 0,
            to: -2,
            at: -2,
            written: Written::Bytes(Order::Little),
        };
        let words = [("nmea", ChecksumSettings::Nmea), ("modbus", modbus)];
        return field.choice(&words, &[], notes);
    }
    let mut fields = field.fields(EXAMPLE, notes)?;
    let sum = fields.given("type", notes, |field, notes| field.choice(&Sum::NAMES, &[], notes));
    let mut place = |key, notes: &mut Notes<'_>| {
        fields.given(key, notes, |field, notes| field.integer::<i32>(PLACES, PLACE_HELP, notes))
    };
    let (from, to, at) = (place("from", notes), place("to", notes), place("at", notes));
    let written = fields.given("as", notes, |field, notes| {
        let words = [
            ("big", Written::Bytes(Order::Big)),
            ("little", Written::Bytes(Order::Little)),
            ("hex", Written::Hex),
        ];
        field.choice(&words, &[], notes)
    });
    if sum.is_absent() {
        notes.error(&field.key_spot, "this checksum has no `type`", EXAMPLE);
    }
    let instead = [("start", "from"), ("end", "to"), ("position", "at"), ("order", "as")];
    fields.finish(&[], &instead, notes);
    let (sum, written) = (sum.written()?.value, written.or(Written::Bytes(Order::Big)));
    let size = if written == Written::Hex { sum.size() * 2 } else { sum.size() };
    let size = i32::try_from(size).ok()?;
    if let Some(at) = at.written().filter(|at| at.value < 0 && at.value > -size) {
        let message = format!(
            "this checksum takes {size} bytes, and from {} on a frame has {}",
            at.value, -at.value
        );
        notes.error(&at.spot, message, format!("write {} at most", -size));
    }
    let at = at.or(-size);
    let (from_value, to_value) = (from.or(0), to.or(at));
    let is_same_side = (from_value < 0) == (to_value < 0);
    if is_same_side && from_value >= to_value {
        let message =
            format!("this covers nothing: it begins at {from_value} and ends before {to_value}");
        let spot = from.spot().or(to.spot()).unwrap_or(&field.key_spot);
        notes.error(spot, message, PLACE_HELP);
    }
    found(ChecksumSettings::Range { sum, from: from_value, to: to_value, at, written })
}

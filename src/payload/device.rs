//! core: what was read of a device in one poll, in one message.

use std::fmt::Write as _;

use super::json::{UNSYNCED_MARK, push_id, push_text, push_value};
use crate::model::{ClockState, Moment, Quality, Reading, ReadingId, Value};

/// Room for what stands around the values, and for each of them.
const AROUND_BYTES: usize = 128;
const VALUE_BYTES: usize = 24;

/// Readings of one device that belong together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Together<'a> {
    readings: &'a [&'a Reading],
    /// When the first of them was taken, and the last.
    first: Moment,
    last: Moment,
}

impl<'a> Together<'a> {
    /// `None` if there are none.
    pub(super) fn new(readings: &'a [&'a Reading]) -> Option<Self> {
        let taken = || readings.iter().map(|reading| reading.taken);
        let first = taken().min_by_key(|taken| taken.boot_ms)?;
        let last = taken().max_by_key(|taken| taken.boot_ms)?;
        Some(Self { readings, first, last })
    }

    /// When the last of them was taken.
    pub(super) fn taken(&self) -> Moment {
        self.last
    }

    /// The same number for the same set of points, in whatever order.
    pub(super) fn points(&self) -> u32 {
        let add = |sum: u32, reading: &&Reading| sum.wrapping_add(hash(&reading.point.point));
        self.readings.iter().fold(0, add)
    }

    /// The JSON: `time` (RFC 3339, UTC, milliseconds: when the last of them was taken), `clock` (`unsynced`) if that is by a
    /// clock that cannot be believed, `id`, `span_ms` (how long before `time` the first was taken) if that is not 0, `values`
    /// (by point, those whose quality is good and no others), `units` (by point) if they are wanted, `bad` (by point, the
    /// others: `value`, `quality`, `reason`) if there are any.
    pub(super) fn payload(
        &self,
        gateway: &str,
        id: ReadingId,
        clock: ClockState,
        with_units: bool,
    ) -> String {
        let mut json = String::with_capacity(AROUND_BYTES + VALUE_BYTES * self.readings.len());
        // Writing to a String cannot fail.
        _ = write!(json, "{{\"time\":\"{}\"", self.last.wall);
        if !clock.covers(self.last) {
            json.push_str(UNSYNCED_MARK);
        }
        json.push_str(",\"id\":");
        push_id(&mut json, gateway, id);
        let span_ms = self.last.boot_ms.saturating_sub(self.first.boot_ms);
        if span_ms > 0 {
            _ = write!(json, ",\"span_ms\":{span_ms}");
        }
        json.push_str(",\"values\":");
        push_object(&mut json, self.readings, |json, reading| {
            let Some(value) = good(reading) else { return false };
            push_key(json, reading);
            push_value(json, value);
            true
        });
        if with_units {
            json.push_str(",\"units\":");
            push_object(&mut json, self.readings, |json, reading| {
                let Some(unit) = &reading.unit else { return false };
                push_key(json, reading);
                push_text(json, unit);
                true
            });
        }
        if self.readings.iter().any(|reading| good(reading).is_none()) {
            json.push_str(",\"bad\":");
            push_object(&mut json, self.readings, |json, reading| {
                let is_bad = good(reading).is_none();
                if is_bad {
                    push_key(json, reading);
                    push_bad(json, reading);
                }
                is_bad
            });
        }
        json.push('}');
        json
    }
}

/// What may be taken as it is.
fn good(reading: &Reading) -> Option<&Value> {
    reading.value.as_ref().filter(|_| reading.quality == Quality::Good)
}

/// Writes an object of what `push` writes of each reading; `push` says whether it wrote anything.
fn push_object(
    json: &mut String,
    readings: &[&Reading],
    mut push: impl FnMut(&mut String, &Reading) -> bool,
) {
    json.push('{');
    for reading in readings {
        if push(json, reading) {
            json.push(',');
        }
    }
    if json.ends_with(',') {
        json.pop();
    }
    json.push('}');
}

fn push_key(json: &mut String, reading: &Reading) {
    push_text(json, &reading.point.point);
    json.push(':');
}

fn push_bad(json: &mut String, reading: &Reading) {
    json.push_str("{\"value\":");
    match &reading.value {
        None => json.push_str("null"),
        Some(value) => push_value(json, value),
    }
    _ = write!(json, ",\"quality\":\"{}\"", reading.quality.word());
    if let Some(reason) = reading.quality.reason() {
        json.push_str(",\"reason\":");
        push_text(json, reason);
    }
    json.push('}');
}

/// FNV-1a.
fn hash(name: &str) -> u32 {
    let step = |sum: u32, byte: u8| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    name.bytes().fold(0x811c_9dc5, step)
}

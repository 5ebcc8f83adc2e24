//! core: a point of a plain serial line: what it is run with, and which keys it cannot have.

use std::sync::Arc;
use std::time::Duration;

use super::super::marker;
use super::super::notes::{Given, Notes, Spot};
use super::super::report::Report;
use super::super::value_type::{TypeWord, bit_count};
use super::{Point, pick};
use crate::field::{Pick, Place, PointSettings, Table, ValueType};

impl Point {
    /// As [`Point::settle`], on a plain serial line. `send` is what its device is asked with.
    pub(super) fn settle_on_line(
        &self,
        every: Duration,
        report: &Given<Report>,
        send: Option<&Arc<[u8]>>,
        notes: &mut Notes<'_>,
    ) -> Option<PointSettings> {
        self.check_keys_of_registers(notes);
        let send = self.pick.send().or(send).map(Arc::clone);
        if let Some(every) = self.every.spot().filter(|_| send.is_none()) {
            let message = "this value comes by itself, and `every` is how often a device is asked";
            notes.error(every, message, "remove it, or add `send`");
        }
        // What comes by itself has no period.
        let every = if send.is_some() { self.every.or(every) } else { Duration::ZERO };
        let pick = self.pick.settle(&self.name, !self.place.is_absent(), send, notes);
        let value_type = self.type_on_line(notes)?;
        self.pick.check_comma(value_type, notes);
        let place =
            Place { table: Table::Holding, address: 0, bit: self.bit.written().map(|at| at.value) };
        let name = Arc::from(&*self.name.value);
        let point = PointSettings::new(name, place, value_type, every);
        let point = self.settle_value(point, report, notes);
        let is_packed = self.pick.is_packed();
        let invalid = self.invalid.written();
        let markers = invalid.filter(|_| is_packed);
        let markers = markers.map(|words| marker::settle(words, value_type, notes));
        let words = invalid.filter(|_| !is_packed).map(|words| &words.value[..]);
        let words = words.unwrap_or_default().iter().map(|at| Arc::from(&*at.value)).collect();
        Some(PointSettings {
            invalid: markers.unwrap_or_default(),
            pick: Some(Pick { invalid: words, ..pick? }),
            ..point
        })
    }

    /// Complains of keys of a plain serial line at a point of a Modbus device.
    pub(super) fn check_keys_of_frames(&self, notes: &mut Notes<'_>) {
        for (key, spot) in self.pick.keys() {
            let message =
                format!("`{key}` belongs to a plain serial line, and this is a Modbus device");
            notes.error(spot, message, "remove it; registers are `holding` or `input`");
        }
    }

    fn check_keys_of_registers(&self, notes: &mut Notes<'_>) {
        for (key, spot) in [
            ("holding", self.place.spot()),
            ("count", self.count.spot()),
            ("word_order", self.word_order.spot()),
            ("byte_order", self.byte_order.spot()),
            ("byte", self.value_type.byte_spot()),
            ("writable", self.writable.spot()),
        ] {
            let Some(spot) = spot else { continue };
            let (message, remedy) = match key {
                "holding" => ("a plain serial line has no registers".to_owned(), pick::EXAMPLE),
                "word_order" | "byte_order" => {
                    (format!("`{key}` belongs to registers"), "write `order: little`")
                }
                "writable" => {
                    ("a point of a plain serial line is only read".to_owned(), "remove it")
                }
                _ => (format!("`{key}` belongs to registers"), "remove it"),
            };
            notes.error(spot, message, remedy);
        }
    }

    fn type_on_line(&self, notes: &mut Notes<'_>) -> Option<ValueType> {
        if !self.pick.is_packed() {
            if let Some(bit) = self.bit.spot() {
                let message = "`bit` picks from a packed byte, and this value is written as text";
                notes.error(bit, message, "remove it");
            }
            return self.value_type.settle_written(notes);
        }
        let written = self.value_type.word.written();
        match (self.bit.written(), written) {
            (Some(_), Some(word)) if word.value != TypeWord::Bool => {
                let message = "`bit` and `type` do not go together: a bit is `bool`";
                notes.error(&word.spot, message, "remove one of the two");
                return None;
            }
            (Some(bit), _) if bit.value > 7 => {
                notes.error(&bit.spot, "a byte has the bits 0 to 7", "write `at` of its byte");
                return None;
            }
            (None, Some(word)) if word.value == TypeWord::Bool => {
                let message = "a byte has eight bits, and this does not say which one is meant";
                notes.error(&word.spot, message, "write `bit: 0` to `bit: 7`");
                return None;
            }
            _ => {}
        }
        let word = match (&self.value_type.word, self.bit.written()) {
            (Given::Wrong, _) => return None,
            (_, Some(_)) => TypeWord::Bool,
            (Given::Value(word), None) => word.value,
            (Given::Absent, None) => TypeWord::Plain(ValueType::U16),
        };
        self.value_type.settle(word, &self.name.spot, notes)
    }

    /// The last byte of a packed value, from 0, with the place that says where the first is.
    pub(in crate::config) fn last_byte(&self, settled: &PointSettings) -> Option<(usize, &Spot)> {
        let spot = self.pick.keys().into_iter().find(|(key, _)| *key == "at")?.1;
        let crate::field::PickFrom::Bytes { at, .. } = settled.pick.as_ref()?.from else {
            return None;
        };
        let bytes = if let ValueType::Text { length, .. } = settled.value_type {
            usize::from(length)
        } else if settled.value_type == ValueType::Bool {
            1
        } else {
            usize::try_from(bit_count(settled.value_type) / 8).ok()?
        };
        Some((at + bytes - 1, spot))
    }
}

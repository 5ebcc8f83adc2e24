//! core: a point as written, and what it is run with.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::fields::{Field, Fields, Later};
use super::name;
use super::notes::{At, Given, Notes, Spot};
use super::value_type::{self, TypeWord};
use crate::field::{Order, Place, PointSettings, Table, ValueType};

const EXAMPLE: &str = "write `{ holding: 100, type: i16 }`";
const TABLES: [(&str, Table); 4] = [
    ("holding", Table::Holding),
    ("input", Table::Input),
    ("coil", Table::Coil),
    ("discrete", Table::DiscreteInput),
];
const ADDRESS_HELP: &str =
    "addresses count from 0, as on the wire: what a manual calls 40101 or 400101 is `holding: 100`";
const UNIT_CHARACTERS_MAX: usize = 16;
const ENUM_NAME_BYTES_MAX: usize = 64;

const LATER: &[Later] = &[
    ("writable", "remove it: this version only reads"),
    ("report", "remove it: every value that is read is published"),
    ("match", "remove this point: plain serial lines are not read"),
    ("format", "remove it: values are published as JSON"),
    ("min", "remove it: it belongs to `writable`, and this version only reads"),
    ("max", "remove it: it belongs to `writable`, and this version only reads"),
];

const INSTEAD: &[Later] = &[
    ("address", "holding"),
    ("register", "holding"),
    ("holding_register", "holding"),
    ("input_register", "input"),
    ("discrete_input", "discrete"),
    ("interval", "every"),
    ("period", "every"),
    ("factor", "scale"),
    ("multiplier", "scale"),
    ("gain", "scale"),
    ("precision", "decimals"),
    ("swap", "word_order"),
    ("endian", "word_order"),
    ("values", "enum"),
    ("datatype", "type"),
    ("data_type", "type"),
];

/// A point as written.
#[derive(Debug)]
pub(super) struct Point {
    pub(super) name: At<Rc<str>>,
    place: Given<(Table, u16)>,
    value_type: Given<TypeWord>,
    bit: Given<u8>,
    digits: Given<u8>,
    length: Given<u8>,
    word_order: Given<Order>,
    byte_order: Given<Order>,
    scale: Given<f64>,
    offset: Given<f64>,
    decimals: Given<u8>,
    unit: Given<Rc<str>>,
    names: Given<Vec<At<Name>>>,
    every: Given<Duration>,
}

/// A number and what to call it.
type Name = (i64, Rc<str>);

impl Point {
    pub(super) fn read(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<Self> {
        let taken = [("status", "`{gateway}/{device}/status` says whether the device answers")];
        let name = name::name(field, &taken, notes);
        let mut fields = field.fields(EXAMPLE, notes)?;
        let orders = [("big", Order::Big), ("little", Order::Little)];
        let point = Self {
            place: place(&mut fields, &name.spot, notes),
            value_type: fields.given("type", notes, value_type::word),
            bit: fields.given("bit", notes, |field, notes| {
                field.integer(0..=15, "bit 0 is the lowest of a register", notes)
            }),
            digits: fields.given("digits", notes, value_type::digits),
            length: fields.given("length", notes, |field, notes| {
                field.integer(1..=250, "the length is in bytes, two a register", notes)
            }),
            word_order: fields
                .given("word_order", notes, |field, notes| field.choice(&orders, &[], notes)),
            byte_order: fields
                .given("byte_order", notes, |field, notes| field.choice(&orders, &[], notes)),
            scale: fields.given("scale", notes, |field, notes| {
                let scale = field.number(notes)?;
                if scale.value == 0.0 {
                    notes.error(
                        &scale.spot,
                        "a scale of 0 makes every value 0",
                        "write the factor, such as `0.1`",
                    );
                }
                Some(scale)
            }),
            offset: fields.given("offset", notes, |field, notes| field.number(notes)),
            decimals: fields.given("decimals", notes, |field, notes| {
                field.integer(0..=9, "that many digits are written behind the point", notes)
            }),
            unit: fields.given("unit", notes, unit),
            names: fields.given("enum", notes, names),
            every: fields.given("every", notes, every),
            name,
        };
        fields.finish(LATER, INSTEAD, notes);
        Some(point)
    }

    pub(super) fn settle(&self, every: Duration, notes: &mut Notes<'_>) -> Option<PointSettings> {
        let place = self.place.written()?;
        let (table, address) = place.value;
        let value_type = self.settle_type(table, notes)?;
        self.check_end(place, value_type, notes);
        self.warn_of_manual_numbers(place, notes);
        self.check_orders(table, value_type, notes);
        self.check_arithmetic(value_type, notes);
        let mut names: Vec<(i64, Arc<str>)> = Vec::new();
        if let Some(written) = self.names.written() {
            self.check_names(&written.value, &written.spot, value_type, notes);
            names = written.value.iter().map(|at| (at.value.0, Arc::from(&*at.value.1))).collect();
            names.sort_by_key(|(number, _)| *number);
        }
        Some(PointSettings {
            name: Arc::from(&*self.name.value),
            place: Place { table, address, bit: self.bit.written().map(|at| at.value) },
            value_type,
            word_order: self.word_order.or(Order::Big),
            byte_order: self.byte_order.or(Order::Big),
            scale: self.scale.or(1.0),
            offset: self.offset.or(0.0),
            decimals: self.decimals.written().map(|at| at.value),
            unit: self.unit.written().map(|at| Arc::from(&*at.value)),
            names,
            every: self.every.or(every),
        })
    }

    fn settle_type(&self, table: Table, notes: &mut Notes<'_>) -> Option<ValueType> {
        let is_bit = matches!(table, Table::Coil | Table::DiscreteInput);
        let written = self.value_type.written();
        if is_bit {
            if let Some(bit) = self.bit.written() {
                notes.error(
                    &bit.spot,
                    "`bit` picks from a register, and this is a single bit",
                    "remove it",
                );
            }
            if let Some(word) = written.filter(|word| word.value != TypeWord::Bool) {
                let message = "a coil or discrete input is one bit, its type is `bool`";
                notes.error(
                    &word.spot,
                    message,
                    "remove `type`, or write `holding` or `input` for a register",
                );
            }
        } else if let (Some(_), Some(word)) = (self.bit.written(), written) {
            let message = "`bit` and `type` do not go together: a bit of a register is `bool`";
            notes.error(&word.spot, message, "remove one of the two");
            return None;
        } else if let Some(word) = written.filter(|word| word.value == TypeWord::Bool) {
            let message = "a register has sixteen bits, and this does not say which one is meant";
            notes.error(&word.spot, message, "write `bit: 0` to `bit: 15` instead of `type: bool`");
            return None;
        }
        let word = match &self.value_type {
            Given::Wrong => return None,
            _ if is_bit => TypeWord::Bool,
            Given::Value(word) => word.value,
            Given::Absent if self.bit.is_absent() => TypeWord::U16,
            Given::Absent => TypeWord::Bool,
        };
        value_type::settle(word, &self.digits, &self.length, &self.name.spot, notes)
    }

    /// A value must not run beyond the last register.
    fn check_end(&self, place: &At<(Table, u16)>, value_type: ValueType, notes: &mut Notes<'_>) {
        let (_, address) = place.value;
        let registers = value_type.registers();
        let highest = u16::MAX - (registers - 1);
        if address > highest {
            let message = format!(
                "this value takes {registers} registers, {address} to {}, and the last one is 65535",
                u32::from(address) + u32::from(registers) - 1
            );
            notes.error(&place.spot, message, format!("the highest address for it is {highest}"));
        }
    }

    fn warn_of_manual_numbers(&self, place: &At<(Table, u16)>, notes: &mut Notes<'_>) {
        let (table, address) = place.value;
        let first = match table {
            Table::Holding => 40_001,
            Table::Input => 30_001,
            Table::DiscreteInput => 10_001,
            Table::Coil => return,
        };
        if (first..first + 9_999).contains(&address) {
            let message = format!(
                "{address} looks like the number of a manual, not like an address on the wire"
            );
            notes.warning(&place.spot, message, format!("did you mean {}?", address - first));
        }
    }

    fn check_orders(&self, table: Table, value_type: ValueType, notes: &mut Notes<'_>) {
        if let Some(order) = self.word_order.written() {
            let is_text = matches!(value_type, ValueType::Text { .. });
            if value_type.registers() == 1 || is_text {
                let what = if is_text { "a text" } else { "one register" };
                notes.error(
                    &order.spot,
                    format!("{what} has no order of words"),
                    "remove `word_order`",
                );
            }
        }
        if let Some(order) = self.byte_order.written()
            && matches!(table, Table::Coil | Table::DiscreteInput)
        {
            notes.error(&order.spot, "a single bit has no order of bytes", "remove `byte_order`");
        }
    }

    fn check_arithmetic(&self, value_type: ValueType, notes: &mut Notes<'_>) {
        let no_number = match value_type {
            ValueType::Bool => Some("a bit is true or false"),
            ValueType::Text { .. } => Some("a text is no number"),
            _ if !self.names.is_absent() => Some("`enum` names the numbers as they are read"),
            ValueType::I16
            | ValueType::U16
            | ValueType::I32
            | ValueType::U32
            | ValueType::I64
            | ValueType::U64
            | ValueType::F32
            | ValueType::F64
            | ValueType::Bcd { .. } => None,
        };
        let Some(why) = no_number else { return };
        let keys = [
            ("scale", self.scale.written().map(|at| &at.spot)),
            ("offset", self.offset.written().map(|at| &at.spot)),
            ("decimals", self.decimals.written().map(|at| &at.spot)),
        ];
        for (key, spot) in keys {
            if let Some(spot) = spot {
                let message = format!("{why}, so `{key}` has nothing to work on");
                notes.error(spot, message, format!("remove `{key}`"));
            }
        }
    }

    fn check_names(
        &self,
        names: &[At<Name>],
        spot: &Spot,
        value_type: ValueType,
        notes: &mut Notes<'_>,
    ) {
        let Some(range) = value_type::whole_numbers(value_type) else {
            let message = "`enum` names whole numbers, and this point is none";
            notes.error(spot, message, "remove `enum`, or choose a whole type such as `u16`");
            return;
        };
        let mut known: HashMap<i64, &Spot> = HashMap::new();
        for name in names {
            let number = name.value.0;
            if !range.contains(&i128::from(number)) {
                let message = format!("this point is never {number}");
                let remedy = format!("its values are {} to {}", range.start(), range.end());
                notes.error(&name.spot, message, remedy);
            }
            if let Some(first) = known.insert(number, &name.spot) {
                let line = notes.source.place(first.span.start).line;
                let message = format!("{number} has two names, the first on line {line}");
                notes.error(&name.spot, message, "keep one of the two");
            }
        }
    }
}

/// Which table, and where in it.
fn place(fields: &mut Fields<'_>, name: &Spot, notes: &mut Notes<'_>) -> Given<(Table, u16)> {
    let mut place = Given::Absent;
    for (key, table) in TABLES {
        let Some(field) = fields.take(key) else { continue };
        if !place.is_absent() {
            let message = format!("`{key}` is the second place of this point: it has one");
            notes.error(
                &field.key_spot,
                message,
                "keep one of `holding`, `input`, `coil`, `discrete`",
            );
            continue;
        }
        let address = field.integer::<u16>(0..=65_535, ADDRESS_HELP, notes);
        place = address.map_or(Given::Wrong, |at| {
            Given::Value(At { value: (table, at.value), spot: at.spot })
        });
    }
    if place.is_absent() && !fields.has_any(&[LATER[2], INSTEAD[0], INSTEAD[1]]) {
        notes.error(
            name,
            "this point does not say where it stands",
            "write one of `holding`, `input`, `coil`, `discrete` with an address from 0",
        );
    }
    place
}

/// How often: for devices and points alike.
pub(super) fn every(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Duration>> {
    field.duration(Duration::from_millis(10)..=Duration::from_secs(86_400), notes)
}

fn unit(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Rc<str>>> {
    let unit = field.text("write a unit such as \"°C\", or remove the key", notes)?;
    let count = unit.value.chars().count();
    if count > UNIT_CHARACTERS_MAX {
        let message = format!("this unit has {count} characters, more than {UNIT_CHARACTERS_MAX}");
        notes.error(&unit.spot, message, "write its symbol: `kWh`, `m³/h`, `°C`");
        return None;
    }
    if unit.value.chars().any(char::is_control) {
        notes.error(&unit.spot, "this unit holds a control character", "write its symbol alone");
        return None;
    }
    Some(unit)
}

fn names(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Vec<At<Name>>>> {
    let example = "write `{ 0: off, 1: heating }`";
    let spot = field.key_spot.clone();
    let mut fields = field.fields(example, notes)?;
    let all = fields.take_all();
    if all.is_empty() {
        notes.error(&spot, "this `enum` names nothing", example);
    }
    let mut names = Vec::new();
    for field in all {
        let number = super::quantity::integer(field.name.trim());
        let Some(number) = number.and_then(|number| i64::try_from(number).ok()) else {
            let message = format!("`{}` is no whole number", field.name);
            notes.error(&field.key_spot, message, example);
            continue;
        };
        let Some(name) = field.text(example, notes) else { continue };
        if name.value.len() > ENUM_NAME_BYTES_MAX || name.value.chars().any(char::is_control) {
            let message =
                format!("a name has at most {ENUM_NAME_BYTES_MAX} bytes and no control characters");
            notes.error(&name.spot, message, "shorten it");
            continue;
        }
        names.push(At { value: (number, name.value), spot: field.key_spot.clone() });
    }
    Some(At { value: names, spot })
}

//! core: a point as written, and what it is run with.

mod line;
pub(super) mod pick;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::bus::Wire;
use super::fields::{Field, Fields, Later};
use super::names::Name;
use super::notes::{At, Given, Notes, Spot};
use super::report::{self, Report};
use super::value_type::{TypeKeys, TypeWord, bit_count, no_number, whole_numbers};
use super::writable::{self, WritableKeys};
use super::{expression, format, marker, name, names};
use crate::field::{
    ComputedSettings, Formula, Order, Place, PointSettings, Table, ValueType, Writable,
};
use crate::payload::PointFormat;
use pick::PickKeys;

const EXAMPLE: &str = "write `{ holding: 100, type: i16 }`";
const TABLES: [(&str, Table); 4] = [
    ("holding", Table::Holding),
    ("input", Table::Input),
    ("coil", Table::Coil),
    ("discrete", Table::DiscreteInput),
];
const ADDRESS_HELP: &str =
    "addresses count from 0, as on the wire: what a manual calls 40101 or 400101 is `holding: 100`";
const PLACE_HELP: &str =
    "write one of `holding`, `input`, `coil`, `discrete` with an address from 0";
const UNIT_CHARACTERS_MAX: usize = 16;
const ENUM_EXAMPLE: &str = "write `{ 0: off, 1: heating }`";
const BITS_EXAMPLE: &str = "write `{ 0: overload, 3: door open }`";
/// What one read brings (Modbus application protocol 1.1b3, sections 6.1 and 6.3).
const BITS_MAX: u16 = 2_000;
const REGISTERS_MAX: u16 = 125;

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
    ("array", "count"),
    ("flags", "bits"),
    ("nan", "invalid"),
    ("unavailable", "invalid"),
    ("timezone", "utc_offset"),
    ("formula", "expression"),
    ("scale_factor", "scale_by"),
    ("hidden", "publish"),
    ("min", "writable: { min: … }"),
    ("max", "writable: { max: … }"),
    ("write", "writable"),
    ("settable", "writable"),
    ("read_only", "writable"),
    ("regex", "match"),
    ("pattern", "match"),
    ("columns", "characters"),
    ("pointer", "json"),
    ("command", "send"),
    ("request", "send"),
];

/// A point as written.
#[derive(Debug)]
pub(super) struct Point {
    pub(super) name: At<Rc<str>>,
    place: Given<(Table, u16)>,
    /// Whether a word that is known elsewhere says where it stands.
    is_told_elsewhere: bool,
    pick: PickKeys,
    value_type: TypeKeys,
    bit: Given<u8>,
    count: Given<u16>,
    fraction_bits: Given<u8>,
    invalid: Given<Vec<At<Rc<str>>>>,
    word_order: Given<Order>,
    byte_order: Given<Order>,
    scale: Given<f64>,
    offset: Given<f64>,
    decimals: Given<u8>,
    unit: Given<Rc<str>>,
    names: Given<Vec<At<Name>>>,
    bit_names: Given<Vec<At<Name>>>,
    every: Given<Duration>,
    report: Given<Report>,
    expression: Given<Rc<str>>,
    scale_by: Given<Rc<str>>,
    writable: Given<WritableKeys>,
    publish: Given<bool>,
    format: Given<PointFormat>,
}

impl Point {
    pub(super) fn read(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<Self> {
        let taken = [
            ("status", "`{gateway}/{device}/status` says whether the device answers"),
            ("set", "`{gateway}/{device}/set` takes what is to be written"),
        ];
        let name = name::name(field, &taken, notes);
        let mut fields = field.fields(EXAMPLE, notes)?;
        let orders = [("big", Order::Big), ("little", Order::Little)];
        let point = Self {
            place: place(&mut fields, notes),
            is_told_elsewhere: fields.has_any(&[INSTEAD[0], INSTEAD[1]])
                || fields.has_any(&pick::sources()),
            pick: PickKeys::read(&mut fields, notes),
            value_type: TypeKeys::read(&mut fields, notes),
            bit: fields.given("bit", notes, |field, notes| {
                field.integer(0..=15, "bit 0 is the lowest of a register", notes)
            }),
            count: fields.given("count", notes, |field, notes| {
                let help = "that many values, one behind the other, are published as a list";
                field.integer(1..=BITS_MAX.into(), help, notes)
            }),
            fraction_bits: fields.given("fraction_bits", notes, |field, notes| {
                field.integer(1..=63, "that many bits stand behind the binary point", notes)
            }),
            invalid: fields.given("invalid", notes, |field, notes| {
                let words = field.texts(marker::EXAMPLE, notes)?;
                Some(At { value: words, spot: field.key_spot.clone() })
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
            names: fields
                .given("enum", notes, |field, notes| names::read(field, ENUM_EXAMPLE, notes)),
            bit_names: fields
                .given("bits", notes, |field, notes| names::read(field, BITS_EXAMPLE, notes)),
            every: fields.given("every", notes, every),
            report: fields.given("report", notes, report::read),
            expression: fields.given("expression", notes, expression::read),
            scale_by: fields.given("scale_by", notes, |field, notes| {
                field.text("write the name of the point that holds the scale factor", notes)
            }),
            writable: fields.given("writable", notes, writable::read),
            publish: fields.given("publish", notes, |field, notes| {
                field.choice(&[("true", true), ("false", false)], &[], notes)
            }),
            format: fields.given("format", notes, format::of_point),
            name,
        };
        format::warn_of_hidden(&point.format, point.hidden(), notes);
        fields.finish(&[], INSTEAD, notes);
        Some(point)
    }

    /// `every`, `report` and `send` are those of its device, which is on `wire`.
    pub(super) fn settle(
        &self,
        (wire, send): (Wire, Option<&Arc<[u8]>>),
        every: Duration,
        report: &Given<Report>,
        notes: &mut Notes<'_>,
    ) -> Option<PointSettings> {
        if let Some(expression) = self.expression.written() {
            self.check_strays(&expression.spot, notes);
        }
        if !self.expression.is_absent() {
            return None;
        }
        if wire == Wire::Line || wire == Wire::Unknown && self.pick.has_source() {
            return self.settle_on_line(every, report, send, notes);
        }
        if wire != Wire::Unknown {
            self.check_keys_of_frames(notes);
        }
        if self.place.is_absent() && !self.is_told_elsewhere {
            let message = "this point does not say where it stands";
            notes.error(&self.name.spot, message, PLACE_HELP);
        }
        let place = self.place.written()?;
        let (table, address) = place.value;
        let value_type = self.settle_type(table, notes)?;
        let count = self.count.written().map(|at| at.value);
        let name = Arc::from(&*self.name.value);
        let place = Place { table, address, bit: self.bit.written().map(|at| at.value) };
        let point = PointSettings {
            count,
            word_order: self.word_order.or(Order::Big),
            byte_order: self.byte_order.or(Order::Big),
            ..PointSettings::new(name, place, value_type, self.every.or(every))
        };
        self.check_count(&point, notes);
        self.check_end(&point, notes);
        self.warn_of_manual_numbers(&point, notes);
        self.check_orders(table, value_type, notes);
        let invalid = self.invalid.written();
        let invalid = invalid.map(|words| marker::settle(words, value_type, notes));
        let point = self.settle_value(point, report, notes);
        let point = PointSettings { invalid: invalid.unwrap_or_default(), ..point };
        let writable = self.settle_writable(&point, notes);
        Some(PointSettings { writable, ..point })
    }

    /// Puts in what concerns the value, wherever it stands.
    fn settle_value(
        &self,
        point: PointSettings,
        report: &Given<Report>,
        notes: &mut Notes<'_>,
    ) -> PointSettings {
        let value_type = point.value_type;
        self.check_arithmetic(value_type, notes);
        self.check_fraction_bits(value_type, notes);
        let no_number = self.no_number(value_type);
        let report = report::settle(&self.report, report, point.every, no_number, notes);
        // What is made of it has its name, unit and digits, and is what is published.
        let is_raw = self.scale_by.written().is_some();
        let decimals = self.decimals.written().map(|at| at.value);
        PointSettings {
            fraction_bits: self.fraction_bits.or(0),
            scale: self.scale.or(1.0),
            offset: self.offset.or(0.0),
            unit: self.unit.written().map(|at| Arc::from(&*at.value)),
            report: report.filter(|_| !is_raw),
            decimals: decimals.filter(|_| !is_raw),
            publish: self.is_published() && !is_raw,
            names: self.settle_names(value_type, notes),
            bit_names: self.settle_bit_names(value_type, notes),
            ..point
        }
    }

    fn settle_writable(&self, point: &PointSettings, notes: &mut Notes<'_>) -> Option<Writable> {
        let written = self.writable.written()?;
        if let Some(scale_by) = self.scale_by.spot() {
            let line = notes.source.line_words(scale_by.span.start);
            let message = format!("this point is scaled by another ({line}) and only read");
            notes.error(&written.spot, message, "give the register a writable point of its own");
            return None;
        }
        written.value.settle(&written.spot, point, notes)
    }

    /// As [`Self::settle`], what is published of a point that is made of others; the formula is to be filled in.
    pub(super) fn computed(
        &self,
        report: &Given<Report>,
        notes: &mut Notes<'_>,
    ) -> ComputedSettings {
        ComputedSettings {
            name: Arc::from(&*self.name.value),
            formula: Formula::Number(0.0),
            decimals: self.decimals.written().map(|at| at.value),
            unit: self.unit.written().map(|at| Arc::from(&*at.value)),
            // How often it comes is known from its parts alone; whatever it is, it is a number.
            report: report::settle(&self.report, report, Duration::ZERO, None, notes),
            together: false,
        }
    }

    /// What its device is asked with for this point alone.
    pub(super) fn own_send(&self) -> Option<&Arc<[u8]>> {
        self.pick.send()
    }

    /// What it is made of, where that is other points.
    pub(super) fn made_of(&self) -> Option<&Spot> {
        self.expression.spot().or(self.scale_by.spot())
    }

    pub(super) fn expression(&self) -> Option<&At<Rc<str>>> {
        self.expression.written()
    }

    pub(super) fn scale_by(&self) -> Option<&At<Rc<str>>> {
        self.scale_by.written()
    }

    pub(super) fn is_published(&self) -> bool {
        self.publish.or(true)
    }

    /// How its readings look, if it says so itself.
    pub(super) fn format(&self) -> &Given<PointFormat> {
        &self.format
    }

    /// Whether somebody may write it.
    pub(super) fn is_writable(&self) -> bool {
        self.writable.written().is_some_and(|written| written.value.is_wanted())
    }

    /// Where it says that it may be written.
    pub(super) fn writable_spot(&self) -> Option<&Spot> {
        self.writable.spot().filter(|_| self.is_writable())
    }

    /// Where it says that it is not published.
    pub(super) fn hidden(&self) -> Option<&Spot> {
        self.publish.spot().filter(|_| !self.is_published())
    }

    /// A point that is made of others has no place of its own, and nothing that belongs to one.
    fn check_strays(&self, expression: &Spot, notes: &mut Notes<'_>) {
        let of_type = self.value_type.first_spot();
        let keys = [
            ("a place", self.place.spot().or(self.pick.keys().first().map(|(_, spot)| *spot))),
            ("`type` with what goes with it", of_type),
            ("`bit`", self.bit.spot()),
            ("`count`", self.count.spot()),
            ("`fraction_bits`", self.fraction_bits.spot()),
            ("`invalid`", self.invalid.spot()),
            ("`word_order`", self.word_order.spot()),
            ("`byte_order`", self.byte_order.spot()),
            ("`scale`", self.scale.spot()),
            ("`offset`", self.offset.spot()),
            ("`enum`", self.names.spot()),
            ("`bits`", self.bit_names.spot()),
            ("`every`", self.every.spot()),
            ("`scale_by`", self.scale_by.spot()),
            ("`writable`", self.writable.spot()),
        ];
        for (what, spot) in keys {
            if let Some(spot) = spot {
                let line = notes.source.line_words(expression.span.start);
                let message = format!(
                    "this point is made of others (`expression`, {line}), and {what} belongs to one that is read"
                );
                notes.error(spot, message, "remove it, or give it to a point of its own");
            }
        }
    }

    fn settle_type(&self, table: Table, notes: &mut Notes<'_>) -> Option<ValueType> {
        let is_bit = matches!(table, Table::Coil | Table::DiscreteInput);
        let written = self.value_type.word.written();
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
        let word = match &self.value_type.word {
            Given::Wrong => return None,
            _ if is_bit => TypeWord::Bool,
            Given::Value(word) => word.value,
            Given::Absent if self.bit.is_absent() => TypeWord::Plain(ValueType::U16),
            Given::Absent => TypeWord::Bool,
        };
        self.value_type.settle(word, &self.name.spot, notes)
    }

    fn check_count(&self, point: &PointSettings, notes: &mut Notes<'_>) {
        let Some(count) = self.count.written() else { return };
        if let Some(bit) = self.bit.written() {
            let message = "`bit` picks one bit, and `count` asks for several values";
            notes.error(&bit.spot, message, "remove one of the two");
        }
        let (noun, most) = match point.place.table {
            Table::Coil | Table::DiscreteInput => ("bits", BITS_MAX),
            Table::Holding | Table::Input => ("registers", REGISTERS_MAX),
        };
        if point.width() > most {
            let each = point.value_type.registers();
            let message =
                format!("this list takes {} {noun}, and one read brings {most}", point.width());
            notes.error(&count.spot, message, format!("write {} at most", most / each));
        }
    }

    /// A value must not run beyond the last register.
    fn check_end(&self, point: &PointSettings, notes: &mut Notes<'_>) {
        let Some(place) = self.place.written() else { return };
        let (address, width) = (point.place.address, point.width());
        let highest = u16::MAX - (width - 1);
        if address > highest {
            let noun = match point.place.table {
                Table::Coil | Table::DiscreteInput => "bits",
                Table::Holding | Table::Input => "registers",
            };
            let message = format!(
                "this value takes {width} {noun}, {address} to {}, and the last one is 65535",
                u32::from(address) + u32::from(width) - 1
            );
            notes.error(&place.spot, message, format!("the highest address for it is {highest}"));
        }
    }

    fn warn_of_manual_numbers(&self, point: &PointSettings, notes: &mut Notes<'_>) {
        let Some(place) = self.place.written() else { return };
        // A template is written with a manual beside it, and 40000 is where SunSpec begins.
        if notes.source.file_at(place.spot.span.start).0 > 0 {
            return;
        }
        let address = point.place.address;
        let first = match point.place.table {
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
        let Some(why) = self.no_number(value_type) else { return };
        let keys = [
            ("fraction_bits", self.fraction_bits.spot()),
            ("scale", self.scale.spot()),
            ("offset", self.offset.spot()),
            ("decimals", self.decimals.spot()),
        ];
        for (key, spot) in keys {
            if let Some(spot) = spot {
                let message = format!("{why}, so `{key}` has nothing to work on");
                notes.error(spot, message, format!("remove `{key}`"));
            }
        }
    }

    /// Why nobody can calculate with its values; `None` if one can.
    fn no_number(&self, value_type: ValueType) -> Option<&'static str> {
        match no_number(value_type) {
            None if !self.names.is_absent() => Some("`enum` names the numbers as they are read"),
            None if !self.bit_names.is_absent() => Some("`bits` makes a list of names"),
            why => why,
        }
    }

    fn check_fraction_bits(&self, value_type: ValueType, notes: &mut Notes<'_>) {
        let Some(written) = self.fraction_bits.written() else { return };
        let bits = bit_count(value_type);
        if matches!(value_type, ValueType::F32 | ValueType::F64 | ValueType::Bcd { .. }) {
            let message = "`fraction_bits` belongs to whole numbers, and this point is none";
            notes.error(&written.spot, message, "remove it, or choose a type such as `i16`");
        } else if u32::from(written.value) > bits && whole_numbers(value_type).is_some() {
            let message = format!("this point has {bits} bits in all");
            notes.error(&written.spot, message, format!("write 1 to {bits}"));
        }
    }

    fn settle_names(&self, value_type: ValueType, notes: &mut Notes<'_>) -> Vec<(i64, Arc<str>)> {
        let Some(written) = self.names.written() else { return Vec::new() };
        match whole_numbers(value_type) {
            Some(range) => {
                let what = ("this point is never", "its values are");
                names::check(&written.value, &range, what, notes);
            }
            None => {
                let message = "`enum` names whole numbers, and this point is none";
                let remedy = "remove `enum`, or choose a whole type such as `u16`";
                notes.error(&written.spot, message, remedy);
            }
        }
        sorted(&written.value, |number| number)
    }

    fn settle_bit_names(
        &self,
        value_type: ValueType,
        notes: &mut Notes<'_>,
    ) -> Vec<(u8, Arc<str>)> {
        let Some(written) = self.bit_names.written() else { return Vec::new() };
        if !self.names.is_absent() {
            let message = "`bits` and `enum` do not go together: one names bits, one whole numbers";
            notes.error(&written.spot, message, "remove one of the two");
        }
        if whole_numbers(value_type).is_none() {
            let message = "`bits` names the bits of a whole number, and this point is none";
            let remedy = "remove `bits`, or choose a whole type such as `u16`";
            notes.error(&written.spot, message, remedy);
        } else {
            let range = 0..=i128::from(bit_count(value_type)) - 1;
            let what = ("this point has no bit", "its bits are");
            names::check(&written.value, &range, what, notes);
        }
        sorted(&written.value, |number| u8::try_from(number).unwrap_or_default())
    }
}

fn sorted<T: Ord>(names: &[At<Name>], key: impl Fn(i64) -> T) -> Vec<(T, Arc<str>)> {
    let names = names.iter().map(|at| (key(at.value.0), Arc::from(&*at.value.1)));
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// Which table, and where in it.
fn place(fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> Given<(Table, u16)> {
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

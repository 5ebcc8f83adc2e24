//! core: what a device allows in one read, as written: how much at a time, holes and borders.

use super::fields::{Field, Fields};
use super::notes::{At, Given, Notes, Spot};
use crate::field::{Allowed, Hole, PointSettings, Table};

const HOLES_EXAMPLE: &str = "write `holes: [{ holding: 45, count: 5 }]`";
const BORDERS_EXAMPLE: &str = "write `borders: [{ holding: 40 }]`";
const TABLES: [(&str, Table); 4] = [
    ("holding", Table::Holding),
    ("input", Table::Input),
    ("coil", Table::Coil),
    ("discrete", Table::DiscreteInput),
];

/// What a device allows, as written.
#[derive(Debug)]
pub(super) struct Limits {
    registers_max: Given<u16>,
    bits_max: Given<u16>,
    holes: Vec<At<Hole>>,
    borders: Vec<At<(Table, u16)>>,
}

impl Limits {
    /// Takes its keys out of those of a device.
    pub(super) fn read(fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> Self {
        let help = "the manual says how many a device gives in one answer";
        let registers_max = fields
            .given("max_registers", notes, |field, notes| field.integer(1..=125, help, notes));
        let bits_max =
            fields.given("max_bits", notes, |field, notes| field.integer(1..=2000, help, notes));
        let mut list =
            |key, example, read: fn(&mut Fields<'_>, &mut Notes<'_>) -> Option<At<Hole>>| {
                let items =
                    fields.take_filled(key).and_then(|field: Field<'_>| field.list(example, notes));
                let items = items.unwrap_or_default().into_iter().filter_map(|mut item| {
                    let found = read(&mut item, notes);
                    item.finish(&[], &[("register", "holding"), ("address", "holding")], notes);
                    found
                });
                items.collect::<Vec<_>>()
            };
        let holes = list("holes", HOLES_EXAMPLE, hole);
        let borders = list("borders", BORDERS_EXAMPLE, border);
        let borders = borders.into_iter().map(|At { value, spot }| {
            let value = (value.table, value.address);
            At { value, spot }
        });
        Self { registers_max, bits_max, holes, borders: borders.collect() }
    }

    /// The first of its keys that is written.
    pub(super) fn first(&self) -> Option<(&'static str, &Spot)> {
        let registers = self.registers_max.spot().map(|spot| ("max_registers", spot));
        let bits = self.bits_max.spot().map(|spot| ("max_bits", spot));
        let hole = self.holes.first().map(|at| ("holes", &at.spot));
        let border = self.borders.first().map(|at| ("borders", &at.spot));
        registers.or(bits).or(hole).or(border)
    }

    /// What the program runs with; complains of `points` that could never be read.
    pub(super) fn settle<'p>(
        &self,
        points: impl Iterator<Item = (&'p Spot, &'p PointSettings)>,
        notes: &mut Notes<'_>,
    ) -> Allowed {
        for (spot, point) in points {
            self.check(spot, point, notes);
        }
        Allowed {
            registers_max: self.registers_max.written().map(|at| at.value),
            bits_max: self.bits_max.written().map(|at| at.value),
            holes: self.holes.iter().map(|at| at.value).collect(),
            borders: self.borders.iter().map(|at| at.value).collect(),
        }
    }

    fn check(&self, spot: &Spot, point: &PointSettings, notes: &mut Notes<'_>) {
        let (table, address) = (point.place.table, point.place.address);
        let is_bit = matches!(table, Table::Coil | Table::DiscreteInput);
        let count = if is_bit { 1 } else { point.width() };
        let end = u32::from(address) + u32::from(count);
        let name = &point.name;
        if let Some(most) = self.registers_max.written().filter(|most| count > most.value) {
            let message = format!(
                "the point `{name}` takes {count} registers, and this device gives {} at a time",
                most.value
            );
            notes.error(&most.spot, message, format!("write {count} or more"));
        }
        let touches = |hole: &Hole| {
            hole.table == table && u32::from(hole.address) < end && u32::from(address) < hole.end()
        };
        if let Some(hole) = self.holes.iter().find(|hole| touches(&hole.value)) {
            let line = notes.source.line_words(hole.spot.span.start);
            let message = format!("the point `{name}` stands in the hole of {line}");
            notes.error(spot, message, "remove the point, or make the hole smaller");
        }
        let parts = |(of, at): (Table, u16)| of == table && address < at && u32::from(at) < end;
        if let Some(border) = self.borders.iter().find(|border| parts(border.value)) {
            let message = format!("this border goes through the point `{name}`");
            let remedy = format!("write {address} or {end}: a value is read whole");
            notes.error(&border.spot, message, remedy);
        }
    }
}

fn hole(fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> Option<At<Hole>> {
    let place = place(fields, HOLES_EXAMPLE, notes);
    let count = fields.given("count", notes, |field, notes| {
        field.integer(1..=65_535, "how many addresses the device does not have", notes)
    });
    let At { value: (table, address), spot } = place?;
    let hole = Hole { table, address, count: count.or(1) };
    if hole.end() > 0x1_0000 {
        let message =
            format!("this hole reaches to {}, and the last address is 65535", hole.end() - 1);
        let most = 0x1_0000 - u32::from(address);
        notes.error(&spot, message, format!("write `count: {most}` or less"));
    }
    Some(At { value: hole, spot })
}

fn border(fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> Option<At<Hole>> {
    let At { value: (table, address), spot } = place(fields, BORDERS_EXAMPLE, notes)?;
    Some(At { value: Hole { table, address, count: 1 }, spot })
}

fn place(
    fields: &mut Fields<'_>,
    example: &str,
    notes: &mut Notes<'_>,
) -> Option<At<(Table, u16)>> {
    let mut found: Option<At<(Table, u16)>> = None;
    let mut is_wrong = false;
    for (key, table) in TABLES {
        let Some(field) = fields.take(key) else { continue };
        if found.is_some() {
            notes.error(&field.key_spot, format!("`{key}` is the second place here"), example);
            continue;
        }
        let help = "addresses count from 0, as on the wire";
        let address = field.integer::<u16>(0..=65_535, help, notes);
        is_wrong |= address.is_none();
        found = address.map(|At { value, spot }| At { value: (table, value), spot });
    }
    if found.is_none() && !is_wrong && !fields.has_unknown() {
        notes.error(&fields.spot, "this does not say where", example);
    }
    found
}

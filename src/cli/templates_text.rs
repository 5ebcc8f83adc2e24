//! core: what `fieldpost templates` shows.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::queue_text::table;
use crate::config::{Complaints, TemplateCard};
use crate::field::{
    Expected, Half, Identity, Order, Place, PointSettings, Sign, TimeLayout, ValueType, Writable,
};

/// The templates under one another.
pub(super) fn list(cards: &[TemplateCard]) -> String {
    let head = ["template", "class", "points", "device", "from"].map(str::to_owned);
    let rows = cards.iter().map(|card| {
        let points = card.device.point_count().to_string();
        [card.name.clone(), card.class.clone(), points, card.title.clone(), origin(card)]
    });
    table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

/// One with its points and parameters.
pub(super) fn one(card: &TemplateCard) -> String {
    let TemplateCard { name, title, class, origin: document, parameters, device, .. } = card;
    let mut text = format!("{name}: {title} ({class})\n");
    let _ = writeln!(text, "from       {}", origin(card));
    let _ = write!(text, "source     {}", document.title);
    for more in [&document.revision, &document.url].into_iter().flatten() {
        let _ = write!(text, ", {more}");
    }
    text.push('\n');
    if let Some(about) = &card.about {
        let _ = writeln!(text, "about      {about}");
    }
    let allowed = &device.allowed;
    let registers = allowed.registers_max.map(|most| format!("{most} registers"));
    let bits = allowed.bits_max.map(|most| format!("{most} bits"));
    let most: Vec<String> = [registers, bits].into_iter().flatten().collect();
    if !most.is_empty() {
        let _ = writeln!(text, "one read   {} at most", most.join(", "));
    }
    let signs: Vec<String> = card.fingerprint.signs.iter().map(sign).collect();
    if !signs.is_empty() {
        let _ = writeln!(text, "known by   {}", signs.join("; "));
    }
    if !parameters.is_empty() {
        text.push('\n');
        let head = ["parameter", "default", "can be", "is"].map(str::to_owned);
        let rows = parameters.iter().map(|it| {
            let about = it.about.clone().unwrap_or_default();
            [it.name.clone(), it.default.clone(), it.allowed.clone(), about]
        });
        text += &table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
    }
    text.push('\n');
    let head = ["point", "stands at", "type", "unit", "class", "written"].map(str::to_owned);
    let rows = points(card).into_iter().map(|point| {
        [
            point.name.to_owned(),
            point.place,
            point.type_name,
            point.unit.unwrap_or_default().to_owned(),
            point.class.unwrap_or_default().to_owned(),
            point.writable.map(limits).unwrap_or_default(),
        ]
    });
    text += &table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
    text
}

/// All there is to say, for machines.
pub(super) fn json(cards: &[TemplateCard], wrong: &[Complaints]) -> Value {
    let cards = cards.iter().map(|card| {
        let points = points(card).into_iter().map(|point| {
            json!({
                "name": point.name,
                "place": point.place,
                "type": point.type_name,
                "unit": point.unit,
                "class": point.class,
                "publish": point.publish,
                "writable": point.writable.map(|it| json!({ "min": it.min, "max": it.max })),
            })
        });
        let parameters = card.parameters.iter().map(|it| {
            json!({ "name": it.name, "default": it.default, "can_be": it.allowed, "about": it.about })
        });
        json!({
            "name": card.name,
            "title": card.title,
            "class": card.class,
            "about": card.about,
            "source": {
                "title": card.origin.title,
                "revision": card.origin.revision,
                "url": card.origin.url,
            },
            "file": card.file,
            "instead_of_built_in": card.is_instead,
            "unit": card.device.unit.0,
            "max_registers": card.device.allowed.registers_max,
            "max_bits": card.device.allowed.bits_max,
            "identify": card.fingerprint.signs.iter().map(sign).collect::<Vec<_>>(),
            "parameters": parameters.collect::<Vec<_>>(),
            "points": points.collect::<Vec<_>>(),
        })
    });
    let complaints = wrong.iter().flatten().map(|it| {
        json!({
            "severity": it.severity.to_string(),
            "file": it.file,
            "line": it.line,
            "column": it.column,
            "path": it.path,
            "message": it.message,
            "remedy": it.remedy,
        })
    });
    json!({ "templates": cards.collect::<Vec<_>>(), "complaints": complaints.collect::<Vec<_>>() })
}

/// Whose it is.
fn origin(card: &TemplateCard) -> String {
    match (&card.file, card.is_instead) {
        (None, _) => "built in".to_owned(),
        (Some(file), false) => file.clone(),
        (Some(file), true) => format!("{file}, instead of the one built in"),
    }
}

/// A point, whether it is read or made of others.
struct Row<'c> {
    name: &'c str,
    place: String,
    type_name: String,
    unit: Option<&'c str>,
    class: Option<&'c str>,
    writable: Option<&'c Writable>,
    publish: bool,
}

fn points(card: &TemplateCard) -> Vec<Row<'_>> {
    let class = |name: &str| {
        let found = card.classes.iter().find(|(known, _)| **known == *name);
        found.map(|(_, class)| &**class)
    };
    let made = &card.device.computed;
    let is_made = |name: &str| made.iter().any(|it| *it.name == *name);
    let is_read = |name: &str| card.device.points.iter().any(|it| *it.name == *name);
    let read = card.device.points.iter().map(|point| Row {
        name: &point.name,
        place: place(point.place),
        type_name: type_name(point),
        unit: point.unit.as_deref(),
        class: class(&point.name),
        writable: point.writable.as_ref(),
        publish: point.publish || is_made(&point.name),
    });
    let made = made.iter().filter(|it| !is_read(&it.name)).map(|it| Row {
        name: &it.name,
        place: "made of others".to_owned(),
        type_name: String::new(),
        unit: it.unit.as_deref(),
        class: class(&it.name),
        writable: None,
        publish: true,
    });
    read.chain(made).collect()
}

fn place(place: Place) -> String {
    let bit = place.bit.map(|bit| format!(" bit {bit}")).unwrap_or_default();
    format!("{} {}{bit}", place.table.key(), place.address)
}

fn type_name(point: &PointSettings) -> String {
    let mut name = match point.value_type {
        ValueType::Bool => "bool".to_owned(),
        ValueType::I8(half) => format!("i8 {}", half_name(half)),
        ValueType::U8(half) => format!("u8 {}", half_name(half)),
        ValueType::I16 => "i16".to_owned(),
        ValueType::U16 => "u16".to_owned(),
        ValueType::I32 => "i32".to_owned(),
        ValueType::U32 => "u32".to_owned(),
        ValueType::I48 => "i48".to_owned(),
        ValueType::U48 => "u48".to_owned(),
        ValueType::I64 => "i64".to_owned(),
        ValueType::U64 => "u64".to_owned(),
        ValueType::SignMagnitude { registers } => format!("sm{}", u32::from(registers) * 16),
        ValueType::F32 => "f32".to_owned(),
        ValueType::F64 => "f64".to_owned(),
        ValueType::Bcd { registers } => format!("bcd of {} digits", u32::from(registers) * 4),
        ValueType::Text { length, .. } => format!("string of {length}"),
        ValueType::Time { layout, .. } => format!("time {}", layout_name(layout)),
    };
    if !point.names.is_empty() {
        name += ", enum";
    }
    if !point.bit_names.is_empty() {
        name += ", bits";
    }
    #[expect(clippy::float_cmp, reason = "1 means that nothing is multiplied")]
    if point.scale != 1.0 {
        let _ = write!(name, " × {}", point.scale);
    }
    if point.word_order == Order::Little {
        name += ", low word first";
    }
    if point.byte_order == Order::Little {
        name += ", low byte first";
    }
    name
}

fn half_name(half: Half) -> &'static str {
    match half {
        Half::Low => "low",
        Half::High => "high",
    }
}

fn layout_name(layout: TimeLayout) -> &'static str {
    match layout {
        TimeLayout::Unix => "unix",
        TimeLayout::UnixMs => "unix-ms",
        TimeLayout::Cp56 => "cp56",
        TimeLayout::Registers => "registers",
        TimeLayout::Bytes => "bytes",
        TimeLayout::Bcd => "bcd",
    }
}

fn limits(writable: &Writable) -> String {
    match (writable.min, writable.max) {
        (Some(min), Some(max)) => format!("{min} to {max}"),
        (Some(min), None) => format!("{min} or more"),
        (None, Some(max)) => format!("{max} or less"),
        (None, None) => "yes".to_owned(),
    }
}

fn sign(sign: &Sign) -> String {
    match sign {
        Sign::Value(point, expected) => {
            let wanted = match expected {
                Expected::Number(all) => {
                    all.iter().map(f64::to_string).collect::<Vec<_>>().join(" or ")
                }
                Expected::Text(all) => all.join(" or "),
                Expected::Between(least, most) => format!("{least} to {most}"),
            };
            format!("{} ({}) is {wanted}", place(point.place), type_name(point))
        }
        Sign::Text(which, text) => {
            let name = match which {
                Identity::Vendor => "vendor (43/14)",
                Identity::Product => "product (43/14)",
                Identity::ServerId => "server id (17)",
            };
            format!("{name} holds {text}")
        }
    }
}

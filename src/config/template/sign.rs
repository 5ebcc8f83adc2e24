//! core: `identify` of a template: what a device of this kind answers.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::super::bus::Wire;
use super::super::fields::{Field, Fields};
use super::super::notes::{Given, Notes, Spot};
use super::super::point::Point;
use super::super::quantity;
use super::super::tree::{Kind, Node};
use super::Template;
use super::values::Values;
use crate::field::{Expected, Fingerprint, Identity, Sign};

const EXAMPLE: &str = "write a list such as `[{ holding: 100, is: 112 }, { input: 70, type: f32, between: [45, 65] }, { vendor: Schneider }]`";
const TEXTS: [(&str, Identity); 3] = [
    ("vendor", Identity::Vendor),
    ("product", Identity::Product),
    ("server_id", Identity::ServerId),
];

/// What tells devices of this template from others.
pub(super) fn fingerprint(
    template: &Template,
    values: &Values,
    notes: &mut Notes<'_>,
) -> Fingerprint {
    let mut signs = Vec::new();
    if let Some((node, spot)) = &template.identify {
        let filled = values.fill_node(node, spot, notes);
        if let Kind::List(items) = &filled.kind {
            for (index, item) in items.iter().enumerate() {
                read(item, &spot.item(index, item.span), &mut signs, notes);
            }
        } else {
            notes.error(spot, "`identify` must be a list", EXAMPLE);
        }
    }
    Fingerprint { template: Arc::from(&*template.name), title: Arc::from(&*template.title), signs }
}

fn read(item: &Rc<Node>, spot: &Spot, signs: &mut Vec<Sign>, notes: &mut Notes<'_>) {
    let Some(mut fields) = Fields::open(item, spot.clone(), EXAMPLE, notes) else { return };
    let before = signs.len();
    for (key, which) in TEXTS {
        if let Some(text) = fields.take(key).and_then(|field| field.text(EXAMPLE, notes)) {
            signs.push(Sign::Text(which, Arc::from(&*text.value)));
        }
    }
    if signs.len() > before {
        fields.finish(&[], &[], notes);
        return;
    }
    let expected = expected(&mut fields, notes);
    let Kind::Map(entries) = &item.kind else { return };
    let keys = entries.iter().filter(|it| !matches!(&*it.key, "is" | "between")).cloned();
    let place = Node::made(item.span, Kind::Map(keys.collect()));
    let field = Field::named("value", spot, &place);
    let Some(point) = Point::read(&field, notes) else { return };
    let wire = (Wire::Tcp, None);
    let point = point.settle(wire, Duration::from_secs(1), &Given::Absent, notes);
    match (point, expected) {
        (Some(point), Some(expected)) => signs.push(Sign::Value(Box::new(point), expected)),
        (Some(_), None) => notes.error(spot, "this does not say what the value must be", EXAMPLE),
        (None, _) => {}
    }
}

fn expected(fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> Option<Expected> {
    if let Some(field) = fields.take("between") {
        let ends = field.texts(EXAMPLE, notes)?;
        let numbers: Vec<f64> =
            ends.iter().filter_map(|it| quantity::number(&it.value).ok()).collect();
        let [least, most] = numbers[..] else {
            notes.error(&field.spot, "`between` takes two numbers", EXAMPLE);
            return None;
        };
        return Some(Expected::Between(least, most));
    }
    let texts = fields.take("is")?.texts(EXAMPLE, notes)?;
    let number = |text: &Rc<str>| {
        let whole = quantity::integer(text).and_then(|it| u32::try_from(it).ok());
        whole.map(f64::from).or_else(|| quantity::number(text).ok())
    };
    let numbers: Option<Vec<f64>> = texts.iter().map(|it| number(&it.value)).collect();
    Some(match numbers {
        Some(numbers) => Expected::Number(numbers),
        None => Expected::Text(texts.iter().map(|it| Arc::from(&*it.value)).collect()),
    })
}

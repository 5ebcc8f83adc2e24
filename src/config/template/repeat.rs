//! core: points of a template that are there several times (`for`), or only for some parameters (`if`).

use std::rc::Rc;

use super::super::fields::{Field, Fields, nearest};
use super::super::notes::{Notes, Spot};
use super::super::quantity;
use super::super::tree::{Entry, Kind, Node};
use super::parameter::{holds, whole};
use super::values::{Value, Values};

const FOR_EXAMPLE: &str =
    "write `for: { channel: 1..8, step: 1 }` or `for: { phase: [l1, l2, l3], step: 2 }`";
const IF_EXAMPLE: &str = "write `if: { phases: 3 }`";
/// How often a point is there at most.
const TIMES_MAX: usize = 1_000;
/// What counts up with `step`.
const PLACES: [&str; 5] = ["holding", "input", "coil", "discrete", "at"];

/// What a point measures or is: words that other programs have as well.
pub(super) const CLASSES: [&str; 35] = [
    "voltage",
    "current",
    "power",
    "apparent-power",
    "reactive-power",
    "power-factor",
    "phase-angle",
    "frequency",
    "energy",
    "apparent-energy",
    "reactive-energy",
    "distortion",
    "temperature",
    "humidity",
    "co2",
    "particles",
    "volatile-organics",
    "illuminance",
    "noise",
    "pressure",
    "flow",
    "volume",
    "mass",
    "level",
    "speed",
    "torque",
    "duration",
    "count",
    "share",
    "state",
    "alarm",
    "switch",
    "setpoint",
    "setting",
    "identity",
];

/// A point of a template as it is for one device.
#[derive(Debug)]
pub(super) struct Unfolded {
    pub(super) name: Rc<str>,
    pub(super) entry: Entry,
    pub(super) class: Option<Rc<str>>,
}

/// The points that `entry` stands for; none once the `budget` is spent.
pub(super) fn unfold(
    entry: &Entry,
    values: &Values,
    group: &Spot,
    budget: &mut usize,
    notes: &mut Notes<'_>,
) -> Vec<Unfolded> {
    let spot = group.key(&entry.key, entry.key_span);
    let Kind::Map(keys) = &entry.value.kind else {
        let name = Rc::clone(&entry.key);
        return vec![Unfolded { name, entry: entry.clone(), class: None }];
    };
    let Some(mut fields) = Fields::open(&entry.value, spot.at(entry.value.span), "", notes) else {
        return Vec::new();
    };
    let is_there = fields.take("if").and_then(|field| field.fields(IF_EXAMPLE, notes));
    if is_there.is_some_and(|mut fields| !holds(&mut fields, values, notes)) {
        return Vec::new();
    }
    let class = fields.take("class").and_then(|field| class(&field, notes));
    let repetition = match fields.take("for") {
        None => None,
        Some(field) => match Repetition::read(&field, values, notes) {
            Some(found) => Some((found, field.key_spot.clone())),
            None => return Vec::new(),
        },
    };
    let rest = keys.iter().filter(|it| !matches!(&*it.key, "if" | "class" | "for"));
    let rest = Rc::new(Node::made(entry.value.span, Kind::Map(rest.cloned().collect())));
    let one = |name: Rc<str>, value: Rc<Node>| {
        let entry = Entry { key: Rc::clone(&name), key_span: entry.key_span, value };
        Unfolded { name, entry, class: class.clone() }
    };
    let times = repetition.as_ref().map_or(1, |(it, _)| it.over.len());
    *budget = budget.saturating_sub(entry.value.weight().saturating_mul(times));
    if *budget == 0 {
        return Vec::new();
    }
    let Some((repetition, for_spot)) = repetition else {
        let name = named(&entry.key, values, &spot, notes);
        return name
            .map(|name| one(name, values.fill_node(&rest, &spot, notes)))
            .into_iter()
            .collect();
    };
    repetition.check(entry, &rest, &for_spot, notes);
    let mut all = Vec::new();
    for (index, value) in repetition.over.iter().enumerate() {
        let values = values.with(&repetition.name, value.clone());
        let Some(name) = named(&entry.key, &values, &spot, notes) else { return all };
        let filled = values.fill_node(&rest, &spot, notes);
        let by = repetition.step.unwrap_or(0).saturating_mul(i64::try_from(index).unwrap_or(0));
        all.push(one(name, advanced(&filled, by)));
    }
    all
}

fn named(name: &str, values: &Values, spot: &Spot, notes: &mut Notes<'_>) -> Option<Rc<str>> {
    match values.fill(name) {
        Ok(name) => Some(Rc::from(name)),
        Err(message) => {
            notes.error(spot, message, values.help());
            None
        }
    }
}

fn class(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<Rc<str>> {
    let class = field.text("write what it measures, such as `class: energy`", notes)?;
    if !CLASSES.contains(&&*class.value) {
        let remedy = match nearest(&class.value, &CLASSES) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the classes are {}", CLASSES.join(", ")),
        };
        notes.error(&class.spot, format!("there is no class `{}`", class.value), remedy);
    }
    Some(class.value)
}

/// `for` as it is for one device.
struct Repetition {
    name: Rc<str>,
    over: Vec<Value>,
    step: Option<i64>,
}

impl Repetition {
    fn read(field: &Field<'_>, values: &Values, notes: &mut Notes<'_>) -> Option<Self> {
        let mut fields = field.fields(FOR_EXAMPLE, notes)?;
        let mut step = None;
        let mut named = None;
        for key in fields.take_all() {
            if &*key.name == "step" {
                let text = key.text(FOR_EXAMPLE, notes)?;
                step = values.fill(&text.value).ok().and_then(|it| quantity::integer(it.trim()));
                let step = step.filter(|step| (1..=65_535).contains(step));
                if step.is_none() {
                    notes.error(
                        &key.spot,
                        "`step` is how many addresses lie between two, 1 to 65535",
                        FOR_EXAMPLE,
                    );
                    return None;
                }
            } else if named.is_some() {
                notes.error(&key.key_spot, "a point is repeated over one thing", FOR_EXAMPLE);
                return None;
            } else {
                named = Some(key);
            }
        }
        let Some(key) = named else {
            notes.error(&field.key_spot, "this does not say over what", FOR_EXAMPLE);
            return None;
        };
        let over = if key.is_list() {
            let texts = key.texts(FOR_EXAMPLE, notes)?;
            texts.iter().map(|it| Value::of(&it.value)).collect()
        } else {
            let text = key.text(FOR_EXAMPLE, notes)?;
            let ends = text
                .value
                .split_once("..")
                .map(|(from, to)| (whole_end(from, values), whole_end(to, values)));
            let Some((Some(from), Some(to))) = ends else {
                let message = format!("`{}` is no range of whole numbers", notes.shown(&key.spot));
                notes.error(&key.spot, message, FOR_EXAMPLE);
                return None;
            };
            if usize::try_from(to - from).is_ok_and(|times| times >= TIMES_MAX) {
                let message = format!("a point is there {TIMES_MAX} times at most");
                notes.error(&key.spot, message, "write a smaller range");
                return None;
            }
            (from..=to).map(|it| Value::Number(it as f64)).collect()
        };
        let step = step.and_then(|step| i64::try_from(step).ok());
        Some(Self { name: Rc::clone(&key.name), over, step })
    }

    /// Complains of points that would all be the same.
    fn check(&self, entry: &Entry, rest: &Node, spot: &Spot, notes: &mut Notes<'_>) {
        if self.over.len() > 1 && !mentions(&entry.key, &self.name) {
            let message =
                format!("this point is repeated, and its name has no `{{{}}}`", self.name);
            let remedy = format!("write \"{}_{{{}}}\"", entry.key, self.name);
            notes.error(spot, message, remedy);
        } else if self.over.len() > 1 && self.step.is_none() && !node_mentions(rest, &self.name) {
            let message = "this point is repeated, and each stands at the same place";
            notes.error(spot, message, "add `step: 1`, or as many registers as one takes");
        }
    }
}

fn whole_end(text: &str, values: &Values) -> Option<i64> {
    let inside = text.trim().trim_start_matches('{').trim_end_matches('}');
    values.calculate(inside).ok().as_ref().and_then(whole)
}

/// Whether braces of `text` hold `name`.
fn mentions(text: &str, name: &str) -> bool {
    text.split('{').skip(1).any(|held| {
        let inside = held.split('}').next().unwrap_or_default();
        inside.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
    })
}

fn node_mentions(node: &Node, name: &str) -> bool {
    match &node.kind {
        Kind::Scalar(text) => mentions(text, name),
        Kind::Null | Kind::Broken => false,
        Kind::List(items) => items.iter().any(|item| node_mentions(item, name)),
        Kind::Map(entries) => entries.iter().any(|entry| node_mentions(&entry.value, name)),
    }
}

/// A point `by` addresses further.
fn advanced(node: &Rc<Node>, by: i64) -> Rc<Node> {
    let Kind::Map(entries) = &node.kind else { return Rc::clone(node) };
    let entries = entries.iter().map(|entry| {
        let is_place = PLACES.contains(&&*entry.key);
        let address = match &entry.value.kind {
            Kind::Scalar(text) if is_place => quantity::integer(text.trim()),
            Kind::Scalar(_) | Kind::Null | Kind::Broken | Kind::List(_) | Kind::Map(_) => None,
        };
        let Some(address) = address else { return entry.clone() };
        let text = (address + i128::from(by)).to_string();
        let value = Node::made(entry.value.span, Kind::Scalar(Rc::from(text)));
        Entry { value: Rc::new(value), ..entry.clone() }
    });
    Rc::new(Node::made(node.span, Kind::Map(entries.collect())))
}

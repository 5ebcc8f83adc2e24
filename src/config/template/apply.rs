//! core: what a device says, laid over the template it uses.

use std::collections::HashSet;
use std::rc::Rc;

use super::super::fields::{Field, list, nearest};
use super::super::notes::{At, Notes, Spot};
use super::super::tree::{Entry, Kind, Node};
use super::library::{Library, TemplateUse};
use super::repeat::{Unfolded, unfold};
use super::values::Values;
use super::{Template, parameter};
use crate::field::Formula;

/// Keys of a device that speak to the template alone.
const TO_TEMPLATE: [&str; 4] = ["template", "parameters", "only", "points"];
/// Keys that say where a value comes from: one of a device's own goes before all of the template's.
const PLACES: [&str; 10] = [
    "holding",
    "input",
    "coil",
    "discrete",
    "expression",
    "match",
    "characters",
    "column",
    "json",
    "at",
];
const ONLY_EXAMPLE: &str = "write names of points, such as `only: [power, energy_import]`";

/// What stands under a device that uses a template: all its keys with those of the template. `None` if it uses none.
pub(in crate::config) fn apply(
    device: &Field<'_>,
    library: &mut Library<'_>,
    notes: &mut Notes<'_>,
) -> Option<Rc<Node>> {
    let own = device.entries()?;
    let mut fields = device.fields("", notes)?;
    let named = fields.take("template")?;
    let (given, only, points) =
        (fields.take("parameters"), fields.take("only"), fields.take("points"));
    let head = device.spot.clone();
    let rest = own.iter().filter(|it| !TO_TEMPLATE.contains(&&*it.key)).cloned();
    let span = head.span;
    let name = named.text("write the name of a template; `fieldpost templates` lists them", notes);
    let shelved = name.and_then(|name| library.get(&name, &device.key_spot, notes));
    let Some(shelved) = shelved else {
        return Some(without_points(device, rest, &named));
    };
    library.uses.push(TemplateUse {
        device: device.name.to_string(),
        template: shelved.template.name.to_string(),
        file: shelved.file.as_deref().map(str::to_owned),
        is_instead: shelved.is_instead,
    });
    let template = &*shelved.template;
    let values = parameter::values(&template.parameters, given.as_ref(), notes);
    let group = device.key_spot.key("points", named.key_spot.span);
    let budget = library.values_left();
    let keys = template.keys.iter().map(|entry| entry.value.weight());
    *budget = budget.saturating_sub(keys.fold(0, usize::saturating_add));
    let mut laid = Laid::new(template, &values, &group, budget, notes);
    if *budget == 0 {
        let message = "the templates of this file unfold into more than a gateway can hold";
        notes.error(&named.spot, message, "write smaller repetitions, or fewer devices");
        return Some(without_points(device, rest, &named));
    }
    laid.take_own(points.as_ref(), template, notes);
    if let Some(only) = &only {
        laid.keep_only(only, notes);
    }
    let all = Entry {
        key: Rc::from("points"),
        key_span: points.as_ref().map_or(named.key_spot.span, |field| field.key_spot.span),
        value: Rc::new(Node::made(
            points.as_ref().map_or(named.spot.span, |field| field.spot.span),
            Kind::Map(laid.finish()),
        )),
    };
    let is_own = |key: &str| own.iter().any(|entry| &*entry.key == key);
    let of_template = template.keys.iter().filter(|entry| !is_own(&entry.key)).map(|entry| {
        let spot = device.key_spot.key(&entry.key, entry.key_span);
        Entry { value: values.fill_node(&entry.value, &spot, notes), ..entry.clone() }
    });
    let mut entries: Vec<Entry> = of_template.collect();
    entries.extend(rest.chain([all]));
    Some(Rc::new(Node::made(span, Kind::Map(entries))))
}

/// The other keys of a device whose points are not to be had, so that they are looked at all the same.
fn without_points(
    device: &Field<'_>,
    rest: impl Iterator<Item = Entry>,
    named: &Field<'_>,
) -> Rc<Node> {
    let span = device.spot.span;
    let value = Rc::new(Node::made(span, Kind::Broken));
    let points = Entry { key: Rc::from("points"), key_span: named.key_spot.span, value };
    Rc::new(Node::made(span, Kind::Map(rest.chain([points]).collect())))
}

/// The points of a device.
struct Laid {
    points: Vec<Unfolded>,
    /// Those that are left out.
    off: HashSet<Rc<str>>,
    /// Those that the device itself tells of.
    own: HashSet<Rc<str>>,
}

impl Laid {
    /// Each costs as much of the `budget` as it has values.
    fn new(
        template: &Template,
        values: &Values,
        group: &Spot,
        budget: &mut usize,
        notes: &mut Notes<'_>,
    ) -> Self {
        let mut points: Vec<Unfolded> = Vec::new();
        let mut known = HashSet::new();
        for entry in &template.points {
            for point in unfold(entry, values, group, budget, notes) {
                if known.insert(Rc::clone(&point.name)) {
                    points.push(point);
                } else {
                    let spot = group.key(&point.name, entry.key_span);
                    let message = format!("the point `{}` is here twice", point.name);
                    notes.error(&spot, message, "give one of them another name");
                }
            }
        }
        Self { points, off: HashSet::new(), own: HashSet::new() }
    }

    /// Lays what the device says over it.
    fn take_own(&mut self, points: Option<&Field<'_>>, template: &Template, notes: &mut Notes<'_>) {
        let Some(points) = points else { return };
        let example = "write `points: { power: { every: 5s }, current: off }`";
        let Some(mut fields) = points.fields(example, notes) else { return };
        let entries = points.entries().unwrap_or_default();
        for (field, entry) in fields.take_all().into_iter().zip(entries) {
            let at = self.points.iter().position(|it| it.name == field.name);
            let is_off = field.is_text("off") || field.is_text("false");
            let has_place = field.entries().is_some_and(|keys| keys.iter().any(is_place));
            let Some(at) = at else {
                if has_place || !is_off && !field.is_group() {
                    let name = Rc::clone(&field.name);
                    self.own.insert(Rc::clone(&name));
                    self.points.push(Unfolded { name, entry: entry.clone(), class: None });
                } else {
                    self.complain_of_unknown(&field.name, &field.key_spot, &template.name, notes);
                }
                continue;
            };
            if is_off {
                self.off.insert(Rc::clone(&field.name));
                continue;
            }
            self.own.insert(Rc::clone(&field.name));
            let point = &mut self.points[at];
            point.entry = Entry { value: laid_over(&point.entry.value, entry), ..entry.clone() };
        }
    }

    fn complain_of_unknown(&self, name: &str, spot: &Spot, template: &str, notes: &mut Notes<'_>) {
        let names: Vec<&str> = self.points.iter().map(|point| &*point.name).collect();
        let remedy = match nearest(name, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.len() <= 12 => format!("its points are {}", list(&names)),
            None => format!("`fieldpost templates {template}` lists them"),
        };
        let message = format!("the template `{template}` has no point `{name}`");
        notes.error(spot, message, remedy);
    }

    fn keep_only(&mut self, only: &Field<'_>, notes: &mut Notes<'_>) {
        let Some(wanted) = only.texts(ONLY_EXAMPLE, notes) else { return };
        let mut kept: HashSet<Rc<str>> = self.own.clone();
        for At { value, spot } in wanted {
            let found = self.points.iter().map(|point| &point.name);
            let found: Vec<_> = found.filter(|name| fits(&value, name)).cloned().collect();
            if found.is_empty() {
                let names: Vec<&str> = self.points.iter().map(|point| &*point.name).collect();
                let remedy = match nearest(&value, &names) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => ONLY_EXAMPLE.to_owned(),
                };
                notes.error(&spot, format!("there is no point `{value}` in the template"), remedy);
            }
            kept.extend(found);
        }
        let left = self.points.iter().filter(|point| !kept.contains(&point.name));
        self.off.extend(left.map(|point| Rc::clone(&point.name)));
    }

    /// What is left; a point that another needs stays, unpublished.
    fn finish(self) -> Vec<Entry> {
        let mut needed: HashSet<Rc<str>> = HashSet::new();
        let mut open: Vec<&Unfolded> =
            self.points.iter().filter(|point| !self.off.contains(&point.name)).collect();
        while let Some(point) = open.pop() {
            for name in needs(&point.entry.value) {
                if needed.insert(Rc::clone(&name)) {
                    open.extend(self.points.iter().filter(|it| it.name == name));
                }
            }
        }
        let Self { points, off, .. } = self;
        let points = points.into_iter().filter_map(|Unfolded { name, entry, .. }| {
            if !off.contains(&name) {
                return Some(entry);
            }
            needed.contains(&name).then(|| hidden(entry))
        });
        points.collect()
    }
}

fn is_place(entry: &Entry) -> bool {
    PLACES.contains(&&*entry.key)
}

/// Whether `name` is `wanted`, which may end with `*`.
fn fits(wanted: &str, name: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == wanted,
    }
}

/// The keys of a device's own go before those of the template.
fn laid_over(under: &Rc<Node>, over: &Entry) -> Rc<Node> {
    let (Kind::Map(old), Kind::Map(new)) = (&under.kind, &over.value.kind) else {
        return Rc::clone(&over.value);
    };
    let has_place = new.iter().any(is_place);
    let stays = |entry: &&Entry| {
        !(new.iter().any(|it| it.key == entry.key) || has_place && is_place(entry))
    };
    let entries = old.iter().filter(stays).chain(new).cloned();
    Rc::new(Node::made(over.value.span, Kind::Map(entries.collect())))
}

/// The same point, not published and not written.
fn hidden(entry: Entry) -> Entry {
    let Kind::Map(keys) = &entry.value.kind else { return entry };
    let value = Rc::new(Node::made(entry.key_span, Kind::Scalar(Rc::from("false"))));
    let publish = Entry { key: Rc::from("publish"), key_span: entry.key_span, value };
    let keys = keys.iter().filter(|it| !matches!(&*it.key, "publish" | "writable" | "report"));
    let kind = Kind::Map(keys.cloned().chain([publish]).collect());
    Entry { value: Rc::new(Node::made(entry.value.span, kind)), ..entry }
}

/// The names of the points that one is made of.
fn needs(node: &Node) -> Vec<Rc<str>> {
    let Kind::Map(entries) = &node.kind else { return Vec::new() };
    let mut names = Vec::new();
    for entry in entries {
        let Kind::Scalar(text) = &entry.value.kind else { continue };
        match &*entry.key {
            "scale_by" => names.push(Rc::clone(text)),
            "expression" => {
                // What is wrong with it is told where it is read.
                let _ = Formula::parse(text, &mut |name| {
                    names.push(Rc::from(name));
                    Some(Formula::Number(0.0))
                });
            }
            _ => {}
        }
    }
    names
}

/// The classes of a template's points, for those who list them.
pub(super) fn classes(template: &Template, values: &Values) -> Vec<(Rc<str>, Option<Rc<str>>)> {
    let mut notes = Notes::new(super::super::source::Source::new(""));
    let mut budget = usize::MAX;
    let unfold = |entry| unfold(entry, values, &template.spot, &mut budget, &mut notes);
    let points = template.points.iter().flat_map(unfold);
    points.map(|point| (point.name, point.class)).collect()
}

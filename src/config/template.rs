//! core: a template as written: what a kind of device has, for all devices that say `template: NAME`.
//!
//! A template is read no further than its head. Its other keys and its points are laid under those of the device that uses
//! it (`apply`), before anybody reads either: so one code reads both, and a complaint knows which file its text stands in.

mod apply;
mod builtin;
mod card;
mod folder;
mod library;
mod parameter;
mod repeat;
mod sign;
mod values;

use std::rc::Rc;

use super::fields::{Field, Fields};
use super::notes::{Given, Notes, Spot};
use super::tree::{Entry, Kind, Node};
pub(super) use apply::apply;
pub use card::{TemplateCard, TemplateOrigin, TemplateParameter, templates};
pub use folder::TemplateFolder;
pub(super) use library::Library;
pub use library::{NoTemplates, TemplateAnswer, TemplateSource, TemplateUse};
use parameter::{Parameter, word};

const EXAMPLE: &str = "begin with `name:`, `title:`, `class:`, `source:` and `points:`";
const CLASS_EXAMPLE: &str = "write what kind of device it is, such as `class: energy-meter`";
const SOURCE_EXAMPLE: &str =
    "write the document the registers are from: `source: { title: …, revision: …, url: … }`";

/// Keys of a template that a device has not, with `points`.
const HEAD: [&str; 8] =
    ["name", "title", "class", "source", "parameters", "identify", "about", "points"];
/// Keys of a device that a template has not.
const DEVICES_OWN: [(&str, &str); 3] = [
    ("bus", "remove it: a device says which bus it is on"),
    ("template", "remove it: a template is made of no other"),
    ("only", "remove it: a device says which points it wants"),
];

/// A template as written.
#[derive(Debug)]
pub(super) struct Template {
    name: Rc<str>,
    title: Rc<str>,
    class: Rc<str>,
    about: Option<Rc<str>>,
    origin: Origin,
    parameters: Vec<Parameter>,
    /// `identify` and where it stands.
    identify: Option<(Rc<Node>, Spot)>,
    /// What a device that uses it has of it.
    keys: Vec<Entry>,
    points: Vec<Entry>,
    /// Where it stands, with the road to the device that used it first.
    spot: Spot,
}

/// The public document a template is from.
#[derive(Debug, Default)]
struct Origin {
    title: Rc<str>,
    revision: Option<Rc<str>>,
    url: Option<Rc<str>>,
}

impl Template {
    /// Reads the template called `name`; complains of what its head lacks.
    fn read(name: &str, root: &Rc<Node>, spot: Spot, notes: &mut Notes<'_>) -> Option<Self> {
        let Kind::Map(entries) = &root.kind else {
            let _ = Fields::open(root, spot, EXAMPLE, notes)?;
            return None;
        };
        let mut fields = Fields::open(root, spot.clone(), EXAMPLE, notes)?;
        let head = fields.head();
        let mut text = |key, example: &str, notes: &mut Notes<'_>| {
            let given = fields.given(key, notes, |field, notes| field.text(example, notes));
            if given.is_absent() {
                notes.error(&head, format!("this template has no `{key}`"), example);
            }
            given
        };
        let named = text("name", "write the name of the file without `.yaml`", notes);
        if let Some(at) = named.written().filter(|at| &*at.value != name) {
            let message = format!("this is the file of a template called `{name}`");
            notes.error(&at.spot, message, "let the name and the file be the same");
        }
        let title = word(&text("title", "write maker and family", notes)).unwrap_or_default();
        let class = word(&text("class", CLASS_EXAMPLE, notes)).unwrap_or_default();
        let about = fields.given("about", notes, |field, notes| field.text(EXAMPLE, notes));
        let origin = match fields.take("source") {
            Some(field) => Origin::read(&field, notes),
            None => {
                notes.error(&head, "this template has no `source`", SOURCE_EXAMPLE);
                Origin::default()
            }
        };
        let parameters = fields.take_filled("parameters");
        let parameters = parameters.map(|field| parameter::read(&field, notes));
        let identify = fields.take("identify").map(|field| field.spot.clone());
        let identify = entries.iter().find(|entry| &*entry.key == "identify").zip(identify);
        let identify = identify.map(|(entry, spot)| (Rc::clone(&entry.value), spot));
        let points = fields.take("points").and_then(|field| points(&field, notes));
        for (key, remedy) in DEVICES_OWN {
            if let Some(field) = fields.take(key) {
                notes.error(&field.key_spot, format!("`{key}` belongs to a device"), remedy);
            }
        }
        let is_passed_on = |entry: &&Entry| {
            let key = &*entry.key;
            !HEAD.contains(&key) && DEVICES_OWN.iter().all(|(own, _)| *own != key)
        };
        let template = Self {
            name: Rc::from(name),
            title,
            class,
            about: word(&about),
            origin,
            parameters: parameters.unwrap_or_default(),
            identify,
            keys: entries.iter().filter(is_passed_on).cloned().collect(),
            points: points.unwrap_or_default(),
            spot,
        };
        if template.points.is_empty() && !notes.has_errors() {
            notes.error(&template.spot, "this template has no points", EXAMPLE);
        }
        Some(template)
    }
}

impl Origin {
    fn read(field: &Field<'_>, notes: &mut Notes<'_>) -> Self {
        let Some(mut fields) = field.fields(SOURCE_EXAMPLE, notes) else { return Self::default() };
        let mut text = |key| {
            let given: Given<Rc<str>> =
                fields.given(key, notes, |field, notes| field.text(SOURCE_EXAMPLE, notes));
            given
        };
        let (title, revision, url) = (text("title"), text("revision"), text("url"));
        fields.finish(&[], &[("document", "title"), ("page", "url")], notes);
        if title.is_absent() {
            notes.error(&field.key_spot, "this does not say which document", SOURCE_EXAMPLE);
        }
        Self { title: word(&title).unwrap_or_default(), revision: word(&revision), url: word(&url) }
    }
}

fn points(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<Vec<Entry>> {
    field.fields("write `points: { flow: { holding: 100 } }`", notes)?;
    field.entries().map(<[Entry]>::to_vec)
}

//! core: the names an operator gives to buses, devices, points and uplinks: most of them become topic levels.

use std::collections::HashMap;
use std::rc::Rc;

use super::fields::{Field, Later};
use super::notes::{At, Notes};

/// Bytes a name may have.
const NAME_BYTES_MAX: usize = 64;

/// The name that is the key of `field`; complains when it cannot be a topic level or is one of `taken`.
pub(super) fn name(field: &Field<'_>, taken: &[Later], notes: &mut Notes<'_>) -> At<Rc<str>> {
    let name = &*field.name;
    let spot = field.key_spot.clone();
    let remedy = "a name is one level of a topic: letters, digits, `-`, `_`, `.` serve best";
    if name.trim().is_empty() {
        notes.error(&spot, "this name is empty", remedy);
    } else if name.len() > NAME_BYTES_MAX {
        let message = format!("this name has {} bytes, more than {NAME_BYTES_MAX}", name.len());
        notes.error(&spot, message, "shorten it; it is sent with every reading");
    } else if let Some(bad) = name.chars().find(|c| matches!(c, '/' | '+' | '#')) {
        notes.error(&spot, format!("the name `{name}` holds `{bad}`, which parts topics"), remedy);
    } else if name.chars().any(char::is_control) {
        notes.error(&spot, "this name holds a control character", remedy);
    } else if name.starts_with('$') {
        notes.error(&spot, format!("the name `{name}` begins with `$`"), remedy);
    } else if name.trim() != name {
        notes.error(&spot, format!("the name `{name}` has a space at its end"), "remove it");
    } else if let Some((_, whose)) = taken.iter().find(|(taken, _)| *taken == name) {
        let message =
            format!("the name `{name}` overlaps with a topic of the gateway's own: {whose}");
        notes.error(&spot, message, format!("choose another name, such as `{name}-1`"));
    }
    At { value: Rc::clone(&field.name), spot }
}

/// Warns of names of one group that differ only in upper and lower case.
pub(super) fn warn_of_twins<'a>(
    names: impl Iterator<Item = &'a At<Rc<str>>>,
    notes: &mut Notes<'_>,
) {
    let mut known: HashMap<String, &At<Rc<str>>> = HashMap::new();
    for name in names {
        let Some(first) = known.get(&name.value.to_lowercase()) else {
            known.insert(name.value.to_lowercase(), name);
            continue;
        };
        // The same group, read twice through an alias, is its own twin.
        if first.value != name.value {
            let line = notes.source.line_words(first.spot.span.start);
            let message = format!(
                "`{}` differs from `{}` on {line} only in upper and lower case",
                name.value, first.value
            );
            notes.warning(&name.spot, message, "give one of them another name: people mix them up");
        }
    }
}

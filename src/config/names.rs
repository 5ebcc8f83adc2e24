//! core: names for the numbers or bits of a point, as written under `enum` and `bits`.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::rc::Rc;

use super::fields::Field;
use super::notes::{At, Notes, Spot};

const NAME_BYTES_MAX: usize = 64;

/// A number and what to call it.
pub(super) type Name = (i64, Rc<str>);

/// Reads a group of numbers with their names.
pub(super) fn read(
    field: &Field<'_>,
    example: &str,
    notes: &mut Notes<'_>,
) -> Option<At<Vec<At<Name>>>> {
    let spot = field.key_spot.clone();
    let group = Rc::clone(&field.name);
    let mut fields = field.fields(example, notes)?;
    let all = fields.take_all();
    if all.is_empty() {
        notes.error(&spot, format!("this `{group}` names nothing"), example);
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
        if name.value.len() > NAME_BYTES_MAX || name.value.chars().any(char::is_control) {
            let message =
                format!("a name has at most {NAME_BYTES_MAX} bytes and no control characters");
            notes.error(&name.spot, message, "shorten it");
            continue;
        }
        names.push(At { value: (number, name.value), spot: field.key_spot.clone() });
    }
    Some(At { value: names, spot })
}

/// Complains of numbers outside `range` (`what` says what they are) and of those with two names.
pub(super) fn check(
    names: &[At<Name>],
    range: &RangeInclusive<i128>,
    what: (&str, &str),
    notes: &mut Notes<'_>,
) {
    let mut known: HashMap<i64, &Spot> = HashMap::new();
    for name in names {
        let number = name.value.0;
        if !range.contains(&i128::from(number)) {
            let (message, remedy) = (format!("{} {number}", what.0), what.1);
            notes.error(
                &name.spot,
                message,
                format!("{remedy} {} to {}", range.start(), range.end()),
            );
        }
        if let Some(first) = known.insert(number, &name.spot) {
            let line = notes.source.line_words(first.span.start);
            let message = format!("{number} has two names, the first on {line}");
            notes.error(&name.spot, message, "keep one of the two");
        }
    }
}

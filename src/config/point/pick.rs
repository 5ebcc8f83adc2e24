//! core: where the value of a point stands in the frames of a plain serial line, as written.

use std::rc::Rc;
use std::sync::Arc;

use super::super::bytes;
use super::super::fields::{Field, Fields, Later, list};
use super::super::notes::{At, Given, Notes, Spot};
use crate::field::{Order, Pattern, Pick, PickFrom, ValueType};

/// The keys that say where a value stands.
pub(super) const SOURCES: [&str; 5] = ["match", "characters", "column", "json", "at"];
pub(super) const EXAMPLE: &str = r"write one of `match`, `characters`, `column`, `json`, `at`, such as `match: '(?<value>[-+\d.]+) kg'`";
const MATCH_EXAMPLE: &str =
    r"write a regular expression in single quotes: `'(?<value>[-+\d.]+) kg'`";
const SEND_EXAMPLE: &str = r#"write what the device is asked with, such as `"W\r\n"`"#;
const CHARACTERS_EXAMPLE: &str =
    "write the first and the last as `7-14`; the first of a frame is 1";

/// As written.
#[derive(Debug)]
pub(super) struct PickKeys {
    pattern: Given<Pattern>,
    group: Given<Rc<str>>,
    characters: Given<(usize, usize)>,
    column: Given<usize>,
    separator: Given<u8>,
    json: Given<Rc<str>>,
    at: Given<usize>,
    order: Given<Order>,
    when: Given<Pattern>,
    send: Given<Arc<[u8]>>,
    decimal_comma: Given<bool>,
}

impl PickKeys {
    pub(super) fn read(fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> Self {
        Self {
            pattern: fields.given("match", notes, pattern),
            group: fields.given("group", notes, |field, notes| {
                field.text("write the name of a group, or its number from 1", notes)
            }),
            characters: fields.given("characters", notes, characters),
            column: fields.given("column", notes, |field, notes| {
                field.integer(1..=1_000, "the first column is 1", notes)
            }),
            separator: fields.given("separator", notes, separator),
            json: fields.given("json", notes, pointer),
            at: fields.given("at", notes, |field, notes| {
                field.integer(0..=65_535, "bytes of a frame count from 0", notes)
            }),
            order: fields.given("order", notes, |field, notes| {
                field.choice(&[("big", Order::Big), ("little", Order::Little)], &[], notes)
            }),
            when: fields.given("when", notes, pattern),
            send: fields.given("send", notes, send),
            decimal_comma: fields.given("decimal_comma", notes, |field, notes| {
                field.choice(&[("true", true), ("false", false)], &[], notes)
            }),
        }
    }

    /// Whether it says, rightly or not, where the value stands.
    pub(super) fn has_source(&self) -> bool {
        !(self.pattern.is_absent()
            && self.characters.is_absent()
            && self.column.is_absent()
            && self.json.is_absent()
            && self.at.is_absent())
    }

    /// Whether the value is packed into bytes.
    pub(super) fn is_packed(&self) -> bool {
        !self.at.is_absent()
    }

    pub(super) fn send(&self) -> Option<&Arc<[u8]>> {
        self.send.written().map(|at| &at.value)
    }

    /// The keys that are written.
    pub(super) fn keys(&self) -> Vec<(&'static str, &Spot)> {
        let keys = [
            ("match", self.pattern.spot()),
            ("characters", self.characters.spot()),
            ("column", self.column.spot()),
            ("json", self.json.spot()),
            ("at", self.at.spot()),
            ("group", self.group.spot()),
            ("separator", self.separator.spot()),
            ("order", self.order.spot()),
            ("when", self.when.spot()),
            ("send", self.send.spot()),
            ("decimal_comma", self.decimal_comma.spot()),
        ];
        keys.into_iter().filter_map(|(key, spot)| Some((key, spot?))).collect()
    }

    /// How the value is taken out of a frame; `send` is what its device is asked with, `name` that of
    /// the point, and `has_place` whether it stands in a register, which is complained of elsewhere.
    pub(super) fn settle(
        &self,
        name: &At<Rc<str>>,
        has_place: bool,
        send: Option<Arc<[u8]>>,
        notes: &mut Notes<'_>,
    ) -> Option<Pick> {
        let keys = self.keys();
        let mut sources = keys.iter().filter(|(key, _)| SOURCES.contains(key));
        if let (Some((first, _)), Some((second, spot))) = (sources.next(), sources.next()) {
            let message = format!("`{second}` is a second place of a value that has `{first}`");
            notes.error(spot, message, "keep one of the two");
        }
        if !self.has_source() && !has_place {
            notes.error(&name.spot, "this point does not say where its value stands", EXAMPLE);
        }
        self.check_strays(notes);
        let from = if let Some(pattern) = self.pattern.written() {
            let group = self.group(pattern, &name.value, notes)?;
            PickFrom::Match { pattern: pattern.value.clone(), group }
        } else if let Some(At { value: (first, last), .. }) = self.characters.written() {
            PickFrom::Characters { first: *first, last: *last }
        } else if let Some(column) = self.column.written() {
            PickFrom::Column { index: column.value - 1, separator: self.separator.or(b',') }
        } else if let Some(json) = self.json.written() {
            PickFrom::Json(Arc::from(&*json.value))
        } else {
            PickFrom::Bytes { at: self.at.written()?.value, order: self.order.or(Order::Big) }
        };
        let when = self.when.written().map(|at| at.value.clone());
        let decimal_comma = self.decimal_comma.or(false);
        Some(Pick { from, when, send, invalid: Vec::new(), decimal_comma })
    }

    /// Complains of `decimal_comma` where the value is no number that is written as text.
    pub(super) fn check_comma(&self, value_type: ValueType, notes: &mut Notes<'_>) {
        let is_number = !matches!(value_type, ValueType::Text { .. } | ValueType::Bool);
        if let Some(spot) = self.decimal_comma.spot().filter(|_| self.is_packed() || !is_number) {
            let message = "`decimal_comma` belongs to numbers that are written as text";
            notes.error(spot, message, "remove it");
        }
    }

    fn check_strays(&self, notes: &mut Notes<'_>) {
        for (key, spot, owner, is_right) in [
            ("group", self.group.spot(), "match", !self.pattern.is_absent()),
            ("separator", self.separator.spot(), "column", !self.column.is_absent()),
            ("order", self.order.spot(), "at", !self.at.is_absent()),
        ] {
            if let Some(spot) = spot.filter(|_| !is_right) {
                let message = format!("`{key}` belongs to `{owner}`");
                notes.error(spot, message, "remove it");
            }
        }
    }

    /// The number of the group that takes the value: the one that is written, `value`, the one called like the point, or the
    /// only one.
    fn group(&self, pattern: &At<Pattern>, name: &str, notes: &mut Notes<'_>) -> Option<usize> {
        let groups: Vec<Option<&str>> = pattern.value.groups().collect();
        let named = |name: &str| groups.iter().position(|group| *group == Some(name));
        let names: Vec<&str> = groups.iter().copied().flatten().collect();
        let remedy = if groups.is_empty() {
            MATCH_EXAMPLE.to_owned()
        } else if names.is_empty() {
            format!(
                "it has {} groups without a name: write `group: 1`, or `(?<value>…)` in it",
                groups.len()
            )
        } else {
            format!(
                "its groups are {}; the value is in `value`, or in what `group` says",
                list(&names)
            )
        };
        if let Some(group) = self.group.written() {
            let number = group.value.parse::<usize>().ok();
            let number = number.filter(|number| (1..=groups.len()).contains(number));
            let found = number.or_else(|| Some(named(&group.value)? + 1));
            if found.is_none() {
                let message = format!("the expression has no group `{}`", notes.shown(&group.spot));
                notes.error(&group.spot, message, remedy);
            }
            return found;
        }
        let only = (groups.len() == 1).then_some(0);
        let found = named("value").or_else(|| named(name)).or(only);
        if found.is_none() {
            let message = "this expression does not say which part of it is the value";
            notes.error(&pattern.spot, message, remedy);
        }
        Some(found? + 1)
    }
}

/// What a device is asked with: for devices and points alike.
pub(in crate::config) fn send(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Arc<[u8]>>> {
    bytes::read(field, SEND_EXAMPLE, notes)
}

/// The keys as others look for them.
pub(super) fn sources() -> [Later; 5] {
    SOURCES.map(|key| (key, ""))
}

fn pattern(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Pattern>> {
    let text = field.text(MATCH_EXAMPLE, notes)?;
    match Pattern::new(&text.value) {
        Ok(value) => Some(At { value, spot: text.spot }),
        Err(error) => {
            let message = format!("this regular expression is wrong: {error}");
            notes.error(&text.spot, message, MATCH_EXAMPLE);
            None
        }
    }
}

fn characters(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<(usize, usize)>> {
    let text = field.text(CHARACTERS_EXAMPLE, notes)?;
    let (first, last) = text.value.split_once('-').unwrap_or((&text.value, &text.value));
    let place = |text: &str| {
        let place = text.trim().parse::<usize>().ok()?;
        (1..=65_536).contains(&place).then(|| place - 1)
    };
    match place(first).zip(place(last)).filter(|(first, last)| first <= last) {
        Some(value) => Some(At { value, spot: text.spot }),
        None => {
            let message = format!("`characters` cannot be `{}`", notes.shown(&text.spot));
            notes.error(&text.spot, message, CHARACTERS_EXAMPLE);
            None
        }
    }
}

fn separator(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<u8>> {
    let example = r#"write one character such as `";"` or `"\t"`"#;
    let bytes = bytes::read(field, example, notes)?;
    match bytes.value[..] {
        [value] => Some(At { value, spot: bytes.spot }),
        _ => {
            notes.error(&bytes.spot, "what separates columns is one byte", example);
            None
        }
    }
}

fn pointer(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Rc<str>>> {
    let example = "write the road to the value, such as `/sensors/0/temperature`";
    let text = field.text(example, notes)?;
    if !text.value.starts_with('/') {
        let message =
            format!("`{}` is no JSON pointer: each step begins with `/`", notes.shown(&text.spot));
        notes.error(&text.spot, message, example);
        return None;
    }
    Some(text)
}

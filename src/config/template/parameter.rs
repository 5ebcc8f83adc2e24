//! core: the parameters of a template: what a device that uses it may say, and what holds otherwise.

use std::rc::Rc;

use super::super::fields::{Field, Fields, list, nearest};
use super::super::notes::{At, Given, Notes, Spot};
use super::values::{Value, Values};

const EXAMPLE: &str = "write `channels: { default: 8, min: 1, max: 8 }`";

/// A parameter as written.
#[derive(Debug)]
pub(in crate::config) struct Parameter {
    pub(in crate::config) name: Rc<str>,
    pub(in crate::config) default: Value,
    one_of: Vec<Value>,
    min: Option<f64>,
    max: Option<f64>,
    pub(in crate::config) about: Option<Rc<str>>,
}

/// Reads `parameters` of a template.
pub(super) fn read(field: &Field<'_>, notes: &mut Notes<'_>) -> Vec<Parameter> {
    let Some(mut group) = field.fields(EXAMPLE, notes) else { return Vec::new() };
    let all = group.take_all();
    all.into_iter().filter_map(|field| Parameter::read(&field, notes)).collect()
}

impl Parameter {
    fn read(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<Self> {
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !field.name.chars().all(is_word) || !field.name.starts_with(char::is_alphabetic) {
            let message = format!("`{}` cannot be the name of a parameter", field.name);
            notes.error(&field.key_spot, message, "write small letters, digits and `_`");
            return None;
        }
        let mut fields = field.fields(EXAMPLE, notes)?;
        let default = fields.given("default", notes, |field, notes| field.text(EXAMPLE, notes));
        let one_of = fields.given("one_of", notes, |field, notes| {
            Some(At { value: field.texts(EXAMPLE, notes)?, spot: field.spot.clone() })
        });
        let min = fields.given("min", notes, |field, notes| field.number(notes));
        let max = fields.given("max", notes, |field, notes| field.number(notes));
        let about = fields.given("about", notes, |field, notes| {
            field.text("say in a few words what it is", notes)
        });
        fields.finish(&[], &[("values", "one_of"), ("description", "about")], notes);
        if default.is_absent() {
            notes.error(&field.key_spot, "this parameter has no `default`", EXAMPLE);
        }
        let default = default.written()?;
        let one_of = one_of.written().map(|at| at.value.iter().map(|it| Value::of(&it.value)));
        let parameter = Self {
            name: Rc::clone(&field.name),
            default: Value::of(&default.value),
            one_of: one_of.into_iter().flatten().collect(),
            min: min.written().map(|at| at.value),
            max: max.written().map(|at| at.value),
            about: about.written().map(|at| Rc::clone(&at.value)),
        };
        parameter.check(&parameter.default, &default.spot, notes).then_some(parameter)
    }

    /// What it may be, in words.
    pub(in crate::config) fn allowed(&self) -> String {
        let number = |it: Option<f64>| it.map(|it| it.to_string());
        match (number(self.min), number(self.max)) {
            _ if !self.one_of.is_empty() => {
                let words: Vec<String> = self.one_of.iter().map(Value::to_string).collect();
                words.join(", ")
            }
            (Some(min), Some(max)) => format!("{min} to {max}"),
            (Some(min), None) => format!("{min} or more"),
            (None, Some(max)) => format!("{max} or less"),
            (None, None) => match self.default {
                Value::Number(_) => "any number".to_owned(),
                Value::Text(_) => "any text".to_owned(),
            },
        }
    }

    /// Whether it may be `value`; complains otherwise.
    fn check(&self, value: &Value, spot: &Spot, notes: &mut Notes<'_>) -> bool {
        let is_fine = match value {
            _ if !self.one_of.is_empty() => self.one_of.contains(value),
            Value::Number(number) => {
                matches!(self.default, Value::Number(_))
                    && self.min.is_none_or(|min| *number >= min)
                    && self.max.is_none_or(|max| *number <= max)
            }
            Value::Text(_) => {
                matches!(self.default, Value::Text(_)) && self.min.or(self.max).is_none()
            }
        };
        if !is_fine {
            let message = format!("`{}` cannot be `{}`", self.name, notes.shown(spot));
            notes.error(spot, message, format!("what it can be: {}", self.allowed()));
        }
        is_fine
    }
}

/// What each parameter is for a device that says `given`.
pub(super) fn values(
    parameters: &[Parameter],
    given: Option<&Field<'_>>,
    notes: &mut Notes<'_>,
) -> Values {
    let given = given.and_then(|field| field.fields("write `{ channels: 4 }`", notes));
    let given = given.map(|mut fields: Fields<'_>| fields.take_all()).unwrap_or_default();
    let names: Vec<&str> = parameters.iter().map(|it| &*it.name).collect();
    for field in given.iter().filter(|field| !names.contains(&&*field.name)) {
        let message = format!("the template has no parameter `{}`", field.name);
        let remedy = match nearest(&field.name, &names) {
            Some(name) => format!("did you mean `{name}`?"),
            None if names.is_empty() => "remove it".to_owned(),
            None => format!("its parameters are {}", list(&names)),
        };
        notes.error(&field.key_spot, message, remedy);
    }
    let mut values = Values::default();
    for parameter in parameters {
        let field = given.iter().find(|field| field.name == parameter.name);
        let written = field.and_then(|field| {
            let text = field.text(&format!("write {}", parameter.allowed()), notes)?;
            let value = Value::of(&text.value);
            parameter.check(&value, &text.spot, notes).then_some(value)
        });
        let value = written.unwrap_or_else(|| parameter.default.clone());
        values = values.with(&parameter.name, value);
    }
    values
}

/// A group that holds what a parameter may be compared with: whether all of it is so.
pub(super) fn holds(fields: &mut Fields<'_>, values: &Values, notes: &mut Notes<'_>) -> bool {
    let mut all = true;
    for field in fields.take_all() {
        let Some(value) = values.get(&field.name) else {
            let message = format!("there is no parameter `{}`", field.name);
            notes.error(&field.key_spot, message, values.help());
            continue;
        };
        let texts = field.texts("write `{ phases: 3 }` or `{ phases: [2, 3] }`", notes);
        let is_one =
            |texts: Vec<At<Rc<str>>>| texts.iter().any(|it| Value::of(&it.value) == *value);
        all &= texts.is_some_and(is_one);
    }
    all
}

/// A number that must be whole, as it is after a calculation.
pub(super) fn whole(value: &Value) -> Option<i64> {
    match value {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and within bounds")]
        Value::Number(number) if number.fract() == 0.0 && number.abs() < 1e9 => {
            Some(*number as i64)
        }
        Value::Number(_) | Value::Text(_) => None,
    }
}

/// As [`Given::written`], without its place.
pub(super) fn word(given: &Given<Rc<str>>) -> Option<Rc<str>> {
    given.written().map(|at| Rc::clone(&at.value))
}

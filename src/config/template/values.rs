//! core: what stands in `{…}` of a template: parameters, the count of a repetition, and calculations with them.

use std::rc::Rc;

use super::super::notes::{Notes, Spot};
use super::super::quantity;
use super::super::tree::{Entry, Kind, Node};
use crate::field::Formula;

/// Keys whose texts have braces of their own: regular expressions, and words around values.
const VERBATIM: [&str; 3] = ["match", "when", "template"];

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::config) enum Value {
    Number(f64),
    Text(Rc<str>),
}

impl Value {
    /// What is written, a number where it is one.
    pub(in crate::config) fn of(text: &Rc<str>) -> Self {
        let whole = quantity::integer(text.trim()).and_then(|it| i32::try_from(it).ok());
        match (whole, quantity::number(text.trim())) {
            (Some(whole), _) => Self::Number(f64::from(whole)),
            (None, Ok(number)) => Self::Number(number),
            (None, Err(_)) => Self::Text(Rc::clone(text)),
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Names with what they stand for.
#[derive(Debug, Clone, Default)]
pub(in crate::config) struct Values(Vec<(Rc<str>, Value)>);

impl Values {
    /// These, and one more.
    pub(super) fn with(&self, name: &Rc<str>, value: Value) -> Self {
        let mut all = self.0.clone();
        all.push((Rc::clone(name), value));
        Self(all)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().rev().find(|(known, _)| &**known == name).map(|(_, value)| value)
    }

    /// What a calculation comes to.
    pub(super) fn calculate(&self, text: &str) -> Result<Value, String> {
        let text = text.trim();
        if let Some(value) = self.get(text) {
            return Ok(value.clone());
        }
        let mut why = None;
        let mut part = |name: &str| match self.get(name) {
            Some(Value::Number(number)) => Some(Formula::Number(*number)),
            Some(Value::Text(text)) => {
                why = Some(format!("nobody can calculate with `{name}`, which is `{text}`"));
                None
            }
            None => {
                why = Some(format!("there is no parameter `{name}`"));
                None
            }
        };
        let formula = Formula::parse(text, &mut part);
        let formula = formula.map_err(|error| why.unwrap_or_else(|| error.to_string()))?;
        match formula.evaluate(&|_| None) {
            Some(number) if number.is_finite() => Ok(Value::Number(number)),
            Some(_) | None => Err(format!("`{text}` comes to no number")),
        }
    }

    /// `text` with all that stands in braces and begins with a letter replaced.
    pub(super) fn fill(&self, text: &str) -> Result<String, String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find('{') {
            let (before, from) = rest.split_at(start);
            filled.push_str(before);
            let end = from.find('}').map_or(from.len(), |end| end + 1);
            let (held, behind) = from.split_at(end);
            let inside = held.trim_start_matches('{').trim_end_matches('}');
            if inside.contains(char::is_alphabetic) {
                filled.push_str(&self.calculate(inside)?.to_string());
            } else {
                filled.push_str(held);
            }
            rest = behind;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// A value with all that is in it filled in; complains of what cannot be, at `spot`.
    pub(super) fn fill_node(
        &self,
        node: &Rc<Node>,
        spot: &Spot,
        notes: &mut Notes<'_>,
    ) -> Rc<Node> {
        let kind = match &node.kind {
            Kind::Scalar(text) if text.contains('{') => match self.fill(text) {
                Ok(filled) => Kind::Scalar(Rc::from(filled)),
                Err(message) => {
                    notes.error(&spot.at(node.span), message, self.help());
                    Kind::Broken
                }
            },
            Kind::Scalar(_) | Kind::Null | Kind::Broken => return Rc::clone(node),
            Kind::List(items) => {
                Kind::List(items.iter().map(|item| self.fill_node(item, spot, notes)).collect())
            }
            Kind::Map(entries) => {
                let fill = |entry: &Entry| {
                    if VERBATIM.contains(&&*entry.key) {
                        return entry.clone();
                    }
                    let spot = spot.key(&entry.key, entry.key_span);
                    Entry { value: self.fill_node(&entry.value, &spot, notes), ..entry.clone() }
                };
                Kind::Map(entries.iter().map(fill).collect())
            }
        };
        Rc::new(Node::made(node.span, kind))
    }

    pub(super) fn help(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|(name, _)| &**name).collect();
        if names.is_empty() {
            return "tell of it under `parameters` of the template".to_owned();
        }
        format!("what can stand in braces here: {}", super::super::fields::list(&names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_hold_names_and_calculations_and_nothing_else() {
        let values = Values::default()
            .with(&Rc::from("base"), Value::Number(40_000.0))
            .with(&Rc::from("phase"), Value::Text(Rc::from("l2")));
        assert_eq!(values.fill("voltage_{phase}").as_deref(), Ok("voltage_l2"));
        assert_eq!(values.fill("{base + 2 * 3}").as_deref(), Ok("40006"));
        assert_eq!(values.fill("a{3}b").as_deref(), Ok("a{3}b"));
        assert_eq!(values.fill("{bas}"), Err("there is no parameter `bas`".to_owned()));
        assert!(values.fill("{phase + 1}").is_err_and(|it| it.contains("calculate")));
    }
}

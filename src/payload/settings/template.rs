//! core: a text with fields, as the operator wrote it, taken apart.

use crate::model::{TimeForm, TimePlaces};

/// The fields by their names.
pub const FIELDS: [(&str, TemplateField); 13] = [
    ("value", TemplateField::Value),
    ("unit", TemplateField::Unit),
    ("quality", TemplateField::Quality),
    ("reason", TemplateField::Reason),
    ("time", TemplateField::Time(TimeForm::Rfc3339)),
    ("time_s", TemplateField::Time(TimeForm::Seconds)),
    ("time_ms", TemplateField::Time(TimeForm::Milliseconds)),
    ("time_ns", TemplateField::Time(TimeForm::Nanoseconds)),
    ("clock", TemplateField::Time(TimeForm::Clock)),
    ("id", TemplateField::Id),
    ("gateway", TemplateField::Gateway),
    ("device", TemplateField::Device),
    ("point", TemplateField::Point),
];

/// What stands for a field in the sample that tells whether a template is JSON.
const SAMPLE_TEXT: &str = "x";

/// A text with fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
    no_json: Option<String>,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text that is always the same.
    Text(String),
    /// What differs from reading to reading.
    Field(TemplateField, Dress),
}

/// What a field says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateField {
    /// The value.
    Value,
    /// The unit, if there is one.
    Unit,
    /// The word for the quality.
    Quality,
    /// Why the quality is not good, if it is not.
    Reason,
    /// When it was taken, or whether that may be believed.
    Time(TimeForm),
    /// The id of the reading.
    Id,
    /// The id of the gateway.
    Gateway,
    /// The name of the device.
    Device,
    /// The name of the point.
    Point,
}

/// How a field is written where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dress {
    /// As it is; nothing for what there is not.
    Plain,
    /// As a JSON value; `null` for what there is not.
    Json,
    /// As part of a JSON string; nothing for what there is not.
    Quoted,
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A field that nobody knows.
    #[error("there is no field `{{{name}}}`")]
    Unknown {
        /// What stands between the braces.
        name: String,
    },
    /// The time stands in it too often to be set right later.
    #[error("the time stands in this template more than {} times", TimePlaces::MAX)]
    TooManyTimes,
}

impl Template {
    /// Takes `text` apart: a name between braces, `{value}`, is a field, everything else stands as it is. Where the text with
    /// its fields is a JSON object, array or string, fields are written as JSON.
    ///
    /// # Errors
    /// [`TemplateError`] for a field that is not among [`FIELDS`], and for too many times.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let (mut literal, mut rest) = (String::new(), text);
        while let Some((before, behind)) = rest.split_once('{') {
            literal += before;
            let Some(name) = name(behind) else {
                literal.push('{');
                rest = behind;
                continue;
            };
            let field = FIELDS.iter().find(|(known, _)| *known == name.trim());
            let Some((_, field)) = field else {
                return Err(TemplateError::Unknown { name: name.trim().to_owned() });
            };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Field(*field, Dress::Plain));
            rest = behind.get(name.len() + 1..).unwrap_or_default();
        }
        literal += rest;
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        let is_time = |part: &&Part| matches!(part, Part::Field(TemplateField::Time(_), _));
        if parts.iter().filter(is_time).count() > TimePlaces::MAX {
            return Err(TemplateError::TooManyTimes);
        }
        let no_json = dress(&mut parts);
        Ok(Self { parts, no_json })
    }

    /// Its pieces, in order.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Whether it has a field.
    #[must_use]
    pub fn says(&self, field: TemplateField) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Field(it, _) if *it == field))
    }

    /// Why it is no JSON although it begins as if it were.
    #[must_use]
    pub fn no_json(&self) -> Option<&str> {
        self.no_json.as_deref()
    }
}

/// What stands between a brace and the next one that closes, if it can be meant as the name of a field.
fn name(behind: &str) -> Option<&str> {
    let (name, _) = behind.split_once('}')?;
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | ' ');
    let begins = name.trim_start().starts_with(|c: char| c.is_alphabetic());
    (begins && name.chars().all(is_plain)).then_some(name)
}

/// Makes the fields of a JSON template JSON; says why it is none where it only begins like it.
fn dress(parts: &mut [Part]) -> Option<String> {
    let (mut dresses, mut sample) = (Vec::new(), String::new());
    let (mut is_quoted, mut is_escaped) = (false, false);
    for part in parts.iter() {
        match part {
            Part::Text(text) => {
                for c in text.chars() {
                    match c {
                        '"' if !is_escaped => is_quoted = !is_quoted,
                        '\\' if is_quoted && !is_escaped => {
                            is_escaped = true;
                            continue;
                        }
                        _ => {}
                    }
                    is_escaped = false;
                }
                sample += text;
            }
            Part::Field(_, _) if is_quoted => {
                is_escaped = false;
                dresses.push(Dress::Quoted);
                sample += SAMPLE_TEXT;
            }
            Part::Field(field, _) => {
                dresses.push(Dress::Json);
                sample += match field {
                    TemplateField::Quality
                    | TemplateField::Time(TimeForm::Rfc3339 | TimeForm::Clock)
                    | TemplateField::Id
                    | TemplateField::Gateway
                    | TemplateField::Device
                    | TemplateField::Point => "\"x\"",
                    TemplateField::Value | TemplateField::Unit | TemplateField::Reason => "null",
                    TemplateField::Time(
                        TimeForm::Seconds | TimeForm::Milliseconds | TimeForm::Nanoseconds,
                    ) => "0",
                };
            }
        }
    }
    let begin = match parts.first() {
        Some(Part::Text(text)) => text.trim_start(),
        Some(Part::Field(..)) | None => "",
    };
    // A field alone is a text, whatever it may be in JSON.
    if !begin.starts_with(['{', '[', '"']) {
        return None;
    }
    match serde_json::from_str::<serde_json::Value>(&sample) {
        Ok(_) => {
            let fields = parts.iter_mut().filter_map(|part| match part {
                Part::Field(_, dress) => Some(dress),
                Part::Text(_) => None,
            });
            fields.zip(dresses).for_each(|(field, dress)| *field = dress);
            None
        }
        Err(why) => (!begin.starts_with('"')).then(|| why.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dresses(text: &str) -> Vec<Dress> {
        let template = Template::parse(text).expect("right");
        let dress = |part: &Part| match part {
            Part::Field(_, dress) => Some(*dress),
            Part::Text(_) => None,
        };
        template.parts().iter().filter_map(dress).collect()
    }

    #[test]
    fn names_between_braces_are_fields_and_everything_else_stands() {
        let template = Template::parse(r#"{"v":{value},"t":{ time_ms }}"#).expect("right");
        let text = |text: &str| Part::Text(text.to_owned());
        assert_eq!(
            template.parts(),
            [
                text(r#"{"v":"#),
                Part::Field(TemplateField::Value, Dress::Json),
                text(r#","t":"#),
                Part::Field(TemplateField::Time(TimeForm::Milliseconds), Dress::Json),
                text("}"),
            ]
        );
        assert!(template.says(TemplateField::Value));
        assert!(!template.says(TemplateField::Quality));
        for (name, field) in FIELDS {
            let template = Template::parse(&format!("{{{name}}}")).expect("known");
            assert_eq!(template.parts(), [Part::Field(field, Dress::Plain)]);
        }
        for plain in ["{", "}", "{}", "{{", "a{", "{\"a\":1}", "{1}", ""] {
            let template = Template::parse(plain).expect("no field");
            assert!(template.parts().iter().all(|part| matches!(part, Part::Text(_))), "{plain}");
        }
    }

    #[test]
    fn a_field_nobody_knows_is_an_error_and_so_is_the_time_five_times() {
        for (text, unknown) in
            [("{valeu}", "valeu"), ("x {Value}", "Value"), ("{value:.2}", "value:.2")]
        {
            let error = Template::parse(text).expect_err("unknown");
            assert_eq!(error, TemplateError::Unknown { name: unknown.to_owned() });
        }
        assert!(Template::parse("{time}{time_s}{time_ms}{clock}").is_ok());
        let five = Template::parse("{time}{time_s}{time_ms}{clock}{time}");
        assert_eq!(five, Err(TemplateError::TooManyTimes));
    }

    #[test]
    fn a_field_in_json_is_json_and_part_of_a_string_between_quotes() {
        use Dress::{Json, Plain, Quoted};
        assert_eq!(dresses(r#"{"a":{value},"b":"{unit} {id}"}"#), [Json, Quoted, Quoted]);
        assert_eq!(dresses(r#"["\"{value}",{value}]"#), [Quoted, Json]);
        assert_eq!(dresses(r#"["\\",{value},"\\\"{value}"]"#), [Json, Quoted]);
        assert_eq!(dresses(r#" {{point}:{value},"{device}":1}"#), [Json, Json, Quoted]);
        assert_eq!(dresses(r#""{value}""#), [Quoted]);
        assert_eq!(dresses("{value}"), [Plain], "a value alone is a text");
        assert_eq!(dresses("flow,site={gateway} v={value} {time_ns}"), [Plain, Plain, Plain]);
        assert_eq!(dresses(r#""{value}" kg"#), [Plain]);
    }

    #[test]
    fn what_begins_like_json_and_is_none_says_why() {
        let why = |text: &str| Template::parse(text).expect("right").no_json().map(str::to_owned);
        assert!(why(r#"{"v":{value}"#).is_some());
        assert!(why(r#"{"v" {value}}"#).is_some());
        assert!(why("[{value}").is_some());
        assert!(why(r#"{"a":"\{value}"}"#).is_some(), "no such escape");
        for fine in [r#"{"v":{value}}"#, "{value};{time}", "v={value}"] {
            assert_eq!(why(fine), None, "{fine}");
        }
    }
}

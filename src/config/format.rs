//! core: `format` as written: how readings look on their way.

use std::sync::Arc;

use super::fields::{Field, alternatives, list, nearest};
use super::notes::{At, Given, Notes, Spot};
use crate::payload::{
    DeviceFormat, FIELDS, Format, PointFormat, Template, TemplateError, TemplateField,
};

const EXAMPLE: &str =
    r#"write `json`, `value`, `device` or `{ template: '{"v":{value},"t":{time_ms}}' }`"#;
const TEMPLATE_EXAMPLE: &str = r#"write a text with fields such as '{"v":{value},"t":{time_ms}}'"#;
const DEVICE_EXAMPLE: &str = "write `{ device: { units: true } }`, or `device`";

/// Reads `format` of the gateway or of a device.
pub(super) fn read(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Format>> {
    let format = if field.is_group() {
        group(field, notes)?
    } else {
        let words = [
            ("json", Word::Json),
            ("value", Word::Value),
            ("device", Word::Device),
            ("template", Word::Template),
        ];
        match word(field, &words, notes)? {
            Word::Json => Format::Each(PointFormat::Json),
            Word::Value => Format::Each(PointFormat::Value),
            Word::Device => Format::Together { units: false },
            Word::Template => return no_template(field, notes),
        }
    };
    Some(At { value: format, spot: field.key_spot.clone() })
}

/// Reads `format` of a point: it is on its own then.
pub(super) fn of_point(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<PointFormat>> {
    let format = read(field, notes)?;
    match format.value {
        Format::Each(value) => Some(At { value, spot: format.spot }),
        Format::Together { .. } => {
            let message =
                "a message of its device is made of all points that have no `format` of their own";
            let remedy = "write `format: device` at the device, and remove it here";
            notes.error(&field.spot, message, remedy);
            None
        }
    }
}

#[derive(Clone, Copy)]
enum Word {
    Json,
    Value,
    Device,
    Template,
}

fn word(field: &Field<'_>, words: &[(&'static str, Word)], notes: &mut Notes<'_>) -> Option<Word> {
    if field.is_list() || field.is_broken() {
        field.fields(EXAMPLE, notes)?;
    }
    field.choice(words, &[], notes).map(|at| at.value)
}

fn no_template<T>(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<T> {
    let message = "`format: template` does not say which words";
    notes.error(
        &field.spot,
        message,
        r#"write `format: { template: '{"v":{value},"t":{time_ms}}' }`"#,
    );
    None
}

fn group(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<Format> {
    let mut fields = field.fields(EXAMPLE, notes)?;
    let template = fields.given("template", notes, template);
    let device = fields.given("device", notes, device);
    let is_empty = template.is_absent() && device.is_absent() && !fields.has_unknown();
    if is_empty {
        notes.error(&field.key_spot, "this `format` says nothing", EXAMPLE);
    }
    if let (Some(_), Some(device)) = (template.written(), device.written()) {
        let message = "a message of a device has no template: its points have";
        notes.error(&device.spot, message, "keep one of the two");
        return None;
    }
    fields.finish(&[], &[("text", "template"), ("units", "device: { units: true }")], notes);
    match (template, device) {
        (Given::Value(template), _) => Some(Format::Each(PointFormat::Template(template.value))),
        (_, Given::Value(units)) => Some(Format::Together { units: units.value }),
        _ => None,
    }
}

fn device(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<bool>> {
    let mut fields = field.fields(DEVICE_EXAMPLE, notes)?;
    let units = fields.given("units", notes, |field, notes| {
        field.choice(&[("true", true), ("false", false)], &[], notes)
    });
    fields.finish(&[], &[("unit", "units")], notes);
    Some(At { value: units.or(false), spot: field.key_spot.clone() })
}

fn template(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Arc<Template>>> {
    let text = field.verbatim(TEMPLATE_EXAMPLE, notes)?;
    let template = match Template::parse(&text.value) {
        Ok(template) => template,
        Err(error) => {
            let names = FIELDS.map(|(name, _)| name);
            let remedy = match &error {
                TemplateError::Unknown { name } => match nearest(name, &names) {
                    Some(near) => {
                        format!("did you mean `{{{near}}}`? The fields are {}", list(&names))
                    }
                    None => format!("the fields are {}", list(&names)),
                },
                TemplateError::TooManyTimes => {
                    let times = names.iter().filter(|name| is_time(name)).copied();
                    let times: Vec<&str> = times.collect();
                    format!("leave out some of {}", alternatives(&times))
                }
            };
            notes.error(&text.spot, error, remedy);
            return None;
        }
    };
    if !template.says(TemplateField::Value) {
        let message = "this template does not say the value";
        notes.warning(&text.spot, message, "put `{value}` into it");
    }
    if let Some(why) = template.no_json() {
        let message =
            format!("this begins like JSON and is none ({why}); texts in it are not escaped");
        notes.warning(&text.spot, message, "correct it, if JSON is what you want");
    }
    Some(At { value: Arc::new(template), spot: text.spot })
}

fn is_time(name: &str) -> bool {
    let field = FIELDS.iter().find(|(known, _)| *known == name);
    field.is_some_and(|(_, field)| matches!(field, TemplateField::Time(_)))
}

/// What holds for a device: its own `format` or that of the gateway, and those of its points by name.
pub(super) fn settle<'p>(
    own: &Given<Format>,
    of_gateway: &Given<Format>,
    points: impl Iterator<Item = (&'p str, &'p Given<PointFormat>)>,
) -> DeviceFormat {
    let format = own.written().or(of_gateway.written());
    let of_point = |(name, format): (&str, &Given<PointFormat>)| {
        Some((Arc::from(name), format.written()?.value.clone()))
    };
    DeviceFormat {
        format: format.map(|at| at.value.clone()).unwrap_or_default(),
        points: points.filter_map(of_point).collect(),
    }
}

/// Warns of a format of a point that nobody sees.
pub(super) fn warn_of_hidden(
    format: &Given<PointFormat>,
    hidden: Option<&Spot>,
    notes: &mut Notes<'_>,
) {
    if let (Some(format), Some(_)) = (format.written(), hidden) {
        let message = "this point is not published, so it has no `format`";
        notes.warning(&format.spot, message, "remove it");
    }
}

//! core: a reading in the operator's words: its bare value, or a template with its fields filled in.

use super::json::{push_escaped, push_text, push_value};
use super::settings::{Dress, Part, Template, TemplateField};
use crate::model::{
    Body, Quality, Reading, ReadingId, TimeForm, TimePlaces, Timestamp, Unsynced, Value,
};

/// A reading with what is known of it beside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) reading: &'a Reading,
    pub(super) gateway: &'a str,
    pub(super) id: ReadingId,
    /// Whether its time is by a clock that may be believed.
    pub(super) is_dated: bool,
}

/// The bare value: a text as it is, anything else as JSON writes it. `None` if the quality is not good: there is no room to
/// say so.
pub(super) fn bare(reading: &Reading) -> Option<String> {
    let value = reading.value.as_ref().filter(|_| reading.quality == Quality::Good)?;
    let mut text = String::new();
    push_bare(&mut text, value);
    Some(text)
}

/// Whether a template has something to say of a reading: what it cannot say the quality of must be good.
pub(super) fn tells(template: &Template, reading: &Reading) -> bool {
    reading.quality == Quality::Good || template.says(TemplateField::Quality)
}

/// The template with its fields filled in, and where the time stands in that.
pub(super) fn filled(template: &Template, said: Said<'_>) -> (String, Body) {
    let Said { reading, gateway, id, is_dated } = said;
    let (mut text, mut places) = (String::with_capacity(128), TimePlaces::default());
    for part in template.parts() {
        let (field, dress) = match part {
            Part::Text(literal) => {
                text.push_str(literal);
                continue;
            }
            Part::Field(field, dress) => (*field, *dress),
        };
        let words = |text: &mut String, words: Option<&str>| push_words(text, words, dress);
        match field {
            TemplateField::Value => push_reading(&mut text, reading.value.as_ref(), dress),
            TemplateField::Unit => words(&mut text, reading.unit.as_deref()),
            TemplateField::Quality => words(&mut text, Some(reading.quality.word())),
            TemplateField::Reason => words(&mut text, reading.quality.reason()),
            TemplateField::Time(form) => {
                let time = time_text(form, reading.taken.wall, is_dated);
                let is_word = matches!(form, TimeForm::Rfc3339 | TimeForm::Clock);
                let quote = if is_word && dress == Dress::Json { "\"" } else { "" };
                text.push_str(quote);
                places.push(form, text.len());
                text.push_str(&time);
                text.push_str(quote);
            }
            TemplateField::Id => {
                words(&mut text, Some(&format!("{gateway}-{}-{}", id.start, id.number)));
            }
            TemplateField::Gateway => words(&mut text, Some(gateway)),
            TemplateField::Device => words(&mut text, Some(&reading.point.device)),
            TemplateField::Point => words(&mut text, Some(&reading.point.point)),
        }
    }
    let unsynced = Unsynced { taken_ms: reading.taken.boot_ms, said: reading.taken.wall, places };
    let has_time = places != TimePlaces::default();
    (text, Body::Worded { unsynced: (has_time && !is_dated).then_some(unsynced) })
}

/// A payload that says a wrong time with the right one in its place.
pub(super) fn redated(payload: &[u8], unsynced: Unsynced, time: Timestamp) -> Vec<u8> {
    let mut payload = payload.to_vec();
    // From the end on, so that the places before stay where they are.
    for (form, at) in unsynced.places.iter().rev() {
        let said = time_text(form, unsynced.said, false);
        let end = at + said.len();
        if payload.get(at..end) == Some(said.as_bytes()) {
            payload.splice(at..end, time_text(form, time, true).into_bytes());
        }
    }
    payload
}

fn time_text(form: TimeForm, time: Timestamp, is_dated: bool) -> String {
    match form {
        TimeForm::Rfc3339 => time.to_string(),
        TimeForm::Seconds => (time.unix_ms() / 1_000).to_string(),
        TimeForm::Milliseconds => time.unix_ms().to_string(),
        TimeForm::Nanoseconds => (u128::from(time.unix_ms()) * 1_000_000).to_string(),
        TimeForm::Clock => if is_dated { "synced" } else { "unsynced" }.to_owned(),
    }
}

fn push_words(text: &mut String, words: Option<&str>, dress: Dress) {
    match (dress, words) {
        (Dress::Plain, words) => text.push_str(words.unwrap_or_default()),
        (Dress::Quoted, words) => push_escaped(text, words.unwrap_or_default()),
        (Dress::Json, Some(words)) => push_text(text, words),
        (Dress::Json, None) => text.push_str("null"),
    }
}

fn push_reading(text: &mut String, value: Option<&Value>, dress: Dress) {
    match (dress, value) {
        (Dress::Json, None) => text.push_str("null"),
        (Dress::Json, Some(value)) => push_value(text, value),
        (Dress::Plain | Dress::Quoted, None) => {}
        (Dress::Plain, Some(value)) => push_bare(text, value),
        (Dress::Quoted, Some(value)) => {
            let mut bare = String::new();
            push_bare(&mut bare, value);
            push_escaped(text, &bare);
        }
    }
}

fn push_bare(text: &mut String, value: &Value) {
    match value {
        Value::Text(words) => text.push_str(words),
        Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Float { .. } | Value::List(_) => {
            push_value(text, value);
        }
    }
}

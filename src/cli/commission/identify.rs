//! core: what a unit says of itself, for the eye and for machines.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use crate::commission::{Identification, readable};
use crate::field::modbus::identity::object_name;

/// A line for each thing that is known, or why there is none.
pub(super) fn to_text(it: &Identification) -> String {
    let mut text = String::new();
    for (number, value) in it.objects() {
        let name = object_name(*number).map_or(format!("object {number}"), str::to_owned);
        let _ = writeln!(text, "{name:<13} {}", shown(value));
    }
    if let Some(bytes) = it.server_id() {
        let _ = writeln!(text, "{:<13} {}", "server id", shown(bytes));
    }
    for (function, failure) in it.failures() {
        let function = if *function == 43 { "43/14" } else { "17" };
        // What to do about a function that is not known belongs to points, which have a table.
        let failure = failure.to_string();
        let failure = failure
            .split_once(" (exception 1:")
            .map_or(failure.clone(), |(words, _)| format!("{words} (exception 1)"));
        let _ = writeln!(text, "{:<14} {failure}", format!("function {function}"));
    }
    text
}

/// The same as JSON.
pub(super) fn to_json(it: &Identification) -> Json {
    let objects = it.objects().iter().map(|(number, value)| {
        json!({
            "object": number,
            "name": object_name(*number),
            "text": readable(value),
            "hex": hex(value),
        })
    });
    let failures = it.failures().iter();
    let failures = failures
        .map(|(function, failure)| json!({ "function": function, "reason": failure.to_string() }));
    json!({
        "objects": objects.collect::<Vec<_>>(),
        "server_id": it.server_id().map(|bytes| json!({ "text": readable(bytes), "hex": hex(bytes) })),
        "failures": failures.collect::<Vec<_>>(),
    })
}

fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && !text.chars().any(char::is_control) => text.to_owned(),
        _ => match readable(bytes) {
            Some(text) => format!("{} ({text})", hex(bytes)),
            None => hex(bytes),
        },
    }
}

fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}

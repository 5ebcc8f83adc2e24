//! core: where a secret is to be had. The file says only that; the secret itself comes from outside.

use std::path::PathBuf;
use std::rc::Rc;

use super::complaint::Severity;
use super::fields::Field;
use super::notes::{At, Given, Notes};
use crate::model::Secret;

/// The keys under which a secret may be had.
pub(super) const KINDS: [&str; 3] = ["credential", "env", "file"];

const EXAMPLE: &str = "a secret never stands in this file: write `{ credential: NAME }`, `{ env: NAME }` or `{ file: PATH }`";

/// Where a secret is to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretReference {
    /// A credential that systemd hands to the service (`LoadCredential=NAME:PATH` in the unit).
    Credential(String),
    /// An environment variable.
    Env(String),
    /// A file, by its absolute path.
    File(PathBuf),
}

/// What came of looking for a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretAnswer {
    /// Here it is.
    Found(Secret),
    /// Here it is, and somebody should look after it.
    Doubtful {
        /// The secret.
        secret: Secret,
        /// What is wrong.
        message: String,
        /// What to do about it.
        remedy: String,
    },
    /// It is not to be had.
    Absent {
        /// Whether the settings are of use without it.
        severity: Severity,
        /// What is wrong.
        message: String,
        /// What to do about it.
        remedy: String,
    },
}

/// Looks secrets up: the machine's own, or a test's.
pub trait SecretSource {
    /// Looks for the secret that `reference` names.
    fn secret(&self, reference: &SecretReference) -> SecretAnswer;
}

/// Whether `text` can stand under `kind`, one of [`KINDS`]: then it is shown, else it may be a secret.
pub(super) fn is_reference(kind: &str, text: &str) -> bool {
    match kind {
        "credential" => is_name(text),
        "env" => is_variable(text),
        "file" => is_path(text),
        _ => false,
    }
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && !text.contains(char::is_control)
}

fn is_variable(text: &str) -> bool {
    is_name(text) && !text.contains(['-', '.'])
}

fn is_name(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && !text.starts_with('.')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// Reads where a secret is to be had.
pub(super) fn read(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<SecretReference>> {
    let spot = field.spot.clone();
    if field.is_broken() {
        return None;
    }
    if !field.is_group() {
        let message = format!("`{}` must say where the secret is to be had", field.name);
        notes.error(&spot, message, EXAMPLE);
        return None;
    }
    let mut fields = field.fields(EXAMPLE, notes)?;
    let head = fields.head();
    let credential = fields.given("credential", notes, |f, notes| {
        let text = f.text(EXAMPLE, notes)?;
        checked(text, is_name, "the name of a credential", notes)
    });
    let env = fields.given("env", notes, |f, notes| {
        let text = f.text(EXAMPLE, notes)?;
        checked(text, is_variable, "the name of an environment variable", notes)
    });
    let file = fields.given("file", notes, |f, notes| {
        let text = f.text(EXAMPLE, notes)?;
        checked(text, is_path, "a path that begins with `/`", notes)
    });
    let has_unknown = fields.has_unknown();
    fields.finish(&[], &[("text", "file"), ("value", "file"), ("variable", "env")], notes);
    let given = [&credential, &env, &file];
    let count = given.iter().filter(|given| !given.is_absent()).count();
    if count == 0 && !has_unknown {
        notes.error(&head, "nothing here says where the secret is to be had", EXAMPLE);
    } else if count > 1 {
        notes.error(&head, "a secret comes from one place, and here are several", EXAMPLE);
    }
    if count != 1 {
        return None;
    }
    let reference = match (credential, env, file) {
        (Given::Value(name), _, _) => SecretReference::Credential(name.value.to_string()),
        (_, Given::Value(name), _) => SecretReference::Env(name.value.to_string()),
        (_, _, Given::Value(path)) => SecretReference::File(PathBuf::from(&*path.value)),
        _ => return None,
    };
    Some(At { value: reference, spot })
}

fn checked(
    text: At<Rc<str>>,
    is_right: impl Fn(&str) -> bool,
    what: &str,
    notes: &mut Notes<'_>,
) -> Option<At<Rc<str>>> {
    if is_right(&text.value) {
        return Some(text);
    }
    notes.error(&text.spot, format!("this is not {what}"), EXAMPLE);
    None
}

/// Fetches the secret; complains when it is not to be had.
pub(super) fn fetch(
    reference: &At<SecretReference>,
    secrets: &dyn SecretSource,
    notes: &mut Notes<'_>,
) -> Option<Secret> {
    match secrets.secret(&reference.value) {
        SecretAnswer::Found(secret) => Some(secret),
        SecretAnswer::Doubtful { secret, message, remedy } => {
            notes.warning(&reference.spot, message, remedy);
            Some(secret)
        }
        SecretAnswer::Absent { severity, message, remedy } => {
            notes.note(severity, &reference.spot, &message, &remedy);
            None
        }
    }
}

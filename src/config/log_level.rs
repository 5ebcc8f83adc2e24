//! core: which log records are written: a level, or directives such as `info,fieldpost::field=debug`.

use std::rc::Rc;

use super::fields::{Field, alternatives, nearest};
use super::notes::{At, Notes};

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// Reads a level or directives.
pub(super) fn read(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Rc<str>>> {
    let all = format!("write {}", alternatives(&LEVELS));
    let text = field.text(&all, notes)?;
    let mut is_right = true;
    let mut directives = Vec::new();
    for directive in text.value.split(',') {
        let directive = directive.trim();
        directives.push(directive);
        let (target, level) = match directive.split_once('=') {
            Some((target, level)) => (target, level),
            None => ("fieldpost", directive),
        };
        let is_target = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
        if target.is_empty() || !target.chars().all(is_target) {
            let message = format!("`{directive}` has no part of the program before its `=`");
            notes.error(&text.spot, message, "write, for example, `info,fieldpost::field=debug`");
            is_right = false;
        } else if !LEVELS.contains(&level) {
            let near = if level.eq_ignore_ascii_case("warning") {
                Some("warn")
            } else {
                nearest(level, &LEVELS)
            };
            let remedy = near.map_or(all.clone(), |near| format!("did you mean `{near}`?"));
            notes.error(&text.spot, format!("`{level}` is not a level of the log"), remedy);
            is_right = false;
        }
    }
    let value = Rc::from(directives.join(","));
    is_right.then_some(At { value, spot: text.spot })
}

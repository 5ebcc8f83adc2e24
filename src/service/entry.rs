//! core: one log entry with its fields, as text and as the fields of a journal entry.

use std::borrow::Cow;
use std::fmt::Write as _;

use log::kv::{Error, Key, Source, Value, VisitSource};
use log::{Level, Record};

/// One event of the log with everything that is known about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// How bad it is.
    pub(super) level: Level,
    /// The room that speaks: a module path, or `wire::modbus` and the like.
    pub(super) target: Cow<'static, str>,
    /// Source file, if known.
    pub(super) file: Option<Cow<'static, str>>,
    /// Line in the source file, if known.
    pub(super) line: Option<u32>,
    /// What happened, without the fields.
    pub(super) message: String,
    /// The event's own fields first, then those of its spans from the inside out; no name twice.
    pub(super) fields: Vec<(&'static str, String)>,
    /// The spans around the event from the outside in, `poll:read`; empty if there are none.
    pub(super) span: String,
}

impl Entry {
    /// The word on `count` entries that were dropped.
    pub(super) fn dropped(count: u64) -> Self {
        Self {
            level: Level::Warn,
            target: Cow::Borrowed(module_path!()),
            file: None,
            line: None,
            message: "log entries were dropped, the journal did not keep up".to_owned(),
            fields: vec![("count", count.to_string())],
            span: String::new(),
        }
    }

    /// Adds a field unless its name is taken: the nearest one to the event counts.
    pub(super) fn add_field(&mut self, name: &'static str, value: &str) {
        if !self.fields.iter().any(|(taken, _)| *taken == name) {
            self.fields.push((name, value.to_owned()));
        }
    }

    /// Message and fields on one line, `unit fell silent bus=rs485 unit=3`: what `journalctl` shows of an entry.
    pub(super) fn text(&self) -> String {
        let mut text = self.message.clone();
        for (name, value) in &self.fields {
            let _ = write!(text, "{}{name}={value}", if text.is_empty() { "" } else { " " });
        }
        text
    }

    /// Hands the entry as a record of the `log` crate to `take`; the fields and the spans are its key-values.
    pub(super) fn with_record<T>(&self, take: impl FnOnce(&Record<'_>) -> T) -> T {
        let source = Fields(self);
        take(
            &Record::builder()
                .level(self.level)
                .target(&self.target)
                .file(self.file.as_deref())
                .line(self.line)
                .args(format_args!("{}", self.text()))
                .key_values(&source)
                .build(),
        )
    }
}

/// The syslog severity of a level (RFC 5424 table 2), with info as *notice* like systemd-journal-logger has it, so that
/// an entry has the same priority whichever way it takes to the journal.
pub(super) const fn severity(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 5,
        Level::Debug => 6,
        Level::Trace => 7,
    }
}

struct Fields<'a>(&'a Entry);

impl Source for Fields<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), Error> {
        for (name, value) in &self.0.fields {
            let name = journal_name(name);
            visitor.visit_pair(Key::from_str(name), Value::from(value.as_str()))?;
        }
        if !self.0.span.is_empty() {
            visitor.visit_pair(Key::from_str("span"), Value::from(self.0.span.as_str()))?;
        }
        Ok(())
    }
}

/// A name that does not stand for something else in the journal: the logger writes these fields itself.
fn journal_name(name: &'static str) -> &'static str {
    match name {
        "message" => "field_message",
        "priority" => "field_priority",
        "target" => "field_target",
        "span" => "field_span",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent() -> Entry {
        Entry {
            level: Level::Warn,
            target: "fieldpost::field".into(),
            file: Some("src/field/bus.rs".into()),
            line: Some(7),
            message: "unit fell silent".to_owned(),
            fields: vec![("unit", "3".to_owned())],
            span: "poll:read".to_owned(),
        }
    }

    #[test]
    fn the_text_carries_the_fields_because_journalctl_shows_nothing_else() {
        let mut entry = silent();
        entry.add_field("bus", "rs485");
        assert_eq!(entry.text(), "unit fell silent unit=3 bus=rs485");
    }

    #[test]
    fn the_field_nearest_to_the_event_counts() {
        let mut entry = silent();
        entry.add_field("unit", "4");
        assert_eq!(entry.fields, [("unit", "3".to_owned())]);
    }

    #[test]
    fn a_record_has_the_fields_and_spans_and_leaves_the_journals_own_alone() {
        struct Pairs(Vec<String>);
        impl<'kvs> VisitSource<'kvs> for Pairs {
            fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
                self.0.push(format!("{key}={value}"));
                Ok(())
            }
        }
        let mut entry = silent();
        entry.add_field("priority", "9");
        let mut pairs = Pairs(Vec::new());
        entry.with_record(|record| {
            assert_eq!(record.level(), Level::Warn);
            assert_eq!((record.file(), record.line()), (Some("src/field/bus.rs"), Some(7)));
            assert_eq!(record.args().to_string(), "unit fell silent unit=3 priority=9");
            record.key_values().visit(&mut pairs).expect("the visitor does not fail");
        });
        assert_eq!(pairs.0, ["unit=3", "field_priority=9", "span=poll:read"]);
    }
}

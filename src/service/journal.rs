//! shell: carries tracing's events to the systemd journal from a thread of its own, so that a journal that has stopped
//! reading never stops the gateway.
#![allow(clippy::disallowed_methods, reason = "the thread that may block belongs here")]

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};

use log::{Level, Record};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber, span};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::backlog::Backlog;
use super::entry::Entry;

/// Entries that may wait for the journal: about a megabyte.
const ENTRIES_MAX: usize = 4096;

/// A tracing layer whose events a thread hands to the journal.
pub(super) struct JournalLayer(Arc<Shared>);

/// The other end of a [`JournalLayer`]: waits for its thread and knows how much was dropped.
#[derive(Debug, Clone)]
pub(super) struct JournalHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    arrived: Condvar,
    written: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug)]
struct State {
    backlog: Backlog,
    writing: bool,
}

impl JournalLayer {
    /// Starts the writing thread, which gives each record to `send`. A record that cannot be sent is lost, as is what
    /// is written while the journal restarts: there is nobody left to tell.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(super) fn start(
        mut send: impl FnMut(&Record<'_>) -> io::Result<()> + Send + 'static,
    ) -> io::Result<(Self, JournalHandle)> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State { backlog: Backlog::new(ENTRIES_MAX), writing: false }),
            arrived: Condvar::new(),
            written: Condvar::new(),
            dropped: AtomicU64::new(0),
        });
        let queue = Arc::clone(&shared);
        thread::Builder::new().name("journal".to_owned()).spawn(move || {
            loop {
                let entry = queue.next();
                let _ = entry.with_record(&mut send);
            }
        })?;
        Ok((Self(Arc::clone(&shared)), JournalHandle(shared)))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, entry: Entry) {
        if self.lock().backlog.push(entry) {
            self.arrived.notify_one();
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits for the next entry; whoever calls has written the one before.
    fn next(&self) -> Entry {
        let mut state = self.lock();
        state.writing = false;
        loop {
            if let Some(entry) = state.backlog.pop() {
                state.writing = true;
                return entry;
            }
            self.written.notify_all();
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl JournalHandle {
    /// Waits until everything is written, `patience` at most.
    pub(super) fn flush(&self, patience: Duration) {
        let busy = |state: &mut State| state.writing || !state.backlog.is_empty();
        let _ = self.0.written.wait_timeout_while(self.0.lock(), patience, busy);
    }

    /// Entries dropped since the start.
    pub(super) fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for JournalLayer {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        let mut fields = SpanFields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<SpanFields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let mut entry = entry_of(event);
        event.record(&mut EventFields(&mut entry));
        let mut names = Vec::new();
        for span in ctx.event_scope(event).into_iter().flatten() {
            names.push(span.name());
            if let Some(SpanFields(fields)) = span.extensions().get::<SpanFields>() {
                fields.iter().for_each(|(name, value)| entry.add_field(name, value));
            }
        }
        names.reverse();
        entry.span = names.join(":");
        self.0.push(entry);
    }
}

/// An entry with all that the event's metadata say; those of a record of the `log` crate are in its fields.
fn entry_of(event: &Event<'_>) -> Entry {
    let normalized = event.normalized_metadata();
    let (target, file, line) = match &normalized {
        Some(from_log) => (
            Cow::Owned(from_log.target().to_owned()),
            from_log.file().map(|file| Cow::Owned(file.to_owned())),
            from_log.line(),
        ),
        None => {
            let metadata = event.metadata();
            (Cow::Borrowed(metadata.target()), metadata.file().map(Cow::Borrowed), metadata.line())
        }
    };
    let level = level(*event.metadata().level());
    Entry {
        level,
        target,
        file,
        line,
        message: String::new(),
        fields: Vec::new(),
        span: String::new(),
    }
}

/// The `log` crate's word for a level.
pub(super) fn level(level: tracing::Level) -> Level {
    match level {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::TRACE => Level::Trace,
    }
}

struct EventFields<'a>(&'a mut Entry);

impl Visit for EventFields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => {
                let _ = write!(self.0.message, "{value:?}");
            }
            name if name.starts_with("log.") => {}
            name => self.0.add_field(name, &format!("{value:?}")),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// The fields of a span; the last value of each.
#[derive(Default)]
struct SpanFields(Vec<(&'static str, String)>);

impl Visit for SpanFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = format!("{value:?}");
        match self.0.iter_mut().find(|(name, _)| *name == field.name()) {
            Some((_, old)) => *old = value,
            None => self.0.push((field.name(), value)),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A journal that takes a record for each `()` it is sent and passes on what it got.
    fn scripted_journal() -> (JournalLayer, JournalHandle, mpsc::Sender<()>, mpsc::Receiver<String>)
    {
        let (allow, allowed) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let (layer, handle) = JournalLayer::start(move |record| {
            allowed.recv().map_err(io::Error::other)?;
            let mut pairs = String::new();
            let _ = record.key_values().visit(&mut Pairs(&mut pairs));
            let line = format!("{} {} |{pairs}", record.level(), record.args());
            tell.send(line).map_err(io::Error::other)
        })
        .expect("a thread can be started");
        (layer, handle, allow, told)
    }

    struct Pairs<'a>(&'a mut String);

    impl<'kvs> log::kv::VisitSource<'kvs> for Pairs<'_> {
        fn visit_pair(
            &mut self,
            key: log::kv::Key<'kvs>,
            value: log::kv::Value<'kvs>,
        ) -> Result<(), log::kv::Error> {
            let _ = write!(self.0, " {key}={value}");
            Ok(())
        }
    }

    #[test]
    fn an_event_arrives_with_its_fields_and_those_of_its_spans() {
        let (layer, handle, allow, told) = scripted_journal();
        allow.send(()).expect("the journal listens");
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let poll = tracing::info_span!("poll", bus = "rs485", unit = tracing::field::Empty);
            poll.record("unit", 7);
            let _poll = poll.entered();
            let _read = tracing::info_span!("read", address = 40_001).entered();
            tracing::warn!(retries = 2, latency_ms = 12.5, "unit fell silent");
        });
        handle.flush(PATIENCE);
        let line = told.recv_timeout(PATIENCE).expect("the entry was written");
        let text = "retries=2 latency_ms=12.5 address=40001 bus=rs485 unit=7";
        assert_eq!(line, format!("WARN unit fell silent {text} | {text} span=poll:read"));
    }

    #[test]
    fn a_journal_that_does_not_read_costs_entries_but_never_stops_the_gateway() {
        let (layer, handle, allow, told) = scripted_journal();
        let all = ENTRIES_MAX + 100;
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            for n in 0..all {
                tracing::info!(n, "poll took long");
            }
        });
        let dropped = handle.dropped();
        assert!((99..=100).contains(&dropped), "one may be in the journal's hands: {dropped}");
        for _ in 0..=all {
            allow.send(()).expect("the journal listens");
        }
        handle.flush(PATIENCE);
        let lines: Vec<String> = told.try_iter().collect();
        assert_eq!(lines.len() as u64, all as u64 - dropped + 1);
        let last = lines.last().expect("there are lines");
        assert!(last.starts_with("WARN log entries were dropped"), "{last}");
        assert!(last.ends_with(&format!("| count={dropped}")), "{last}");
    }
}

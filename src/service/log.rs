//! shell: sends the log where it belongs: to the journal under systemd, else to standard error.
#![allow(clippy::disallowed_methods, reason = "the environment says where the log goes")]

use std::io::{self, IsTerminal as _};
use std::time::Duration;
use std::{env, fmt};

use systemd_journal_logger::{JournalLog, connected_to_journal};
use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_log::LogTracer;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, format};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

use super::directives::{self, DirectiveError};
use super::entry::severity;
use super::journal::{self, JournalHandle, JournalLayer};

/// How long the end of the program waits for a slow journal.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// Why the log could not be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LogError {
    /// The directives of the environment variable `RUST_LOG` are wrong.
    #[error("RUST_LOG: {source}")]
    Environment {
        /// What is wrong with them.
        source: DirectiveError,
    },
    /// The directives of the configuration are wrong.
    #[error("log.level: {source}")]
    Level {
        /// What is wrong with them.
        source: DirectiveError,
    },
    /// The journal's thread could not be started.
    #[error("the journal's thread could not be started: {source}")]
    Thread {
        /// What the system said.
        source: io::Error,
    },
    /// A log is there already: it is started once in the life of a process.
    #[error("the log was started before")]
    StartedBefore,
}

/// Keeps the log: what is still on its way to the journal is written when this goes, within a second.
#[must_use = "the last entries are lost if this does not live as long as the program"]
#[derive(Debug)]
pub struct LogGuard(Option<JournalHandle>);

impl LogGuard {
    /// Entries dropped since the start because the journal did not keep up.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, JournalHandle::dropped)
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        if let Some(journal) = &self.0 {
            journal.flush(FLUSH_PATIENCE);
        }
    }
}

/// Starts the log of this process.
///
/// `level` is a level or filter directives, `info,fieldpost::field=debug`; `RUST_LOG`, if set, takes its place. Started
/// by systemd, entries go to the journal with their fields; if its socket cannot be had, to standard error with
/// `<N>` priorities. Otherwise standard error gets readable lines, in colour on a terminal unless `NO_COLOR` is set.
///
/// # Errors
/// See [`LogError`].
pub fn start_logging(level: &str) -> Result<LogGuard, LogError> {
    let filter = match env::var("RUST_LOG") {
        Ok(directives) if !directives.trim().is_empty() => {
            filter(&directives).map_err(|source| LogError::Environment { source })?
        }
        _ => filter(level).map_err(|source| LogError::Level { source })?,
    };
    let (sink, journal) = sink()?;
    let level_max = filter.max_level_hint().unwrap_or(LevelFilter::TRACE);
    let subscriber = tracing_subscriber::registry().with(sink.with_filter(filter));
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::StartedBefore)?;
    LogTracer::builder()
        .with_max_level(
            level_max
                .into_level()
                .map_or(log::LevelFilter::Off, |level| journal::level(level).to_level_filter()),
        )
        .init()
        .map_err(|_| LogError::StartedBefore)?;
    Ok(LogGuard(journal))
}

type Sink = Box<dyn Layer<Registry> + Send + Sync>;

fn sink() -> Result<(Sink, Option<JournalHandle>), LogError> {
    let lines = || tracing_subscriber::fmt::layer().with_writer(io::stderr);
    if connected_to_journal() {
        if let Ok(log) = JournalLog::new() {
            let (layer, handle) = JournalLayer::start(move |record| log.journal_send(record))
                .map_err(|source| LogError::Thread { source })?;
            return Ok((Box::new(layer), Some(handle)));
        }
        // The journal stamps the time itself.
        let format = Prefixed(format().without_time().with_ansi(false));
        return Ok((Box::new(lines().with_ansi(false).event_format(format)), None));
    }
    let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    Ok((Box::new(lines().with_ansi(!plain && io::stderr().is_terminal())), None))
}

fn filter(directives: &str) -> Result<EnvFilter, DirectiveError> {
    directives::check(directives)?;
    EnvFilter::try_new(directives).map_err(|error| DirectiveError::Malformed {
        directives: directives.to_owned(),
        reason: error.to_string(),
    })
}

/// Lines that begin with `<N>`, which systemd takes for the priority (`sd-daemon(3)`).
struct Prefixed<F>(F);

impl<S, N, F> FormatEvent<S, N> for Prefixed<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", severity(journal::level(*event.metadata().level())))?;
        self.0.format_event(ctx, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test thread panicked").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_prefixed_line_begins_with_its_priority_and_has_no_time() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .event_format(Prefixed(format().without_time().with_ansi(false)));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(unit = 3, "unit fell silent");
            tracing::info!("unit answers again");
        });
        let text = String::from_utf8(lines.0.lock().expect("no panic").clone()).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("<4> WARN ") && lines[0].ends_with("silent unit=3"), "{text}");
        assert!(lines[1].starts_with("<5> INFO "), "{text}");
    }

    #[test]
    fn directives_that_do_not_parse_are_refused() {
        let error = filter("fieldpost[=info").expect_err("the bracket is open");
        assert!(matches!(error, DirectiveError::Malformed { .. }), "{error}");
    }
}

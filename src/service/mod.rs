//! The process and its surroundings: the log, the service manager, the signals.
//!
//! It also asks the system what a process costs. Knows systemd, the journal, standard error and Unix signals. Does not know what the gateway does: it tells the app
//! that a stop was asked for, and is told when the gateway is ready. Outside systemd every call here does the ordinary
//! thing or nothing.

mod backlog;
mod directives;
mod entry;
mod journal;
mod log;
mod notify;
mod process;
mod signals;

pub use self::log::{LogError, LogGuard, start_logging};
pub use directives::DirectiveError;
pub use notify::{ready, status, stopping};
pub use process::{Usage, raise_open_files, runtime_dir, usage};
pub use signals::{Signals, Stop, Wish};

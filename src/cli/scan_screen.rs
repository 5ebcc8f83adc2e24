//! shell: how far a scan is: a bar that is drawn again on a terminal, a line every few seconds elsewhere. All on standard error.
#![allow(clippy::disallowed_methods, reason = "writes to standard error in its own time")]

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use super::scan::clock;
use crate::commission::scan::{Progress, Scan};

/// How often the bar is drawn.
const BAR_EVERY: Duration = Duration::from_millis(100);
/// How often a line is written where no bar can be drawn.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Cells of the bar.
const CELLS: u32 = 24;
/// Columns of a terminal that does not say how many it has.
const COLUMNS: u16 = 80;

/// Standard error.
#[derive(Debug)]
pub(super) struct Screen {
    is_terminal: bool,
    is_quiet: bool,
    shown: Option<Instant>,
    is_drawn: bool,
}

impl Screen {
    /// `is_quiet` shows nothing at all.
    pub(super) fn new(is_quiet: bool) -> Self {
        let is_terminal = io::stderr().is_terminal();
        Self { is_terminal, is_quiet, shown: None, is_drawn: false }
    }

    /// Shows how far it is, if it is time to.
    pub(super) fn show(&mut self, scan: &Scan) {
        let every = if self.is_terminal { BAR_EVERY } else { LINE_EVERY };
        // The first line on a pipe says that it runs, a while after it began.
        let last = *self.shown.get_or_insert_with(Instant::now);
        if self.is_quiet || last.elapsed() < every {
            return;
        }
        self.shown = Some(Instant::now());
        let text = if self.is_terminal { bar(scan) } else { line(scan) };
        let mut err = io::stderr().lock();
        // Nobody is served by a scan that fails because its progress cannot be seen.
        let _ = if self.is_terminal {
            let columns = terminal_size::terminal_size().map_or(COLUMNS, |(width, _)| width.0);
            let text: String = text.chars().take(usize::from(columns).saturating_sub(1)).collect();
            self.is_drawn = true;
            write!(err, "\r{text}\x1b[K").and_then(|()| err.flush())
        } else {
            writeln!(err, "{text}")
        };
    }

    /// Writes a line above the bar.
    pub(super) fn say(&mut self, text: &str) {
        if self.is_quiet {
            return;
        }
        self.clear();
        let _ = writeln!(io::stderr().lock(), "{text}");
        if self.is_terminal {
            // The bar comes back at once.
            self.shown = self.shown.and_then(|shown| shown.checked_sub(BAR_EVERY));
        }
    }

    /// Takes the bar away.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.is_drawn) {
            let mut err = io::stderr().lock();
            let _ = write!(err, "\r\x1b[K").and_then(|()| err.flush());
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.clear();
    }
}

/// `[======>         ]  26%  9600 8N1, unit 64, 2 found, 0:24 left`.
fn bar(scan: &Scan) -> String {
    let progress = scan.progress();
    let done = progress.asked.min(progress.total);
    let cells = done * CELLS / progress.total.max(1);
    let full = "=".repeat(cells.saturating_sub(1) as usize);
    let head = if cells > 0 { ">" } else { "" };
    let cells = usize::try_from(CELLS).unwrap_or_default();
    let filled = format!("{full}{head}");
    let percent = done * 100 / progress.total.max(1);
    format!("[{filled:<cells$}] {percent:>3}%  {}", told(scan, &progress))
}

/// `1040 of 3952 asked: 19200 8E1, unit 64, 2 found, 5:24 left`.
fn line(scan: &Scan) -> String {
    let progress = scan.progress();
    format!("{} of {} asked: {}", progress.asked, progress.total, told(scan, &progress))
}

fn told(scan: &Scan, progress: &Progress) -> String {
    let setting = scan.setting(progress.setting).map_or(String::new(), |it| format!("{it}, "));
    let left = clock(progress.left);
    format!("{setting}unit {}, {} found, {left} left", progress.unit.0, progress.found)
}

//! shell: owns standard output: a table drawn again in its place, lines, or nothing.

use std::io::{self, Write as _};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::play::Show;
use super::table::{View, happening, height, progress, table};

/// How often a line is written where no table can be drawn.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Standard output.
#[derive(Debug)]
pub(super) struct Screen {
    show: Show,
    /// Rows of the terminal the last table took.
    drawn: usize,
    /// When the last line was written, from the start.
    line: Duration,
    /// A terminal that is held up must not hold up the run.
    writing: Option<JoinHandle<io::Result<()>>>,
}

impl Screen {
    pub(super) fn new(show: Show) -> Self {
        Self { show, drawn: 0, line: Duration::ZERO, writing: None }
    }

    /// Shows how things are; left out while the terminal has not taken what was shown before.
    pub(super) async fn draw(&mut self, view: &View<'_>) -> io::Result<()> {
        if self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            return Ok(());
        }
        match self.show {
            Show::Nothing => Ok(()),
            Show::Lines => self.draw_line(view).await,
            Show::Table { colours } => {
                let lines = table(view, colours);
                // A terminal that does not say its size is taken for the smallest usual one.
                let size = terminal_size::terminal_size();
                let (columns, rows) = size.map_or((80, 24), |(w, h)| (w.0.into(), h.0.into()));
                let taken = height(&lines, columns);
                if taken >= rows {
                    // There is no going back over what has scrolled away.
                    self.drawn = 0;
                    return self.draw_line(view).await;
                }
                let mut text = String::new();
                if self.drawn > 0 {
                    text.push_str(&format!("\x1b[{}A\r", self.drawn));
                }
                for line in &lines {
                    text.push_str(line);
                    text.push_str("\x1b[K\n");
                }
                text.push_str("\x1b[J");
                self.drawn = taken;
                self.write(text).await
            }
        }
    }

    async fn draw_line(&mut self, view: &View<'_>) -> io::Result<()> {
        if view.since < self.line {
            return Ok(());
        }
        // In step with the seconds, also if a picture came late.
        self.line = (self.line + LINE_EVERY).max(view.since.saturating_sub(LINE_EVERY));
        self.write(format!("{}\n", progress(view))).await
    }

    /// Something happened. A table shows it by itself.
    pub(super) async fn tell(&mut self, at: Duration, what: &str) -> io::Result<()> {
        match self.show {
            Show::Lines => self.write(format!("{}\n", happening(at, what))).await,
            Show::Table { .. } | Show::Nothing => Ok(()),
        }
    }

    /// Waits until everything is out.
    pub(super) async fn finish(mut self) -> io::Result<()> {
        self.settle().await
    }

    async fn write(&mut self, text: String) -> io::Result<()> {
        self.settle().await?;
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()
        }));
        Ok(())
    }

    async fn settle(&mut self) -> io::Result<()> {
        match self.writing.take() {
            Some(writing) => writing.await.map_err(io::Error::other)?,
            None => Ok(()),
        }
    }
}

//! core: a complaint about a file: where, what stands there, what is wrong with it and what to write instead.

use std::fmt;

use super::source::Excerpt;

/// Whether the program can run in spite of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, and somebody should look.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One thing that is wrong with a configuration file. Holds nothing of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Whether the program can run in spite of it.
    pub severity: Severity,
    /// The file, as it was named.
    pub file: String,
    /// Line from 1; 0 when the complaint is about the file as a whole and not about its text.
    pub line: usize,
    /// Column from 1, in characters; 0 when `line` is.
    pub column: usize,
    /// The road of keys that leads there, such as `devices.boiler.points.flow.holding`; empty for the whole file.
    pub path: String,
    /// The text at fault: its first line, cut when it is long; `***` where it may be a secret.
    pub text: String,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do about it, in one line.
    pub remedy: String,
    /// The line the text stands on.
    pub(super) excerpt: Option<Excerpt>,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, file, line, column, path, message, remedy, .. } = self;
        let Some(excerpt) = &self.excerpt else {
            writeln!(f, "{file}: {severity}: {message}")?;
            return writeln!(f, "  = help: {remedy}");
        };
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(f, "{file}:{line}:{column}: {severity}: {message}")?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{}", format!("{number} | {}", excerpt.text).trim_end())?;
        let carets = "^".repeat(excerpt.caret_length);
        let label = format!("{margin} | {}{carets} {path}", " ".repeat(excerpt.caret_start));
        writeln!(f, "{}", label.trim_end())?;
        writeln!(f, "{margin} = help: {remedy}")
    }
}

/// Everything that is wrong with a file, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Complaints(Vec<Complaint>);

impl Complaints {
    /// `complaints` in the order of the file. One text that is read twice, through an alias or as a template, is complained
    /// about once.
    #[must_use]
    pub(super) fn new(mut complaints: Vec<Complaint>) -> Self {
        complaints.dedup_by(|later, first| {
            let place = |it: &Complaint| (it.line, it.column);
            place(later) == place(first)
                && (&later.file, &later.message) == (&first.file, &first.message)
        });
        Self(complaints)
    }

    /// The same, with those about the text of `file` said of it as a whole: nobody wrote that text.
    #[must_use]
    pub(super) fn without_text_of(mut self, file: &str) -> Self {
        for complaint in self.0.iter_mut().filter(|it| it.file == file) {
            (complaint.line, complaint.column, complaint.excerpt) = (0, 0, None);
            (complaint.path, complaint.text) = (String::new(), String::new());
        }
        self
    }

    /// The complaints in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Complaint> {
        self.0.iter()
    }

    /// How many there are of this severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.iter().filter(|complaint| complaint.severity == severity).count()
    }

    /// Whether there is nothing to complain about.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'c> IntoIterator for &'c Complaints {
    type Item = &'c Complaint;
    type IntoIter = std::slice::Iter<'c, Complaint>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Complaints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, complaint) in self.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{complaint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Complaints {}

//! core: where the complaints are collected while a file is read.

use std::fmt::Display;
use std::rc::Rc;

use super::complaint::{Complaint, Complaints, Severity};
use super::source::{Source, Span};

/// Complaints that are kept at most; a file with more has one cause for most of them.
const COMPLAINTS_MAX: usize = 1_000;

/// A stretch of the file and the road of keys that leads there.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    pub(super) span: Span,
    pub(super) path: Rc<str>,
}

impl Spot {
    /// The beginning of the file.
    pub(super) fn root() -> Self {
        Self { span: Span::default(), path: Rc::from("") }
    }

    /// The same road, another stretch.
    pub(super) fn at(&self, span: Span) -> Self {
        Self { span, path: Rc::clone(&self.path) }
    }

    /// One key further.
    pub(super) fn key(&self, key: &str, span: Span) -> Self {
        let path =
            if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Self { span, path: Rc::from(path) }
    }

    /// One list item further, counted from 0.
    pub(super) fn item(&self, index: usize, span: Span) -> Self {
        Self { span, path: Rc::from(format!("{}[{index}]", self.path)) }
    }
}

/// A value as written, with its place.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) spot: Spot,
}

/// A value that may or may not be written. One that is wrong has been complained about already, so nobody complains
/// that it is missing.
#[derive(Debug, Clone)]
pub(super) enum Given<T> {
    /// The key is not there.
    Absent,
    /// The key is there, and what it says cannot be used.
    Wrong,
    /// The key is there.
    Value(At<T>),
}

impl<T> Given<T> {
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    pub(super) fn written(&self) -> Option<&At<T>> {
        match self {
            Self::Value(at) => Some(at),
            Self::Absent | Self::Wrong => None,
        }
    }

    /// Where the value stands.
    pub(super) fn spot(&self) -> Option<&Spot> {
        self.written().map(|at| &at.spot)
    }
}

impl<T: Clone> Given<T> {
    /// The value, or what holds when none is written.
    pub(super) fn or(&self, default: T) -> T {
        self.written().map_or(default, |at| at.value.clone())
    }
}

/// What has been found wrong so far, and the text it is found in.
#[derive(Debug)]
pub(super) struct Notes<'t> {
    pub(super) source: Source<'t>,
    found: Vec<Found>,
}

/// A complaint before it is put in words for the reader: secrets may yet be discovered in the file.
#[derive(Debug)]
struct Found {
    severity: Severity,
    spot: Spot,
    message: String,
    remedy: String,
}

impl<'t> Notes<'t> {
    pub(super) fn new(source: Source<'t>) -> Self {
        Self { source, found: Vec::new() }
    }

    /// The text at `spot` as it may be shown.
    pub(super) fn shown(&self, spot: &Spot) -> String {
        self.source.text_at(spot.span)
    }

    pub(super) fn error(&mut self, spot: &Spot, message: impl Display, remedy: impl Display) {
        self.note(Severity::Error, spot, &message, &remedy);
    }

    pub(super) fn warning(&mut self, spot: &Spot, message: impl Display, remedy: impl Display) {
        self.note(Severity::Warning, spot, &message, &remedy);
    }

    pub(super) fn note(
        &mut self,
        severity: Severity,
        spot: &Spot,
        message: &dyn Display,
        remedy: &dyn Display,
    ) {
        if self.found.len() < COMPLAINTS_MAX {
            let (message, remedy) = (message.to_string(), remedy.to_string());
            self.found.push(Found { severity, spot: spot.clone(), message, remedy });
        } else if self.found.len() == COMPLAINTS_MAX {
            let message =
                format!("there are more than {COMPLAINTS_MAX} complaints, the rest is left out");
            let remedy = "correct the first ones and check again".to_owned();
            let severity = Severity::Error;
            self.found.push(Found { severity, spot: spot.clone(), message, remedy });
        }
    }

    /// Whether further complaints would be left out.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() > COMPLAINTS_MAX
    }

    /// Whether anything was found that the program cannot run with.
    pub(super) fn has_errors(&self) -> bool {
        self.found.iter().any(|found| found.severity == Severity::Error)
    }

    /// Everything that was found, in the order of the file called `file` and of those it uses.
    pub(super) fn into_complaints(self, file: &str) -> Complaints {
        let Self { source, mut found } = self;
        found.sort_by_key(|found| {
            let at = found.spot.span.start;
            (source.file_at(at).0, source.place(at), found.severity)
        });
        let complaints = found.into_iter().map(|found| {
            let at = found.spot.span.start;
            let place = source.place(at);
            Complaint {
                severity: found.severity,
                file: source.file_at(at).1.as_deref().unwrap_or(file).to_owned(),
                line: place.line,
                column: place.column,
                path: printable(&found.spot.path),
                text: source.text_at(found.spot.span),
                message: printable(&found.message),
                remedy: printable(&found.remedy),
                excerpt: Some(source.excerpt(found.spot.span)),
            }
        });
        Complaints::new(complaints.collect())
    }
}

/// Words of the file stand in messages; none of them shall move the cursor of a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '·' } else { c }).collect()
}

//! core: the lines of a `mosquitto.conf`, mosquitto.conf(5).

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a line stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// Its line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// An option and what stands behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// Where it stands.
    pub place: Place,
    /// The option.
    pub name: String,
    /// The rest of the line without space around it; empty if there is nothing.
    pub value: String,
}

/// Takes a file apart. Lines that are empty or begin with `#` say nothing.
#[must_use]
pub fn directives(file: &Path, text: &str) -> Vec<Directive> {
    let file: Arc<Path> = Arc::from(file);
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    lines
        .filter(|(_, text)| !text.is_empty() && !text.starts_with('#'))
        .map(|(line, text)| {
            let (name, value) = text.split_once([' ', '\t']).unwrap_or((text, ""));
            let place = Place { file: file.clone(), line };
            Directive { place, name: name.to_owned(), value: value.trim().to_owned() }
        })
        .collect()
}

//! core: what is wrong with a file of users or rules, with its place and what to do about it.

use std::fmt;
use std::path::PathBuf;

/// More lines than anybody mends at once are counted: the file is another than was meant.
const FAULTS_SHOWN: usize = 8;

/// A line that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong; shows no password and no hash.
    pub message: String,
    /// What to do about it.
    pub remedy: &'static str,
}

/// Why users and rules cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file cannot be read.
    #[error("{}: cannot be read: {cause}; look at its path, and let the user of the service read it", file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// A file is longer than any such file should be.
    #[error("{}: longer than {} MiB; look whether it is the right file", file.display(), bytes_max >> 20)]
    TooLong {
        /// Which.
        file: PathBuf,
        /// The most it may have.
        bytes_max: u64,
    },
    /// Lines of a file cannot be used.
    #[error("{}", lines(file, faults))]
    Faults {
        /// Which.
        file: PathBuf,
        /// All of them, in the order of the file.
        faults: Vec<Fault>,
    },
    /// A user stands in two files.
    #[error(
        "{}: the user `{user}` stands in {} already; remove one of the two",
        file.display(), first.display()
    )]
    InTwoFiles {
        /// The second file.
        file: PathBuf,
        /// The first one.
        first: PathBuf,
        /// The user.
        user: String,
    },
}

fn lines(file: &std::path::Path, faults: &[Fault]) -> String {
    let line = |fault: &Fault| format!("{}:{fault}", file.display());
    let mut lines: Vec<String> = faults.iter().take(FAULTS_SHOWN).map(line).collect();
    let left_out = faults.len() - lines.len();
    if left_out > 0 {
        lines.push(format!(
            "{}: {left_out} more lines are wrong; is it the right file?",
            file.display()
        ));
    }
    lines.join("\n")
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.line, self.message, self.remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_another_one_is_not_shown_line_by_line() {
        let faults = |count| {
            let fault = |line| Fault { line, message: "bad".to_owned(), remedy: "mend it" };
            AccessError::Faults { file: "key.pem".into(), faults: (1..=count).map(fault).collect() }
        };
        let shown = faults(FAULTS_SHOWN).to_string();
        assert_eq!(shown.lines().count(), FAULTS_SHOWN);
        let shown = faults(30).to_string();
        assert_eq!(shown.lines().count(), FAULTS_SHOWN + 1);
        assert!(
            shown.ends_with("key.pem: 22 more lines are wrong; is it the right file?"),
            "{shown}"
        );
    }
}

//! core: regular expressions over the bytes of a frame.

use regex::bytes::{Captures, Regex, RegexBuilder};

/// Bytes a compiled expression may take; the operator's are far below.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// A regular expression that was found right. It looks at bytes, ASCII alone has classes such as `\d`; `^` and `$` are the ends
/// of lines, `\A` and `\z` those of the frame, and `.` is any byte of a line.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// Why a text is no regular expression, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(String);

impl Pattern {
    /// Reads an expression in the syntax of the crate `regex`.
    ///
    /// # Errors
    /// [`PatternError`] with what is wrong in it.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let mut builder = RegexBuilder::new(text);
        builder.unicode(false).multi_line(true).crlf(true).size_limit(COMPILED_BYTES_MAX);
        builder.build().map(Self).map_err(|error| PatternError(in_one_line(&error)))
    }

    /// The names of its groups, from group 1 on; `None` for one without a name.
    pub fn groups(&self) -> impl Iterator<Item = Option<&str>> {
        self.0.capture_names().skip(1)
    }

    /// Whether it is found in `bytes`.
    #[must_use]
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        self.0.is_match(bytes)
    }

    /// The first place where it is found.
    #[must_use]
    pub fn find<'b>(&self, bytes: &'b [u8]) -> Option<Captures<'b>> {
        self.0.captures(bytes)
    }
}

/// The last line says what is wrong; those before show where, for a terminal.
fn in_one_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_that_is_wrong_says_so_in_one_line() {
        let error = Pattern::new("(?<value>[0-9").expect_err("a bracket is open").to_string();
        assert_eq!(error, "unclosed character class");
        assert!(Pattern::new(r"a{1000}{1000}{1000}").is_err(), "it would take too much memory");
    }

    #[test]
    fn lines_may_end_either_way_and_bytes_need_be_no_text() {
        let pattern = Pattern::new(r"^(?<value>\d+)\xb0C$").expect("right");
        assert!(pattern.is_in(b"x\r\n21\xb0C\r\n"));
        assert!(pattern.is_in(b"21\xb0C\n"));
        assert!(!pattern.is_in("21°C".as_bytes()));
        assert_eq!(pattern.groups().collect::<Vec<_>>(), [Some("value")]);
    }
}

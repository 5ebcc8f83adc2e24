//! core: what the YAML parser stumbled over, in words for somebody who does not know YAML.

use granit_parser::{ErrorKind, ScanError};

use super::tree::DEPTH_MAX;

/// Message and remedy. `bracket` is the innermost one that is open, and its line.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the parser may add kinds; the rest keep its own words"
)]
pub(super) fn words(error: &ScanError, bracket: Option<(char, usize)>) -> (String, &'static str) {
    let (message, remedy) = match error.kind() {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInPlainScalar
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart => {
            ("a tab stands where YAML wants spaces", "put spaces there, two for each level")
        }
        ErrorKind::UnexpectedCharacter { character } => {
            let message = if character.is_control() {
                "a control character stands here".to_owned()
            } else {
                format!("a text must not begin with `{character}`")
            };
            return (message, "put quotes around the whole text: \"…\"");
        }
        ErrorKind::MappingValueNotAllowed => (
            "there is a second `:` here, or the indentation does not fit the line above",
            "one `key: value` a line; keys of one group begin in the same column; put quotes around a text with `: ` in it",
        ),
        ErrorKind::UnclosedFlowCollection { open } => {
            let close = if *open == '{' { '}' } else { ']' };
            return (
                format!("this `{open}` is never closed"),
                if close == '}' { "write the missing `}`" } else { "write the missing `]`" },
            );
        }
        ErrorKind::MisplacedFlowCollectionEnd
        | ErrorKind::MismatchedFlowCollectionEnd { .. }
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping
        | ErrorKind::ExpectedFlowMappingSeparator
        | ErrorKind::ExpectedFlowSequenceSeparator => {
            let mut message =
                "a comma or a closing bracket is missing, or there is one too many".to_owned();
            if let Some((bracket, line)) = bracket {
                message = format!("{message}: a `{bracket}` is open since line {line}");
            }
            return (
                message,
                "between { } write `key: value, key: value`, between [ ] write `value, value`",
            );
        }
        ErrorKind::InvalidQuotedScalarIndent
        | ErrorKind::UnclosedQuotedScalar
        | ErrorKind::UnexpectedEof => (
            "a quote is opened on this line or above and not closed",
            "write the missing quote at the end of the text",
        ),
        ErrorKind::UnknownQuotedScalarEscape => (
            "a `\\` in double quotes begins an escape, and this one means nothing",
            "use single quotes, or write `\\\\` for one `\\`",
        ),
        ErrorKind::BlockSequenceEntryNotAllowed => (
            "a list cannot begin on the line of its key",
            "write each `- item` on a line of its own, or the whole list as [item, item]",
        ),
        ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::MappingKeyNotAllowed
        | ErrorKind::InvalidIndentation => (
            "the indentation does not fit the lines above",
            "let the keys of one group, or the items of one list, begin in the same column",
        ),
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => (
            "this should be a key, and its `:` is missing",
            "write `key: value`, with a space behind the colon",
        ),
        ErrorKind::RecursionLimitExceeded => {
            return (
                format!("more than {DEPTH_MAX} groups are inside each other here"),
                "this file needs six at most: look for brackets that are not closed",
            );
        }
        _ => {
            return (
                format!("this is not YAML: {}", error.info()),
                "see the lines above it as well",
            );
        }
    };
    (message.to_owned(), remedy)
}

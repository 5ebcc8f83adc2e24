//! core: text that YAML reads as it was meant.

use std::fmt::Write as _;

/// A value in quotes, unless it can be nothing but text without them.
pub(super) fn quoted(text: &str) -> String {
    let is_plain =
        text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-'))
            && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
            && !["true", "false", "yes", "no", "on", "off", "null", "y", "n"]
                .contains(&text.to_lowercase().as_str());
    if is_plain { text.to_owned() } else { format!("\"{}\"", escaped(text)) }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '"' | '\\' => escaped.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// A map on one line: `{ tcp: 127.0.0.1:1883, anonymous: true }`; values are YAML already.
pub(super) fn flow_map<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let pairs: Vec<_> = pairs.into_iter().map(|(key, value)| format!("{key}: {value}")).collect();
    format!("{{ {} }}", pairs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_read_as_something_else_is_quoted() {
        assert_eq!(quoted("/etc/fieldpost/passwd"), "/etc/fieldpost/passwd");
        assert_eq!(quoted("pump-1"), "pump-1");
        for (text, wanted) in [
            ("on", "\"on\""),
            ("a b", "\"a b\""),
            ("5", "\"5\""),
            ("", "\"\""),
            ("a\"\\\t", "\"a\\\"\\\\\\u0009\""),
        ] {
            assert_eq!(quoted(text), wanted);
        }
    }
}

//! core: filter directives of the log, checked for the slips that a filter would take without a word.

use thiserror::Error;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Why filter directives are refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DirectiveError {
    /// A word that is no level: as a directive it would name a target and silence all others.
    #[error(
        "{word:?} is not a level: write off, error, warn, info, debug or trace, or target=level"
    )]
    NotALevel {
        /// The word as written.
        word: String,
    },
    /// The text does not parse.
    #[error("{directives:?} are not filter directives: {reason}")]
    Malformed {
        /// The text as written.
        directives: String,
        /// What the parser says.
        reason: String,
    },
}

/// Checks that each comma-separated directive of `directives` is a level or says the level of its target.
///
/// # Errors
/// [`DirectiveError::NotALevel`] for the first that does not.
pub(super) fn check(directives: &str) -> Result<(), DirectiveError> {
    for directive in directives.split(',').map(str::trim).filter(|d| !d.is_empty()) {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
        if directive.contains('[') {
            continue; // A directive about spans has a form of its own, which the filter checks.
        }
        if !LEVELS.iter().any(|known| level.eq_ignore_ascii_case(known)) {
            return Err(DirectiveError::NotALevel { word: level.to_owned() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_and_levels_of_targets_are_fine() {
        assert_eq!(check("info"), Ok(()));
        assert_eq!(check("INFO, fieldpost::field=debug,wire::modbus=trace"), Ok(()));
        assert_eq!(check("warn,fieldpost[poll{unit=3}]=trace"), Ok(()));
    }

    #[test]
    fn a_misspelt_level_is_refused_rather_than_taken_for_a_target() {
        assert_eq!(check("inof"), Err(DirectiveError::NotALevel { word: "inof".to_owned() }));
        let error = check("info,wire::modbus=all").expect_err("all is no level");
        assert_eq!(error, DirectiveError::NotALevel { word: "all".to_owned() });
    }
}

//! core: mosquitto's `acl_file`, as mosquitto 2.0 understands it (`mosquitto.conf(5)`).
//!
//! Lines of one user are asked before patterns, and of each of the two the denying lines before the others; then the first
//! line that takes the topic and allows the action decides. `topic` lines before the first `user` are for clients without
//! user name only, `pattern` lines for everybody.
//!
//! One difference, to the safe side: a user name or client id with `/` is not put into `%u` and `%c`.

use std::collections::HashMap;
use std::sync::Arc;

use super::fault::Fault;
use super::settings::{AclAction, AclRule, ClientMatch, TopicPattern, UserMatch};

/// Lines that say the same of the same user: those that deny, and the others.
#[derive(Default)]
struct Lines {
    deny: Vec<AclRule>,
    allow: Vec<AclRule>,
}

impl Lines {
    fn push(&mut self, rule: AclRule) {
        if rule.allow { &mut self.allow } else { &mut self.deny }.push(rule);
    }

    fn into_rules(self) -> impl Iterator<Item = AclRule> {
        self.deny.into_iter().chain(self.allow)
    }
}

/// Reads the text of an `acl_file` into rules of which the first one decides. An empty file allows nothing.
///
/// # Errors
/// Every line that mosquitto would refuse, and those it would misread.
pub fn parse_acl_file(text: &str) -> Result<Vec<AclRule>, Vec<Fault>> {
    let (mut users, mut faults) = (Vec::<Lines>::new(), Vec::new());
    let mut places: HashMap<Option<Arc<str>>, usize> = HashMap::new();
    let mut patterns = Lines::default();
    let mut user: Option<Arc<str>> = None;
    for (index, line) in text.lines().enumerate() {
        match read(line) {
            Ok(Line::Nothing) => {}
            Ok(Line::User(name)) => user = Some(name.into()),
            Ok(Line::Topic(allow, action, topic)) => {
                let place = *places.entry(user.clone()).or_insert(users.len());
                if place == users.len() {
                    users.push(Lines::default());
                }
                if let Some(lines) = users.get_mut(place) {
                    let whom = user.clone().map_or(UserMatch::Anonymous, UserMatch::Is);
                    lines.push(rule(allow, action, whom, vec![topic]));
                }
            }
            Ok(Line::Pattern(allow, action, topic)) => {
                patterns.push(rule(allow, action, UserMatch::Anybody, vec![topic]));
            }
            Err((message, remedy)) => faults.push(Fault { line: index + 1, message, remedy }),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let has_patterns = !patterns.deny.is_empty() || !patterns.allow.is_empty();
    let unsafe_names = has_patterns.then(|| {
        let none = |user| rule(false, AclAction::Both, user, Vec::new());
        let client = AclRule { client: ClientMatch::WithWildcard, ..none(UserMatch::Anybody) };
        [none(UserMatch::WithWildcard), client]
    });
    let users = users.into_iter().flat_map(Lines::into_rules);
    Ok(users.chain(unsafe_names.into_iter().flatten()).chain(patterns.into_rules()).collect())
}

fn rule(allow: bool, action: AclAction, user: UserMatch, topics: Vec<TopicPattern>) -> AclRule {
    AclRule { allow, action, user, client: ClientMatch::Any, network: None, topics }
}

enum Line<'t> {
    Nothing,
    User(&'t str),
    Topic(bool, AclAction, TopicPattern),
    Pattern(bool, AclAction, TopicPattern),
}

fn read(line: &str) -> Result<Line<'_>, (String, &'static str)> {
    const TOPIC: &str = "write `topic read sensors/#`, with `read`, `write`, `readwrite` or `deny`";
    const KEYWORD: &str = "a line begins with `user`, `topic`, `pattern` or `#`";
    // Mosquitto passes over spaces before the first word, though not over tabs.
    let line = line.trim_end().trim_start_matches(' ');
    if line.is_empty() || line.starts_with('#') {
        return Ok(Line::Nothing);
    }
    let (keyword, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim_start();
    match keyword {
        "user" if rest.is_empty() => Err(("`user` without a name".to_owned(), "write `user NAME`")),
        "user" => Ok(Line::User(rest)),
        "topic" | "pattern" => {
            let (access, topic) = match rest.split_once(' ') {
                None => ("readwrite", rest),
                Some((access, topic)) => (access, topic.trim_start()),
            };
            let (allow, action) = match access {
                "read" => (true, AclAction::Subscribe),
                "write" => (true, AclAction::Publish),
                "readwrite" => (true, AclAction::Both),
                "deny" => (false, AclAction::Both),
                other => return Err((format!("`{other}` is no kind of access"), TOPIC)),
            };
            let pattern = if keyword == "topic" {
                TopicPattern::literal(topic)
            } else {
                TopicPattern::new(topic)
            };
            let pattern = pattern.map_err(|error| (error.to_string(), TOPIC))?;
            Ok(if keyword == "topic" {
                Line::Topic(allow, action, pattern)
            } else {
                Line::Pattern(allow, action, pattern)
            })
        }
        other => {
            let shown: String = other.chars().take(40).collect();
            Err((format!("`{shown}` is not known here"), KEYWORD))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Acl, Principal};

    const FILE: &str = "# rules\n\
        topic read public/#\n\
        \n\
        user ann\n\
        topic readwrite house/#\n\
        topic deny house/secret\n\
        topic own\n\
        user bob smith\n\
        topic write in/a b\n\
        user ann\n\
        topic read late\n\
        pattern write sensors/%c/%u\n\
        pattern deny house/key\n";

    fn acl() -> Acl {
        Acl::new(parse_acl_file(FILE).expect("a file"))
    }

    fn principal(user: Option<&str>, client: &str) -> Principal {
        Principal { user: user.map(Into::into), client_id: client.into(), address: None }
    }

    #[test]
    fn spaces_before_a_line_are_passed_over_and_tabs_are_not_as_mosquitto_has_it() {
        let rules = parse_acl_file("  user ann\n  topic read a/#\n").expect("as without");
        assert_eq!(rules, parse_acl_file("user ann\ntopic read a/#\n").expect("rules"));
        assert!(parse_acl_file("\ttopic read a/#\n").is_err());
    }

    #[test]
    fn lines_are_for_their_user_and_patterns_for_everybody() {
        let (acl, nobody, ann) = (acl(), principal(None, "c"), principal(Some("ann"), "c"));
        assert!(acl.allows_delivery(&nobody, "public/x"));
        assert!(!acl.allows_publish(&nobody, "public/x"));
        assert!(!acl.allows_delivery(&ann, "public/x"), "those are for clients without a name");
        assert!(acl.allows_publish(&ann, "own") && acl.allows_delivery(&ann, "own"));
        assert!(acl.allows_delivery(&ann, "late"));
        assert!(acl.allows_publish(&ann, "sensors/c/ann"));
        assert!(!acl.allows_publish(&nobody, "sensors/c/"));
        assert!(acl.allows_publish(&principal(Some("bob smith"), "c"), "in/a b"));
    }

    #[test]
    fn denying_lines_go_first_among_those_of_a_user_and_those_go_before_patterns() {
        let (acl, ann) = (acl(), principal(Some("ann"), "c"));
        assert!(acl.allows_publish(&ann, "house/door"));
        assert!(!acl.allows_publish(&ann, "house/secret"));
        assert!(acl.allows_publish(&ann, "house/key"));
    }

    #[test]
    fn no_pattern_decides_about_names_with_wildcards() {
        let acl = Acl::new(parse_acl_file("pattern read public/#\n").expect("a file"));
        assert!(acl.allows_delivery(&principal(None, "c"), "public/x"));
        assert!(!acl.allows_delivery(&principal(None, "c+"), "public/x"));
        assert!(!acl.allows_delivery(&principal(Some("#"), "c"), "public/x"));
    }

    #[test]
    fn an_empty_file_allows_nothing() {
        let acl = Acl::new(parse_acl_file("\n# nothing\n").expect("a file"));
        assert!(!acl.allows_publish(&principal(None, "c"), "a"));
        assert!(!acl.is_open());
    }

    #[test]
    fn every_line_with_a_fault_is_named() {
        let text = "user\ntopic rw a\ntopic read a/#/b\nfoo bar\ntopic\ntopic read $share/g/a\n";
        let faults = parse_acl_file(text).expect_err("faults");
        let lines: Vec<usize> = faults.iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 5, 6]);
        assert_eq!(
            faults[1].to_string(),
            "2: `rw` is no kind of access; write `topic read sensors/#`, with `read`, `write`, `readwrite` or `deny`"
        );
    }
}

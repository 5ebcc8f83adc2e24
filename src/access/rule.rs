//! core: what a rule says to one client: whether it is about it, and its topics with the names put in.

use super::principal::Principal;
use super::settings::{AclRule, ClientMatch, TopicPattern, UserMatch};
use crate::model::TopicFilter;

/// A rule with nothing left open: what it decides, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Permission {
    pub(super) allow: bool,
    pub(super) publish: bool,
    pub(super) subscribe: bool,
    pub(super) topics: Topics,
    /// The place of the rule among all, from 1.
    pub(super) place: usize,
}

/// Which topics a permission is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Topics {
    /// Every topic, also those that begin with `$`.
    All,
    /// Those that a filter takes.
    Of(TopicFilter),
}

impl Topics {
    pub(super) fn take(&self, topic: &str) -> bool {
        match self {
            Self::All => true,
            Self::Of(filter) => filter.takes(topic),
        }
    }
}

/// What `rule`, which stands at `place`, says to `principal`, one permission a topic filter; nothing if it is not about it.
pub(super) fn permissions<'a>(
    rule: &'a AclRule,
    place: usize,
    principal: &'a Principal,
) -> impl Iterator<Item = Permission> + 'a {
    let permission = move |topics| Permission {
        allow: rule.allow,
        publish: rule.action.includes_publish(),
        subscribe: rule.action.includes_subscribe(),
        topics,
        place,
    };
    let is_about = is_about(rule, principal);
    let every = (is_about && rule.topics.is_empty()).then_some(Topics::All);
    let patterns = rule.topics.iter().filter(move |_| is_about);
    let some = patterns.filter_map(|pattern| expand(pattern, principal, rule.allow));
    every.into_iter().chain(some).map(permission)
}

fn is_about(rule: &AclRule, principal: &Principal) -> bool {
    let has_wildcard = |name: &str| name.contains(['+', '#']);
    let user = principal.user.as_deref();
    let user = match &rule.user {
        UserMatch::Anybody => true,
        UserMatch::Named => user.is_some(),
        UserMatch::Anonymous => user.is_none(),
        UserMatch::Is(name) => user == Some(name),
        UserMatch::WithWildcard => user.is_some_and(has_wildcard),
    };
    let id = &principal.client_id;
    let client = match &rule.client {
        ClientMatch::Any => true,
        ClientMatch::Is(name) => id == name,
        ClientMatch::BeginsWith(prefix) => id.starts_with(&**prefix),
        ClientMatch::WithWildcard => has_wildcard(id),
    };
    let network = rule
        .network
        .is_none_or(|network| principal.address.is_some_and(|address| network.contains(address)));
    user && client && network
}

/// Puts the names of a client into a pattern. `None` if the rule is not about it: a pattern with `%u` is not about a client
/// without user name.
///
/// A name with `+`, `#` or `/` in it could make the filter take the topics of others, so it is never put in: a rule that
/// allows is then not about this client, and one that denies is about everything it could have meant, from that level on.
fn expand(pattern: &TopicPattern, principal: &Principal, allow: bool) -> Option<Topics> {
    let text = pattern.as_str();
    if !pattern.expands() {
        return TopicFilter::new(text).ok().map(Topics::Of);
    }
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let (before, behind) = rest.split_at(at);
        whole.push_str(before);
        let name = match behind.get(..2) {
            Some("%c") => &principal.client_id,
            Some("%u") => principal.user.as_ref()?,
            _ => {
                whole.push('%');
                rest = &behind[1..];
                continue;
            }
        };
        if !may_be_put_in(name, whole.is_empty()) {
            return (!allow).then(|| from_level_on(&whole));
        }
        whole.push_str(name);
        rest = &behind[2..];
    }
    whole.push_str(rest);
    match TopicFilter::new(&whole) {
        Ok(filter) => Some(Topics::Of(filter)),
        // Longer than a topic may be.
        Err(_) => (!allow).then_some(Topics::All),
    }
}

fn may_be_put_in(name: &str, at_the_beginning: bool) -> bool {
    let hides = at_the_beginning && name.starts_with('$');
    !name.is_empty() && !hides && !name.contains(['+', '#', '/', '\0'])
}

/// Everything below the last whole level of `beginning`.
fn from_level_on(beginning: &str) -> Topics {
    let levels = beginning.rsplit_once('/').map(|(levels, _)| format!("{levels}/#"));
    levels.and_then(|text| TopicFilter::new(&text).ok()).map_or(Topics::All, Topics::Of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(pattern: &str, user: Option<&str>, client: &str, allow: bool) -> Option<String> {
        let principal =
            Principal { user: user.map(Into::into), client_id: client.into(), address: None };
        let pattern = TopicPattern::new(pattern).expect("a pattern");
        expand(&pattern, &principal, allow).map(|topics| match topics {
            Topics::All => "all".to_owned(),
            Topics::Of(filter) => filter.as_str().to_owned(),
        })
    }

    #[test]
    fn names_are_put_in_wherever_they_stand() {
        let text = expanded("%u/x-%c/%d/%c%u/#", Some("ann"), "c1", true);
        assert_eq!(text.as_deref(), Some("ann/x-c1/%d/c1ann/#"));
        assert_eq!(expanded("100%", None, "c1", true).as_deref(), Some("100%"));
        // What a name brings in is not read as a placeholder again.
        assert_eq!(expanded("a/%u", Some("%c"), "c1", true).as_deref(), Some("a/%c"));
    }

    #[test]
    fn a_name_that_could_widen_the_filter_is_never_put_in() {
        for name in ["+", "#", "a/b", "a+", "/", ""] {
            assert_eq!(expanded("s/%c/#", None, name, true), None, "{name}");
            assert_eq!(expanded("s/%u/#", Some(name), "c", true), None, "{name}");
        }
        assert_eq!(expanded("%c/#", None, "$SYS", true), None);
        assert_eq!(expanded("s/%c", None, "$SYS", true).as_deref(), Some("s/$SYS"));
        assert_eq!(expanded("s/%u", None, "c", true), None);
        assert_eq!(expanded("s/%c/%c", None, &"x".repeat(40_000), true), None);
    }

    #[test]
    fn a_rule_that_denies_is_about_all_that_such_a_name_could_have_meant() {
        assert_eq!(expanded("s/t-%c/x", None, "+", false).as_deref(), Some("s/#"));
        assert_eq!(expanded("%c/x", None, "#", false).as_deref(), Some("all"));
        assert_eq!(expanded("s/%u", None, "c", false), None);
    }
}

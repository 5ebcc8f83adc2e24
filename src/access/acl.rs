//! core: the rules about topics: what a client may publish, what it may subscribe to, what is delivered to it.

use super::filter::{covers, intersection};
use super::principal::Principal;
use super::rule::{Permission, Topics, permissions};
use super::settings::AclRule;
use crate::model::TopicFilter;

/// The rules, in the order in which they decide: the first one that is about the client, the action and the topic. What
/// none of them takes is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acl {
    /// `None` allows everything.
    rules: Option<Vec<AclRule>>,
}

/// What a subscription gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// Nothing: no topic it takes may be delivered.
    Denied,
    /// It is wider than the rules: each delivery is asked about.
    Filtered,
    /// Everything it takes.
    All,
}

/// What the rules say to one client, with its names put in. Cheap to ask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Permit {
    /// `None` allows everything.
    permissions: Option<Vec<Permission>>,
}

impl Acl {
    /// No rules at all: everything is allowed.
    #[must_use]
    pub fn open() -> Self {
        Self { rules: None }
    }

    /// These rules, and what none of them takes is denied: an empty list denies everything.
    #[must_use]
    pub fn new(rules: Vec<AclRule>) -> Self {
        Self { rules: Some(rules) }
    }

    /// Whether there are no rules at all.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.rules.is_none()
    }

    /// How many rules there are; `None` if everything is allowed.
    #[must_use]
    pub fn count(&self) -> Option<usize> {
        self.rules.as_ref().map(Vec::len)
    }

    /// What the rules say to `principal`, for whoever asks more than once.
    #[must_use]
    pub fn permit(&self, principal: &Principal) -> Permit {
        let permissions = |rules: &Vec<AclRule>| {
            let placed = (1..).zip(rules);
            placed.flat_map(|(place, rule)| permissions(rule, place, principal)).collect()
        };
        Permit { permissions: self.rules.as_ref().map(permissions) }
    }

    /// Whether `principal` may publish to `topic`, as a message or as a will.
    #[must_use]
    pub fn allows_publish(&self, principal: &Principal, topic: &str) -> bool {
        self.permit(principal).allows_publish(topic)
    }

    /// What a subscription of `principal` gets; the filter may be shared (`$share/NAME/FILTER`).
    #[must_use]
    pub fn grants(&self, principal: &Principal, filter: &TopicFilter) -> Grant {
        self.permit(principal).grants(filter)
    }

    /// Whether a message published to `topic` may be delivered to `principal`.
    #[must_use]
    pub fn allows_delivery(&self, principal: &Principal, topic: &str) -> bool {
        self.permit(principal).allows_delivery(topic)
    }
}

impl Permit {
    /// Everything is allowed.
    #[must_use]
    pub fn open() -> Self {
        Self::default()
    }

    /// Whether nothing need be asked.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.permissions.is_none()
    }

    /// As [`Acl::allows_publish`].
    #[must_use]
    pub fn allows_publish(&self, topic: &str) -> bool {
        self.decide(topic, |permission| permission.publish)
    }

    /// As [`Acl::allows_delivery`].
    #[must_use]
    pub fn allows_delivery(&self, topic: &str) -> bool {
        self.decide(topic, |permission| permission.subscribe)
    }

    fn decide(&self, topic: &str, is_about: impl Fn(&Permission) -> bool) -> bool {
        self.is_open() || self.first(topic, is_about).is_some_and(|first| first.allow)
    }

    fn first(&self, topic: &str, is_about: impl Fn(&Permission) -> bool) -> Option<&Permission> {
        let mut about = self.permissions.iter().flatten().filter(|permission| is_about(permission));
        about.find(|permission| permission.topics.take(topic))
    }

    /// The place, from 1, of the rule that decides whether `topic` may be published to; `None` if none does.
    #[must_use]
    pub fn rule_about_publish(&self, topic: &str) -> Option<usize> {
        self.first(topic, |permission| permission.publish).map(|first| first.place)
    }

    /// The place, from 1, of the rule that decides whether `topic` may be delivered; `None` if none does.
    #[must_use]
    pub fn rule_about_delivery(&self, topic: &str) -> Option<usize> {
        self.first(topic, |permission| permission.subscribe).map(|first| first.place)
    }

    /// The place, from 1, of the first rule that denies all that `filter` takes; `None` if none does.
    #[must_use]
    pub fn rule_against_subscription(&self, filter: &TopicFilter) -> Option<usize> {
        let filter = unshared(filter)?;
        let denies = |permission: &&Permission| {
            let is_whole = match &permission.topics {
                Topics::All => true,
                Topics::Of(topics) => covers(topics, &filter),
            };
            permission.subscribe && !permission.allow && is_whole
        };
        self.permissions.iter().flatten().find(denies).map(|permission| permission.place)
    }

    /// As [`Acl::grants`]. A subscription of which nothing is left by several rules together may be
    /// [`Grant::Filtered`]; then no delivery passes.
    #[must_use]
    pub fn grants(&self, filter: &TopicFilter) -> Grant {
        let Some(permissions) = &self.permissions else { return Grant::All };
        let Some(filter) = unshared(filter) else { return Grant::Denied };
        let mut denied = Vec::new();
        let mut grant = Grant::Denied;
        for permission in permissions.iter().filter(|permission| permission.subscribe) {
            let (common, is_whole) = match &permission.topics {
                Topics::All => (filter.clone(), true),
                Topics::Of(topics) => match intersection(topics, &filter) {
                    Some(common) => (common, covers(topics, &filter)),
                    None => continue,
                },
            };
            match (permission.allow, is_whole) {
                (true, true) if denied.is_empty() => return Grant::All,
                (true, _) => {
                    if !denied.iter().any(|denied| covers(denied, &common)) {
                        grant = Grant::Filtered;
                    }
                }
                (false, true) => return grant,
                (false, false) => denied.push(common),
            }
        }
        grant
    }
}

/// The filter inside a shared subscription (4.8.2), or the filter itself; `None` if there is nothing inside.
fn unshared(filter: &TopicFilter) -> Option<TopicFilter> {
    match filter.as_str().strip_prefix("$share/") {
        None => Some(filter.clone()),
        Some(shared) => TopicFilter::new(shared.split_once('/')?.1).ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::access::{AclAction, ClientMatch, TopicPattern, UserMatch};
    use crate::model::TopicName;

    fn rule(allow: bool, action: AclAction, topics: &[&str]) -> AclRule {
        AclRule {
            allow,
            action,
            user: UserMatch::Anybody,
            client: ClientMatch::Any,
            network: None,
            topics: topics.iter().map(|t| TopicPattern::new(t).expect("a pattern")).collect(),
        }
    }

    fn allow(topic: &str) -> AclRule {
        rule(true, AclAction::Both, &[topic])
    }

    fn deny(topic: &str) -> AclRule {
        rule(false, AclAction::Both, &[topic])
    }

    fn client(id: &str) -> Principal {
        Principal { user: None, client_id: id.into(), address: None }
    }

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::new(text).expect("a filter")
    }

    #[test]
    fn without_rules_everything_is_allowed_and_with_none_in_the_list_nothing() {
        let (open, closed) = (Acl::open(), Acl::new(Vec::new()));
        assert!(open.allows_publish(&client("c"), "a") && open.allows_delivery(&client("c"), "$a"));
        assert_eq!(open.grants(&client("c"), &filter("#")), Grant::All);
        assert!(!closed.allows_publish(&client("c"), "a"));
        assert!(!closed.allows_delivery(&client("c"), "a"));
        assert_eq!(closed.grants(&client("c"), &filter("#")), Grant::Denied);
    }

    #[test]
    fn the_first_rule_that_is_about_it_decides() {
        let acl = Acl::new(vec![deny("a/secret/#"), allow("a/#"), deny("a/x"), allow("b")]);
        let may = |topic| acl.allows_publish(&client("c"), topic);
        assert!(may("a") && may("a/x") && may("b"));
        assert!(!may("a/secret") && !may("a/secret/x") && !may("c"));
    }

    #[test]
    fn publishing_and_subscribing_are_two_things() {
        let acl = Acl::new(vec![
            rule(true, AclAction::Publish, &["up/%c"]),
            rule(true, AclAction::Subscribe, &["down/%c", "all"]),
        ]);
        let c = client("c7");
        assert!(acl.allows_publish(&c, "up/c7") && !acl.allows_publish(&c, "down/c7"));
        assert!(acl.allows_delivery(&c, "down/c7") && !acl.allows_delivery(&c, "up/c7"));
        assert!(acl.allows_delivery(&c, "all") && !acl.allows_delivery(&client("d"), "down/c7"));
    }

    #[test]
    fn a_rule_is_about_its_users_clients_and_networks_only() {
        let whom = |user, client, network: Option<&str>| AclRule {
            user,
            client,
            network: network.map(|text| text.parse().expect("a network")),
            ..allow("t")
        };
        let ann = Principal {
            user: Some("ann".into()),
            client_id: "pump-1".into(),
            address: Some([192, 0, 2, 7].into()),
        };
        let (any, all) = (UserMatch::Anybody, ClientMatch::Any);
        let about: [(AclRule, bool); 11] = [
            (whom(any.clone(), all.clone(), None), true),
            (whom(UserMatch::Is("ann".into()), all.clone(), None), true),
            (whom(UserMatch::Is("bob".into()), all.clone(), None), false),
            (whom(UserMatch::Named, all.clone(), None), true),
            (whom(UserMatch::Anonymous, all.clone(), None), false),
            (whom(any.clone(), ClientMatch::Is("pump-1".into()), None), true),
            (whom(any.clone(), ClientMatch::Is("pump".into()), None), false),
            (whom(any.clone(), ClientMatch::BeginsWith("pump-".into()), None), true),
            (whom(any.clone(), ClientMatch::BeginsWith("fan-".into()), None), false),
            (whom(any.clone(), all.clone(), Some("192.0.2.0/24")), true),
            (whom(any, all, Some("10.0.0.0/8")), false),
        ];
        for (rule, expected) in about {
            let acl = Acl::new(vec![rule.clone()]);
            assert_eq!(acl.allows_publish(&ann, "t"), expected, "{rule:?}");
        }
        let local = Principal { address: None, ..ann };
        let acl = Acl::new(vec![whom(UserMatch::Anybody, ClientMatch::Any, Some("0.0.0.0/0"))]);
        assert!(!acl.allows_publish(&local, "t"), "a Unix socket is in no network");
    }

    #[test]
    fn a_subscription_is_granted_denied_or_filtered() {
        let acl = Acl::new(vec![deny("a/secret/#"), allow("a/#"), allow("b/+"), allow("$SYS/#")]);
        let grant = |text| acl.grants(&client("c"), &filter(text));
        assert_eq!(grant("b/x"), Grant::All);
        assert_eq!(grant("b/+"), Grant::All);
        assert_eq!(grant("$SYS/broker/#"), Grant::All);
        assert_eq!(grant("a/x"), Grant::All);
        assert_eq!(grant("a/#"), Grant::Filtered);
        assert_eq!(grant("#"), Grant::Filtered);
        assert_eq!(grant("b/#"), Grant::Filtered);
        assert_eq!(grant("a/secret/#"), Grant::Denied);
        assert_eq!(grant("a/secret/x"), Grant::Denied);
        assert_eq!(grant("c/#"), Grant::Denied);
        assert_eq!(grant("$SYX/#"), Grant::Denied);
    }

    #[test]
    fn a_shared_subscription_is_judged_by_what_is_inside() {
        let acl = Acl::new(vec![deny("secret/#"), allow("#")]);
        let grant = |text| acl.grants(&client("c"), &filter(text));
        assert_eq!(grant("$share/g/secret/x"), Grant::Denied);
        assert_eq!(grant("$share/g/public"), Grant::All);
        assert_eq!(grant("$share/g/#"), Grant::Filtered);
        assert_eq!(grant("$share/g"), Grant::Denied);
        // `#` is not about topics that begin with `$`.
        assert_eq!(grant("$SYS/#"), Grant::Denied);
        assert_eq!(grant("$share/g/$SYS/#"), Grant::Denied);
    }

    fn some_rules() -> impl Strategy<Value = Vec<AclRule>> {
        let topic = "([ab$+]?(/[ab+]?){0,2}(/#)?)|#";
        let rule = (any::<bool>(), topic).prop_filter_map("a pattern", |(allow, text)| {
            let topics = vec![TopicPattern::new(&text).ok()?];
            Some(AclRule { topics, ..rule(allow, AclAction::Subscribe, &[]) })
        });
        prop::collection::vec(rule, 0..5)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn a_grant_says_what_each_delivery_would(
            rules in some_rules(),
            wanted in "([ab$+]?(/[ab+]?){0,2}(/#)?)|#",
        ) {
            prop_assume!(!wanted.is_empty());
            let (permit, wanted) = (Acl::new(rules).permit(&client("c")), filter(&wanted));
            let mut texts: Vec<String> = ["a", "b", "", "z", "$", "$z"].map(String::from).to_vec();
            let mut last = texts.clone();
            for _ in 0..3 {
                let longer = |text: &String| ["a", "b", "", "z"].map(|level| format!("{text}/{level}"));
                last = last.iter().flat_map(longer).collect();
                texts.extend(last.clone());
            }
            let topics = texts.iter().filter_map(|text| TopicName::new(text).ok());
            let taken: Vec<TopicName> = topics.filter(|topic| wanted.matches(topic)).collect();
            let allowed = taken.iter().filter(|t| permit.allows_delivery(t.as_str())).count();
            match permit.grants(&wanted) {
                Grant::All => prop_assert_eq!(allowed, taken.len()),
                Grant::Denied => prop_assert_eq!(allowed, 0),
                Grant::Filtered => {}
            }
        }
    }
}

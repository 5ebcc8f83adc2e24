//! core: what goes up and what is taken from there, as written.

use std::rc::Rc;

use super::fields::{Field, Fields, Later};
use super::notes::{At, Given, Notes, Spot};
use crate::model::{QoS, RenameError, TopicFilter, TopicName, TopicRename};
use crate::uplink::{AcceptRule, ForwardRule};

const FORWARD_EXAMPLE: &str = "write a list: `- { filter: \"pump-house/#\", qos: 1 }`";
const ACCEPT_EXAMPLE: &str = "write a list: `- { filter: \"pump-house/+/+/set\", qos: 1 }`";
const BOTH_EXAMPLE: &str =
    "write a list: `- { filter: \"#\", prefix: { local: \"lan/\", remote: \"sites/x/\" } }`";
const PREFIX_EXAMPLE: &str = "write `prefix: { local: \"lan/\", remote: \"sites/x/\" }`";
const PLACEHOLDERS: &str = "`{rest}` stands for what the wildcards took, `{1}` and `{2}` for the first and second `+`, \
                            `{#}` for `#`, `{topic}` for all of it";
const LATER: &[Later] = &[
    ("durable", "remove it: everything that goes up is durable"),
    ("format", "remove it: values are published as JSON"),
];
const INSTEAD: &[Later] = &[("topic", "filter"), ("from", "filter"), ("pattern", "filter")];

/// Which way a rule of a list goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// From here to the upstream.
    Up,
    /// From the upstream to here.
    Down,
}

impl Way {
    fn example(self) -> &'static str {
        match self {
            Self::Up => FORWARD_EXAMPLE,
            Self::Down => ACCEPT_EXAMPLE,
        }
    }

    /// Where the topic gets its other name.
    fn there(self) -> &'static str {
        match self {
            Self::Up => "upstream",
            Self::Down => "here",
        }
    }
}

/// A rule of one direction.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    filter: TopicFilter,
    spot: Spot,
    qos: Given<QoS>,
    to: Option<TopicRename>,
    retain: bool,
}

/// A rule of `both`: one of each direction.
#[derive(Debug, Clone)]
pub(super) struct Both {
    up: Rule,
    down: Rule,
}

impl Both {
    pub(super) fn up(&self) -> &Rule {
        &self.up
    }

    pub(super) fn down(&self) -> &Rule {
        &self.down
    }
}

impl Rule {
    pub(super) fn to_forward(&self, qos: QoS) -> ForwardRule {
        let (filter, to) = (self.filter.clone(), self.to.clone());
        ForwardRule { filter, qos: self.qos.or(qos), to, retain: self.retain }
    }

    pub(super) fn to_accept(&self, qos: QoS) -> AcceptRule {
        let (filter, to) = (self.filter.clone(), self.to.clone());
        AcceptRule { filter, qos: self.qos.or(qos), to, retain: self.retain }
    }
}

/// What stands before a topic on either side.
#[derive(Debug, Clone)]
struct Prefix {
    local: Rc<str>,
    remote: Rc<str>,
    spot: Spot,
}

/// Reads a QoS, 0 to 2.
pub(super) fn qos(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<QoS>> {
    let help = "0 is at most once, 1 at least once, 2 exactly once";
    let level = field.integer::<u8>(0..=2, help, notes)?;
    Some(At { value: QoS::try_from(level.value).ok()?, spot: level.spot })
}

/// Reads `forward`.
pub(super) fn forward(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Vec<Rule>>> {
    let spot = field.key_spot.clone();
    let items = field.list(FORWARD_EXAMPLE, notes)?;
    if items.is_empty() {
        let remedy = "remove `forward`, and everything of the gateway goes up";
        notes.warning(&spot, "this list is empty: nothing goes up here", remedy);
    }
    Some(At { value: rules(items, Way::Up, notes), spot })
}

/// Reads `accept`.
pub(super) fn accept(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Vec<Rule>>> {
    let spot = field.key_spot.clone();
    let items = field.list(ACCEPT_EXAMPLE, notes)?;
    Some(At { value: rules(items, Way::Down, notes), spot })
}

/// Reads `both`.
pub(super) fn both(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Vec<Both>>> {
    let spot = field.key_spot.clone();
    let mut rules = Vec::new();
    for mut fields in field.list(BOTH_EXAMPLE, notes)? {
        let pattern = pattern(&mut fields, BOTH_EXAMPLE, notes);
        let (qos, retain) = common(&mut fields, notes);
        let prefix = fields.given("prefix", notes, prefix);
        let instead = [("to", "prefix")];
        fields.finish(LATER, &[INSTEAD, &instead].concat(), notes);
        let (Some(pattern), false) = (pattern, matches!(prefix, Given::Wrong)) else { continue };
        let prefix = prefix.written();
        let up = moved(&pattern, prefix, Way::Up, notes);
        let down = moved(&pattern, prefix, Way::Down, notes);
        let (Some((up, up_to)), Some((down, down_to))) = (up, down) else { continue };
        check_share(&up, &pattern.spot, notes);
        let rule =
            |filter, to| Rule { filter, to, spot: pattern.spot.clone(), qos: qos.clone(), retain };
        rules.push(Both { up: rule(up, up_to), down: rule(down, down_to) });
    }
    Some(At { value: rules, spot })
}

fn rules(items: Vec<Fields<'_>>, way: Way, notes: &mut Notes<'_>) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for mut fields in items {
        let pattern = pattern(&mut fields, way.example(), notes);
        let (qos, retain) = common(&mut fields, notes);
        let to = fields.given("to", notes, |field, notes| field.text("write a topic", notes));
        let prefix = fields.given("prefix", notes, prefix);
        fields.finish(LATER, INSTEAD, notes);
        let (Some(pattern), false) = (pattern, matches!(prefix, Given::Wrong)) else { continue };
        if let (Some(to), Some(_)) = (to.written(), prefix.written()) {
            let message = "`to` and `prefix` both say what the topic is called there";
            notes.error(&to.spot, message, "remove one of the two");
            continue;
        }
        let moved = match to.written() {
            Some(to) => filter(&pattern, &pattern.value, notes).map(|filter| {
                let renamed = renamed(to, &filter, way, notes);
                (filter, renamed)
            }),
            None => moved(&pattern, prefix.written(), way, notes),
        };
        let Some((filter, to)) = moved else { continue };
        if way == Way::Up {
            check_share(&filter, &pattern.spot, notes);
        }
        if rules.iter().any(|rule| rule.filter == filter) {
            let message = "an earlier rule has the same filter, and the first that matches wins";
            notes.warning(&pattern.spot, message, "remove one of the two");
        }
        rules.push(Rule { filter, spot: pattern.spot, qos, to, retain });
    }
    rules
}

/// Complains of rules whose filter an earlier list has already.
pub(super) fn warn_of_repeats<'a>(
    earlier: &[Rule],
    later: impl Iterator<Item = &'a Rule>,
    notes: &mut Notes<'_>,
) {
    for rule in later {
        if earlier.iter().any(|first| first.filter == rule.filter) {
            let message = "`forward` or `accept` has the same filter, and goes before `both`";
            notes.warning(&rule.spot, message, "remove one of the two");
        }
    }
}

/// `qos` and `retain`.
fn common(fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> (Given<QoS>, bool) {
    let qos = fields.given("qos", notes, qos);
    let retain = fields.given("retain", notes, |field, notes| {
        field.choice(&[("keep", true), ("drop", false)], &[], notes)
    });
    (qos, retain.or(true))
}

fn pattern(fields: &mut Fields<'_>, example: &str, notes: &mut Notes<'_>) -> Option<At<Rc<str>>> {
    let head = fields.head();
    let Some(field) = fields.take("filter") else {
        if !fields.has_any(INSTEAD) {
            notes.error(&head, "this rule has no `filter`", example);
        }
        return None;
    };
    field.text(example, notes)
}

fn prefix(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Prefix>> {
    let mut fields = field.fields(PREFIX_EXAMPLE, notes)?;
    let side = |field: &Field<'_>, notes: &mut Notes<'_>| {
        let text = field.text("write what topics begin with, such as `sites/x/`", notes)?;
        if let Err(error) = TopicName::new(&text.value) {
            notes.error(&text.spot, error, "a prefix is the beginning of a topic: `sites/x/`");
            return None;
        }
        if !text.value.ends_with('/') {
            let message = "this prefix does not end with `/`: what follows is added as it is";
            notes.warning(&text.spot, message, format!("write `{}/`", text.value));
        }
        Some(text)
    };
    let local = fields.given("local", notes, side);
    let remote = fields.given("remote", notes, side);
    fields.finish(&[], &[("here", "local"), ("upstream", "remote"), ("there", "remote")], notes);
    if matches!(local, Given::Wrong) || matches!(remote, Given::Wrong) {
        return None;
    }
    let spot = field.spot.clone();
    if local.is_absent() && remote.is_absent() {
        notes.error(&spot, "this prefix has neither `local` nor `remote`", PREFIX_EXAMPLE);
        return None;
    }
    let prefix = Prefix {
        local: local.or(Rc::from("")),
        remote: remote.or(Rc::from("")),
        spot: spot.clone(),
    };
    Some(At { value: prefix, spot })
}

/// The filter on the side a rule takes from, and how its topics are called on the other.
fn moved(
    pattern: &At<Rc<str>>,
    prefix: Option<&At<Prefix>>,
    way: Way,
    notes: &mut Notes<'_>,
) -> Option<(TopicFilter, Option<TopicRename>)> {
    let Some(At { value: prefix, .. }) = prefix else {
        let filter = filter(pattern, &pattern.value, notes)?;
        check_hidden(&filter, pattern, way, notes);
        return Some((filter, None));
    };
    let (from, to) = match way {
        Way::Up => (&prefix.local, &prefix.remote),
        Way::Down => (&prefix.remote, &prefix.local),
    };
    let filter = filter(pattern, &format!("{from}{}", pattern.value), notes)?;
    match TopicRename::prefix(from, to, &filter) {
        Ok(rename) => {
            check_result(&rename, &filter, &prefix.spot, way, notes);
            Some((filter, Some(rename)))
        }
        Err(error) => {
            notes.error(&prefix.spot, error, PREFIX_EXAMPLE);
            None
        }
    }
}

fn filter(pattern: &At<Rc<str>>, text: &str, notes: &mut Notes<'_>) -> Option<TopicFilter> {
    match TopicFilter::new(text) {
        Ok(filter) => Some(filter),
        Err(error) => {
            let remedy = "`+` stands for one level, `#` for all that follow: `a/+/c/#`";
            notes.error(&pattern.spot, error, remedy);
            None
        }
    }
}

fn renamed(
    to: &At<Rc<str>>,
    filter: &TopicFilter,
    way: Way,
    notes: &mut Notes<'_>,
) -> Option<TopicRename> {
    let taken = filter.unshared();
    let rename = match TopicRename::new(&to.value, &taken) {
        Ok(rename) => rename,
        Err(error) => {
            let remedy = match &error {
                RenameError::NoRest => "remove `{rest}`, or end the filter with `/#`".to_owned(),
                RenameError::NoHash => "remove `{#}`, or end the filter with `/#`".to_owned(),
                RenameError::NoLevel { .. } => "count the `+` of the filter from 1".to_owned(),
                RenameError::Unknown { .. } | RenameError::Topic(_) => {
                    format!("write the topic {}; {PLACEHOLDERS}", way.there())
                }
            };
            notes.error(&to.spot, error, remedy);
            return None;
        }
    };
    let has_wildcards = taken.as_str().contains(['+', '#']);
    if has_wildcards && !to.value.contains('{') {
        let message =
            format!("every topic that the filter takes becomes this one topic {}", way.there());
        notes.warning(&to.spot, message, "add `/{rest}` to keep them apart");
    }
    check_result(&rename, &taken, &to.spot, way, notes);
    Some(rename)
}

/// A name that no publication may have, or that only looks like one that was meant.
fn check_result(
    rename: &TopicRename,
    filter: &TopicFilter,
    spot: &Spot,
    way: Way,
    notes: &mut Notes<'_>,
) {
    let Ok(example) = rename.example(filter) else { return };
    if example.as_str().starts_with('$') {
        let message = format!("the topic {} would be `{example}`", way.there());
        notes.error(
            spot,
            message,
            "topics that begin with `$` are the broker's own: write another",
        );
    } else if example.levels().any(str::is_empty) && filter.levels().all(|level| !level.is_empty())
    {
        let message =
            format!("the topic {} would have an empty level, as in `{example}`", way.there());
        notes.warning(
            spot,
            message,
            "look for two slashes in a row, or one at the beginning or end",
        );
    }
}

/// Without another name `$` topics stay the broker's own.
fn check_hidden(filter: &TopicFilter, pattern: &At<Rc<str>>, way: Way, notes: &mut Notes<'_>) {
    let is_shared = filter.as_str().starts_with("$share/");
    if filter.unshared().as_str().starts_with('$') && !(is_shared && way == Way::Up) {
        let message =
            format!("topics that begin with `$` are the broker's own, also {}", way.there());
        notes.error(
            &pattern.spot,
            message,
            "add `to:` with another name, such as `upstream/{rest}`",
        );
    }
}

fn check_share(filter: &TopicFilter, spot: &Spot, notes: &mut Notes<'_>) {
    if filter.as_str().starts_with("$share/") {
        let message = "a shared subscription picks among clients, and here is only one";
        notes.error(spot, message, "remove `$share/NAME/` from the filter");
    }
}

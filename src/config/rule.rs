//! core: what goes up and what is subscribed to, as written.

use std::rc::Rc;
use std::sync::Arc;

use super::fields::{Field, Fields, Later};
use super::notes::{At, Given, Notes};
use crate::model::{QoS, TopicFilter, TopicName};
use crate::uplink::{AcceptRule, ForwardRule};

const FORWARD_EXAMPLE: &str = "write a list: `- { filter: \"pump-house/#\", qos: 1 }`";
const ACCEPT_EXAMPLE: &str = "write a list: `- { filter: \"pump-house/+/+/set\", qos: 1 }`";
const LATER: &[Later] = &[
    ("durable", "remove it: everything that goes up is durable"),
    ("format", "remove it: values are published as JSON"),
    ("retain", "remove it: a message keeps its retain flag"),
];
const INSTEAD: &[Later] = &[("topic", "filter"), ("from", "filter"), ("pattern", "filter")];

/// The place of what a filter's wildcards took.
const REST: &str = "{rest}";

/// A rule of `forward` or `accept` as written.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    filter: TopicFilter,
    qos: Given<QoS>,
    to: Given<Rc<str>>,
}

impl Rule {
    pub(super) fn to_forward(&self, qos: QoS) -> ForwardRule {
        let to = self.to.written().map(|at| Arc::from(&*at.value));
        ForwardRule { filter: self.filter.clone(), qos: self.qos.or(qos), to }
    }

    pub(super) fn to_accept(&self, qos: QoS) -> AcceptRule {
        AcceptRule { filter: self.filter.clone(), qos: self.qos.or(qos) }
    }
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
    let mut rules: Vec<Rule> = Vec::new();
    for mut fields in items {
        let filter = filter(&mut fields, FORWARD_EXAMPLE, notes);
        let qos = fields.given("qos", notes, qos);
        let to = fields.given("to", notes, |field, notes| field.text("write a topic", notes));
        fields.finish(LATER, INSTEAD, notes);
        let Some(filter) = filter else { continue };
        if filter.value.as_str().starts_with("$share/") {
            let message = "a shared subscription picks among clients, and here is only one";
            notes.error(&filter.spot, message, "remove `$share/NAME/` from the filter");
        }
        if let Some(to) = to.written() {
            check_to(to, &filter.value, notes);
        }
        if rules.iter().any(|rule| rule.filter == filter.value) {
            let message = "an earlier rule has the same filter, and the first that matches wins";
            notes.warning(&filter.spot, message, "remove one of the two");
        }
        rules.push(Rule { filter: filter.value, qos, to });
    }
    Some(At { value: rules, spot })
}

/// Reads `accept`.
pub(super) fn accept(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Vec<Rule>>> {
    let spot = field.key_spot.clone();
    let mut rules = Vec::new();
    for mut fields in field.list(ACCEPT_EXAMPLE, notes)? {
        let filter = filter(&mut fields, ACCEPT_EXAMPLE, notes);
        let qos = fields.given("qos", notes, qos);
        fields.finish(LATER, INSTEAD, notes);
        let Some(filter) = filter else { continue };
        rules.push(Rule { filter: filter.value, qos, to: Given::Absent });
    }
    Some(At { value: rules, spot })
}

fn filter(
    fields: &mut Fields<'_>,
    example: &str,
    notes: &mut Notes<'_>,
) -> Option<At<TopicFilter>> {
    let head = fields.head();
    let Some(field) = fields.take("filter") else {
        if !fields.has_any(INSTEAD) {
            notes.error(&head, "this rule has no `filter`", example);
        }
        return None;
    };
    let text = field.text(example, notes)?;
    match TopicFilter::new(&text.value) {
        Ok(value) => Some(At { value, spot: text.spot }),
        Err(error) => {
            notes.error(
                &text.spot,
                error,
                "`+` stands for one level, `#` for all that follow: `a/+/c/#`",
            );
            None
        }
    }
}

fn check_to(to: &At<Rc<str>>, filter: &TopicFilter, notes: &mut Notes<'_>) {
    let remedy = "write the topic upstream; `{rest}` in it stands for what the wildcards took";
    let plain = to.value.replace(REST, "x");
    if let Some(brace) = plain.find(['{', '}']) {
        let shown: String = plain[brace..].chars().take(20).collect();
        notes.error(&to.spot, format!("`{shown}` is no placeholder"), remedy);
    } else if let Err(error) = TopicName::new(&plain) {
        notes.error(&to.spot, error, remedy);
    } else if to.value.contains(REST) && !filter.as_str().contains(['+', '#']) {
        let message = "`{rest}` stands for what the wildcards took, and the filter has none";
        notes.error(&to.spot, message, "remove `{rest}`, or end the filter with `/#`");
    } else if !to.value.contains(REST) && filter.as_str().contains(['+', '#']) {
        let message = "every topic that the filter takes becomes this one topic upstream";
        notes.warning(&to.spot, message, "add `/{rest}` to keep them apart");
    }
}

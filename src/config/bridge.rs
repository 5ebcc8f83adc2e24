//! core: what two uplinks do together: rules by which a message would go round between us and one broker.

use super::notes::{Notes, Spot};
use crate::model::TopicFilter;
use crate::mqtt::Version;
use crate::uplink::{AcceptRule, ForwardRule, UplinkSettings};

/// Complains of two uplinks to one broker of which the second sends back what the first brings. What an uplink itself
/// brought it never sends back.
pub(super) fn check(uplinks: &[(Spot, UplinkSettings)], notes: &mut Notes<'_>) {
    for (_, bringing) in uplinks {
        for (spot, sending) in uplinks {
            if bringing.name == sending.name || !is_same_broker(bringing, sending) {
                continue;
            }
            let Some(forward) = circle(bringing, sending) else { continue };
            let message = format!(
                "what `{}` accepts goes back to the same broker by `{}` and its rule `{}`, and round again",
                bringing.name, sending.name, forward.filter
            );
            let remedy = "let `forward` of the one and `accept` of the other not overlap";
            if bringing.version == Version::V5 && sending.version == Version::V5 {
                let message = format!("{message}: it is stopped the second time it comes");
                notes.warning(spot, message, remedy);
            } else {
                let remedy = format!("{remedy}, or write `version: 5` for both");
                notes.error(spot, message, remedy);
            }
        }
    }
}

fn is_same_broker(one: &UplinkSettings, other: &UplinkSettings) -> bool {
    let mut pairs = one.servers.iter().flat_map(|a| other.servers.iter().map(move |b| (a, b)));
    pairs.any(|(a, b)| a.host.eq_ignore_ascii_case(&b.host) && a.port == b.port)
}

/// The rule that sends back what is brought under a name that is brought again.
fn circle<'a>(bringing: &UplinkSettings, sending: &'a UplinkSettings) -> Option<&'a ForwardRule> {
    let here: Vec<TopicFilter> = bringing.accept.iter().map(local).collect();
    sending.forward.iter().find(|rule| {
        let there = rule.to.as_ref().map_or(rule.filter.clone(), |to| to.image(&rule.filter));
        here.iter().any(|filter| filter.overlaps(&rule.filter))
            && bringing.accept.iter().any(|accept| accept.filter.unshared().overlaps(&there))
    })
}

/// A filter for the names here of what a rule accepts.
pub(super) fn local(rule: &AcceptRule) -> TopicFilter {
    let filter = rule.filter.unshared();
    rule.to.as_ref().map_or(filter.clone(), |to| to.image(&filter))
}

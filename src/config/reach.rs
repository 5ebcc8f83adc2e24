//! core: whether what may be written can be written by anybody.

use super::bridge::local;
use super::notes::{Notes, Spot};
use crate::model::TopicFilter;
use crate::uplink::UplinkSettings;

/// Warns of the first of `writable` (its `writable`, and where it is written to) that no uplink accepts, where there is no
/// broker for the LAN either: requests for it would vanish without an answer.
pub(super) fn check<'w>(
    writable: impl IntoIterator<Item = (&'w Spot, String)>,
    uplinks: &[(Spot, UplinkSettings)],
    notes: &mut Notes<'_>,
) {
    let accepted: Vec<TopicFilter> =
        uplinks.iter().flat_map(|(_, uplink)| uplink.accept.iter().map(local)).collect();
    let is_heard = |topic: &str| accepted.iter().any(|filter| filter.takes(topic));
    let is_out_of_reach = |topic: &str| {
        let levels: Vec<&str> = topic.split('/').collect();
        // Several points of a device are written in one message.
        let [gateway, device, ..] = levels[..] else { return false };
        !is_heard(topic) && !is_heard(&format!("{gateway}/{device}/set"))
    };
    let mut out_of_reach = writable.into_iter().filter(|(_, topic)| is_out_of_reach(topic));
    let Some((spot, topic)) = out_of_reach.next() else { return };
    let message = format!(
        "nobody can write this point: no uplink accepts `{topic}`, and there is no `broker`"
    );
    let gateway = topic.split('/').next().unwrap_or_default();
    let remedy = format!(
        "add `accept: [ {{ filter: \"{gateway}/+/+/set\" }}, {{ filter: \"{gateway}/+/set\" }} ]` to an uplink"
    );
    notes.warning(spot, message, remedy);
}

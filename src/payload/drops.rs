//! core: the words in which an upstream is told what it will not get.

use std::fmt::Write as _;

use bytes::Bytes;

use super::json::push_text;
use crate::hub::DropSummary;

/// The JSON of a summary: `uplink`, `dropped` (how many in all since the last summary), `first` and `last` (when, RFC 3339,
/// UTC), `reasons` (how many for each: `queue_full`, `disk_full`, `too_old`, `expired`, `too_large`, `purged`,
/// `thinned`, `damaged`).
#[must_use]
pub fn drops_payload(summary: &DropSummary<'_>) -> Bytes {
    let counts = summary.counts;
    let all: u64 = counts.iter().map(|count| count.count).sum();
    let first = counts.iter().map(|count| count.first).min().unwrap_or_default();
    let last = counts.iter().map(|count| count.last).max().unwrap_or_default();
    let mut json = String::with_capacity(160);
    json.push_str("{\"uplink\":");
    push_text(&mut json, summary.session);
    // Writing to a String cannot fail.
    _ = write!(json, ",\"dropped\":{all},\"first\":\"{first}\",\"last\":\"{last}\",\"reasons\":{{");
    for (index, count) in counts.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        _ = write!(json, "{comma}\"{}\":{}", count.reason.word(), count.count);
    }
    json.push_str("}}");
    Bytes::from(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::store::{DropCount, DropReason};

    #[test]
    fn a_summary_becomes_the_documented_json() {
        let at = Timestamp::from_unix_ms;
        let counts = [
            DropCount {
                reason: DropReason::QueueFull,
                count: 7,
                first: at(5_000),
                last: at(9_000),
            },
            DropCount { reason: DropReason::TooOld, count: 2, first: at(1_000), last: at(6_000) },
        ];
        let payload = drops_payload(&DropSummary { session: "cloud", counts: &counts });
        assert_eq!(
            std::str::from_utf8(&payload).expect("text"),
            "{\"uplink\":\"cloud\",\"dropped\":9,\"first\":\"1970-01-01T00:00:01.000Z\",\
             \"last\":\"1970-01-01T00:00:09.000Z\",\"reasons\":{\"queue_full\":7,\"too_old\":2}}"
        );
    }
}

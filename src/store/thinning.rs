//! core: a full queue made coarser instead of shorter: of each topic every second reading goes, from the oldest on.
//!
//! A pass goes over the queue piece by piece, as room is needed; when it is through, the next one begins at the oldest
//! again. So the readings of a long outage stand at ever greater distances, and none of its time is missing.

use std::collections::{BTreeSet, HashMap};

use super::change::StoredMessage;
use crate::model::{Body, Seq, TopicName};

/// Topics remembered from one segment to the next; whoever has more of them loses no more than every second either.
const TOPICS_MAX: usize = 100_000;

/// How far the pass under way has come.
#[derive(Debug, Default)]
pub(super) struct Thinning {
    after: Seq,
    /// Whether the next reading goes: of a topic, and of a set of points where messages of it tell of different ones.
    next_goes: HashMap<(TopicName, u32), bool>,
    /// Readings that went in this pass.
    thinned: u64,
}

impl Thinning {
    /// Up to where this pass has come.
    pub(super) fn after(&self) -> Seq {
        self.after
    }

    /// Whether this reading goes: every second of its topic, none that is on the wire, nothing that others published.
    pub(super) fn goes(&mut self, stored: &StoredMessage, keep: &BTreeSet<Seq>) -> bool {
        let points = match stored.message.body {
            Body::Foreign => return false,
            Body::Device { points, .. } => points,
            Body::Reading { .. } | Body::Worded { .. } => 0,
        };
        if keep.contains(&stored.seq) {
            return false;
        }
        if self.next_goes.len() >= TOPICS_MAX {
            self.next_goes.clear();
        }
        let of = (stored.message.topic.clone(), points);
        let next_goes = self.next_goes.entry(of).or_insert(false);
        let goes = std::mem::replace(next_goes, !*next_goes);
        self.thinned += u64::from(goes);
        goes
    }

    /// A segment is done.
    pub(super) fn pass(&mut self, last: Seq) {
        self.after = last;
    }

    /// The newest was reached; the next pass begins. `false` if this one found nothing to take out.
    pub(super) fn begin_again(&mut self) -> bool {
        let found = self.thinned > 0;
        *self = Self::default();
        found
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::model::{Message, QoS, Timestamp};

    fn stored(seq: u64, topic: &str, body: Body) -> StoredMessage {
        let message = Message {
            topic: TopicName::new(topic).expect("a topic"),
            payload: Bytes::new(),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: None,
            accepted: Timestamp::default(),
            expires: None,
            body,
        };
        StoredMessage { seq: Seq(seq), message: message.into(), targets: Arc::from([]) }
    }

    #[test]
    fn every_second_reading_of_each_topic_goes_and_nothing_else() {
        let reading = Body::Reading { unsynced_at: None };
        let keep = BTreeSet::from([Seq(5)]);
        let mut thinning = Thinning::default();
        let mut goes = |seq, topic, body| thinning.goes(&stored(seq, topic, body), &keep);
        let gone = [
            goes(1, "a", reading),
            goes(2, "b", reading),
            goes(3, "a", reading),
            goes(4, "a", Body::Foreign),
            goes(5, "b", reading),
            goes(6, "b", reading),
            goes(7, "a", reading),
            goes(8, "a", reading),
        ];
        assert_eq!(gone, [false, false, true, false, false, true, false, true]);
        assert!(thinning.begin_again());
        assert!(!thinning.begin_again(), "a pass that finds nothing says so");
    }

    #[test]
    fn no_point_of_a_device_loses_more_than_every_second_of_its_messages() {
        let mut thinning = Thinning::default();
        let mut gone = Vec::new();
        // Fast and slow points of one device in turn: every second message of the topic would be all of the slow ones.
        for seq in 1..=8 {
            let body = Body::Device { unsynced_at: None, points: 1 + (seq % 2) as u32 };
            if thinning.goes(&stored(seq, "device", body), &BTreeSet::new()) {
                gone.push(seq);
            }
        }
        assert_eq!(gone, [3, 4, 7, 8]);
    }
}

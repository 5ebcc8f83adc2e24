//! core: the appends and deletes of a batch, brought together: few segments, and each of them touched once.
//!
//! Only these two and the end of a session look at messages, so their order among the other changes does not matter.

use super::change::Target;
use super::segment::Record;
use crate::model::{Message, Seq};

/// What was gathered and is not in the database.
#[derive(Debug, Default)]
pub(super) struct Gathered<'a> {
    /// In the order of their places; `None` where one was deleted again.
    appends: Vec<(Seq, Option<Record<'a>>)>,
    deletes: Vec<(Seq, Seq)>,
}

impl<'a> Gathered<'a> {
    /// A message is to be kept.
    pub(super) fn append(&mut self, seq: Seq, message: &'a Message, targets: &'a [Target]) {
        let at = match self.appends.last() {
            Some((last, _)) if *last >= seq => self.appends.partition_point(|(at, _)| *at < seq),
            Some(_) | None => self.appends.len(),
        };
        self.appends.insert(at, (seq, Some(Record { seq, message, targets })));
    }

    /// The messages from `first` to `last` go, whether they were gathered or are in the database.
    pub(super) fn delete(&mut self, first: Seq, last: Seq) {
        let begin = self.appends.partition_point(|(seq, _)| *seq < first);
        for (_, record) in self.appends.iter_mut().skip(begin).take_while(|(seq, _)| *seq <= last) {
            *record = None;
        }
        self.deletes.push((first, last));
    }

    /// What is to be deleted, then what is to be kept; nothing is gathered afterwards.
    pub(super) fn take(&mut self) -> (Vec<(Seq, Seq)>, impl Iterator<Item = Record<'a>> + use<'a>) {
        let appends = std::mem::take(&mut self.appends);
        let deletes = merged(std::mem::take(&mut self.deletes));
        (deletes, appends.into_iter().filter_map(|(_, record)| record))
    }
}

/// The same places in as few ranges as possible, in order.
pub(super) fn merged(mut ranges: Vec<(Seq, Seq)>) -> Vec<(Seq, Seq)> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, range| {
        let touches = next.0.0 <= range.1.0.saturating_add(1);
        if touches {
            range.1 = range.1.max(next.1);
        }
        touches
    });
    ranges
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::{QoS, Timestamp, TopicName};

    #[test]
    fn what_is_deleted_in_its_own_batch_is_never_kept_and_what_comes_after_is() {
        let message = Message {
            topic: TopicName::new("a").expect("well formed"),
            payload: Bytes::new(),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: None,
            accepted: Timestamp::default(),
            expires: None,
            body: crate::model::Body::Foreign,
        };
        let mut gathered = Gathered::default();
        for seq in [10, 11, 13, 12, 14] {
            gathered.append(Seq(seq), &message, &[]);
        }
        gathered.delete(Seq(11), Seq(12));
        gathered.append(Seq(15), &message, &[]);
        gathered.delete(Seq(3), Seq(4));
        let (deletes, appends) = gathered.take();
        assert_eq!(deletes, [(Seq(3), Seq(4)), (Seq(11), Seq(12))]);
        let kept: Vec<u64> = appends.map(|record| record.seq.0).collect();
        assert_eq!(kept, [10, 13, 14, 15]);
        assert!(gathered.take().0.is_empty());
    }

    #[test]
    fn ranges_that_touch_become_one() {
        let range = |first, last| (Seq(first), Seq(last));
        let ranges = vec![range(7, 7), range(1, 2), range(3, 3), range(5, 9), range(2, 2)];
        assert_eq!(merged(ranges), [range(1, 3), range(5, 9)]);
        assert_eq!(merged(vec![range(1, u64::MAX), range(2, 3)]), [range(1, u64::MAX)]);
    }
}

//! core: which places of a segment hold no message any more: one bit each.
//!
//! A bit and not a number of messages, so that deleting one twice is deleting it once: a count would end a segment with
//! messages in it.

use super::segment::SPAN_MAX;
use crate::model::Seq;

/// The empty places of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gone {
    first: Seq,
    /// Places of the segment.
    places: usize,
    bits: Vec<u8>,
}

impl Gone {
    /// Of the segment from `first` to `last`; `bits` as [`Self::bits`] gave them, empty if nothing is gone.
    pub(super) fn new(first: Seq, last: Seq, bits: &[u8]) -> Self {
        // No segment spans more; a row that says so is damaged, and its content will tell.
        let places = (last.0.saturating_sub(first.0) + 1).min(SPAN_MAX);
        let places = usize::try_from(places).unwrap_or_default();
        let mut bits = bits.to_vec();
        bits.resize(places.div_ceil(8), 0);
        Self { first, places, bits }
    }

    /// Notes that no message stands from `first` to `last`, as far as that is in the segment; whether that is news.
    pub(super) fn add(&mut self, first: Seq, last: Seq) -> bool {
        let mut is_news = false;
        let begin = self.index(first.max(self.first));
        let end = last.0.checked_sub(self.first.0).map_or(0, |end| end.saturating_add(1));
        for index in begin..usize::try_from(end).unwrap_or(usize::MAX).min(self.places) {
            if let Some(byte) = self.bits.get_mut(index / 8) {
                is_news |= *byte & 1 << (index % 8) == 0;
                *byte |= 1 << (index % 8);
            }
        }
        is_news
    }

    /// Whether no message stands at `seq` any more.
    pub(super) fn contains(&self, seq: Seq) -> bool {
        seq >= self.first && self.is_set(self.index(seq))
    }

    /// Whether no message is left in the segment.
    pub(super) fn is_all(&self) -> bool {
        self.lowest_left().is_none()
    }

    /// Places that may hold a message.
    pub(super) fn places_left(&self) -> u64 {
        (0..self.places).filter(|index| !self.is_set(*index)).count() as u64
    }

    /// The first place that may hold a message.
    pub(super) fn lowest_left(&self) -> Option<Seq> {
        (0..self.places).find(|index| !self.is_set(*index)).map(|index| self.seq(index))
    }

    /// The last place that may hold a message.
    pub(super) fn highest_left(&self) -> Option<Seq> {
        (0..self.places).rfind(|index| !self.is_set(*index)).map(|index| self.seq(index))
    }

    /// One bit a place, the lowest of the first byte for the first place.
    pub(super) fn bits(&self) -> &[u8] {
        &self.bits
    }

    fn index(&self, seq: Seq) -> usize {
        usize::try_from(seq.0.saturating_sub(self.first.0)).unwrap_or(usize::MAX)
    }

    fn seq(&self, index: usize) -> Seq {
        Seq(self.first.0 + index as u64)
    }

    fn is_set(&self, index: usize) -> bool {
        self.bits.get(index / 8).is_some_and(|byte| byte & 1 << (index % 8) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_stays_gone_and_counts_once() {
        let mut gone = Gone::new(Seq(10), Seq(29), &[]);
        assert!(gone.add(Seq(1), Seq(12)));
        assert!(!gone.add(Seq(11), Seq(12)), "gone already");
        assert!(gone.add(Seq(29), Seq(1000)));
        let left: Vec<u64> = (0..40).filter(|seq| !gone.contains(Seq(*seq))).collect();
        assert_eq!(left, (0..10).chain(13..29).chain(30..40).collect::<Vec<_>>());
        assert_eq!((gone.lowest_left(), gone.highest_left()), (Some(Seq(13)), Some(Seq(28))));
        assert_eq!(Gone::new(Seq(10), Seq(29), gone.bits()), gone);
    }

    #[test]
    fn a_segment_is_gone_with_its_last_message_and_not_before() {
        let mut gone = Gone::new(Seq(1), Seq(9), &[]);
        for seq in [1, 9, 3, 4, 2, 8, 7, 5, 5] {
            gone.add(Seq(seq), Seq(seq));
            assert!(!gone.is_all(), "6 is left");
        }
        gone.add(Seq(6), Seq(6));
        assert!(gone.is_all());
        assert_eq!(gone.highest_left(), None);
    }

    #[test]
    fn places_outside_and_damaged_bits_do_no_harm() {
        let mut gone = Gone::new(Seq(10), Seq(12), &[0xf8, 255, 255]);
        assert!(!gone.is_all());
        assert!(!gone.add(Seq(1), Seq(9)));
        assert!(!gone.add(Seq(13), Seq(u64::MAX)));
        assert!(gone.add(Seq(0), Seq(u64::MAX)));
        assert!(gone.is_all());
        assert_eq!(Gone::new(Seq(5), Seq(u64::MAX), &[]).bits().len(), 512);
        assert_eq!(Gone::new(Seq(5), Seq(1), &[]).bits().len(), 1);
    }
}

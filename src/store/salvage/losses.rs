//! core: what a salvage could not read, and what of it each session will not get.

use crate::model::Seq;

/// Places of which no message can be read any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    /// The first place.
    pub(super) first: Seq,
    /// The last place.
    pub(super) last: Seq,
    /// How many messages stood there, at most.
    pub(super) count: u64,
}

/// How many lost messages a session still waited for, at most: those above its cursor and not settled. Who they were for
/// was lost with them.
pub(super) fn lost_to(lost: &[Lost], cursor: Seq, settled: &[(Seq, Seq)]) -> u64 {
    let mut missed = 0;
    for Lost { first, last, count } in lost {
        let from = (*first).max(cursor.next());
        if from > *last {
            continue;
        }
        let settled: u64 =
            settled.iter().map(|(begin, end)| width((*begin).max(from), (*end).min(*last))).sum();
        missed += (*count).min(width(from, *last).saturating_sub(settled));
    }
    missed
}

/// Places from `first` to `last`.
pub(super) fn width(first: Seq, last: Seq) -> u64 {
    if first > last { 0 } else { (last.0 - first.0).saturating_add(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_misses_what_lies_above_its_cursor_and_is_not_settled() {
        let lost = |first, last, count| Lost { first: Seq(first), last: Seq(last), count };
        let all = [lost(10, 19, 10), lost(30, 39, 4)];
        assert_eq!(lost_to(&all, Seq(0), &[]), 14);
        assert_eq!(lost_to(&all, Seq(14), &[]), 5 + 4);
        assert_eq!(lost_to(&all, Seq(19), &[]), 4);
        assert_eq!(lost_to(&all, Seq(38), &[]), 1);
        assert_eq!(lost_to(&all, Seq(39), &[]), 0);
        assert_eq!(lost_to(&all, Seq(9), &[(Seq(12), Seq(31))]), 2 + 4);
        assert_eq!(lost_to(&[lost(1, u64::MAX, 3)], Seq(0), &[(Seq(2), Seq(2))]), 3);
        assert_eq!(lost_to(&[lost(5, 4, 0)], Seq(0), &[]), 0);
    }
}

//! core: how far a session has come through the stored messages: its cursor, what is settled above it, and what of the
//! rest is in memory.
//!
//! Everything at or below the cursor is settled. Above it lie *runs*: places that are settled while an older one is not,
//! with nothing unsettled of this session between their first and last place. A run is one row, however long it grows: new
//! readings that pass a backlog of weeks leave one number behind, not one for each.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Seq;
use crate::store::{Change, SessionId};

/// How far one session has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    cursor: Seq,
    /// Stored messages in memory that are not settled.
    pending: BTreeSet<Seq>,
    /// Settled above the cursor: first place to last.
    runs: BTreeMap<Seq, Seq>,
    /// The runs that rows tell of.
    written: BTreeMap<Seq, Seq>,
    /// Every stored message of this session up to here is settled or in memory.
    loaded_to: Seq,
    /// And every one above here, if set: new messages pass a backlog.
    live_from: Option<Seq>,
    moved: bool,
}

impl Progress {
    /// A session that has settled everything up to `cursor`, and `runs` above it.
    pub(super) fn new(cursor: Seq, runs: impl IntoIterator<Item = (Seq, Seq)>) -> Self {
        let runs: BTreeMap<Seq, Seq> =
            runs.into_iter().filter(|(_, last)| *last > cursor).collect();
        let mut progress =
            Self { cursor, loaded_to: cursor, written: runs.clone(), runs, ..Self::default() };
        progress.pass_runs();
        progress
    }

    /// Every stored message up to here is settled or in memory.
    pub(super) fn loaded_to(&self) -> Seq {
        self.loaded_to
    }

    /// Above which place new messages pass the backlog, if they do.
    pub(super) fn live_from(&self) -> Option<Seq> {
        self.live_from
    }

    /// Whether the message at `seq` is settled, as far as it was for this session.
    pub(super) fn is_settled(&self, seq: Seq) -> bool {
        seq <= self.cursor
            || self.is_in_run(seq)
            || (self.is_known(seq) && !self.pending.contains(&seq))
    }

    /// A message comes into memory. `false` if it is there already, or settled.
    pub(super) fn take(&mut self, seq: Seq) -> bool {
        seq > self.cursor && !self.is_in_run(seq) && self.pending.insert(seq)
    }

    /// A message leaves memory and stays unsettled.
    pub(super) fn give_back(&mut self, seq: Seq) {
        debug_assert!(seq > self.loaded_to, "what was read already would not be read again");
        self.pending.remove(&seq);
    }

    /// A message is gone from the store.
    pub(super) fn drop(&mut self, seq: Seq) {
        self.pending.remove(&seq);
        self.moved = true;
    }

    /// The oldest stored message in memory.
    pub(super) fn first_pending(&self) -> Option<Seq> {
        self.pending.first().copied()
    }

    /// A message in memory is settled.
    pub(super) fn settle(&mut self, seq: Seq) {
        if self.pending.remove(&seq) {
            self.settle_run(seq, seq);
        }
    }

    /// Messages from `first` to `last` are settled, and no other of this session lies between them, in memory or not.
    pub(super) fn settle_run(&mut self, first: Seq, last: Seq) {
        debug_assert!(self.pending.range(first..=last).next().is_none(), "none of them waits");
        self.moved = true;
        while let Some((&within, _)) = self.runs.range(first..=last).next() {
            self.runs.remove(&within);
        }
        let mut run = (first, last);
        if let Some((&first, &last)) = self.runs.range(..run.0).next_back()
            && self.is_free_between(last, run.0)
        {
            run.0 = first;
        }
        if let Some((&first, &last)) = self.runs.range(run.1..).next()
            && self.is_free_between(run.1, first)
        {
            run.1 = last;
            self.runs.remove(&first);
        }
        self.runs.insert(run.0, run.1);
    }

    /// Every stored message up to `seq` is settled or in memory.
    pub(super) fn load_to(&mut self, seq: Seq) {
        if seq > self.loaded_to {
            self.loaded_to = seq;
            self.moved = true;
            self.pass_runs();
        }
    }

    /// Messages above `from` are all in memory or settled; what lies between is a backlog that they pass.
    pub(super) fn begin_live(&mut self, from: Seq) {
        self.live_from = Some(from);
    }

    /// The backlog begins anew: whatever above [`Self::loaded_to`] is not settled will be read.
    pub(super) fn end_live(&mut self) {
        self.live_from = None;
    }

    /// Puts how far this session has come into the batch.
    pub(super) fn checkpoint(&mut self, session: SessionId, changes: &mut Vec<Change>) {
        if !std::mem::take(&mut self.moved) {
            return;
        }
        // A message that was under way at the start may lie beyond what has been read since.
        let first = self.pending.first().map_or(self.loaded_to, |first| Seq(first.0 - 1));
        let mut cursor = first.min(self.loaded_to).max(self.cursor);
        while let Some((&first, &last)) = self.runs.first_key_value() {
            if first > cursor.next() {
                break;
            }
            cursor = cursor.max(last);
            self.runs.pop_first();
        }
        if cursor > self.cursor {
            self.cursor = cursor;
            self.loaded_to = self.loaded_to.max(cursor);
            changes.push(Change::Cursor { session, cursor });
            self.written = self.written.split_off(&cursor.next());
        }
        for (&first, &last) in &self.runs {
            if self.written.get(&first) != Some(&last) {
                changes.push(Change::Settled { session, first, last });
                let covered: Vec<Seq> = self.written.range(first..=last).map(|(f, _)| *f).collect();
                covered.iter().for_each(|first| _ = self.written.remove(first));
                self.written.insert(first, last);
            }
        }
    }

    fn is_in_run(&self, seq: Seq) -> bool {
        self.runs.range(..=seq).next_back().is_some_and(|(_, last)| *last >= seq)
    }

    fn is_known(&self, seq: Seq) -> bool {
        seq <= self.loaded_to || self.live_from.is_some_and(|from| seq > from)
    }

    /// Whether nothing unsettled of this session lies between two places.
    fn is_free_between(&self, before: Seq, after: Seq) -> bool {
        let gap = before.next().0..after.0;
        if gap.is_empty() {
            return true;
        }
        let is_known =
            after.0 - 1 <= self.loaded_to.0 || self.live_from.is_some_and(|from| before >= from);
        is_known && self.pending.range(Seq(gap.start)..Seq(gap.end)).next().is_none()
    }

    /// What is settled need not be read.
    fn pass_runs(&mut self) {
        while let Some((_, &last)) = self.runs.range(..=self.loaded_to.next()).next_back() {
            if last <= self.loaded_to {
                return;
            }
            self.loaded_to = last;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionId = SessionId(1);

    fn checkpoint(progress: &mut Progress) -> Vec<Change> {
        let mut changes = Vec::new();
        progress.checkpoint(SESSION, &mut changes);
        changes
    }

    fn cursor(cursor: u64) -> Change {
        Change::Cursor { session: SESSION, cursor: Seq(cursor) }
    }

    fn run(first: u64, last: u64) -> Change {
        Change::Settled { session: SESSION, first: Seq(first), last: Seq(last) }
    }

    #[test]
    fn new_messages_that_pass_a_backlog_leave_one_row() {
        let mut progress = Progress::new(Seq(10), []);
        progress.load_to(Seq(20));
        assert!((11..=20).all(|seq| progress.take(Seq(seq))));
        progress.begin_live(Seq(1000));
        for seq in 1001..2000 {
            assert!(progress.take(Seq(seq)));
            progress.settle(Seq(seq));
        }
        assert_eq!(checkpoint(&mut progress), [run(1001, 1999)]);
        // The place between belongs to other sessions.
        assert!(progress.take(Seq(2005)));
        progress.settle(Seq(2005));
        assert_eq!(checkpoint(&mut progress), [run(1001, 2005)]);
        assert!(progress.is_settled(Seq(1500)) && !progress.is_settled(Seq(15)));
        assert!(!progress.is_settled(Seq(500)), "nobody has read it yet");
    }

    #[test]
    fn a_backlog_that_is_done_takes_the_cursor_over_the_runs_behind_it() {
        let mut progress = Progress::new(Seq(0), [(Seq(5), Seq(9)), (Seq(12), Seq(12))]);
        progress.load_to(Seq(4));
        assert_eq!(progress.loaded_to(), Seq(9), "what is settled need not be read");
        assert!(progress.take(Seq(2)) && !progress.take(Seq(6)));
        progress.settle(Seq(2));
        assert_eq!(checkpoint(&mut progress), [cursor(9)]);
        progress.load_to(Seq(11));
        assert_eq!(checkpoint(&mut progress), [cursor(12)]);
    }

    #[test]
    fn runs_grow_together_when_what_lay_between_is_settled() {
        let mut progress = Progress::new(Seq(0), []);
        progress.load_to(Seq(9));
        assert!([1, 3, 5, 7].into_iter().all(|seq| progress.take(Seq(seq))));
        progress.settle(Seq(3));
        progress.settle(Seq(7));
        assert_eq!(checkpoint(&mut progress), [run(3, 3), run(7, 7)]);
        progress.settle(Seq(5));
        assert_eq!(checkpoint(&mut progress), [run(3, 7)]);
        progress.settle(Seq(1));
        assert_eq!(checkpoint(&mut progress), [cursor(9)]);
    }

    #[test]
    fn runs_do_not_join_over_what_has_not_been_read() {
        let mut progress = Progress::new(Seq(0), []);
        assert!(progress.take(Seq(3)) && progress.take(Seq(7)), "they were under way");
        progress.settle(Seq(3));
        progress.settle(Seq(7));
        assert_eq!(checkpoint(&mut progress), [run(3, 3), run(7, 7)]);
    }
}

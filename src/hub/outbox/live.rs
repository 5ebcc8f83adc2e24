//! core: new messages pass a backlog, which follows at its own rate.

use std::time::{Duration, Instant};

use super::Outbox;
use crate::hub::outgoing::{LiveFirst, Outgoing};
use crate::model::Seq;

/// How much of its rate a backlog may make up for at once, and how long it sleeps at least: the clock has a grain.
const BACKFILL_BURST: Duration = Duration::from_millis(100);
const BACKFILL_SLEEP: Duration = Duration::from_millis(20);

impl Outbox {
    /// Whether new messages pass a backlog.
    pub fn set_live_first(&mut self, live_first: Option<LiveFirst>) {
        self.live_first = live_first;
    }

    pub(super) fn begin_live(&mut self, from: Seq) {
        self.progress.begin_live(from);
        self.late_to = from;
    }

    /// What passed the backlog and waits in memory is given back to the store.
    pub(super) fn end_live(&mut self) {
        let (stored, saying) =
            self.live.take_all().into_iter().partition(|out| out.stored.is_some());
        let (stored, saying): (Vec<Outgoing>, Vec<Outgoing>) = (stored, saying);
        stored.iter().for_each(|out| self.progress.give_back(out.seq));
        saying.into_iter().rev().for_each(|out| self.ready.push_front(out));
        self.progress.end_live();
    }

    /// Once the backlog is through there is one queue again.
    pub(super) fn join_live(&mut self) {
        let is_done = |from| self.progress.loaded_to() >= from && self.ready.is_empty();
        if self.progress.live_from().is_some_and(is_done) {
            self.ready = std::mem::take(&mut self.live);
            self.progress.end_live();
            self.progress.load_to(self.last_appended);
        }
    }

    /// What waits is a backlog, if new messages are to pass it.
    pub(super) fn connect(&mut self) {
        self.connected = true;
        let waits = !self.ready.is_empty() || self.progress.loaded_to() < self.last_appended;
        if self.live_first.is_some() && waits {
            self.begin_live(self.last_appended);
        }
    }

    /// When the backlog may go on, if that is all that waits and its rate holds it back.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let from = self.backfill_from.filter(|_| self.waits_for_rate)?;
        Some(from + BACKFILL_SLEEP)
    }

    pub(super) fn is_held_back(&self, now: Instant) -> bool {
        let waits = self.live.is_empty() && self.ready.front().is_some_and(|out| self.is_late(out));
        waits && self.backfill_pause().is_some() && self.backfill_from.is_some_and(|at| at > now)
    }

    pub(super) fn backfill_pause(&self) -> Option<Duration> {
        self.live_first?.pause
    }

    pub(super) fn is_late(&self, out: &Outgoing) -> bool {
        self.live_first.is_some() && out.stored.is_some() && out.seq <= self.late_to
    }

    /// A message of the backlog was picked: the next one waits its turn.
    pub(super) fn pace(&mut self, now: Instant) {
        if let Some(pause) = self.backfill_pause() {
            let from = self.backfill_from.unwrap_or(now);
            let earliest = now.checked_sub(BACKFILL_BURST).unwrap_or(now);
            self.backfill_from = Some(from.max(earliest) + pause);
        }
    }
}

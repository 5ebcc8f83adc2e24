//! core: the rate at which a backlog follows what passed it.

use std::time::{Duration, Instant};

use super::Outbox;
use crate::hub::outgoing::Outgoing;

/// How much of its rate a backlog may make up for at once, and how long it sleeps at least: the clock has a grain.
const BACKFILL_BURST: Duration = Duration::from_millis(100);
const BACKFILL_SLEEP: Duration = Duration::from_millis(20);

impl Outbox {
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

    fn backfill_pause(&self) -> Option<Duration> {
        self.live_first?.pause
    }

    pub(super) fn is_late(&self, out: &Outgoing) -> bool {
        self.live_first.is_some() && out.stored.is_some() && out.seq <= self.late_to
    }

    /// A message of the backlog goes: when the next one may.
    pub(super) fn pace(&mut self, now: Instant) {
        if let Some(pause) = self.backfill_pause() {
            let from = self.backfill_from.unwrap_or(now);
            let earliest = now.checked_sub(BACKFILL_BURST).unwrap_or(now);
            self.backfill_from = Some(from.max(earliest) + pause);
        }
    }
}

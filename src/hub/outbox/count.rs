//! core: how much waits in an outbox: messages, and the bytes of their payload.

use super::Outbox;
use crate::hub::outgoing::Outgoing;

impl Outbox {
    /// How many bytes of payload the messages of the start hold; `None` if those were not counted but estimated.
    pub fn set_queued_bytes(&mut self, bytes: Option<u64>) {
        self.queued_bytes = bytes.unwrap_or(0);
        self.estimated = if bytes.is_some() { 0 } else { self.queued };
    }

    /// Messages that are not settled: in memory, in flight, and in the store.
    #[must_use]
    pub fn queued(&self) -> u64 {
        self.queued
    }

    /// Whether so many messages wait, or they hold so many bytes of payload. What a start has only estimated is left out:
    /// it may be the messages of others, and a queue that is not full must not drop any.
    #[must_use]
    pub fn is_full(&self, messages_max: u64, bytes_max: u64) -> bool {
        self.queued.saturating_sub(self.estimated) >= messages_max || self.queued_bytes >= bytes_max
    }

    /// Takes out of memory what is gone, and counts `count` messages off, of which that is a part. How many bytes the
    /// others hold nobody knows: they count as the average of those that wait.
    pub(super) fn take_from_memory(&mut self, is_gone: impl Fn(&Outgoing) -> bool, count: usize) {
        let in_memory = |outbox: &Self| (outbox.ready_len() as u64, outbox.ready_bytes() as u64);
        let before = in_memory(self);
        self.ready.retain(|out| !is_gone(out));
        self.live.retain(|out| !is_gone(out));
        let after = in_memory(self);
        let (known, known_bytes) = (before.0 - after.0, before.1 - after.1);
        self.count_off(known, known_bytes);
        let others = (count as u64).saturating_sub(known);
        let average = self.queued_bytes / self.queued.max(1);
        self.count_off(others, average.saturating_mul(others));
    }

    pub(super) fn count_in(&mut self, out: &Outgoing) {
        self.queued += 1;
        self.queued_bytes += out.message.payload.len() as u64;
    }

    pub(super) fn count_off(&mut self, messages: u64, bytes: u64) {
        self.queued = self.queued.saturating_sub(messages);
        // A payload may be set right while it waits, by a few bytes.
        self.queued_bytes = self.queued_bytes.saturating_sub(bytes);
        if self.queued == 0 {
            (self.queued_bytes, self.estimated) = (0, 0);
        }
    }

    /// When everything is in memory, an estimate made at the start can be set right.
    pub(super) fn recount(&mut self) {
        if self.progress.live_from().is_none() && self.progress.loaded_to() >= self.last_appended {
            self.queued = (self.ready.len() + self.flights.len()) as u64;
            let in_flight: usize = self.flights.values().map(|f| f.out.message.payload.len()).sum();
            self.queued_bytes = (self.ready.bytes() + in_flight) as u64;
            self.estimated = 0;
        }
    }
}

//! core: what an operator sees of an outbox, and what is taken out of it by command.

use std::collections::BTreeMap;

use super::Outbox;
use crate::model::{Seq, Timestamp};

/// Where a session's oldest stored message is that is not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oldest {
    /// There is none.
    None,
    /// It is in memory, and was accepted then.
    Accepted(Timestamp),
    /// It has not been read yet; it lies behind this place.
    After(Seq),
}

impl Outbox {
    /// Every stored message up to here is in memory or settled.
    #[must_use]
    pub fn loaded_to(&self) -> Seq {
        self.loaded_to
    }

    /// The oldest stored message that is not settled.
    #[must_use]
    pub fn oldest(&self) -> Oldest {
        let Some(first) = self.pending.first() else {
            let is_read = self.loaded_to >= self.last_appended || self.queued == 0;
            return if is_read { Oldest::None } else { Oldest::After(self.loaded_to) };
        };
        let flights = self.flights.values().map(|flight| &flight.out);
        let found = self.ready.iter().chain(flights).find(|out| out.seq == *first);
        found.map_or(Oldest::None, |out| Oldest::Accepted(out.message.accepted))
    }

    /// Takes out waiting messages that an operator removed, none of them in flight; beside each whether its stored copy
    /// stays for others. `read_to`: all of this session up to there is among them, in memory or settled.
    pub fn handle_purged(&mut self, purged: &BTreeMap<Seq, bool>, read_to: Option<Seq>) {
        self.ready.retain(|out| out.stored.is_none() || !purged.contains_key(&out.seq));
        for (seq, stays) in purged {
            self.pending.remove(seq);
            if *stays {
                self.settled.insert(*seq, false);
            }
        }
        self.queued = self.queued.saturating_sub(purged.len() as u64);
        self.fetching_in_vain = self.fetching.is_some();
        if let Some(read_to) = read_to {
            self.loaded_to = self.loaded_to.max(read_to);
        }
        self.recount();
        self.cursor_moved = true;
    }
}

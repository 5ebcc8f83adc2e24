//! core: what an operator sees of an outbox, and what is taken out of it by command.

use std::collections::BTreeSet;

use super::Outbox;
use crate::hub::outgoing::Outgoing;
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
        self.progress.loaded_to()
    }

    /// The oldest stored message that is not settled.
    #[must_use]
    pub fn oldest(&self) -> Oldest {
        let loaded_to = self.progress.loaded_to();
        let is_read = loaded_to >= self.progress.live_from().unwrap_or(self.last_appended);
        let first = self.progress.first_pending();
        let Some(first) = first.filter(|first| is_read || *first <= loaded_to) else {
            let is_empty = is_read || self.queued == 0;
            return if is_empty { Oldest::None } else { Oldest::After(loaded_to) };
        };
        let flights = self.flights.values().map(|flight| &flight.out);
        let found =
            self.ready.iter().chain(self.live.iter()).chain(flights).find(|out| out.seq == first);
        found.map_or(Oldest::None, |out| Oldest::Accepted(out.message.accepted))
    }

    /// Takes out waiting messages that an operator removed, none of them in flight. `others`: runs of them between whose
    /// ends nothing of this session stays, with stored copies that stay for others. `read_to`: all of this session up to
    /// there is among them, in memory or settled.
    pub fn handle_purged(
        &mut self,
        purged: &BTreeSet<Seq>,
        others: &[(Seq, Seq)],
        read_to: Option<Seq>,
    ) {
        let is_gone = |out: &Outgoing| out.stored.is_some() && purged.contains(&out.seq);
        self.take_from_memory(is_gone, purged.len());
        purged.iter().for_each(|seq| self.progress.drop(*seq));
        others.iter().for_each(|(first, last)| self.progress.settle_run(*first, *last));
        self.fetching_in_vain = self.fetching.is_some();
        if let Some(read_to) = read_to {
            // What passed a backlog may be given back to the store.
            let end = self.progress.live_from().unwrap_or(read_to);
            self.progress.load_to(read_to.min(end));
        }
        self.join_live();
        self.recount();
    }
}

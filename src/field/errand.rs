//! core: questions from outside the schedule: those that go before the next read and those that go when nothing is due.

use std::collections::VecDeque;

use super::modbus::transaction::Question;

/// When a question from outside may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// Before the next read: a write.
    First,
    /// Only while no read is due: somebody looks around on the bus. On a bus with more reads than time, never.
    Idle,
}

/// One question from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Errand {
    /// Whoever sent it knows it by this.
    pub(super) id: u64,
    pub(super) rank: Rank,
    pub(super) question: Question,
}

/// The errands that wait, each rank in the order they came.
#[derive(Debug, Default)]
pub(super) struct Errands {
    first: VecDeque<Errand>,
    idle: VecDeque<Errand>,
}

impl Errands {
    pub(super) fn push(&mut self, errand: Errand) {
        self.of(errand.rank).push_back(errand);
    }

    /// The first of a rank that `may` go.
    pub(super) fn take(&mut self, rank: Rank, may: impl Fn(&Errand) -> bool) -> Option<Errand> {
        let waiting = self.of(rank);
        let index = waiting.iter().position(may)?;
        waiting.remove(index)
    }

    /// All that wait.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Errand> {
        self.first.iter().chain(&self.idle)
    }

    /// Takes all that wait.
    pub(super) fn take_all(&mut self) -> Vec<Errand> {
        self.first.drain(..).chain(self.idle.drain(..)).collect()
    }

    fn of(&mut self, rank: Rank) -> &mut VecDeque<Errand> {
        match rank {
            Rank::First => &mut self.first,
            Rank::Idle => &mut self.idle,
        }
    }
}

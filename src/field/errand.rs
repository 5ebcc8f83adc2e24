//! core: questions from outside the schedule: those that go before the next read and those that go when nothing is due.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::modbus::late::Late;
use super::modbus::transaction::{Failure, Question};

/// When a question from outside may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rank {
    /// Before the next read: a write.
    First,
    /// While no read is due: somebody looks around on the bus. On a bus with more reads than time it gets a small share of
    /// that, once it has waited for a moment.
    Idle,
}

/// One question from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Errand {
    /// Whoever sent it knows it by this.
    pub(super) id: u64,
    pub(super) rank: Rank,
    pub(super) question: Question,
    /// From then on it is not asked any more.
    pub(super) until: Option<Instant>,
}

impl Errand {
    /// Its question as it can be asked: none that could be mixed up with an older one. Whoever looks around may ask the
    /// same again: the older answer says the same, or what stood there a moment ago.
    pub(super) fn question_as_asked(&self, late: Option<&Late>) -> Option<Question> {
        let may_repeat = self.rank == Rank::Idle && !self.question.query.is_write();
        match late {
            Some(late) => late.as_it_is(&self.question, may_repeat),
            None => Some(self.question.clone()),
        }
    }
}

/// How an errand ends of which nothing was ever sent.
pub(super) fn not_asked(reason: &str) -> Failure {
    Failure::NotAsked { reason: reason.to_owned() }
}

/// The errands that wait, each rank in the order they came.
#[derive(Debug, Default)]
pub(super) struct Errands {
    first: VecDeque<Errand>,
    idle: VecDeque<Errand>,
    /// Since when one of rank `Idle` waits and none was taken.
    idle_since: Option<Instant>,
}

impl Errands {
    pub(super) fn push(&mut self, errand: Errand) {
        self.of(errand.rank).push_back(errand);
    }

    /// The first of a rank that `may` go.
    pub(super) fn take(&mut self, rank: Rank, may: impl Fn(&Errand) -> bool) -> Option<Errand> {
        let waiting = self.of(rank);
        let index = waiting.iter().position(may)?;
        let taken = waiting.remove(index);
        if rank == Rank::Idle {
            self.idle_since = None;
        }
        taken
    }

    /// How long those of rank `Idle` have waited at `now` without one being taken; asked again and again.
    pub(super) fn idle_waits(&mut self, now: Instant) -> Duration {
        if self.idle.is_empty() {
            self.idle_since = None;
            return Duration::ZERO;
        }
        now.saturating_duration_since(*self.idle_since.get_or_insert(now))
    }

    /// Takes one whose time is over.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Option<Errand> {
        let is_overdue = |errand: &Errand| errand.until.is_some_and(|until| until <= now);
        let (first, idle) = (Rank::First, Rank::Idle);
        self.take(first, is_overdue).or_else(|| self.take(idle, is_overdue))
    }

    /// Whether a write is to be asked next.
    pub(super) fn has_write(&self) -> bool {
        self.first.iter().any(|errand| errand.question.query.is_write())
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

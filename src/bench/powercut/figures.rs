//! core: what the cuts of a run cost.

use std::collections::BTreeMap;

use super::ledger::Verdict;
use super::payload::Number;
use crate::store::disk::Class;

/// Troubles that are told in words; the others are counted.
const TROUBLES_MAX: usize = 10;

/// What the cuts of a run cost, all together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PowercutFigures {
    /// Where the run began; the same seed gives the same run.
    pub seed: u64,
    /// How often the power was cut.
    pub cuts: u64,
    /// Messages that were promised and did not arrive.
    pub lost: u64,
    /// QoS 2 messages that arrived twice.
    pub doubled: u64,
    /// Databases that did not open, were damaged, or held what nobody wrote.
    pub unreadable: u64,
    /// Messages of the last `commit_every` that were lost, which the staged layer allows.
    pub allowed_lost: u64,
    /// QoS 2 messages under way in the last `commit_every` that arrived twice, which the staged layer allows.
    pub allowed_doubled: u64,
    /// Messages that were published.
    pub messages: u64,
    /// Cuts by the operation of the disk that was the last.
    pub by_operation: BTreeMap<Class, u64>,
    /// The first troubles in words.
    pub troubles: Vec<String>,
}

impl PowercutFigures {
    /// Whether every promise was kept.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.unreadable == 0
    }

    pub(super) fn handle_cut(&mut self, class: Class) {
        self.cuts += 1;
        *self.by_operation.entry(class).or_default() += 1;
    }

    pub(super) fn handle_verdict(&mut self, class: Class, verdict: &Verdict) {
        let Verdict { lost, doubled, garbled, allowed_lost, allowed_doubled } = verdict;
        self.lost += lost.len() as u64;
        self.doubled += doubled.len() as u64;
        self.unreadable += *garbled as u64;
        self.allowed_lost += *allowed_lost as u64;
        self.allowed_doubled += *allowed_doubled as u64;
        if !lost.is_empty() || !doubled.is_empty() || *garbled > 0 {
            let (lost, doubled) = (some_of(lost), some_of(doubled));
            self.tell(class, &format!("lost {lost}, doubled {doubled}, garbled {garbled}"));
        }
    }

    pub(super) fn handle_unreadable(&mut self, class: Class, why: &str) {
        self.unreadable += 1;
        self.tell(class, why);
    }

    fn tell(&mut self, class: Class, what: &str) {
        if self.troubles.len() < TROUBLES_MAX {
            self.troubles.push(format!("cut {} after `{class}`: {what}", self.cuts));
        }
    }
}

fn some_of(numbers: &[Number]) -> String {
    let some: Vec<Number> = numbers.iter().take(3).copied().collect();
    format!("{} {some:?}", numbers.len())
}

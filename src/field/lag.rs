//! core: whether the periods of a bus are kept: when it begins to leave reads out, how it goes on, and when that is over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Late runs of one group until that is worth a word: one may be a machine that slept.
const LATE_RUNS: u32 = 3;
/// How long all periods must be kept until it is over.
const CALM: Duration = Duration::from_secs(60);
/// How often it is said while it lasts.
const AGAIN: Duration = Duration::from_secs(3600);

/// What is to be said about the periods of a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LagChange {
    /// Reads are left out; this group was the one that showed it.
    FellBehind {
        /// The index of the group.
        group: usize,
    },
    /// It goes on.
    StillBehind {
        /// How many reads were left out since it began.
        missed: u64,
        /// For how long it has lasted.
        lasted: Duration,
    },
    /// All periods were kept for a while.
    CaughtUp {
        /// How many reads were left out.
        missed: u64,
        /// How long it lasted.
        lasted: Duration,
    },
}

#[derive(Debug)]
struct Behind {
    since: Instant,
    last: Instant,
    said: Instant,
    /// Runs of each group that were too late for the slots after them.
    late_runs: BTreeMap<usize, u32>,
    is_told: bool,
    /// The slots left out for that.
    missed: u64,
}

/// Whether the periods of a bus are kept.
#[derive(Debug, Default)]
pub struct Lag(Option<Behind>);

impl Lag {
    /// A run of `group` ended so late that `missed` slots after it were left out.
    pub fn handle_missed(&mut self, group: usize, missed: u64, now: Instant) -> Option<LagChange> {
        let behind = self.0.get_or_insert_with(|| Behind {
            since: now,
            last: now,
            said: now,
            late_runs: BTreeMap::new(),
            is_told: false,
            missed: 0,
        });
        behind.last = now;
        behind.missed += missed;
        if !behind.is_told {
            let late_runs = behind.late_runs.entry(group).or_default();
            *late_runs += 1;
            behind.is_told = *late_runs >= LATE_RUNS;
            return behind.is_told.then_some(LagChange::FellBehind { group });
        }
        if now.saturating_duration_since(behind.said) < AGAIN {
            return None;
        }
        behind.said = now;
        let lasted = now.saturating_duration_since(behind.since);
        Some(LagChange::StillBehind { missed: behind.missed, lasted })
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<LagChange> {
        let is_calm = |behind: &mut Behind| now.saturating_duration_since(behind.last) >= CALM;
        let over = self.0.take_if(is_calm).filter(|behind| behind.is_told)?;
        let lasted = over.last.saturating_duration_since(over.since);
        Some(LagChange::CaughtUp { missed: over.missed, lasted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_when_it_begins_every_hour_and_when_it_is_over() {
        #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
        let start = Instant::now();
        let (mut lag, mut said) = (Lag::default(), Vec::new());
        for second in 0..2 * 3600 + 70 {
            let now = start + Duration::from_secs(second);
            let missed = (second < 2 * 3600).then(|| lag.handle_missed(7, 2, now)).flatten();
            said.extend(missed.into_iter().chain(lag.handle_timeout(now)).map(|it| (second, it)));
        }
        let lasted = Duration::from_secs(3600);
        assert_eq!(said[0], (2, LagChange::FellBehind { group: 7 }));
        assert_eq!(said[1], (3600, LagChange::StillBehind { missed: 7202, lasted }));
        let lasted = Duration::from_secs(2 * 3600 - 1);
        assert_eq!(said[2], (7259, LagChange::CaughtUp { missed: 14_400, lasted }));
        assert_eq!(said.len(), 3);
    }

    #[test]
    fn a_machine_that_slept_is_not_worth_a_word() {
        #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
        let start = Instant::now();
        let mut lag = Lag::default();
        assert_eq!(lag.handle_missed(0, 100, start), None);
        assert_eq!(lag.handle_timeout(start + CALM), None);
    }
}

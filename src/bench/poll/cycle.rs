//! core: what a log of requests on a line says of its cycles.

use std::time::{Duration, Instant};

use super::line::Heard;
use crate::field::UnitId;

/// Cycles of a line that is asked without a pause.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cycles {
    /// How long one takes, on average.
    pub(super) length: Duration,
    /// Requests in one, on average.
    pub(super) transactions: f64,
    /// The share of requests before which the line was silent for long enough.
    pub(super) silence_kept: f64,
}

impl Cycles {
    /// Of requests to `units`, in the order they were heard: a cycle begins with each repetition of their first
    /// request. `None` when there were not two.
    pub(super) fn of(heard: &[Heard], units: &[UnitId], silence: Duration) -> Option<Self> {
        let ours = || heard.iter().filter(|it| units.contains(&it.unit));
        let first = ours().next()?;
        let is_first = |it: &&Heard| it.unit == first.unit && it.request == first.request;
        let begins: Vec<Instant> = ours().filter(is_first).map(|it| it.at).collect();
        let (begin, end) = (*begins.first()?, *begins.last()?);
        let cycles = u32::try_from(begins.len() - 1).ok().filter(|count| *count > 0)?;
        let within = ours().filter(|it| it.at < end).count();
        let pairs = || heard.iter().zip(heard.iter().skip(1));
        let gaps = pairs().filter_map(|(before, after)| {
            Some(after.at.saturating_duration_since(before.answered?))
        });
        let gaps: Vec<Duration> = gaps.collect();
        let kept = gaps.iter().filter(|gap| **gap >= silence).count();
        #[allow(clippy::cast_precision_loss, reason = "counts of some seconds")]
        let share = |part: usize, of: usize| part as f64 / of.max(1) as f64;
        Some(Self {
            length: (end - begin) / cycles,
            transactions: share(within, cycles.try_into().ok()?),
            silence_kept: if gaps.is_empty() { 1.0 } else { share(kept, gaps.len()) },
        })
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_from_a_request_to_its_repetition() {
        let begin = Instant::now();
        let heard = |unit, ms, answered_ms: Option<u64>| Heard {
            at: begin + Duration::from_millis(ms),
            unit: UnitId(unit),
            request: vec![3, 0, unit, 0, 1],
            answered: answered_ms.map(|ms| begin + Duration::from_millis(ms)),
        };
        let log = [
            heard(1, 0, Some(8)),
            heard(2, 12, Some(20)),
            heard(9, 24, None),
            heard(1, 30, Some(38)),
            heard(2, 40, Some(48)),
            heard(1, 60, Some(68)),
        ];
        let units = [UnitId(1), UnitId(2)];
        let cycles = Cycles::of(&log, &units, Duration::from_millis(4)).expect("two cycles");
        assert_eq!(cycles.length, Duration::from_millis(30));
        assert_eq!(cycles.transactions, 2.0);
        // Of four gaps behind an answer one is too short.
        assert_eq!(cycles.silence_kept, 0.75);
        assert_eq!(Cycles::of(&log[..3], &units, Duration::ZERO), None);
    }
}

//! core: something that goes wrong again and again until it does not: said once when it begins and once when it is over.

use std::time::{Duration, Instant};

/// Whether it goes wrong at present.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Episode(Option<Ongoing>);

#[derive(Debug, Clone, Copy)]
struct Ongoing {
    since: Instant,
    failures: u64,
}

/// What there was of it once it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Over {
    /// How often it went wrong.
    pub(super) failures: u64,
    /// How long.
    pub(super) lasted: Duration,
}

impl Episode {
    /// It went wrong; whether that is the first time.
    pub(super) fn handle_failure(&mut self, now: Instant) -> bool {
        let ongoing = self.0.get_or_insert(Ongoing { since: now, failures: 0 });
        ongoing.failures += 1;
        ongoing.failures == 1
    }

    /// It went well; what is over with that, if anything.
    pub(super) fn handle_success(&mut self, now: Instant) -> Option<Over> {
        let Ongoing { since, failures } = self.0.take()?;
        Some(Over { failures, lasted: now.saturating_duration_since(since) })
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use super::*;

    #[test]
    fn an_episode_is_told_when_it_begins_and_when_it_is_over() {
        let (mut episode, begin) = (Episode::default(), Instant::now());
        assert_eq!(episode.handle_success(begin), None);
        assert!(episode.handle_failure(begin));
        assert!(!episode.handle_failure(begin + Duration::from_secs(5)));
        let over = Over { failures: 2, lasted: Duration::from_secs(9) };
        assert_eq!(episode.handle_success(begin + over.lasted), Some(over));
        assert_eq!(episode.handle_success(begin + over.lasted), None);
        assert!(episode.handle_failure(begin), "the next one");
    }
}

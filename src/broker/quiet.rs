//! core: keeps a warning that others can provoke from filling the log: said at once, then once a minute with how many.

use std::time::{Duration, Instant};

/// How long nothing more is said.
const PAUSE: Duration = Duration::from_secs(60);

/// One kind of warning.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    until: Option<Instant>,
    unsaid: u64,
}

impl Quiet {
    /// Whether it would be left unsaid.
    pub(super) fn is_pausing(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// It happened: `Some` if it is to be said, with how often it happened unsaid before.
    pub(super) fn handle(&mut self, now: Instant) -> Option<u64> {
        if self.is_pausing(now) {
            self.unsaid += 1;
            return None;
        }
        self.until = Some(now + PAUSE);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    fn the_first_is_said_at_once_and_the_rest_once_a_minute() {
        let (mut quiet, now) = (Quiet::default(), Instant::now());
        assert_eq!(quiet.handle(now), Some(0));
        assert_eq!(quiet.handle(now + Duration::from_secs(1)), None);
        assert_eq!(quiet.handle(now + Duration::from_secs(59)), None);
        assert_eq!(quiet.handle(now + Duration::from_secs(60)), Some(2));
        assert_eq!(quiet.handle(now + Duration::from_secs(61)), None);
    }
}

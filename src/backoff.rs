//! core: how long to wait before the next try: longer each time, never in step with others.

use std::time::Duration;

/// Pauses that double from a first to a longest one, each between half and one and a half times its nominal length, so
/// that three hundred gateways do not come back in the same second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Pauses from `first` to `longest`.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// The pause after one more failure; `random` is between 0 and 1.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fieldpost::backoff::Backoff;
    /// let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60));
    /// assert_eq!(backoff.next_pause(0.5).as_millis(), 500);
    /// assert_eq!(backoff.next_pause(0.5).as_millis(), 1000);
    /// backoff.reset();
    /// assert_eq!(backoff.next_pause(0.0).as_millis(), 250);
    /// ```
    pub fn next_pause(&mut self, random: f64) -> Duration {
        let nominal = self.first.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        nominal.mul_f64(0.5 + random.clamp(0.0, 1.0))
    }

    /// It worked: the next pause is the first again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since it last worked.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_stay_within_their_jitter() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60));
        let mut last = Duration::ZERO;
        for _ in 0..1000 {
            let pause = backoff.next_pause(1.0);
            assert!(pause >= last && pause <= Duration::from_secs(90));
            last = pause;
        }
        assert_eq!(backoff.next_pause(0.0), Duration::from_secs(30));
    }
}

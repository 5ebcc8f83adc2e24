//! core: how long to wait before the next try: longer each time, never in step with others.

use std::time::Duration;

/// The first pause.
const FIRST: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);

/// Pauses that grow from half a second to a minute, each between half and one and a half times its nominal length, so
/// that three hundred gateways do not come back in the same second.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure; `random` is between 0 and 1.
    ///
    /// ```
    /// use fieldpost::uplink::Backoff;
    /// let mut backoff = Backoff::default();
    /// assert_eq!(backoff.next_pause(0.5).as_millis(), 500);
    /// assert_eq!(backoff.next_pause(0.5).as_millis(), 1000);
    /// backoff.reset();
    /// assert_eq!(backoff.next_pause(0.0).as_millis(), 250);
    /// ```
    pub fn next_pause(&mut self, random: f64) -> Duration {
        let nominal = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        nominal.mul_f64(0.5 + random.clamp(0.0, 1.0))
    }

    /// The connection has proved good.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last reset.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_stay_within_their_jitter() {
        let mut backoff = Backoff::default();
        let mut last = Duration::ZERO;
        for _ in 0..1000 {
            let pause = backoff.next_pause(1.0);
            assert!(pause >= last && pause <= Duration::from_secs(90));
            last = pause;
        }
        assert_eq!(backoff.next_pause(0.0), Duration::from_secs(30));
    }
}

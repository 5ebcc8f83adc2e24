//! core: how long to wait before a port or connection is opened again.

use std::time::Duration;

const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// A pause that doubles from a quarter of a second to ten seconds.
#[derive(Debug)]
pub struct Backoff {
    pause: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { pause: PAUSE_MIN }
    }
}

impl Backoff {
    /// The next pause. `jitter`, 0 to 1, takes up to half of it away, so that many gateways do not come back together.
    pub fn handle_failure(&mut self, jitter: f64) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE_MAX);
        pause.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// It worked: the next pause is the shortest again.
    pub fn handle_success(&mut self) {
        self.pause = PAUSE_MIN;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_ten_seconds_and_start_over() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..8).map(|_| backoff.handle_failure(0.0).as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        backoff.handle_success();
        assert_eq!(backoff.handle_failure(1.0).as_millis(), 125);
    }
}

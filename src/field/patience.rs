//! core: how long a device is waited for: as long as its answers take, measured, within what is configured.
//!
//! A time-out that is far above what a device needs makes each lost answer dear to its neighbours; one that is below
//! makes every answer late. So the measured time gets a generous margin, and after a question that went unanswered
//! the full time is given until the device has answered a while.

use std::time::Duration;

/// Answers in a row before they are relied on.
const ANSWERS_MIN: u32 = 8;
/// How many times the usual deviation is allowed for.
const DEVIATIONS: u32 = 4;
/// What is allowed for besides: a USB adapter holds bytes back for 16 ms, a loaded machine wakes late.
const MARGIN: Duration = Duration::from_millis(30);
/// The least, as a part of what is configured.
const LEAST_PART: u32 = 4;
/// The least, whatever is configured.
const LEAST: Duration = Duration::from_millis(50);

/// How long one device is waited for.
#[derive(Debug)]
pub struct Patience {
    most: Duration,
    /// Answers in a row.
    answers: u32,
    /// The usual time, and how far answers usually are from it (RFC 6298, section 2).
    usual: Duration,
    deviation: Duration,
}

impl Patience {
    /// Waits for `most` until enough answers are measured, and never longer.
    #[must_use]
    pub fn new(most: Duration) -> Self {
        Self { most, answers: 0, usual: Duration::ZERO, deviation: Duration::ZERO }
    }

    /// It answered after `took`, what request and answer took on the wire left out.
    pub fn handle_answer(&mut self, took: Duration) {
        if self.usual.is_zero() && self.deviation.is_zero() {
            (self.usual, self.deviation) = (took, took / 2);
        } else {
            self.deviation = (self.deviation * 3 + self.usual.abs_diff(took)) / 4;
            self.usual = (self.usual * 7 + took) / 8;
        }
        self.answers = self.answers.saturating_add(1);
    }

    /// It did not answer in time.
    pub fn handle_unanswered(&mut self) {
        self.answers = 0;
    }

    /// How long to wait, from the last byte of the request on.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        if self.answers < ANSWERS_MIN {
            return self.most;
        }
        let least = LEAST.max(self.most / LEAST_PART);
        (self.usual + self.deviation * DEVIATIONS + MARGIN).max(least).min(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn after(answers: &[u64], most: Duration) -> Duration {
        let mut patience = Patience::new(most);
        answers.iter().for_each(|took| patience.handle_answer(ms(*took)));
        patience.timeout()
    }

    #[test]
    fn the_time_follows_the_answers_within_bounds() {
        assert_eq!(after(&[5; 7], ms(300)), ms(300), "too few to tell");
        assert_eq!(after(&[5; 50], ms(300)), ms(75), "a quarter at least");
        assert_eq!(after(&[5; 50], ms(100)), ms(50));
        assert_eq!(after(&[5; 50], ms(20)), ms(20), "never more than configured");
        let slow = after(&[100; 50], ms(1000));
        assert!((ms(250)..ms(260)).contains(&slow), "{slow:?}");
        let slow = after(&[400; 50], ms(1000));
        assert!((ms(430)..ms(450)).contains(&slow), "{slow:?}");
        let unsteady: Vec<u64> = [20, 180].repeat(25);
        let time = after(&unsteady, ms(1000));
        assert!(time > ms(400), "{time:?} for answers that take up to 180 ms");
        assert_eq!(after(&[900; 50], ms(1000)), ms(1000).min(after(&[900; 50], ms(2000))));
    }

    #[test]
    fn after_silence_the_full_time_is_given_until_it_has_answered_a_while() {
        let mut patience = Patience::new(ms(300));
        (0..20).for_each(|_| patience.handle_answer(ms(5)));
        assert_eq!(patience.timeout(), ms(75));
        patience.handle_unanswered();
        (0..7).for_each(|_| patience.handle_answer(ms(5)));
        assert_eq!(patience.timeout(), ms(300));
        patience.handle_answer(ms(5));
        assert_eq!(patience.timeout(), ms(75));
    }
}

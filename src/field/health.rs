//! core: who answers, who fell silent, and how often the silent are asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// Questions without any answer in a row until a device counts as silent: one and its repetition.
const SILENT_TRIES: u32 = 2;
/// Failures of any kind in a row until a device counts as silent; a bad line spoils one in five without being dead.
const FAILED_TRIES: u32 = 4;
/// How long a silent device is left alone at first.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// How long a silent device is left alone at most.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Share of bus time that questions to silent devices may take while others answer: one part in so many.
const PROBE_SHARE: u32 = 20;
/// How much of that time may be saved up.
const PROBE_SAVED_MAX: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Has neither answered nor fallen silent yet.
    Unknown,
    Online,
    Silent {
        since: Instant,
        missed: u64,
        pause: Duration,
        probe_at: Instant,
    },
}

/// What changed for a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It answered for the first time.
    Online,
    /// It does not answer any more, or never did.
    FellSilent {
        /// Why, in plain words.
        reason: Arc<str>,
    },
    /// It answers again.
    AnswersAgain {
        /// How many questions it left unanswered.
        missed: u64,
        /// For how long.
        silent_for: Duration,
    },
}

/// The health of one device.
#[derive(Debug)]
pub struct Health {
    state: State,
    silent_tries: u32,
    failed_tries: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self { state: State::Unknown, silent_tries: 0, failed_tries: 0 }
    }
}

impl Health {
    /// Whether the device counts as silent.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        matches!(self.state, State::Silent { .. })
    }

    /// Whether it answered its last questions.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.state == State::Online && self.failed_tries == 0
    }

    /// When a silent device is worth a question again.
    #[must_use]
    pub fn probe_at(&self) -> Option<Instant> {
        match self.state {
            State::Silent { probe_at, .. } => Some(probe_at),
            State::Unknown | State::Online => None,
        }
    }

    /// The device said something about what it was asked, a value or a refusal.
    pub fn handle_answer(&mut self, now: Instant) -> Option<Change> {
        (self.silent_tries, self.failed_tries) = (0, 0);
        match std::mem::replace(&mut self.state, State::Online) {
            State::Online => None,
            State::Unknown => Some(Change::Online),
            State::Silent { since, missed, .. } => {
                Some(Change::AnswersAgain { missed, silent_for: now - since })
            }
        }
    }

    /// A question brought nothing; `was_silent` when not even something spoilt came.
    pub fn handle_failure(
        &mut self,
        was_silent: bool,
        reason: &str,
        now: Instant,
    ) -> Option<Change> {
        if let State::Silent { missed, pause, probe_at, .. } = &mut self.state {
            *missed += 1;
            *pause = (*pause * 2).min(PAUSE_MAX);
            *probe_at = now + *pause;
            return None;
        }
        let is_last = self.is_last_try(was_silent);
        self.failed_tries += 1;
        self.silent_tries = if was_silent { self.silent_tries + 1 } else { 0 };
        if !is_last {
            return None;
        }
        let missed = u64::from(self.failed_tries);
        self.fall_silent(missed, now);
        Some(Change::FellSilent { reason: reason.into() })
    }

    /// Whether one more failure makes it count as silent.
    #[must_use]
    pub fn is_last_try(&self, was_silent: bool) -> bool {
        let silent_tries = if was_silent { self.silent_tries + 1 } else { 0 };
        !self.is_silent() && (silent_tries >= SILENT_TRIES || self.failed_tries + 1 >= FAILED_TRIES)
    }

    /// The failures were explained by what was asked.
    pub fn handle_forgiven(&mut self) {
        (self.silent_tries, self.failed_tries) = (0, 0);
    }

    /// The bus itself is gone.
    pub fn handle_unreachable(&mut self, reason: &str, now: Instant) -> Option<Change> {
        if self.is_silent() {
            return None;
        }
        self.fall_silent(0, now);
        Some(Change::FellSilent { reason: reason.into() })
    }

    /// A silent device has a reason to answer again: ask at once.
    pub fn handle_hope(&mut self, now: Instant) {
        if let State::Silent { pause, probe_at, .. } = &mut self.state {
            *pause = PAUSE_MIN;
            *probe_at = (*probe_at).min(now);
        }
    }

    /// Asking before `until` would bring nothing that can be trusted.
    pub fn handle_not_before(&mut self, until: Instant) {
        if let State::Silent { probe_at, .. } = &mut self.state {
            *probe_at = (*probe_at).max(until);
        }
    }

    fn fall_silent(&mut self, missed: u64, now: Instant) {
        let (pause, probe_at) = (PAUSE_MIN, now + PAUSE_MIN);
        self.state = State::Silent { since: now, missed, pause, probe_at };
    }
}

/// What questions to silent devices may cost the others: a twentieth of the time of the bus.
#[derive(Debug)]
pub struct ProbeBudget {
    saved: Duration,
    counted: Instant,
}

impl ProbeBudget {
    /// A full budget.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { saved: PROBE_SAVED_MAX, counted: now }
    }

    /// When a question that may cost `cost` is affordable.
    #[must_use]
    pub fn affordable_at(&self, cost: Duration) -> Instant {
        let lacking = cost.min(PROBE_SAVED_MAX).saturating_sub(self.saved);
        self.counted + lacking * PROBE_SHARE
    }

    /// A question to a silent device cost this much.
    pub fn handle_cost(&mut self, cost: Duration, now: Instant) {
        let earned = now.saturating_duration_since(self.counted) / PROBE_SHARE;
        self.saved = (self.saved + earned).min(PROBE_SAVED_MAX).saturating_sub(cost);
        self.counted = now;
    }

    /// A silent device answers again: others may, too.
    pub fn handle_hope(&mut self, now: Instant) {
        *self = Self::new(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Instant {
        #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
        Instant::now()
    }

    #[test]
    fn a_device_falls_silent_after_the_second_try_and_is_told_once() {
        let (mut health, now) = (Health::default(), start());
        assert_eq!(health.handle_answer(now), Some(Change::Online));
        assert_eq!(health.handle_answer(now), None);
        assert_eq!(health.handle_failure(true, "no answer", now), None);
        let fell = Change::FellSilent { reason: "no answer".into() };
        assert_eq!(health.handle_failure(true, "no answer", now), Some(fell));
        assert_eq!(health.handle_failure(true, "no answer", now), None);
        let later = now + Duration::from_secs(6);
        let again = Change::AnswersAgain { missed: 3, silent_for: Duration::from_secs(6) };
        assert_eq!(health.handle_answer(later), Some(again));
        assert!(!health.is_silent());
    }

    #[test]
    fn the_pause_grows_to_ten_seconds_and_an_answer_resets_it() {
        let (mut health, mut now) = (Health::default(), start());
        let mut pauses = Vec::new();
        health.handle_failure(true, "no answer", now);
        for _ in 0..8 {
            health.handle_failure(true, "no answer", now);
            let probe_at = health.probe_at().expect("it is silent");
            pauses.push((probe_at - now).as_millis());
            now = probe_at;
        }
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000]);
        health.handle_answer(now);
        assert_eq!(health.probe_at(), None);
        health.handle_failure(true, "no answer", now);
        health.handle_failure(true, "no answer", now);
        assert_eq!(health.probe_at(), Some(now + PAUSE_MIN));
    }

    #[test]
    fn garbled_answers_are_retried_more_often_than_silence() {
        let (mut health, now) = (Health::default(), start());
        for _ in 0..3 {
            assert_eq!(health.handle_failure(false, "CRC", now), None);
        }
        assert!(matches!(
            health.handle_failure(false, "CRC", now),
            Some(Change::FellSilent { .. })
        ));

        let mut health = Health::default();
        assert_eq!(health.handle_failure(true, "no answer", now), None);
        assert_eq!(health.handle_failure(false, "CRC", now), None);
        assert_eq!(health.handle_failure(true, "no answer", now), None);
    }

    #[test]
    fn probes_take_a_twentieth_of_the_time() {
        let start = start();
        let (mut budget, mut now) = (ProbeBudget::new(start), start);
        let cost = Duration::from_millis(300);
        let mut probes = 0;
        while now - start < Duration::from_secs(600) {
            now = now.max(budget.affordable_at(cost)) + cost;
            budget.handle_cost(cost, now);
            probes += 1;
        }
        assert!(
            (95..=110).contains(&probes),
            "{probes} probes of 0.3 s in 600 s, 2 s saved before"
        );
    }
}

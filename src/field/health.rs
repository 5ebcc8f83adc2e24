//! core: who answers, who is silent, garbles or refuses, and how often those are asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// Questions without any answer in a row until a device counts as silent: one and its repetition. One that never
/// answered has nothing to be forgiven.
const SILENT_TRIES: u32 = 2;
/// Failures of any kind in a row until a device counts as sick; a bad line spoils one in five without being dead.
const FAILED_TRIES: u32 = 4;
/// Refusals in a row that are not about what was asked for until a device counts as refusing.
const REFUSED_TRIES: u32 = 4;
/// How long a sick device is left alone at first.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// How long a sick device is left alone at most.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// In which way a device gives nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ailment {
    /// No answer comes at all.
    Silent,
    /// Something comes, and it is no answer: damaged, cut off, of another unit or another length.
    Garbling,
    /// It answers with exceptions, whatever it is asked for.
    Refusing,
}

/// How a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It has neither answered nor been found sick yet.
    Unknown,
    /// It answers.
    Online,
    /// It gives nothing, in this way.
    Sick(Ailment),
}

impl Condition {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Online => "online",
            Self::Sick(Ailment::Silent) => "silent",
            Self::Sick(Ailment::Garbling) => "garbling",
            Self::Sick(Ailment::Refusing) => "refusing",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Has neither answered nor been found sick yet.
    Unknown,
    Online,
    Sick {
        ailment: Ailment,
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
    /// It gives nothing any more, or never did.
    FellSick {
        /// In which way.
        ailment: Ailment,
        /// Why, in plain words.
        reason: Arc<str>,
    },
    /// It still gives nothing, in another way.
    Turned {
        /// In which way.
        ailment: Ailment,
        /// Why, in plain words.
        reason: Arc<str>,
    },
    /// It answers again.
    AnswersAgain {
        /// How many questions brought nothing.
        missed: u64,
        /// For how long.
        sick_for: Duration,
    },
}

/// The health of one device.
#[derive(Debug)]
pub struct Health {
    state: State,
    silent_tries: u32,
    failed_tries: u32,
    refused_tries: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self { state: State::Unknown, silent_tries: 0, failed_tries: 0, refused_tries: 0 }
    }
}

impl Health {
    /// How the device is.
    #[must_use]
    pub fn condition(&self) -> Condition {
        match self.state {
            State::Unknown => Condition::Unknown,
            State::Online => Condition::Online,
            State::Sick { ailment, .. } => Condition::Sick(ailment),
        }
    }

    /// Whether the device counts as sick.
    #[must_use]
    pub fn is_sick(&self) -> bool {
        matches!(self.state, State::Sick { .. })
    }

    /// Whether it has neither answered nor been found sick yet.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.state == State::Unknown
    }

    /// Whether it answered its last questions.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.state == State::Online && self.failed_tries == 0
    }

    /// When a sick device is worth a question again.
    #[must_use]
    pub fn probe_at(&self) -> Option<Instant> {
        match self.state {
            State::Sick { probe_at, .. } => Some(probe_at),
            State::Unknown | State::Online => None,
        }
    }

    /// The device gave what it was asked for, or does not have part of that.
    pub fn handle_answer(&mut self, now: Instant) -> Option<Change> {
        self.handle_forgiven();
        match std::mem::replace(&mut self.state, State::Online) {
            State::Online => None,
            State::Unknown => Some(Change::Online),
            State::Sick { since, missed, .. } => {
                Some(Change::AnswersAgain { missed, sick_for: now - since })
            }
        }
    }

    /// The device refused, and not because of what it was asked for.
    pub fn handle_refused(&mut self, reason: &str, now: Instant) -> Option<Change> {
        (self.silent_tries, self.failed_tries) = (0, 0);
        self.refused_tries += 1;
        let is_last = self.refused_tries >= REFUSED_TRIES;
        self.handle_nothing(Ailment::Refusing, is_last, self.refused_tries, reason, now)
    }

    /// A question brought nothing; `was_silent` when not even something spoilt came.
    pub fn handle_failure(
        &mut self,
        was_silent: bool,
        reason: &str,
        now: Instant,
    ) -> Option<Change> {
        let is_last = self.is_last_try(was_silent);
        self.failed_tries += 1;
        self.silent_tries = if was_silent { self.silent_tries + 1 } else { 0 };
        let ailment = if was_silent { Ailment::Silent } else { Ailment::Garbling };
        self.handle_nothing(ailment, is_last, self.failed_tries, reason, now)
    }

    fn handle_nothing(
        &mut self,
        found: Ailment,
        is_last: bool,
        tries: u32,
        reason: &str,
        now: Instant,
    ) -> Option<Change> {
        if let State::Sick { ailment, missed, pause, probe_at, .. } = &mut self.state {
            *missed += 1;
            *pause = (*pause * 2).min(PAUSE_MAX);
            *probe_at = now + *pause;
            let has_turned = std::mem::replace(ailment, found) != found;
            return has_turned.then(|| Change::Turned { ailment: found, reason: reason.into() });
        }
        is_last.then(|| self.fall_sick(found, u64::from(tries), reason, now))
    }

    /// Whether one more failure makes it count as sick.
    #[must_use]
    pub fn is_last_try(&self, was_silent: bool) -> bool {
        let silent_tries = if was_silent { self.silent_tries + 1 } else { 0 };
        let most = if self.is_unknown() { 1 } else { SILENT_TRIES };
        !self.is_sick() && (silent_tries >= most || self.failed_tries + 1 >= FAILED_TRIES)
    }

    /// The failures were explained by what was asked.
    pub fn handle_forgiven(&mut self) {
        (self.silent_tries, self.failed_tries, self.refused_tries) = (0, 0, 0);
    }

    /// The bus itself is gone.
    pub fn handle_unreachable(&mut self, reason: &str, now: Instant) -> Option<Change> {
        (!self.is_sick()).then(|| self.fall_sick(Ailment::Silent, 0, reason, now))
    }

    /// A sick device has a reason to answer again: ask at once.
    pub fn handle_hope(&mut self, now: Instant) {
        if let State::Sick { pause, probe_at, .. } = &mut self.state {
            *pause = PAUSE_MIN;
            *probe_at = (*probe_at).min(now);
        }
    }

    /// Asking before `until` would bring nothing that can be trusted.
    pub fn handle_not_before(&mut self, until: Instant) {
        if let State::Sick { probe_at, .. } = &mut self.state {
            *probe_at = (*probe_at).max(until);
        }
    }

    fn fall_sick(&mut self, ailment: Ailment, missed: u64, reason: &str, now: Instant) -> Change {
        let (pause, probe_at) = (PAUSE_MIN, now + PAUSE_MIN);
        self.state = State::Sick { ailment, since: now, missed, pause, probe_at };
        Change::FellSick { ailment, reason: reason.into() }
    }
}

/// A share of the time of a bus for questions that may bring nothing; what is not used is saved up, to a bound.
#[derive(Debug)]
pub struct Budget {
    /// In per cent, at least 1.
    share: u32,
    saved_max: Duration,
    /// When all that is spent has been earned again.
    full_at: Instant,
}

impl Budget {
    /// A full budget of `share` per cent that saves at most `saved_max`.
    #[must_use]
    pub fn new(share: u8, saved_max: Duration, now: Instant) -> Self {
        Self { share: u32::from(share.max(1)), saved_max, full_at: now }
    }

    /// When a question that may cost `cost` is affordable.
    #[must_use]
    pub fn affordable_at(&self, cost: Duration) -> Instant {
        let spare = self.earned_in(self.saved_max.saturating_sub(cost));
        self.full_at.checked_sub(spare).unwrap_or(self.full_at)
    }

    /// A question that brought nothing cost this much.
    pub fn handle_cost(&mut self, cost: Duration, now: Instant) {
        self.full_at = self.full_at.max(now) + self.earned_in(cost);
    }

    /// A sick device answers again: others may, too.
    pub fn handle_hope(&mut self, now: Instant) {
        self.full_at = now;
    }

    fn earned_in(&self, cost: Duration) -> Duration {
        cost * 100 / self.share
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
        let (ailment, reason) = (Ailment::Silent, "no answer".into());
        let fell = Change::FellSick { ailment, reason };
        assert_eq!(health.handle_failure(true, "no answer", now), Some(fell));
        assert_eq!(health.handle_failure(true, "no answer", now), None);
        let later = now + Duration::from_secs(6);
        let again = Change::AnswersAgain { missed: 3, sick_for: Duration::from_secs(6) };
        assert_eq!(health.handle_answer(later), Some(again));
        assert!(!health.is_sick());
    }

    #[test]
    fn the_pause_grows_to_ten_seconds_and_an_answer_resets_it() {
        let (mut health, mut now) = (Health::default(), start());
        let mut pauses = Vec::new();
        health.handle_answer(now);
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
        let fell = Change::FellSick { ailment: Ailment::Garbling, reason: "CRC".into() };
        assert_eq!(health.handle_failure(false, "CRC", now), Some(fell));

        let mut health = Health::default();
        health.handle_answer(now);
        assert_eq!(health.handle_failure(true, "no answer", now), None);
        assert_eq!(health.handle_failure(false, "CRC", now), None);
        assert_eq!(health.handle_failure(true, "no answer", now), None);
    }

    #[test]
    fn one_that_never_answered_counts_as_silent_at_once() {
        let (mut health, now) = (Health::default(), start());
        assert!(health.is_unknown());
        assert!(health.handle_failure(true, "no answer", now).is_some());
        assert!(health.is_sick() && !health.is_unknown());
    }

    #[test]
    fn silent_garbling_and_refusing_are_told_apart() {
        let (mut health, now) = (Health::default(), start());
        health.handle_answer(now);
        for _ in 1..REFUSED_TRIES {
            assert_eq!(health.handle_refused("exception 4", now), None);
        }
        let (ailment, reason) = (Ailment::Refusing, Arc::from("exception 4"));
        let fell = Change::FellSick { ailment, reason };
        assert_eq!(health.handle_refused("exception 4", now), Some(fell));
        assert_eq!(health.probe_at(), Some(now + PAUSE_MIN));
        assert_eq!(health.handle_refused("exception 4", now), None);
        assert_eq!(health.probe_at(), Some(now + PAUSE_MIN * 2), "the pause grows");
        let turned = Change::Turned { ailment: Ailment::Silent, reason: "no answer".into() };
        assert_eq!(health.handle_failure(true, "no answer", now), Some(turned));
        assert_eq!(health.handle_failure(true, "no answer", now), None);
        assert!(matches!(health.handle_answer(now), Some(Change::AnswersAgain { .. })));
        assert_eq!(health.handle_refused("exception 4", now), None, "it counts anew");
    }

    #[test]
    fn questions_without_answers_take_their_share_of_the_time() {
        for (share, expected) in [(5u8, 95..=105), (20, 395..=405)] {
            let start = start();
            let mut budget = Budget::new(share, Duration::from_millis(600), start);
            let (mut now, mut probes) = (start, 0);
            let cost = Duration::from_millis(300);
            while now - start < Duration::from_secs(600) {
                now = now.max(budget.affordable_at(cost)) + cost;
                budget.handle_cost(cost, now);
                probes += 1;
            }
            assert!(expected.contains(&probes), "{probes} questions of 0.3 s in 600 s");
        }
    }
}

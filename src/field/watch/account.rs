//! core: the account of a bus and of each device on it: how busy, how often asked and answered, what went wrong.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::trouble::{Trouble, Troubles};
use crate::field::health::Condition;
use crate::field::modbus::transaction::Failure;

/// The time that "lately" means, in this many parts.
const PARTS: usize = 6;
/// One part.
const PART: Duration = Duration::from_secs(10);
/// Questions of a device whose ends make its link quality.
const QUALITY_QUESTIONS: u32 = 64;
/// A question that is asked so soon after the end of the one before gives a device no time to breathe.
const BREATH: Duration = Duration::from_millis(50);
/// From this many on, older questions count for less.
const BREATHS_MAX: u16 = 64;

/// What happened within a part of the time.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    busy: Duration,
    ended: u64,
}

/// The account of one bus.
#[derive(Debug)]
pub struct Account {
    begun: Instant,
    /// Questions that ended, and those of them that brought what was asked for.
    asked: u64,
    answered: u64,
    troubles: Troubles,
    /// Frames that answered nothing that was asked then.
    passed_over: u64,
    /// Questions under way, and since when there is one.
    open: usize,
    busy_since: Instant,
    /// The parts of the last minute, and how many parts of its life have passed.
    parts: [Part; PARTS],
    part: u64,
    /// When the last question ended, and how long after that the next one went.
    ended: Option<Instant>,
    gap: Duration,
    /// Since when the port is open or not, and why not.
    port: (Instant, Result<(), Option<Arc<str>>>),
}

/// How a bus did since it started and in the last minute.
#[derive(Debug, Clone, PartialEq)]
pub struct Tally {
    /// How long ago it started.
    pub running: Duration,
    /// Questions that ended.
    pub asked: u64,
    /// Those of them that brought what was asked for.
    pub answered: u64,
    /// The others, by kind.
    pub troubles: Troubles,
    /// Frames that answered nothing that was asked then.
    pub passed_over: u64,
    /// Questions a second, in the last minute.
    pub per_second: f64,
    /// The share of the last minute with a question under way or the silence before it, 0 to 1.
    pub utilisation: f64,
}

/// Whether a port is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortTally {
    /// Whether it is.
    pub is_open: bool,
    /// For how long.
    pub lasted: Duration,
    /// Why not, in plain words; `None` also while it is tried for the first time.
    pub reason: Option<Arc<str>>,
}

impl Account {
    /// Begins at `now` with a port that is not open yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            begun: now,
            asked: 0,
            answered: 0,
            troubles: Troubles::default(),
            passed_over: 0,
            open: 0,
            busy_since: now,
            parts: [Part::default(); PARTS],
            part: 0,
            ended: None,
            gap: Duration::MAX,
            port: (now, Err(None)),
        }
    }

    /// A question goes.
    pub fn handle_asked(&mut self, now: Instant) {
        if self.open == 0 {
            self.busy_since = now;
            self.gap =
                self.ended.map_or(Duration::MAX, |ended| now.saturating_duration_since(ended));
        }
        self.open += 1;
    }

    /// A question ended; `passed_over` frames came meanwhile that did not answer it.
    pub fn handle_ended(&mut self, trouble: Option<Trouble>, passed_over: usize, now: Instant) {
        self.handle_busy(now);
        self.open = self.open.saturating_sub(1);
        self.ended = Some(now);
        self.asked += 1;
        self.passed_over += passed_over as u64;
        if let Some(part) = self.part_at(now) {
            part.ended += 1;
        }
        match trouble {
            None => self.answered += 1,
            // Who refuses is there, and was understood.
            Some(Trouble::Refused) => {
                self.answered += 1;
                self.troubles.add(Trouble::Refused);
            }
            Some(trouble) => self.troubles.add(trouble),
        }
    }

    /// Something went wrong that is no question's end.
    pub fn handle_trouble(&mut self, trouble: Trouble) {
        self.troubles.add(trouble);
    }

    /// Nothing is under way any more, whatever became of it.
    pub fn handle_unasked(&mut self, now: Instant) {
        self.handle_busy(now);
        self.open = 0;
    }

    /// The port is open.
    pub fn handle_port_up(&mut self, now: Instant) {
        if self.port.1.is_err() {
            self.port = (now, Ok(()));
        }
    }

    /// The port is of no use.
    pub fn handle_port_down(&mut self, reason: &str, now: Instant) {
        let since = if matches!(self.port.1, Err(Some(_))) { self.port.0 } else { now };
        self.port = (since, Err(Some(reason.into())));
    }

    /// How long after the end of the one before the question under way was asked.
    #[must_use]
    pub fn gap(&self) -> Duration {
        self.gap
    }

    fn handle_busy(&mut self, now: Instant) {
        let busy = now.saturating_duration_since(self.busy_since);
        let is_busy = self.open > 0;
        self.busy_since = now;
        if let Some(part) = self.part_at(now).filter(|_| is_busy) {
            part.busy += busy;
        }
    }

    /// The part that `now` lies in, emptied if it is a new one.
    fn part_at(&mut self, now: Instant) -> Option<&mut Part> {
        let part = self.number_of(now);
        // Where nothing happened for long, all of them are emptied once.
        for number in (self.part + 1..=part).rev().take(PARTS) {
            *self.parts.get_mut(index(number))? = Part::default();
        }
        self.part = self.part.max(part);
        self.parts.get_mut(index(self.part))
    }

    fn number_of(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begun).as_secs() / PART.as_secs()
    }

    /// How it did.
    #[must_use]
    pub fn tally(&self, now: Instant) -> Tally {
        let running = now.saturating_duration_since(self.begun);
        let number = self.number_of(now);
        let is_recent = |at: u64| at <= self.part && at + PARTS as u64 > number;
        let first = number.saturating_sub(PARTS as u64 - 1);
        let recent = (first..=number).filter(|at| is_recent(*at));
        let recent: Vec<Part> =
            recent.filter_map(|at| self.parts.get(index(at)).copied()).collect();
        let span = running.saturating_sub(PART * u32::try_from(first).unwrap_or(u32::MAX));
        let seconds = span.as_secs_f64().max(0.001);
        let mut busy: Duration = recent.iter().map(|part| part.busy).sum();
        if self.open > 0 {
            busy += now.saturating_duration_since(self.busy_since);
        }
        let ended: u64 = recent.iter().map(|part| part.ended).sum();
        Tally {
            running,
            asked: self.asked,
            answered: self.answered,
            troubles: self.troubles,
            passed_over: self.passed_over,
            per_second: precise(ended) / seconds,
            utilisation: (busy.as_secs_f64() / seconds).min(1.0),
        }
    }

    /// How its port is.
    #[must_use]
    pub fn port(&self, now: Instant) -> PortTally {
        let (since, state) = &self.port;
        PortTally {
            is_open: state.is_ok(),
            lasted: now.saturating_duration_since(*since),
            reason: state.as_ref().err().and_then(Clone::clone),
        }
    }
}

fn index(part: u64) -> usize {
    usize::try_from(part % PARTS as u64).unwrap_or_default()
}

#[allow(clippy::cast_precision_loss, reason = "counts of a minute are far below 2^52")]
fn precise(count: u64) -> f64 {
    count as f64
}

/// The account of one device.
#[derive(Debug)]
pub struct DeviceAccount {
    asked: u64,
    answered: u64,
    troubles: Troubles,
    /// How the last questions ended: 1 for an answer, the youngest lowest.
    ends: u64,
    /// The last failure in words, and when.
    last: Option<(Arc<str>, Instant)>,
    condition: Condition,
    since: Instant,
    /// Questions that were answered and not, asked at once after others: and after a while.
    at_once: (u16, u16),
    rested: (u16, u16),
}

/// How a device did since the bus started.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceTally {
    /// Questions that ended.
    pub asked: u64,
    /// Those of them that it answered, be it with a refusal.
    pub answered: u64,
    /// What went wrong, by kind.
    pub troubles: Troubles,
    /// The share of the last 64 questions that were answered, 0 to 1; `None` before the first.
    pub quality: Option<f64>,
    /// The last failure in words, and how long ago.
    pub last: Option<(Arc<str>, Duration)>,
    /// How it is.
    pub condition: Condition,
    /// For how long.
    pub lasted: Duration,
    /// Whether it answers after a rest and hardly ever without one.
    pub needs_rest: bool,
}

impl DeviceAccount {
    /// Begins at `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            asked: 0,
            answered: 0,
            troubles: Troubles::default(),
            ends: 0,
            last: None,
            condition: Condition::Unknown,
            since: now,
            at_once: (0, 0),
            rested: (0, 0),
        }
    }

    /// A question ended that was asked `gap` after the end of the one before.
    pub fn handle_ended(&mut self, failure: Option<&Failure>, gap: Duration, now: Instant) {
        let trouble = failure.and_then(Trouble::of);
        if failure.is_some() && trouble.is_none() {
            return;
        }
        let is_answer = trouble.is_none_or(|trouble| trouble == Trouble::Refused);
        self.handle_end(is_answer, trouble);
        if let Some(failure) = failure {
            self.last = Some((failure.to_string().into(), now));
        }
        let counts = if gap < BREATH { &mut self.at_once } else { &mut self.rested };
        let count = if is_answer { &mut counts.0 } else { &mut counts.1 };
        *count += 1;
        if *count >= BREATHS_MAX {
            *counts = (counts.0 / 2, counts.1 / 2);
        }
    }

    /// A question or a frame brought something, or did not.
    pub fn handle_end(&mut self, is_answer: bool, trouble: Option<Trouble>) {
        self.asked += 1;
        self.answered += u64::from(is_answer);
        self.ends = self.ends << 1 | u64::from(is_answer);
        trouble.into_iter().for_each(|trouble| self.troubles.add(trouble));
    }

    /// It is like this.
    pub fn handle_condition(&mut self, condition: Condition, now: Instant) {
        if self.condition != condition {
            (self.condition, self.since) = (condition, now);
        }
    }

    /// Why it is so, where no question of its own says it.
    pub fn handle_reason(&mut self, reason: &str, now: Instant) {
        self.last = Some((reason.into(), now));
    }

    /// How it did.
    #[must_use]
    pub fn tally(&self, now: Instant) -> DeviceTally {
        let counted = u32::try_from(self.asked).unwrap_or(u32::MAX).min(QUALITY_QUESTIONS);
        let good = f64::from(self.ends.count_ones());
        let quality = (counted > 0).then(|| good / f64::from(counted));
        let ago = |(words, at): &(Arc<str>, Instant)| {
            (Arc::clone(words), now.saturating_duration_since(*at))
        };
        let ((at_once, at_once_not), (rested, rested_not)) = (self.at_once, self.rested);
        DeviceTally {
            asked: self.asked,
            answered: self.answered,
            troubles: self.troubles,
            quality,
            last: self.last.as_ref().map(ago),
            condition: self.condition,
            lasted: now.saturating_duration_since(self.since),
            needs_rest: at_once_not >= 6
                && at_once * 4 <= at_once_not
                && rested >= 6
                && rested_not * 4 <= rested,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Instant {
        #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
        Instant::now()
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Asks every `every` for `takes` until `until`.
    fn run(account: &mut Account, start: Instant, from: u64, until: u64, every: u64, takes: u64) {
        for at in (from..until).step_by(usize::try_from(every).expect("small")) {
            account.handle_asked(start + ms(at));
            account.handle_ended(None, 0, start + ms(at + takes));
        }
    }

    #[test]
    fn utilisation_and_rate_are_those_of_the_last_minute() {
        let start = start();
        let mut account = Account::new(start);
        run(&mut account, start, 0, 5_000, 100, 25);
        let tally = account.tally(start + ms(5_000));
        assert!((tally.per_second - 10.0).abs() < 0.1, "{tally:?}");
        assert!((tally.utilisation - 0.25).abs() < 0.01, "{tally:?}");
        // Ten minutes at twice the rate: what was before is forgotten.
        run(&mut account, start, 5_000, 600_000, 50, 25);
        let tally = account.tally(start + ms(600_000));
        assert!((tally.per_second - 20.0).abs() < 0.2, "{tally:?}");
        assert!((tally.utilisation - 0.5).abs() < 0.01, "{tally:?}");
        // Silence: it fades within a minute.
        let tally = account.tally(start + ms(670_000));
        assert!(tally.per_second == 0.0 && tally.utilisation == 0.0, "{tally:?}");
        assert_eq!(tally.asked, 50 + 11_900);
    }

    #[test]
    fn questions_under_way_together_are_busy_once() {
        let start = start();
        let mut account = Account::new(start);
        account.handle_asked(start);
        account.handle_asked(start + ms(100));
        account.handle_ended(None, 0, start + ms(500));
        account.handle_ended(Some(Trouble::NoAnswer), 2, start + ms(800));
        account.handle_asked(start + ms(900));
        let tally = account.tally(start + ms(1000));
        assert!((tally.utilisation - 0.9).abs() < 0.001, "{tally:?}");
        assert_eq!((tally.asked, tally.answered, tally.passed_over), (2, 1, 2));
        account.handle_unasked(start + ms(1000));
        account.handle_asked(start + ms(1000));
        account.handle_ended(Some(Trouble::Refused), 0, start + ms(1000));
        let tally = account.tally(start + ms(1000));
        assert_eq!((tally.asked, tally.answered), (3, 2), "a refusal is an answer");
        let tally = account.tally(start + ms(2000));
        assert!((tally.utilisation - 0.45).abs() < 0.001, "{tally:?}");
    }

    #[test]
    fn a_port_is_down_since_it_went_down_whatever_is_said_of_it_since() {
        let start = start();
        let mut account = Account::new(start);
        assert_eq!((account.port(start).is_open, account.port(start).reason), (false, None));
        account.handle_port_up(start + ms(10));
        account.handle_port_up(start + ms(20));
        assert_eq!(account.port(start + ms(30)).lasted, ms(20));
        account.handle_port_down("gone", start + ms(40));
        account.handle_port_down("still gone", start + ms(50));
        let port = account.port(start + ms(60));
        assert_eq!((port.lasted, port.reason.as_deref()), (ms(20), Some("still gone")));
    }

    #[test]
    fn the_quality_of_a_link_is_that_of_its_last_questions() {
        let start = start();
        let mut account = DeviceAccount::new(start);
        assert_eq!(account.tally(start).quality, None);
        account.handle_ended(None, ms(100), start);
        account.handle_ended(Some(&Failure::NoAnswer), ms(100), start);
        assert_eq!(account.tally(start).quality, Some(0.5));
        (0..64).for_each(|_| account.handle_ended(None, ms(100), start));
        let tally = account.tally(start + ms(5));
        assert_eq!((tally.quality, tally.asked, tally.answered), (Some(1.0), 66, 65));
        assert_eq!(tally.last.expect("it failed once").1, ms(5));
        assert!(!tally.needs_rest);
    }

    #[test]
    fn a_device_that_answers_only_after_a_rest_is_found_out() {
        let start = start();
        let mut account = DeviceAccount::new(start);
        for _ in 0..100 {
            account.handle_ended(None, ms(100), start);
            account.handle_ended(Some(&Failure::NoAnswer), ms(5), start);
        }
        assert!(account.tally(start).needs_rest);
        (0..50).for_each(|_| account.handle_ended(None, ms(5), start));
        assert!(!account.tally(start).needs_rest);
    }
}

//! core: what may be said of a message's age: a wall clock that is set must neither expire nor misdate anything.
//!
//! While the wall clock cannot be believed, messages are dated by the time since the boot. When a clock that was believed
//! steps forward, what was accepted before the step is as much younger than it looks.

use std::time::Duration;

use crate::model::{ClockState, Message, Moment, Seq, Timestamp};

/// Wall clock and time since the boot going apart by more is a step: both are slewed alike.
const STEP_MIN_MS: u64 = 1000;

/// A wall clock that was believed went forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    /// What it said just before.
    before: Timestamp,
    /// What it said just after.
    after: Timestamp,
    /// By how much, together with the steps before it.
    by: Duration,
}

/// What the hub knows of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    state: ClockState,
    /// The first place whose message was accepted since the boot.
    boot_first: Seq,
    seen: Moment,
    step: Option<Step>,
}

impl Clock {
    /// A clock in `state` at `now`; messages from `boot_first` on are of this boot.
    #[must_use]
    pub fn new(state: ClockState, boot_first: Seq, now: Moment) -> Self {
        Self { state, boot_first, seen: now, step: None }
    }

    /// The wall clock may be believed from here on, or no longer.
    pub fn handle_state(&mut self, state: ClockState, now: Moment) {
        // Whatever it did until here dated nothing.
        (self.state, self.seen) = (state, now);
    }

    /// Time has passed; a step of the wall clock is found out here.
    pub fn handle_time(&mut self, now: Moment) {
        let passed = Duration::from_millis(now.boot_ms.saturating_sub(self.seen.boot_ms));
        let expected = self.seen.wall.plus(passed);
        let was_believed = self.believes(self.seen) && self.believes(now);
        self.seen = now;
        if !was_believed {
            return;
        }
        let (ahead, back) = (now.wall.since(expected), expected.since(now.wall));
        let least = Duration::from_millis(STEP_MIN_MS);
        if ahead >= least {
            let by = self.step.map_or(Duration::ZERO, |step| step.by) + ahead;
            self.step = Some(Step { before: expected, after: now.wall, by });
        } else if back >= least
            && let Some(step) = &mut self.step
        {
            step.by = step.by.saturating_sub(back);
        }
    }

    /// The time to note for something that lasts: by the wall clock, or since the boot if that cannot be believed.
    #[must_use]
    pub fn stamp(&self, now: Moment) -> Timestamp {
        if self.believes(now) { now.wall } else { Timestamp::from_unix_ms(now.boot_ms) }
    }

    /// Dates a message that enters the hub; its end was reckoned from `now.wall`.
    pub fn handle_entry(&self, message: &mut Message, now: Moment) {
        message.accepted = self.stamp(now);
        let lifetime = message.expires.map(|end| end.since(now.wall));
        message.expires = lifetime.map(|lifetime| message.accepted.plus(lifetime));
    }

    /// Whether a message is not worth delivering any more, as far as anybody can tell.
    #[must_use]
    pub fn is_expired(&self, seq: Seq, message: &Message, now: Moment) -> bool {
        self.left(seq, message, now).is_some_and(|left| left.is_zero())
    }

    /// How long a message is still worth delivering; `None` for ever. Never more than it was at first.
    #[must_use]
    pub fn left(&self, seq: Seq, message: &Message, now: Moment) -> Option<Duration> {
        let Message { accepted, expires: Some(end), .. } = *message else { return None };
        let whole = end.since(accepted);
        Some(if accepted.is_set() {
            let young = self.step.filter(|step| accepted <= step.before);
            let end = end.plus(young.map_or(Duration::ZERO, |step| step.by));
            if self.believes(now) { end.since(now.wall).min(whole) } else { whole }
        } else if seq >= self.boot_first {
            end.since(Timestamp::from_unix_ms(now.boot_ms)).min(whole)
        } else {
            whole
        })
    }

    /// The right time of a reading that was taken by a clock nobody could believe, once that is known.
    #[must_use]
    pub fn right_time(&self, seq: Seq, message: &Message, now: Moment) -> Option<Timestamp> {
        let ago = now.boot_ms.checked_sub(message.body.unsynced_at()?)?;
        let is_known = seq >= self.boot_first && self.believes(now);
        is_known.then(|| Timestamp::from_unix_ms(now.wall.unix_ms().saturating_sub(ago)))
    }

    /// What was accepted before this is older than `age_max`; `None` if nobody can tell.
    #[must_use]
    pub fn age_limit(&self, age_max: Duration, now: Moment) -> Option<Timestamp> {
        let ago = |time: Timestamp, by: Duration| {
            let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
            time.unix_ms().checked_sub(by).map(Timestamp::from_unix_ms)
        };
        let limit = ago(now.wall, age_max).filter(|_| self.believes(now))?;
        // Until everything from before the step is too old, what the limit reaches is from before it.
        match self.step {
            Some(step) if limit < step.after => ago(limit, step.by),
            Some(_) | None => Some(limit),
        }
    }

    /// Whether a time the wall clock noted, and what it says, may be compared.
    #[must_use]
    pub fn believes(&self, now: Moment) -> bool {
        self.state.covers(now)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use std::time::Instant;

    use bytes::Bytes;

    use super::*;
    use crate::model::{Body, QoS, TopicName};

    const HOUR_MS: u64 = 3_600_000;
    const DAY_MS: u64 = 24 * HOUR_MS;
    const WALL_MS: u64 = 1_795_230_600_000;

    fn at(wall_ms: u64, boot_ms: u64) -> Moment {
        Moment { mono: Instant::now(), wall: Timestamp::from_unix_ms(wall_ms), boot_ms }
    }

    fn message(body: Body, expires: Option<Timestamp>) -> Message {
        Message {
            topic: TopicName::new("t").expect("a topic"),
            payload: Bytes::new(),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: None,
            accepted: Timestamp::default(),
            expires,
            body,
        }
    }

    /// A message that enters at `now` and is worth delivering for an hour.
    fn for_an_hour(clock: &Clock, now: Moment) -> Message {
        let end = now.wall.plus(Duration::from_millis(HOUR_MS));
        let mut message = message(Body::Foreign, Some(end));
        clock.handle_entry(&mut message, now);
        message
    }

    fn synced(now: Moment) -> Clock {
        Clock::new(ClockState::default(), Seq(10), now)
    }

    #[test]
    fn a_step_back_expires_nothing_and_prolongs_nothing_beyond_its_lifetime() {
        let mut clock = synced(at(WALL_MS, 0));
        let message = for_an_hour(&clock, at(WALL_MS, 0));
        let back = at(WALL_MS - HOUR_MS + 60_000, 60_000);
        clock.handle_time(back);
        assert!(!clock.is_expired(Seq(11), &message, back));
        assert_eq!(clock.left(Seq(11), &message, back), Some(Duration::from_millis(HOUR_MS)));
        let limit = clock.age_limit(Duration::from_millis(HOUR_MS), back).expect("known");
        assert!(limit < message.accepted);
    }

    #[test]
    fn a_step_forward_makes_nothing_older() {
        let age_max = Duration::from_millis(2 * HOUR_MS);
        let mut clock = synced(at(WALL_MS, 0));
        let old = for_an_hour(&clock, at(WALL_MS, 0));
        let stepped = at(WALL_MS + DAY_MS + 60_000, 60_000);
        clock.handle_time(stepped);
        let young = for_an_hour(&clock, stepped);
        assert_eq!(
            clock.left(Seq(11), &old, stepped),
            Some(Duration::from_millis(HOUR_MS - 60_000))
        );
        assert_eq!(clock.left(Seq(12), &young, stepped), Some(Duration::from_millis(HOUR_MS)));
        assert!(clock.age_limit(age_max, stepped).expect("known") < old.accepted);
        // An hour later both have lived long enough; the first is not three hours old before its time.
        let later = at(stepped.wall.unix_ms() + HOUR_MS, 60_000 + HOUR_MS);
        clock.handle_time(later);
        assert!(clock.is_expired(Seq(11), &old, later) && clock.is_expired(Seq(12), &young, later));
        assert!(clock.age_limit(age_max, later).expect("known") <= old.accepted);
        let end = at(later.wall.unix_ms() + HOUR_MS, 60_000 + 2 * HOUR_MS);
        clock.handle_time(end);
        let limit = clock.age_limit(age_max, end).expect("known");
        assert!(old.accepted < limit && young.accepted >= limit, "{limit}");
    }

    #[test]
    fn steps_to_and_fro_cancel_each_other() {
        let mut clock = synced(at(WALL_MS, 0));
        for round in 0..50 {
            let boot = round * 120_000;
            clock.handle_time(at(WALL_MS + boot + HOUR_MS, boot));
            clock.handle_time(at(WALL_MS + boot + 60_000, boot + 60_000));
        }
        assert_eq!(clock.step.map(|step| step.by), Some(Duration::ZERO));
        clock.handle_time(at(WALL_MS + 50 * 120_000 + 999, 50 * 120_000));
        assert_eq!(clock.step.map(|step| step.by), Some(Duration::ZERO), "a slew is no step");
    }

    #[test]
    fn what_came_before_the_clock_was_synchronised_lives_by_the_time_since_the_boot() {
        let mut clock = Clock::new(ClockState::Unsynced, Seq(10), at(WALL_MS - 3 * DAY_MS, 5_000));
        let message = for_an_hour(&clock, at(WALL_MS - 3 * DAY_MS, 5_000));
        assert!(!message.accepted.is_set());
        assert_eq!(clock.age_limit(Duration::ZERO, at(WALL_MS - 3 * DAY_MS, 6_000)), None);
        let synced = at(WALL_MS, 65_000);
        clock.handle_time(synced);
        clock.handle_state(ClockState::Synced { since_ms: 65_000 }, synced);
        let left = Duration::from_millis(HOUR_MS - 60_000);
        assert_eq!(clock.left(Seq(10), &message, synced), Some(left));
        assert_eq!(
            clock.age_limit(Duration::ZERO, synced),
            Some(synced.wall),
            "the step is no step"
        );
        let end = at(WALL_MS + HOUR_MS, 65_000 + HOUR_MS);
        assert!(clock.is_expired(Seq(10), &message, end));
        // Of another boot nobody can tell.
        assert_eq!(clock.left(Seq(9), &message, end), Some(Duration::from_millis(HOUR_MS)));
    }

    #[test]
    fn a_reading_is_dated_by_how_long_ago_it_was_taken() {
        let reading = message(Body::Reading { unsynced_at: Some(5_000) }, None);
        let mut clock = Clock::new(ClockState::Unsynced, Seq(10), at(0, 5_000));
        assert_eq!(clock.right_time(Seq(10), &reading, at(1_000, 6_000)), None);
        let synced = at(WALL_MS, 8_000);
        clock.handle_state(ClockState::Synced { since_ms: 8_000 }, synced);
        let time = Timestamp::from_unix_ms(WALL_MS - 3_000);
        assert_eq!(clock.right_time(Seq(10), &reading, synced), Some(time));
        assert_eq!(clock.right_time(Seq(9), &reading, synced), None);
        let right = message(Body::Reading { unsynced_at: None }, None);
        assert_eq!(clock.right_time(Seq(10), &right, synced), None);
    }
}

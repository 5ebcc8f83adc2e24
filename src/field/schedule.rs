//! core: when which group of points is due on a bus.
//!
//! Everything is due at once at the start, since the first value is what people wait for. From then on groups of the
//! same period are spread over it. A slot that passes while its group still runs, sleeps or waits is skipped and
//! counted, never caught up.

use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Waits for its slot.
    Waiting,
    /// Its slot has come; it should be done by this time.
    Running { deadline: Instant },
    /// Has no slots until it is woken.
    Asleep,
}

#[derive(Debug)]
struct Slots {
    every: Duration,
    next: Instant,
    /// What moves the second slot, and with it all later ones, to the group's place within the period.
    shift: Option<Duration>,
    state: State,
    skipped: u64,
}

/// The slots of all groups of one bus, each known by its index.
#[derive(Debug)]
pub struct Schedule {
    groups: Vec<Slots>,
}

impl Schedule {
    /// Makes all groups due at `start`, each then once in its period.
    #[must_use]
    pub fn new(periods: &[Duration], start: Instant) -> Self {
        let slots = |(index, every): (usize, &Duration)| {
            let alike = periods.iter().filter(|other| *other == every).count();
            let before = periods.iter().take(index).filter(|other| *other == every).count();
            let part = *every * u32::try_from(before).unwrap_or(0);
            Slots {
                every: (*every).max(Duration::from_millis(1)),
                next: start,
                shift: Some(part / u32::try_from(alike).unwrap_or(1).max(1)),
                state: State::Waiting,
                skipped: 0,
            }
        };
        Self { groups: periods.iter().enumerate().map(slots).collect() }
    }

    /// Starts the group whose slot has come and that must be done first.
    pub fn poll_due(&mut self, now: Instant) -> Option<usize> {
        let due = self.groups.iter().enumerate();
        let due = due.filter(|(_, group)| group.state == State::Waiting && group.next <= now);
        let (index, _) = due.min_by_key(|(_, group)| group.next + group.every)?;
        if let Some(group) = self.groups.get_mut(index) {
            group.state = State::Running { deadline: group.next + group.every };
        }
        Some(index)
    }

    /// Starts a group out of turn; it should be done within its period.
    pub fn start(&mut self, index: usize, now: Instant) {
        if let Some(group) = self.groups.get_mut(index) {
            group.state = State::Running { deadline: now + group.every };
        }
    }

    /// Ends a run. Slots that passed meanwhile are skipped; returns how many.
    pub fn handle_done(&mut self, index: usize, now: Instant) -> u64 {
        let Some(group) = self.groups.get_mut(index) else { return 0 };
        let State::Running { deadline } = group.state else { return 0 };
        group.state = State::Waiting;
        let every = group.every;
        // Half a period less at most and half a period more: never two runs close together, never a long hole.
        group.next = match group.shift.take() {
            Some(shift) if shift > every / 2 => deadline + shift - every,
            Some(shift) => deadline + shift,
            None => deadline,
        };
        if group.next > now {
            return 0;
        }
        let missed = (now - group.next).as_nanos() / every.as_nanos() + 1;
        let skipped = u64::try_from(missed).unwrap_or(u64::MAX);
        group.skipped = group.skipped.saturating_add(skipped);
        group.next += every * u32::try_from(missed).unwrap_or(u32::MAX);
        skipped
    }

    /// Takes a group out of the schedule.
    pub fn handle_asleep(&mut self, index: usize) {
        if let Some(group) = self.groups.get_mut(index) {
            group.state = State::Asleep;
        }
    }

    /// Puts a sleeping group back; it is due at once.
    pub fn handle_awake(&mut self, index: usize, now: Instant) {
        if let Some(group) = self.groups.get_mut(index).filter(|it| it.state == State::Asleep) {
            group.state = State::Waiting;
            group.next = now;
        }
    }

    /// By when a running group should be done.
    #[must_use]
    pub fn deadline(&self, index: usize) -> Option<Instant> {
        match self.groups.get(index)?.state {
            State::Running { deadline } => Some(deadline),
            State::Waiting | State::Asleep => None,
        }
    }

    /// When the next slot comes.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waiting = self.groups.iter().filter(|group| group.state == State::Waiting);
        waiting.map(|group| group.next).min()
    }

    /// How many slots passed without a run because an earlier run took too long, group by group.
    pub fn skipped(&self) -> impl Iterator<Item = u64> {
        self.groups.iter().map(|group| group.skipped)
    }

    /// The period of a group.
    #[must_use]
    pub fn every(&self, index: usize) -> Option<Duration> {
        self.groups.get(index).map(|group| group.every)
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

    /// Runs the schedule until `until` on a bus where each run takes `takes`; returns (group, ms) for each run.
    fn run(periods: &[Duration], takes: Duration, until: Duration) -> (Vec<(usize, u128)>, u64) {
        let start = start();
        let mut schedule = Schedule::new(periods, start);
        let (mut now, mut runs) = (start, Vec::new());
        while now - start < until {
            if let Some(group) = schedule.poll_due(now) {
                runs.push((group, (now - start).as_millis()));
                now += takes;
                schedule.handle_done(group, now);
            } else {
                now = schedule.poll_timeout().expect("some group waits");
            }
        }
        (runs, schedule.skipped().sum())
    }

    #[test]
    fn all_are_read_at_once_first_and_then_spread_over_the_period() {
        let (runs, skipped) = run(&[ms(1000); 4], ms(0), ms(3000));
        assert_eq!(&runs[..4], [(0, 0), (1, 0), (2, 0), (3, 0)]);
        assert_eq!(&runs[4..8], [(3, 750), (0, 1000), (1, 1250), (2, 1500)]);
        assert_eq!(&runs[8..12], [(3, 1750), (0, 2000), (1, 2250), (2, 2500)]);
        assert_eq!(skipped, 0);
    }

    #[test]
    fn a_slot_that_passes_is_skipped_and_counted_not_caught_up() {
        let (runs, skipped) = run(&[ms(100)], ms(250), ms(1000));
        assert_eq!(runs, [(0, 0), (0, 300), (0, 600), (0, 900)]);
        assert_eq!(skipped, 8);
    }

    #[test]
    fn the_shorter_period_goes_first_and_the_longer_does_not_starve() {
        let (runs, _) = run(&[ms(10_000), ms(100)], ms(90), ms(1000));
        assert_eq!(&runs[..2], [(1, 0), (0, 90)]);
        let (runs, _) = run(&[ms(1000), ms(100), ms(100)], ms(80), ms(20_000));
        let slow = runs.iter().filter(|(group, _)| *group == 0).count();
        assert!(slow >= 18, "{slow} runs in 20 periods on a bus with more work than time");
    }

    #[test]
    fn a_sleeping_group_has_no_slots_and_is_due_at_once_when_woken() {
        let start = start();
        let mut schedule = Schedule::new(&[ms(100)], start);
        assert_eq!(schedule.poll_due(start), Some(0));
        schedule.handle_asleep(0);
        schedule.handle_done(0, start);
        assert_eq!((schedule.poll_timeout(), schedule.poll_due(start + ms(500))), (None, None));
        schedule.handle_awake(0, start + ms(510));
        assert_eq!(schedule.poll_due(start + ms(510)), Some(0));
        assert_eq!(schedule.deadline(0), Some(start + ms(610)));
        schedule.handle_done(0, start + ms(520));
        assert_eq!(schedule.poll_timeout(), Some(start + ms(610)));
        assert_eq!(schedule.skipped().sum::<u64>(), 0);
    }
}

//! core: the points of one device with one period: their plan, the run under way, and what the device refuses.
//!
//! A block that is refused is halved, down to single values, in the same run: the healthy points of it come anyway.
//! What that taught is kept: a value that is refused by itself is asked for alone and rarely; where both halves are
//! fine, no read crosses their border again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::modbus::pdu::ReadRange;
use super::modbus::plan::{self, Known, Read, Wanted, WireCost};

/// How long a refused value is left alone at first; a device that is still starting may refuse what it has.
const REFUSED_PAUSE_MIN: Duration = Duration::from_secs(5);
/// How long a refused value is left alone at most.
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(300);
/// How long to wait before a busy device is asked again, try by try; after the last its points are given up.
const BUSY_PAUSES: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(100), Duration::from_millis(500)];

/// A read to be done in this run.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) read: Read,
    busy: usize,
    trial: Option<usize>,
}

/// A value the device refuses.
#[derive(Debug)]
struct Refused {
    read: Read,
    pause: Duration,
    ask_at: Instant,
}

/// Two halves of a refused block on trial.
#[derive(Debug)]
struct Trial {
    halves: (Read, Read),
    open: usize,
    clean: bool,
}

/// What a refusal means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The block was split; its parts are asked next.
    Split,
    /// These points are refused.
    Points(Vec<Wanted>),
}

#[derive(Debug)]
pub(super) struct Group {
    /// The index of the device.
    pub(super) device: usize,
    /// Not before this may the next read of the run be asked.
    pub(super) not_before: Option<Instant>,
    points: Vec<Wanted>,
    wire: WireCost,
    known: Known,
    reads: Vec<Read>,
    refused: Vec<Refused>,
    run: VecDeque<Step>,
    trials: Vec<Trial>,
    has_learnt: bool,
    longer: bool,
}

impl Group {
    pub(super) fn new(device: usize, points: Vec<Wanted>, wire: WireCost) -> Self {
        let known = Known::default();
        Self {
            device,
            not_before: None,
            reads: plan::plan(&points, &wire, &known),
            points,
            wire,
            known,
            refused: Vec::new(),
            run: VecDeque::new(),
            trials: Vec::new(),
            has_learnt: false,
            longer: true,
        }
    }

    /// The reads of a run as they are planned.
    #[cfg(test)]
    pub(super) fn reads(&self) -> &[Read] {
        &self.reads
    }

    /// Whether a question may reach beyond a read to be told from older ones.
    pub(super) fn may_ask_longer(&self) -> bool {
        self.longer
    }

    /// Begins a run: all planned reads and the refused values that are due again.
    pub(super) fn begin(&mut self, now: Instant) {
        self.fill(0, |refused| refused.ask_at <= now);
    }

    /// Begins a run to find out whether the device answers at all, with the read at `first`; a refusal will do.
    pub(super) fn begin_probe(&mut self, first: usize) {
        let has_no_other = self.reads.is_empty();
        self.fill(first, |_| has_no_other);
    }

    fn fill(&mut self, first: usize, is_due: impl Fn(&Refused) -> bool) {
        self.abandon();
        self.run.extend(self.reads.iter().cloned().map(|read| step(read, None)));
        let len = self.run.len().max(1);
        self.run.rotate_left(first % len);
        let due = self.refused.iter().filter(|refused| is_due(refused));
        self.run.extend(due.map(|refused| step(refused.read.clone(), None)));
    }

    /// Forgets the rest of the run.
    pub(super) fn abandon(&mut self) {
        self.run.clear();
        self.trials.clear();
        self.not_before = None;
        self.learn();
    }

    /// The read to be done next; `None` when the run is done.
    pub(super) fn next(&self) -> Option<&Step> {
        self.run.front()
    }

    /// Whether the next read is a value that was refused before and is tried again.
    pub(super) fn is_next_refused(&self) -> bool {
        let of = |step: &Step| self.refused.iter().any(|it| it.read.points == step.read.points);
        self.next().is_some_and(of)
    }

    /// Lets the other reads of the run go first.
    pub(super) fn handle_postponed(&mut self) {
        if let Some(step) = self.run.pop_front() {
            self.run.push_back(step);
        }
    }

    /// `range` was answered; returns the points it brought.
    pub(super) fn handle_answer(&mut self, range: ReadRange) -> Vec<Wanted> {
        let Some((step, points)) = self.take(range) else { return Vec::new() };
        if let Some(index) = self.refused.iter().position(|it| it.read.points == points) {
            self.refused.remove(index);
            self.known.refused.retain(|refused| *refused != step.read.range);
            self.has_learnt = true;
        }
        if let Some(trial) = step.trial.and_then(|trial| self.trials.get_mut(trial)) {
            trial.open -= 1;
            if trial.open == 0 && trial.clean {
                let (_, right) = &trial.halves;
                let cut = (right.range.table(), u32::from(right.range.address()));
                self.known.cuts.insert(cut);
                self.has_learnt = true;
            }
        }
        self.learn_if_done();
        points
    }

    /// The device does not have all of `range`.
    pub(super) fn handle_refusal(&mut self, range: ReadRange, now: Instant) -> Refusal {
        let beyond = |step: &&Step| range.count() > step.read.range.count();
        if self.next().filter(beyond).is_some() {
            // Asked was more than is wanted, and that is what may be refused.
            self.longer = false;
            return Refusal::Split;
        }
        let Some((step, points)) = self.take(range) else { return Refusal::Points(Vec::new()) };
        self.spoil_trial(&step);
        let all = plan::Read { range, points };
        if let Some(halves) = all.halves() {
            let trial = Some(self.trials.len());
            self.run.push_front(self::step(halves.1.clone(), trial));
            self.run.push_front(self::step(halves.0.clone(), trial));
            self.trials.push(Trial { halves, open: 2, clean: true });
            return Refusal::Split;
        }
        match self.refused.iter_mut().find(|refused| refused.read.points == all.points) {
            Some(refused) => {
                refused.pause = (refused.pause * 2).min(REFUSED_PAUSE_MAX);
                refused.ask_at = now + refused.pause;
            }
            None => {
                let (pause, ask_at) = (REFUSED_PAUSE_MIN, now + REFUSED_PAUSE_MIN);
                self.known.refused.push(all.range);
                self.refused.push(Refused { read: all.clone(), pause, ask_at });
                self.has_learnt = true;
            }
        }
        self.learn_if_done();
        Refusal::Points(all.points)
    }

    /// The device will not give `range` this time; returns the points that are without a value for it.
    pub(super) fn handle_given_up(&mut self, range: ReadRange) -> Vec<Wanted> {
        let Some((step, points)) = self.take(range) else { return Vec::new() };
        self.spoil_trial(&step);
        self.learn_if_done();
        points
    }

    /// The device needs time; returns the points that are without a value for it once patience is over.
    pub(super) fn handle_busy(&mut self, range: ReadRange, now: Instant) -> Option<Vec<Wanted>> {
        let step = self.run.front_mut()?;
        if let Some(pause) = BUSY_PAUSES.get(step.busy) {
            step.busy += 1;
            self.not_before = Some(now + *pause);
            return None;
        }
        Some(self.handle_given_up(range))
    }

    /// Takes what `range` covers of the next read out of the run; what it does not stays.
    fn take(&mut self, range: ReadRange) -> Option<(Step, Vec<Wanted>)> {
        let step = self.run.pop_front()?;
        self.not_before = None;
        let is_covered = |wanted: &&Wanted| wanted.range.end() <= range.end();
        let points = step.read.points.iter().filter(is_covered).copied().collect();
        if let Some(read) = step.read.without(range) {
            if let Some(trial) = step.trial.and_then(|trial| self.trials.get_mut(trial)) {
                trial.open += 1;
            }
            self.run.push_front(self::step(read, step.trial));
        }
        Some((step, points))
    }

    fn spoil_trial(&mut self, step: &Step) {
        if let Some(trial) = step.trial.and_then(|trial| self.trials.get_mut(trial)) {
            trial.open -= 1;
            trial.clean = false;
        }
    }

    fn learn_if_done(&mut self) {
        if self.run.is_empty() {
            self.learn();
        }
    }

    /// Makes the plan again from what is known since.
    fn learn(&mut self) {
        self.trials.clear();
        if !std::mem::take(&mut self.has_learnt) {
            return;
        }
        let is_refused = |wanted: &&Wanted| {
            self.refused.iter().any(|refused| refused.read.points.contains(wanted))
        };
        let healthy: Vec<_> = self.points.iter().filter(|it| !is_refused(it)).copied().collect();
        self.reads = plan::plan(&healthy, &self.wire, &self.known);
    }
}

fn step(read: Read, trial: Option<usize>) -> Step {
    Step { read, busy: 0, trial }
}

/// The reason that is published with a refused point.
pub(super) fn reason(range: ReadRange, words: &str) -> Arc<str> {
    format!("{range}: {words}").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Table;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn holding(address: u16, count: u16) -> ReadRange {
        ReadRange::new(Table::Holding, address, count).expect("allowed")
    }

    fn group(addresses: impl IntoIterator<Item = u16>) -> Group {
        let points = addresses.into_iter().enumerate();
        let wanted = |(point, address)| Wanted { point, range: holding(address, 1) };
        Group::new(0, points.map(wanted).collect(), WireCost::tcp())
    }

    /// Runs the group once against a device that refuses what `refuses` says.
    fn run(
        group: &mut Group,
        refuses: &dyn Fn(ReadRange) -> bool,
        now: Instant,
    ) -> (BTreeSet<usize>, BTreeSet<usize>, usize) {
        let (mut good, mut bad, mut asked) = (BTreeSet::new(), BTreeSet::new(), 0);
        group.begin(now);
        while let Some(range) = group.next().map(|step| step.read.range) {
            asked += 1;
            assert!(asked < 10_000, "a run ends");
            if refuses(range) {
                if let Refusal::Points(points) = group.handle_refusal(range, now) {
                    bad.extend(points.iter().map(|wanted| wanted.point));
                }
            } else {
                good.extend(group.handle_answer(range).iter().map(|wanted| wanted.point));
            }
        }
        (good, bad, asked)
    }

    fn start() -> Instant {
        #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
        Instant::now()
    }

    fn holds(address: u16) -> impl Fn(ReadRange) -> bool {
        move |range| range.address() <= address && u32::from(address) < range.end()
    }

    #[test]
    fn one_refused_value_does_not_cost_its_block_and_is_asked_rarely() {
        let (mut group, now) = (group(0..64), start());
        let (good, bad, asked) = run(&mut group, &holds(40), now);
        assert_eq!((good.len(), bad, asked), (63, BTreeSet::from([40]), 13));
        let (good, bad, asked) = run(&mut group, &holds(40), now);
        assert_eq!((good.len(), bad, asked), (63, BTreeSet::new(), 2));
        let later = now + REFUSED_PAUSE_MIN;
        let (_, bad, asked) = run(&mut group, &holds(40), later);
        assert_eq!((bad, asked), (BTreeSet::from([40]), 3));
        let (good, _, _) = run(&mut group, &|_| false, later + REFUSED_PAUSE_MIN * 2);
        assert_eq!(good.len(), 64, "it came back");
        assert_eq!(run(&mut group, &|_| false, later).2, 1, "and is part of its block again");
    }

    #[test]
    fn a_group_with_nothing_but_refused_values_asks_them_rarely_but_serves_as_a_probe() {
        let (mut group, now) = (group([100]), start());
        assert_eq!(run(&mut group, &holds(100), now).2, 1);
        assert_eq!(run(&mut group, &holds(100), now).2, 0);
        group.begin_probe(7);
        assert_eq!(group.next().map(|step| step.read.range), Some(holding(100, 1)));
    }

    #[test]
    fn a_refused_gap_is_not_read_over_again() {
        let (mut group, now) = (group([0, 1, 2, 10, 11, 12]), start());
        let (good, bad, _) = run(&mut group, &holds(5), now);
        assert_eq!((good.len(), bad.len()), (6, 0));
        let (good, _, asked) = run(&mut group, &holds(5), now);
        assert_eq!((good.len(), asked), (6, 2));
    }

    #[test]
    fn a_device_that_takes_only_short_reads_gets_short_reads() {
        let (mut group, now) = (group(0..100), start());
        let short = |range: ReadRange| range.count() > 16;
        for _ in 0..8 {
            assert_eq!(run(&mut group, &short, now).0.len(), 100);
        }
        assert!(run(&mut group, &short, now).2 <= 8);
    }

    #[test]
    fn a_busy_device_is_asked_again_later_and_not_for_ever() {
        let (mut group, now) = (group([1, 2]), start());
        group.begin(now);
        for pause in BUSY_PAUSES {
            assert_eq!(group.handle_busy(holding(1, 2), now), None);
            assert_eq!(group.not_before, Some(now + pause));
        }
        assert_eq!(group.handle_busy(holding(1, 2), now).map(|points| points.len()), Some(2));
        assert!(group.next().is_none());
    }

    #[test]
    fn what_a_shorter_question_left_over_is_asked_next() {
        let (mut group, now) = (group([1, 2, 3]), start());
        group.begin(now);
        assert_eq!(group.handle_answer(holding(1, 2)).len(), 2);
        assert_eq!(group.next().map(|step| step.read.range), Some(holding(3, 1)));
        assert_eq!(group.handle_refusal(holding(3, 2), now), Refusal::Split);
        assert!(!group.may_ask_longer());
        assert_eq!(group.next().map(|step| step.read.range), Some(holding(3, 1)));
    }

    proptest! {
        #[test]
        fn every_point_comes_or_is_refused_and_what_is_learnt_settles(
            addresses in proptest::collection::btree_set(0..120u16, 1..60),
            holes in proptest::collection::btree_set(0..120u16, 0..8),
            longest in 1..=125u16,
        ) {
            let addresses: Vec<u16> = addresses.into_iter().collect();
            let refuses = |range: ReadRange| {
                range.count() > longest || holes.iter().any(|hole| holds(*hole)(range))
            };
            let (mut group, now) = (group(addresses.iter().copied()), start());
            let healthy = addresses.iter().filter(|address| !holes.contains(address)).count();
            for _ in 0..addresses.len() + 1 {
                prop_assert_eq!(run(&mut group, &refuses, now).0.len(), healthy);
            }
            let planned = group.reads().len();
            let (_, bad, asked) = run(&mut group, &refuses, now);
            prop_assert_eq!((bad.len(), asked), (0, planned), "nothing is left to learn");
        }
    }
}

//! core: the points of one device with one period: their plan, the run under way, and what the device refuses.
//!
//! A block that is refused is halved, down to single values, in the same run: the healthy points of it come anyway.
//! What that taught is kept: a value that is refused by itself is asked for alone and rarely; where both halves are
//! fine, no read crosses their border again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::modbus::known::{Known, Lesson};
use super::modbus::pdu::ReadRange;
use super::modbus::plan::{self, Read, Wanted, WireCost};

/// How long a refused value is left alone at first; a device that is still starting may refuse what it has.
const REFUSED_PAUSE_MIN: Duration = Duration::from_secs(5);
/// How long a refused value is left alone at most.
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(300);

/// A read to be done in this run.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// No other step of this group ever had it.
    pub(super) id: u64,
    pub(super) read: Read,
    /// Whether it is being asked.
    is_open: bool,
    /// How often the device was too busy for it.
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
    block: ReadRange,
    /// Whether the device said that the number asked for was wrong.
    is_quantity: bool,
    halves: (Read, Read),
    open: usize,
    clean: bool,
}

/// What a refusal means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The block was split; its parts are asked next.
    Split,
    /// These points are refused; `is_news` when they were not before.
    Points { points: Vec<Wanted>, is_news: bool },
}

/// What an answer brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Brought {
    pub(super) points: Vec<Wanted>,
    /// What is known for good since.
    pub(super) lessons: Vec<Lesson>,
}

#[derive(Debug)]
pub(super) struct Group {
    /// The index of the device.
    pub(super) device: usize,
    /// Not before this may the next read of the run be asked.
    pub(super) not_before: Option<Instant>,
    points: Vec<Wanted>,
    wire: WireCost,
    reads: Vec<Read>,
    /// What was known when `reads` were planned, as the count of changes.
    planned_at: u64,
    refused: Vec<Refused>,
    run: VecDeque<Step>,
    trials: Vec<Trial>,
    longer: bool,
    steps: u64,
}

impl Group {
    /// Plans `points`. Values that `known` has as refused are tried once more soon after `now`.
    pub(super) fn new(
        device: usize,
        points: Vec<Wanted>,
        wire: WireCost,
        known: &Known,
        now: Instant,
    ) -> Self {
        let within = |range: ReadRange| {
            let is_in = |it: &&Wanted| it.range.overlaps(range) && it.range.end() <= range.end();
            let read = Read::over(&points.iter().filter(is_in).copied().collect::<Vec<_>>())?;
            (read.range == range).then_some(read)
        };
        let refused = known.learnt().refused.iter().filter_map(|range| within(*range));
        let (pause, ask_at) = (REFUSED_PAUSE_MAX, now + REFUSED_PAUSE_MIN);
        let refused = refused.map(|read| Refused { read, pause, ask_at }).collect();
        let mut group = Self {
            device,
            not_before: None,
            points,
            wire,
            reads: Vec::new(),
            planned_at: known.changes(),
            refused,
            run: VecDeque::new(),
            trials: Vec::new(),
            longer: true,
            steps: 0,
        };
        group.plan(known);
        group
    }

    /// The reads of a run as they are planned.
    #[cfg(test)]
    pub(super) fn reads(&self) -> &[Read] {
        &self.reads
    }

    /// The points the device refuses by themselves.
    pub(super) fn refused(&self) -> impl Iterator<Item = &Read> {
        self.refused.iter().map(|refused| &refused.read)
    }

    /// Whether a question may reach beyond a read to be told from older ones.
    pub(super) fn may_ask_longer(&self) -> bool {
        self.longer
    }

    /// Begins a run: all planned reads and the refused values that are due again.
    pub(super) fn begin(&mut self, known: &Known, now: Instant) {
        self.fill(known, 0, |refused| refused.ask_at <= now);
    }

    /// Begins a run to find out whether the device answers at all, with the read at `first`; a refusal will do.
    pub(super) fn begin_probe(&mut self, known: &Known, first: usize) {
        let has_no_other = self.reads.is_empty();
        self.fill(known, first, |_| has_no_other);
    }

    fn fill(&mut self, known: &Known, first: usize, is_due: impl Fn(&Refused) -> bool) {
        self.abandon();
        if self.planned_at != known.changes() {
            self.plan(known);
        }
        let first = first % self.reads.len().max(1);
        let (head, tail) = self.reads.split_at(first);
        let due = self.refused.iter().filter(|refused| is_due(refused));
        let due = due.map(|refused| refused.read.clone());
        let reads: Vec<Read> = tail.iter().chain(head).cloned().chain(due).collect();
        for read in reads {
            let step = self.step(read, None);
            self.run.push_back(step);
        }
    }

    fn plan(&mut self, known: &Known) {
        let is_refused = |wanted: &&Wanted| {
            self.refused.iter().any(|refused| refused.read.points.contains(wanted))
        };
        let healthy: Vec<_> = self.points.iter().filter(|it| !is_refused(it)).copied().collect();
        self.reads = plan::plan(&healthy, &self.wire, known);
        self.planned_at = known.changes();
    }

    fn step(&mut self, read: Read, trial: Option<usize>) -> Step {
        self.steps += 1;
        Step { id: self.steps, read, is_open: false, busy: 0, trial }
    }

    /// Forgets the rest of the run.
    pub(super) fn abandon(&mut self) {
        self.run.clear();
        self.trials.clear();
        self.not_before = None;
    }

    /// The read to be asked next; `None` when all are asked or done.
    pub(super) fn next(&self) -> Option<&Step> {
        self.run.iter().find(|step| !step.is_open)
    }

    /// Whether everything of the run was asked and has ended.
    pub(super) fn is_done(&self) -> bool {
        self.run.is_empty()
    }

    /// The step is being asked.
    pub(super) fn handle_asked(&mut self, id: u64) {
        if let Some(step) = self.find(id) {
            step.is_open = true;
        }
    }

    /// The step is not being asked any more and has to be again.
    pub(super) fn handle_unasked(&mut self, id: u64) {
        if let Some(step) = self.find(id) {
            step.is_open = false;
        }
    }

    fn find(&mut self, id: u64) -> Option<&mut Step> {
        self.run.iter_mut().find(|step| step.id == id)
    }

    /// Whether the step is a value that was refused before and is tried again.
    pub(super) fn is_refused(&self, id: u64) -> bool {
        let step = self.run.iter().find(|step| step.id == id);
        step.is_some_and(|step| self.refused.iter().any(|it| it.read.points == step.read.points))
    }

    /// Lets the other reads of the run go first.
    pub(super) fn handle_postponed(&mut self, id: u64) {
        if let Some(index) = self.run.iter().position(|step| step.id == id)
            && let Some(mut step) = self.run.remove(index)
        {
            step.is_open = false;
            self.run.push_back(step);
        }
    }

    /// `range`, asked for the step, was answered.
    pub(super) fn handle_answer(
        &mut self,
        id: u64,
        range: ReadRange,
        known: &mut Known,
    ) -> Brought {
        let mut lessons: Vec<Lesson> = known.handle_answer(range).into_iter().collect();
        let Some((step, points)) = self.take(id, range) else {
            return Brought { points: Vec::new(), lessons };
        };
        if let Some(index) = self.refused.iter().position(|it| it.read.points == points) {
            self.refused.remove(index);
            known.handle_allowed(step.read.range);
        }
        if let Some(trial) = step.trial.and_then(|trial| self.trials.get_mut(trial)) {
            trial.open -= 1;
            if trial.open == 0 && trial.clean {
                let (left, right) = (trial.halves.0.range.end(), trial.halves.1.range);
                lessons.extend(known.handle_parted(trial.block, left, right, trial.is_quantity));
            }
        }
        Brought { points, lessons }
    }

    /// The device does not have all of `range`, asked for the step; `is_quantity` when it said that the number asked
    /// for is wrong.
    pub(super) fn handle_refusal(
        &mut self,
        id: u64,
        range: ReadRange,
        is_quantity: bool,
        known: &mut Known,
        now: Instant,
    ) -> Refusal {
        let nothing = Refusal::Points { points: Vec::new(), is_news: false };
        let Some(step) = self.find(id) else { return nothing };
        if range.count() > step.read.range.count() {
            // Asked was more than is wanted, and that is what may be refused.
            step.is_open = false;
            self.longer = false;
            return Refusal::Split;
        }
        let Some((step, points)) = self.take(id, range) else { return nothing };
        self.spoil_trial(&step);
        let all = plan::Read { range, points };
        if let Some(halves) = all.halves() {
            let trial = Some(self.trials.len());
            for half in [&halves.1, &halves.0] {
                let half = self.step(half.clone(), trial);
                self.run.push_front(half);
            }
            self.trials.push(Trial { block: range, is_quantity, halves, open: 2, clean: true });
            return Refusal::Split;
        }
        let points = all.points.clone();
        match self.refused.iter_mut().find(|refused| refused.read.points == all.points) {
            Some(refused) => {
                refused.pause = (refused.pause * 2).min(REFUSED_PAUSE_MAX);
                refused.ask_at = now + refused.pause;
                Refusal::Points { points, is_news: false }
            }
            None => {
                let (pause, ask_at) = (REFUSED_PAUSE_MIN, now + REFUSED_PAUSE_MIN);
                known.handle_refused(all.range);
                self.refused.push(Refused { read: all, pause, ask_at });
                Refusal::Points { points, is_news: true }
            }
        }
    }

    /// The device will not give `range` this time; returns the points that are without a value for it.
    pub(super) fn handle_given_up(&mut self, id: u64, range: ReadRange) -> Vec<Wanted> {
        let Some((step, points)) = self.take(id, range) else { return Vec::new() };
        self.spoil_trial(&step);
        points
    }

    /// The device needs time: says how long of `pauses`, one for each time it did.
    ///
    /// # Errors
    /// Patience is over: these points are without a value for it.
    pub(super) fn handle_busy(
        &mut self,
        id: u64,
        range: ReadRange,
        pauses: &[Duration],
    ) -> Result<Duration, Vec<Wanted>> {
        let Some(step) = self.find(id) else { return Err(Vec::new()) };
        if let Some(pause) = pauses.get(step.busy) {
            step.busy += 1;
            step.is_open = false;
            return Ok(*pause);
        }
        Err(self.handle_given_up(id, range))
    }

    /// Takes what `range` covers of the step out of the run; what it does not stays.
    fn take(&mut self, id: u64, range: ReadRange) -> Option<(Step, Vec<Wanted>)> {
        let index = self.run.iter().position(|step| step.id == id)?;
        let step = self.run.remove(index)?;
        self.not_before = None;
        let is_covered = |wanted: &&Wanted| wanted.range.end() <= range.end();
        let points = step.read.points.iter().filter(is_covered).copied().collect();
        if let Some(read) = step.read.without(range) {
            if let Some(trial) = step.trial.and_then(|trial| self.trials.get_mut(trial)) {
                trial.open += 1;
            }
            let rest = self.step(read, step.trial);
            self.run.insert(index.min(self.run.len()), rest);
        }
        Some((step, points))
    }

    fn spoil_trial(&mut self, step: &Step) {
        if let Some(trial) = step.trial.and_then(|trial| self.trials.get_mut(trial)) {
            trial.open -= 1;
            trial.clean = false;
        }
    }
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

    fn group(addresses: impl IntoIterator<Item = u16>) -> (Group, Known, Instant) {
        let points = addresses.into_iter().enumerate();
        let wanted = |(point, address)| Wanted { point, range: holding(address, 1) };
        let (known, now) = (Known::default(), start());
        (Group::new(0, points.map(wanted).collect(), WireCost::tcp(), &known, now), known, now)
    }

    /// Runs the group once against a device that refuses what `refuses` says.
    fn run(
        group: &mut Group,
        known: &mut Known,
        refuses: &dyn Fn(ReadRange) -> bool,
        now: Instant,
    ) -> (BTreeSet<usize>, BTreeSet<usize>, usize) {
        let (mut good, mut bad, mut asked) = (BTreeSet::new(), BTreeSet::new(), 0);
        group.begin(known, now);
        while let Some((id, range)) = group.next().map(|step| (step.id, step.read.range)) {
            asked += 1;
            assert!(asked < 10_000, "a run ends");
            group.handle_asked(id);
            if refuses(range) {
                let refusal = group.handle_refusal(id, range, false, known, now);
                if let Refusal::Points { points, .. } = refusal {
                    bad.extend(points.iter().map(|wanted| wanted.point));
                }
            } else {
                let brought = group.handle_answer(id, range, known);
                good.extend(brought.points.iter().map(|wanted| wanted.point));
            }
        }
        assert!(group.is_done());
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
        let (mut group, mut known, now) = group(0..64);
        let (good, bad, asked) = run(&mut group, &mut known, &holds(40), now);
        assert_eq!((good.len(), bad, asked), (63, BTreeSet::from([40]), 13));
        let (good, bad, asked) = run(&mut group, &mut known, &holds(40), now);
        assert_eq!((good.len(), bad, asked), (63, BTreeSet::new(), 2));
        let later = now + REFUSED_PAUSE_MIN;
        let (_, bad, asked) = run(&mut group, &mut known, &holds(40), later);
        assert_eq!((bad, asked), (BTreeSet::from([40]), 3));
        let (good, _, _) = run(&mut group, &mut known, &|_| false, later + REFUSED_PAUSE_MIN * 2);
        assert_eq!(good.len(), 64, "it came back");
        assert_eq!(
            run(&mut group, &mut known, &|_| false, later).2,
            1,
            "and is part of its block again"
        );
    }

    #[test]
    fn a_group_with_nothing_but_refused_values_asks_them_rarely_but_serves_as_a_probe() {
        let (mut group, mut known, now) = group([100]);
        assert_eq!(run(&mut group, &mut known, &holds(100), now).2, 1);
        assert_eq!(run(&mut group, &mut known, &holds(100), now).2, 0);
        group.begin_probe(&known, 7);
        assert_eq!(group.next().map(|step| step.read.range), Some(holding(100, 1)));
    }

    #[test]
    fn a_refused_gap_is_not_read_over_again() {
        let (mut group, mut known, now) = group([0, 1, 2, 10, 11, 12]);
        let (good, bad, _) = run(&mut group, &mut known, &holds(5), now);
        assert_eq!((good.len(), bad.len()), (6, 0));
        let (good, _, asked) = run(&mut group, &mut known, &holds(5), now);
        assert_eq!((good.len(), asked), (6, 2));
    }

    #[test]
    fn a_device_that_takes_only_short_reads_gets_short_reads() {
        let (mut group, mut known, now) = group(0..100);
        let short = |range: ReadRange| range.count() > 16;
        for _ in 0..8 {
            assert_eq!(run(&mut group, &mut known, &short, now).0.len(), 100);
        }
        assert!(run(&mut group, &mut known, &short, now).2 <= 8);
    }

    #[test]
    fn the_longest_read_a_device_takes_is_learnt_and_the_plan_is_then_the_best() {
        let (mut group, mut known, now) = group(0..100);
        let short = |range: ReadRange| range.count() > 16;
        for _ in 0..8 {
            run(&mut group, &mut known, &short, now);
        }
        assert_eq!(known.count_max(Table::Holding), 16);
        assert_eq!(run(&mut group, &mut known, &short, now).2, 7, "100 registers, 16 at a time");
    }

    #[test]
    fn what_is_remembered_is_kept_out_of_the_plan_and_tried_once_more() {
        let (mut group, mut known, now) = group(0..64);
        run(&mut group, &mut known, &holds(40), now);
        let known = &mut Known::new(Default::default(), known.learnt().clone());
        let points = group.points.clone();
        let mut group = Group::new(0, points, WireCost::tcp(), known, now);
        assert_eq!(group.refused().count(), 1);
        let (good, bad, asked) = run(&mut group, known, &holds(40), now);
        assert_eq!((good.len(), bad.len(), asked), (63, 0, 2));
        let later = now + REFUSED_PAUSE_MIN;
        assert_eq!(run(&mut group, known, &holds(40), later).1, BTreeSet::from([40]));
        let (good, bad, _) = run(&mut group, known, &holds(40), later + REFUSED_PAUSE_MIN * 10);
        assert_eq!((good.len(), bad.len()), (63, 0));
    }

    #[test]
    fn a_busy_device_is_asked_again_later_and_not_for_ever() {
        let (mut group, known, now) = group([1, 2]);
        group.begin(&known, now);
        let id = group.next().expect("one read").id;
        let pauses = [Duration::from_millis(20), Duration::from_millis(100)];
        for pause in pauses {
            group.handle_asked(id);
            assert_eq!(group.next().map(|step| step.id), None);
            assert_eq!(group.handle_busy(id, holding(1, 2), &pauses), Ok(pause));
        }
        let points = group.handle_busy(id, holding(1, 2), &pauses);
        assert_eq!(points.map_err(|points| points.len()), Err(2));
        assert!(group.is_done());
    }

    #[test]
    fn what_a_shorter_question_left_over_is_asked_next() {
        let (mut group, mut known, now) = group([1, 2, 3]);
        group.begin(&known, now);
        let id = group.next().expect("one read").id;
        assert_eq!(group.handle_answer(id, holding(1, 2), &mut known).points.len(), 2);
        let rest = group.next().expect("one is left").id;
        assert_eq!(group.next().map(|step| step.read.range), Some(holding(3, 1)));
        let refusal = group.handle_refusal(rest, holding(3, 2), false, &mut known, now);
        assert_eq!(refusal, Refusal::Split);
        assert!(!group.may_ask_longer());
        assert_eq!(group.next().map(|step| step.read.range), Some(holding(3, 1)));
    }

    #[test]
    fn several_reads_of_a_run_may_be_asked_at_a_time_and_end_in_any_order() {
        let (mut group, mut known, now) = group([0, 300, 600]);
        group.begin(&known, now);
        let mut open = Vec::new();
        while let Some(step) = group.next() {
            open.push((step.id, step.read.range));
            let id = step.id;
            group.handle_asked(id);
        }
        assert_eq!(open.len(), 3);
        group.handle_unasked(open[1].0);
        assert_eq!(group.next().map(|step| step.id), Some(open[1].0));
        for (id, range) in open.into_iter().rev() {
            assert!(!group.is_done());
            assert_eq!(group.handle_answer(id, range, &mut known).points.len(), 1);
        }
        assert!(group.is_done());
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
            let (mut group, mut known, now) = group(addresses.iter().copied());
            let healthy = addresses.iter().filter(|address| !holes.contains(address)).count();
            for _ in 0..addresses.len() + 1 {
                prop_assert_eq!(run(&mut group, &mut known, &refuses, now).0.len(), healthy);
            }
            let planned = group.reads().len();
            let (_, bad, asked) = run(&mut group, &mut known, &refuses, now);
            prop_assert_eq!((bad.len(), asked), (0, planned), "nothing is left to learn");
        }
    }
}

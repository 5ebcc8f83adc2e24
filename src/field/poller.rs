//! core: drives one bus: whom to ask what, and what follows from the answer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod outcome;
mod view;

use super::device::Device;
use super::errand::{Errand, Errands, Rank, not_asked};
use super::event::{Fact, FieldEvent};
use super::group::Group;
use super::health::{Budget, Change};
use super::lag::Lag;
use super::memory::Memory;
use super::modbus::late::Late;
use super::modbus::pdu::ReadRange;
use super::modbus::plan::{self, ByPeriod, WireCost};
use super::modbus::transaction::{Failure, Outcome, Question};
use super::schedule::Schedule;
use super::watch::account::Account;
use super::{BusSettings, DeviceSettings, PortSettings, UnitId};
use crate::model::Moment;

/// How much of the time for questions to sick devices may be saved up.
const PROBES_SAVED_MAX: Duration = Duration::from_secs(1);
/// Share of bus time, in per cent, that first questions to devices nobody knows yet may take from reads that are due.
const NEWCOMERS_SHARE: u8 = 25;
/// How much of that may be saved up.
const NEWCOMERS_SAVED_MAX: Duration = Duration::from_millis(500);
/// Share of bus time, in per cent, that questions of rank `Idle` get when reads leave none.
const LOOKS_SHARE: u8 = 5;
/// How much of that may be saved up.
const LOOKS_SAVED_MAX: Duration = Duration::from_millis(100);
/// How long such a question waits for a gap between reads before it takes of that share.
const LOOK_AFTER: Duration = Duration::from_millis(250);
/// How long between two times that what was learnt is handed out to be kept.
const KEEP_PAUSE: Duration = Duration::from_secs(10);

/// What to do next on a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask this now.
    Ask(Ask),
    /// Nothing until then; `None` when there is nothing at all.
    Wait(Option<Instant>),
}

/// A question to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    /// What [`Poller::handle_outcome`] is to be told with how it ended.
    pub(super) ticket: u64,
    pub(super) question: Question,
    /// How long to wait for the answer, from the last byte of the request on.
    pub(super) timeout: Duration,
}

/// Whom an answer is for.
#[derive(Debug, Clone)]
enum For {
    Step { group: usize, step: u64, range: ReadRange },
    Errand(Errand),
}

#[derive(Debug, Clone)]
struct Asked {
    ticket: u64,
    whom: For,
    question: Question,
    at: Instant,
}

/// The decisions of one bus.
#[derive(Debug)]
pub(super) struct Poller {
    port: PortSettings,
    wire: WireCost,
    timeout: Duration,
    devices: Vec<Device>,
    groups: Vec<Group>,
    schedule: Schedule,
    errands: Errands,
    /// Only a serial line can confuse answers.
    late: Option<Late>,
    /// What questions to sick devices may cost.
    probes: Budget,
    /// What first questions to unknown devices may cost while others have reads that are due.
    newcomers: Budget,
    /// What questions of rank `Idle` may cost while reads are due.
    looks: Budget,
    /// What a question without an answer costs.
    vain_cost: Duration,
    asked: Vec<Asked>,
    /// Questions that may be open at a time.
    in_flight: usize,
    tickets: u64,
    lag: Lag,
    account: Account,
    /// The changes of what is known when it was last handed out to be kept.
    kept_changes: u64,
    keep_at: Instant,
    events: VecDeque<FieldEvent>,
    facts: VecDeque<Fact>,
    errands_done: VecDeque<(u64, Outcome)>,
}

impl Poller {
    /// Plans `devices` with what is remembered of them; everything is due at `now`.
    pub(super) fn new(
        bus: &BusSettings,
        devices: Vec<DeviceSettings>,
        memory: &Memory,
        now: Moment,
    ) -> Self {
        let wire = WireCost::of_port(&bus.port);
        let late = (!bus.port.has_numbers()).then(|| Late::new(bus.timeout));
        let mut poller = Self {
            port: bus.port.clone(),
            wire,
            timeout: bus.timeout,
            devices: Vec::new(),
            groups: Vec::new(),
            schedule: Schedule::new(&[], now.mono),
            errands: Errands::default(),
            late,
            probes: Budget::new(bus.probe_share, PROBES_SAVED_MAX, now.mono),
            newcomers: Budget::new(NEWCOMERS_SHARE, NEWCOMERS_SAVED_MAX, now.mono),
            looks: Budget::new(LOOKS_SHARE, LOOKS_SAVED_MAX, now.mono),
            vain_cost: bus.timeout + wire.transaction,
            asked: Vec::new(),
            in_flight: bus.in_flight,
            tickets: 0,
            lag: Lag::default(),
            account: Account::new(now.mono),
            kept_changes: 0,
            keep_at: now.mono,
            events: VecDeque::new(),
            facts: VecDeque::new(),
            errands_done: VecDeque::new(),
        };
        let mut periods = Vec::new();
        for settings in devices {
            let learnt = memory.of(&bus.port, &settings);
            let ByPeriod { periods: by_period, impossible } = plan::by_period(&settings);
            let mut device = Device::new(settings, learnt, bus.timeout, now.mono);
            for (every, points) in by_period {
                periods.push(every);
                device.groups.push(poller.groups.len());
                let index = poller.devices.len();
                let group = Group::new(index, points, wire, &device.known, now.mono);
                for read in group.refused() {
                    let words = "refused before the restart, and tried again soon";
                    let index = poller.groups.len();
                    let event = device.errors(index, &read.points, (read.range, words), now);
                    poller.events.extend(event);
                }
                poller.events.extend(device.end_polls());
                poller.groups.push(group);
            }
            poller.events.extend(device.impossible(&impossible, now));
            poller.devices.push(device);
        }
        poller.schedule = Schedule::new(&periods, now.mono);
        poller
    }

    /// How many slots of each device's groups were skipped because the bus was too slow: device, period, how many.
    pub(super) fn skipped(&self) -> impl Iterator<Item = (&Arc<str>, Duration, u64)> {
        self.schedule.skipped().zip(&self.groups).enumerate().filter_map(
            |(index, (skipped, it))| {
                let device = self.devices.get(it.device)?;
                Some((&device.settings.name, self.schedule.every(index)?, skipped))
            },
        )
    }

    /// Whether somebody waits for what there is to hand out.
    pub(super) fn has_event(&self) -> bool {
        !self.events.is_empty() || !self.errands_done.is_empty()
    }

    /// The next event for the app.
    pub(super) fn poll_event(&mut self) -> Option<FieldEvent> {
        self.events.pop_front()
    }

    /// The next fact for the log.
    pub(super) fn poll_fact(&mut self) -> Option<Fact> {
        self.facts.pop_front()
    }

    /// The next errand that has ended, with how.
    pub(super) fn poll_errand(&mut self) -> Option<(u64, Outcome)> {
        self.errands_done.pop_front()
    }

    /// What was learnt about the devices, if that changed and has not been handed out lately: it is written to a card.
    pub(super) fn poll_memory(&mut self, now: Instant) -> Option<Memory> {
        if self.keep_at > now {
            return None;
        }
        self.keep_at = now + KEEP_PAUSE;
        self.take_memory()
    }

    /// What was learnt about the devices, if that changed since it was last handed out.
    pub(super) fn take_memory(&mut self) -> Option<Memory> {
        let changes = self.devices.iter().map(|device| device.known.changes()).sum();
        if std::mem::replace(&mut self.kept_changes, changes) == changes {
            return None;
        }
        let mut memory = Memory::default();
        for device in &self.devices {
            memory.add(&self.port, &device.settings, device.known.learnt());
        }
        Some(memory)
    }

    /// The device a question was for, for the log.
    pub(super) fn asked_device(&self, ticket: u64) -> Option<&Arc<str>> {
        let asked = self.asked.iter().find(|asked| asked.ticket == ticket)?;
        let unit = asked.question.unit;
        let device = self.devices.iter().find(|device| device.settings.unit == unit)?;
        Some(&device.settings.name)
    }

    /// Takes a question from outside; [`Poller::poll_errand`] says how it ended.
    pub(super) fn handle_errand(&mut self, errand: Errand) {
        self.errands.push(errand);
    }

    /// Decides what to do at `now`. After [`Next::Ask`] comes [`Poller::handle_outcome`] some time.
    pub(super) fn poll_next(&mut self, now: Instant) -> Next {
        // A write goes alone: some devices lose what comes before they have answered.
        let writes =
            self.errands.has_write() || self.asked.iter().any(|it| it.question.query.is_write());
        if self.asked.len() >= self.in_flight || writes && !self.asked.is_empty() {
            return Next::Wait(None);
        }
        if let Some(late) = &mut self.late {
            late.handle_timeout(now);
        }
        let change = self.lag.handle_timeout(now);
        self.tell_lag(change);
        if let Some(ask) = self.ask_errand(Rank::First, now) {
            return Next::Ask(ask);
        }
        let has_waited = self.errands.idle_waits(now) >= LOOK_AFTER;
        if has_waited
            && self.looks.affordable_at(Duration::ZERO) <= now
            && let Some(ask) = self.ask_errand(Rank::Idle, now)
        {
            return Next::Ask(ask);
        }
        self.begin_probes(now);
        while let Some(group) = self.schedule.poll_due(now) {
            self.begin(group, now);
        }
        while let Some(group) = self.most_urgent(now) {
            if let Some((step, range, question)) = self.question(group) {
                self.group(group, |it| it.handle_asked(step));
                return Next::Ask(self.ask(For::Step { group, step, range }, question, now));
            }
            // Every question near this one could be mixed up with an older one.
            let unit = self.device_of(group).map(|device| device.settings.unit);
            let free_at = self.free_at(unit).unwrap_or(now);
            let not_before = Some(free_at.max(now + Duration::from_millis(1)));
            self.group(group, |it| it.not_before = not_before);
        }
        match self.ask_errand(Rank::Idle, now) {
            Some(ask) => Next::Ask(ask),
            None => Next::Wait(self.wake_at(now)),
        }
    }

    fn ask(&mut self, whom: For, question: Question, now: Instant) -> Ask {
        self.tickets += 1;
        let ticket = self.tickets;
        self.account.handle_asked(now);
        let timeout = match whom {
            For::Step { group, .. } => self.device_of(group).map(Device::timeout),
            // Nothing like it may have been asked before; a write takes longer than a read.
            For::Errand(_) => None,
        };
        let timeout = timeout.unwrap_or(self.timeout);
        self.asked.push(Asked { ticket, whom, question: question.clone(), at: now });
        Ask { ticket, question, timeout }
    }

    fn ask_errand(&mut self, rank: Rank, now: Instant) -> Option<Ask> {
        while let Some(overdue) = self.errands.take_overdue(now) {
            self.fail_errand(&overdue, not_asked(
                    "its time was over before its turn came (the bus is busy, or others wait for a silent device)",
                ));
        }
        let late = self.late.as_ref();
        let as_asked = |errand: &Errand| errand.question_as_asked(late);
        let errand = self.errands.take(rank, |errand| as_asked(errand).is_some())?;
        let question = as_asked(&errand)?;
        Some(self.ask(For::Errand(errand), question, now))
    }

    /// Nothing more is asked: what polls that are not over have brought goes out.
    pub(super) fn handle_stop(&mut self) {
        self.events.extend(self.devices.iter_mut().flat_map(Device::end_polls));
    }

    fn begin(&mut self, group: usize, now: Instant) {
        let Some(it) = self.groups.get_mut(group) else { return };
        let Some(device) = self.devices.get_mut(it.device) else { return };
        device.handle_run(now);
        // What was given up without an end.
        self.events.extend(device.end_poll(group));
        it.begin(&device.known, now);
        if it.is_done() {
            self.end_run(group, now);
        }
    }

    fn begin_probes(&mut self, now: Instant) {
        if self.budget_from().is_some_and(|from| from > now) {
            return;
        }
        let due = self.devices.iter().enumerate().filter_map(|(index, device)| {
            Some((self.probe_at(device).filter(|at| *at <= now)?, index))
        });
        let Some((_, index)) = due.min() else { return };
        let Some(device) = self.devices.get_mut(index) else { return };
        let count = device.groups.len().max(1);
        let Some(group) = device.groups.get(device.probes % count).copied() else { return };
        let first = device.probes / count;
        device.probes += 1;
        self.schedule.start(group, now);
        if let Some(it) = self.groups.get_mut(group) {
            it.begin_probe(&device.known, first);
        }
    }

    /// When a sick device should be asked, unless that is under way.
    fn probe_at(&self, device: &Device) -> Option<Instant> {
        let is_running = |group: &usize| self.schedule.deadline(*group).is_some();
        let can_be_asked = !device.groups.is_empty() && !device.groups.iter().any(is_running);
        device.health.probe_at().filter(|_| can_be_asked)
    }

    /// From when on sick devices may be asked; `None` when that costs nobody anything.
    fn budget_from(&self) -> Option<Instant> {
        let others_answer = self.devices.iter().any(|device| !device.health.is_sick());
        others_answer.then(|| self.probes.affordable_at(self.vain_cost))
    }

    /// The group whose next read should be asked first. Devices that nobody knows yet may be dead: those that answer
    /// go before them, but for a share of the time.
    fn most_urgent(&self, now: Instant) -> Option<usize> {
        let ready = self.groups.iter().enumerate().filter_map(|(index, group)| {
            let device = self.devices.get(group.device)?;
            group.next()?;
            let is_held = |until: Option<Instant>| until.is_some_and(|at| at > now);
            if is_held(group.not_before) || is_held(device.hold_until) {
                return None;
            }
            let unit = device.settings.unit;
            if !device.health.is_online() && self.asked.iter().any(|it| it.question.unit == unit) {
                return None;
            }
            let deadline = self.schedule.deadline(index)?;
            Some((device.health.is_unknown(), deadline, index))
        });
        let ready: Vec<_> = ready.collect();
        let first = |it: &&(bool, Instant, usize)| (it.1, it.2);
        let urgent = ready.iter().min_by_key(first)?;
        if urgent.0 && self.newcomers.affordable_at(self.vain_cost) > now {
            let known = ready.iter().filter(|(is_unknown, ..)| !is_unknown).min_by_key(first);
            return Some(known.unwrap_or(urgent).2);
        }
        Some(urgent.2)
    }

    fn question(&self, group: usize) -> Option<(u64, ReadRange, Question)> {
        let group = self.groups.get(group)?;
        let unit = self.devices.get(group.device)?.settings.unit;
        let step = group.next()?;
        let (read, longer) = (&step.read, group.may_ask_longer());
        let question = match &self.late {
            Some(late) => late.question(unit, read.range, read.shorter(), longer)?,
            None => Question::new(unit, read.range),
        };
        Some((step.id, question.query.range()?, question))
    }

    fn free_at(&self, unit: Option<UnitId>) -> Option<Instant> {
        self.late.as_ref()?.free_at(unit?)
    }

    fn wake_at(&self, now: Instant) -> Option<Instant> {
        let held = self.groups.iter().filter(|it| it.next().is_some()).filter_map(|it| {
            it.not_before.max(self.devices.get(it.device).and_then(|device| device.hold_until))
        });
        let probes = self.devices.iter().filter_map(|device| self.probe_at(device));
        let probes = probes.min().map(|at| self.budget_from().map_or(at, |from| from.max(at)));
        let errands = self.errands.iter();
        let errands = errands.filter_map(|it| self.free_at(Some(it.question.unit)).or(it.until));
        let held = held.chain(errands).filter(|at| *at > now);
        held.chain(probes).chain(self.schedule.poll_timeout()).min()
    }

    /// The port or connection is gone and did not come back at once.
    pub(super) fn handle_port_down(&mut self, reason: &str, now: Moment) {
        self.handle_unasked(reason, now.mono);
        self.account.handle_port_down(reason, now.mono);
        for errand in self.errands.take_all() {
            self.fail_errand(&errand, not_asked(reason));
        }
        for index in 0..self.devices.len() {
            let Some(device) = self.devices.get_mut(index) else { continue };
            let change = device.health.handle_unreachable(reason, now.mono);
            device.account.handle_reason(reason, now.mono);
            device.account.handle_condition(device.health.condition(), now.mono);
            if let Some(Change::FellSick { ailment, reason }) = change {
                self.facts.push_back(device.fell_sick(ailment, &reason));
                self.events.extend(device.sick(&reason, now));
                self.put_to_sleep(index);
            }
        }
    }

    /// The port or connection is open.
    pub(super) fn handle_port_up(&mut self, now: Instant) {
        self.handle_unasked("the port was opened again meanwhile", now);
        self.account.handle_port_up(now);
        self.probes.handle_hope(now);
        self.devices.iter_mut().for_each(|device| device.health.handle_hope(now));
    }

    /// No question is open any more, whatever became of them. Reads are asked again; an errand may have done its work.
    fn handle_unasked(&mut self, reason: &str, now: Instant) {
        self.account.handle_unasked(now);
        for asked in std::mem::take(&mut self.asked) {
            match asked.whom {
                For::Step { group, step, .. } => self.group(group, |it| it.handle_unasked(step)),
                For::Errand(errand) => {
                    self.fail_errand(&errand, Failure::Port { reason: reason.to_owned() });
                }
            }
        }
    }

    fn fail_errand(&mut self, errand: &Errand, failure: Failure) {
        let outcome = Outcome { result: Err(failure), dropped: Vec::new() };
        self.errands_done.push_back((errand.id, outcome));
    }

    fn group<T: Default>(&mut self, index: usize, f: impl FnOnce(&mut Group) -> T) -> T {
        self.groups.get_mut(index).map(f).unwrap_or_default()
    }

    fn device_of(&self, group: usize) -> Option<&Device> {
        self.devices.get(self.groups.get(group)?.device)
    }
}

#[cfg(test)]
mod tests;

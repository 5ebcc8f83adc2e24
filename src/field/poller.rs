//! core: drives one bus: whom to ask what, and what follows from the answer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::event::{DeviceState, Fact, FieldEvent};
use super::group::{Group, Refusal, reason};
use super::health::{Change, Health, ProbeBudget};
use super::modbus::decode::decode;
use super::modbus::late::Late;
use super::modbus::pdu::{Data, ReadRange};
use super::modbus::plan::{Wanted, WireCost};
use super::modbus::transaction::{Failure, Outcome, Question, Verdict};
use super::schedule::Schedule;
use super::{BusSettings, DeviceSettings};
use crate::model::{Moment, PointName, Quality, Reading, Value};

/// What to do next on a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask this now.
    Ask(Ask),
    /// Nothing until then; `None` when there is nothing at all.
    Wait(Option<Instant>),
}

/// A question to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ask {
    /// What [`Poller::handle_outcome`] is to be told with how it ended.
    pub(super) ticket: u64,
    pub(super) question: Question,
    /// How long to wait for the answer, from the last byte of the request on.
    pub(super) timeout: Duration,
}

#[derive(Debug)]
struct Device {
    settings: DeviceSettings,
    health: Health,
    /// The last good value of each point.
    last: Vec<Option<Value>>,
    groups: Vec<usize>,
    /// How often it was asked while silent: each time something else.
    probes: usize,
    culprit: Option<Culprit>,
}

/// A read on which a device fell silent: some devices are silent where others refuse.
#[derive(Debug)]
struct Culprit {
    range: ReadRange,
    /// How often, although other reads were answered in between and this one never.
    falls: u32,
    answered_other: bool,
    /// Its parts are on trial.
    is_split: bool,
}

/// A device that falls silent this often on the same read and answers all others has it refused.
const CULPRIT_FALLS: u32 = 3;

impl Culprit {
    fn new(range: ReadRange) -> Self {
        Self { range, falls: 1, answered_other: false, is_split: false }
    }

    fn overlaps(&self, range: ReadRange) -> bool {
        self.range.table() == range.table()
            && u32::from(self.range.address()) < range.end()
            && u32::from(range.address()) < self.range.end()
    }
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    ticket: u64,
    group: usize,
    question: Question,
    at: Instant,
}

/// The decisions of one bus.
#[derive(Debug)]
pub(super) struct Poller {
    devices: Vec<Device>,
    groups: Vec<Group>,
    schedule: Schedule,
    /// Where frames have no number, answers can be confused.
    late: Option<Late>,
    budget: ProbeBudget,
    /// What a question to a silent device costs.
    probe_cost: Duration,
    timeout: Duration,
    asked: Vec<Asked>,
    /// Questions that may be open at a time, one of each group.
    in_flight: usize,
    tickets: u64,
    events: VecDeque<FieldEvent>,
    facts: VecDeque<Fact>,
}

impl Poller {
    /// Plans `devices`; everything is due at `now`.
    pub(super) fn new(bus: &BusSettings, devices: Vec<DeviceSettings>, now: Moment) -> Self {
        let wire = WireCost::of_port(&bus.port);
        let late = (!bus.port.has_numbers()).then(|| Late::new(bus.timeout));
        let mut poller = Self {
            devices: Vec::new(),
            groups: Vec::new(),
            schedule: Schedule::new(&[], now.mono),
            late,
            budget: ProbeBudget::new(now.mono),
            probe_cost: bus.timeout + wire.transaction,
            timeout: bus.timeout,
            asked: Vec::new(),
            in_flight: bus.in_flight,
            tickets: 0,
            events: VecDeque::new(),
            facts: VecDeque::new(),
        };
        let mut periods = Vec::new();
        for settings in devices {
            poller.add(settings, wire, &mut periods, now);
        }
        poller.schedule = Schedule::new(&periods, now.mono);
        poller
    }

    fn add(
        &mut self,
        settings: DeviceSettings,
        wire: WireCost,
        periods: &mut Vec<Duration>,
        now: Moment,
    ) {
        let device = self.devices.len();
        let mut by_period: Vec<(Duration, Vec<Wanted>)> = Vec::new();
        let mut impossible = Vec::new();
        for (index, point) in settings.points.iter().enumerate() {
            match Wanted::new(index, point) {
                Ok(wanted) => match by_period.iter_mut().find(|(every, _)| *every == point.every) {
                    Some((_, wanteds)) => wanteds.push(wanted),
                    None => by_period.push((point.every, vec![wanted])),
                },
                Err(error) => impossible.push((index, Arc::from(error.to_string()))),
            }
        }
        let first = self.groups.len();
        for (every, points) in by_period {
            periods.push(every);
            self.groups.push(Group::new(device, points, wire));
        }
        self.devices.push(Device {
            last: vec![None; settings.points.len()],
            groups: (first..self.groups.len()).collect(),
            settings,
            health: Health::default(),
            probes: 0,
            culprit: None,
        });
        let error = |reason: Arc<str>| (None, Quality::Error { reason });
        let readings = impossible.into_iter().map(|(point, reason)| (point, error(reason)));
        self.push_readings(device, readings.collect(), now);
    }

    /// How many slots were skipped because the bus was too slow for its periods.
    pub(super) fn skipped(&self) -> u64 {
        self.schedule.skipped()
    }

    /// Whether there is an event for the app.
    pub(super) fn has_event(&self) -> bool {
        !self.events.is_empty()
    }

    /// The next event for the app.
    pub(super) fn poll_event(&mut self) -> Option<FieldEvent> {
        self.events.pop_front()
    }

    /// The next fact for the log.
    pub(super) fn poll_fact(&mut self) -> Option<Fact> {
        self.facts.pop_front()
    }

    /// Name and unit for the log.
    pub(super) fn asked_device(&self, ticket: u64) -> Option<&Arc<str>> {
        let asked = self.asked.iter().find(|asked| asked.ticket == ticket)?;
        let group = self.groups.get(asked.group)?;
        Some(&self.devices.get(group.device)?.settings.name)
    }

    /// Decides what to do at `now`. After [`Next::Ask`] comes [`Poller::handle_outcome`] some time.
    pub(super) fn poll_next(&mut self, now: Instant) -> Next {
        if self.asked.len() >= self.in_flight {
            return Next::Wait(None);
        }
        if let Some(late) = &mut self.late {
            late.handle_timeout(now);
        }
        self.begin_probes(now);
        while let Some(group) = self.schedule.poll_due(now) {
            self.begin(group, now);
        }
        while let Some(group) = self.most_urgent(now) {
            if let Some(question) = self.question(group) {
                self.tickets += 1;
                let (ticket, timeout) = (self.tickets, self.timeout);
                self.asked.push(Asked { ticket, group, question, at: now });
                return Next::Ask(Ask { ticket, question, timeout });
            }
            // Every question near this one could be mixed up with an older one.
            let Some(it) = self.groups.get_mut(group) else { break };
            let unit = self.devices.get(it.device).map(|device| device.settings.unit);
            let free_at = self.late.as_ref().zip(unit).and_then(|(late, unit)| late.free_at(unit));
            it.not_before = Some(free_at.unwrap_or(now).max(now + Duration::from_millis(1)));
        }
        Next::Wait(self.wake_at())
    }

    fn begin(&mut self, group: usize, now: Instant) {
        let Some(it) = self.groups.get_mut(group) else { return };
        it.begin(now);
        if it.next().is_none() {
            self.schedule.handle_done(group, now);
        }
    }

    fn begin_probes(&mut self, now: Instant) {
        if self.budget_from().is_some_and(|from| from > now) {
            return;
        }
        let is_due = |device: &Device| device.health.probe_at().is_some_and(|at| at <= now);
        let is_idle = |device: &Device| {
            device.groups.iter().all(|group| self.schedule.deadline(*group).is_none())
        };
        let due = self.devices.iter().enumerate();
        let due = due.filter(|(_, device)| is_due(device) && is_idle(device));
        let Some((index, _)) = due.min_by_key(|(_, device)| device.health.probe_at()) else {
            return;
        };
        let Some(device) = self.devices.get_mut(index) else { return };
        let Some(group) = device.groups.get(device.probes % device.groups.len().max(1)) else {
            return;
        };
        let (group, first) = (*group, device.probes / device.groups.len().max(1));
        device.probes += 1;
        self.schedule.start(group, now);
        self.group(group, |it| it.begin_probe(first));
    }

    /// When a silent device should be asked, unless that is under way.
    fn probe_at(&self, device: &Device) -> Option<Instant> {
        let is_running = |group: &usize| self.schedule.deadline(*group).is_some();
        let can_be_asked = !device.groups.is_empty() && !device.groups.iter().any(is_running);
        device.health.probe_at().filter(|_| can_be_asked)
    }

    /// From when on silent devices may be asked; `None` when that costs nobody anything.
    fn budget_from(&self) -> Option<Instant> {
        let others_answer = self.devices.iter().any(|device| !device.health.is_silent());
        others_answer.then(|| self.budget.affordable_at(self.probe_cost))
    }

    fn most_urgent(&self, now: Instant) -> Option<usize> {
        let running = self.groups.iter().enumerate().filter_map(|(index, group)| {
            let is_open = self.asked.iter().any(|asked| asked.group == index);
            let may = group.next().is_some() && group.not_before.is_none_or(|at| at <= now);
            let may = may && !is_open && !self.is_doubtful(group.device);
            Some((self.schedule.deadline(index).filter(|_| may)?, index))
        });
        running.min().map(|(_, index)| index)
    }

    /// Whether a device that may be silent is being asked: one question tells as much as several.
    fn is_doubtful(&self, device: usize) -> bool {
        let is_its =
            |asked: &Asked| self.groups.get(asked.group).map(|it| it.device) == Some(device);
        let is_online = self.devices.get(device).is_some_and(|device| device.health.is_online());
        !is_online && self.asked.iter().any(is_its)
    }

    fn question(&self, group: usize) -> Option<Question> {
        let group = self.groups.get(group)?;
        let unit = self.devices.get(group.device)?.settings.unit;
        let read = &group.next()?.read;
        match &self.late {
            Some(late) => late.question(unit, read.range, read.shorter(), group.may_ask_longer()),
            None => Some(Question::new(unit, read.range)),
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        let held =
            self.groups.iter().filter(|it| it.next().is_some()).filter_map(|it| it.not_before);
        let probes = self.devices.iter().filter_map(|device| self.probe_at(device));
        let probes = probes.min().map(|at| self.budget_from().map_or(at, |from| from.max(at)));
        held.chain(probes).chain(self.schedule.poll_timeout()).min()
    }

    /// Takes how the question with this ticket ended; `now` is when its last byte was read.
    pub(super) fn handle_outcome(&mut self, ticket: u64, outcome: &Outcome, now: Moment) {
        let Some(index) = self.asked.iter().position(|asked| asked.ticket == ticket) else {
            return;
        };
        let asked = self.asked.remove(index);
        self.keep_late(&asked.question, outcome, now.mono);
        let range = asked.question.range;
        match &outcome.result {
            Ok(data) => self.handle_data(asked.group, range, data, now),
            Err(failure) => match failure.verdict() {
                Verdict::AskForLess => self.handle_refusal(asked.group, range, failure, now),
                Verdict::GiveUp => {
                    self.handle_alive(asked.group, now);
                    let points = self.group(asked.group, |it| it.handle_given_up(range));
                    self.push_errors(
                        asked.group,
                        &points,
                        &reason(range, &failure.to_string()),
                        now,
                    );
                }
                Verdict::Later => {
                    self.handle_alive(asked.group, now);
                    let points = self.group(asked.group, |it| it.handle_busy(range, now.mono));
                    let reason = reason(range, &failure.to_string());
                    self.push_errors(asked.group, &points.unwrap_or_default(), &reason, now);
                }
                Verdict::Silent | Verdict::AskAgain => self.handle_failure(&asked, failure, now),
                // Asked again once the port is back.
                Verdict::Reopen => {}
            },
        }
        let is_done = self.groups.get(asked.group).is_some_and(|group| group.next().is_none());
        if is_done {
            self.schedule.handle_done(asked.group, now.mono);
        }
    }

    fn keep_late(&mut self, question: &Question, outcome: &Outcome, now: Instant) {
        let Some(late) = &mut self.late else { return };
        for (unit, shape) in &outcome.dropped {
            late.handle_dropped(*unit, *shape);
        }
        match &outcome.result {
            Ok(_) | Err(Failure::Refused { .. }) => late.handle_answered(question.unit),
            // Damaged, but with nothing older open anywhere it can only have been the answer.
            Err(Failure::Crc { .. } | Failure::Lrc { .. }) if !question.older_on_bus => {}
            Err(_) => late.handle_unanswered(question, now),
        }
    }

    fn handle_data(&mut self, group: usize, range: ReadRange, data: &Data, now: Moment) {
        self.handle_alive(group, now);
        let points = self.group(group, |it| it.handle_answer(range));
        let Some(index) = self.groups.get(group).map(|it| it.device) else { return };
        let Some(device) = self.devices.get_mut(index) else { return };
        match &mut device.culprit {
            Some(culprit) if culprit.overlaps(range) && !culprit.is_split => device.culprit = None,
            Some(culprit) => culprit.answered_other = true,
            None => {}
        }
        let mut values = Vec::with_capacity(points.len());
        for wanted in points {
            let Some(point) = device.settings.points.get(wanted.point) else { continue };
            let (value, quality) = decode(point, range, data);
            if let (Some(value), Some(last)) = (&value, device.last.get_mut(wanted.point)) {
                *last = Some(value.clone());
            }
            values.push((wanted.point, (value, quality)));
        }
        self.push_readings(index, values, now);
    }

    fn handle_refusal(&mut self, group: usize, range: ReadRange, failure: &Failure, now: Moment) {
        self.handle_alive(group, now);
        self.refuse(group, range, &failure.to_string(), now);
    }

    fn refuse(&mut self, group: usize, range: ReadRange, words: &str, now: Moment) {
        let refusal = self.group(group, |it| Some(it.handle_refusal(range, now.mono)));
        let Some(Refusal::Points(points)) = refusal else { return };
        let reason = reason(range, words);
        let device = self.groups.get(group).map(|group| group.device);
        if let Some(device) = device.and_then(|device| self.devices.get_mut(device)) {
            device.culprit = None;
            let (device, unit) = (Arc::clone(&device.settings.name), device.settings.unit);
            self.facts.push_back(Fact::Refuses { device, unit, range, reason: reason.clone() });
        }
        self.push_errors(group, &points, &reason, now);
    }

    /// The device said something, whatever it was.
    fn handle_alive(&mut self, group: usize, now: Moment) {
        let Some(index) = self.groups.get(group).map(|group| group.device) else { return };
        let Some(device) = self.devices.get_mut(index) else { return };
        let Some(change) = device.health.handle_answer(now.mono) else { return };
        let (name, unit) = (Arc::clone(&device.settings.name), device.settings.unit);
        for other in device.groups.iter().filter(|other| **other != group) {
            self.schedule.handle_awake(*other, now.mono);
        }
        if let Change::AnswersAgain { missed, silent_for } = change {
            let device = Arc::clone(&name);
            self.facts.push_back(Fact::AnswersAgain { device, unit, missed, silent_for });
            // What kept this one silent may have kept others.
            self.budget.handle_hope(now.mono);
            self.devices.iter_mut().for_each(|device| device.health.handle_hope(now.mono));
        } else {
            self.facts.push_back(Fact::Answers { device: Arc::clone(&name), unit });
        }
        let state = DeviceState::Online;
        self.events.push_back(FieldEvent::Device { device: name, state, time: now.wall });
    }

    fn handle_failure(&mut self, asked: &Asked, failure: &Failure, now: Moment) {
        let Some(group) = self.groups.get_mut(asked.group) else { return };
        let Some(device) = self.devices.get_mut(group.device) else { return };
        let is_ambiguous = matches!(failure, Failure::RefusedSomething { .. });
        let was_silent = failure.verdict() == Verdict::Silent;
        let range = asked.question.range;
        if was_silent && group.is_next_refused() && !device.health.is_silent() {
            // It was known to say nothing to this.
            self.refuse(asked.group, range, &failure.to_string(), now);
            return;
        }
        if was_silent && device.health.is_last_try(was_silent) {
            match &mut device.culprit {
                Some(culprit) if culprit.overlaps(range) => {
                    culprit.falls += u32::from(std::mem::take(&mut culprit.answered_other));
                }
                other => *other = Some(Culprit::new(range)),
            }
            let culprit = device.culprit.as_mut();
            if let Some(culprit) = culprit.filter(|culprit| culprit.falls >= CULPRIT_FALLS) {
                // From here on each part needs an answer of another read in between to be blamed.
                culprit.falls = CULPRIT_FALLS - 1;
                culprit.is_split = true;
                device.health.handle_forgiven();
                self.refuse(asked.group, range, &failure.to_string(), now);
                return;
            }
        }
        let change = device.health.handle_failure(was_silent, &failure.to_string(), now.mono);
        if !device.health.is_silent() {
            if was_silent || is_ambiguous {
                // What comes of the other reads tells whether it is the device or this read, and whom a refusal
                // was meant for.
                group.handle_postponed();
            }
            return;
        }
        if is_ambiguous {
            let free_at = self.late.as_ref().and_then(|late| late.free_at(asked.question.unit));
            device.health.handle_not_before(free_at.unwrap_or(now.mono));
        }
        self.budget.handle_cost(now.mono.saturating_duration_since(asked.at), now.mono);
        let index = group.device;
        self.put_to_sleep(index);
        if let Some(Change::FellSilent { reason }) = change {
            self.push_silent(index, &reason, now);
        }
    }

    fn put_to_sleep(&mut self, device: usize) {
        let Some(device) = self.devices.get(device) else { return };
        for group in &device.groups {
            self.schedule.handle_asleep(*group);
            if let Some(group) = self.groups.get_mut(*group) {
                group.abandon();
            }
            // What is still under way is no part of the next run.
            self.asked.retain(|asked| asked.group != *group);
        }
    }

    /// The port or connection is gone and did not come back at once.
    pub(super) fn handle_port_down(&mut self, reason: &str, now: Moment) {
        self.asked.clear();
        for index in 0..self.devices.len() {
            let Some(device) = self.devices.get_mut(index) else { continue };
            if let Some(Change::FellSilent { reason }) =
                device.health.handle_unreachable(reason, now.mono)
            {
                self.put_to_sleep(index);
                self.push_silent(index, &reason, now);
            }
        }
    }

    /// The port or connection is open.
    pub(super) fn handle_port_up(&mut self, now: Instant) {
        self.asked.clear();
        self.budget.handle_hope(now);
        self.devices.iter_mut().for_each(|device| device.health.handle_hope(now));
    }

    fn group<T: Default>(&mut self, index: usize, f: impl FnOnce(&mut Group) -> T) -> T {
        self.groups.get_mut(index).map(f).unwrap_or_default()
    }

    /// The device fell silent: says so, once for each of its points.
    fn push_silent(&mut self, index: usize, reason: &Arc<str>, now: Moment) {
        let Some(device) = self.devices.get(index) else { return };
        let (name, unit) = (Arc::clone(&device.settings.name), device.settings.unit);
        let without = |last: &Option<Value>| match last {
            Some(value) => (Some(value.clone()), Quality::Stale { reason: Arc::clone(reason) }),
            None => (None, Quality::Error { reason: Arc::clone(reason) }),
        };
        let readings = device.last.iter().map(without).enumerate().collect();
        let device = Arc::clone(&name);
        self.facts.push_back(Fact::FellSilent { device, unit, reason: Arc::clone(reason) });
        let state = DeviceState::Offline { reason: Arc::clone(reason) };
        self.events.push_back(FieldEvent::Device { device: name, state, time: now.wall });
        self.push_readings(index, readings, now);
    }

    fn push_errors(&mut self, group: usize, points: &[Wanted], reason: &Arc<str>, now: Moment) {
        let Some(device) = self.groups.get(group).map(|group| group.device) else { return };
        let error = |it: &Wanted| (it.point, (None, Quality::Error { reason: Arc::clone(reason) }));
        self.push_readings(device, points.iter().map(error).collect(), now);
    }

    fn push_readings(
        &mut self,
        device: usize,
        values: Vec<(usize, (Option<Value>, Quality))>,
        taken: Moment,
    ) {
        let Some(settings) = self.devices.get(device).map(|device| &device.settings) else {
            return;
        };
        let readings = values.into_iter().filter_map(|(index, (value, quality))| {
            let settings_of_point = settings.points.get(index)?;
            let device = Arc::clone(&settings.name);
            let point = PointName { device, point: Arc::clone(&settings_of_point.name) };
            Some(Reading { point, value, unit: settings_of_point.unit.clone(), quality, taken })
        });
        let readings: Vec<_> = readings.collect();
        if !readings.is_empty() {
            self.events.push_back(FieldEvent::Readings(readings));
        }
    }
}

#[cfg(test)]
mod tests;

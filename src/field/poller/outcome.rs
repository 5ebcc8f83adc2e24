//! core: what follows from how a question ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Asked, For, Poller};
use crate::field::device::Device;
use crate::field::errand::Rank;
use crate::field::event::Fact;
use crate::field::group::{Group, Refusal};
use crate::field::health::Change;
use crate::field::lag::LagChange;
use crate::field::modbus::pdu::{Data, ExceptionCode, ReadRange};
use crate::field::modbus::plan::Wanted;
use crate::field::modbus::transaction::{Failure, Outcome, Question, Verdict};
use crate::field::watch::trouble::Trouble;
use crate::model::Moment;

/// How long a busy device is left alone, try by try; after the last the points are given up (Modbus application
/// protocol 1.1b3, section 7, exception 6: ask again later).
const BUSY_PAUSES: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(100), Duration::from_millis(500)];
/// The same for one that has taken the request and needs long for it (exception 5).
const ACKNOWLEDGED_PAUSES: [Duration; 3] =
    [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(4)];

impl Poller {
    /// Takes how the question with this ticket ended; `now` is when its last byte was read.
    pub(in crate::field) fn handle_outcome(&mut self, ticket: u64, outcome: &Outcome, now: Moment) {
        let Some(index) = self.asked.iter().position(|asked| asked.ticket == ticket) else {
            return;
        };
        let asked = self.asked.remove(index);
        let failure = outcome.result.as_ref().err();
        let (gap, unit) = (self.account.gap(), asked.question.unit);
        // What whoever looks around is refused says nothing against the device.
        let is_look = matches!(&asked.whom, For::Errand(errand) if errand.rank == Rank::Idle);
        self.account.handle_ended(failure.and_then(Trouble::of), outcome.dropped.len(), now.mono);
        self.keep_late(&asked.question, outcome, now.mono);
        match asked.whom {
            For::Errand(errand) => {
                if outcome.result.is_ok() {
                    let of = |it: &&mut Device| it.settings.unit == asked.question.unit;
                    self.devices
                        .iter_mut()
                        .filter(of)
                        .for_each(|it| it.health.handle_hope(now.mono));
                }
                if errand.rank == Rank::Idle {
                    self.looks.handle_cost(now.mono.saturating_duration_since(asked.at), now.mono);
                }
                self.errands_done.push_back((errand.id, outcome.clone()));
            }
            For::Step { group, step, range } => {
                self.keep_patience(group, range, &asked, outcome, now.mono);
                self.handle_step(group, step, range, &asked, outcome, now);
                if self.groups.get(group).is_some_and(Group::is_done) {
                    self.end_run(group, now.mono);
                }
            }
        }
        for device in self.devices.iter_mut().filter(|it| it.settings.unit == unit) {
            if !is_look {
                device.account.handle_ended(failure, gap, now.mono);
            }
            device.account.handle_condition(device.health.condition(), now.mono);
        }
    }

    fn handle_step(
        &mut self,
        group: usize,
        step: u64,
        range: ReadRange,
        asked: &Asked,
        outcome: &Outcome,
        now: Moment,
    ) {
        let failure = match &outcome.result {
            Ok(data) => return self.handle_data(group, step, range, data, now),
            Err(failure) => failure,
        };
        match failure.verdict() {
            Verdict::AskForLess => {
                self.handle_alive(group, now);
                self.refuse(group, step, range, failure, now);
            }
            Verdict::GiveUp => {
                let points = self.group(group, |it| it.handle_given_up(step, range));
                self.handle_refused(group, range, asked, &points, failure, now);
            }
            Verdict::Later => self.handle_busy(group, step, range, asked, failure, now),
            Verdict::Silent | Verdict::AskAgain => {
                self.handle_failure(group, step, range, asked, failure, now);
            }
            // Asked again once the port is back.
            Verdict::Reopen => self.group(group, |it| it.handle_unasked(step)),
        }
    }

    pub(super) fn end_run(&mut self, group: usize, now: Instant) {
        let device = self.groups.get(group).map(|it| it.device);
        if let Some(device) = device.and_then(|device| self.devices.get_mut(device)) {
            self.events.extend(device.end_poll(group));
        }
        let missed = self.schedule.handle_done(group, now);
        if missed > 0 {
            let change = self.lag.handle_missed(group, missed, now);
            self.tell_lag(change);
        }
    }

    pub(super) fn tell_lag(&mut self, change: Option<LagChange>) {
        self.facts.extend(match change {
            Some(LagChange::FellBehind { group }) => {
                let device = self.device_of(group).map(|device| Arc::clone(&device.settings.name));
                let place = device.zip(self.schedule.every(group));
                place.map(|(device, every)| Fact::FellBehind { device, every })
            }
            Some(LagChange::StillBehind { missed, lasted }) => {
                Some(Fact::StillBehind { missed, lasted })
            }
            Some(LagChange::CaughtUp { missed, lasted }) => Some(Fact::CaughtUp { missed, lasted }),
            None => None,
        });
    }

    fn keep_late(&mut self, question: &Question, outcome: &Outcome, now: Instant) {
        let Some(late) = &mut self.late else { return };
        for (unit, shape) in &outcome.dropped {
            late.handle_dropped(*unit, *shape);
        }
        match &outcome.result {
            // It was asked twice, and this may be the answer to the first time: one is still to come.
            Ok(_) if late.is_owed(question) => {
                late.handle_dropped(question.unit, question.query.shape());
                late.handle_unanswered(question, now);
            }
            Ok(_) | Err(Failure::Refused { .. }) => late.handle_answered(question.unit),
            // Damaged, but with nothing older open anywhere it can only have been the answer.
            Err(Failure::Crc { .. } | Failure::Lrc { .. }) if !question.older_on_bus => {}
            Err(_) => late.handle_unanswered(question, now),
        }
    }

    fn keep_patience(
        &mut self,
        group: usize,
        range: ReadRange,
        asked: &Asked,
        outcome: &Outcome,
        now: Instant,
    ) {
        let Some(index) = self.groups.get(group).map(|group| group.device) else { return };
        let Some(device) = self.devices.get_mut(index) else { return };
        match &outcome.result {
            Ok(_) => {
                let took = now.saturating_duration_since(asked.at);
                let on_the_way = self.wire.on_the_way(range);
                device.patience.handle_answer(took.saturating_sub(on_the_way));
            }
            Err(Failure::Refused { .. } | Failure::Crc { .. } | Failure::Lrc { .. }) => {}
            Err(_) => device.patience.handle_unanswered(),
        }
    }

    fn handle_data(&mut self, group: usize, step: u64, range: ReadRange, data: &Data, now: Moment) {
        self.handle_alive(group, now);
        let Some(it) = self.groups.get_mut(group) else { return };
        let Some(device) = self.devices.get_mut(it.device) else { return };
        let brought = it.handle_answer(step, range, &mut device.known);
        for lesson in brought.lessons {
            let (device, unit) = (Arc::clone(&device.settings.name), device.settings.unit);
            self.facts.push_back(Fact::Learnt { device, unit, lesson });
        }
        device.handle_answered_read(range);
        self.events.extend(device.values(group, &brought.points, (range, data), now));
    }

    /// The device does not have what was asked for.
    fn refuse(&mut self, group: usize, step: u64, range: ReadRange, why: &Failure, now: Moment) {
        let code = ExceptionCode::IllegalDataValue;
        let is_quantity = *why == Failure::Refused { code };
        let Some(it) = self.groups.get_mut(group) else { return };
        let Some(device) = self.devices.get_mut(it.device) else { return };
        let refusal = it.handle_refusal(step, range, is_quantity, &mut device.known, now.mono);
        let Refusal::Points { points, is_news } = refusal else { return };
        device.culprit = None;
        let words = why.to_string();
        if is_news {
            self.facts.push_back(device.refuses(&points, range, &words));
        }
        self.events.extend(device.errors(group, &points, (range, &words), now));
    }

    /// The device refuses, and not because of what it was asked for.
    fn handle_refused(
        &mut self,
        group: usize,
        range: ReadRange,
        asked: &Asked,
        points: &[Wanted],
        why: &Failure,
        now: Moment,
    ) {
        let Some(index) = self.groups.get(group).map(|group| group.device) else { return };
        let Some(device) = self.devices.get_mut(index) else { return };
        let (was_sick, words) = (device.health.is_sick(), why.to_string());
        let change = device.health.handle_refused(&words, now.mono);
        if !was_sick {
            self.events.extend(device.errors(group, points, (range, &words), now));
        }
        if device.health.is_sick() {
            self.probes.handle_cost(now.mono.saturating_duration_since(asked.at), now.mono);
        }
        self.handle_sick(index, change, now);
    }

    fn handle_busy(
        &mut self,
        group: usize,
        step: u64,
        range: ReadRange,
        asked: &Asked,
        why: &Failure,
        now: Moment,
    ) {
        let code = ExceptionCode::Acknowledge;
        let is_acknowledged = *why == Failure::Refused { code };
        let pauses = if is_acknowledged { ACKNOWLEDGED_PAUSES } else { BUSY_PAUSES };
        let Some(it) = self.groups.get_mut(group) else { return };
        let Some(device) = self.devices.get_mut(it.device) else { return };
        match it.handle_busy(step, range, &pauses) {
            // It is as busy for every other question.
            Ok(pause) => device.hold_until = Some(now.mono + pause),
            Err(points) => self.handle_refused(group, range, asked, &points, why, now),
        }
    }

    /// The device gave what it was asked for, or does not have part of that.
    fn handle_alive(&mut self, group: usize, now: Moment) {
        let Some(index) = self.groups.get(group).map(|group| group.device) else { return };
        let Some(device) = self.devices.get_mut(index) else { return };
        device.hold_until = None;
        let Some(change) = device.health.handle_answer(now.mono) else { return };
        let (name, unit) = (Arc::clone(&device.settings.name), device.settings.unit);
        self.events.push_back(device.online(now));
        for other in device.groups.iter().filter(|other| **other != group) {
            self.schedule.handle_awake(*other, now.mono);
        }
        if let Change::AnswersAgain { missed, sick_for } = change {
            self.facts.push_back(Fact::AnswersAgain { device: name, unit, missed, sick_for });
            // What kept this one silent may have kept others.
            self.probes.handle_hope(now.mono);
            self.devices.iter_mut().for_each(|device| device.health.handle_hope(now.mono));
        } else {
            self.facts.push_back(Fact::Answers { device: name, unit });
        }
    }

    fn handle_failure(
        &mut self,
        group: usize,
        step: u64,
        range: ReadRange,
        asked: &Asked,
        failure: &Failure,
        now: Moment,
    ) {
        let Some(it) = self.groups.get_mut(group) else { return };
        let index = it.device;
        let Some(device) = self.devices.get_mut(index) else { return };
        let is_ambiguous = matches!(failure, Failure::RefusedSomething { .. });
        let was_silent = failure.verdict() == Verdict::Silent;
        let was_refused = was_silent && it.is_refused(step) && !device.health.is_sick();
        // It was known to say nothing to this, or that follows from how often it fell silent on it.
        if was_refused || was_silent && device.is_read_to_blame(range) {
            device.known.handle_silence();
            self.refuse(group, step, range, failure, now);
            return;
        }
        let was_unknown = device.health.is_unknown();
        let change = device.health.handle_failure(was_silent, &failure.to_string(), now.mono);
        if !device.health.is_sick() {
            if was_silent || is_ambiguous {
                // What comes of the other reads tells whether it is the device or this read, and whom a refusal
                // was meant for.
                it.handle_postponed(step);
            } else {
                it.handle_unasked(step);
            }
            return;
        }
        if is_ambiguous {
            let free_at = self.late.as_ref().and_then(|late| late.free_at(asked.question.unit));
            device.health.handle_not_before(free_at.unwrap_or(now.mono));
        }
        let cost = now.mono.saturating_duration_since(asked.at);
        let budget = if was_unknown { &mut self.newcomers } else { &mut self.probes };
        budget.handle_cost(cost, now.mono);
        self.handle_sick(index, change, now);
    }

    /// A question brought nothing. If the device is sick, it is left alone; says so when that is news.
    fn handle_sick(&mut self, index: usize, change: Option<Change>, now: Moment) {
        if self.devices.get(index).is_none_or(|device| !device.health.is_sick()) {
            return;
        }
        self.put_to_sleep(index);
        match change {
            Some(Change::FellSick { ailment, reason }) => {
                let Some(device) = self.devices.get_mut(index) else { return };
                self.facts.push_back(device.fell_sick(ailment, &reason));
                self.events.extend(device.sick(&reason, now));
            }
            Some(Change::Turned { ailment, reason }) => {
                let Some(device) = self.devices.get(index) else { return };
                self.facts.push_back(device.turned(ailment, &reason));
            }
            Some(Change::Online | Change::AnswersAgain { .. }) | None => {}
        }
    }

    pub(super) fn put_to_sleep(&mut self, device: usize) {
        let Some(device) = self.devices.get_mut(device) else { return };
        device.hold_until = None;
        for group in &device.groups {
            self.schedule.handle_asleep(*group);
            if let Some(group) = self.groups.get_mut(*group) {
                group.abandon();
            }
        }
    }
}

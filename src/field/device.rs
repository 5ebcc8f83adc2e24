//! core: one device of a bus while it is polled: what it is known to allow, how it is, and what is told of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::event::{DeviceState, Fact, FieldEvent};
use super::gather::{Gather, News};
use super::health::{Ailment, Health};
use super::modbus::decode::decode;
use super::modbus::known::{HoleText, Known, Learnt};
use super::modbus::pdu::{Data, RangeError, ReadRange};
use super::modbus::plan::Wanted;
use super::outlet::Outlet;
use super::patience::Patience;
use super::watch::account::DeviceAccount;
use super::{DeviceSettings, Hole, Table};
use crate::model::{Moment, Quality, Reading, Value};

/// A device that falls silent this often on the same read and answers all others has it refused.
const CULPRIT_FALLS: u32 = 3;

/// After this long what was learnt about what it allows is found out again.
const DOUBT_AFTER: Duration = Duration::from_secs(24 * 3600);

/// A read on which a device fell silent: some devices are silent where others refuse.
#[derive(Debug)]
pub(super) struct Culprit {
    range: ReadRange,
    /// How often, although other reads were answered in between and this one never.
    falls: u32,
    answered_other: bool,
    /// Its parts are on trial.
    is_split: bool,
}

/// A device while it is polled.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) settings: DeviceSettings,
    pub(super) health: Health,
    pub(super) patience: Patience,
    pub(super) account: DeviceAccount,
    pub(super) known: Known,
    /// When what is known is held in doubt; counted from its first run on.
    doubt_at: Option<Instant>,
    /// The indices of its groups.
    pub(super) groups: Vec<usize>,
    /// How often it was asked while sick: each time something else.
    pub(super) probes: usize,
    pub(super) culprit: Option<Culprit>,
    /// It is busy; nothing is asked before.
    pub(super) hold_until: Option<Instant>,
    /// The last good value of each point.
    last: Vec<Option<Value>>,
    outlet: Outlet,
    gather: Gather,
}

impl Device {
    pub(super) fn new(
        settings: DeviceSettings,
        learnt: Learnt,
        timeout: Duration,
        now: Instant,
    ) -> Self {
        Self {
            last: vec![None; settings.points.len()],
            outlet: Outlet::new(&settings),
            gather: Gather::default(),
            known: Known::new(settings.allowed.clone(), learnt),
            doubt_at: None,
            settings,
            health: Health::default(),
            patience: Patience::new(timeout),
            account: DeviceAccount::new(now),
            groups: Vec::new(),
            probes: 0,
            culprit: None,
            hold_until: None,
        }
    }

    /// How long to wait for its answer; one that gives nothing gets all the time there is.
    pub(super) fn timeout(&self) -> Duration {
        self.patience.timeout()
    }

    /// It will be asked for all of a group.
    pub(super) fn handle_run(&mut self, now: Instant) {
        let at = *self.doubt_at.get_or_insert(now + DOUBT_AFTER);
        if at <= now {
            self.doubt_at = Some(now + DOUBT_AFTER);
            self.known.handle_doubt();
        }
    }

    /// `range` was answered.
    pub(super) fn handle_answered_read(&mut self, range: ReadRange) {
        match &mut self.culprit {
            Some(culprit) if culprit.range.overlaps(range) && !culprit.is_split => {
                self.culprit = None;
            }
            Some(culprit) => culprit.answered_other = true,
            None => {}
        }
    }

    /// The device said nothing to `range`. Whether that is because of what it was asked for: it fell silent on it
    /// again and again, and answered everything else in between.
    pub(super) fn is_read_to_blame(&mut self, range: ReadRange) -> bool {
        if !self.health.is_last_try(true) {
            return false;
        }
        match &mut self.culprit {
            Some(culprit) if culprit.range.overlaps(range) => {
                culprit.falls += u32::from(std::mem::take(&mut culprit.answered_other));
            }
            other => {
                *other = Some(Culprit { range, falls: 1, answered_other: false, is_split: false });
            }
        }
        let Some(culprit) = self.culprit.as_mut().filter(|it| it.falls >= CULPRIT_FALLS) else {
            return false;
        };
        // From here on each part needs an answer of another read in between to be blamed.
        culprit.falls = CULPRIT_FALLS - 1;
        culprit.is_split = true;
        self.health.handle_forgiven();
        true
    }

    /// The values that `range` brought in a poll of `group`; what goes out together waits for the end of that.
    pub(super) fn values(
        &mut self,
        group: usize,
        points: &[Wanted],
        (range, data): (ReadRange, &Data),
        now: Moment,
    ) -> Option<FieldEvent> {
        let mut values = Vec::with_capacity(points.len());
        for wanted in points {
            let Some(point) = self.settings.points.get(wanted.point) else { continue };
            values.push((wanted.point, decode(point, range, data)));
        }
        self.keep_last(&values);
        self.in_poll(group, values, now)
    }

    /// Values by the index of their point, which came by themselves and are a poll of their own.
    pub(super) fn taken(
        &mut self,
        values: Vec<(usize, (Option<Value>, Quality))>,
        now: Moment,
    ) -> impl Iterator<Item = FieldEvent> + use<> {
        self.keep_last(&values);
        self.readings(values, now)
    }

    fn keep_last(&mut self, values: &[(usize, (Option<Value>, Quality))]) {
        for (point, (value, _)) in values {
            if let (Some(value), Some(last)) = (value, self.last.get_mut(*point)) {
                *last = Some(value.clone());
            }
        }
    }

    /// There is no value for `points`, which stand in `range`, in a poll of `group`.
    pub(super) fn errors(
        &mut self,
        group: usize,
        points: &[Wanted],
        (range, words): (ReadRange, &str),
        now: Moment,
    ) -> Option<FieldEvent> {
        let reason: Arc<str> = format!("{range}: {words}").into();
        let error =
            |it: &Wanted| (it.point, (None, Quality::Error { reason: Arc::clone(&reason) }));
        self.in_poll(group, points.iter().map(error).collect(), now)
    }

    /// The poll of `group` is over: what of it goes out together.
    pub(super) fn end_poll(&mut self, group: usize) -> impl Iterator<Item = FieldEvent> + use<> {
        self.gather.take(group).into_iter().flat_map(events)
    }

    /// Nothing more comes of polls that are not over: what of them goes out together.
    pub(super) fn end_polls(&mut self) -> impl Iterator<Item = FieldEvent> + use<> {
        self.gather.take_all().flat_map(events)
    }

    /// These points cannot be read at all.
    pub(super) fn impossible(
        &mut self,
        points: &[(usize, RangeError)],
        now: Moment,
    ) -> impl Iterator<Item = FieldEvent> + use<> {
        let error = |(point, error): &(usize, RangeError)| {
            (*point, (None, Quality::Error { reason: error.to_string().into() }))
        };
        self.readings(points.iter().map(error).collect(), now)
    }

    /// It answers.
    pub(super) fn online(&self, now: Moment) -> FieldEvent {
        let device = Arc::clone(&self.settings.name);
        FieldEvent::Device { device, state: DeviceState::Online, time: now.wall }
    }

    /// It gives nothing: what it gave before that, once for the device and once for each of its points.
    pub(super) fn sick(
        &mut self,
        reason: &Arc<str>,
        now: Moment,
    ) -> impl Iterator<Item = FieldEvent> + use<> {
        let given = self.end_polls();
        let device = Arc::clone(&self.settings.name);
        let state = DeviceState::Offline { reason: Arc::clone(reason) };
        let event = FieldEvent::Device { device, state, time: now.wall };
        let without = |last: &Option<Value>| match last {
            Some(value) => (Some(value.clone()), Quality::Stale { reason: Arc::clone(reason) }),
            None => (None, Quality::Error { reason: Arc::clone(reason) }),
        };
        let readings = self.last.iter().map(without).enumerate().collect();
        given.chain([event]).chain(self.readings(readings, now))
    }

    pub(super) fn fell_sick(&self, ailment: Ailment, reason: &Arc<str>) -> Fact {
        let (device, unit) = (Arc::clone(&self.settings.name), self.settings.unit);
        Fact::FellSick { device, unit, ailment, reason: Arc::clone(reason) }
    }

    pub(super) fn turned(&self, ailment: Ailment, reason: &Arc<str>) -> Fact {
        let (device, unit) = (Arc::clone(&self.settings.name), self.settings.unit);
        Fact::Turned { device, unit, ailment, reason: Arc::clone(reason) }
    }

    /// It refuses `points` by themselves.
    pub(super) fn refuses(&self, points: &[Wanted], range: ReadRange, words: &str) -> Fact {
        let names = points.iter().filter_map(|it| self.settings.points.get(it.point));
        let names: Vec<&str> = names.map(|point| &*point.name).collect();
        let hole =
            HoleText(Hole { table: range.table(), address: range.address(), count: range.count() });
        Fact::Refuses {
            device: Arc::clone(&self.settings.name),
            unit: self.settings.unit,
            points: names.join(" "),
            range,
            reason: words.into(),
            remedy: format!(
                "correct its address{}, or remove it and write `holes: [{hole}]`",
                counted_otherwise(range)
            ),
        }
    }

    fn in_poll(
        &mut self,
        group: usize,
        values: Vec<(usize, (Option<Value>, Quality))>,
        taken: Moment,
    ) -> Option<FieldEvent> {
        let (mut news, made) = self.outlet.handle(values, taken);
        let own = std::mem::take(&mut news.own);
        self.gather.handle(group, news, made);
        event(own)
    }

    fn readings(
        &mut self,
        values: Vec<(usize, (Option<Value>, Quality))>,
        taken: Moment,
    ) -> impl Iterator<Item = FieldEvent> + use<> {
        events(self.outlet.handle(values, taken).0)
    }
}

fn events(News { own, before, together }: News) -> impl Iterator<Item = FieldEvent> {
    [own, before, together].into_iter().filter_map(event)
}

fn event(readings: Vec<Reading>) -> Option<FieldEvent> {
    (!readings.is_empty()).then_some(FieldEvent::Readings(readings))
}

/// What the address would be if it was copied out of a manual that does not count as the wire does, from 0.
fn counted_otherwise(range: ReadRange) -> String {
    let address = range.address();
    let first = match range.table() {
        Table::Coil => 1,
        Table::DiscreteInput => 10_001,
        Table::Input => 30_001,
        Table::Holding => 40_001,
    };
    let first = if (first..first + 9_999).contains(&address) { first } else { 1 };
    let meant = address.checked_sub(first).map(|meant| (first, meant));
    meant.map_or_else(String::new, |(first, meant)| {
        format!(" (of a manual that counts from {first}, {address} is {meant} here)")
    })
}

//! core: drives one plain serial line: whom to ask when, whose a frame is, and who is silent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::framer::{Damage, Framer};
use super::owed::Owed;
use super::parser::Content;
use crate::field::device::Device;
use crate::field::event::FieldEvent;
use crate::field::health::{Ailment, Change};
use crate::field::modbus::known::Learnt;
use crate::field::schedule::Schedule;
use crate::field::watch::account::Account;
use crate::field::watch::trouble::Trouble;
use crate::field::{DeviceSettings, LinePort, LineSettings};
use crate::model::{Moment, Quality, Value};

/// Characters of a frame that are shown.
const SHOWN_MAX: usize = 60;

/// How long a sick device is left alone whose answers are waited for until none can come any more.
const SLOW_PAUSE: Duration = Duration::from_secs(60);

/// How long after the port was opened it is said which points were in no frame.
const LOOK_AFTER: Duration = Duration::from_secs(60);

/// What a person should find in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact {
    /// A device gave a value for the first time.
    Answers { device: Arc<str> },
    /// A device gives nothing any more.
    FellSick { device: Arc<str>, ailment: Ailment, reason: Arc<str> },
    /// It still gives nothing, in another way.
    Turned { device: Arc<str>, ailment: Ailment, reason: Arc<str> },
    /// A device is back.
    AnswersAgain { device: Arc<str>, missed: u64, sick_for: Duration },
    /// Points of a device that gives others are in no frame.
    NotFound { device: Arc<str>, points: String },
    /// A frame is for no point.
    Unfit { frame: String },
    /// What came was no frame.
    Damaged { damage: Damage },
    /// A frame fits a question of this device, and an older one of another or the same that stayed unanswered.
    MixedUp { device: Arc<str>, older: Arc<str>, frame: String },
}

/// Points of one device that are asked for with the same words.
#[derive(Debug)]
struct Request {
    device: usize,
    send: Arc<[u8]>,
    points: Vec<usize>,
    /// Whether its answers fit another question as well; `None` while none was seen.
    is_alike: Option<bool>,
}

/// The request that was sent last: until the next one, what comes is the answer to it.
#[derive(Debug, Clone, Copy)]
struct Asked {
    request: usize,
    /// Until when it may be answered; `None` once it is, or is given up.
    until: Option<Instant>,
}

/// What came since the last frame that fitted.
#[derive(Debug, Default)]
struct Seen {
    bytes: usize,
    damage: Option<Damage>,
    unfit: Option<String>,
}

/// Points of a device and what a frame says of them.
type Found = Vec<(usize, (Option<Value>, Quality))>;

/// A device and what is done about it.
#[derive(Debug)]
struct Party {
    device: Device,
    /// Its points that come without being asked for.
    unasked: Vec<usize>,
    requests: Vec<usize>,
    /// When a frame of its own accord came last, or could have.
    heard: Instant,
    /// How often it was asked while sick: each time something else.
    probes: usize,
    /// Which of its points have been in a frame.
    found: Vec<bool>,
}

/// The decisions of one line.
#[derive(Debug)]
pub(super) struct Talk {
    settings: LineSettings,
    framer: Framer,
    parties: Vec<Party>,
    requests: Vec<Request>,
    schedule: Schedule,
    asked: Option<Asked>,
    owed: Owed,
    seen: Seen,
    is_up: bool,
    account: Account,
    /// When to say which points were in no frame; `None` once that is said.
    look_at: Option<Instant>,
    events: VecDeque<FieldEvent>,
    facts: VecDeque<Fact>,
}

impl Talk {
    /// Every request is due at `now`.
    pub(super) fn new(settings: LineSettings, devices: Vec<DeviceSettings>, now: Instant) -> Self {
        let (mut requests, mut periods, mut parties) = (Vec::new(), Vec::new(), Vec::new());
        for (index, device) in devices.into_iter().enumerate() {
            let first = requests.len();
            let mut unasked = Vec::new();
            for (at, point) in device.points.iter().enumerate() {
                let Some(pick) = &point.pick else { continue };
                let Some(send) = &pick.send else {
                    unasked.push(at);
                    continue;
                };
                let mut known = (first..).zip(requests.iter_mut().skip(first));
                let same = known.find(|(request, it): &(usize, &mut Request)| {
                    it.send == *send && periods.get(*request) == Some(&point.every)
                });
                match same {
                    Some((_, request)) => request.points.push(at),
                    None => {
                        periods.push(point.every);
                        let send = Arc::clone(send);
                        let points = vec![at];
                        requests.push(Request { device: index, send, points, is_alike: None });
                    }
                }
            }
            let own = (first..requests.len()).collect();
            let found = vec![false; device.points.len()];
            let device = Device::new(device, Learnt::default(), settings.timeout, now);
            parties.push(Party { device, unasked, requests: own, heard: now, probes: 0, found });
        }
        let framer = Framer::new(settings.frame.clone(), settings.checksum, now);
        Self {
            framer,
            owed: Owed::new(parties.len(), settings.timeout),
            parties,
            requests,
            schedule: Schedule::new(&periods, now),
            asked: None,
            seen: Seen::default(),
            is_up: false,
            account: Account::new(now),
            look_at: None,
            events: VecDeque::new(),
            facts: VecDeque::new(),
            settings,
        }
    }

    /// The port is open.
    pub(super) fn handle_port_up(&mut self, now: Instant) {
        self.is_up = true;
        self.owed.handle_port_up(matches!(self.settings.port, LinePort::Tcp(_)));
        self.account.handle_port_up(now);
        self.look_at = Some(now + LOOK_AFTER);
        self.seen = Seen::default();
        self.framer = Framer::new(self.settings.frame.clone(), self.settings.checksum, now);
        for party in &mut self.parties {
            party.heard = now;
            party.device.health.handle_hope(now);
        }
    }

    /// The port is of no use.
    pub(super) fn handle_port_down(&mut self, reason: &str, now: Moment) {
        (self.is_up, self.look_at) = (false, None);
        self.account.handle_port_down(reason, now.mono);
        self.give_up_asking(now.mono);
        for party in 0..self.parties.len() {
            self.handle_unreachable(party, reason, now);
        }
    }

    /// What is to be sent: nothing while a device has time for its answer, an older one may still give its own, or a frame
    /// is on its way.
    pub(super) fn poll_send(&mut self, now: Instant) -> Option<Arc<[u8]>> {
        self.owed.handle_timeout(now);
        if !self.is_up || self.is_waiting() || self.held_until().is_some_and(|until| now < until) {
            return None;
        }
        let request = self.poll_probe(now).or_else(|| self.schedule.poll_due(now))?;
        // Time runs from when it is sent; until then it must not be asked twice.
        self.asked = Some(Asked { request, until: Some(now + self.settings.timeout) });
        self.account.handle_asked(now);
        self.requests.get(request).map(|request| Arc::clone(&request.send))
    }

    /// What [`Self::poll_send`] gave is on its way.
    pub(super) fn handle_sent(&mut self, now: Instant) {
        self.framer.begin();
        let Some(asked) = &mut self.asked else { return };
        let len = self.requests.get(asked.request).map_or(0, |request| request.send.len());
        let on_the_wire = match &self.settings.port {
            LinePort::Serial(serial) => serial.characters(u32::try_from(len).unwrap_or(u32::MAX)),
            LinePort::Tcp(_) => Duration::ZERO,
        };
        asked.until = Some(now + on_the_wire + self.settings.timeout);
        let party = self.requests.get(asked.request).map(|request| request.device);
        let has_unasked = party.and_then(|party| self.parties.get(party));
        if has_unasked.is_some_and(|party| party.unasked.is_empty()) {
            self.seen = Seen::default();
        }
    }

    /// Bytes came.
    pub(super) fn handle_bytes(&mut self, bytes: &[u8], now: Moment) {
        self.handle_timeout(now);
        self.seen.bytes += bytes.len();
        self.framer.handle_bytes(bytes, now.mono);
        self.take_frames(now);
    }

    /// Time has passed.
    pub(super) fn handle_timeout(&mut self, now: Moment) {
        self.framer.handle_timeout(now.mono);
        self.take_frames(now);
        if self.is_late(now.mono) {
            self.handle_no_answer(now);
        }
        if self.look_at.is_some_and(|at| now.mono >= at) {
            self.look_at = None;
            self.tell_not_found();
        }
        let Some(silence) = self.settings.silent_after.filter(|_| self.is_up) else { return };
        for index in 0..self.parties.len() {
            let is_silent =
                |party: &Party| !party.unasked.is_empty() && now.mono >= party.heard + silence;
            if self.parties.get(index).is_some_and(is_silent) {
                let reason = self.reason(&format!(
                    "nothing came for {silence:?} (is the device on and wired, and does it speak by itself?)"
                ));
                self.handle_unreachable(index, &reason, now);
            }
        }
    }

    /// When [`Self::handle_timeout`] or [`Self::poll_send`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let silence = self.settings.silent_after;
        let is_well = |party: &&Party| !party.unasked.is_empty() && !party.device.health.is_sick();
        let parties = self.parties.iter();
        let silent = silence.and_then(|silence| {
            parties.clone().filter(is_well).map(|party| party.heard + silence).min()
        });
        let asked = self.asked.and_then(|asked| asked.until);
        let next = if self.is_waiting() {
            asked
        } else {
            let probes = parties.filter(|party| !party.requests.is_empty());
            let probe = probes.filter_map(|party| party.device.health.probe_at()).min();
            let next = [self.schedule.poll_timeout(), probe].into_iter().flatten().min();
            next.map(|next| self.held_until().map_or(next, |until| until.max(next)))
        };
        [self.framer.poll_timeout(), silent, next, self.look_at].into_iter().flatten().min()
    }

    pub(super) fn poll_event(&mut self) -> Option<FieldEvent> {
        self.events.pop_front()
    }

    pub(super) fn poll_fact(&mut self) -> Option<Fact> {
        self.facts.pop_front()
    }

    fn is_waiting(&self) -> bool {
        self.asked.is_some_and(|asked| asked.until.is_some())
    }

    /// Until when nobody may be asked, if nobody may be.
    fn held_until(&self) -> Option<Instant> {
        self.owed.poll_timeout().max(self.framer.is_amid_until())
    }

    fn is_late(&self, now: Instant) -> bool {
        self.asked.and_then(|asked| asked.until).is_some_and(|until| now >= until)
    }

    /// A request for a sick device that is worth a try again.
    fn poll_probe(&mut self, now: Instant) -> Option<usize> {
        let is_worth = |party: &&mut Party| {
            let at = party.device.health.probe_at();
            !party.requests.is_empty() && at.is_some_and(|at| at <= now)
        };
        let party = self.parties.iter_mut().find(is_worth)?;
        let request = *party.requests.get(party.probes % party.requests.len())?;
        party.probes += 1;
        self.schedule.start(request, now);
        Some(request)
    }

    fn take_frames(&mut self, now: Moment) {
        while let Some(framed) = self.framer.poll_frame() {
            match framed {
                Ok(frame) => self.handle_frame(&frame, now),
                Err(damage) => self.handle_damage(damage, now),
            }
        }
    }

    fn handle_frame(&mut self, frame: &[u8], now: Moment) {
        let content = Content::new(frame);
        let mut fits = self.handle_asked_for(&content, now);
        for index in 0..self.parties.len() {
            let Some(party) = self.parties.get_mut(index) else { continue };
            let values = values(&party.device.settings, &party.unasked, &content);
            if !values.is_empty() {
                fits = true;
                party.heard = now.mono;
                self.handle_values(index, values, now);
            }
        }
        if fits {
            self.seen = Seen::default();
        } else {
            self.account.handle_trouble(Trouble::Unfit);
            let frame = shown(frame);
            self.seen.unfit = Some(frame.clone());
            self.facts.push_back(Fact::Unfit { frame });
        }
    }

    /// Gives a frame to the question that was asked last, if it is the answer to that. Says whether it fits it.
    fn handle_asked_for(&mut self, content: &Content<'_>, now: Moment) -> bool {
        let Some(asked) = self.asked.filter(|_| !self.owed.is_resting()) else { return false };
        let Some(values) = self.answer(asked.request, content) else { return false };
        let device = self.requests.get(asked.request).map_or(0, |request| request.device);
        let is_older = |older: &usize| self.answer(*older, content).is_some();
        let older = self.owed.others(asked.request).find(is_older);
        if let Some(older) = older {
            self.handle_mixed_up(asked.request, older, content, now.mono);
            return true;
        }
        let mut rest = (0..self.requests.len()).filter(|it| *it != asked.request);
        let is_alike = rest.any(|other| self.answer(other, content).is_some());
        if let Some(request) = self.requests.get_mut(asked.request) {
            request.is_alike = Some(is_alike || request.is_alike == Some(true));
        }
        if asked.until.is_some() {
            self.account.handle_ended(None, 0, now.mono);
        }
        self.owed.handle_answered(asked.request, device, asked.until.is_some(), now.mono);
        self.asked = Some(Asked { until: None, ..asked });
        self.schedule.handle_done(asked.request, now.mono);
        self.handle_values(device, values, now);
        true
    }

    /// What the points of a request find in a frame, if any of them finds something.
    fn answer(&self, request: usize, content: &Content<'_>) -> Option<Found> {
        let request = self.requests.get(request)?;
        let device = &self.parties.get(request.device)?.device;
        let values = values(&device.settings, &request.points, content);
        (!values.is_empty()).then_some(values)
    }

    /// Nobody knows which of two questions this frame answers. It is no failure of whom was asked last, who is asked again.
    fn handle_mixed_up(
        &mut self,
        request: usize,
        older: usize,
        content: &Content<'_>,
        now: Instant,
    ) {
        let device = |request: usize| self.requests.get(request).map_or(0, |it| it.device);
        let name = |request: usize| {
            let party = self.parties.get(device(request));
            party.map_or_else(|| Arc::from(""), |party| Arc::clone(&party.device.settings.name))
        };
        let frame = shown(content.bytes());
        let fact = Fact::MixedUp { device: name(request), older: name(older), frame };
        self.owed.handle_mixed_up(request, device(request), older, now);
        self.facts.push_back(fact);
        self.give_up_asking(now);
        self.asked = None;
    }

    fn handle_values(&mut self, index: usize, values: Found, now: Moment) {
        let Some(party) = self.parties.get_mut(index) else { return };
        for (point, _) in &values {
            party.found.get_mut(*point).into_iter().for_each(|found| *found = true);
        }
        let name = Arc::clone(&party.device.settings.name);
        let change = party.device.health.handle_answer(now.mono);
        party.device.account.handle_end(true, None);
        party.device.account.handle_condition(party.device.health.condition(), now.mono);
        if let Some(change) = change {
            self.events.push_back(party.device.online(now));
            for request in &party.requests {
                self.schedule.handle_awake(*request, now.mono);
            }
            self.facts.push_back(match change {
                Change::AnswersAgain { missed, sick_for } => {
                    Fact::AnswersAgain { device: name, missed, sick_for }
                }
                Change::Online | Change::FellSick { .. } | Change::Turned { .. } => {
                    Fact::Answers { device: name }
                }
            });
        }
        self.events.extend(party.device.taken(values, now));
    }

    /// Says which points a device does not give although it gives others: their expressions may be wrong.
    fn tell_not_found(&mut self) {
        for party in self.parties.iter().filter(|party| party.device.health.is_online()) {
            let points = party.device.settings.points.iter().zip(&party.found);
            let missing = points.filter(|(point, found)| !**found && point.every < LOOK_AFTER);
            let names: Vec<&str> = missing.map(|(point, _)| &*point.name).collect();
            if !names.is_empty() {
                let device = Arc::clone(&party.device.settings.name);
                self.facts.push_back(Fact::NotFound { device, points: names.join(" ") });
            }
        }
    }

    /// Something came that is no frame. Nobody knows whose it was: it counts against all who may have spoken.
    fn handle_damage(&mut self, damage: Damage, now: Moment) {
        self.seen.damage = Some(damage);
        self.account.handle_trouble(Trouble::Checksum);
        self.facts.push_back(Fact::Damaged { damage });
        if self.is_waiting() {
            return;
        }
        let reason = damage.explained();
        for index in 0..self.parties.len() {
            let Some(party) = self.parties.get_mut(index) else { continue };
            if !party.unasked.is_empty() {
                party.device.account.handle_end(false, Some(Trouble::Checksum));
                party.device.account.handle_reason(&reason, now.mono);
                let change = party.device.health.handle_failure(false, &reason, now.mono);
                self.handle_change(index, change, now);
            }
        }
    }

    fn handle_no_answer(&mut self, now: Moment) {
        let asked = self.asked.map(|asked| asked.request);
        let device = asked.and_then(|request| self.requests.get(request)).map(|it| it.device);
        let reason = self.reason(&format!(
            "no answer within {:?} (is the device on and wired, and is `send` what it waits for?)",
            self.settings.timeout
        ));
        self.give_up_asking(now.mono);
        let Some((request, index)) = asked.zip(device) else { return };
        let is_alike = self.requests.get(request).is_some_and(|it| it.is_alike != Some(false));
        if is_alike && self.requests.len() > 1 {
            self.owed.handle_unanswered(request, index, now.mono);
        }
        let was_silent = self.seen.bytes == 0;
        let trouble = if was_silent { Trouble::NoAnswer } else { Trouble::Noise };
        self.account.handle_ended(Some(trouble), 0, now.mono);
        let Some(party) = self.parties.get_mut(index) else { return };
        party.device.account.handle_end(false, Some(trouble));
        party.device.account.handle_reason(&reason, now.mono);
        let change = party.device.health.handle_failure(was_silent, &reason, now.mono);
        if self.owed.is_slow(index) {
            // Each of its questions keeps the line for long.
            party.device.health.handle_not_before(now.mono + SLOW_PAUSE);
        }
        if party.device.health.is_sick() {
            self.schedule.handle_asleep(request);
        }
        self.handle_change(index, change, now);
    }

    fn give_up_asking(&mut self, now: Instant) {
        if let Some(asked) = &mut self.asked
            && asked.until.take().is_some()
        {
            self.schedule.handle_done(asked.request, now);
            self.account.handle_unasked(now);
        }
    }

    fn handle_unreachable(&mut self, index: usize, reason: &str, now: Moment) {
        let Some(party) = self.parties.get_mut(index) else { return };
        let change = party.device.health.handle_unreachable(reason, now.mono);
        party.device.account.handle_reason(reason, now.mono);
        self.handle_change(index, change, now);
    }

    /// A device came to be sick, or is sick in another way.
    fn handle_change(&mut self, index: usize, change: Option<Change>, now: Moment) {
        let Some(party) = self.parties.get_mut(index) else { return };
        party.device.account.handle_condition(party.device.health.condition(), now.mono);
        let device = Arc::clone(&party.device.settings.name);
        match change {
            Some(Change::FellSick { ailment, reason }) => {
                for request in &party.requests {
                    self.schedule.handle_asleep(*request);
                }
                self.events.extend(party.device.sick(&reason, now));
                self.facts.push_back(Fact::FellSick { device, ailment, reason });
            }
            Some(Change::Turned { ailment, reason }) => {
                self.facts.push_back(Fact::Turned { device, ailment, reason });
            }
            Some(Change::Online | Change::AnswersAgain { .. }) | None => {}
        }
    }

    /// Why no value came, by what came instead; `silence` when nothing did.
    fn reason(&self, silence: &str) -> String {
        let Seen { bytes, damage, unfit } = &self.seen;
        match (damage, unfit) {
            (Some(damage), _) => format!("what comes is damaged: {}", damage.explained()),
            (None, Some(frame)) => {
                format!(
                    "frames come, and none fits a point; the last was `{frame}` (look at `match` or the places of the points)"
                )
            }
            (None, None) if *bytes > 0 => format!(
                "{bytes} bytes came, and no frame among them: look at `frame` and at baud, parity and data bits"
            ),
            (None, None) => silence.to_owned(),
        }
    }
}

/// What `points` of a device find in a frame.
fn values(device: &DeviceSettings, points: &[usize], content: &Content<'_>) -> Found {
    let value = |index: &usize| {
        let point = device.points.get(*index)?;
        Some((*index, content.value(point, point.pick.as_ref()?)?))
    };
    points.iter().filter_map(value).collect()
}

/// The beginning of a frame in characters that can be shown.
fn shown(frame: &[u8]) -> String {
    let frame = frame.trim_ascii_end();
    let text = frame.get(..frame.len().min(SHOWN_MAX)).unwrap_or_default().escape_ascii();
    if frame.len() > SHOWN_MAX { format!("{text}…") } else { text.to_string() }
}

mod view;

#[cfg(test)]
mod tests;

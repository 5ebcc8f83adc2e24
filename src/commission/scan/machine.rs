//! core: which question a scan asks next, and when it is over.

mod evidence;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::case::{Case, Garble, Standing};
use super::recognise::{self, Fit};
use super::setting::Setting;
use super::tally::Tally;
use crate::field::modbus::pdu::{ExceptionCode, ReadRange};
use crate::field::modbus::query::Query;
use crate::field::modbus::transaction::{Failure, Outcome};
use crate::field::{Fingerprint, UnitId};

/// Unit ids that are asked at every setting before the rest is asked at any: most devices come with one of these.
const FIRST_IDS: usize = 16;
/// Bytes behind an answer that are another one: a refusal in RTU.
const ANSWER_LEN_MIN: usize = 5;
/// How much longer a unit has that is known to be there: functions it does not know may take it long.
const PATIENCE_FACTOR: u32 = 4;
const PATIENCE_MIN: Duration = Duration::from_millis(500);
/// Questions in a row at which the port failed end the scan.
const TROUBLES_MAX: u32 = 6;
/// How often one question is put at which it fails: some devices hang up on a unit id they do not have.
const TRIES_MAX: u32 = 2;
/// Questions after which the measured pace counts.
const MEASURED_MIN: u32 = 5;
/// What a question takes beside its time-out where the wire is not known.
const NETWORK_TURN: Duration = Duration::from_millis(5);

/// What a scan is run with.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanSettings {
    /// Settings of the line, in the order they are tried, at least one; `None` where the far end has its own.
    pub settings: Vec<Option<Setting>>,
    /// Unit ids in the order they are asked.
    pub units: Vec<UnitId>,
    /// The first question to each of them.
    pub first: ReadRange,
    /// How long a unit has for the first character of its answer, beyond the 3.5 characters that end the request.
    pub timeout: Duration,
    /// Whether further settings are tried after one that has units.
    pub goes_on: bool,
    /// Whether devices are on a network, where one may answer to every unit id.
    pub is_network: bool,
    /// What tells kinds of devices apart.
    pub fingerprints: Vec<Fingerprint>,
}

/// The next question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// At which of the settings.
    pub setting: usize,
    /// Whom.
    pub unit: UnitId,
    /// What.
    pub query: Query,
    /// How long the unit has, from the last character of the request to the first of its answer.
    pub timeout: Duration,
    /// How long to listen on after an answer: a second device with this id may be slower.
    pub linger: Option<Duration>,
}

/// What is worth a line while the scan goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// All is asked of this unit: the index of its case.
    Unit(usize),
    /// A setting was left for its noise.
    Left(usize),
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// At which of the settings.
    pub setting: usize,
    /// Who is asked.
    pub unit: UnitId,
    /// First questions that were asked.
    pub asked: u32,
    /// First questions there are.
    pub total: u32,
    /// Units found.
    pub found: u32,
    /// How long the rest takes if nobody else is there.
    pub left: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The first question to an id.
    First,
    /// It brought garbage.
    Repeat,
    /// Something of it came late.
    Late,
    /// The unit is there, or somebody is.
    Follow,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Job {
    unit: UnitId,
    query: Query,
    timeout: Duration,
    why: Why,
    /// How often the port failed at it.
    failed: u32,
    /// Whether to listen on after the answer.
    lingers: bool,
}

/// The ids that are asked at one setting without a pause.
#[derive(Debug)]
struct Visit {
    setting: usize,
    /// Whether it comes when all settings have been tried with the first ids.
    is_rest: bool,
    units: VecDeque<UnitId>,
    urgent: VecDeque<Job>,
}

/// How long the silent questions of a setting took.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    count: u32,
    sum: Duration,
}

/// A scan of one bus.
///
/// The machine is asked for one question at a time ([`Scan::poll_ask`]) and told how it ended ([`Scan::handle_outcome`]).
#[derive(Debug)]
pub struct Scan {
    settings: ScanSettings,
    now: Instant,
    visit: Option<Visit>,
    visits: VecDeque<Visit>,
    open: Option<(Job, usize)>,
    cases: Vec<Case>,
    tallies: Vec<Tally>,
    paces: Vec<Pace>,
    news: VecDeque<News>,
    last: (usize, UnitId),
    asked: u32,
    in_a_row: u32,
    /// How many canaries are still to answer; `None` before there was a reason to ask.
    canaries: Option<usize>,
    answers_to_any: bool,
    troubles: u32,
    failure: Option<String>,
    is_stopped: bool,
}

impl Scan {
    /// A scan that begins at `now`.
    #[must_use]
    pub fn new(mut settings: ScanSettings, now: Instant) -> Self {
        // Everybody takes a broadcast and nobody answers it.
        settings.units.retain(|unit| unit.0 != 0);
        let count = settings.settings.len();
        let cut =
            if count > 1 { FIRST_IDS.min(settings.units.len()) } else { settings.units.len() };
        let (first, rest) = settings.units.split_at(cut);
        let visit = |setting, is_rest, units: &[UnitId]| Visit {
            setting,
            is_rest,
            units: units.iter().copied().collect(),
            urgent: VecDeque::new(),
        };
        let mut visits: VecDeque<Visit> = (0..count).map(|at| visit(at, false, first)).collect();
        if !rest.is_empty() {
            visits.extend((0..count).map(|at| visit(at, true, rest)));
        }
        let last = (0, settings.units.first().copied().unwrap_or(UnitId(1)));
        Self {
            now,
            visit: None,
            visits,
            open: None,
            cases: Vec::new(),
            tallies: vec![Tally::default(); count],
            paces: vec![Pace::default(); count],
            news: VecDeque::new(),
            last,
            asked: 0,
            in_a_row: 0,
            canaries: None,
            answers_to_any: false,
            troubles: 0,
            failure: None,
            is_stopped: false,
            settings,
        }
    }

    /// The next question; `None` when the scan is over.
    pub fn poll_ask(&mut self, now: Instant) -> Option<Ask> {
        self.now = now;
        loop {
            if self.is_stopped || self.failure.is_some() {
                return None;
            }
            let Some(visit) = &mut self.visit else {
                self.visit = Some(self.visits.pop_front()?);
                self.ask_suspects_first();
                continue;
            };
            let setting = visit.setting;
            if let Some(job) = visit.urgent.pop_front() {
                return Some(self.begin(job, setting));
            }
            let Some(unit) = visit.units.pop_front() else {
                self.leave();
                continue;
            };
            // Found before its turn, by an answer that came late.
            if self.case(setting, unit).is_some() {
                self.asked += 1;
                continue;
            }
            let (query, timeout) = (self.settings.first.into(), self.first_timeout(setting));
            return Some(self.begin(
                Job { unit, query, timeout, why: Why::First, failed: 0, lingers: false },
                setting,
            ));
        }
    }

    fn begin(&mut self, job: Job, setting: usize) -> Ask {
        self.last = (setting, job.unit);
        let linger = job.lingers.then(|| self.first_timeout(setting));
        let Job { unit, ref query, timeout, .. } = job;
        let ask = Ask { setting, unit, query: query.clone(), timeout, linger };
        self.open = Some((job, setting));
        ask
    }

    /// How the question ended that was asked last, at `now`. `more` bytes came after its answer.
    pub fn handle_outcome(&mut self, outcome: Outcome, more: usize, now: Instant) {
        let Some((job, setting)) = self.open.take() else { return };
        let took = now.saturating_duration_since(std::mem::replace(&mut self.now, now));
        if let Err(Failure::Port { reason } | Failure::NotAsked { reason }) = &outcome.result {
            self.handle_trouble(job, setting, reason);
            return;
        }
        self.troubles = 0;
        self.note_first(&job, setting);
        if more >= ANSWER_LEN_MIN {
            self.case_or_new(setting, job.unit).again += 1;
        }
        let is_late = self.note_others(&outcome, job.unit, setting);
        match outcome.result {
            Ok(data) => self.handle_sound(&job, setting, Ok(data)),
            Err(Failure::Refused {
                code: ExceptionCode::GatewayPathUnavailable | ExceptionCode::GatewayTargetFailed,
            }) => {
                self.tally(setting).denied += 1;
                self.handle_silence(job, setting);
            }
            Err(Failure::Refused { code } | Failure::RefusedSomething { code }) => {
                self.handle_sound(&job, setting, Err(code));
            }
            Err(failure @ (Failure::NoAnswer | Failure::EchoOnly)) => {
                let echoed = u32::from(failure == Failure::EchoOnly);
                let tally = self.tally(setting);
                tally.echoed += echoed;
                tally.silent += 1 - echoed;
                if job.why == Why::First
                    && let Some(pace) = self.paces.get_mut(setting)
                {
                    pace.count += 1;
                    pace.sum += took;
                }
                self.handle_silence(job, setting);
            }
            // The time for this one went to another's answer.
            Err(Failure::WrongUnit { .. }) if is_late && job.why == Why::First => {
                self.hurry(Job { why: Why::Repeat, ..job });
            }
            Err(Failure::WrongUnit { .. }) => self.handle_silence(job, setting),
            Err(failure) => match Garble::of(&failure) {
                Some(garble) => self.handle_garble(job, setting, garble),
                None => self.handle_silence(job, setting),
            },
        }
        self.gather_news(setting);
    }

    /// Ends the scan: nothing more is asked.
    pub fn handle_stop(&mut self) {
        self.is_stopped = true;
        self.tell_rest();
    }

    /// Ends the scan: nothing more can be asked, for this reason.
    pub fn handle_failure(&mut self, reason: &str) {
        self.failure = Some(reason.to_owned());
        self.tell_rest();
    }

    /// What is worth a line.
    pub fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let (setting, unit) = self.last;
        let rest = self.visit.iter().chain(&self.visits);
        let waiting: usize = rest.map(|visit| visit.units.len()).sum();
        let open = usize::from(self.open.as_ref().is_some_and(|(job, _)| job.why == Why::First));
        let total = self.asked + u32::try_from(waiting + open).unwrap_or(u32::MAX);
        let found = u32::try_from(self.found().count()).unwrap_or(u32::MAX);
        Progress { setting, unit, asked: self.asked, total, found, left: self.left() }
    }

    /// All cases, the oldest first, those included that came to nothing.
    #[must_use]
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// The units that are there.
    pub fn found(&self) -> impl Iterator<Item = &Case> {
        self.cases.iter().filter(|case| case.standing == Standing::Found)
    }

    /// Ids at which somebody answers, and never soundly, and that no other setting has explained.
    pub fn suspects(&self) -> impl Iterator<Item = &Case> {
        let suspects = self.cases.iter().filter(|case| case.standing == Standing::Suspect);
        suspects.filter(|it| !self.found().any(|found| found.unit == it.unit))
    }

    /// Whether most units that were found at the setting of `case`, three at least, have spoilt answers.
    #[must_use]
    pub fn line_is_weak(&self, case: &Case) -> bool {
        let mates: Vec<&Case> = self.found().filter(|it| it.setting == case.setting).collect();
        let spoilt = mates.iter().filter(|mate| mate.garbled() > 0).count();
        mates.len() >= 3 && spoilt * 2 > mates.len()
    }

    /// What was asked and heard, by setting.
    pub fn tallies(&self) -> impl Iterator<Item = (Option<Setting>, Tally)> {
        self.settings.settings.iter().copied().zip(self.tallies.iter().copied())
    }

    /// Whether one device answers to every unit id.
    #[must_use]
    pub fn answers_to_any(&self) -> bool {
        self.answers_to_any
    }

    /// Whether it was ended before its time.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Why the port cannot be used any more, if that ended the scan.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// The templates that fit a unit best; none when it says nothing that tells.
    #[must_use]
    pub fn fits(&self, case: &Case) -> Vec<Fit> {
        recognise::fits(&self.settings.fingerprints, case)
    }

    /// What it was run with.
    #[must_use]
    pub fn settings(&self) -> &ScanSettings {
        &self.settings
    }

    /// One of the settings.
    #[must_use]
    pub fn setting(&self, index: usize) -> Option<Setting> {
        self.settings.settings.get(index).copied().flatten()
    }

    fn handle_trouble(&mut self, mut job: Job, setting: usize, reason: &str) {
        self.troubles += 1;
        job.failed += 1;
        if self.troubles >= TROUBLES_MAX {
            self.handle_failure(reason);
        } else if job.failed < TRIES_MAX {
            self.hurry(job);
        } else {
            self.note_first(&job, setting);
            self.handle_silence(job, setting);
            self.gather_news(setting);
        }
    }

    fn note_first(&mut self, job: &Job, setting: usize) {
        if job.why == Why::First {
            self.asked += 1;
            self.tally(setting).asked += 1;
        }
    }

    /// All of a setting is asked. With units found, the rest of its ids is asked at once, and other settings not at all
    /// unless that is wanted.
    fn leave(&mut self) {
        let Some(setting) = self.visit.take().map(|visit| visit.setting) else { return };
        if !self.found().any(|case| case.setting == setting) {
            return;
        }
        let rest = self.visits.iter().position(|visit| visit.setting == setting);
        if let Some(visit) = rest.and_then(|index| self.visits.remove(index)) {
            self.visits.push_front(visit);
        } else if !self.settings.goes_on {
            self.visits.clear();
        }
        if !self.settings.goes_on {
            self.visits.retain(|visit| visit.setting == setting);
        }
    }

    /// Ids that were not understood at other settings come first at this one.
    fn ask_suspects_first(&mut self) {
        let Some(visit) = &mut self.visit else { return };
        let is_suspect = |unit: &UnitId| {
            let of_unit = |case: &Case| case.unit == *unit && case.setting != visit.setting;
            self.cases.iter().any(|it| of_unit(it) && it.standing == Standing::Suspect)
        };
        let mut suspects: Vec<UnitId> = self.cases.iter().map(|case| case.unit).collect();
        suspects.sort_unstable();
        suspects.dedup();
        suspects.retain(|unit| {
            is_suspect(unit)
                && !self.cases.iter().any(|it| it.unit == *unit && it.setting == visit.setting)
        });
        visit.units.retain(|unit| !suspects.contains(unit));
        suspects.into_iter().rev().for_each(|unit| visit.units.push_front(unit));
    }

    /// Tells of what is settled at `setting`: nothing more of it waits to be asked.
    fn gather_news(&mut self, setting: usize) {
        let waits = |unit: UnitId| {
            let visit = self.visit.iter().find(|visit| visit.setting == setting);
            visit.is_some_and(|visit| visit.urgent.iter().any(|job| job.unit == unit))
        };
        let settled: Vec<usize> = (self.cases.iter().enumerate())
            .filter(|(_, case)| case.setting == setting && !case.is_told)
            .filter(|(_, case)| matches!(case.standing, Standing::Found | Standing::Suspect))
            .filter(|(_, case)| !waits(case.unit))
            .map(|(index, _)| index)
            .collect();
        self.tell(settled);
    }

    /// Tells of all that is known and untold: nothing more will be asked.
    fn tell_rest(&mut self) {
        let known = |case: &Case| matches!(case.standing, Standing::Found | Standing::Suspect);
        let cases = self.cases.iter().enumerate();
        let untold = cases.filter(|(_, case)| known(case) && !case.is_told);
        let untold = untold.map(|(index, _)| index).collect();
        self.tell(untold);
    }

    fn tell(&mut self, indices: Vec<usize>) {
        for index in indices {
            if let Some(case) = self.cases.get_mut(index) {
                case.is_told = true;
                self.news.push_back(News::Unit(index));
            }
        }
    }

    /// How long everything takes that is still to be asked, if nobody answers.
    fn left(&self) -> Duration {
        let found_here = self.visit.as_ref().is_some_and(|visit| {
            !self.settings.goes_on && self.found().any(|case| case.setting == visit.setting)
        });
        let here = self.visit.as_ref().map(|visit| visit.setting);
        let counts = |visit: &&Visit| !found_here || Some(visit.setting) == here;
        let rest = self.visit.iter().chain(&self.visits).filter(counts);
        rest.map(|visit| {
            let units = u32::try_from(visit.units.len()).unwrap_or(u32::MAX);
            let urgent: Duration = visit.urgent.iter().map(|job| job.timeout / 2).sum();
            self.cost(visit.setting) * units + urgent
        })
        .sum()
    }

    /// What a silent question takes: as measured, or by the wire.
    fn cost(&self, setting: usize) -> Duration {
        let pace = self.paces.get(setting).copied().unwrap_or_default();
        if pace.count >= MEASURED_MIN {
            return pace.sum / pace.count;
        }
        // Request, the answer there could be, and the silence before the next request.
        let on_wire = self.setting(setting).map_or(NETWORK_TURN, |it| it.characters(8 + 7 + 4));
        on_wire + self.first_timeout(setting)
    }

    fn first_timeout(&self, setting: usize) -> Duration {
        let silence = self.setting(setting).map_or(Duration::ZERO, |it| it.characters(7) / 2);
        self.settings.timeout + silence
    }

    fn patience(&self) -> Duration {
        (self.settings.timeout.saturating_mul(PATIENCE_FACTOR)).max(PATIENCE_MIN)
    }

    fn follow(&mut self, unit: UnitId, query: impl Into<Query>) {
        let (query, timeout) = (query.into(), self.patience());
        let job = Job { unit, query, timeout, why: Why::Follow, failed: 0, lingers: false };
        self.push(job);
    }

    fn push(&mut self, job: Job) {
        if let Some(visit) = &mut self.visit {
            visit.urgent.push_back(job);
        }
    }

    fn hurry(&mut self, job: Job) {
        if let Some(visit) = &mut self.visit {
            visit.urgent.push_front(job);
        }
    }

    fn tally(&mut self, setting: usize) -> &mut Tally {
        self.tallies.get_mut(setting).expect("one for each setting")
    }

    fn case(&self, setting: usize, unit: UnitId) -> Option<&Case> {
        self.cases.iter().find(|case| case.setting == setting && case.unit == unit)
    }

    fn case_mut(&mut self, setting: usize, unit: UnitId) -> Option<&mut Case> {
        self.cases.iter_mut().find(|case| case.setting == setting && case.unit == unit)
    }

    fn case_or_new(&mut self, setting: usize, unit: UnitId) -> &mut Case {
        let found = self.cases.iter().position(|it| it.setting == setting && it.unit == unit);
        let index = found.unwrap_or_else(|| {
            self.cases.push(Case::new(unit, setting));
            self.cases.len() - 1
        });
        self.cases.get_mut(index).expect("just found or made")
    }
}

#[cfg(test)]
mod tests;

//! core: what follows for a scan from how a question ended.

use super::{Job, News, Scan, Visit, Why};
use crate::commission::scan::case::{Case, Garble, Standing};
use crate::commission::scan::identity::Identity;
use crate::commission::scan::recognise;
use crate::field::modbus::identity::{IdentityQuery, Objects};
use crate::field::modbus::pdu::{Data, ExceptionCode, ReadRange};
use crate::field::modbus::query::Query;
use crate::field::modbus::transaction::{Failure, Outcome};
use crate::field::{Table, UnitId};

/// How often an id is asked that brought garbage.
const ATTEMPTS: u32 = 3;
/// Questions in a row that a unit leaves unanswered after which it is asked no more of what it may not know.
pub(super) const SILENT_FOLLOWS_MAX: u32 = 6;
/// Unanswered questions in a row after which garbage before them was not from this id.
const SILENT_MAX: u32 = 2;
/// So many ids with nothing but noise, and no unit, make a setting a wrong one.
const NOISY_IDS_MAX: u32 = 5;
/// How often the first question is asked again of a unit that answered it.
pub(super) const VERIFICATIONS: u32 = 2;
/// So many units one after the other on a network raise the question whether it is one device with any id.
const IN_A_ROW_MAX: u32 = 8;
/// Ids from the far end of the range that are asked then.
const CANARIES: usize = 3;
/// What of the conformity of a device says how much of its identification it tells (application protocol 1.1b3, 6.21).
const CONFORMITY_LEVEL: u8 = 0x7f;
const CONFORMITY_BASIC: u8 = 1;
/// The first object beyond the basic ones.
const FIRST_REGULAR_OBJECT: u8 = 3;

impl Scan {
    /// Notes sound frames of others; whether one of them is worth a question of its own.
    pub(super) fn note_others(&mut self, outcome: &Outcome, asked: UnitId, setting: usize) -> bool {
        let mut others: Vec<UnitId> = outcome.dropped.iter().map(|(unit, _)| *unit).collect();
        if let Err(Failure::WrongUnit { answered, .. }) = outcome.result {
            others.push(UnitId(answered));
        }
        others.retain(|unit| *unit != asked && unit.0 != 0);
        others.sort_unstable();
        others.dedup();
        for unit in &others {
            match self.case_mut(setting, *unit) {
                Some(case) if case.standing == Standing::Found && case.silent_in_a_row == 0 => {
                    case.again += 1;
                }
                Some(case) if case.is_slow => {}
                known => {
                    // It answered when its time was over.
                    match known {
                        Some(case) => case.is_slow = true,
                        None => {
                            let case = Case { is_slow: true, ..Case::new(*unit, setting) };
                            self.cases.push(case);
                        }
                    }
                    let (query, timeout) = (self.settings.first.into(), self.patience());
                    self.hurry(Job {
                        unit: *unit,
                        query,
                        timeout,
                        why: Why::Late,
                        failed: 0,
                        lingers: false,
                    });
                }
            }
        }
        !others.is_empty()
    }

    pub(super) fn handle_sound(
        &mut self,
        job: &Job,
        setting: usize,
        result: Result<Data, ExceptionCode>,
    ) {
        self.tally(setting).sound += 1;
        if job.why == Why::First {
            self.note_in_a_row();
        }
        let case = self.case_or_new(setting, job.unit);
        case.note_sound();
        let standing = std::mem::replace(&mut case.standing, Standing::Found);
        match (&job.query, result) {
            (Query::Read(range), result) => case.note_read(*range, result),
            (query, Ok(Data::Identity(part))) => {
                // One that knows the function and says nothing is asked no more.
                let is_first = !std::mem::replace(&mut case.is_identified, true);
                let knows_more = part.conformity & CONFORMITY_LEVEL > CONFORMITY_BASIC;
                case.note_identity(Identity::of(&part));
                if is_first {
                    self.follow(job.unit, query.clone());
                    if knows_more {
                        self.follow(job.unit, identify(Objects::Regular, FIRST_REGULAR_OBJECT));
                    }
                }
            }
            (_, Ok(Data::ServerId(id))) => case.note_identity(Identity::of_server_id(id)),
            // Refused, which says that it is there, and no more.
            (_, _) => {}
        }
        if standing != Standing::Found {
            self.handle_found(job.unit, setting);
        }
    }

    /// A unit is there: everything worth knowing about it is asked at once, so that a stop finds it known.
    pub(super) fn handle_found(&mut self, unit: UnitId, setting: usize) {
        let earlier = self.cases.iter().position(|case| {
            case.unit == unit && case.setting != setting && case.standing == Standing::Found
        });
        if let Some(index) = earlier
            && self.setting(setting).map(|it| it.baud)
                == self.cases.get(index).and_then(|it| self.setting(it.setting)).map(|it| it.baud)
        {
            // It does not look at the parity bit.
            if let Some(case) = self.cases.get_mut(index) {
                case.also_at.push(setting);
            }
            if let Some(case) = self.case_mut(setting, unit) {
                case.standing = Standing::Absent;
            }
            return;
        }
        let first = Query::Read(self.settings.first);
        let tables = [Table::Holding, Table::Input, Table::Coil, Table::DiscreteInput];
        let asked = self.settings.first.table();
        let reads = tables.into_iter().filter(|table| *table != asked);
        let reads = reads.filter_map(|table| ReadRange::new(table, 0, 1).ok()).map(Query::Read);
        let who = identify(Objects::Basic, 0);
        // Where frames have numbers, no second answer comes.
        let lingers = !self.settings.is_network;
        for _ in 0..VERIFICATIONS {
            let (query, timeout) = (first.clone(), self.patience());
            self.push(Job { unit, query, timeout, why: Why::Follow, failed: 0, lingers });
        }
        let queries = [who, Query::ServerId].into_iter();
        for query in queries.chain(reads.take(2)) {
            self.follow(unit, query);
        }
        for range in recognise::reads(&self.settings.fingerprints) {
            let is_asked =
                range.address() == 0 && range.count() == 1 && range.table() != Table::DiscreteInput;
            if !is_asked {
                self.follow(unit, range);
            }
        }
    }

    pub(super) fn handle_silence(&mut self, job: Job, setting: usize) {
        if job.why == Why::First {
            self.in_a_row = 0;
            self.canaries = self.canaries.map(|_| 0);
        }
        let unit = job.unit;
        let Some(case) = self.case_mut(setting, unit) else { return };
        case.silent_in_a_row += 1;
        if case.standing == Standing::Found && case.silent_in_a_row >= SILENT_FOLLOWS_MAX {
            // It says nothing where others refuse, and each such question costs a time-out.
            self.visit.iter_mut().for_each(|visit| visit.urgent.retain(|job| job.unit != unit));
            return;
        }
        if case.standing != Standing::Open {
            return;
        }
        if case.garbled() == 0 || case.silent_in_a_row >= SILENT_MAX {
            case.standing = Standing::Absent;
        } else {
            self.hurry(Job { why: Why::Repeat, ..job });
        }
    }

    pub(super) fn handle_garble(&mut self, job: Job, setting: usize, garble: Garble) {
        self.tally(setting).garbled += 1;
        let is_noisy = self.tally(setting).noisy_ids >= NOISY_IDS_MAX;
        let case = self.case_or_new(setting, job.unit);
        case.note_garble(garble);
        if case.standing != Standing::Open {
            return;
        }
        if case.garbled() < ATTEMPTS && !is_noisy {
            self.hurry(Job { why: Why::Repeat, ..job });
            return;
        }
        if case.strange == case.garbled() && !is_noisy {
            // Sound frames of this unit, and never the answer: it is there and odd.
            case.standing = Standing::Found;
            self.handle_found(job.unit, setting);
            return;
        }
        let is_noise = case.damaged == 0;
        case.standing = if is_noisy { Standing::Absent } else { Standing::Suspect };
        if is_noise {
            self.tally(setting).noisy_ids += 1;
            self.leave_if_noisy(setting);
        }
        if !is_noisy && self.visit.is_some() {
            self.handle_suspect(job.unit, setting, is_noise);
        }
    }

    /// Somebody answers and is not understood: another question may be answered soundly, unless it is mere noise, and the
    /// same rate with another parity is the next best guess.
    pub(super) fn handle_suspect(&mut self, unit: UnitId, setting: usize, is_noise: bool) {
        if !is_noise {
            for table in [Table::Input, Table::Coil] {
                if let Ok(range) = ReadRange::new(table, 0, 1) {
                    self.follow(unit, range);
                }
            }
            self.follow(unit, identify(Objects::Basic, 0));
        }
        let Some(baud) = self.setting(setting).map(|it| it.baud) else { return };
        let settings = &self.settings.settings;
        let is_other = |visit: &Visit| {
            settings.get(visit.setting).copied().flatten().is_none_or(|it| it.baud != baud)
        };
        self.visits.make_contiguous().sort_by_key(|visit| (visit.is_rest, is_other(visit)));
    }

    /// A setting without units where noise comes whatever is asked is a wrong one, if there are others.
    pub(super) fn leave_if_noisy(&mut self, setting: usize) {
        let has_units = self.found().any(|case| case.setting == setting);
        let is_noisy = self.tally(setting).noisy_ids >= NOISY_IDS_MAX;
        if !is_noisy || has_units {
            return;
        }
        // What looked like units is the noise as well.
        for case in &mut self.cases {
            if case.setting == setting && case.standing == Standing::Suspect && case.damaged == 0 {
                case.standing = Standing::Absent;
            }
        }
        if self.settings.settings.len() > 1 {
            self.tally(setting).is_left = true;
            self.visits.retain(|visit| visit.setting != setting);
            self.visit = None;
            self.news.push_back(News::Left(setting));
        }
    }

    /// On a network, one device may answer to every unit id: ids that are unlikely to be used tell.
    pub(super) fn note_in_a_row(&mut self) {
        if !self.settings.is_network {
            return;
        }
        self.in_a_row += 1;
        match &mut self.canaries {
            None if self.in_a_row >= IN_A_ROW_MAX => {
                let Some(visit) = &mut self.visit else { return };
                let count = CANARIES.min(visit.units.len());
                for _ in 0..count {
                    if let Some(unit) = visit.units.pop_back() {
                        visit.units.push_front(unit);
                    }
                }
                self.canaries = Some(count);
            }
            Some(left @ 1..) => {
                *left -= 1;
                if *left == 0 {
                    self.answers_to_any = true;
                    self.visit.iter_mut().for_each(|visit| visit.units.clear());
                }
            }
            None | Some(0) => {}
        }
    }
}

fn identify(objects: Objects, from: u8) -> Query {
    Query::Identity(IdentityQuery { objects, from })
}

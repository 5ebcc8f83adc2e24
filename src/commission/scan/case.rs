//! core: what was seen of one unit id at one setting, and what that says.

use super::identity::Identity;
use crate::field::UnitId;
use crate::field::modbus::pdu::{Data, ExceptionCode, ReadRange};
use crate::field::modbus::transaction::Failure;

/// How an answer was spoilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Garble {
    /// The length is right and the check is wrong.
    Damaged,
    /// It began and did not end.
    BrokenOff,
    /// Bytes that are no frame.
    Noise,
    /// A sound frame of this unit that is not the answer.
    Strange,
}

impl Garble {
    /// Of a question to a unit; `None` for what is no spoilt answer of that unit.
    #[must_use]
    pub fn of(failure: &Failure) -> Option<Self> {
        match failure {
            Failure::Crc { .. } | Failure::Lrc { .. } => Some(Self::Damaged),
            Failure::Short { .. } => Some(Self::BrokenOff),
            Failure::Noise { .. } => Some(Self::Noise),
            Failure::WrongFunction { .. }
            | Failure::WrongLength { .. }
            | Failure::OtherWrite
            | Failure::Malformed
            | Failure::OnlyOlder { .. } => Some(Self::Strange),
            Failure::NoAnswer
            | Failure::EchoOnly
            | Failure::WrongUnit { .. }
            | Failure::NotAsked { .. }
            | Failure::Refused { .. }
            | Failure::RefusedSomething { .. }
            | Failure::Port { .. } => None,
        }
    }
}

/// How far a unit id has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Something came; it is asked again.
    Open,
    /// A unit is there.
    Found,
    /// Somebody answers, and never soundly.
    Suspect,
    /// What came was not from this unit.
    Absent,
}

/// What a unit id looks like when everything is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// One unit.
    One,
    /// One unit of whose answers some were spoilt, as those of its neighbours.
    WeakLine,
    /// Probably two devices with one id.
    ProbablyTwo,
}

/// What a read brought: values, or why the unit refused.
pub type Read = Result<Data, ExceptionCode>;

/// All that was seen of one unit id at one setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Whose.
    pub unit: UnitId,
    /// At which of the settings.
    pub setting: usize,
    /// How far it has come.
    pub standing: Standing,
    /// Sound answers, refusals included.
    pub sound: u32,
    /// Answers of the right length with a wrong check.
    pub damaged: u32,
    /// Answers spoilt in other ways.
    pub spoilt: u32,
    /// Of these, sound frames that answered something else.
    pub strange: u32,
    /// Questions in a row without an answer.
    pub silent_in_a_row: u32,
    /// Sound answers after the one that was waited for.
    pub again: u32,
    /// Whether one question got answers that no single device gives: refused and granted, or two identities.
    pub contradicts_itself: bool,
    /// Whether it took longer than the time-out of a first question.
    pub is_slow: bool,
    /// What reads brought, the last of each range.
    pub reads: Vec<(ReadRange, Read)>,
    /// What it says it is.
    pub identity: Identity,
    /// Further settings it answered at.
    pub also_at: Vec<usize>,
    /// Whether it has answered function 43/14.
    pub(super) is_identified: bool,
    /// Whether it has been told.
    pub(super) is_told: bool,
}

/// So many spoilt answers of a unit that also answers soundly are no accident.
const SPOILT_MIN: u32 = 2;

impl Case {
    pub(super) fn new(unit: UnitId, setting: usize) -> Self {
        Self {
            unit,
            setting,
            standing: Standing::Open,
            sound: 0,
            damaged: 0,
            spoilt: 0,
            strange: 0,
            silent_in_a_row: 0,
            again: 0,
            contradicts_itself: false,
            is_slow: false,
            reads: Vec::new(),
            identity: Identity::default(),
            also_at: Vec::new(),
            is_identified: false,
            is_told: false,
        }
    }

    /// How many answers came spoilt.
    #[must_use]
    pub fn garbled(&self) -> u32 {
        self.damaged + self.spoilt
    }

    /// Whether a unit is there.
    #[must_use]
    pub fn is_found(&self) -> bool {
        self.standing == Standing::Found
    }

    pub(super) fn note_garble(&mut self, garble: Garble) {
        self.silent_in_a_row = 0;
        match garble {
            Garble::Damaged => self.damaged += 1,
            Garble::BrokenOff | Garble::Noise => self.spoilt += 1,
            Garble::Strange => {
                self.spoilt += 1;
                self.strange += 1;
            }
        }
    }

    pub(super) fn note_sound(&mut self) {
        self.sound += 1;
        self.silent_in_a_row = 0;
    }

    pub(super) fn note_read(&mut self, range: ReadRange, read: Read) {
        match self.reads.iter_mut().find(|(known, _)| *known == range) {
            Some((_, known)) => {
                self.contradicts_itself |= contradict(known, &read);
                *known = read;
            }
            None => self.reads.push((range, read)),
        }
    }

    pub(super) fn note_identity(&mut self, identity: Identity) {
        self.contradicts_itself |= self.identity.contradicts(&identity);
        self.identity.take_over(identity);
    }

    /// The first read that brought values.
    #[must_use]
    pub fn first_values(&self) -> Option<(ReadRange, &Data)> {
        self.reads.iter().find_map(|(range, read)| Some((*range, read.as_ref().ok()?)))
    }

    /// What it looks like among its neighbours; `line_is_weak` when most of these have spoilt answers, too.
    #[must_use]
    pub fn verdict(&self, line_is_weak: bool) -> Verdict {
        let spoilt = self.garbled() - self.strange;
        if self.again > 0 || self.contradicts_itself {
            Verdict::ProbablyTwo
        } else if self.standing == Standing::Found && spoilt < SPOILT_MIN {
            if spoilt == 0 { Verdict::One } else { Verdict::WeakLine }
        } else if line_is_weak {
            Verdict::WeakLine
        } else {
            Verdict::ProbablyTwo
        }
    }
}

/// Whether no single device says both. One that is busy or fails may say so in between.
fn contradict(one: &Read, other: &Read) -> bool {
    let for_good = |code: &ExceptionCode| {
        let codes = [ExceptionCode::IllegalFunction, ExceptionCode::IllegalDataAddress];
        codes.contains(code)
    };
    match (one, other) {
        (Ok(_), Ok(_)) => false,
        (Err(one), Err(other)) => one != other && for_good(one) && for_good(other),
        (Ok(_), Err(code)) | (Err(code), Ok(_)) => for_good(code),
    }
}

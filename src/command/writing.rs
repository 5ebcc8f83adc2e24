//! core: the way of one point to another value: look, write once, read it back.
//!
//! A write is asked once. It is asked again only after an answer that says it was not done: a function the device does not
//! know (another one is taken then), or a device that is busy. Silence is no such answer: what became of it is found out by
//! reading.

use std::fmt;
use std::time::{Duration, Instant};

use crate::field::modbus::decode::decode;
use crate::field::modbus::encode::{Setting, masked};
use crate::field::modbus::pdu::{Data, ExceptionCode};
use crate::field::modbus::transaction::{Failure, Question};
use crate::field::modbus::write::{What, Write};
use crate::field::{PointSettings, UnitId};
use crate::model::Value;

/// How often a look that fails is repeated: it does nothing to the device.
const LOOKS_MAX: usize = 2;
/// How long a busy device is left alone before it is asked again, time by time.
const BUSY_PAUSES: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(400), Duration::from_secs(1)];
/// The same before it is read again, because it may need a moment for what it took.
const SETTLING_PAUSES: [Duration; 4] = [
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_secs(1),
];

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Ask this now. What came of it goes to [`Writing::handle_outcome`].
    Ask(Question),
    /// Ask after this pause.
    Pause(Duration),
    /// It is over.
    Done(Outcome),
}

/// How a request ended for one point.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// In a word.
    pub end: End,
    /// What the point is afterwards, as far as that was read or said.
    pub value: Option<Value>,
    /// What it was before.
    pub before: Option<Value>,
    /// What there is to say of it, in plain words; `None` when all is well.
    pub reason: Option<String>,
}

impl Outcome {
    /// Nothing was sent to the device.
    #[must_use]
    pub fn refused(reason: impl Into<String>) -> Self {
        Self { end: End::Refused, value: None, before: None, reason: Some(reason.into()) }
    }
}

/// How a request ended, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// The device took it, and says so when it is read.
    Confirmed,
    /// The device took it; it was not, or could not be, read afterwards.
    Written,
    /// Nothing was sent to the device.
    Refused,
    /// The device did not take it, or says something else afterwards.
    Failed,
    /// It was sent, and nobody knows whether the device took it.
    Unknown,
}

impl End {
    /// The word in the answer.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Written => "written",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[derive(Debug)]
enum Step {
    Look {
        tries: usize,
    },
    Write(Write),
    /// `doubt` says why it is not known whether the device took it.
    ReadBack {
        tries: usize,
        doubt: Option<String>,
    },
    Done(Outcome),
}

/// One point on its way to another value.
#[derive(Debug)]
pub struct Writing<'p> {
    unit: UnitId,
    point: &'p PointSettings,
    setting: Setting,
    until: Instant,
    step: Step,
    pause: Option<Duration>,
    before: Option<Value>,
    /// What stood in the register, for a device that cannot write parts of one.
    word: Option<u16>,
    is_other_tried: bool,
    busy: usize,
    /// Whether the device lets itself be read there.
    is_readable: bool,
}

impl<'p> Writing<'p> {
    /// `point` of `unit` becomes `setting`, unless that is not sent before `until`.
    #[must_use]
    pub fn new(unit: UnitId, point: &'p PointSettings, setting: Setting, until: Instant) -> Self {
        let read_back = point.writable.is_some_and(|writable| writable.read_back);
        let is_part = matches!(setting.write.what(), What::Mask { .. });
        let look = Step::Look { tries: 0 };
        let step = if read_back || is_part { look } else { Step::Write(setting.write.clone()) };
        Self {
            unit,
            point,
            setting,
            until,
            step,
            pause: None,
            before: None,
            word: None,
            is_other_tried: false,
            busy: 0,
            is_readable: read_back,
        }
    }

    /// What to do next.
    #[must_use]
    pub fn poll_next(&mut self) -> Next {
        if let Some(pause) = self.pause.take() {
            return Next::Pause(pause);
        }
        let read = || Next::Ask(Question::new(self.unit, self.setting.write.range()));
        match &self.step {
            Step::Look { .. } | Step::ReadBack { .. } => read(),
            Step::Write(write) => Next::Ask(Question::write(self.unit, write)),
            Step::Done(outcome) => Next::Done(outcome.clone()),
        }
    }

    /// Until when the next question may be asked; `None` for one that only finds out what came of the write.
    #[must_use]
    pub fn until(&self) -> Option<Instant> {
        let is_before = matches!(self.step, Step::Look { .. } | Step::Write(_));
        is_before.then_some(self.until)
    }

    /// Takes what came of the last question.
    pub fn handle_outcome(&mut self, result: &Result<Data, Failure>, now: Instant) {
        match &self.step {
            Step::Look { tries } => self.handle_look(*tries, result),
            Step::Write(_) => self.handle_written(result, now),
            Step::ReadBack { tries, doubt } => {
                let (tries, doubt) = (*tries, doubt.clone());
                self.handle_read_back(tries, doubt, result);
            }
            Step::Done(_) => {}
        }
    }

    /// The bus has stopped; whether the last question was asked is not known.
    pub fn handle_stopped(&mut self) {
        let reason = "the gateway is stopping";
        match &self.step {
            Step::Look { .. } => self.end(End::Refused, None, Some(reason.to_owned())),
            Step::Write(_) | Step::ReadBack { doubt: Some(_), .. } => {
                let reason = format!("{reason}; whether the device took it is not known");
                self.end(End::Unknown, None, Some(reason));
            }
            Step::ReadBack { doubt: None, .. } => {
                let value = Some(self.setting.value.clone());
                self.end(End::Written, value, Some(format!("{reason}; it was not read back")));
            }
            Step::Done(_) => {}
        }
    }

    fn handle_look(&mut self, tries: usize, result: &Result<Data, Failure>) {
        match result {
            Ok(data) => {
                self.before = self.value(data);
                if let Data::Registers(words) = data {
                    self.word = words.first().copied();
                }
                self.step = Step::Write(self.setting.write.clone());
            }
            Err(Failure::NotAsked { reason }) => {
                self.end(End::Refused, None, Some(reason.clone()));
            }
            Err(Failure::Refused {
                code:
                    ExceptionCode::IllegalFunction
                    | ExceptionCode::IllegalDataAddress
                    | ExceptionCode::IllegalDataValue,
            }) => {
                // There are registers that can only be written.
                self.is_readable = false;
                self.step = Step::Write(self.setting.write.clone());
            }
            Err(Failure::Refused {
                code: ExceptionCode::DeviceBusy | ExceptionCode::Acknowledge,
            }) if self.is_busy_still() => {}
            Err(_) if tries + 1 < LOOKS_MAX => self.step = Step::Look { tries: tries + 1 },
            Err(failure) => self.end(End::Refused, None, Some(failure.to_string())),
        }
    }

    /// Whether the device is to be asked the same after a pause.
    fn is_busy_still(&mut self) -> bool {
        self.pause = BUSY_PAUSES.get(self.busy).copied();
        self.busy += 1;
        self.pause.is_some()
    }

    fn handle_written(&mut self, result: &Result<Data, Failure>, now: Instant) {
        let Err(failure) = result else { return self.read_back(None) };
        let code = match failure {
            Failure::NotAsked { reason } => {
                return self.end(End::Refused, None, Some(reason.clone()));
            }
            // The device itself may have taken it.
            Failure::Refused {
                code: ExceptionCode::GatewayTargetFailed | ExceptionCode::GatewayPathUnavailable,
            } => return self.read_back(Some(failure.to_string())),
            Failure::Refused { code } => *code,
            // Whether it was taken is seen by what is read.
            Failure::NoAnswer
            | Failure::EchoOnly
            | Failure::Noise { .. }
            | Failure::Short { .. }
            | Failure::Crc { .. }
            | Failure::Lrc { .. }
            | Failure::WrongUnit { .. }
            | Failure::WrongFunction { .. }
            | Failure::WrongLength { .. }
            | Failure::OtherWrite
            | Failure::Malformed
            | Failure::OnlyOlder { .. }
            | Failure::RefusedSomething { .. }
            | Failure::Port { .. } => return self.read_back(Some(failure.to_string())),
        };
        match code {
            ExceptionCode::Acknowledge => self.read_back(None),
            ExceptionCode::DeviceBusy if now < self.until && self.is_busy_still() => {}
            ExceptionCode::IllegalFunction if !self.is_other_tried => {
                self.is_other_tried = true;
                let by_word = || masked(&self.setting.write, self.word?);
                match self.setting.otherwise.clone().or_else(by_word) {
                    Some(other) => self.step = Step::Write(other),
                    None => self.end(End::Failed, None, Some(failure.to_string())),
                }
            }
            ExceptionCode::IllegalFunction
            | ExceptionCode::IllegalDataAddress
            | ExceptionCode::IllegalDataValue
            | ExceptionCode::DeviceFailure
            | ExceptionCode::DeviceBusy
            | ExceptionCode::NegativeAcknowledge
            | ExceptionCode::MemoryParity
            | ExceptionCode::GatewayPathUnavailable
            | ExceptionCode::GatewayTargetFailed
            | ExceptionCode::Unknown(_) => {
                self.end(End::Failed, None, Some(failure.to_string()));
            }
        }
    }

    fn read_back(&mut self, doubt: Option<String>) {
        if self.is_readable {
            self.pause = doubt.as_ref().and(SETTLING_PAUSES.first().copied());
            self.step = Step::ReadBack { tries: 0, doubt };
            return;
        }
        match doubt {
            None => self.end(End::Written, Some(self.setting.value.clone()), None),
            Some(doubt) => self.end(End::Unknown, None, Some(in_doubt(&doubt))),
        }
    }

    fn handle_read_back(
        &mut self,
        tries: usize,
        doubt: Option<String>,
        result: &Result<Data, Failure>,
    ) {
        let value = result.as_ref().ok().and_then(|data| self.value(data));
        if value.as_ref() == Some(&self.setting.value) {
            // Wherever the answer got lost, the point is what it was to be.
            return self.end(End::Confirmed, value, None);
        }
        if let Some(pause) = SETTLING_PAUSES.get(tries) {
            self.pause = Some(*pause);
            self.step = Step::ReadBack { tries: tries + 1, doubt };
            return;
        }
        match (result, doubt) {
            (Ok(_), doubt) => {
                let says = value.as_ref().map_or("no value".to_owned(), Value::to_string);
                let took = doubt.unwrap_or_else(|| "the device took it".to_owned());
                self.end(End::Failed, value, Some(format!("{took}; read back, it says {says}")));
            }
            (Err(failure), None) => {
                let reason = format!("it could not be read back: {failure}");
                self.end(End::Written, Some(self.setting.value.clone()), Some(reason));
            }
            (Err(_), Some(doubt)) => self.end(End::Unknown, None, Some(in_doubt(&doubt))),
        }
    }

    fn value(&self, data: &Data) -> Option<Value> {
        decode(self.point, self.setting.write.range(), data).0
    }

    fn end(&mut self, end: End, value: Option<Value>, reason: Option<String>) {
        let before = self.before.clone();
        self.step = Step::Done(Outcome { end, value, before, reason });
    }
}

fn in_doubt(failure: &str) -> String {
    format!("{failure}; whether the device took it is not known, and it is not sent again")
}

#[cfg(test)]
mod tests;

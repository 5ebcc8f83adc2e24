//! core: one question and what became of it: the answer, or precisely why there is none.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::length::{Length, answer_length};
use super::pdu::{Answer, Data, ExceptionCode, ReadRange};
use super::query::Query;
use super::write::Write;
use crate::field::UnitId;

/// What an RTU answer can be told by besides its unit: function code and data bytes. A frame carries nothing else of
/// the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// The function code.
    pub function: u8,
    /// How many data bytes the answer holds, or how many follow its function code where no count stands in front;
    /// `None` for a question to which the device chooses that.
    pub byte_count: Option<u8>,
}

impl From<ReadRange> for Shape {
    fn from(range: ReadRange) -> Self {
        Self { function: range.function(), byte_count: Some(range.byte_count()) }
    }
}

/// One thing that is asked of one unit. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Who is asked.
    pub unit: UnitId,
    /// What is asked.
    pub query: Query,
    /// How many older questions to this unit with the same function may still be answered. Exceptions carry nothing
    /// but the function, so only the one after that many is known to be the answer to this question. 0 on TCP.
    pub older_of_function: usize,
    /// Whether any unit of this bus may still answer an older question. `false` on TCP.
    pub older_on_bus: bool,
}

impl Question {
    /// A question on a bus where nothing older is open.
    #[must_use]
    pub fn new(unit: UnitId, query: impl Into<Query>) -> Self {
        Self { unit, query: query.into(), older_of_function: 0, older_on_bus: false }
    }

    /// A write on a bus where nothing older is open.
    #[must_use]
    pub fn write(unit: UnitId, write: &Write) -> Self {
        Self::new(unit, write.clone())
    }
}

impl Shape {
    /// Of a PDU that answers some question; `None` if it is no such thing, or a refusal.
    #[must_use]
    pub fn of_answer(pdu: &[u8]) -> Option<Self> {
        let &[function @ ..=0x7f, second, ..] = pdu else { return None };
        if answer_length(pdu) != Length::Is(pdu.len()) {
            return None;
        }
        let byte_count = match function {
            1..=4 | 17 | 20 | 23 => second,
            _ => u8::try_from(pdu.len() - 1).unwrap_or(u8::MAX),
        };
        Some(Self { function, byte_count: Some(byte_count) })
    }

    /// Whether two answers of these shapes could be taken for each other.
    #[must_use]
    pub fn is_like(self, other: Self) -> bool {
        let counts = self.byte_count.zip(other.byte_count);
        self.function == other.function && counts.is_none_or(|(one, two)| one == two)
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unit {} {}", self.unit.0, self.query)
    }
}

/// Why a question brought no values. `Display` tells the person with the screwdriver what was seen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Failure {
    /// Not one byte came.
    #[error("no answer")]
    NoAnswer,
    /// Only the request itself came back.
    #[error(
        "no answer, only our own request came back (the adapter does not switch its direction; is the line open?)"
    )]
    EchoOnly,
    /// Bytes came that belong to no frame.
    #[error("{bytes} bytes of noise and no answer (check baud rate, parity and wiring)")]
    Noise {
        /// How many bytes came.
        bytes: usize,
    },
    /// An answer began and did not end.
    #[error(
        "the answer broke off after {received} of {expected} bytes (two devices with one id, a weak line, or a converter \
         that cuts frames)"
    )]
    Short {
        /// Bytes that came.
        received: usize,
        /// Bytes that had to come.
        expected: usize,
    },
    /// The answer was damaged on the line.
    #[error(
        "the answer is of the right length, but damaged: CRC is {received:#06x}, computed {computed:#06x} (parity or stop \
         bits, a line without termination, or two devices with one id)"
    )]
    Crc {
        /// The CRC in the frame.
        received: u16,
        /// The CRC over the bytes that came.
        computed: u16,
    },
    /// The answer was damaged on the line (ASCII).
    #[error(
        "the answer is damaged: LRC is {received:#04x}, computed {computed:#04x} (parity or data bits, a line without \
         termination, or two devices with one id)"
    )]
    Lrc {
        /// The LRC in the frame.
        received: u16,
        /// The LRC over the bytes that came.
        computed: u16,
    },
    /// A sound frame of another unit came.
    #[error(
        "unit {answered} answered while unit {asked} was asked (a late answer, or two devices with one id)"
    )]
    WrongUnit {
        /// The unit that was asked.
        asked: u8,
        /// The unit in the answer.
        answered: u8,
    },
    /// A sound frame of another function came.
    #[error(
        "the answer is of function {answered}, asked was {asked} (a late answer, or another master on the line)"
    )]
    WrongFunction {
        /// The function code that was asked for.
        asked: u8,
        /// The function code that came.
        answered: u8,
    },
    /// A sound frame with more or less data than was asked for came.
    #[error(
        "the answer has {answered} bytes of data, asked were {asked} (a late answer, or another master on the line)"
    )]
    WrongLength {
        /// Data bytes that had to come.
        asked: usize,
        /// Data bytes that came.
        answered: usize,
    },
    /// The device took another write than the one that was sent.
    #[error("the answer tells of another write (a late answer, or another master on the line)")]
    OtherWrite,
    /// An answer of the right function came that contradicts itself, or what was asked.
    #[error(
        "the answer contradicts itself or what was asked (a late answer, or the device does not keep to the specification)"
    )]
    Malformed,
    /// It was not asked: its time was over before its turn came, or there is no port to ask on.
    #[error("{reason}")]
    NotAsked {
        /// Why, in plain words.
        reason: String,
    },
    /// Only answers to older questions came.
    #[error("only answers to older questions came (the device is slower than `timeout` allows)")]
    OnlyOlder {
        /// How many came.
        count: usize,
    },
    /// The device refused.
    #[error("{code}")]
    Refused {
        /// Why.
        code: ExceptionCode,
    },
    /// A refusal came that may belong to this question or to an older one.
    #[error("{code}, but it may be meant for an older question")]
    RefusedSomething {
        /// Why.
        code: ExceptionCode,
    },
    /// The port or connection failed in the middle.
    #[error("{reason}")]
    Port {
        /// What the operating system said, in plain words.
        reason: String,
    },
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody seems to be there: ask once more, then less often.
    Silent,
    /// Somebody is there, but the line or the device spoils it: ask again.
    AskAgain,
    /// The device needs time: ask again later.
    Later,
    /// The device does not have all of what was asked for: ask for less.
    AskForLess,
    /// The device will not give it.
    GiveUp,
    /// The port is of no use any more: open it again.
    Reopen,
}

impl Failure {
    /// What to do about it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::NoAnswer | Self::EchoOnly => Verdict::Silent,
            Self::Noise { .. }
            | Self::Short { .. }
            | Self::Crc { .. }
            | Self::Lrc { .. }
            | Self::WrongUnit { .. }
            | Self::WrongFunction { .. }
            | Self::WrongLength { .. }
            | Self::OtherWrite
            | Self::Malformed
            | Self::NotAsked { .. }
            | Self::OnlyOlder { .. }
            | Self::RefusedSomething { .. } => Verdict::AskAgain,
            Self::Refused { code } => match code {
                ExceptionCode::IllegalDataAddress | ExceptionCode::IllegalDataValue => {
                    Verdict::AskForLess
                }
                ExceptionCode::Acknowledge | ExceptionCode::DeviceBusy => Verdict::Later,
                ExceptionCode::GatewayPathUnavailable | ExceptionCode::GatewayTargetFailed => {
                    Verdict::Silent
                }
                ExceptionCode::IllegalFunction
                | ExceptionCode::DeviceFailure
                | ExceptionCode::NegativeAcknowledge
                | ExceptionCode::MemoryParity
                | ExceptionCode::Unknown(_) => Verdict::GiveUp,
            },
            Self::Port { .. } => Verdict::Reopen,
        }
    }
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The values, or why there are none.
    pub result: Result<Data, Failure>,
    /// Sound frames that were not the answer to this question, in the order they came.
    pub dropped: Vec<(UnitId, Shape)>,
}

/// A transaction that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// What it was begun as.
    pub ticket: u64,
    /// What was asked.
    pub question: Question,
    /// How it ended.
    pub outcome: Outcome,
}

impl From<Answer> for Result<Data, Failure> {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Data(data) => Ok(data),
            Answer::Refused(code) => Err(Failure::Refused { code }),
        }
    }
}

/// A unit that leaves this many questions in a row unanswered while nothing else comes has lost its connection.
const SILENT_IN_A_ROW_MAX: u32 = 3;

/// Questions without any answer in a row, unit by unit: a connection that is half open says nothing for ever, and so
/// does a dead unit behind a gateway whose other units would answer.
#[derive(Debug, Default)]
pub(super) struct Silent {
    units: Vec<(UnitId, u32)>,
}

impl Silent {
    /// `unit` did not answer; returns why the connection must be opened again, if it must.
    pub(super) fn handle_silence(&mut self, unit: UnitId) -> Option<String> {
        let index = self.units.iter().position(|(known, _)| *known == unit);
        let index = index.unwrap_or_else(|| {
            self.units.push((unit, 0));
            self.units.len() - 1
        });
        let (_, count) = self.units.get_mut(index)?;
        *count += 1;
        let is_over = *count >= SILENT_IN_A_ROW_MAX;
        is_over.then(|| format!("{count} questions in a row without any answer"))
    }
}

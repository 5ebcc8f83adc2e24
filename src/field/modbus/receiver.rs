//! core: the search for the answer to one question in what comes after it, where frames carry no number.

use super::length::{Length, answer_length};
use super::pdu::{Answer, ExceptionCode};
use super::query::Query;
use super::transaction::{Failure, Question, Shape};
use super::{ascii, rtu};
use crate::field::UnitId;

/// How frames without a number are wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrap {
    /// Bytes and a CRC ([`rtu`]).
    Rtu,
    /// Hexadecimal digits and an LRC ([`ascii`]).
    Ascii,
}

impl Wrap {
    /// Makes a frame of `pdu` for `unit`.
    #[must_use]
    pub fn encode(self, unit: UnitId, pdu: &[u8]) -> Vec<u8> {
        match self {
            Self::Rtu => rtu::encode(unit, pdu),
            Self::Ascii => ascii::encode(unit, pdu),
        }
    }

    /// Characters a frame around a PDU of `pdu_len` bytes takes.
    #[must_use]
    pub fn frame_len(self, pdu_len: usize) -> usize {
        match self {
            Self::Rtu => pdu_len + rtu::FRAME_EXTRA,
            Self::Ascii => ascii::frame_len(pdu_len),
        }
    }

    fn cut(self, bytes: &[u8]) -> Cut {
        match self {
            Self::Rtu => rtu::cut(bytes),
            Self::Ascii => ascii::cut(bytes),
        }
    }

    fn damaged(self, received: u16, computed: u16) -> Failure {
        match self {
            Self::Rtu => Failure::Crc { received, computed },
            Self::Ascii => Failure::Lrc { received, computed },
        }
    }
}

/// What stands at the front of some bytes.
#[derive(Debug)]
pub(super) enum Cut {
    /// No frame, whatever may follow.
    Nothing,
    /// What can still become a frame.
    Beginning,
    /// A complete frame of so many characters.
    Frame { length: usize, unit: UnitId, pdu: Vec<u8>, check: Check },
}

/// Whether a frame came over the line as it was sent.
#[derive(Debug)]
pub(super) enum Check {
    Sound,
    /// What stands in the frame, and what it should be.
    Damaged {
        received: u16,
        computed: u16,
    },
}

impl Check {
    pub(super) fn of(received: u16, computed: u16) -> Self {
        if received == computed { Self::Sound } else { Self::Damaged { received, computed } }
    }
}

/// Looks for the answer to one question in the bytes that come after it.
///
/// A frame on a serial line carries no number and often no clear beginning, so nothing is taken but a frame whose unit,
/// function, byte count and check are those of the question. Noise before it, the echo of the request and answers to
/// other questions are passed over.
#[derive(Debug)]
pub struct Receiver {
    wrap: Wrap,
    question: Question,
    request: Vec<u8>,
    /// Whether what looks like the request is its echo: some writes are answered by just that.
    takes_echo: bool,
    /// What is not decided yet; at most a frame and what came with its end.
    bytes: Vec<u8>,
    /// How many bytes came, without the echo.
    received: usize,
    echoed: bool,
    dropped: Vec<(UnitId, Shape)>,
    /// Frames that may answer an older question of the same unit and function.
    same_function: usize,
    refused: Option<ExceptionCode>,
    suspicion: Option<Failure>,
}

/// What stands at the beginning of some bytes.
enum Found {
    /// Nothing, whatever may follow.
    Nothing,
    /// Something that can still become a frame.
    Beginning,
    /// The request itself.
    Echo,
    /// The answer.
    Answer { length: usize, answer: Answer },
    /// A sound frame of this length that answers something else.
    Other { length: usize, unit: UnitId, pdu: Vec<u8> },
    /// A frame with the question's unit, function and byte count, but damaged.
    Damaged { received: u16, computed: u16 },
}

impl Receiver {
    /// Waits for the answer to `question`.
    #[must_use]
    pub fn new(wrap: Wrap, question: Question) -> Self {
        Self {
            wrap,
            request: wrap.encode(question.unit, &question.query.request()),
            takes_echo: !question.query.is_answered_by_itself(),
            question,
            bytes: Vec::new(),
            received: 0,
            echoed: false,
            dropped: Vec::new(),
            same_function: 0,
            refused: None,
            suspicion: None,
        }
    }

    /// The adapter is known to receive what it sends: the echo comes before the answer.
    pub fn handle_echoing(&mut self) {
        self.takes_echo = true;
    }

    /// The frame that asks the question.
    #[must_use]
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Takes bytes in the order they came; returns the answer once it is complete. What follows it is ignored.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Option<Answer> {
        self.received += bytes.len();
        self.bytes.extend_from_slice(bytes);
        let mut at = 0;
        let mut undecided = None;
        let answer = loop {
            let Some(rest) = self.bytes.get(at..).filter(|rest| !rest.is_empty()) else {
                break None;
            };
            match self.look(rest) {
                Found::Nothing => at += 1,
                Found::Beginning => {
                    undecided = undecided.or(Some(at));
                    at += 1;
                }
                Found::Echo => {
                    self.echoed = true;
                    self.received -= self.request.len();
                    at += self.request.len();
                    undecided = None;
                }
                Found::Damaged { received, computed } => {
                    self.suspicion = Some(self.wrap.damaged(received, computed));
                    at += 1;
                }
                Found::Other { length, unit, pdu } => {
                    self.note_other(unit, &pdu);
                    at += length;
                    undecided = None;
                }
                Found::Answer { length, answer: Answer::Refused(code) }
                    if self.same_function < self.question.older_of_function =>
                {
                    self.same_function += 1;
                    self.refused = Some(code);
                    at += length;
                    undecided = None;
                }
                Found::Answer { answer, .. } => break Some(answer),
            }
        };
        self.bytes.drain(..undecided.unwrap_or(at));
        answer
    }

    /// Whether a sound or complete frame came that makes the answer to this question unlikely: once the line is silent
    /// after it, waiting on gains nothing.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.suspicion.is_some() && !self.question.older_on_bus
    }

    /// Whether the request itself came back.
    #[must_use]
    pub fn is_echoed(&self) -> bool {
        self.echoed
    }

    /// Sound frames that answered something else, in the order they came.
    #[must_use]
    pub fn dropped(&self) -> &[(UnitId, Shape)] {
        &self.dropped
    }

    /// Why there is no answer, told when the time is over.
    #[must_use]
    pub fn failure(&self) -> Failure {
        if let Some(code) = self.refused {
            return Failure::RefusedSomething { code };
        }
        if self.question.older_on_bus && !self.dropped.is_empty() {
            return Failure::OnlyOlder { count: self.dropped.len() };
        }
        if let Some(suspicion) = &self.suspicion {
            return suspicion.clone();
        }
        if let Some((received, expected)) = self.broken_off() {
            return Failure::Short { received, expected };
        }
        match (self.received, self.echoed) {
            (0, false) => Failure::NoAnswer,
            (0, true) => Failure::EchoOnly,
            (bytes, _) => Failure::Noise { bytes },
        }
    }

    fn look(&self, rest: &[u8]) -> Found {
        // The answer to a read of 17 to 24 bits is as long as a request. If it equals the request in every bit it is
        // taken for the echo: better no value than an echo taken for one.
        let takes_echo = self.takes_echo && !self.echoed;
        if takes_echo && rest.starts_with(&self.request) {
            return Found::Echo;
        }
        let can_be_echo = takes_echo && self.request.starts_with(rest);
        let (length, unit, pdu, check) = match self.wrap.cut(rest) {
            Cut::Beginning => return Found::Beginning,
            Cut::Nothing if can_be_echo => return Found::Beginning,
            Cut::Nothing => return Found::Nothing,
            Cut::Frame { length, unit, pdu, check } => (length, unit, pdu, check),
        };
        let ours = unit == self.question.unit;
        let answer = self.question.query.answer(&pdu);
        match (check, ours, answer) {
            (Check::Sound, true, Ok(answer)) => Found::Answer { length, answer },
            (Check::Sound, _, _) => Found::Other { length, unit, pdu },
            (Check::Damaged { received, computed }, true, Ok(_)) => {
                Found::Damaged { received, computed }
            }
            // A damaged frame can also be a request that is on its way back.
            (Check::Damaged { .. }, _, _) if can_be_echo => Found::Beginning,
            // Between colon and line end it is a frame for sure, whatever it was to say.
            (Check::Damaged { received, computed }, _, _) if self.wrap == Wrap::Ascii => {
                Found::Damaged { received, computed }
            }
            (Check::Damaged { .. }, _, _) => Found::Nothing,
        }
    }

    /// How many characters came of an answer that began and did not end, and of how many, or how many at most.
    fn broken_off(&self) -> Option<(usize, usize)> {
        let (unit, function) = (self.question.unit, self.question.query.function());
        let beginning = match self.wrap {
            Wrap::Rtu => vec![unit.0, function],
            Wrap::Ascii => ascii::encode(unit, &[function]).get(..5)?.to_vec(),
        };
        let at = self.bytes.windows(beginning.len()).position(|window| window == beginning)?;
        let rest = self.bytes.get(at..)?;
        let told = match self.wrap {
            Wrap::Rtu => answer_length(rest.get(1..)?),
            Wrap::Ascii => Length::Open,
        };
        let expected = match told {
            Length::Is(length) => length,
            Length::Open | Length::Nothing => self.question.query.expected_len(),
        };
        Some((rest.len(), self.wrap.frame_len(expected)))
    }

    fn note_other(&mut self, unit: UnitId, pdu: &[u8]) {
        let Some(code) = pdu.first() else { return };
        let function = code & 0x7f;
        let shape = Shape::of_answer(pdu);
        let count = |shape: Option<Shape>| shape?.byte_count.map(usize::from);
        let asked = self.question.query.shape();
        if let Some(shape) = shape {
            self.dropped.push((unit, shape));
        }
        if unit == self.question.unit && function == asked.function {
            self.same_function += 1;
        }
        self.suspicion = Some(if unit != self.question.unit {
            Failure::WrongUnit { asked: self.question.unit.0, answered: unit.0 }
        } else if function != asked.function {
            Failure::WrongFunction { asked: asked.function, answered: function }
        } else if let (Some(asked), Some(answered)) = (count(Some(asked)), count(shape))
            && asked != answered
        {
            Failure::WrongLength { asked, answered }
        } else if matches!(self.question.query, Query::Write(_)) {
            Failure::OtherWrite
        } else {
            Failure::Malformed
        });
    }
}

#[cfg(test)]
mod tests;

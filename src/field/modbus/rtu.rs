//! core: Modbus RTU frames (Modbus over serial line 1.02, section 2.5.1) and the search for an answer in what came.

use super::pdu::{Answer, ExceptionCode};
use super::transaction::{Failure, Question, Shape};
use crate::field::UnitId;

/// Bytes around a PDU: the unit id before it and the CRC after it.
const FRAME_EXTRA: usize = 3;
/// Bytes of a refusal: unit id, function code, exception code, CRC.
const REFUSAL_LEN: usize = 5;
/// Length of the request of a read.
const REQUEST_LEN: usize = 8;

/// The CRC-16 of Modbus over `bytes` (Modbus over serial line 1.02, section 6.2.2); goes low byte first.
///
/// ```
/// assert_eq!(fieldpost::field::modbus::rtu::crc(b"123456789"), 0x4b37);
/// ```
#[must_use]
pub fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xffff, |mut crc, byte| {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            let low = crc & 1;
            crc >>= 1;
            if low == 1 {
                crc ^= 0xa001;
            }
        }
        crc
    })
}

/// Makes a frame of `pdu` for `unit`.
#[must_use]
pub fn encode(unit: UnitId, pdu: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(pdu.len() + FRAME_EXTRA);
    frame.push(unit.0);
    frame.extend_from_slice(pdu);
    let crc = crc(&frame);
    frame.extend_from_slice(&crc.to_le_bytes());
    frame
}

/// Looks for the answer to one question in the bytes that come after it.
///
/// A frame on a serial line carries no number and often no clear beginning, so nothing is taken but a frame whose unit,
/// function, byte count and CRC are those of the question. Noise before it, the echo of the request and answers to
/// other questions are passed over.
#[derive(Debug)]
pub struct Receiver {
    question: Question,
    request: Vec<u8>,
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
    Answer(Answer),
    /// A sound frame of this length that answers something else; its unit, and its shape unless it is a refusal.
    Other { length: usize, unit: UnitId, function: u8, shape: Option<Shape> },
    /// A frame with the question's unit, function and byte count, but damaged.
    Damaged { received: u16, computed: u16 },
}

impl Receiver {
    /// Waits for the answer to `question`.
    #[must_use]
    pub fn new(question: Question) -> Self {
        Self {
            question,
            request: encode(question.unit, &question.range.request()),
            bytes: Vec::new(),
            received: 0,
            echoed: false,
            dropped: Vec::new(),
            same_function: 0,
            refused: None,
            suspicion: None,
        }
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
                    self.received -= REQUEST_LEN;
                    at += REQUEST_LEN;
                    undecided = None;
                }
                Found::Damaged { received, computed } => {
                    self.suspicion = Some(Failure::Crc { received, computed });
                    at += 1;
                }
                Found::Other { length, unit, function, shape } => {
                    self.note_other(unit, function, shape);
                    at += length;
                    undecided = None;
                }
                Found::Answer(Answer::Refused(code))
                    if self.same_function < self.question.older_of_function =>
                {
                    self.same_function += 1;
                    self.refused = Some(code);
                    at += REFUSAL_LEN;
                    undecided = None;
                }
                Found::Answer(answer) => break Some(answer),
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
        let expected = self.question.range.expected_len() + FRAME_EXTRA;
        let beginning = [self.question.unit.0, self.question.range.function()];
        if let Some(at) = self.bytes.windows(2).position(|pair| pair == beginning) {
            return Failure::Short { received: self.bytes.len() - at, expected };
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
        if !self.echoed && rest.starts_with(&self.request) {
            return Found::Echo;
        }
        let Some(length) = frame_length(rest) else {
            let can_be_echo = !self.echoed && self.request.starts_with(rest);
            return if rest.len() < 3 || can_be_echo { Found::Beginning } else { Found::Nothing };
        };
        let Some(frame) = rest.get(..length) else { return Found::Beginning };
        let (body, check) = frame.split_at(length - 2);
        let (received, computed) = (u16::from_le_bytes([check[0], check[1]]), crc(body));
        let (unit, pdu) = (UnitId(body[0]), &body[1..]);
        let ours = unit == self.question.unit;
        let answer = self.question.range.answer(pdu);
        match (received == computed, ours, answer) {
            (true, true, Ok(answer)) => Found::Answer(answer),
            (true, _, _) => {
                let shape = (pdu[0] < 0x80).then(|| Shape { function: pdu[0], byte_count: pdu[1] });
                Found::Other { length, unit, function: pdu[0] & 0x7f, shape }
            }
            (false, true, Ok(_)) => Found::Damaged { received, computed },
            // A damaged frame can also be a request that is on its way back.
            (false, _, _) if !self.echoed && self.request.starts_with(rest) => Found::Beginning,
            (false, _, _) => Found::Nothing,
        }
    }

    fn note_other(&mut self, unit: UnitId, function: u8, shape: Option<Shape>) {
        let asked = Shape::from(self.question.range);
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
        } else {
            let answered = shape.map_or(0, |shape| usize::from(shape.byte_count));
            Failure::WrongLength { asked: usize::from(asked.byte_count), answered }
        });
    }
}

/// Length of the frame that `bytes` begin with, if they can begin an answer to a read. Needs three bytes.
fn frame_length(bytes: &[u8]) -> Option<usize> {
    let &[_, function, third, ..] = bytes else { return None };
    match (function, third) {
        (1..=2, 1..=250) => Some(usize::from(third) + 2 + FRAME_EXTRA),
        (3..=4, 2..=250) if third % 2 == 0 => Some(usize::from(third) + 2 + FRAME_EXTRA),
        (0x81..=0x84, 1..) => Some(REFUSAL_LEN),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

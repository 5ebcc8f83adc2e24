//! core: what a unit can be asked: a read, a write, or one of the rarer functions.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::exchange::Exchange;
use super::fifo::{self, Fifo};
use super::file_record::FileRecord;
use super::identity::{IdentityQuery, Objects, server_id};
use super::length::{MEI_IDENTIFICATION, PDU_MAX};
use super::pdu::{Answer, ExceptionCode, Mismatch, RangeError, ReadRange, words};
use super::transaction::Shape;
use super::write::{What, Write};
use crate::field::Table;

/// What a device adds to the function code of a request it refuses.
const REFUSED: u8 = 0x80;

/// What is asked of a unit; always within what the protocol allows. Cheap to clone. In JSON it is the bytes of its PDU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub enum Query {
    /// Registers or bits (functions 1 to 4).
    Read(ReadRange),
    /// Takes registers or bits (functions 5, 6, 15, 16 and 22).
    Write(Write),
    /// Takes registers, then gives registers (function 23).
    Exchange(Exchange),
    /// Registers of a file (function 20).
    FileRecord(FileRecord),
    /// The registers of a queue (function 24).
    Fifo(Fifo),
    /// What it is, in bytes of the vendor's choice (function 17).
    ServerId,
    /// What it is, in named texts (function 43, kind 14).
    Identity(IdentityQuery),
}

impl From<ReadRange> for Query {
    fn from(range: ReadRange) -> Self {
        Self::Read(range)
    }
}

impl From<Write> for Query {
    fn from(write: Write) -> Self {
        Self::Write(write)
    }
}

impl Query {
    /// The function code.
    #[must_use]
    pub fn function(&self) -> u8 {
        match self {
            Self::Read(range) => range.function(),
            Self::Write(write) => write.function(),
            Self::Exchange(_) => 23,
            Self::FileRecord(_) => 20,
            Self::Fifo(_) => 24,
            Self::ServerId => 17,
            Self::Identity(_) => 43,
        }
    }

    /// What a read asks for; `None` for everything else.
    #[must_use]
    pub fn range(&self) -> Option<ReadRange> {
        match self {
            Self::Read(range) => Some(*range),
            Self::Write(_)
            | Self::Exchange(_)
            | Self::FileRecord(_)
            | Self::Fifo(_)
            | Self::ServerId
            | Self::Identity(_) => None,
        }
    }

    /// Whether it changes something in the device.
    #[must_use]
    pub fn is_write(&self) -> bool {
        matches!(self, Self::Write(_) | Self::Exchange(_))
    }

    /// Whether the answer is the request again, byte by byte.
    #[must_use]
    pub fn is_answered_by_itself(&self) -> bool {
        matches!(self, Self::Write(write) if write.is_answered_by_itself())
    }

    /// The PDU of the request.
    #[must_use]
    pub fn request(&self) -> Vec<u8> {
        match self {
            Self::Read(range) => range.request().to_vec(),
            Self::Write(write) => write.request(),
            Self::Exchange(exchange) => exchange.request(),
            Self::FileRecord(record) => record.request(),
            Self::Fifo(fifo) => fifo.request(),
            Self::ServerId => vec![17],
            Self::Identity(query) => query.request(),
        }
    }

    /// Length of the answer's PDU in bytes; of one whose length the device chooses, the longest.
    #[must_use]
    pub fn expected_len(&self) -> usize {
        match self {
            Self::Read(range) => range.expected_len(),
            Self::Write(write) => write.expected_len(),
            Self::Exchange(exchange) => exchange.read().expected_len(),
            Self::FileRecord(record) => record.expected_len(),
            Self::Fifo(_) => 5 + 2 * usize::from(fifo::REGISTERS_MAX),
            Self::ServerId | Self::Identity(_) => PDU_MAX,
        }
    }

    /// What the answer can be told by.
    #[must_use]
    pub fn shape(&self) -> Shape {
        let byte_count = match self {
            Self::Read(range) => Some(range.byte_count()),
            Self::Write(write) => u8::try_from(write.expected_len() - 1).ok(),
            Self::Exchange(exchange) => Some(exchange.read().byte_count()),
            Self::FileRecord(record) => u8::try_from(record.expected_len() - 2).ok(),
            Self::Fifo(_) | Self::ServerId | Self::Identity(_) => None,
        };
        Shape { function: self.function(), byte_count }
    }

    /// Reads `pdu` as the answer.
    ///
    /// # Errors
    /// [`Mismatch`] says in which way it is not one.
    pub fn answer(&self, pdu: &[u8]) -> Result<Answer, Mismatch> {
        let (asked, mismatch) =
            (self.function(), Mismatch::Length { asked: self.expected_len(), answered: pdu.len() });
        let (&answered, body) = pdu.split_first().ok_or(mismatch)?;
        if answered == asked | REFUSED {
            let &[code] = body else {
                return Err(Mismatch::Length { asked: 2, answered: pdu.len() });
            };
            return Ok(Answer::Refused(ExceptionCode::from(code)));
        }
        if answered != asked {
            return Err(Mismatch::Function { asked, answered });
        }
        let data = match self {
            Self::Read(range) => range.counted(body),
            Self::Write(write) => write.taken(pdu),
            Self::Exchange(exchange) => exchange.data(body),
            Self::FileRecord(record) => record.data(body),
            Self::Fifo(_) => Fifo::data(body),
            Self::ServerId => server_id(body),
            Self::Identity(query) => query.data(pdu),
        };
        data.map(Answer::Data)
    }

    /// Reads `pdu` as a request.
    ///
    /// # Errors
    /// The reason for which a device refuses it (application protocol 1.1b3, sections 6.1 to 6.21).
    pub fn of_request(pdu: &[u8]) -> Result<Self, ExceptionCode> {
        let wrong = ExceptionCode::IllegalDataValue;
        let (&function, body) = pdu.split_first().ok_or(ExceptionCode::IllegalFunction)?;
        let (first, second) = match *body {
            [a, b, c, d, ..] => (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])),
            _ => (0, 0),
        };
        let table = match function {
            1 => Table::Coil,
            2 => Table::DiscreteInput,
            4 => Table::Input,
            _ => Table::Holding,
        };
        let write = |what| Write::new(first, what).map(Self::Write).map_err(refusal);
        match (function, body) {
            (1..=4, [_, _, _, _]) => {
                ReadRange::new(table, first, second).map(Self::Read).map_err(refusal)
            }
            (5, [_, _, 0xff, 0]) => write(What::Coil(true)),
            (5, [_, _, 0, 0]) => write(What::Coil(false)),
            (6, [_, _, _, _]) => write(What::Register(second)),
            (15, [_, _, _, _, count, data @ ..])
                if usize::from(*count) == data.len()
                    && data.len() == usize::from(second).div_ceil(8) =>
            {
                let bit = |at: u16| {
                    data.get(usize::from(at / 8)).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
                };
                write(What::Coils((0..second).map(bit).collect()))
            }
            (16, [_, _, _, _, count, data @ ..])
                if usize::from(*count) == data.len() && data.len() == usize::from(second) * 2 =>
            {
                write(What::Registers(words(data)))
            }
            (17, []) => Ok(Self::ServerId),
            (20, [7, 6, f0, f1, r0, r1, c0, c1]) => {
                let [file, record, count] =
                    [[*f0, *f1], [*r0, *r1], [*c0, *c1]].map(u16::from_be_bytes);
                FileRecord::new(file, record, count)
                    .map(Self::FileRecord)
                    .map_err(|_| ExceptionCode::IllegalDataAddress)
            }
            (22, [_, _, _, _, e, f]) => {
                let set = u16::from_be_bytes([*e, *f]);
                write(What::Mask { keep: second, set })
            }
            (23, [_, _, _, _, t0, t1, n0, n1, count, data @ ..])
                if usize::from(*count) == data.len()
                    && data.len() == usize::from(u16::from_be_bytes([*n0, *n1])) * 2 =>
            {
                let to = u16::from_be_bytes([*t0, *t1]);
                Exchange::new(to, words(data), first, second).map(Self::Exchange).map_err(refusal)
            }
            (24, [a, b]) => Ok(Self::Fifo(Fifo(u16::from_be_bytes([*a, *b])))),
            (43, [MEI_IDENTIFICATION, code, from]) => {
                let objects = Objects::of_code(*code).ok_or(wrong)?;
                Ok(Self::Identity(IdentityQuery { objects, from: *from }))
            }
            (1..=6 | 15..=17 | 20 | 22..=24, _) => Err(wrong),
            _ => Err(ExceptionCode::IllegalFunction),
        }
    }
}

fn refusal(error: RangeError) -> ExceptionCode {
    match error {
        RangeError::Count { .. } => ExceptionCode::IllegalDataValue,
        RangeError::Beyond { .. } => ExceptionCode::IllegalDataAddress,
    }
}

impl From<Query> for Vec<u8> {
    fn from(query: Query) -> Self {
        query.request()
    }
}

impl TryFrom<Vec<u8>> for Query {
    type Error = ExceptionCode;

    fn try_from(pdu: Vec<u8>) -> Result<Self, ExceptionCode> {
        Self::of_request(&pdu)
    }
}

impl fmt::Display for Query {
    /// For logs and reasons: `holding 100..=101`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(range) => range.fmt(f),
            Self::Write(write) => write.fmt(f),
            Self::Exchange(exchange) => exchange.fmt(f),
            Self::FileRecord(record) => record.fmt(f),
            Self::Fifo(fifo) => fifo.fmt(f),
            Self::ServerId => f.write_str("server id (function 17)"),
            Self::Identity(query) => query.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;

//! core: protocol data units of the writes (Modbus application protocol 1.1b3, sections 6.5, 6.6, 6.11, 6.12 and 6.16).

use std::fmt;
use std::sync::Arc;

use super::pdu::{Data, Mismatch, RangeError, ReadRange};
use crate::field::Table;

/// Registers one write may hold (section 6.12).
pub const REGISTERS_MAX: u16 = 123;
/// Coils one write may hold (section 6.11).
pub const COILS_MAX: u16 = 1968;
/// What stands for a coil that is on (section 6.5).
const ON: [u8; 2] = [0xff, 0];

/// What is written, and by which function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// One coil (function 5).
    Coil(bool),
    /// One register (function 6).
    Register(u16),
    /// Coils one behind the other (function 15).
    Coils(Vec<bool>),
    /// Registers one behind the other (function 16).
    Registers(Vec<u16>),
    /// Bits of one register (function 22).
    Mask {
        /// The bits that stay as they are.
        keep: u16,
        /// The others, as they are to be; 0 where `keep` is 1.
        set: u16,
    },
}

/// A write within what the protocol allows. Cheap to clone.
///
/// ```
/// use fieldpost::field::modbus::write::{What, Write};
/// // Section 6.6: register 2 becomes 3.
/// let write = Write::new(1, What::Register(3))?;
/// assert_eq!(write.request(), [6, 0, 1, 0, 3]);
/// assert!(Write::new(0, What::Registers(vec![0; 124])).is_err());
/// # Ok::<(), fieldpost::field::modbus::pdu::RangeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    range: ReadRange,
    what: Arc<What>,
}

impl Write {
    /// Writes `what` from `address` on.
    ///
    /// # Errors
    /// [`RangeError`] when that is nothing, too much for one request, or reaches beyond address 65535.
    pub fn new(address: u16, what: What) -> Result<Self, RangeError> {
        let (table, count, max) = match &what {
            What::Coil(_) => (Table::Coil, 1, 1),
            What::Register(_) | What::Mask { .. } => (Table::Holding, 1, 1),
            What::Coils(coils) => (Table::Coil, coils.len(), COILS_MAX),
            What::Registers(words) => (Table::Holding, words.len(), REGISTERS_MAX),
        };
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        if count > max {
            return Err(RangeError::Count { count, max });
        }
        Ok(Self { range: ReadRange::new(table, address, count)?, what: Arc::new(what) })
    }

    /// What it touches; reading that shows what became of it.
    #[must_use]
    pub fn range(&self) -> ReadRange {
        self.range
    }

    /// What is written.
    #[must_use]
    pub fn what(&self) -> &What {
        &self.what
    }

    /// The function code: 5, 6, 15, 16 or 22.
    #[must_use]
    pub fn function(&self) -> u8 {
        match &*self.what {
            What::Coil(_) => 5,
            What::Register(_) => 6,
            What::Coils(_) => 15,
            What::Registers(_) => 16,
            What::Mask { .. } => 22,
        }
    }

    /// The PDU of the request.
    #[must_use]
    pub fn request(&self) -> Vec<u8> {
        let mut pdu = vec![self.function()];
        pdu.extend_from_slice(&self.range.address().to_be_bytes());
        let count = self.range.count().to_be_bytes();
        match &*self.what {
            What::Coil(on) => pdu.extend_from_slice(if *on { &ON } else { &[0, 0] }),
            What::Register(word) => pdu.extend_from_slice(&word.to_be_bytes()),
            What::Mask { keep, set } => {
                pdu.extend_from_slice(&keep.to_be_bytes());
                pdu.extend_from_slice(&set.to_be_bytes());
            }
            What::Coils(coils) => {
                pdu.extend_from_slice(&count);
                pdu.push(self.range.byte_count());
                let byte =
                    |eight: &[bool]| eight.iter().rev().fold(0, |it, on| it << 1 | u8::from(*on));
                pdu.extend(coils.chunks(8).map(byte));
            }
            What::Registers(words) => {
                pdu.extend_from_slice(&count);
                pdu.push(self.range.byte_count());
                pdu.extend(words.iter().flat_map(|word| word.to_be_bytes()));
            }
        }
        pdu
    }

    /// The PDU of the answer: the request itself, or its beginning where several values are written.
    fn expected(&self) -> Vec<u8> {
        let mut pdu = self.request();
        pdu.truncate(self.expected_len());
        pdu
    }

    /// Length of the answer's PDU in bytes.
    #[must_use]
    pub fn expected_len(&self) -> usize {
        if matches!(&*self.what, What::Mask { .. }) { 7 } else { 5 }
    }

    /// Whether the answer is the request again, byte by byte: it looks like an echo.
    #[must_use]
    pub fn is_answered_by_itself(&self) -> bool {
        matches!(&*self.what, What::Coil(_) | What::Register(_) | What::Mask { .. })
    }

    /// Reads an answer of this function: whether it tells of this write.
    pub(super) fn taken(&self, pdu: &[u8]) -> Result<Data, Mismatch> {
        let asked = self.expected_len();
        if pdu.len() != asked {
            return Err(Mismatch::Length { asked, answered: pdu.len() });
        }
        if pdu == self.expected() { Ok(Data::Written) } else { Err(Mismatch::Content) }
    }
}

impl fmt::Display for Write {
    /// For logs: `write holding 100..=101 (function 16)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write {} (function {})", self.range, self.function())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::modbus::pdu::{Answer, ExceptionCode};
    use crate::field::modbus::query::Query;

    fn write(address: u16, what: What) -> Write {
        Write::new(address, what).expect("it is allowed")
    }

    #[test]
    fn the_examples_of_the_specification_encode_and_their_answers_are_taken() {
        // Sections 6.5, 6.6, 6.11, 6.12 and 6.16; addresses one lower on the wire.
        let coils = [true, false, true, true, false, false, true, true, true, false];
        let cases: [(u16, What, &[u8], &[u8]); 5] = [
            (172, What::Coil(true), &[5, 0, 0xac, 0xff, 0], &[5, 0, 0xac, 0xff, 0]),
            (1, What::Register(3), &[6, 0, 1, 0, 3], &[6, 0, 1, 0, 3]),
            (
                19,
                What::Coils(coils.to_vec()),
                &[15, 0, 0x13, 0, 10, 2, 0xcd, 0x01],
                &[15, 0, 0x13, 0, 10],
            ),
            (
                1,
                What::Registers(vec![10, 0x102]),
                &[16, 0, 1, 0, 2, 4, 0, 10, 1, 2],
                &[16, 0, 1, 0, 2],
            ),
            (
                4,
                What::Mask { keep: 0xf2, set: 0x25 },
                &[22, 0, 4, 0, 0xf2, 0, 0x25],
                &[22, 0, 4, 0, 0xf2, 0, 0x25],
            ),
        ];
        for (address, what, request, answer) in cases {
            let write = write(address, what);
            assert_eq!(write.request(), request);
            assert_eq!(write.expected_len(), answer.len());
            assert_eq!(write.is_answered_by_itself(), request == answer);
            let query = Query::from(write);
            assert_eq!(query.answer(answer), Ok(Answer::Data(Data::Written)));
            let refused = [request[0] | 0x80, 4];
            let code = ExceptionCode::DeviceFailure;
            assert_eq!(query.answer(&refused), Ok(Answer::Refused(code)));
            let mut other = answer.to_vec();
            other[2] ^= 1;
            assert_eq!(query.answer(&other), Err(Mismatch::Content), "of another address");
            assert!(query.answer(&answer[..4]).is_err());
            assert!(query.answer(&[]).is_err());
        }
    }

    #[test]
    fn writes_stop_where_the_protocol_does() {
        assert!(Write::new(0, What::Registers(vec![0; 123])).is_ok());
        assert!(Write::new(0, What::Registers(vec![0; 124])).is_err());
        assert!(Write::new(0, What::Coils(vec![true; 1968])).is_ok());
        assert!(Write::new(0, What::Coils(vec![true; 1969])).is_err());
        assert!(Write::new(0, What::Registers(Vec::new())).is_err());
        assert!(Write::new(65_535, What::Registers(vec![0; 2])).is_err());
    }
}

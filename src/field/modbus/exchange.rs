//! core: writing registers and reading others in one transaction (Modbus application protocol 1.1b3, section 6.17).

use std::fmt;
use std::sync::Arc;

use super::pdu::{Data, Mismatch, RangeError, ReadRange};
use crate::field::Table;

/// Registers one exchange may write (section 6.17).
pub const WRITTEN_MAX: u16 = 121;

/// A write of holding registers and a read of holding registers after it (function 23). Cheap to clone.
///
/// ```
/// use fieldpost::field::modbus::exchange::Exchange;
/// let exchange = Exchange::new(14, vec![0xff], 3, 6)?;
/// assert_eq!(exchange.request(), [23, 0, 3, 0, 6, 0, 14, 0, 1, 2, 0, 0xff]);
/// assert!(Exchange::new(0, vec![0; 122], 0, 1).is_err());
/// # Ok::<(), fieldpost::field::modbus::pdu::RangeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    read: ReadRange,
    written: ReadRange,
    words: Arc<[u16]>,
}

impl Exchange {
    /// Writes `words` from address `to` on, then reads `count` registers from address `from` on.
    ///
    /// # Errors
    /// [`RangeError`] when either is nothing, too much for one request, or reaches beyond address 65535.
    pub fn new(to: u16, words: Vec<u16>, from: u16, count: u16) -> Result<Self, RangeError> {
        let written = u16::try_from(words.len()).unwrap_or(u16::MAX);
        if written > WRITTEN_MAX {
            return Err(RangeError::Count { count: written, max: WRITTEN_MAX });
        }
        let range = |address, count| ReadRange::new(Table::Holding, address, count);
        let (read, written) = (range(from, count)?, range(to, written)?);
        Ok(Self { read, written, words: words.into() })
    }

    /// What is read, after the write.
    #[must_use]
    pub fn read(&self) -> ReadRange {
        self.read
    }

    /// What is written to.
    #[must_use]
    pub fn written(&self) -> ReadRange {
        self.written
    }

    /// The PDU of the request.
    #[must_use]
    pub fn request(&self) -> Vec<u8> {
        let mut pdu = vec![23];
        for range in [self.read, self.written] {
            pdu.extend_from_slice(&range.address().to_be_bytes());
            pdu.extend_from_slice(&range.count().to_be_bytes());
        }
        pdu.push(self.written.byte_count());
        pdu.extend(self.words.iter().flat_map(|word| word.to_be_bytes()));
        pdu
    }

    /// What the answer says after its function code.
    pub(super) fn data(&self, body: &[u8]) -> Result<Data, Mismatch> {
        self.read.counted(body)
    }
}

impl fmt::Display for Exchange {
    /// For logs: `write holding 14..=16, read holding 3..=8 (function 23)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write {}, read {} (function 23)", self.written, self.read)
    }
}

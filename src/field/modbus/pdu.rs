//! core: protocol data units of the four reads (Modbus application protocol 1.1b3, sections 6.1 to 6.4 and 7).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::identity::Identity;
use crate::field::Table;

/// Registers one read may ask for (application protocol 1.1b3, sections 6.3 and 6.4).
pub const REGISTERS_MAX: u16 = 125;
/// Coils or discrete inputs one read may ask for (application protocol 1.1b3, sections 6.1 and 6.2).
pub const BITS_MAX: u16 = 2000;

/// Why a range cannot be read in one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Nothing was asked for, or more than one answer can hold.
    #[error("{count} is not between 1 and {max}, what one read of this table can ask for")]
    Count {
        /// How many were asked for.
        count: u16,
        /// How many one read may ask for.
        max: u16,
    },
    /// The last address is above 65535.
    #[error("{count} from address {address} reach beyond address 65535")]
    Beyond {
        /// The first address.
        address: u16,
        /// How many were asked for.
        count: u16,
    },
}

/// What one read asks for: a table, the first address and how many; always within what the protocol allows.
///
/// ```
/// use fieldpost::field::{Table, modbus::pdu::ReadRange};
/// let range = ReadRange::new(Table::Holding, 100, 2)?;
/// assert_eq!(range.request(), [3, 0, 100, 0, 2]);
/// assert!(ReadRange::new(Table::Holding, 100, 126).is_err());
/// assert!(ReadRange::new(Table::Holding, 65_535, 2).is_err());
/// # Ok::<(), fieldpost::field::modbus::pdu::RangeError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReadRange {
    table: Table,
    address: u16,
    count: u16,
}

impl ReadRange {
    /// Takes `count` registers or bits of `table` from `address` on.
    ///
    /// # Errors
    /// [`RangeError`] when there are none, too many, or the last one lies beyond address 65535.
    pub fn new(table: Table, address: u16, count: u16) -> Result<Self, RangeError> {
        let max = count_max(table);
        if count == 0 || count > max {
            return Err(RangeError::Count { count, max });
        }
        if u32::from(address) + u32::from(count) > 0x1_0000 {
            return Err(RangeError::Beyond { address, count });
        }
        Ok(Self { table, address, count })
    }

    /// Which table is read.
    #[must_use]
    pub fn table(self) -> Table {
        self.table
    }

    /// The first address.
    #[must_use]
    pub fn address(self) -> u16 {
        self.address
    }

    /// How many registers or bits.
    #[must_use]
    pub fn count(self) -> u16 {
        self.count
    }

    /// The address after the last one, 1 to 65536.
    #[must_use]
    pub fn end(self) -> u32 {
        u32::from(self.address) + u32::from(self.count)
    }

    /// Whether both hold an address of the same table.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.table == other.table
            && u32::from(self.address) < other.end()
            && u32::from(other.address) < self.end()
    }

    /// The function code, 1 to 4.
    #[must_use]
    pub fn function(self) -> u8 {
        function(self.table)
    }

    /// How many data bytes the answer holds, 1 to 250.
    #[must_use]
    pub fn byte_count(self) -> u8 {
        let bytes = if is_bits(self.table) { self.count.div_ceil(8) } else { self.count * 2 };
        u8::try_from(bytes).expect("2000 bits or 125 registers are 250 bytes")
    }

    /// Length of the answer's PDU in bytes: function code, byte count and data.
    #[must_use]
    pub fn expected_len(self) -> usize {
        2 + usize::from(self.byte_count())
    }

    /// The PDU of the request.
    #[must_use]
    pub fn request(self) -> [u8; 5] {
        let ([a, b], [c, d]) = (self.address.to_be_bytes(), self.count.to_be_bytes());
        [self.function(), a, b, c, d]
    }

    /// What an answer says after its function code: a byte count and the values.
    pub(super) fn counted(self, body: &[u8]) -> Result<Data, Mismatch> {
        let mismatch = Mismatch::Length { asked: self.expected_len(), answered: body.len() + 1 };
        let (&byte_count, data) = body.split_first().ok_or(mismatch)?;
        if byte_count != self.byte_count() || data.len() != usize::from(byte_count) {
            return Err(mismatch);
        }
        Ok(self.data(data))
    }

    fn data(self, bytes: &[u8]) -> Data {
        if is_bits(self.table) {
            let bit = |index: u16| {
                let byte = bytes.get(usize::from(index / 8)).copied().unwrap_or_default();
                byte >> (index % 8) & 1 == 1
            };
            Data::Bits((0..self.count).map(bit).collect())
        } else {
            Data::Registers(words(bytes))
        }
    }
}

/// Two bytes a register, the high one first.
pub(super) fn words(bytes: &[u8]) -> Vec<u16> {
    let (words, _) = bytes.as_chunks::<2>();
    words.iter().map(|word| u16::from_be_bytes(*word)).collect()
}

impl fmt::Display for ReadRange {
    /// For logs and reasons: `holding 100..=101`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = match self.table {
            Table::Coil => "coil",
            Table::DiscreteInput => "discrete input",
            Table::Holding => "holding",
            Table::Input => "input",
        };
        match self.count {
            1 => write!(f, "{table} {}", self.address),
            _ => write!(f, "{table} {}..={}", self.address, self.end() - 1),
        }
    }
}

/// The function code that reads `table`.
#[must_use]
pub fn function(table: Table) -> u8 {
    match table {
        Table::Coil => 1,
        Table::DiscreteInput => 2,
        Table::Holding => 3,
        Table::Input => 4,
    }
}

/// Whether `table` holds bits rather than registers.
#[must_use]
pub fn is_bits(table: Table) -> bool {
    matches!(table, Table::Coil | Table::DiscreteInput)
}

/// How many registers or bits of `table` one read may ask for.
#[must_use]
pub fn count_max(table: Table) -> u16 {
    if is_bits(table) { BITS_MAX } else { REGISTERS_MAX }
}

/// What a question brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Data {
    /// As many bits as were asked for.
    Bits(Vec<bool>),
    /// As many registers as were asked for, or as are in a queue.
    Registers(Vec<u16>),
    /// Nothing: it was a write, and the device has taken it.
    Written,
    /// What the device is, in bytes of the vendor's choice; at least one.
    ServerId(Vec<u8>),
    /// What the device is, in named texts.
    Identity(Identity),
}

/// A well-formed answer to the question that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The values.
    Data(Data),
    /// The device refused (application protocol 1.1b3, section 7).
    Refused(ExceptionCode),
}

/// In which way a PDU is not the answer to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// It is of another function.
    Function {
        /// The function code that was asked for.
        asked: u8,
        /// The function code that came.
        answered: u8,
    },
    /// It is longer or shorter.
    Length {
        /// Bytes of PDU that had to come.
        asked: usize,
        /// Bytes of PDU that came.
        answered: usize,
    },
    /// It tells of another write.
    Content,
    /// Its inner lengths and numbers contradict each other, or what was asked.
    Malformed,
}

/// Why a device refused (application protocol 1.1b3, section 7). The words of `Display` are the operator's.
/// In JSON it is its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "u8", into = "u8")]
pub enum ExceptionCode {
    /// 1: the device does not know the function.
    IllegalFunction,
    /// 2: the device has no such address.
    IllegalDataAddress,
    /// 3: the device does not accept the count or value.
    IllegalDataValue,
    /// 4: something inside the device broke.
    DeviceFailure,
    /// 5: accepted, but it takes long.
    Acknowledge,
    /// 6: busy with something long.
    DeviceBusy,
    /// 7: the device cannot do it.
    NegativeAcknowledge,
    /// 8: the device's memory failed its parity check.
    MemoryParity,
    /// 10: the Modbus gateway has no path to the unit.
    GatewayPathUnavailable,
    /// 11: the unit behind the Modbus gateway did not answer it.
    GatewayTargetFailed,
    /// A code the specification does not name.
    Unknown(u8),
}

impl ExceptionCode {
    /// The code on the wire.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::IllegalFunction => 1,
            Self::IllegalDataAddress => 2,
            Self::IllegalDataValue => 3,
            Self::DeviceFailure => 4,
            Self::Acknowledge => 5,
            Self::DeviceBusy => 6,
            Self::NegativeAcknowledge => 7,
            Self::MemoryParity => 8,
            Self::GatewayPathUnavailable => 10,
            Self::GatewayTargetFailed => 11,
            Self::Unknown(code) => code,
        }
    }
}

impl From<ExceptionCode> for u8 {
    fn from(code: ExceptionCode) -> Self {
        code.code()
    }
}

impl From<u8> for ExceptionCode {
    fn from(code: u8) -> Self {
        match code {
            1 => Self::IllegalFunction,
            2 => Self::IllegalDataAddress,
            3 => Self::IllegalDataValue,
            4 => Self::DeviceFailure,
            5 => Self::Acknowledge,
            6 => Self::DeviceBusy,
            7 => Self::NegativeAcknowledge,
            8 => Self::MemoryParity,
            10 => Self::GatewayPathUnavailable,
            11 => Self::GatewayTargetFailed,
            other => Self::Unknown(other),
        }
    }
}

impl fmt::Display for ExceptionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Self::IllegalFunction => "the device does not know this function",
            Self::IllegalDataAddress => "the device has no such address",
            Self::IllegalDataValue => "the device does not accept this count or value",
            Self::DeviceFailure => "the device reports a failure inside it",
            Self::Acknowledge => "the device needs longer for this",
            Self::DeviceBusy => "the device is busy",
            Self::NegativeAcknowledge => "the device cannot do this",
            Self::MemoryParity => "the device's memory failed its parity check",
            Self::GatewayPathUnavailable => "the Modbus gateway has no path to this unit",
            Self::GatewayTargetFailed => "the unit did not answer the Modbus gateway",
            Self::Unknown(_) => "the device refuses with a code the specification does not name",
        };
        write!(f, "{words} (exception {})", self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::modbus::query::Query;
    use proptest::prelude::*;

    fn range(table: Table, address: u16, count: u16) -> ReadRange {
        ReadRange::new(table, address, count).expect("the range is allowed")
    }

    #[test]
    fn ranges_stop_where_the_protocol_does() {
        for (table, max) in [
            (Table::Coil, 2000),
            (Table::DiscreteInput, 2000),
            (Table::Holding, 125),
            (Table::Input, 125),
        ] {
            assert!(ReadRange::new(table, 0, max).is_ok());
            let count = max + 1;
            assert_eq!(ReadRange::new(table, 0, count), Err(RangeError::Count { count, max }));
            assert_eq!(ReadRange::new(table, 0, 0), Err(RangeError::Count { count: 0, max }));
        }
        assert!(ReadRange::new(Table::Holding, 65_535, 1).is_ok());
        assert!(ReadRange::new(Table::Holding, 65_534, 3).is_err());
    }

    #[test]
    fn the_examples_of_the_specification_decode() {
        // Section 6.1: coils 20 to 38; section 6.3: registers 108 to 110; addresses one lower on the wire.
        let coils = range(Table::Coil, 19, 19);
        assert_eq!(coils.request(), [1, 0, 0x13, 0, 0x13]);
        let answer = Query::from(coils).answer(&[1, 3, 0xcd, 0x6b, 0x05]);
        let Ok(Answer::Data(Data::Bits(bits))) = answer else { panic!("{answer:?}") };
        assert_eq!(bits.len(), 19);
        assert_eq!(&bits[..8], [true, false, true, true, false, false, true, true]);
        assert_eq!(&bits[16..], [true, false, true]);

        let registers = range(Table::Holding, 107, 3);
        assert_eq!(registers.request(), [3, 0, 0x6b, 0, 3]);
        let answer = Query::from(registers).answer(&[3, 6, 0x02, 0x2b, 0, 0, 0, 0x64]);
        assert_eq!(answer, Ok(Answer::Data(Data::Registers(vec![555, 0, 100]))));
    }

    #[test]
    fn an_answer_of_another_shape_is_not_an_answer() {
        let two = range(Table::Holding, 0, 2);
        assert_eq!(
            Query::from(two).answer(&[3, 2, 0, 1]),
            Err(Mismatch::Length { asked: 6, answered: 4 }),
            "one register where two were asked"
        );
        assert_eq!(
            Query::from(two).answer(&[4, 4, 0, 1, 0, 2]),
            Err(Mismatch::Function { asked: 3, answered: 4 })
        );
        assert!(Query::from(two).answer(&[3, 4, 0, 1, 0]).is_err());
        assert!(Query::from(two).answer(&[3, 4, 0, 1, 0, 2, 0]).is_err());
        assert!(Query::from(two).answer(&[]).is_err());
        assert!(Query::from(two).answer(&[3]).is_err());
        assert!(Query::from(two).answer(&[0x83]).is_err());
        assert!(Query::from(two).answer(&[0x84, 2]).is_err());
        assert_eq!(
            Query::from(two).answer(&[0x83, 2]),
            Ok(Answer::Refused(ExceptionCode::IllegalDataAddress))
        );
    }

    #[test]
    fn exception_codes_survive_the_round_and_have_words() {
        for code in 0..=255 {
            let exception = ExceptionCode::from(code);
            assert_eq!(exception.code(), code);
            assert!(exception.to_string().ends_with(&format!("(exception {code})")));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer_of_the_asked_size_or_a_mismatch(
            pdu in proptest::collection::vec(any::<u8>(), 0..300),
            address in 0..1000u16,
            count in 1..=125u16,
        ) {
            for table in [Table::Coil, Table::Holding] {
                match Query::from(range(table, address, count)).answer(&pdu) {
                    Ok(Answer::Data(Data::Registers(words))) => prop_assert_eq!(words.len(), usize::from(count)),
                    Ok(Answer::Data(Data::Bits(bits))) => prop_assert_eq!(bits.len(), usize::from(count)),
                    Ok(Answer::Data(other)) => prop_assert!(false, "nobody asked for {:?}", other),
                    Ok(Answer::Refused(_)) => prop_assert_eq!(pdu.len(), 2),
                    Err(_) => {}
                }
            }
        }
    }
}

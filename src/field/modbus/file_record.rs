//! core: registers of a file (Modbus application protocol 1.1b3, section 6.14).

use std::fmt;

use super::pdu::{Data, Mismatch, RangeError, words};

/// The only kind of reference there is.
const REFERENCE: u8 = 6;
/// Records of a file: registers numbered from 0 (section 6.14).
const RECORD_MAX: u16 = 9_999;
/// Registers one answer can hold beside its two lengths and the kind of reference (section 6.14).
pub const REGISTERS_MAX: u16 = 121;

/// Registers of one file, read with function 20.
///
/// ```
/// use fieldpost::field::modbus::file_record::FileRecord;
/// let record = FileRecord::new(4, 1, 2)?;
/// assert_eq!(record.request(), [20, 7, 6, 0, 4, 0, 1, 0, 2]);
/// assert!(FileRecord::new(4, 9_999, 2).is_err());
/// # Ok::<(), fieldpost::field::modbus::file_record::FileRecordError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileRecord {
    file: u16,
    record: u16,
    count: u16,
}

/// Why registers of a file cannot be read in one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FileRecordError {
    /// Files are numbered from 1.
    #[error("there is no file 0: files are numbered from 1")]
    File,
    /// Nothing was asked for, or more than one answer can hold.
    #[error("{0}")]
    Count(RangeError),
    /// The last record is above 9999.
    #[error("{count} from record {record} reach beyond record {RECORD_MAX}")]
    Beyond {
        /// The first record.
        record: u16,
        /// How many were asked for.
        count: u16,
    },
}

impl FileRecord {
    /// Takes `count` registers, 1 to 121, of `file`, 1 to 65535, from `record`, 0 to 9999, on.
    ///
    /// # Errors
    /// [`FileRecordError`] when there are none, too many, or the last one lies beyond record 9999.
    pub fn new(file: u16, record: u16, count: u16) -> Result<Self, FileRecordError> {
        if file == 0 {
            return Err(FileRecordError::File);
        }
        if count == 0 || count > REGISTERS_MAX {
            return Err(FileRecordError::Count(RangeError::Count { count, max: REGISTERS_MAX }));
        }
        if record.saturating_add(count - 1) > RECORD_MAX {
            return Err(FileRecordError::Beyond { record, count });
        }
        Ok(Self { file, record, count })
    }

    /// The PDU of the request.
    #[must_use]
    pub fn request(self) -> Vec<u8> {
        let numbers = [self.file, self.record, self.count];
        let numbers = numbers.into_iter().flat_map(u16::to_be_bytes);
        [20, 7, REFERENCE].into_iter().chain(numbers).collect()
    }

    /// Length of the answer's PDU in bytes: function code, two lengths, the kind of reference and the registers.
    #[must_use]
    pub fn expected_len(self) -> usize {
        4 + 2 * usize::from(self.count)
    }

    /// What the answer says after its function code.
    pub(super) fn data(self, body: &[u8]) -> Result<Data, Mismatch> {
        let (asked, answered) = (self.expected_len(), body.len() + 1);
        if asked != answered {
            return Err(Mismatch::Length { asked, answered });
        }
        let &[all, inner, REFERENCE, ref data @ ..] = body else { return Err(Mismatch::Malformed) };
        let fits = usize::from(all) == body.len() - 1 && usize::from(inner) == data.len() + 1;
        if fits { Ok(Data::Registers(words(data))) } else { Err(Mismatch::Malformed) }
    }
}

impl fmt::Display for FileRecord {
    /// For logs: `file 4 record 1..=2 (function 20)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, record, count } = *self;
        match count {
            1 => write!(f, "file {file} record {record} (function 20)"),
            _ => write!(f, "file {file} record {record}..={} (function 20)", record + count - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_groups_of_the_example_of_the_specification_are_read_each_alone() {
        // Section 6.14: 2 registers of file 4 from record 1 on, and 2 of file 3 from record 9 on.
        for (file, record, request, answer, words) in [
            (4, 1, [20, 7, 6, 0, 4, 0, 1, 0, 2], [6, 5, 6, 0x0d, 0xfe, 0, 0x20], [0x0dfe, 0x20]),
            (3, 9, [20, 7, 6, 0, 3, 0, 9, 0, 2], [6, 5, 6, 0x33, 0xcd, 0, 0x40], [0x33cd, 0x40]),
        ] {
            let asked = FileRecord::new(file, record, 2).expect("it is allowed");
            assert_eq!(asked.request(), request);
            assert_eq!(asked.data(&answer), Ok(Data::Registers(words.to_vec())));
            for wrong in [[7, 5, 6], [6, 4, 6], [6, 5, 5]] {
                let body = [&wrong[..], &answer[3..]].concat();
                assert_eq!(asked.data(&body), Err(Mismatch::Malformed), "{wrong:?}");
            }
            let short = Mismatch::Length { asked: 8, answered: 6 };
            assert_eq!(asked.data(&answer[..5]), Err(short));
        }
    }

    #[test]
    fn records_stop_where_the_protocol_does() {
        assert!(FileRecord::new(1, 9_999, 1).is_ok());
        assert!(FileRecord::new(1, 9_998, 3).is_err());
        assert!(FileRecord::new(1, 0, 121).is_ok());
        assert!(FileRecord::new(1, 0, 122).is_err());
        assert!(FileRecord::new(1, 0, 0).is_err());
        assert!(FileRecord::new(0, 0, 1).is_err());
    }
}

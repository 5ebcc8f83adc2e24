//! core: which failures say that the database itself is damaged, not the disk under it.

use rusqlite::{Error, ErrorCode};

use super::error::StoreError;

/// `SQLITE_ERROR`, which also says that a table is not there.
const SQLITE_ERROR: i32 = 1;
/// How a file begins that SQLite has written.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// Bytes of the smallest page, so that a file of fewer cannot be a database.
pub(super) const PAGE_MIN: usize = 512;

impl StoreError {
    /// Whether asking again cannot help, because what was once written is not what stands there: the next start salvages
    /// what can be read.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Row { .. } | Self::Damaged { .. } => true,
            Self::Sqlite { cause, .. } => says_damage(cause),
            Self::Directory { .. }
            | Self::Staged { .. }
            | Self::Aside { .. }
            | Self::InUse { .. }
            | Self::RuntimeInUse { .. }
            | Self::NotAllowed { .. }
            | Self::Foreign { .. }
            | Self::Missing { .. }
            | Self::Older { .. }
            | Self::Newer { .. } => false,
        }
    }

    /// Whether the disk has no room left.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Sqlite { cause, .. } => cause.sqlite_error_code() == Some(ErrorCode::DiskFull),
            Self::Aside { source, .. } | Self::Directory { source, .. } => {
                source.kind() == std::io::ErrorKind::StorageFull
            }
            Self::Row { .. }
            | Self::Damaged { .. }
            | Self::Staged { .. }
            | Self::InUse { .. }
            | Self::RuntimeInUse { .. }
            | Self::NotAllowed { .. }
            | Self::Foreign { .. }
            | Self::Missing { .. }
            | Self::Older { .. }
            | Self::Newer { .. } => false,
        }
    }
}

/// Whether SQLite says that the file is damaged: a broken page, a value of another type than was written, a table that
/// is not there, two rows where there can be one.
#[allow(clippy::wildcard_enum_match_arm, reason = "the others are misuse, or the disk's")]
pub(super) fn says_damage(cause: &Error) -> bool {
    let is_missing = |message: &str| {
        message.starts_with("no such table") || message.starts_with("no such column")
    };
    match cause {
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..)
        | Error::Utf8Error(..) => true,
        Error::SqlInputError { error, msg, .. } => {
            error.code == ErrorCode::DatabaseCorrupt
                || (error.extended_code == SQLITE_ERROR && is_missing(msg))
        }
        Error::SqliteFailure(error, message) => {
            let code = error.code;
            matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
                || code == ErrorCode::ConstraintViolation
                || (error.extended_code == SQLITE_ERROR
                    && message.as_deref().is_some_and(is_missing))
        }
        _ => false,
    }
}

/// Whether a file that begins like this was a database of ours, or nothing: a file of another program begins with what
/// that program wrote. One that ends before it says whose it is was ours by its name.
pub(super) fn was_ours(header: &[u8], application_id: i32) -> bool {
    let magic = header.get(..header.len().min(MAGIC.len())).unwrap_or_default();
    match header.get(68..72) {
        Some(id) => id == application_id.to_be_bytes() || magic.iter().all(|byte| *byte == 0),
        None => MAGIC.starts_with(magic) || magic.iter().all(|byte| *byte == 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema::APPLICATION_ID;

    #[test]
    fn zeros_and_a_header_of_ours_were_ours_and_words_were_not() {
        let was_ours = |header: &[u8]| was_ours(header, APPLICATION_ID);
        assert!(was_ours(&[]));
        assert!(was_ours(&[0; 100]));
        assert!(was_ours(&[0; 3]));
        let mut header = [7; 100];
        assert!(!was_ours(&header));
        header[68..72].copy_from_slice(&APPLICATION_ID.to_be_bytes());
        assert!(was_ours(&header));
        assert!(!was_ours(b"not a database at all"));
        assert!(was_ours(MAGIC), "cut off");
        assert!(!was_ours(b"SQLite for me"));
    }
}

//! shell: what stands in the store, slice by slice, whoever it is for; a row that cannot be understood is named and passed.

use rusqlite::{Connection, params};

use super::change::StoredMessage;
use super::database::Fault;
use super::read::read_message;
use crate::model::Seq;

/// A stretch of the store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slice {
    /// The messages, oldest first.
    pub messages: Vec<StoredMessage>,
    /// Rows in between that cannot be understood.
    pub damaged: Vec<DamagedRow>,
    /// Everything up to here was looked at; `None` if there is nothing beyond.
    pub examined: Option<Seq>,
}

impl Slice {
    /// The last place this slice says anything about; `after` if it is empty.
    #[must_use]
    pub fn end(&self, after: Seq) -> Seq {
        let message = self.messages.last().map(|stored| stored.seq);
        let damaged = self.damaged.last().map(|row| row.seq);
        self.examined.max(message).max(damaged).unwrap_or(after)
    }
}

/// A message row that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedRow {
    /// Its place.
    pub seq: Seq,
    /// What is wrong with it.
    pub fault: String,
}

/// All messages after `after`, oldest first: at most `count_max` rows, and no more once they have `bytes_max` of payload.
pub(super) fn read_slice(
    connection: &Connection,
    after: Seq,
    count_max: usize,
    bytes_max: usize,
) -> Result<Slice, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, accepted, expires, flags, topic, targets, properties, payload \
         FROM message WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    let mut rows = statement.query(params![after.0, count_max])?;
    let mut slice = Slice::default();
    let (mut looked_at, mut bytes) = (0, 0);
    while let Some(row) = rows.next()? {
        let seq = Seq(row.get(0)?);
        looked_at += 1;
        match read_message(row) {
            Ok(stored) => {
                bytes += stored.message.payload.len();
                slice.messages.push(stored);
            }
            Err(fault) => slice.damaged.push(DamagedRow { seq, fault: row_fault(fault)? }),
        }
        if bytes >= bytes_max || looked_at == count_max {
            slice.examined = Some(seq);
            break;
        }
    }
    Ok(slice)
}

/// What is wrong with the row itself; SQLite's own failures go on.
pub(super) fn row_fault(fault: Fault) -> Result<String, Fault> {
    match fault {
        Fault::Row(_, error) => Ok(error.to_string()),
        // A column of another type, or a number out of its range: the page is whole, what stands there is not.
        Fault::Sqlite(error) if error.sqlite_error_code().is_none() => Ok(error.to_string()),
        Fault::Sqlite(error) => Err(Fault::Sqlite(error)),
    }
}

//! shell: what stands in the store, slice by slice, whoever it is for; a segment that cannot be understood is named and passed.

use rusqlite::Connection;

use super::change::{Change, StoredMessage};
use super::error::Fault;
use super::segments::{LastRead, Walk};
use crate::model::Seq;

/// A stretch of the store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slice {
    /// The messages, oldest first.
    pub messages: Vec<StoredMessage>,
    /// Segments in between that cannot be understood.
    pub damaged: Vec<DamagedSegment>,
    /// Everything up to here was looked at; `None` if there is nothing beyond.
    pub examined: Option<Seq>,
}

impl Slice {
    /// The last place this slice says anything about; `after` if it is empty.
    #[must_use]
    pub fn end(&self, after: Seq) -> Seq {
        let message = self.messages.last().map(|stored| stored.seq);
        let damaged = self.damaged.last().map(|segment| segment.last);
        self.examined.max(message).max(damaged).unwrap_or(after)
    }
}

/// A run of messages that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedSegment {
    /// The place of its first message.
    pub first: Seq,
    /// The place of its last message; the first if its row does not say that.
    pub last: Seq,
    /// How many messages are lost with it.
    pub count: u64,
    /// What is wrong with it.
    pub fault: String,
}

impl DamagedSegment {
    /// The change that removes it.
    #[must_use]
    pub fn delete(&self) -> Change {
        Change::Delete { first: self.first, last: self.last }
    }
}

/// All messages after `after`, oldest first: at most `count_max`, and no more once they have `bytes_max` of payload.
pub(super) fn read_slice(
    connection: &Connection,
    last_read: &mut LastRead,
    after: Seq,
    count_max: usize,
    bytes_max: usize,
) -> Result<Slice, Fault> {
    let mut slice = Slice::default();
    let (mut looked_at, mut bytes) = (0, 0);
    let mut walk = Walk::new(connection)?;
    for entry in walk.after(after)? {
        let (first, last, count, read) = match entry {
            Ok(entry) => {
                let read = last_read.read(connection, entry.first);
                let read = read.map(|messages| {
                    let left = entry.left(&messages).filter(|stored| stored.seq > after);
                    left.cloned().collect::<Vec<StoredMessage>>()
                });
                (entry.first, entry.last, entry.count_left(), read)
            }
            // Its row says no more than where it begins.
            Err(Fault::Row(seq, error)) => (Seq(seq), Seq(seq), 1, Err(Fault::Row(seq, error))),
            Err(fault) => return Err(fault),
        };
        match read {
            Ok(messages) => {
                for stored in messages {
                    looked_at += 1;
                    bytes += stored.message.payload.len();
                    let seq = stored.seq;
                    slice.messages.push(stored);
                    if bytes >= bytes_max || looked_at >= count_max {
                        slice.examined = Some(seq);
                        return Ok(slice);
                    }
                }
            }
            // A slice that ended within it has named it.
            Err(Fault::Row(..)) if first <= after => {}
            Err(Fault::Row(_, error)) => {
                let fault = error.to_string();
                slice.damaged.push(DamagedSegment { first, last, count, fault });
                looked_at += 1;
                if looked_at >= count_max {
                    slice.examined = Some(last);
                    return Ok(slice);
                }
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(slice)
}

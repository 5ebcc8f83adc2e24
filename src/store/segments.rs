//! shell: the rows of segments: written, found, read back, partly or wholly deleted.

use std::sync::Arc;

use rusqlite::{Connection, Row, Statement, params};

use super::change::StoredMessage;
use super::error::Fault;
use super::gone::Gone;
use super::row::RowError;
use super::segment::{self, Record, SPAN_MAX};
use crate::model::{Seq, Timestamp};

/// A segment as its row says it, without its content.
#[derive(Debug)]
pub(super) struct Entry {
    /// The place of its first message; its key.
    pub(super) first: Seq,
    /// The place of its last message.
    pub(super) last: Seq,
    /// How many messages were written into it.
    count: u64,
    /// The newest time in it that a clock which was set has given; the epoch if there is none.
    pub(super) accepted: Timestamp,
    /// Which places hold no message any more; `None` if every message is there.
    gone: Option<Gone>,
}

impl Entry {
    /// Columns: first, last, count, accepted of the segment; bits of its `gone` row.
    fn read(row: &Row<'_>) -> Result<Self, Fault> {
        // The key of a table is a number whatever happens to the row.
        let first = Seq(row.get(0)?);
        let foreign = |column| Fault::Row(first.0, RowError::Foreign { column });
        let last = Seq(row.get(1).map_err(|_| foreign("last"))?);
        let more = last.0.checked_sub(first.0).filter(|more| *more < SPAN_MAX);
        let places = more.ok_or_else(|| foreign("last"))? + 1;
        let count = row.get(2).map_err(|_| foreign("count"))?;
        if !(1..=places).contains(&count) {
            return Err(foreign("count"));
        }
        let accepted = row.get(3).map_err(|_| foreign("accepted"))?;
        let accepted = Timestamp::from_unix_ms(accepted);
        let bits: Option<Vec<u8>> = row.get(4).map_err(|_| foreign("bits"))?;
        let gone = bits.map(|bits| Gone::new(first, last, &bits));
        Ok(Self { first, last, count, accepted, gone })
    }

    /// How many of its messages are not gone, at most: places that never held one count where others are gone.
    pub(super) fn count_left(&self) -> u64 {
        match &self.gone {
            Some(gone) => self.count.min(gone.count_left()),
            None => self.count,
        }
    }

    /// Those of its messages that are not gone.
    pub(super) fn left<'a>(
        &'a self,
        messages: &'a [StoredMessage],
    ) -> impl Iterator<Item = &'a StoredMessage> {
        let is_gone = |seq| self.gone.as_ref().is_some_and(|gone| gone.contains(seq));
        messages.iter().filter(move |stored| !is_gone(stored.seq))
    }
}

/// The segment that was read last: those who read message by message, or a few at a time, ask for it again.
#[derive(Debug, Default)]
pub(super) struct LastRead(Option<(Seq, Arc<[StoredMessage]>)>);

impl LastRead {
    /// The messages of the segment that begins at `first`, also those that are gone.
    pub(super) fn read(
        &mut self,
        connection: &Connection,
        first: Seq,
    ) -> Result<Arc<[StoredMessage]>, Fault> {
        if let Some((of, messages)) = &self.0
            && *of == first
        {
            return Ok(messages.clone());
        }
        let messages: Arc<[StoredMessage]> = read_segment(connection, first)?.into();
        // A message alone may be very long, and nothing is gained by it.
        self.0 = (messages.len() > 1).then(|| (first, messages.clone()));
        Ok(messages)
    }

    /// Another content may stand under the same key from here on.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}

/// The messages of the segment that begins at `first`, also those that are gone.
pub(super) fn read_segment(
    connection: &Connection,
    first: Seq,
) -> Result<Vec<StoredMessage>, Fault> {
    let bad = |fault| Fault::Row(first.0, fault);
    let mut statement =
        connection.prepare_cached("SELECT content FROM segment WHERE first = ?1")?;
    let mut rows = statement.query([first.0])?;
    let Some(row) = rows.next()? else { return Ok(Vec::new()) };
    let content = row.get_ref(0)?.as_blob();
    let content = content.map_err(|_| bad(RowError::Foreign { column: "content" }))?;
    segment::read(first, content).map_err(bad)
}

/// Keeps messages, which come in the order of their places.
pub(super) fn insert<'a>(
    connection: &Connection,
    records: impl IntoIterator<Item = Record<'a>>,
) -> Result<(), Fault> {
    for segment in segment::segments(records) {
        connection.prepare_cached("INSERT INTO segment VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(
            params![
                segment.first.0,
                segment.last.0,
                segment.count,
                segment.accepted.unix_ms(),
                segment.content,
            ],
        )?;
    }
    Ok(())
}

/// All segments that may hold places after `?1`, oldest first: of the first one the row itself must tell. A condition on
/// its `last` would pass over a row whose `last` is damaged, without a word.
macro_rules! after {
    ($end:literal) => {
        concat!(
            "SELECT s.first, s.last, s.count, s.accepted, g.bits \
             FROM segment s LEFT JOIN gone g ON g.first = s.first \
             WHERE s.first >= coalesce((SELECT max(first) FROM segment WHERE first <= ?1), 0) \
             ORDER BY s.first",
            $end
        )
    };
}

/// The segments with places after a seq, oldest first, by [`next`]. Nothing may be written meanwhile.
pub(super) struct Walk<'a>(rusqlite::CachedStatement<'a>);

impl<'a> Walk<'a> {
    pub(super) fn new(connection: &'a Connection) -> Result<Self, Fault> {
        Ok(Self(connection.prepare_cached(after!(""))?))
    }

    pub(super) fn after(
        &mut self,
        after: Seq,
    ) -> Result<impl Iterator<Item = Result<Entry, Fault>> + '_, Fault> {
        walk(&mut self.0, after)
    }
}

fn walk<'a>(
    statement: &'a mut Statement<'_>,
    after: Seq,
) -> Result<impl Iterator<Item = Result<Entry, Fault>> + 'a, Fault> {
    let rows = statement.query_map([after.0], |row| Ok(Entry::read(row)))?;
    let entries = rows.map(|entry| entry?);
    Ok(entries.skip_while(move |entry| matches!(entry, Ok(entry) if entry.last <= after)))
}

/// The first segment with places after `after`.
pub(super) fn next(connection: &Connection, after: Seq) -> Result<Option<Entry>, Fault> {
    let mut statement = connection.prepare_cached(after!(" LIMIT 2"))?;
    walk(&mut statement, after)?.next().transpose()
}

/// The segment with the place `seq`.
fn holding(connection: &Connection, seq: Seq) -> Result<Option<Entry>, Fault> {
    let Some(before) = seq.0.checked_sub(1) else { return Ok(None) };
    Ok(next(connection, Seq(before))?.filter(|entry| entry.first <= seq))
}

/// The message at `seq`, if it is there.
pub(super) fn message(
    connection: &Connection,
    last_read: &mut LastRead,
    seq: Seq,
) -> Result<Option<StoredMessage>, Fault> {
    let Some(entry) = holding(connection, seq)? else { return Ok(None) };
    let messages = last_read.read(connection, entry.first)?;
    Ok(entry.left(&messages).find(|stored| stored.seq == seq).cloned())
}

/// The places of the first and the last message.
pub(super) fn ends(connection: &Connection) -> Result<Option<(Seq, Seq)>, Fault> {
    let Some(oldest) = next(connection, Seq(0))? else { return Ok(None) };
    let newest: u64 =
        connection.query_row("SELECT max(first) FROM segment", [], |row| row.get(0))?;
    let Some(newest) = holding(connection, Seq(newest))? else { return Ok(None) };
    let first = oldest.gone.and_then(|gone| gone.lowest_left()).unwrap_or(oldest.first);
    let last = newest.gone.and_then(|gone| gone.highest_left()).unwrap_or(newest.last);
    Ok(Some((first, last)))
}

/// Deletes the messages from `first` to `last`. What is not there is not missed.
pub(super) fn delete(
    connection: &Connection,
    last_read: &mut LastRead,
    first: Seq,
    last: Seq,
) -> Result<(), Fault> {
    // At most the segments at the two ends hold something beyond.
    for edge in [first, last] {
        let entry = match holding(connection, edge) {
            // Nobody can tell how far it reaches: it goes with its first place.
            Err(Fault::Row(at, _)) => {
                if (first.0..=last.0).contains(&at) {
                    remove(connection, Seq(at))?;
                }
                continue;
            }
            found => found?,
        };
        if let Some(entry) = entry
            && (entry.first < first || last < entry.last)
        {
            let is_all = last <= entry.last;
            delete_in(connection, last_read, entry, &[(first, last)])?;
            if is_all && edge == first {
                return Ok(());
            }
        }
    }
    connection
        .prepare_cached(
            "DELETE FROM gone WHERE first IN \
             (SELECT first FROM segment WHERE first BETWEEN ?1 AND ?2 AND last <= ?2)",
        )?
        .execute([first.0, last.0])?;
    connection
        .prepare_cached("DELETE FROM segment WHERE first BETWEEN ?1 AND ?2 AND last <= ?2")?
        .execute([first.0, last.0])?;
    Ok(())
}

/// Deletes what lies of `ranges` in one segment, and the segment with its last message.
pub(super) fn delete_in(
    connection: &Connection,
    last_read: &mut LastRead,
    entry: Entry,
    ranges: &[(Seq, Seq)],
) -> Result<(), Fault> {
    let mut gone = match entry.gone {
        Some(gone) => gone,
        None => without_holes(connection, last_read, &entry)?,
    };
    let mut is_news = false;
    for &(first, last) in ranges {
        is_news |= gone.add(first, last);
    }
    if gone.is_all() {
        remove(connection, entry.first)?;
    } else if is_news {
        connection
            .prepare_cached("INSERT OR REPLACE INTO gone VALUES (?1, ?2)")?
            .execute(params![entry.first.0, gone.bits()])?;
    }
    Ok(())
}

/// Of a segment nothing of which was deleted: the places that never held a message.
fn without_holes(
    connection: &Connection,
    last_read: &mut LastRead,
    entry: &Entry,
) -> Result<Gone, Fault> {
    let mut gone = Gone::new(entry.first, entry.last, &[]);
    if entry.count == entry.last.0.saturating_sub(entry.first.0).saturating_add(1) {
        return Ok(gone);
    }
    let messages = match last_read.read(connection, entry.first) {
        Ok(messages) => messages,
        // What cannot be read can be deleted all the same; at worst the row stays until its whole range goes.
        Err(Fault::Row(..)) => return Ok(gone),
        Err(fault) => return Err(fault),
    };
    let mut expected = entry.first;
    for stored in messages.iter() {
        if expected < stored.seq {
            gone.add(expected, Seq(stored.seq.0 - 1));
        }
        expected = stored.seq.next();
    }
    Ok(gone)
}

/// Puts `left` in the place of a segment. The segment last read must be forgotten afterwards.
pub(super) fn replace(
    connection: &Connection,
    entry: &Entry,
    left: &[&StoredMessage],
) -> Result<(), Fault> {
    remove(connection, entry.first)?;
    insert(connection, left.iter().map(|stored| Record::from(*stored)))
}

fn remove(connection: &Connection, first: Seq) -> Result<(), Fault> {
    connection.prepare_cached("DELETE FROM gone WHERE first = ?1")?.execute([first.0])?;
    connection.prepare_cached("DELETE FROM segment WHERE first = ?1")?.execute([first.0])?;
    Ok(())
}

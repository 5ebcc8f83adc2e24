//! shell: what is still to be done of changes that may have been made once, or whose ground is lost.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::change::Target;
use super::super::error::Fault;
use super::super::segments::{self, LastRead};
use crate::model::Seq;

/// Whether a message is to be kept: it is not there, and one of those it is for has not settled it. A session that is not
/// known has settled nothing: it may begin in the same changes.
pub(super) fn is_wanted(
    connection: &Connection,
    seq: Seq,
    targets: &[Target],
) -> Result<bool, Fault> {
    let is_there = segments::message(connection, &mut LastRead::default(), seq)?.is_some();
    Ok(!is_there && is_waited_for(connection, seq, targets)?)
}

/// Whether one of those a message is for has not settled it.
pub(in crate::store) fn is_waited_for(
    connection: &Connection,
    seq: Seq,
    targets: &[Target],
) -> Result<bool, Fault> {
    for target in targets {
        let cursor: Option<u64> = connection
            .prepare_cached("SELECT cursor FROM session WHERE id = ?1")?
            .query_row([target.session.0], |row| row.get(0))
            .optional()?;
        let is_settled = cursor.is_some_and(|cursor| seq.0 <= cursor)
            || connection
                .prepare_cached(
                    "SELECT 1 FROM settled WHERE session = ?1 AND first <= ?2 AND last >= ?2",
                )?
                .exists(params![target.session.0, seq.0])?;
        if !is_settled {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Deletes the flights whose message is not there: the next message at that place would be taken for it.
pub(in crate::store) fn end_flights_without_message(connection: &Connection) -> Result<(), Fault> {
    let mut last_read = LastRead::default();
    let mut flights = connection.prepare("SELECT DISTINCT seq FROM flight ORDER BY seq")?;
    let seqs = flights.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<u64>>>()?;
    for seq in seqs {
        if segments::message(connection, &mut last_read, Seq(seq))?.is_none() {
            connection.execute("DELETE FROM flight WHERE seq = ?1", [seq])?;
        }
    }
    Ok(())
}

//! shell: brings a database of an older schema up to date.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, Row};

use super::change::StoredMessage;
use super::error::Fault;
use super::row::{self, RowError};
use super::schema::{APPLICATION_ID, MIGRATIONS, Step};
use super::segment::Record;
use super::segments;
use crate::model::{Body, Message, Seq, Timestamp, TopicName};

/// Rows of `message` taken at a time, and bytes of payload (one message more): memory is bounded.
const ROWS_AT_A_TIME: usize = 4096;
const BYTES_AT_A_TIME: usize = 4 * 1024 * 1024;

/// Runs the migrations after the first `found`, each as a whole or not at all.
pub(super) fn migrate(connection: &mut Connection, found: usize) -> Result<(), Fault> {
    for (index, steps) in MIGRATIONS.iter().enumerate().skip(found) {
        let transaction = connection.transaction()?;
        for step in *steps {
            match step {
                Step::Sql(statements) => transaction.execute_batch(statements)?,
                Step::MessagesIntoSegments => messages_into_segments(&transaction)?,
            }
        }
        transaction.pragma_update(None, "user_version", index + 1)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.commit()?;
    }
    if (1..MIGRATIONS.len()).contains(&found) {
        // A queue that was carried over has gone through the log as a whole; the disk gets that back at once.
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    }
    Ok(())
}

fn messages_into_segments(connection: &Connection) -> Result<(), Fault> {
    loop {
        let messages = oldest_messages(connection)?;
        let Some(last) = messages.last() else { return Ok(()) };
        // First out, then in: the file does not grow, its pages are taken again.
        connection.execute("DELETE FROM message WHERE seq <= ?1", [last.seq.0])?;
        segments::insert(connection, messages.iter().map(Record::from))?;
    }
}

fn oldest_messages(connection: &Connection) -> Result<Vec<StoredMessage>, Fault> {
    let mut statement = connection.prepare_cached(&every_message("ASC"))?;
    let mut rows = statement.query([])?;
    let (mut messages, mut bytes) = (Vec::new(), 0);
    while messages.len() < ROWS_AT_A_TIME
        && bytes < BYTES_AT_A_TIME
        && let Some(row) = rows.next()?
    {
        let stored = read_message(row)?;
        bytes += stored.message.payload.len();
        messages.push(stored);
    }
    Ok(messages)
}

/// Rows for [`read_message`], in a direction.
pub(super) fn every_message(direction: &str) -> String {
    format!(
        "SELECT seq, accepted, expires, flags, topic, targets, properties, payload \
         FROM message ORDER BY seq {direction}"
    )
}

/// Columns: seq, accepted, expires, flags, topic, targets, properties, payload.
pub(super) fn read_message(row: &Row<'_>) -> Result<StoredMessage, Fault> {
    let seq: u64 = row.get(0)?;
    let bad = |fault| Fault::Row(seq, fault);
    let (qos, retain) = row::read_flags(row.get(3)?).map_err(bad)?;
    let topic: &str =
        row.get_ref(4)?.as_str().map_err(|_| bad(RowError::Foreign { column: "topic" }))?;
    let topic = TopicName::new(topic).map_err(|_| bad(RowError::Foreign { column: "topic" }))?;
    let blob = |index, column| {
        row.get_ref(index)
            .map_err(Fault::from)?
            .as_blob()
            .map_err(|_| bad(RowError::Foreign { column }))
    };
    let targets = row::read_targets(blob(5, "targets")?).map_err(bad)?;
    let properties: Option<Vec<u8>> = row.get(6)?;
    let properties =
        properties.map(|bytes| row::read_properties(&bytes)).transpose().map_err(bad)?;
    let message = Message {
        topic,
        payload: Bytes::copy_from_slice(blob(7, "payload")?),
        qos,
        retain,
        properties: properties.map(Arc::new),
        accepted: Timestamp::from_unix_ms(row.get(1)?),
        expires: row.get::<_, Option<u64>>(2)?.map(Timestamp::from_unix_ms),
        body: Body::Foreign,
    };
    Ok(StoredMessage { seq: Seq(seq), message: Arc::new(message), targets })
}

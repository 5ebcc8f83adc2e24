//! shell: reads rows back into what the rest of the house speaks.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, Row};

use super::change::{Phase, SessionId, SessionOwner, StoredFlight, StoredMessage, StoredSession};
use super::database::Fault;
use super::row::{self, RowError};
use crate::model::{Message, Seq, Timestamp, TopicFilter, TopicName};

/// Above this many places between cursor and end, the waiting messages of a session are estimated, not counted.
const COUNT_MAX: u64 = 100_000;

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
    };
    Ok(StoredMessage { seq: Seq(seq), message, targets })
}

pub(super) fn load_sessions(connection: &Connection) -> Result<Vec<StoredSession>, Fault> {
    let mut sessions = BTreeMap::new();
    let mut statement = connection.prepare(
        "SELECT id, uplink, name, cursor, expiry, away_since, ids_first, ids_last FROM session",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(2)?;
        let owner = match row.get(1)? {
            true => SessionOwner::Uplink(name.into()),
            false => SessionOwner::Client(name.into()),
        };
        let packet_id = |column| -> rusqlite::Result<Option<NonZeroU16>> {
            Ok(row.get::<_, Option<u16>>(column)?.and_then(NonZeroU16::new))
        };
        let session = StoredSession {
            id: SessionId(row.get(0)?),
            owner,
            cursor: Seq(row.get(3)?),
            expiry: row.get(4)?,
            away_since: row.get::<_, Option<u64>>(5)?.map(Timestamp::from_unix_ms),
            subscriptions: Vec::new(),
            flights: Vec::new(),
            inbox: Vec::new(),
            reserved: packet_id(6)?.zip(packet_id(7)?),
            queued: 0,
        };
        sessions.insert(session.id, session);
    }
    let mut statement =
        connection.prepare("SELECT session, filter, options, subscription_id FROM subscription")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let filter: String = row.get(1)?;
        let Ok(filter) = TopicFilter::new(&filter) else { continue };
        if let Some(session) = sessions.get_mut(&SessionId(row.get(0)?)) {
            session.subscriptions.push((filter, row.get(2)?, row.get(3)?));
        }
    }
    let mut statement = connection.prepare("SELECT session, packet_id FROM inbox")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let (Some(session), Some(packet_id)) =
            (sessions.get_mut(&SessionId(row.get(0)?)), NonZeroU16::new(row.get(1)?))
        {
            session.inbox.push(packet_id);
        }
    }
    Ok(sessions.into_values().collect())
}

pub(super) fn load_flights(
    connection: &Connection,
    session: SessionId,
) -> Result<Vec<StoredFlight>, Fault> {
    let mut flights = load_flight_rows(connection, session)?;
    let mut message = connection.prepare(
        "SELECT seq, accepted, expires, flags, topic, targets, properties, payload \
         FROM message WHERE seq = ?1",
    )?;
    for flight in &mut flights {
        let mut found = message.query([flight.seq.0])?;
        flight.stored = found.next()?.map(read_message).transpose()?;
    }
    Ok(flights)
}

/// The same without the messages.
pub(super) fn load_flight_rows(
    connection: &Connection,
    session: SessionId,
) -> Result<Vec<StoredFlight>, Fault> {
    let mut flights = Vec::new();
    let mut statement = connection
        .prepare("SELECT seq, packet_id, phase FROM flight WHERE session = ?1 ORDER BY seq")?;
    let mut rows = statement.query([session.0])?;
    while let Some(row) = rows.next()? {
        let seq: u64 = row.get(0)?;
        let phase = match row.get(2)? {
            1u8 => Phase::Assigned,
            2 => Phase::Released,
            3 => Phase::Settled,
            _ => return Err(Fault::Row(seq, RowError::Foreign { column: "phase" })),
        };
        let packet_id = row.get::<_, Option<u16>>(1)?.and_then(NonZeroU16::new);
        flights.push(StoredFlight { seq: Seq(seq), packet_id, phase, stored: None });
    }
    Ok(flights)
}

pub(super) fn count_queued(
    connection: &Connection,
    session: &StoredSession,
    first: Seq,
    last: Seq,
) -> Result<u64, Fault> {
    let from = session.cursor.0.max(first.0.saturating_sub(1));
    let span = last.0.saturating_sub(from);
    if span > COUNT_MAX {
        return Ok(span);
    }
    let mut count = 0;
    let mut statement = connection.prepare("SELECT seq, targets FROM message WHERE seq > ?1")?;
    let mut rows = statement.query([from])?;
    while let Some(row) = rows.next()? {
        let seq: u64 = row.get(0)?;
        let targets = row.get_ref(1)?.as_blob().unwrap_or_default();
        let targets = row::read_targets(targets).map_err(|fault| Fault::Row(seq, fault))?;
        count += u64::from(targets.iter().any(|target| target.session == session.id));
    }
    let settled = session.flights.iter().filter(|flight| flight.phase == Phase::Settled).count();
    Ok(count.saturating_sub(settled as u64))
}

pub(super) fn load_retained(connection: &Connection) -> Result<Vec<Message>, Fault> {
    let mut retained = Vec::new();
    let mut statement = connection
        .prepare("SELECT topic, accepted, expires, flags, properties, payload FROM retained")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let bad = |column| Fault::Row(0, RowError::Foreign { column });
        let topic: String = row.get(0)?;
        let (qos, retain) = row::read_flags(row.get(3)?).map_err(|fault| Fault::Row(0, fault))?;
        let properties: Option<Vec<u8>> = row.get(4)?;
        let properties = properties
            .map(|bytes| row::read_properties(&bytes))
            .transpose()
            .map_err(|fault| Fault::Row(0, fault))?;
        retained.push(Message {
            topic: TopicName::new(&topic).map_err(|_| bad("topic"))?,
            payload: Bytes::from(row.get::<_, Vec<u8>>(5)?),
            qos,
            retain,
            properties: properties.map(Arc::new),
            accepted: Timestamp::from_unix_ms(row.get(1)?),
            expires: row.get::<_, Option<u64>>(2)?.map(Timestamp::from_unix_ms),
        });
    }
    Ok(retained)
}

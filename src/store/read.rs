//! shell: reads rows back into what the rest of the house speaks.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::Connection;

use super::change::{
    DropCount, DropReason, Phase, SessionId, SessionOwner, StoredFlight, StoredMessage,
    StoredSession, StoredWill,
};
use super::error::Fault;
use super::row::{self, RowError};
use super::segments::{self, LastRead, Walk};
use crate::model::{Body, Message, MessageProperties, Seq, Timestamp, TopicFilter, TopicName};

/// Above this many places between cursor and end, the waiting messages of a session are estimated, not counted.
const COUNT_MAX: u64 = 100_000;

pub(super) fn load_sessions(connection: &Connection) -> Result<Vec<StoredSession>, Fault> {
    let mut sessions = BTreeMap::new();
    let mut statement = connection.prepare(
        "SELECT id, uplink, name, cursor, expiry, away_since, ids_first, ids_last, \
         ids_lost FROM session",
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
            settled: Vec::new(),
            flights: Vec::new(),
            dropped: Vec::new(),
            inbox: Vec::new(),
            reserved: packet_id(6)?.zip(packet_id(7)?),
            ids_lost: row.get(8)?,
            queued: 0,
            queued_bytes: Some(0),
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
    let mut statement =
        connection.prepare("SELECT session, first, last FROM settled ORDER BY session, first")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(session) = sessions.get_mut(&SessionId(row.get(0)?)) {
            session.settled.push((Seq(row.get(1)?), Seq(row.get(2)?)));
        }
    }
    let mut statement =
        connection.prepare("SELECT session, reason, count, first, last FROM dropped")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let Some(reason) = DropReason::from_number(row.get(1)?) else { continue };
        if let Some(session) = sessions.get_mut(&SessionId(row.get(0)?)) {
            session.dropped.push(DropCount {
                reason,
                count: row.get(2)?,
                first: Timestamp::from_unix_ms(row.get(3)?),
                last: Timestamp::from_unix_ms(row.get(4)?),
            });
        }
    }
    Ok(sessions.into_values().collect())
}

pub(super) fn load_flights(
    connection: &Connection,
    last_read: &mut LastRead,
    session: SessionId,
) -> Result<Vec<StoredFlight>, Fault> {
    let mut flights = load_flight_rows(connection, session)?;
    for flight in &mut flights {
        flight.stored = segments::message(connection, last_read, flight.seq)?;
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
        let phase = Phase::from_number(row.get(2)?)
            .ok_or(Fault::Row(seq, RowError::Foreign { column: "phase" }))?;
        let packet_id = row.get::<_, Option<u16>>(1)?.and_then(NonZeroU16::new);
        let packet_id =
            packet_id.ok_or(Fault::Row(seq, RowError::Foreign { column: "packet_id" }))?;
        flights.push(StoredFlight { seq: Seq(seq), packet_id, phase, stored: None });
    }
    Ok(flights)
}

/// Sets how many messages between `first` and `last` wait for each session, and how many bytes they hold.
pub(super) fn count_queued(
    connection: &Connection,
    last_read: &mut LastRead,
    sessions: &mut [StoredSession],
    first: Seq,
    last: Seq,
) -> Result<(), Fault> {
    let mut counted = Vec::new();
    for session in sessions {
        let from = session.cursor.0.max(first.0.saturating_sub(1));
        let span = last.0.saturating_sub(from);
        let is_estimated = span > COUNT_MAX;
        session.queued = if is_estimated { span } else { 0 };
        session.queued_bytes = (!is_estimated).then_some(0);
        if (1..=COUNT_MAX).contains(&span) {
            counted.push((Seq(from), session));
        }
    }
    // One reading for all of them: decoding is what it costs.
    let Some(from) = counted.iter().map(|(from, _)| *from).min() else { return Ok(()) };
    let mut walk = Walk::new(connection)?;
    for entry in walk.after(from)? {
        let entry = entry?;
        let messages = last_read.read(connection, entry.first)?;
        for stored in entry.left(&messages) {
            for (from, session) in &mut counted {
                let is_for = stored.targets.iter().any(|target| target.session == session.id);
                // Runs are in order and apart.
                let begun = session.settled.partition_point(|(first, _)| *first <= stored.seq);
                let is_settled =
                    session.settled[..begun].last().is_some_and(|(_, last)| *last >= stored.seq);
                if is_for && stored.seq > *from && !is_settled {
                    session.queued += 1;
                    let bytes = stored.message.payload.len() as u64;
                    session.queued_bytes = session.queued_bytes.map(|so_far| so_far + bytes);
                }
            }
        }
    }
    Ok(())
}

/// The messages for `session` after `after`, oldest first, at most `count_max` looked at or `bytes_max` of payload; and the
/// last place that was looked at, `None` if there is nothing beyond.
pub(super) fn fetch(
    connection: &Connection,
    last_read: &mut LastRead,
    session: SessionId,
    after: Seq,
    count_max: usize,
    bytes_max: usize,
) -> Result<(Vec<StoredMessage>, Option<Seq>), Fault> {
    let (mut found, mut looked_at, mut bytes) = (Vec::new(), 0, 0);
    let mut walk = Walk::new(connection)?;
    for entry in walk.after(after)? {
        let entry = entry?;
        let messages = last_read.read(connection, entry.first)?;
        for stored in entry.left(&messages).filter(|stored| stored.seq > after) {
            looked_at += 1;
            if stored.targets.iter().any(|target| target.session == session) {
                bytes += stored.message.payload.len();
                found.push(stored.clone());
            }
            if bytes >= bytes_max || looked_at >= count_max {
                return Ok((found, Some(stored.seq)));
            }
        }
    }
    Ok((found, None))
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
        let properties = read_properties(row.get(4)?)?;
        retained.push(Message {
            topic: TopicName::new(&topic).map_err(|_| bad("topic"))?,
            payload: Bytes::from(row.get::<_, Vec<u8>>(5)?),
            qos,
            retain,
            properties,
            accepted: Timestamp::from_unix_ms(row.get(1)?),
            expires: row.get::<_, Option<u64>>(2)?.map(Timestamp::from_unix_ms),
            body: row::retained_body(row.get(3)?),
        });
    }
    Ok(retained)
}

pub(super) fn load_wills(connection: &Connection) -> Result<Vec<(SessionId, StoredWill)>, Fault> {
    let mut wills = Vec::new();
    let mut statement = connection.prepare(
        "SELECT session, delay, lifetime, flags, topic, properties, payload FROM will ORDER BY session",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let topic: String = row.get(4)?;
        let topic = TopicName::new(&topic)
            .map_err(|_| Fault::Row(0, RowError::Foreign { column: "topic" }))?;
        let (qos, retain) = row::read_flags(row.get(3)?).map_err(|fault| Fault::Row(0, fault))?;
        let message = Message {
            topic,
            payload: Bytes::from(row.get::<_, Vec<u8>>(6)?),
            qos,
            retain,
            properties: read_properties(row.get(5)?)?,
            accepted: Timestamp::default(),
            expires: None,
            body: Body::Foreign,
        };
        let will = StoredWill { message, delay: row.get(1)?, lifetime: row.get(2)? };
        wills.push((SessionId(row.get(0)?), will));
    }
    Ok(wills)
}

fn read_properties(column: Option<Vec<u8>>) -> Result<Option<Arc<MessageProperties>>, Fault> {
    let properties = column.map(|bytes| row::read_properties(&bytes)).transpose();
    Ok(properties.map_err(|fault| Fault::Row(0, fault))?.map(Arc::new))
}

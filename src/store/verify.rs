//! shell: reads everything but the messages row by row, the pages, and the staged file, and names what is wrong.

use std::num::NonZeroU16;
use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::change::{DropReason, Phase};
use super::database::Database;
use super::error::Fault;
use super::row::{self, RowError};
use super::slice::DamagedSegment;
use super::staged::{FILE_NAME, Origin, Staged};
use crate::model::{TopicFilter, TopicName};

/// Complaints of SQLite that are listed at most: one broken page makes hundreds.
const PAGE_COMPLAINTS_MAX: usize = 20;

const REMOVE: &str = "stop the gateway; `fieldpost queue purge --damaged` removes it";
const SALVAGE: &str = "stop the gateway, save what can be read with `fieldpost queue export`, then move the file away: the gateway \
     begins a new one";

/// Something in the store that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Where.
    pub place: String,
    /// What is wrong there.
    pub fault: String,
    /// What to do.
    pub remedy: &'static str,
}

impl Damage {
    /// A run of messages that cannot be understood.
    #[must_use]
    pub fn of_segment(segment: &DamagedSegment) -> Self {
        let remedy = "`fieldpost queue purge --damaged` removes it";
        let DamagedSegment { first, count, fault, .. } = segment;
        let plural = if *count == 1 { "" } else { "s" };
        let place = format!("segment of {count} message{plural}, the first {}", first.0);
        Self { place, fault: fault.clone(), remedy }
    }
}

/// A damaged row and how it is removed.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) damage: Damage,
    pub(super) delete: (&'static str, Vec<Value>),
}

/// How the rows of a table are looked at.
struct Table {
    name: &'static str,
    sql: &'static str,
    /// The first so many columns are its key.
    keys: usize,
    delete: &'static str,
    check: fn(&Row<'_>) -> Result<(), Fault>,
}

const TABLES: [Table; 9] = [
    Table {
        name: "session",
        sql: "SELECT id, uplink, name, cursor, expiry, away_since, ids_first, ids_last FROM session",
        keys: 1,
        delete: "DELETE FROM session WHERE id = ?1",
        check: |row| {
            let _: (u32, bool, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let _: (u64, u32, Option<u64>) = (row.get(3)?, row.get(4)?, row.get(5)?);
            let _: (Option<u16>, Option<u16>) = (row.get(6)?, row.get(7)?);
            Ok(())
        },
    },
    Table {
        name: "subscription",
        sql: "SELECT session, filter, options, subscription_id FROM subscription",
        keys: 2,
        delete: "DELETE FROM subscription WHERE session = ?1 AND filter = ?2",
        check: |row| {
            let _: (u32, u8, Option<u32>) = (row.get(0)?, row.get(2)?, row.get(3)?);
            let filter: String = row.get(1)?;
            TopicFilter::new(&filter).map(|_| ()).map_err(|_| foreign("filter"))
        },
    },
    Table {
        name: "flight",
        sql: "SELECT session, seq, packet_id, phase FROM flight",
        keys: 2,
        delete: "DELETE FROM flight WHERE session = ?1 AND seq = ?2",
        check: |row| {
            let _: (u32, u64, u16) = (row.get(0)?, row.get(1)?, row.get(2)?);
            NonZeroU16::new(row.get(2)?).ok_or(foreign("packet_id"))?;
            let phase: u8 = row.get(3)?;
            Phase::from_number(phase).map(|_| ()).ok_or(foreign("phase"))
        },
    },
    Table {
        name: "settled",
        sql: "SELECT session, first, last FROM settled",
        keys: 2,
        delete: "DELETE FROM settled WHERE session = ?1 AND first = ?2",
        check: |row| {
            let (_, first, last): (u32, u64, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            if first <= last { Ok(()) } else { Err(foreign("last")) }
        },
    },
    Table {
        name: "dropped",
        sql: "SELECT session, reason, count, first, last FROM dropped",
        keys: 2,
        delete: "DELETE FROM dropped WHERE session = ?1 AND reason = ?2",
        check: |row| {
            let _: (u32, u64, u64, u64) = (row.get(0)?, row.get(2)?, row.get(3)?, row.get(4)?);
            DropReason::from_number(row.get(1)?).map(|_| ()).ok_or(foreign("reason"))
        },
    },
    Table {
        name: "gone",
        sql: "SELECT first, bits FROM gone",
        keys: 1,
        delete: "DELETE FROM gone WHERE first = ?1",
        check: |row| {
            let _: (u64, Vec<u8>) = (row.get(0)?, row.get(1)?);
            Ok(())
        },
    },
    Table {
        name: "inbox",
        sql: "SELECT session, packet_id FROM inbox",
        keys: 2,
        delete: "DELETE FROM inbox WHERE session = ?1 AND packet_id = ?2",
        check: |row| {
            let (_, id): (u32, u16) = (row.get(0)?, row.get(1)?);
            if id == 0 { Err(foreign("packet_id")) } else { Ok(()) }
        },
    },
    Table {
        name: "retained",
        sql: "SELECT topic, accepted, expires, flags, properties, payload FROM retained",
        keys: 1,
        delete: "DELETE FROM retained WHERE topic = ?1",
        check: |row| {
            let _: (u64, Option<u64>) = (row.get(1)?, row.get(2)?);
            check_message(&row.get::<_, String>(0)?, row.get(3)?, row.get(4)?)?;
            let _: Vec<u8> = row.get(5)?;
            Ok(())
        },
    },
    Table {
        name: "will",
        sql: "SELECT session, delay, lifetime, flags, topic, properties, payload FROM will",
        keys: 1,
        delete: "DELETE FROM will WHERE session = ?1",
        check: |row| {
            let _: (u32, u32, Option<u32>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            check_message(&row.get::<_, String>(4)?, row.get(3)?, row.get(5)?)?;
            let _: Vec<u8> = row.get(6)?;
            Ok(())
        },
    },
];

fn check_message(topic: &str, flags: u8, properties: Option<Vec<u8>>) -> Result<(), Fault> {
    let bad = |error| Fault::Row(0, error);
    TopicName::new(topic).map_err(|_| foreign("topic"))?;
    row::read_flags(flags).map_err(bad)?;
    properties.map(|bytes| row::read_properties(&bytes)).transpose().map(|_| ()).map_err(bad)
}

fn foreign(column: &'static str) -> Fault {
    Fault::Row(0, RowError::Foreign { column })
}

/// Every row of the small tables.
pub(super) fn tables(connection: &Connection) -> Result<Vec<Found>, Fault> {
    let mut found = Vec::new();
    for Table { name, sql, keys, delete, check } in TABLES {
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let Err(fault) = check(row) else { continue };
            let fault = row_fault(fault)?;
            let key: Vec<Value> = (0..keys).map(|at| row.get(at)).collect::<Result<_, _>>()?;
            let words: Vec<String> = key.iter().map(word).collect();
            let place = format!("{name} {}", words.join(" "));
            let damage = Damage { place, fault, remedy: REMOVE };
            found.push(Found { damage, delete: (delete, key) });
        }
    }
    Ok(found)
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => format!("{text:?}"),
        Value::Blob(bytes) => format!("of {} bytes", bytes.len()),
    }
}

/// Removes a damaged row.
pub(super) fn remove(connection: &Connection, found: &Found) -> Result<(), Fault> {
    let (sql, key) = &found.delete;
    connection.execute(sql, params_from_iter(key))?;
    Ok(())
}

/// What is wrong with the row itself; SQLite's own failures go on.
fn row_fault(fault: Fault) -> Result<String, Fault> {
    match fault {
        Fault::Row(_, error) => Ok(error.to_string()),
        // A column of another type, or a number out of its range: the page is whole, what stands there is not.
        Fault::Sqlite(error) if error.sqlite_error_code().is_none() => Ok(error.to_string()),
        Fault::Sqlite(error) => Err(Fault::Sqlite(error)),
    }
}

/// SQLite's own check of its pages and indexes.
pub(super) fn pages(database: &Database) -> Vec<Damage> {
    let place = database.path.display().to_string();
    let complaints = database.find_damage(PAGE_COMPLAINTS_MAX);
    let complaints = complaints.unwrap_or_else(|error| vec![error.to_string()]);
    complaints
        .into_iter()
        .map(|fault| Damage { place: place.clone(), fault, remedy: SALVAGE })
        .collect()
}

/// Every batch of the staged file in `runtime_dir`, if it is of this store: what is damaged, and how many bytes a kill
/// tore off.
pub(super) fn staged(runtime_dir: &Path, origin: Origin) -> (Vec<Damage>, usize) {
    let place = runtime_dir.join(FILE_NAME).display().to_string();
    match Staged::check(runtime_dir, origin) {
        Ok(None) => (Vec::new(), 0),
        Ok(Some(checked)) => {
            let damage = checked.fault.map(|(at, fault)| Damage {
                place,
                fault: format!("batch {}, at byte {at}: {fault}", checked.batches + 1),
                remedy: "what follows it is left out at the next start; a damaged memory is likely: restart the machine, \
                     test its memory",
            });
            (damage.into_iter().collect(), checked.torn)
        }
        Err(error) => {
            let remedy = "look as the user of the service, or as root";
            (vec![Damage { place, fault: error.to_string(), remedy }], 0)
        }
    }
}

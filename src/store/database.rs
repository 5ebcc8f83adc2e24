//! shell: one SQLite connection: opens, migrates, commits batches, reads back. Runs on the store's own thread.
#![allow(clippy::disallowed_methods, reason = "the store's shell makes its directory")]

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, params};

use super::change::{Change, Phase, SessionId, SessionOwner, Snapshot, StoredMessage, Trimmed};
use super::read::{count_queued, load_flights, load_retained, load_sessions, read_message};
use super::row::{self, RowError};
use super::schema::{APPLICATION_ID, MIGRATIONS};
use super::staged::Origin;
use crate::model::{Seq, Timestamp};

/// The database's name in the state directory.
pub const FILE_NAME: &str = "fieldpost.db";

/// Why the store cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The state directory cannot be made.
    #[error("cannot make the state directory {}: {source}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What an earlier process left staged cannot be read.
    #[error(
        "{}: {source}; start the version that wrote it, or move the file away and lose what is in it",
        path.display()
    )]
    Staged {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has the database open.
    #[error(
        "{} is in use by another process; is a second fieldpost, or a `fieldpost queue`, running with this state_dir?",
        path.display()
    )]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// The file is a database, but not ours.
    #[error("{} was not written by fieldpost; move it away or set another state_dir", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
    /// The file was written by a later version.
    #[error(
        "{} has schema {found}, this version knows up to {known}; run the version that wrote it, or a newer one",
        path.display()
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its schema.
        found: usize,
        /// Ours.
        known: usize,
    },
    /// There is no database.
    #[error("there is no queue: {} is missing; does the gateway run with this state_dir?", path.display())]
    Missing {
        /// Which file.
        path: PathBuf,
    },
    /// The file was written by an earlier version, and is not to be changed by a look at it.
    #[error("{} was written by an earlier version; start the gateway once, it brings the file up to date", path.display())]
    Older {
        /// Which file.
        path: PathBuf,
    },
    /// SQLite refused.
    #[error("{}: {cause}{}", path.display(), hint(cause))]
    Sqlite {
        /// Which file.
        path: PathBuf,
        /// Its words.
        cause: rusqlite::Error,
    },
    /// A row cannot be understood.
    #[error(
        "{}: message {seq}: {source}; `fieldpost queue verify` names all such rows, `purge --damaged` removes them",
        path.display()
    )]
    Row {
        /// Which file.
        path: PathBuf,
        /// Which message.
        seq: u64,
        /// Why.
        source: RowError,
    },
}

/// What to look after when SQLite refuses.
fn hint(cause: &rusqlite::Error) -> &'static str {
    match cause.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "; make room on that disk",
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "; may this user write there, and is the file system mounted for writing?"
        }
        Some(ErrorCode::SystemIoFailure) => {
            "; is the file system mounted for writing, and the disk in order?"
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            "; the file is damaged: move it away to begin with an empty queue"
        }
        Some(_) | None => "",
    }
}

/// Something that went wrong below [`StoreError`], before the file's name is added.
#[derive(Debug)]
pub(super) enum Fault {
    Sqlite(rusqlite::Error),
    Row(u64, RowError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// The open database.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    page_size: u64,
    last_bytes_used: u64,
}

impl Database {
    /// Opens or makes the database in `state_dir` and brings its schema up to date.
    pub(super) fn open(state_dir: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(state_dir)
            .map_err(|source| StoreError::Directory { path: state_dir.to_owned(), source })?;
        let path = state_dir.join(FILE_NAME);
        let connection = Connection::open(&path).map_err(|error| refused(&path, error))?;
        Self::begin(connection, path, true)
    }

    /// Opens the database in `state_dir` if it is there and of this version, and leaves it as it is.
    pub(super) fn open_existing(state_dir: &Path) -> Result<Self, StoreError> {
        let path = state_dir.join(FILE_NAME);
        if !path.exists() {
            return Err(StoreError::Missing { path });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(&path, flags).map_err(|error| refused(&path, error))?;
        // Who has it open keeps it: a gateway, which is asked instead.
        connection.busy_timeout(Duration::ZERO).map_err(|error| refused(&path, error))?;
        Self::begin(connection, path, false)
    }

    fn begin(
        mut connection: Connection,
        path: PathBuf,
        may_migrate: bool,
    ) -> Result<Self, StoreError> {
        let sqlite = |source: rusqlite::Error| refused(&path, source);
        // A locking mode of EXCLUSIVE keeps a second process out and spares the shared-memory file.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(sqlite)?;
        // Nothing is written before it is known whose the file is.
        let application_id: i32 = connection
            .pragma_query_value(None, "application_id", |row| row.get(0))
            .map_err(sqlite)?;
        let tables: u32 = connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .map_err(sqlite)?;
        if application_id != APPLICATION_ID && tables > 0 {
            return Err(StoreError::Foreign { path });
        }
        let found: usize = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(sqlite)?;
        if found > MIGRATIONS.len() {
            return Err(StoreError::Newer { path, found, known: MIGRATIONS.len() });
        }
        if found < MIGRATIONS.len() && !may_migrate {
            return Err(StoreError::Older { path });
        }
        configure(&connection).map_err(sqlite)?;
        migrate(&mut connection, found).map_err(sqlite)?;
        let page_size =
            connection.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(sqlite)?;
        Ok(Self { connection, path, page_size, last_bytes_used: 0 })
    }

    /// Counts this start and reads what it needs.
    pub(super) fn load(&mut self) -> Result<Snapshot, StoreError> {
        self.read_snapshot().map_err(|fault| self.named(fault))
    }

    /// Which store this is, and which of its commits a staged file must follow; a new store takes `random` for its
    /// number.
    pub(super) fn origin(&self, random: u64) -> Result<Origin, StoreError> {
        let ask = || -> Result<Origin, Fault> {
            // SQLite's integers have a sign.
            let number = random & (u64::MAX >> 1);
            self.connection
                .execute("INSERT OR IGNORE INTO meta VALUES ('store', ?1)", params![number])?;
            let store = meta(&self.connection, "store")?;
            Ok(Origin { store, generation: meta(&self.connection, "generation")? })
        };
        ask().map_err(|fault| self.named(fault))
    }

    /// Whether the last process that opened it was staging and did not close it.
    pub(super) fn was_staging(&self) -> Result<bool, StoreError> {
        let staging = meta(&self.connection, "staging");
        Ok(staging.map_err(|error| self.named(error.into()))? != 0)
    }

    /// Notes durably whether there may be staged changes from here on.
    pub(super) fn set_staging(&self, staging: bool) -> Result<(), StoreError> {
        self.connection
            .execute("INSERT OR REPLACE INTO meta VALUES ('staging', ?1)", [staging])
            .map(|_| ())
            .map_err(|error| self.named(error.into()))
    }

    /// Whether it holds any message.
    pub(super) fn has_messages(&self) -> Result<bool, StoreError> {
        self.connection
            .query_row("SELECT EXISTS (SELECT 1 FROM message)", [], |row| row.get(0))
            .map_err(|error| self.named(error.into()))
    }

    /// Makes changes durable, all of them or nothing; `generation` is noted as the last staged file they come from.
    pub(super) fn commit(
        &mut self,
        changes: &[Change],
        generation: Option<u64>,
    ) -> Result<(), StoreError> {
        let commit = |connection: &mut Connection| -> Result<(), Fault> {
            let transaction = connection.transaction()?;
            for change in changes {
                apply(&transaction, change)?;
            }
            if let Some(generation) = generation {
                transaction
                    .prepare_cached("INSERT OR REPLACE INTO meta VALUES ('generation', ?1)")?
                    .execute([generation])?;
            }
            Ok(transaction.commit()?)
        };
        commit(&mut self.connection).map_err(|fault| self.named(fault))
    }

    /// The messages for `session` after `after`, oldest first, at most `count_max` rows looked at or `bytes_max` of
    /// payload; and the last place that was looked at, `None` if there is nothing beyond.
    pub(super) fn fetch(
        &self,
        session: SessionId,
        after: Seq,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<(Vec<StoredMessage>, Option<Seq>), StoreError> {
        let read = || -> Result<_, Fault> {
            let mut statement = self.connection.prepare_cached(
                "SELECT seq, accepted, expires, flags, topic, targets, properties, payload \
                 FROM message WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )?;
            let mut rows = statement.query(params![after.0, count_max])?;
            let (mut messages, mut looked_at, mut bytes) = (Vec::new(), 0, 0);
            while let Some(row) = rows.next()? {
                let stored = read_message(row)?;
                let seq = stored.seq;
                looked_at += 1;
                if stored.targets.iter().any(|target| target.session == session) {
                    bytes += stored.message.payload.len();
                    messages.push(stored);
                }
                if bytes >= bytes_max || looked_at == count_max {
                    return Ok((messages, Some(seq)));
                }
            }
            Ok((messages, None))
        };
        read().map_err(|fault| self.named(fault))
    }

    /// Drops the oldest messages that are not in `keep` until at most `bytes_target` are used, and all that were accepted
    /// before `older_than`.
    pub(super) fn trim(
        &mut self,
        keep: &BTreeSet<Seq>,
        bytes_target: Option<u64>,
        older_than: Option<Timestamp>,
    ) -> Result<Trimmed, StoreError> {
        let mut dropped = Vec::new();
        let mut run = || -> Result<(), Fault> {
            let transaction = self.connection.transaction()?;
            let mut after = Seq(0);
            loop {
                let chunk = oldest(&transaction, after)?;
                let Some(&(last, _, _)) = chunk.last() else { break };
                after = last;
                let over = bytes_target.is_some_and(|target| {
                    used_pages(&transaction).is_ok_and(|pages| pages * self.page_size > target)
                });
                // A time from before the clock was set says nothing about age.
                let expired = |accepted: Timestamp| {
                    accepted.is_set() && older_than.is_some_and(|limit| accepted < limit)
                };
                let mut done = true;
                for (seq, accepted, targets) in chunk {
                    if !over && !expired(accepted) {
                        continue;
                    }
                    done = false;
                    if keep.contains(&seq) {
                        continue;
                    }
                    transaction
                        .prepare_cached("DELETE FROM message WHERE seq = ?1")?
                        .execute([seq.0])?;
                    let targets =
                        row::read_targets(&targets).map_err(|fault| Fault::Row(seq.0, fault))?;
                    dropped.push((seq, targets));
                }
                if done {
                    break;
                }
            }
            Ok(transaction.commit()?)
        };
        run().map_err(|fault| self.named(fault))?;
        self.last_bytes_used = self.bytes_used().unwrap_or(self.last_bytes_used);
        let (bytes_used, bytes_room) = (self.last_bytes_used, self.bytes_room());
        Ok(Trimmed { dropped, bytes_used, bytes_room })
    }

    /// Bytes in pages that hold something.
    pub(super) fn bytes_used(&self) -> Result<u64, StoreError> {
        let pages = used_pages(&self.connection).map_err(|error| self.named(error.into()))?;
        Ok(pages * self.page_size)
    }

    /// Bytes the database may still grow by: on the disk, and in its own pages that hold nothing.
    pub(super) fn bytes_room(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.path).ok()?;
        let free: u64 =
            self.connection.pragma_query_value(None, "freelist_count", |row| row.get(0)).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize).saturating_add(free * self.page_size))
    }

    pub(super) fn named(&self, fault: Fault) -> StoreError {
        let path = self.path.clone();
        match fault {
            Fault::Sqlite(cause) => StoreError::Sqlite { path, cause },
            Fault::Row(seq, source) => StoreError::Row { path, seq, source },
        }
    }

    fn read_snapshot(&mut self) -> Result<Snapshot, Fault> {
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "INSERT INTO meta VALUES ('starts', 1) ON CONFLICT DO UPDATE SET value = value + 1",
            [],
        )?;
        transaction.commit()?;
        let start = meta(&self.connection, "starts")?;
        let last_message: Option<u64> =
            self.connection.query_row("SELECT max(seq) FROM message", [], |row| row.get(0))?;
        let first_message: Option<u64> =
            self.connection.query_row("SELECT min(seq) FROM message", [], |row| row.get(0))?;
        let last_cursor: Option<u64> =
            self.connection.query_row("SELECT max(cursor) FROM session", [], |row| row.get(0))?;
        // A message that was settled out of order has left its row only in `flight`: were its place given again, the next
        // message there would be taken for settled.
        let last_flight: Option<u64> =
            self.connection.query_row("SELECT max(seq) FROM flight", [], |row| row.get(0))?;
        let last_seq = last_message.max(last_cursor).max(last_flight).unwrap_or(0);
        let mut sessions = load_sessions(&self.connection)?;
        for session in &mut sessions {
            session.flights = load_flights(&self.connection, session.id)?;
            session.queued = count_queued(
                &self.connection,
                session,
                Seq(first_message.unwrap_or(0)),
                Seq(last_message.unwrap_or(0)),
            )?;
        }
        let last_session =
            u32::try_from(meta(&self.connection, "last_session")?).unwrap_or(u32::MAX);
        let retained = load_retained(&self.connection)?;
        let last_seq = Seq(last_seq);
        let staged_lost = false;
        Ok(Snapshot { start, staged_lost, last_seq, last_session, sessions, retained })
    }
}

/// SQLite's refusal of a file in words of ours.
fn refused(path: &Path, error: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy) => StoreError::InUse { path },
        Some(ErrorCode::NotADatabase) => StoreError::Foreign { path },
        Some(_) | None => StoreError::Sqlite { path, cause: error },
    }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 1000)?;
    connection.pragma_update(None, "cache_size", -1024)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(32);
    // The lock is taken by the first write; taking it here tells a second process at once.
    connection.execute_batch("BEGIN IMMEDIATE; COMMIT;")
}

fn migrate(connection: &mut Connection, found: usize) -> rusqlite::Result<()> {
    for (index, step) in MIGRATIONS.iter().enumerate().skip(found) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", index + 1)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.commit()?;
    }
    Ok(())
}

fn meta(connection: &Connection, key: &str) -> rusqlite::Result<u64> {
    let value = connection
        .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
        .optional()?;
    Ok(value.unwrap_or(0))
}

fn used_pages(connection: &Connection) -> rusqlite::Result<u64> {
    let all: u64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    let free: u64 = connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
    Ok(all.saturating_sub(free))
}

type Oldest = (Seq, Timestamp, Vec<u8>);

fn oldest(connection: &Connection, after: Seq) -> rusqlite::Result<Vec<Oldest>> {
    connection
        .prepare_cached(
            "SELECT seq, accepted, targets FROM message WHERE seq > ?1 ORDER BY seq LIMIT 64",
        )?
        .query_map([after.0], |row| {
            Ok((Seq(row.get(0)?), Timestamp::from_unix_ms(row.get(1)?), row.get(2)?))
        })?
        .collect()
}

pub(super) fn apply(connection: &Connection, change: &Change) -> Result<(), Fault> {
    let run = |sql: &str, params: &[&dyn rusqlite::ToSql]| -> Result<(), Fault> {
        connection.prepare_cached(sql)?.execute(params)?;
        Ok(())
    };
    match change {
        Change::Append { seq, message, targets } => run(
            "INSERT INTO message VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                seq.0,
                message.accepted.unix_ms(),
                message.expires.map(Timestamp::unix_ms),
                row::flags(message.qos, message.retain),
                message.topic.as_str(),
                row::write_targets(targets),
                message.properties.as_deref().map(row::write_properties),
                &message.payload[..],
            ],
        ),
        Change::Delete { first, last } => {
            run("DELETE FROM message WHERE seq BETWEEN ?1 AND ?2", params![first.0, last.0])
        }
        Change::Flight { session, seq, packet_id, phase } => run(
            "INSERT OR REPLACE INTO flight VALUES (?1, ?2, ?3, ?4)",
            params![session.0, seq.0, packet_id.map(NonZeroU16::get), *phase as u8],
        ),
        Change::Recall { session, seq } => {
            run("DELETE FROM flight WHERE session = ?1 AND seq = ?2", params![session.0, seq.0])
        }
        Change::Cursor { session, cursor } => {
            run("UPDATE session SET cursor = ?2 WHERE id = ?1", params![session.0, cursor.0])?;
            run("DELETE FROM flight WHERE session = ?1 AND seq <= ?2", params![session.0, cursor.0])
        }
        Change::Inbox { session, packet_id, present: true } => {
            run("INSERT OR IGNORE INTO inbox VALUES (?1, ?2)", params![session.0, packet_id.get()])
        }
        Change::Inbox { session, packet_id, present: false } => run(
            "DELETE FROM inbox WHERE session = ?1 AND packet_id = ?2",
            params![session.0, packet_id.get()],
        ),
        Change::Reserve { session, first, last } => run(
            "UPDATE session SET ids_first = ?2, ids_last = ?3 WHERE id = ?1",
            params![session.0, first.get(), last.get()],
        ),
        Change::Retain { topic, message: None } => {
            run("DELETE FROM retained WHERE topic = ?1", params![topic.as_str()])
        }
        Change::Retain { topic, message: Some(message) } => run(
            "INSERT OR REPLACE INTO retained VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                topic.as_str(),
                message.accepted.unix_ms(),
                message.expires.map(Timestamp::unix_ms),
                row::flags(message.qos, message.retain),
                message.properties.as_deref().map(row::write_properties),
                &message.payload[..],
            ],
        ),
        Change::Session { session, owner, cursor, expiry } => {
            let (uplink, name) = owner_columns(owner);
            run(
                "INSERT INTO session (id, uplink, name, cursor, expiry) VALUES (?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT (id) DO UPDATE SET expiry = excluded.expiry",
                params![session.0, uplink, name, cursor.0, expiry],
            )?;
            run(
                "INSERT INTO meta VALUES ('last_session', ?1) \
                 ON CONFLICT DO UPDATE SET value = max(value, excluded.value)",
                params![session.0],
            )
        }
        Change::Away { session, since } => run(
            "UPDATE session SET away_since = ?2 WHERE id = ?1",
            params![session.0, since.map(Timestamp::unix_ms)],
        ),
        Change::EndSession { session } => end_session(connection, *session),
        Change::Subscription { session, filter, options: Some((options, id)) } => run(
            "INSERT OR REPLACE INTO subscription VALUES (?1, ?2, ?3, ?4)",
            params![session.0, filter.as_str(), options, id],
        ),
        Change::Subscription { session, filter, options: None } => run(
            "DELETE FROM subscription WHERE session = ?1 AND filter = ?2",
            params![session.0, filter.as_str()],
        ),
    }
}

/// Deletes the session's rows, and those messages nobody else waits for.
fn end_session(connection: &Connection, ended: SessionId) -> Result<(), Fault> {
    let cursor: Option<u64> = connection
        .query_row("SELECT cursor FROM session WHERE id = ?1", [ended.0], |row| row.get(0))
        .optional()?;
    for table in [
        "session WHERE id",
        "subscription WHERE session",
        "flight WHERE session",
        "inbox WHERE session",
    ] {
        connection.execute(&format!("DELETE FROM {table} = ?1"), [ended.0])?;
    }
    let Some(mut after) = cursor.map(Seq) else { return Ok(()) };
    let mut cursors = HashMap::new();
    let mut statement = connection.prepare("SELECT id, cursor FROM session")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        cursors.insert(SessionId(row.get(0)?), Seq(row.get(1)?));
    }
    let mut settled = connection
        .prepare("SELECT 1 FROM flight WHERE session = ?1 AND seq = ?2 AND phase = ?3")?;
    loop {
        let chunk = oldest(connection, after)?;
        let Some(&(last, _, _)) = chunk.last() else { return Ok(()) };
        after = last;
        for (seq, _, targets) in chunk {
            let targets = row::read_targets(&targets).map_err(|fault| Fault::Row(seq.0, fault))?;
            if !targets.iter().any(|target| target.session == ended) {
                continue;
            }
            let mut waited_for = false;
            for SessionId(other) in targets.iter().map(|target| target.session) {
                waited_for |= cursors.get(&SessionId(other)).is_some_and(|cursor| *cursor < seq)
                    && !settled.exists(params![other, seq.0, Phase::Settled as u8])?;
            }
            if !waited_for {
                connection.execute("DELETE FROM message WHERE seq = ?1", [seq.0])?;
            }
        }
    }
}

fn owner_columns(owner: &SessionOwner) -> (bool, &str) {
    match owner {
        SessionOwner::Uplink(name) => (true, name),
        SessionOwner::Client(name) => (false, name),
    }
}

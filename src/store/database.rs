//! shell: one SQLite connection: opens, migrates, commits batches, reads back. Runs on the store's own thread.
#![allow(clippy::disallowed_methods, reason = "the store's shell makes its directory")]

pub(super) mod again;
mod boot;

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, params};

use super::bounds::{self, Bounds};
use super::change::{
    Change, DropCount, SessionId, SessionOwner, Snapshot, StoredMessage, StoredWill, Trimmed,
};
use super::error::{Fault, StoreError};
use super::gather::Gathered;
use super::migrate::migrate;
use super::read::{self, count_queued, load_flights, load_retained, load_sessions, load_wills};
use super::row;
use super::salvage::{self, Origins};
use super::schema::{APPLICATION_ID, MIGRATIONS};
use super::segments::{self, LastRead};
use super::slice::{Slice, read_slice};
use super::staged::Origin;
use super::thinning::Thinning;
use crate::model::{Seq, Timestamp};
use crate::step::{self, Step};

/// The database's name in the state directory.
pub const FILE_NAME: &str = "fieldpost.db";

/// How many of the tables are there that every version has.
const OUR_TABLES: &str = "SELECT count(*) FROM sqlite_schema \
    WHERE type = 'table' AND name IN ('meta', 'session', 'subscription', 'flight', 'inbox', 'retained')";
const OUR_TABLES_COUNT: u32 = 6;

/// The open database.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    page_size: u64,
    last_bytes_used: u64,
    last_read: LastRead,
    thinning: Thinning,
}

impl Database {
    /// Opens or makes the database in `state_dir` and brings its schema up to date. `vfs` names a file system of SQLite's
    /// other than its own; `state_dir` is a path in it then.
    pub(super) fn open(state_dir: &Path, vfs: Option<&str>) -> Result<Self, StoreError> {
        if vfs.is_none() {
            // What waits in it is nobody else's to read.
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(state_dir)
                .map_err(|source| StoreError::Directory { path: state_dir.to_owned(), source })?;
        }
        let path = state_dir.join(FILE_NAME);
        if vfs.is_none() {
            may_write(&path)?;
        }
        let connection = match vfs {
            Some(vfs) => Connection::open_with_flags_and_vfs(&path, OpenFlags::default(), vfs),
            None => Connection::open(&path),
        };
        let connection = connection.map_err(|error| refused(&path, error))?;
        Self::begin(connection, path, true)
    }

    /// Opens the database in `state_dir` if it is there and of this version, and leaves it as it is.
    pub(super) fn open_existing(state_dir: &Path) -> Result<Self, StoreError> {
        let path = state_dir.join(FILE_NAME);
        may_write(&path)?;
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
            let ours: u32 =
                connection.query_row(OUR_TABLES, [], |row| row.get(0)).map_err(sqlite)?;
            return Err(if ours == OUR_TABLES_COUNT {
                let what = "its header is not that of a queue, its tables are".to_owned();
                StoreError::Damaged { path, what }
            } else {
                StoreError::Foreign { path }
            });
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
        migrate(&mut connection, found).map_err(|fault| match fault {
            Fault::Sqlite(cause) => sqlite(cause),
            fault @ Fault::Row(..) => fault.named(&path),
        })?;
        let page_size =
            connection.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(sqlite)?;
        let last_read = LastRead::default();
        let thinning = Thinning::default();
        Ok(Self { connection, path, page_size, last_bytes_used: 0, last_read, thinning })
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

    /// Whether a salvage has made it and no start has settled what that leaves open.
    pub(super) fn origins(&self) -> Result<Origins, StoreError> {
        let number = meta(&self.connection, Origins::KEY);
        Ok(Origins::from_number(number.map_err(|error| self.named(error.into()))?))
    }

    /// Notes that what a salvage has left open is settled.
    pub(super) fn settle_origins(&self) -> Result<(), StoreError> {
        self.connection
            .execute("DELETE FROM meta WHERE key = ?1", [Origins::KEY])
            .map(|_| ())
            .map_err(|error| self.named(error.into()))
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

    /// Notes durably that packet ids among those reserved may be open at the other side without a trace here.
    pub(super) fn lose_ids(&self) -> Result<(), StoreError> {
        self.connection
            .execute("UPDATE session SET ids_lost = 1 WHERE ids_first IS NOT NULL", [])
            .map(|_| ())
            .map_err(|error| self.named(error.into()))
    }

    /// Whether it holds any message.
    pub(super) fn has_messages(&self) -> Result<bool, StoreError> {
        self.connection
            .query_row("SELECT EXISTS (SELECT 1 FROM segment)", [], |row| row.get(0))
            .map_err(|error| self.named(error.into()))
    }

    /// Makes changes durable, all of them or nothing; `generation` is noted as the last staged file they come from.
    pub(super) fn commit(
        &mut self,
        changes: &[Change],
        generation: Option<u64>,
    ) -> Result<(), StoreError> {
        let commit = |connection: &mut Connection, last_read: &mut LastRead| -> Result<(), Fault> {
            let transaction = connection.transaction()?;
            apply_all(&transaction, last_read, changes)?;
            if let Some(generation) = generation {
                transaction
                    .prepare_cached("INSERT OR REPLACE INTO meta VALUES ('generation', ?1)")?
                    .execute([generation])?;
            }
            step::pass(Step::CommitTorn);
            Ok(transaction.commit()?)
        };
        commit(&mut self.connection, &mut self.last_read).map_err(|fault| {
            // It may have read what was rolled back.
            self.last_read.forget();
            self.named(fault)
        })
    }

    /// The same for changes of which some may be there, and some speak of what was lost: messages that are there or that
    /// everybody has are left out, and flights without a message.
    pub(super) fn commit_again(
        &mut self,
        changes: &[Change],
        generation: u64,
    ) -> Result<(), StoreError> {
        let sift = || -> Result<Vec<Change>, Fault> {
            let mut kept = Vec::with_capacity(changes.len());
            for change in changes {
                if let Change::Append { seq, targets, .. } = change
                    && !again::is_wanted(&self.connection, *seq, targets)?
                {
                    continue;
                }
                kept.push(change.clone());
            }
            Ok(kept)
        };
        let changes = sift().map_err(|fault| self.named(fault))?;
        self.commit(&changes, Some(generation))?;
        again::end_flights_without_message(&self.connection).map_err(|fault| self.named(fault))
    }

    /// The messages for `session` after `after`, oldest first, at most `count_max` rows looked at or `bytes_max` of
    /// payload; and the last place that was looked at, `None` if there is nothing beyond.
    pub(super) fn fetch(
        &mut self,
        session: SessionId,
        after: Seq,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<(Vec<StoredMessage>, Option<Seq>), StoreError> {
        let (connection, last_read) = (&self.connection, &mut self.last_read);
        read::fetch(connection, last_read, session, after, count_max, bytes_max)
            .map_err(|fault| self.named(fault))
    }

    /// Drops messages that are not in `keep` until at most `bytes_target` are used, the oldest or, with `thin`, every
    /// second reading first; and all that were accepted before `older_than`.
    pub(super) fn trim(
        &mut self,
        keep: &BTreeSet<Seq>,
        bytes_target: Option<u64>,
        thin: bool,
        older_than: Option<Timestamp>,
    ) -> Result<Trimmed, StoreError> {
        let Self { connection, last_read, thinning, page_size, .. } = self;
        let mut run = || -> Result<_, Fault> {
            let transaction = connection.transaction()?;
            let bounds =
                Bounds { keep, pages_max: bytes_target.map(|b| b / *page_size), older_than };
            let thinned =
                if thin { bounds.thin(&transaction, last_read, thinning)? } else { Vec::new() };
            let dropped = bounds.trim(&transaction, last_read)?;
            step::pass(Step::TrimTorn);
            transaction.commit()?;
            Ok((dropped, thinned))
        };
        let went = run();
        self.last_read.forget();
        let (dropped, thinned) = went.map_err(|fault| self.named(fault))?;
        self.last_bytes_used = self.bytes_used().unwrap_or(self.last_bytes_used);
        let (bytes_used, bytes_room) = (self.last_bytes_used, self.bytes_room());
        Ok(Trimmed { dropped, thinned, bytes_used, bytes_room })
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

    /// What SQLite finds wrong when it looks at every page and row, at most so many complaints.
    pub(super) fn find_damage(&self, complaints_max: usize) -> Result<Vec<String>, StoreError> {
        let ask = || -> rusqlite::Result<Vec<String>> {
            let sql = format!("PRAGMA integrity_check({complaints_max})");
            self.connection.prepare(&sql)?.query_map([], |row| row.get(0))?.collect()
        };
        let mut found = ask().map_err(|error| self.named(error.into()))?;
        found.retain(|complaint| complaint != "ok");
        Ok(found)
    }

    /// All messages after `after`, oldest first, whoever they are for: at most `count_max`, and no more once they have
    /// `bytes_max` of payload.
    pub(super) fn slice(
        &mut self,
        after: Seq,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<Slice, StoreError> {
        read_slice(&self.connection, &mut self.last_read, after, count_max, bytes_max)
            .map_err(|fault| self.named(fault))
    }

    /// Takes changes into a transaction that is open and will be rolled back.
    pub(super) fn suppose(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        apply_all(&self.connection, &mut self.last_read, changes).map_err(|fault| self.named(fault))
    }

    /// Rolls back what was supposed.
    pub(super) fn suppose_nothing(&mut self) -> Result<(), StoreError> {
        self.last_read.forget();
        self.connection.execute_batch("ROLLBACK").map_err(|error| self.named(error.into()))
    }

    /// Whether SQLite finds every page and row in order.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] says what is not.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match self.find_damage(1)?.pop() {
            Some(what) => Err(StoreError::Damaged { path: self.path.clone(), what }),
            None => Ok(()),
        }
    }

    pub(super) fn named(&self, fault: Fault) -> StoreError {
        fault.named(&self.path)
    }

    fn read_snapshot(&mut self) -> Result<Snapshot, Fault> {
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "INSERT INTO meta VALUES ('starts', 1) ON CONFLICT DO UPDATE SET value = value + 1",
            [],
        )?;
        transaction.commit()?;
        let start = meta(&self.connection, "starts")?;
        let ends = segments::ends(&self.connection)?;
        let last_message = ends.map(|(_, last)| last.0);
        let last_cursor: Option<u64> =
            self.connection.query_row("SELECT max(cursor) FROM session", [], |row| row.get(0))?;
        // A message that was settled out of order has left its place only in `settled`: were it given again, the next
        // message there would be taken for settled.
        let last_flight: Option<u64> =
            self.connection.query_row("SELECT max(seq) FROM flight", [], |row| row.get(0))?;
        let last_settled: Option<u64> =
            self.connection.query_row("SELECT max(last) FROM settled", [], |row| row.get(0))?;
        let last_seq = last_message.max(last_cursor).max(last_flight).max(last_settled);
        let last_seq = last_seq.unwrap_or(0);
        let mut sessions = load_sessions(&self.connection)?;
        for session in &mut sessions {
            session.flights = load_flights(&self.connection, &mut self.last_read, session.id)?;
        }
        if let Some((first, last)) = ends {
            count_queued(&self.connection, &mut self.last_read, &mut sessions, first, last)?;
        }
        let last_session =
            u32::try_from(meta(&self.connection, "last_session")?).unwrap_or(u32::MAX);
        let retained = load_retained(&self.connection)?;
        let wills = load_wills(&self.connection)?;
        let last_seq = Seq(last_seq);
        let boot_first = boot::note(&self.connection, boot::id(), last_seq)?;
        let store = meta(&self.connection, "store")?;
        Ok(Snapshot {
            store,
            start,
            staged_lost: false,
            last_seq,
            boot_first,
            last_session,
            sessions,
            retained,
            wills,
        })
    }
}

/// SQLite's refusal of a file in words of ours.
fn refused(path: &Path, error: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy) => StoreError::InUse { path },
        Some(ErrorCode::NotADatabase) if !salvage::was_the_queue(&path) => {
            StoreError::Foreign { path }
        }
        Some(_) | None => StoreError::Sqlite { path, cause: error },
    }
}

/// SQLite opens a file that it may only read, and then has an I/O error for its words.
fn may_write(path: &Path) -> Result<(), StoreError> {
    match std::fs::OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(StoreError::NotAllowed { path: path.to_owned() })
        }
        _ => Ok(()),
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

pub(super) fn meta(connection: &Connection, key: &str) -> rusqlite::Result<u64> {
    let value = connection
        .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
        .optional()?;
    Ok(value.unwrap_or(0))
}

pub(super) fn used_pages(connection: &Connection) -> rusqlite::Result<u64> {
    let all: u64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    let free: u64 = connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
    Ok(all.saturating_sub(free))
}

/// Applies changes: the messages among them together, the others in order.
fn apply_all(
    connection: &Connection,
    last_read: &mut LastRead,
    changes: &[Change],
) -> Result<(), Fault> {
    let mut gathered = Gathered::default();
    for change in changes {
        match change {
            Change::Append { seq, message, targets } => gathered.append(*seq, message, targets),
            Change::Delete { first, last } => gathered.delete(*first, *last),
            Change::EndSession { session } => {
                // It looks at the messages that are there.
                apply_gathered(connection, last_read, &mut gathered)?;
                bounds::end_session(connection, last_read, *session)?;
            }
            Change::Flight { .. }
            | Change::Recall { .. }
            | Change::Settled { .. }
            | Change::Dropped { .. }
            | Change::Cursor { .. }
            | Change::Inbox { .. }
            | Change::Reserve { .. }
            | Change::IdsClosed { .. }
            | Change::Retain { .. }
            | Change::Session { .. }
            | Change::Away { .. }
            | Change::Will { .. }
            | Change::Subscription { .. } => apply(connection, change)?,
        }
    }
    apply_gathered(connection, last_read, &mut gathered)
}

fn apply_gathered(
    connection: &Connection,
    last_read: &mut LastRead,
    gathered: &mut Gathered<'_>,
) -> Result<(), Fault> {
    let (deletes, appends) = gathered.take();
    for (first, last) in deletes {
        segments::delete(connection, last_read, first, last)?;
    }
    segments::insert(connection, appends)
}

/// Applies a change that is not of messages.
fn apply(connection: &Connection, change: &Change) -> Result<(), Fault> {
    let run = |sql: &str, params: &[&dyn rusqlite::ToSql]| -> Result<(), Fault> {
        connection.prepare_cached(sql)?.execute(params)?;
        Ok(())
    };
    match change {
        Change::Flight { session, seq, packet_id, phase } => run(
            "INSERT OR REPLACE INTO flight VALUES (?1, ?2, ?3, ?4)",
            params![session.0, seq.0, packet_id.get(), *phase as u8],
        ),
        Change::Settled { session, first, last } => {
            for table in
                ["flight WHERE session = ?1 AND seq", "settled WHERE session = ?1 AND first"]
            {
                run(
                    &format!("DELETE FROM {table} BETWEEN ?2 AND ?3"),
                    params![session.0, first.0, last.0],
                )?;
            }
            run("INSERT INTO settled VALUES (?1, ?2, ?3)", params![session.0, first.0, last.0])
        }
        Change::Recall { session, seq } => {
            run("DELETE FROM flight WHERE session = ?1 AND seq = ?2", params![session.0, seq.0])
        }
        Change::Cursor { session, cursor } => {
            run("UPDATE session SET cursor = ?2 WHERE id = ?1", params![session.0, cursor.0])?;
            run(
                "DELETE FROM flight WHERE session = ?1 AND seq <= ?2",
                params![session.0, cursor.0],
            )?;
            run(
                "DELETE FROM settled WHERE session = ?1 AND first <= ?2",
                params![session.0, cursor.0],
            )
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
        Change::IdsClosed { session } => {
            run("UPDATE session SET ids_lost = 0 WHERE id = ?1", params![session.0])
        }
        Change::Retain { topic, message: None } => {
            run("DELETE FROM retained WHERE topic = ?1", params![topic.as_str()])
        }
        Change::Retain { topic, message: Some(message) } => run(
            "INSERT OR REPLACE INTO retained VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                topic.as_str(),
                message.accepted.unix_ms(),
                message.expires.map(Timestamp::unix_ms),
                row::flags(message.qos, message.retain) | row::body_flags(message.body),
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
        Change::Dropped { session, count } => {
            let DropCount { reason, count, first, last } = *count;
            run(
                "DELETE FROM dropped WHERE session = ?1 AND reason = ?2",
                params![session.0, reason as u8],
            )?;
            if count == 0 {
                return Ok(());
            }
            run(
                "INSERT INTO dropped VALUES (?1, ?2, ?3, ?4, ?5)",
                params![session.0, reason as u8, count, first.unix_ms(), last.unix_ms()],
            )
        }
        Change::Away { session, since } => run(
            "UPDATE session SET away_since = ?2 WHERE id = ?1",
            params![session.0, since.map(Timestamp::unix_ms)],
        ),
        Change::Will { session, will: None } => {
            run("DELETE FROM will WHERE session = ?1", params![session.0])
        }
        Change::Will { session, will: Some(StoredWill { message, delay, lifetime }) } => run(
            "INSERT OR REPLACE INTO will VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                session.0,
                delay,
                lifetime,
                row::flags(message.qos, message.retain),
                message.topic.as_str(),
                message.properties.as_deref().map(row::write_properties),
                &message.payload[..],
            ],
        ),
        Change::Append { .. } | Change::Delete { .. } | Change::EndSession { .. } => {
            debug_assert!(false, "messages are gathered");
            Ok(())
        }
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

fn owner_columns(owner: &SessionOwner) -> (bool, &str) {
    match owner {
        SessionOwner::Uplink(name) => (true, name),
        SessionOwner::Client(name) => (false, name),
    }
}

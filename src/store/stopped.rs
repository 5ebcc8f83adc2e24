//! shell: a look at a store that no gateway runs: both layers as the next start will find them, and nothing changed.
//!
//! What is staged is put into a transaction that is never committed, so it is read by the same queries as the rest. The
//! lock is held meanwhile: no gateway can begin in the middle.
#![allow(clippy::disallowed_methods, reason = "this shell looks at files")]

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;

use super::change::{Change, SessionId, StoredSession};
use super::database::Database;
use super::error::{Fault, StoreError};
use super::read::{load_flight_rows, load_sessions};
use super::selection::{Purged, Selection, Waiting};
use super::slice::{DamagedSegment, Slice};
use super::staged::{FILE_NAME, Origin, Staged, Standing};
use super::verify::{self, Damage, Found};
use crate::model::{Seq, Timestamp};

/// An opened store that nobody else has open.
#[derive(Debug)]
pub struct StoppedStore {
    database: Database,
    runtime_dir: Option<PathBuf>,
    origin: Origin,
    staged: Vec<Change>,
    staged_lost: bool,
}

impl StoppedStore {
    /// Opens the store in `state_dir` with what lies staged in `runtime_dir`. Nothing is changed.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if there is none, [`StoreError::InUse`] if somebody has it open, and what else is wrong
    /// with the file.
    pub fn open(state_dir: &Path, runtime_dir: Option<&Path>) -> Result<Self, StoreError> {
        let log = state_dir.join(format!("{}-wal", super::FILE_NAME));
        let has_log = std::fs::metadata(log).is_ok_and(|data| data.len() > 0);
        let mut database = Database::open_existing(state_dir)?;
        let begin = || -> Result<(), Fault> {
            let connection = &database.connection;
            // A log that is there already is not written back by somebody who only looks.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, has_log)?;
            // The changes of the look stay in memory.
            connection.pragma_update(None, "cache_spill", false)?;
            Ok(connection.execute_batch("BEGIN IMMEDIATE")?)
        };
        begin().map_err(|fault| database.named(fault))?;
        let origin = database.origin(0)?;
        let mut staged = None;
        if let Some(dir) = runtime_dir {
            staged = staged_changes(dir, origin)
                .map_err(|source| StoreError::Staged { path: dir.join(FILE_NAME), source })?;
        }
        let staged_lost = staged.is_none() && database.was_staging()?;
        let staged = staged.unwrap_or_default();
        database.suppose(&staged)?;
        let runtime_dir = runtime_dir.map(Path::to_owned);
        Ok(Self { database, runtime_dir, origin, staged, staged_lost })
    }

    /// The durable sessions; their flights without messages, and nothing counted.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    pub fn sessions(&self) -> Result<Vec<StoredSession>, StoreError> {
        let read = |connection| -> Result<Vec<StoredSession>, Fault> {
            let mut sessions = load_sessions(connection)?;
            for session in &mut sessions {
                session.flights = load_flight_rows(connection, session.id)?;
            }
            Ok(sessions)
        };
        read(&self.database.connection).map_err(|fault| self.database.named(fault))
    }

    /// Whether what was staged last is not there: a power cut, or another runtime directory.
    #[must_use]
    pub fn staged_lost(&self) -> bool {
        self.staged_lost
    }

    /// Bytes of the database in use, with what is staged.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn bytes_used(&self) -> Result<u64, StoreError> {
        self.database.bytes_used()
    }

    /// All messages after `after`, oldest first: at most `count_max`, and no more once they have `bytes_max` of
    /// payload.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read there.
    pub fn slice(
        &mut self,
        after: Seq,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<Slice, StoreError> {
        self.database.slice(after, count_max, bytes_max)
    }

    /// What is wrong with the pages, the small tables and the staged file; and how many bytes of the last staged batch
    /// a kill tore off. Messages are looked at with [`Self::slice`].
    ///
    /// # Errors
    /// [`StoreError`] if a table cannot be read at all.
    pub fn verify(&self) -> Result<(Vec<Damage>, usize), StoreError> {
        let mut damages = verify::pages(&self.database);
        damages.extend(self.damaged_rows()?.into_iter().map(|found| found.damage));
        let mut torn = 0;
        if let Some(runtime_dir) = &self.runtime_dir {
            let (staged, bytes) = verify::staged(runtime_dir, self.origin);
            damages.extend(staged);
            torn = bytes;
        }
        Ok((damages, torn))
    }

    fn damaged_rows(&self) -> Result<Vec<Found>, StoreError> {
        verify::tables(&self.database.connection).map_err(|fault| self.database.named(fault))
    }

    /// Commits what is staged: from here on changes stay.
    ///
    /// # Errors
    /// [`StoreError`] if the disk does not take them.
    pub fn begin_changes(&mut self) -> Result<(), StoreError> {
        let ready = |database: &Database| -> Result<(), Fault> {
            let connection = &database.connection;
            connection.pragma_update(None, "cache_spill", true)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
            Ok(())
        };
        self.database.suppose_nothing()?;
        ready(&self.database).map_err(|fault| self.database.named(fault))?;
        if !self.staged.is_empty() {
            // The staged file is of the generation before then, and known to be committed.
            self.origin.generation += 1;
            let staged = std::mem::take(&mut self.staged);
            self.database.commit(&staged, Some(self.origin.generation))?;
        }
        Ok(())
    }

    /// Removes a slice of what `selection` means, durably, after [`Self::begin_changes`]; or tells what that would
    /// remove. Slices come in order, from the first on. An uplink will tell of them as gone at `now`.
    ///
    /// # Errors
    /// [`StoreError`] if the disk does not take it.
    pub fn purge(
        &mut self,
        waiting: &mut Waiting,
        selection: &Selection,
        slice: &Slice,
        dry_run: bool,
        now: Timestamp,
    ) -> Result<Purged, StoreError> {
        let (purged, changes) = waiting.purge(selection, slice, now);
        if !dry_run && !changes.is_empty() {
            self.database.commit(&changes, None)?;
        }
        Ok(purged)
    }

    /// Ends a session for good, after [`Self::begin_changes`]: with it goes what only it waited for.
    ///
    /// # Errors
    /// [`StoreError`] if the disk does not take it.
    pub fn end_session(&mut self, session: SessionId) -> Result<(), StoreError> {
        self.database.commit(&[Change::EndSession { session }], None)
    }

    /// Removes the segments of `slice` that cannot be understood, after [`Self::begin_changes`].
    ///
    /// # Errors
    /// [`StoreError`] if the disk does not take it.
    pub fn remove_damaged_messages(&mut self, slice: &Slice) -> Result<(), StoreError> {
        let changes: Vec<Change> = slice.damaged.iter().map(DamagedSegment::delete).collect();
        if changes.is_empty() { Ok(()) } else { self.database.commit(&changes, None) }
    }

    /// Removes the rows of the small tables that cannot be understood, or counts them.
    ///
    /// # Errors
    /// [`StoreError`] if the disk does not take it.
    pub fn remove_damaged_rows(&mut self, dry_run: bool) -> Result<u64, StoreError> {
        let found = self.damaged_rows()?;
        for row in found.iter().filter(|_| !dry_run) {
            verify::remove(&self.database.connection, row)
                .map_err(|fault| self.database.named(fault))?;
        }
        Ok(found.len() as u64)
    }
}

/// What is staged beyond what the database has; `None` if there is no file of it.
fn staged_changes(runtime_dir: &Path, origin: Origin) -> io::Result<Option<Vec<Change>>> {
    let Some(found) = Staged::find(runtime_dir)? else { return Ok(None) };
    match found.standing(origin) {
        Standing::Follows => found.changes().map(Some),
        Standing::Committed => Ok(Some(Vec::new())),
        Standing::Foreign => Ok(None),
        Standing::Ahead => Err(io::Error::other(
            "it follows commits that the database has lost; start the gateway, which takes what can be taken",
        )),
    }
}

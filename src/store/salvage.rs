//! shell: a damaged database: what can be read of it goes row by row into another one, the damaged file is moved aside.
//!
//! Files in the state directory, in the order in which they come and go, so that an end at any instant leaves a queue:
//! `fieldpost.db.salvaging` is being filled; `fieldpost.db.salvaged` is complete and on the disk; then the write-ahead log
//! and the damaged file become `fieldpost.db.damaged-1-wal` and `fieldpost.db.damaged-1` (`-2`, …), and `salvaged` becomes
//! the database. Nothing but an unfinished copy is ever deleted.
#![allow(clippy::disallowed_methods, reason = "this shell owns files and asks for the time")]

mod copy;
mod losses;
mod tables;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

use self::copy::{Copied, copy, open_damaged};
use super::damage::{PAGE_MIN, was_ours};
use super::database::FILE_NAME;
use super::error::{Fault, StoreError};
use super::migrate::migrate;
use super::schema::APPLICATION_ID;

/// Says that the database is damaged, and how that was found; an operator may make it to have the queue salvaged.
const MARK: &str = "fieldpost.db.damage";
const SALVAGING: &str = "fieldpost.db.salvaging";
const SALVAGED: &str = "fieldpost.db.salvaged";
const ASIDE: &str = "fieldpost.db.damaged-";
/// Where a new store begins to count its starts if the clock does not know the time: no other one has come so far.
const STARTS_UNKNOWN: u64 = 1 << 40;

/// How far a database is that of a salvage, as its row `salvaged` in `meta` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origins {
    /// It is none, or has been started since.
    Settled,
    /// Which store it is and which commit was its last is known.
    Known,
    /// That was lost.
    Lost,
}

impl Origins {
    pub(super) const KEY: &str = "salvaged";

    pub(super) fn from_number(number: u64) -> Self {
        match number {
            0 => Self::Settled,
            1 => Self::Known,
            _ => Self::Lost,
        }
    }

    fn number(self) -> u64 {
        match self {
            Self::Settled => 0,
            Self::Known => 1,
            Self::Lost => 2,
        }
    }
}

/// Notes for the next start that the database is damaged.
pub(super) fn mark(state_dir: &Path, cause: &StoreError) {
    if let Err(error) = fs::write(state_dir.join(MARK), format!("{cause}\n")) {
        tracing::error!(%error, "cannot note in the state directory that the queue is damaged");
    }
}

/// What is known of the damage before the database is opened; `None` if nothing speaks of it. Brings a salvage to its end
/// that was cut off at the last step.
pub(super) fn find(state_dir: &Path) -> Result<Option<String>, StoreError> {
    let path = state_dir.join(FILE_NAME);
    let beside = |suffix: &str| state_dir.join(format!("{FILE_NAME}{suffix}"));
    if state_dir.join(SALVAGED).exists() {
        let aside = put_in_place(state_dir)?;
        tracing::warn!(aside = %shown(aside.as_deref()), "a salvage of the queue that was cut off is complete");
    }
    if let Ok(text) = fs::read_to_string(state_dir.join(MARK)) {
        let text = text.trim();
        let text = if text.is_empty() { "somebody says so" } else { text };
        return Ok(Some(text.to_owned()));
    }
    let mut header = Vec::new();
    match File::open(&path) {
        Ok(file) => file.take(PAGE_MIN as u64).read_to_end(&mut header),
        // Whoever opens it will say why.
        Err(_) => return Ok(None),
    }
    .map_err(|source| StoreError::Aside { path: path.clone(), source })?;
    let has_log = fs::metadata(beside("-wal")).is_ok_and(|log| log.len() > 0);
    // SQLite takes an empty file for a new database, and deletes the log beside it.
    Ok(match header.is_empty() {
        true => has_log.then(|| "the file is empty and its log is not".to_owned()),
        false if header.iter().all(|byte| *byte == 0) => Some("it begins with zeros".to_owned()),
        false if header.len() < PAGE_MIN && was_ours(&header, APPLICATION_ID) => {
            Some("it is cut off within its first page".to_owned())
        }
        false => None,
    })
}

/// Whether a file that SQLite takes for none of its own was the queue all the same.
pub(super) fn was_the_queue(path: &Path) -> bool {
    let mut header = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(PAGE_MIN as u64).read_to_end(&mut header));
    read.is_ok() && was_ours(&header, APPLICATION_ID)
}

/// Puts another database in the place of the damaged one, with all that can be read of it.
///
/// # Errors
/// There is no room for it, or another process has the damaged one; everything is as before then.
pub(super) fn salvage(state_dir: &Path, cause: &str) -> Result<(), StoreError> {
    let (path, filling) = (state_dir.join(FILE_NAME), state_dir.join(SALVAGING));
    tracing::error!(file = %path.display(), cause, "queue is damaged; what can be read of it is being salvaged");
    let result = fill(&path, &filling);
    let copied = match result {
        Ok(copied) => copied,
        Err(error) => {
            let _ = fs::remove_file(&filling);
            return Err(error);
        }
    };
    rename(&filling, &state_dir.join(SALVAGED))?;
    sync_directory(state_dir)?;
    let aside = put_in_place(state_dir)?;
    tell(&copied, aside.as_deref());
    Ok(())
}

fn tell(copied: &Copied, aside: Option<&Path>) {
    let lost: u64 = copied.lost.iter().map(|lost| lost.count).sum();
    let tables: Vec<&str> = copied.tables.iter().copied().collect();
    tracing::error!(
        aside = %shown(aside),
        messages = copied.messages,
        lost_at_most = lost,
        for_nobody = copied.for_nobody,
        sessions = copied.sessions,
        sessions_begun_again = copied.begun_again,
        unreadable = tables.join(" "),
        "queue salvaged: kept what could be read; the damaged file lies beside it and is yours to delete"
    );
    if copied.is_end_unknown {
        tracing::error!(
            "how many messages stood behind the last one that can be read is not known"
        );
    }
    if !copied.has_starts {
        tracing::warn!(
            "how often the gateway has started is lost; ids of readings go on from a far higher number"
        );
    }
}

fn shown(aside: Option<&Path>) -> String {
    aside.map_or_else(|| "nothing".to_owned(), |path| path.display().to_string())
}

/// Fills a database at `filling` with what can be read at `path`, and has it on the disk.
fn fill(path: &Path, filling: &Path) -> Result<Copied, StoreError> {
    let io = |source| StoreError::Aside { path: filling.to_owned(), source };
    match fs::remove_file(filling) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
        Ok(()) | Err(_) => {}
    }
    let is_empty = !fs::metadata(path).is_ok_and(|file| file.len() > 0);
    let damaged = if is_empty { Ok(None) } else { open_damaged(path) };
    let damaged = damaged.map_err(|_| StoreError::InUse { path: path.to_owned() })?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(since.as_millis()).unwrap_or_default();
    let run = || -> Result<Copied, Fault> {
        let mut to = Connection::open(filling)?;
        // An end in between leaves a file that nobody takes for a database.
        to.pragma_update(None, "journal_mode", "OFF")?;
        to.pragma_update(None, "synchronous", "OFF")?;
        to.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        migrate(&mut to, 0)?;
        to.execute_batch("BEGIN")?;
        let copied = match &damaged {
            Some(from) => copy(from, &to, now_ms)?,
            None => Copied::default(),
        };
        if !copied.has_starts {
            // Ids of readings carry this number and are given once for ever.
            let seconds = crate::model::Timestamp::from_unix_ms(now_ms);
            let starts = if seconds.is_set() {
                now_ms / 1000
            } else {
                STARTS_UNKNOWN + fastrand::u64(..STARTS_UNKNOWN)
            };
            to.execute("INSERT OR REPLACE INTO meta VALUES ('starts', ?1)", [starts])?;
        }
        let origins = if copied.has_origin { Origins::Known } else { Origins::Lost };
        to.execute(
            "INSERT OR REPLACE INTO meta VALUES (?1, ?2)",
            rusqlite::params![Origins::KEY, origins.number()],
        )?;
        to.execute_batch("COMMIT")?;
        to.close().map_err(|(_, error)| error)?;
        Ok(copied)
    };
    let copied = run().map_err(|fault| fault.named(filling))?;
    File::open(filling).and_then(|file| file.sync_all()).map_err(io)?;
    Ok(copied)
}

/// Moves the damaged files aside and the complete copy into their place; gives where the damaged file is.
fn put_in_place(state_dir: &Path) -> Result<Option<PathBuf>, StoreError> {
    let path = state_dir.join(FILE_NAME);
    let beside = |path: &Path, suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let has = |suffix| beside(&path, suffix).exists();
    let free = |number: &u32| {
        let aside = state_dir.join(format!("{ASIDE}{number}"));
        !aside.exists()
            && ["-wal", "-journal"].iter().all(|log| !has(log) || !beside(&aside, log).exists())
    };
    let number = (1..=u32::MAX).find(free).unwrap_or(u32::MAX);
    let aside = state_dir.join(format!("{ASIDE}{number}"));
    // The log first: it must not be found beside a database that it does not belong to.
    for log in ["-wal", "-journal"] {
        if has(log) {
            rename(&beside(&path, log), &beside(&aside, log))?;
        }
    }
    let is_there = path.exists();
    if is_there {
        rename(&path, &aside)?;
    }
    sync_directory(state_dir)?;
    match fs::remove_file(state_dir.join(MARK)) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(StoreError::Aside { path: state_dir.join(MARK), source });
        }
        Ok(()) | Err(_) => {}
    }
    rename(&state_dir.join(SALVAGED), &path)?;
    sync_directory(state_dir)?;
    Ok(is_there.then_some(aside))
}

fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|source| StoreError::Aside { path: from.to_owned(), source })
}

fn sync_directory(state_dir: &Path) -> Result<(), StoreError> {
    File::open(state_dir)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| StoreError::Aside { path: state_dir.to_owned(), source })
}

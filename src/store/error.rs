//! core: why the store cannot do its work, in words that name the file and the remedy.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::row::RowError;

/// Why the store cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The state directory cannot be made.
    #[error("cannot make the state directory {}: {source}; {}", path.display(), directory_remedy(source))]
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
    /// A file beside the damaged database cannot be written, or the database not moved aside.
    #[error(
        "{}: {source}; the damaged queue is left as it is: is there room on that disk, and may this user write there?",
        path.display()
    )]
    Aside {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database does not hold what was committed.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What was found.
        what: String,
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
    /// Another gateway, of another state directory, stages there.
    #[error(
        "the runtime directory {} is in use by another gateway; give each a `runtime_dir` of its own",
        path.display()
    )]
    RuntimeInUse {
        /// Which directory.
        path: PathBuf,
    },
    /// This user may not look at it.
    #[error(
        "this user may not read and write {}; do it as root or as the user of the service",
        path.display()
    )]
    NotAllowed {
        /// Which file or directory.
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
        "{}: message {seq}: {source}; `fieldpost queue verify` names all that is damaged, `purge --damaged` removes it",
        path.display()
    )]
    Row {
        /// Which file.
        path: PathBuf,
        /// Which message, or the first of a segment.
        seq: u64,
        /// Why.
        source: RowError,
    },
}

/// What to do when a directory cannot be made.
#[allow(clippy::wildcard_enum_match_arm, reason = "the system has many words")]
fn directory_remedy(source: &std::io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
            "a file is in its place: name a directory"
        }
        ErrorKind::PermissionDenied => {
            "make it as root, and give it to the user who runs this (`install -d -m 700 -o USER DIRECTORY`)"
        }
        ErrorKind::ReadOnlyFilesystem => "that file system is mounted read-only",
        _ => "look at its path",
    }
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
            "; the file is damaged: the next start salvages what can be read"
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

impl Fault {
    pub(super) fn named(self, path: &Path) -> StoreError {
        let path = path.to_owned();
        match self {
            Self::Sqlite(cause) => StoreError::Sqlite { path, cause },
            Self::Row(seq, source) => StoreError::Row { path, seq, source },
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

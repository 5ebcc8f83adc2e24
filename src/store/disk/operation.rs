//! core: what is done to the files of a database, one at a time.

use std::fmt;
use std::sync::Arc;

/// What a file is to SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The database itself.
    Database,
    /// Its rollback journal: used once, when a new database becomes one with a write-ahead log.
    Journal,
    /// Its write-ahead log.
    Wal,
}

impl Role {
    /// By the ending that SQLite gives the name.
    pub(super) fn of(name: &str) -> Self {
        match name {
            _ if name.ends_with("-wal") => Self::Wal,
            _ if name.ends_with("-journal") => Self::Journal,
            _ => Self::Database,
        }
    }
}

/// A file whatever its name: one that is deleted and made again is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    pub(super) number: u32,
    pub(super) role: Role,
}

/// One change to a file or to the directory, or a promise about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// A name for an empty file.
    Create {
        /// The name.
        name: Arc<str>,
        /// The file.
        file: FileId,
    },
    /// Bytes are put into a file.
    Write {
        /// Which.
        file: FileId,
        /// From which byte on.
        offset: usize,
        /// The bytes.
        bytes: Arc<[u8]>,
    },
    /// A file ends earlier.
    Truncate {
        /// Which.
        file: FileId,
        /// Where.
        len: usize,
    },
    /// What was done to a file so far is to survive a power cut.
    Sync {
        /// Which.
        file: FileId,
        /// Whether the names in the directory are, too.
        directory: bool,
    },
    /// A sync that failed: some of the bytes are there, and nobody will write the others.
    SyncFailed {
        /// Which file.
        file: FileId,
    },
    /// A name goes.
    Delete {
        /// The name.
        name: Arc<str>,
        /// What stood under it.
        file: FileId,
        /// Whether that is to survive a power cut.
        directory: bool,
    },
}

impl Operation {
    /// What sort of operation it is.
    #[must_use]
    pub fn class(&self) -> Class {
        let (act, file) = match self {
            Self::Create { file, .. } => (Act::Create, file),
            Self::Write { file, offset: 0, .. } => (Act::Begin, file),
            Self::Write { file, .. } => (Act::Write, file),
            Self::Truncate { file, .. } => (Act::Truncate, file),
            Self::Sync { file, .. } => (Act::Sync, file),
            Self::SyncFailed { file } => (Act::SyncFailed, file),
            Self::Delete { file, .. } => (Act::Delete, file),
        };
        Class { act, role: file.role }
    }
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Act {
    /// A file is made.
    Create,
    /// The beginning of a file is written: of a log, that is its restart after a checkpoint.
    Begin,
    /// Anything behind the beginning is written.
    Write,
    /// A file is cut off.
    Truncate,
    /// A file is synced.
    Sync,
    /// A sync failed.
    SyncFailed,
    /// A file is deleted.
    Delete,
}

/// What is done to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class {
    /// What is done.
    pub act: Act,
    /// To what.
    pub role: Role,
}

impl fmt::Display for Class {
    /// `write wal`, `sync database`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let act = match self.act {
            Act::Create => "create",
            Act::Begin => "begin",
            Act::Write => "write",
            Act::Truncate => "truncate",
            Act::Sync => "sync",
            Act::SyncFailed => "failed sync",
            Act::Delete => "delete",
        };
        let role = match self.role {
            Role::Database => "database",
            Role::Journal => "journal",
            Role::Wal => "wal",
        };
        write!(f, "{act} {role}")
    }
}

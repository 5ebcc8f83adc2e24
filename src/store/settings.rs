//! core: what the store is run with, checked and with every default applied.

use std::path::PathBuf;
use std::time::Duration;

/// The durable queue: where it lies and how much it may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSettings {
    /// The directory that survives a power cut; the database is `fieldpost.db` in it.
    pub state_dir: PathBuf,
    /// The most the database may hold, in bytes on disk.
    pub size_bytes_max: u64,
    /// The oldest message worth keeping.
    pub age_max: Duration,
    /// How long a message waits in the runtime directory for its acknowledgement before it is committed to the disk; zero
    /// commits every batch at once.
    pub commit_every: Duration,
    /// The directory that outlives the process but not a power cut; `None` commits every batch at once.
    pub runtime_dir: Option<PathBuf>,
    /// What gives way when the queue is full.
    pub when_full: WhenFull,
}

impl QueueSettings {
    /// How changes are staged; `None` if there is no place for them or the operator wants none.
    #[must_use]
    pub fn staging(&self) -> Option<Staging> {
        let runtime_dir = self.runtime_dir.clone()?;
        Some(Staging { runtime_dir, commit_every: self.commit_every })
    }
}

/// Where the staged layer lies and how long changes stay in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staging {
    /// A directory that outlives the process: systemd's `RuntimeDirectory`, in memory.
    pub runtime_dir: PathBuf,
    /// How long what nobody has acknowledged waits for its commit.
    pub commit_every: Duration,
}

/// What gives way when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WhenFull {
    /// The oldest message goes.
    #[default]
    DropOldest,
    /// What is new is not taken.
    DropNewest,
}

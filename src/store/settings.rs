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
    /// What gives way when the queue is full.
    pub when_full: WhenFull,
}

/// What gives way when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WhenFull {
    /// The oldest message goes.
    #[default]
    DropOldest,
}

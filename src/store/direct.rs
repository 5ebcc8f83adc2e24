//! shell: the store worked by whoever holds it, in the calling thread and at the time it is told; on a recorded disk.

use std::time::Instant;

use super::change::Snapshot;
use super::database::Database;
use super::disk::{Disk, VFS_NAME};
use super::error::StoreError;
use super::layers::{Layers, Need};
use super::settings::Staging;
use super::task::{StoreCommand, StoreEvent};

/// What the store's thread does, without the thread: the same two layers over the same database. For proofs, which must
/// know what lies on the disk between any two steps.
#[derive(Debug)]
pub struct DirectStore {
    layers: Layers,
}

impl DirectStore {
    /// Opens the database on `disk` and commits what an earlier process left staged.
    ///
    /// # Errors
    /// [`StoreError`] says which file and what to do.
    pub fn open(disk: &Disk, staging: Option<Staging>) -> Result<(Self, Snapshot), StoreError> {
        let database = Database::open(&disk.state_dir(), Some(VFS_NAME))?;
        let (layers, snapshot) = Layers::open(database, staging)?;
        Ok((Self { layers }, snapshot))
    }

    /// Does what is asked.
    ///
    /// # Errors
    /// A commit failed; [`Self::handle_timeout`] tries it again. Reads and trims that fail answer
    /// [`StoreEvent::ReadFailed`] or [`StoreEvent::TrimFailed`].
    pub fn execute(
        &mut self,
        command: StoreCommand,
        now: Instant,
    ) -> Result<StoreEvent, StoreError> {
        Ok(match command {
            StoreCommand::Commit { batch, changes, sync } => {
                if self.layers.take(changes, sync, now) == Need::Flush {
                    self.layers.flush()?;
                }
                StoreEvent::Committed(self.layers.committed(batch))
            }
            StoreCommand::Fetch { session, after, count_max, bytes_max } => {
                let fetched = self.layers.fetch(session, after, count_max, bytes_max);
                StoreEvent::of_fetch(session, fetched)
            }
            StoreCommand::Look { question, after, count_max, bytes_max } => {
                let slice = self.layers.slice(after, count_max, bytes_max);
                StoreEvent::Looked { question, slice }
            }
            StoreCommand::Verify { question } => {
                StoreEvent::Verified { question, damages: self.layers.verify() }
            }
            StoreCommand::Trim { keep, bytes_target, thin, older_than } => {
                StoreEvent::of_trim(self.layers.trim(&keep, bytes_target, thin, older_than))
            }
        })
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.layers.poll_timeout()
    }

    /// What was staged is due: it goes to the database.
    ///
    /// # Errors
    /// It cannot be written; it may be tried again.
    pub fn handle_timeout(&mut self) -> Result<(), StoreError> {
        self.layers.flush()
    }

    /// Looks at every page and row; `None` if nothing is wrong with them.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn find_damage(&self) -> Result<Option<String>, StoreError> {
        self.layers.find_damage()
    }

    /// Commits what is staged, says so in the database, and closes it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.layers.close()
    }
}

//! shell: runtime directories in memory, one for each gateway between two power cuts.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use crate::demo::scratch::Scratch;
use crate::store::Staging;

/// Where runtime directories are made. They go with this value.
#[derive(Debug)]
pub(super) struct Runtime {
    _scratch: Scratch,
    directory: PathBuf,
    count: u64,
    commit_every: Duration,
}

impl Runtime {
    pub(super) fn new(commit_every: Duration) -> anyhow::Result<Self> {
        // Memory, as systemd's RuntimeDirectory is.
        let scratch = Scratch::new_in("/dev/shm".as_ref()).context("no /dev/shm to stage in")?;
        let directory = scratch.directory("run").context("cannot make a runtime directory")?;
        Ok(Self { _scratch: scratch, directory, count: 0, commit_every })
    }

    /// A place that nothing was staged in.
    pub(super) fn place(&mut self) -> Place {
        self.count += 1;
        let runtime_dir = self.directory.join(self.count.to_string());
        Place(Staging { runtime_dir, commit_every: self.commit_every })
    }
}

/// One runtime directory. What is staged there goes with this value.
#[derive(Debug)]
pub(super) struct Place(Staging);

impl Place {
    pub(super) fn staging(&self) -> Staging {
        self.0.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What cannot be removed goes with the whole.
        let _ = std::fs::remove_dir_all(&self.0.runtime_dir);
    }
}

//! core: what a disk is told to do wrong, from when on, until it is healed.

/// Something that goes wrong from a point on. Counts begin when the fault is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No space is left (ENOSPC) after so many more writes; of the first that fails, half is written.
    NoSpaceAfter {
        /// Writes that still succeed.
        writes: u64,
    },
    /// No space is left (ENOSPC) for whatever would make the files larger than this together.
    NoSpaceAbove {
        /// Bytes of all files.
        bytes: usize,
    },
    /// Writes fail (EIO).
    Write {
        /// Writes that still succeed.
        after: u64,
    },
    /// Reads fail (EIO).
    Read {
        /// Reads that still succeed.
        after: u64,
    },
    /// `fsync` fails (EIO), and what was written since the last one is never written, as on Linux.
    Sync {
        /// Syncs that still succeed.
        after: u64,
        /// Whether the system also reads it from the disk again, and so shows what was there before.
        forgets: bool,
    },
}

/// What the system answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// ENOSPC.
    NoSpace,
    /// EIO.
    Io,
    /// ENOENT.
    Missing,
    /// EEXIST.
    Exists,
}

/// The faults that were set, and how often they have struck.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    set: Vec<(Fault, u64)>,
    struck: u64,
}

impl Faults {
    pub(super) fn set(&mut self, fault: Fault) {
        self.set.push((fault, 0));
    }

    pub(super) fn heal(&mut self) {
        self.set.clear();
    }

    pub(super) fn struck(&self) -> u64 {
        self.struck
    }

    /// Asked before a write that leaves all files together at `bytes`.
    pub(super) fn handle_write(&mut self, bytes: usize) -> Result<(), Failure> {
        self.find(Asked::Write { bytes }).map_err(|(failure, _)| failure)
    }

    pub(super) fn handle_read(&mut self) -> Result<(), Failure> {
        self.find(Asked::Read).map_err(|(failure, _)| failure)
    }

    /// Fails with whether what was written is forgotten as well.
    pub(super) fn handle_sync(&mut self) -> Result<(), bool> {
        self.find(Asked::Sync).map_err(|(_, forgets)| forgets)
    }

    fn find(&mut self, asked: Asked) -> Result<(), (Failure, bool)> {
        let strikes = |(fault, seen): &mut (Fault, u64)| match (asked, *fault) {
            (Asked::Write { .. }, Fault::NoSpaceAfter { writes }) => {
                passed(seen, writes).then_some((Failure::NoSpace, false))
            }
            (Asked::Write { bytes }, Fault::NoSpaceAbove { bytes: max }) => {
                (bytes > max).then_some((Failure::NoSpace, false))
            }
            (Asked::Write { .. }, Fault::Write { after })
            | (Asked::Read, Fault::Read { after }) => {
                passed(seen, after).then_some((Failure::Io, false))
            }
            (Asked::Sync, Fault::Sync { after, forgets }) => {
                passed(seen, after).then_some((Failure::Io, forgets))
            }
            (_, _) => None,
        };
        match self.set.iter_mut().find_map(strikes) {
            Some(failure) => {
                self.struck += 1;
                Err(failure)
            }
            None => Ok(()),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Asked {
    Write { bytes: usize },
    Read,
    Sync,
}

/// Counts one more, and tells whether it is beyond `after`.
fn passed(seen: &mut u64, after: u64) -> bool {
    *seen += 1;
    *seen > after
}

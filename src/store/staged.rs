//! shell: the staged layer: a file in the runtime directory (memory that outlives the process, not a power cut) that
//! holds what the database does not have yet.
#![allow(clippy::disallowed_methods, reason = "this shell owns a file")]

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::change::Change;
use super::frame::{self, Checked};
use crate::step::{self, Step};

/// The file's name in the runtime directory.
pub(super) const FILE_NAME: &str = "staged";
/// The name of one that could not be taken.
const ASIDE: &str = "staged.damaged";
/// Begins every file: the kind, then which store and which generation of it, little endian.
const MAGIC: &[u8; 8] = b"FPstage2";
/// What stood there before batches were summed by words.
const MAGIC_BEFORE: &[u8; 8] = b"FPstage1";
const HEAD_LEN: usize = 24;
/// A file larger than this, and twice as large as what was left of it last time, is written anew.
const REWRITE_BYTES: u64 = 4 * 1024 * 1024;

/// Which store a file belongs to, and which of its commits it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    /// The store's own random number.
    pub(super) store: u64,
    /// How often staged changes have been committed.
    pub(super) generation: u64,
}

/// What an earlier process left.
#[derive(Debug)]
pub(super) struct Found {
    origin: Origin,
    body: Vec<u8>,
}

/// How a file that was found stands to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It holds what follows the database's last commit.
    Follows,
    /// A kill came between the commit and the next file: all of it is committed.
    Committed,
    /// It follows a commit that the database does not have.
    Ahead,
    /// It is of another store, or of a time before the last start.
    Foreign,
}

impl Found {
    /// How it stands to a database of this origin.
    pub(super) fn standing(&self, origin: Origin) -> Standing {
        let Origin { store, generation } = self.origin;
        if store != origin.store {
            Standing::Foreign
        } else if generation == origin.generation {
            Standing::Follows
        } else if generation > origin.generation {
            Standing::Ahead
        } else if generation + 1 == origin.generation {
            Standing::Committed
        } else {
            Standing::Foreign
        }
    }

    /// Which commit it follows.
    pub(super) fn generation(&self) -> u64 {
        self.origin.generation
    }

    /// What it holds, in order.
    pub(super) fn changes(&self) -> io::Result<Vec<Change>> {
        let batches =
            frame::read(&self.body).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(batches.into_iter().flatten().collect())
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct Staged {
    path: PathBuf,
    file: File,
    len: u64,
    /// The length at which it is worth writing anew.
    rewrite_at: u64,
    buffer: Vec<u8>,
}

impl Staged {
    /// The file in `runtime_dir`; `None` if there is none.
    pub(super) fn find(runtime_dir: &Path) -> io::Result<Option<Found>> {
        let mut bytes = Vec::new();
        match File::open(runtime_dir.join(FILE_NAME)) {
            Ok(mut file) => file.read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some((head, body)) = bytes.split_first_chunk::<HEAD_LEN>() else { return Ok(None) };
        let (magic, numbers) = head.split_at(MAGIC.len());
        let ([store, generation], []) = numbers.as_chunks::<8>() else { return Ok(None) };
        let number = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
        let origin = Origin { store: number(store), generation: number(generation) };
        let is_ours = magic == MAGIC || magic == MAGIC_BEFORE;
        Ok(is_ours.then(|| Found { origin, body: body.to_vec() }))
    }

    /// Puts the file where no start takes it for the staged one; gives its new name.
    pub(super) fn move_aside(runtime_dir: &Path) -> io::Result<PathBuf> {
        let aside = runtime_dir.join(ASIDE);
        std::fs::rename(runtime_dir.join(FILE_NAME), &aside)?;
        Ok(aside)
    }

    /// Looks at every batch of the file in `runtime_dir`; `None` if there is no file of this store.
    pub(super) fn check(runtime_dir: &Path, origin: Origin) -> io::Result<Option<Checked>> {
        let bytes = match std::fs::read(runtime_dir.join(FILE_NAME)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some((head, body)) = bytes.split_first_chunk::<HEAD_LEN>() else { return Ok(None) };
        let is_ours = [MAGIC, MAGIC_BEFORE].iter().any(|it| *head == self::head(it, origin));
        Ok(is_ours.then(|| frame::check(body)))
    }

    /// Begins an empty file.
    pub(super) fn create(runtime_dir: &Path, origin: Origin) -> io::Result<Self> {
        std::fs::create_dir_all(runtime_dir)?;
        let path = runtime_dir.join(FILE_NAME);
        let file = write_new(&path, origin, &[])?;
        let (len, rewrite_at) = (HEAD_LEN as u64, REWRITE_BYTES);
        Ok(Self { path, file, len, rewrite_at, buffer: Vec::new() })
    }

    /// Adds a batch; it is there after a kill when this returns.
    pub(super) fn append(&mut self, changes: &[Change]) -> io::Result<()> {
        self.buffer.clear();
        frame::write(changes, &mut self.buffer);
        if step::is_due(Step::StageTorn) {
            let _ = self.file.write_all(&self.buffer[..self.buffer.len() / 2]);
            step::abort();
        }
        if let Err(error) = self.file.write_all(&self.buffer) {
            // Part of a frame would hide what comes after it.
            let _ = self.file.set_len(self.len);
            return Err(error);
        }
        self.len += self.buffer.len() as u64;
        Ok(())
    }

    /// Writes part of the next batch and no more.
    #[cfg(test)]
    pub(super) fn spoil(&mut self) {
        let full = OpenOptions::new().write(true).open("/dev/full").expect("Linux has one");
        self.file = full;
    }

    /// Whether most of the file may be cancelled by now.
    pub(super) fn is_large(&self) -> bool {
        self.len > self.rewrite_at
    }

    /// Puts a file with `changes` in the place of the old one, in one step.
    pub(super) fn rewrite(&mut self, origin: Origin, changes: &[Change]) -> io::Result<()> {
        self.file = write_new(&self.path, origin, changes)?;
        self.len = self.file.metadata()?.len();
        // What is left may be much: then it must double before it is worth the work again.
        self.rewrite_at = REWRITE_BYTES.max(self.len * 2);
        Ok(())
    }
}

/// The link in the state directory to the runtime directory, for whoever looks at the queue without being the service.
const LINK_NAME: &str = "runtime";

/// Notes in `state_dir` where the staged layer lies.
pub(super) fn note_place(state_dir: &Path, runtime_dir: &Path) -> io::Result<()> {
    let link = state_dir.join(LINK_NAME);
    let place = std::path::absolute(runtime_dir)?;
    if std::fs::read_link(&link).is_ok_and(|noted| noted == place) {
        return Ok(());
    }
    let beside = state_dir.join("runtime.new");
    let _ = std::fs::remove_file(&beside);
    std::os::unix::fs::symlink(&place, &beside)?;
    std::fs::rename(&beside, &link)
}

/// The runtime directory the gateway with this state directory ran with last, as it noted it there.
#[must_use]
pub fn noted_runtime_dir(state_dir: &Path) -> Option<PathBuf> {
    std::fs::read_link(state_dir.join(LINK_NAME)).ok()
}

fn head(word: &[u8; 8], origin: Origin) -> [u8; HEAD_LEN] {
    let mut head = [0; HEAD_LEN];
    let (magic, numbers) = head.split_at_mut(MAGIC.len());
    let (store, generation) = numbers.split_at_mut(8);
    magic.copy_from_slice(word);
    store.copy_from_slice(&origin.store.to_le_bytes());
    generation.copy_from_slice(&origin.generation.to_le_bytes());
    head
}

fn write_new(path: &Path, origin: Origin, changes: &[Change]) -> io::Result<File> {
    let mut bytes = head(MAGIC, origin).to_vec();
    if !changes.is_empty() {
        frame::write(changes, &mut bytes);
    }
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&beside)?;
    file.write_all(&bytes)?;
    step::pass(Step::RenewBefore);
    std::fs::rename(&beside, path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SessionId;

    #[test]
    fn a_file_of_the_version_before_is_found_and_checked() {
        let dir = tempfile::tempdir().expect("a directory");
        let origin = Origin { store: 7, generation: 3 };
        let changes = [Change::EndSession { session: SessionId(1) }];
        let mut staged = Staged::create(dir.path(), origin).expect("a file");
        staged.append(&changes).expect("room");
        let path = dir.path().join(FILE_NAME);
        let mut bytes = std::fs::read(&path).expect("the file");
        assert!(bytes.starts_with(MAGIC));
        bytes[..MAGIC.len()].copy_from_slice(MAGIC_BEFORE);
        std::fs::write(&path, bytes).expect("the file");
        let found = Staged::find(dir.path()).expect("it can be read").expect("a staged file");
        assert_eq!(found.standing(origin), Standing::Follows);
        assert_eq!(found.changes().expect("whole"), changes);
        let checked = Staged::check(dir.path(), origin).expect("it can be read").expect("ours");
        assert_eq!((checked.batches, checked.fault), (1, None));
    }
}

//! core: what a disk holds for certain, what it was only told, and how it may look after a power cut.
//!
//! What was synced is there. Of what a file was told since, each write may be there, be missing, or be there in part, by
//! sectors; a truncate likewise. A name that was made or deleted since the directory was last synced may stand or not.
//! Bytes beside a write are never harmed: that is what SQLite takes for granted on Linux, too
//! (`SQLITE_IOCAP_POWERSAFE_OVERWRITE`).

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;

use super::operation::{FileId, Operation};

/// What a disk writes at once.
const SECTOR: usize = 512;

/// The files of a disk by their names.
pub type Image = BTreeMap<Arc<str>, Vec<u8>>;

#[derive(Debug, Clone)]
enum Told {
    Write { offset: usize, bytes: Arc<[u8]> },
    Truncate { len: usize },
}

#[derive(Debug, Clone, Default)]
struct File {
    synced: Vec<u8>,
    /// In order, since the last sync.
    told: Vec<Told>,
}

/// The disk below the memory of the system.
#[derive(Debug, Clone, Default)]
pub struct Platter {
    files: BTreeMap<FileId, File>,
    names: BTreeMap<Arc<str>, FileId>,
    /// Names given and taken since the directory was synced, in order.
    renamed: Vec<(Arc<str>, Option<FileId>)>,
}

/// Which of the writes that were not synced are there.
#[derive(Debug, Clone, Copy)]
enum Fate {
    All,
    None,
    /// Those before this one.
    Before(usize),
    /// Each or not.
    Some,
    /// Each sector of each or not.
    Torn,
    /// All but the last, of which some sectors.
    TornEnd,
}

impl Fate {
    fn draw(count: usize, rng: &mut Rng) -> Self {
        match rng.u8(..6) {
            0 => Self::All,
            1 => Self::None,
            2 => Self::Before(rng.usize(..=count)),
            3 => Self::Some,
            4 => Self::Torn,
            _ => Self::TornEnd,
        }
    }
}

impl Platter {
    /// A disk that holds these files for certain.
    pub(super) fn new(files: impl IntoIterator<Item = (Arc<str>, FileId, Vec<u8>)>) -> Self {
        let mut platter = Self::default();
        for (name, file, synced) in files {
            platter.names.insert(name, file);
            platter.files.insert(file, File { synced, told: Vec::new() });
        }
        platter
    }

    /// Takes note of what was done.
    pub fn handle_operation(&mut self, operation: &Operation) {
        match operation {
            Operation::Create { name, file } => {
                self.files.insert(*file, File::default());
                self.renamed.push((name.clone(), Some(*file)));
            }
            Operation::Write { file, offset, bytes } => {
                let (offset, bytes) = (*offset, bytes.clone());
                self.tell(*file, Told::Write { offset, bytes });
            }
            Operation::Truncate { file, len } => self.tell(*file, Told::Truncate { len: *len }),
            Operation::Sync { file, directory } => {
                if let Some(File { synced, told }) = self.files.get_mut(file) {
                    told.drain(..).for_each(|told| told.put(synced, |_| true));
                }
                if *directory {
                    self.sync_directory();
                }
            }
            Operation::SyncFailed { file } => {
                // Every other sector had been written when it failed. The system forgets the rest.
                if let Some(File { synced, told }) = self.files.get_mut(file) {
                    told.drain(..).for_each(|told| told.put(synced, |sector| sector % 2 == 0));
                }
            }
            Operation::Delete { name, directory, .. } => {
                self.renamed.push((name.clone(), None));
                if *directory {
                    self.sync_directory();
                }
            }
        }
    }

    fn tell(&mut self, file: FileId, told: Told) {
        if let Some(file) = self.files.get_mut(&file) {
            file.told.push(told);
        }
    }

    fn sync_directory(&mut self) {
        for (name, file) in std::mem::take(&mut self.renamed) {
            self.rename(name, file);
        }
    }

    fn rename(&mut self, name: Arc<str>, file: Option<FileId>) {
        let before = match file {
            Some(file) => self.names.insert(name, file),
            None => self.names.remove(&name),
        };
        if let Some(before) = before {
            self.files.remove(&before);
        }
    }

    /// What is there for certain of a file.
    pub(super) fn synced(&self, file: FileId) -> &[u8] {
        self.files.get(&file).map_or(&[], |file| &file.synced)
    }

    /// A disk as it may be found after a power cut at this point; `rng` decides what was lucky.
    #[must_use]
    pub fn after_cut(&self, rng: &mut Rng) -> Image {
        let mut names = self.names.clone();
        let mut given: BTreeMap<&Arc<str>, Vec<Option<FileId>>> = BTreeMap::new();
        for (name, file) in &self.renamed {
            given.entry(name).or_default().push(*file);
        }
        for (name, files) in given {
            // What is done to one name is done in order; different names know nothing of each other.
            let done = rng.usize(..=files.len());
            match done.checked_sub(1).and_then(|last| files.get(last)) {
                Some(Some(file)) => _ = names.insert(name.clone(), *file),
                Some(None) => _ = names.remove(name),
                None => {}
            }
        }
        let image = names.into_iter().filter_map(|(name, file)| {
            let file = self.files.get(&file)?;
            Some((name, file.after_cut(rng)))
        });
        image.collect()
    }
}

impl File {
    fn after_cut(&self, rng: &mut Rng) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        let fate = Fate::draw(self.told.len(), rng);
        for (at, told) in self.told.iter().enumerate() {
            let is_last = at + 1 == self.told.len();
            let whole = match fate {
                Fate::All => true,
                Fate::None => false,
                Fate::Before(end) => at < end,
                Fate::Some => rng.bool(),
                Fate::TornEnd if !is_last => true,
                Fate::Torn | Fate::TornEnd => {
                    told.put(&mut bytes, |_| rng.bool());
                    continue;
                }
            };
            told.put(&mut bytes, |_| whole);
        }
        bytes
    }
}

impl Told {
    /// Puts those sectors into `file` for which `is_there` says so; it is asked once for a truncate.
    fn put(&self, file: &mut Vec<u8>, mut is_there: impl FnMut(usize) -> bool) {
        match self {
            Self::Write { offset, bytes } => {
                let mut rest: &[u8] = bytes;
                let mut at = *offset;
                while !rest.is_empty() {
                    let length = (SECTOR - at % SECTOR).min(rest.len());
                    let (sector, behind) = rest.split_at(length);
                    if is_there(at / SECTOR) {
                        write_at(file, at, sector);
                    }
                    (rest, at) = (behind, at + length);
                }
            }
            Self::Truncate { len } if is_there(0) => file.truncate(*len),
            Self::Truncate { .. } => {}
        }
    }
}

/// Writes into `file`, which grows as far as it must; what lies between reads as zeros.
pub(super) fn write_at(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    if let Some(place) = file.get_mut(offset..end) {
        place.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::operation::Role;
    use super::*;

    const FILE: FileId = FileId { number: 1, role: Role::Database };

    fn write(offset: usize, byte: u8, len: usize) -> Operation {
        Operation::Write { file: FILE, offset, bytes: vec![byte; len].into() }
    }

    fn platter(operations: &[Operation]) -> Platter {
        let mut platter = Platter::default();
        operations.iter().for_each(|operation| platter.handle_operation(operation));
        platter
    }

    /// Everything a cut may leave under the name, by many draws.
    fn outcomes(platter: &Platter) -> BTreeSet<Option<Vec<u8>>> {
        let mut rng = Rng::with_seed(1);
        (0..500).map(|_| platter.after_cut(&mut rng).remove("db")).collect()
    }

    #[test]
    fn what_was_synced_is_there_and_the_rest_is_by_sectors() {
        let create = Operation::Create { name: "db".into(), file: FILE };
        let sync = Operation::Sync { file: FILE, directory: true };
        let platter = platter(&[create, write(0, 1, 1024), sync, write(0, 2, 1024)]);
        let half = |first, second| Some([vec![first; 512], vec![second; 512]].concat());
        let expected = [half(1, 1), half(1, 2), half(2, 1), half(2, 2)];
        assert_eq!(outcomes(&platter), expected.into());
    }

    #[test]
    fn a_name_stands_for_certain_once_the_directory_is_synced() {
        let create = Operation::Create { name: "db".into(), file: FILE };
        let sync = |directory| Operation::Sync { file: FILE, directory };
        let unnamed = [create.clone(), write(0, 1, 512), sync(false)];
        assert_eq!(outcomes(&platter(&unnamed)), [None, Some(vec![1; 512])].into());
        let mut named = vec![create, write(0, 1, 512), sync(true)];
        assert_eq!(outcomes(&platter(&named)), [Some(vec![1; 512])].into());
        named.push(Operation::Delete { name: "db".into(), file: FILE, directory: false });
        assert_eq!(outcomes(&platter(&named)), [None, Some(vec![1; 512])].into());
    }

    #[test]
    fn what_a_failed_sync_dropped_is_not_brought_back_by_the_next() {
        let create = Operation::Create { name: "db".into(), file: FILE };
        let sync = Operation::Sync { file: FILE, directory: true };
        let failed = Operation::SyncFailed { file: FILE };
        let done = [create, write(0, 1, 1024), sync.clone(), write(0, 2, 1024), failed, sync];
        let expected = [vec![2; 512], vec![1; 512]].concat();
        assert_eq!(outcomes(&platter(&done)), [Some(expected)].into());
    }
}

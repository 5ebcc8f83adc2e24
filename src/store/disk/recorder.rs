//! core: the files of a disk as the running system sees them, and the record of what was done to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fault::{Failure, Fault, Faults};
use super::operation::{FileId, Operation, Role};
use super::platter::{Image, Platter, write_at};

#[derive(Debug, Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    /// Its name is synced with its first sync: so does SQLite on Linux with logs and journals it has made.
    directory_due: bool,
}

/// The files, the record since it was last forgotten, and the disk as it was then.
#[derive(Debug, Clone, Default)]
pub(super) struct Recorder {
    files: BTreeMap<FileId, Content>,
    names: BTreeMap<Arc<str>, FileId>,
    last_number: u32,
    record: Vec<Operation>,
    before: Platter,
    faults: Faults,
    /// Whether a sync is acknowledged and not done.
    lies: bool,
}

impl Recorder {
    pub(super) fn new(image: Image) -> Self {
        let mut recorder = Self::default();
        let mut synced = Vec::new();
        for (name, bytes) in image {
            let file = recorder.next_file(&name);
            recorder.names.insert(name.clone(), file);
            recorder.files.insert(file, Content { bytes: bytes.clone(), directory_due: false });
            synced.push((name, file, bytes));
        }
        recorder.before = Platter::new(synced);
        recorder
    }

    fn next_file(&mut self, name: &str) -> FileId {
        self.last_number += 1;
        FileId { number: self.last_number, role: Role::of(name) }
    }

    pub(super) fn lie(&mut self) {
        self.lies = true;
    }

    pub(super) fn set_fault(&mut self, fault: Fault) {
        self.faults.set(fault);
    }

    pub(super) fn heal(&mut self) {
        self.faults.heal();
    }

    pub(super) fn struck(&self) -> u64 {
        self.faults.struck()
    }

    pub(super) fn record(&self) -> &[Operation] {
        &self.record
    }

    pub(super) fn before(&self) -> &Platter {
        &self.before
    }

    pub(super) fn forget_record(&mut self) {
        for operation in self.record.drain(..) {
            self.before.handle_operation(&operation);
        }
    }

    /// The disk with everything that was done to it.
    pub(super) fn platter(&self) -> Platter {
        let mut platter = self.before.clone();
        self.record.iter().for_each(|operation| platter.handle_operation(operation));
        platter
    }

    pub(super) fn exists(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    pub(super) fn open(
        &mut self,
        name: &str,
        create: bool,
        exclusive: bool,
    ) -> Result<FileId, Failure> {
        match self.names.get(name) {
            Some(_) if exclusive => return Err(Failure::Exists),
            Some(file) => return Ok(*file),
            None if !create => return Err(Failure::Missing),
            None => {}
        }
        let (file, name) = (self.next_file(name), Arc::<str>::from(name));
        let directory_due = file.role != Role::Database;
        self.files.insert(file, Content { bytes: Vec::new(), directory_due });
        self.names.insert(name.clone(), file);
        self.record.push(Operation::Create { name, file });
        Ok(file)
    }

    /// Bytes read; fewer than asked at the end of the file.
    pub(super) fn read(
        &mut self,
        file: FileId,
        into: &mut [u8],
        offset: usize,
    ) -> Result<usize, Failure> {
        self.faults.handle_read()?;
        let bytes = self.files.get(&file).and_then(|content| content.bytes.get(offset..));
        let bytes = bytes.unwrap_or_default();
        let count = bytes.len().min(into.len());
        if let (Some(into), Some(bytes)) = (into.get_mut(..count), bytes.get(..count)) {
            into.copy_from_slice(bytes);
        }
        Ok(count)
    }

    pub(super) fn write(
        &mut self,
        file: FileId,
        bytes: &[u8],
        offset: usize,
    ) -> Result<(), Failure> {
        let growth = (offset + bytes.len()).saturating_sub(self.len(file));
        let all: usize = self.files.values().map(|content| content.bytes.len()).sum();
        let result = self.faults.handle_write(all + growth);
        let written = match result {
            Err(Failure::NoSpace) => bytes.get(..bytes.len() / 2).unwrap_or_default(),
            Err(_) => &[],
            Ok(()) => bytes,
        };
        if !written.is_empty() {
            if let Some(content) = self.files.get_mut(&file) {
                write_at(&mut content.bytes, offset, written);
            }
            self.record.push(Operation::Write { file, offset, bytes: written.into() });
        }
        result
    }

    pub(super) fn truncate(&mut self, file: FileId, len: usize) {
        if let Some(content) = self.files.get_mut(&file) {
            content.bytes.truncate(len);
        }
        self.record.push(Operation::Truncate { file, len });
    }

    pub(super) fn sync(&mut self, file: FileId) -> Result<(), Failure> {
        if let Err(forgets) = self.faults.handle_sync() {
            self.record.push(Operation::SyncFailed { file });
            if forgets {
                let bytes = self.platter().synced(file).to_vec();
                if let Some(content) = self.files.get_mut(&file) {
                    content.bytes = bytes;
                }
            }
            return Err(Failure::Io);
        }
        if !self.lies {
            let content = self.files.get_mut(&file);
            let directory = content.is_some_and(|c| std::mem::take(&mut c.directory_due));
            self.record.push(Operation::Sync { file, directory });
        }
        Ok(())
    }

    pub(super) fn len(&self, file: FileId) -> usize {
        self.files.get(&file).map_or(0, |content| content.bytes.len())
    }

    pub(super) fn delete(&mut self, name: &str, directory: bool) -> Result<(), Failure> {
        let (name, file) = self.names.remove_entry(name).ok_or(Failure::Missing)?;
        self.files.remove(&file);
        let directory = directory && !self.lies;
        self.record.push(Operation::Delete { name, file, directory });
        Ok(())
    }
}

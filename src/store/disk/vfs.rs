//! shell: hangs the recorded disks under SQLite: a file system of its own by the name of [`VFS_NAME`], in which the first
//! part of a path says which disk.
//!
//! There is no shared memory: the database is opened in exclusive locking mode, and by one connection. Sector size and
//! device characteristics are those SQLite takes for granted on Linux, so that it writes what it would write there.
#![allow(clippy::disallowed_methods, reason = "SQLite asks its file system for the time")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rsqlite_vfs::{
    AccessMode, DeviceCharacteristics, LockLevel, OpenOptions, OpenRequest, OpenedFile, OsCallback,
    SQLiteIoMethods, SQLiteVfs, SyncOptions, VfsError, VfsErrorCode, VfsFile, VfsResult, VfsStore,
};

use super::fault::{Failure, Fault};
use super::operation::{FileId, Operation};
use super::platter::{Image, Platter};
use super::recorder::Recorder;

/// The name under which SQLite knows this file system.
pub(in crate::store) const VFS_NAME: &str = "fieldpost-disk";

/// Disks by the first part of their paths; those that are gone are swept out when another comes.
static DISKS: Mutex<BTreeMap<String, Weak<Mutex<Recorder>>>> = Mutex::new(BTreeMap::new());

/// A disk in memory that a store can be opened on. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct Disk {
    name: Arc<str>,
    recorder: Arc<Mutex<Recorder>>,
}

impl Disk {
    /// A disk that holds these files, all of them for certain. Nothing is recorded yet.
    #[must_use]
    pub fn new(image: Image) -> Self {
        Self::with(Recorder::new(image))
    }

    fn with(recorder: Recorder) -> Self {
        register();
        static LAST: AtomicU64 = AtomicU64::new(0);
        let name = format!("disk-{}", LAST.fetch_add(1, Ordering::Relaxed));
        let recorder = Arc::new(Mutex::new(recorder));
        let mut disks = locked(&DISKS);
        disks.retain(|_, disk| disk.strong_count() > 0);
        disks.insert(name.clone(), Arc::downgrade(&recorder));
        Self { name: name.into(), recorder }
    }

    /// The same disk as a second one, with its record: what happens to either does not touch the other. A killed
    /// process leaves its disk like this.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::with(locked(&self.recorder).clone())
    }

    /// Names that SQLite has for files are relative to this.
    pub(in crate::store) fn state_dir(&self) -> PathBuf {
        PathBuf::from(&*self.name)
    }

    /// From here on a sync is acknowledged and not done, as some memory cards have it.
    pub fn lie(&self) {
        locked(&self.recorder).lie();
    }

    /// Lets something go wrong until [`Self::heal`].
    pub fn set_fault(&self, fault: Fault) {
        locked(&self.recorder).set_fault(fault);
    }

    /// Ends all faults.
    pub fn heal(&self) {
        locked(&self.recorder).heal();
    }

    /// How often a fault has struck.
    #[must_use]
    pub fn struck(&self) -> u64 {
        locked(&self.recorder).struck()
    }

    /// What was done since the record was last forgotten, in order.
    #[must_use]
    pub fn record(&self) -> Vec<Operation> {
        locked(&self.recorder).record().to_vec()
    }

    /// The disk as it was when the record begins.
    #[must_use]
    pub fn before(&self) -> Platter {
        locked(&self.recorder).before().clone()
    }

    /// Begins the record anew from here.
    pub fn forget_record(&self) {
        locked(&self.recorder).forget_record();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change of a recorder is complete before anything could panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the file system known to SQLite, once in a process. If SQLite refuses, it knows no such file system when a
/// database is opened, and says so.
fn register() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        #[allow(unsafe_code, reason = "SQLite is handed callbacks")]
        // SAFETY: constructor, method table, file layout and callbacks are the ones rsqlite-vfs comes with, and agree. All
        // they share is `()`; the disks lie behind mutexes, so any thread may call. The name is registered nowhere else
        // and here once. The registration is never taken back, so that nothing it points to goes before SQLite does.
        let kept = unsafe { rsqlite_vfs::register_vfs::<Methods, Files>(VFS_NAME, (), false) };
        if let Ok(kept) = kept {
            kept.into_raw();
        }
    });
}

/// An open file.
#[derive(Debug)]
struct Handle {
    disk: Arc<Mutex<Recorder>>,
    file: FileId,
}

fn failed(failure: Failure, io: VfsErrorCode) -> VfsError {
    let (code, message) = match failure {
        Failure::NoSpace => (VfsErrorCode::Full, "no space left on the disk"),
        Failure::Io => (io, "input or output error of the disk"),
        Failure::Missing => (VfsErrorCode::CantOpen, "no such file"),
        Failure::Exists => (VfsErrorCode::CantOpen, "the file exists"),
    };
    VfsError::new(code, message.into())
}

fn place(offset: u64) -> VfsResult<usize> {
    let too_far = |_| VfsError::new(VfsErrorCode::Full, "an offset beyond the memory".into());
    usize::try_from(offset).map_err(too_far)
}

impl VfsFile for Handle {
    fn device_characteristics(&self) -> DeviceCharacteristics {
        DeviceCharacteristics::POWERSAFE_OVERWRITE | DeviceCharacteristics::SUBPAGE_READ
    }

    fn read(&mut self, into: &mut [u8], offset: u64) -> VfsResult<usize> {
        locked(&self.disk)
            .read(self.file, into, place(offset)?)
            .map_err(|failure| failed(failure, VfsErrorCode::IoRead))
    }

    fn write(&mut self, bytes: &[u8], offset: u64) -> VfsResult<()> {
        locked(&self.disk)
            .write(self.file, bytes, place(offset)?)
            .map_err(|failure| failed(failure, VfsErrorCode::IoWrite))
    }

    fn truncate(&mut self, size: u64) -> VfsResult<()> {
        locked(&self.disk).truncate(self.file, place(size)?);
        Ok(())
    }

    fn sync(&mut self, _options: SyncOptions) -> VfsResult<()> {
        locked(&self.disk).sync(self.file).map_err(|failure| failed(failure, VfsErrorCode::IoSync))
    }

    fn size(&self) -> VfsResult<u64> {
        Ok(locked(&self.disk).len(self.file) as u64)
    }

    // One connection has a disk to itself.
    fn lock(&mut self, _level: LockLevel) -> VfsResult<()> {
        Ok(())
    }

    fn unlock(&mut self, _level: LockLevel) -> VfsResult<()> {
        Ok(())
    }

    fn check_reserved_lock(&self) -> VfsResult<bool> {
        Ok(false)
    }
}

/// The files of all disks.
struct Files;

impl VfsStore for Files {
    type File = Handle;
    type AppData = ();

    fn open_file((): &(), request: OpenRequest<'_>) -> VfsResult<OpenedFile<Handle>> {
        let options = request.options;
        let nameless = || VfsError::new(VfsErrorCode::CantOpen, "a file without a name".into());
        let name = request.filename.ok_or_else(nameless)?.path();
        let (disk, name) = find(name)?;
        let opened = locked(&disk).open(name, options.create(), options.exclusive());
        let file = opened.map_err(|failure| failed(failure, VfsErrorCode::CantOpen))?;
        Ok(OpenedFile { file: Handle { disk, file }, access: options.access() })
    }

    fn close_file(
        (): &(),
        name: Option<&str>,
        _file: Handle,
        options: OpenOptions,
    ) -> VfsResult<()> {
        if let Some(name) = name.filter(|_| options.delete_on_close()) {
            let (disk, name) = find(name)?;
            // Whoever was faster has done it.
            let _ = locked(&disk).delete(name, false);
        }
        Ok(())
    }

    fn access((): &(), name: &str, _mode: AccessMode) -> VfsResult<bool> {
        let (disk, name) = find(name)?;
        Ok(locked(&disk).exists(name))
    }

    fn full_pathname((): &(), name: &str) -> VfsResult<String> {
        Ok(name.to_owned())
    }

    fn delete_file((): &(), name: &str, sync_dir: bool) -> VfsResult<()> {
        let missing = |failure| match failure {
            Failure::Missing => VfsError::new(VfsErrorCode::IoDeleteNoEntry, "no such file".into()),
            Failure::NoSpace | Failure::Io | Failure::Exists => {
                failed(failure, VfsErrorCode::IoDelete)
            }
        };
        let (disk, name) = find(name)?;
        locked(&disk).delete(name, sync_dir).map_err(missing)
    }
}

/// The disk that a path begins with, and the name of the file on it.
fn find(path: &str) -> VfsResult<(Arc<Mutex<Recorder>>, &str)> {
    let gone = || VfsError::new(VfsErrorCode::CantOpen, "no such disk".into());
    let (disk, name) = path.split_once('/').ok_or_else(gone)?;
    let disk = locked(&DISKS).get(disk).and_then(Weak::upgrade).ok_or_else(gone)?;
    Ok((disk, name))
}

struct Methods;

impl SQLiteIoMethods for Methods {
    type Store = Files;
}

struct Machine;

impl OsCallback for Machine {
    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn random(&self, into: &mut [u8]) -> usize {
        fastrand::fill(into);
        into.len()
    }

    fn epoch_timestamp_in_ms(&self) -> VfsResult<i64> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

impl SQLiteVfs<Methods> for Files {
    type Os = Machine;

    fn os((): &()) -> &Machine {
        &Machine
    }
}

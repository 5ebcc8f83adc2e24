//! shell: the lock on a runtime directory: what is staged there is one gateway's.
#![allow(clippy::disallowed_methods, reason = "this shell owns a file")]

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use super::error::StoreError;

/// The locked file's name in the runtime directory.
const FILE_NAME: &str = "lock";

/// Held while the staged layer and the control socket in a runtime directory are ours; a kill gives it up.
#[derive(Debug)]
pub(super) struct RuntimeLock(#[expect(dead_code, reason = "held, not used")] File);

impl RuntimeLock {
    /// Takes it. `None` where nothing can be locked: a directory that cannot be written is not staged in either.
    ///
    /// # Errors
    /// [`StoreError::RuntimeInUse`] while another gateway has it.
    pub(super) fn take(runtime_dir: &Path) -> Result<Option<Self>, StoreError> {
        let path = runtime_dir.join(FILE_NAME);
        let open = || {
            std::fs::create_dir_all(runtime_dir)?;
            let made = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
            // One that was made by root can be locked all the same.
            made.or_else(|_| File::open(&path))
        };
        let Ok(file) = open() else { return Ok(None) };
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => {
                Err(StoreError::RuntimeInUse { path: runtime_dir.to_owned() })
            }
            Err(TryLockError::Error(_)) => Ok(None),
        }
    }
}

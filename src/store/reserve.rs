//! shell: a file that holds room on the disk, given up when others have filled it: what waits can be delivered then, and
//! the word that it was delivered be written. It is taken again once there is room.
#![allow(clippy::disallowed_methods, reason = "this shell owns a file")]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// The file's name in the state directory.
pub(super) const FILE_NAME: &str = "fieldpost.reserve";
/// What is held: the hub drops messages while less than 8 MiB are free, and the write-ahead log takes up to 4 MiB of it.
const BYTES_MAX: u64 = 12 * 1024 * 1024;
/// No more than this part of a small disk.
const SHARE: u64 = 4;
/// Bytes of a block, as the system counts those of a file.
const BLOCK_LEN: u64 = 512;

/// The room that is held, or not.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    /// Whether it was said that none can be held.
    complained: bool,
}

impl Reserve {
    /// What an earlier process has left of it in `state_dir`.
    pub(super) fn find(state_dir: &Path) -> Self {
        let path = state_dir.join(FILE_NAME);
        // Copied from elsewhere it may be all holes.
        let taken = |file: fs::Metadata| file.len().min(file.blocks().saturating_mul(BLOCK_LEN));
        let bytes = fs::metadata(&path).map_or(0, taken);
        Self { path, bytes, complained: false }
    }

    /// Bytes that are held.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives the room up; whether there was any.
    pub(super) fn give_up(&mut self) -> bool {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes == 0 || fs::remove_file(&self.path).is_err() {
            return false;
        }
        tracing::warn!(
            bytes,
            "disk is full; the room held for that is given up, so that delivery goes on"
        );
        true
    }

    /// Takes the room again if the disk has twice as much to give.
    pub(super) fn refill(&mut self) {
        if self.bytes > 0 {
            return;
        }
        let Some(disk) = self.path.parent().and_then(|directory| statvfs(directory).ok()) else {
            return;
        };
        let bytes = BYTES_MAX.min(disk.f_blocks.saturating_mul(disk.f_frsize) / SHARE);
        if bytes == 0 || disk.f_bavail.saturating_mul(disk.f_frsize) < 2 * bytes {
            return;
        }
        let taken = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&self.path)
            .and_then(|file| Ok(fallocate(file, FallocateFlags::empty(), 0, bytes)?));
        match taken {
            Ok(()) => self.bytes = bytes,
            Err(cause) => {
                let _ = fs::remove_file(&self.path);
                if !std::mem::replace(&mut self.complained, true) {
                    tracing::debug!(%cause, "no room can be held on this disk for the day it is full");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_held_given_up_once_and_taken_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut reserve = Reserve::find(dir.path());
        assert!(!reserve.give_up(), "there is none");
        reserve.refill();
        let held = reserve.bytes();
        assert!(held > 0, "a disk without fallocate?");
        assert_eq!(Reserve::find(dir.path()).bytes(), held);
        assert!(reserve.give_up());
        assert!(!reserve.give_up());
        assert!(!dir.path().join(FILE_NAME).exists());
        reserve.refill();
        assert_eq!(reserve.bytes(), held);
    }
}

//! shell: a directory for the time of the run.
#![allow(clippy::disallowed_methods, reason = "this shell makes and removes a directory")]

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// A new directory only this user can look into; it goes with this value.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes it where temporary files belong.
    pub(crate) fn new() -> io::Result<Self> {
        Self::new_in(&std::env::temp_dir())
    }

    /// Makes it in a directory.
    pub(crate) fn new_in(directory: &Path) -> io::Result<Self> {
        let name = format!("fieldpost-{}-{:016x}", std::process::id(), fastrand::u64(..));
        let path = directory.join(name);
        // Fails if there is anything under this name, whoever put it there.
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path })
    }

    /// A directory in it, made.
    pub(crate) fn directory(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(path)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans up temporary files.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_goes_with_its_content() {
        let scratch = Scratch::new().expect("a directory");
        let inner = scratch.directory("queue").expect("a directory in it");
        std::fs::write(inner.join("file"), "x").expect("it can be written to");
        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists());
    }
}

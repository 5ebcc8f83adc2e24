//! shell: notices that files have changed, by what the system says of them.
#![allow(clippy::disallowed_methods, reason = "this shell looks at files")]

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What the system says of a file; `None` if it is not there.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// Files that are looked at from time to time.
#[derive(Debug)]
pub struct FileWatch {
    files: Vec<PathBuf>,
    seen: Vec<Stamp>,
    /// A change that the look before has found: an editor may still be writing.
    settling: Option<Vec<Stamp>>,
}

impl FileWatch {
    /// Whether there is no file to look at.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Takes the files as they are.
    #[must_use]
    pub fn new(files: Vec<PathBuf>) -> Self {
        let seen = stamps(&files);
        Self { files, seen, settling: None }
    }

    /// Whether a file has changed since it was taken as it was, and has stayed the same since the last look.
    pub fn has_changed(&mut self) -> bool {
        let found = stamps(&self.files);
        if found == self.seen {
            self.settling = None;
            return false;
        }
        let has_settled = self.settling.as_ref() == Some(&found);
        if has_settled {
            self.seen = found;
            self.settling = None;
        } else {
            self.settling = Some(found);
        }
        has_settled
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    files.iter().map(|file| stamp(file)).collect()
}

fn stamp(file: &Path) -> Stamp {
    let data = std::fs::metadata(file).ok()?;
    Some((data.dev(), data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_it_has_settled() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("users");
        let mut watch = FileWatch::new(vec![file.clone()]);
        assert!(!watch.has_changed(), "it is still not there");
        std::fs::write(&file, "a").expect("a file");
        assert!(!watch.has_changed(), "somebody may be writing");
        std::fs::write(&file, "ab").expect("a file");
        assert!(!watch.has_changed(), "somebody was");
        assert!(watch.has_changed());
        assert!(!watch.has_changed());
        std::fs::remove_file(&file).expect("it was there");
        assert!(!watch.has_changed());
        assert!(watch.has_changed(), "a file that is gone has changed");
    }
}

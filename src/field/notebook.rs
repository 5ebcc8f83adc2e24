//! shell: the file in which a bus keeps what it learnt about its devices.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the one place of this room that reads and writes a file"
)]

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use tracing::{debug, warn};

use super::memory::Memory;

/// The folder below the state directory.
const FOLDER: &str = "devices";

/// The file of one bus, `devices/BUS.json` below the state directory.
#[derive(Debug, Clone)]
pub struct Notebook {
    path: PathBuf,
}

impl Notebook {
    /// Names the file; nothing is read or written yet. `bus` holds no `/`: it is a name of the configuration.
    #[must_use]
    pub fn new(state_dir: &Path, bus: &str) -> Self {
        Self { path: state_dir.join(FOLDER).join(format!("{bus}.json")) }
    }

    /// What was written last; nothing, and a warning in the log, when that cannot be used.
    #[must_use]
    pub fn read(&self) -> Memory {
        let path = self.path.display();
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Memory::default(),
            Err(error) => {
                warn!(%path, %error, "what was learnt about devices cannot be read");
                return Memory::default();
            }
        };
        Memory::parse(&text).unwrap_or_else(|error| {
            warn!(%path, "{error}");
            Memory::default()
        })
    }

    /// Puts `memory` in place of what was there: all of it, or, when the power goes meanwhile, nothing.
    ///
    /// # Errors
    /// What the file system says; what was there before is still there.
    pub fn write(&self, memory: &Memory) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let beside = self.path.with_extension("json.new");
        let mut file = File::create(&beside)?;
        file.write_all(memory.to_text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        File::open(folder)?.sync_all()?;
        debug!(path = %self.path.display(), "kept what was learnt about devices");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_is_begun_again_and_what_is_written_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let notebook = Notebook::new(dir.path(), "rs485");
        assert_eq!(notebook.read(), Memory::default(), "there is none yet");
        notebook.write(&Memory::default()).expect("a directory that can be written");
        assert_eq!(notebook.read(), Memory::default());
        let path = dir.path().join(FOLDER).join("rs485.json");
        let text = fs::read_to_string(&path).expect("it was written");
        fs::write(&path, &text.as_bytes()[..text.len() / 2]).expect("a file");
        assert_eq!(notebook.read(), Memory::default());
        let names = fs::read_dir(dir.path().join(FOLDER)).expect("a folder").count();
        assert_eq!(names, 1, "nothing is left beside it");
    }
}

//! shell: reads a `mosquitto.conf` and the directories it includes.
#![allow(clippy::disallowed_methods, reason = "this shell reads configuration files")]

use std::io;
use std::path::{Path, PathBuf};

use super::directive::{Directive, Place, directives};

/// Directories may include directories; so deep at most.
const DEPTH_MAX: usize = 8;

/// A file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file or directory cannot be read.
    #[error("cannot read {}{}: {source}", path.display(), from.as_ref().map(|place| format!(" ({place})")).unwrap_or_default())]
    Read {
        /// Which.
        path: PathBuf,
        /// The line that includes it.
        from: Option<Place>,
        /// Why.
        source: io::Error,
    },
    /// Directories include each other.
    #[error(
        "{place}: include_dir leads into more than {DEPTH_MAX} directories; does one include itself?"
    )]
    TooDeep {
        /// The line that goes too far.
        place: Place,
    },
}

/// All lines of `file` in their order, with those of each `include_dir` in its place: files whose names end in `.conf`, by
/// their names.
///
/// # Errors
/// [`LoadError`] names the file.
pub fn load(file: &Path) -> Result<Vec<Directive>, LoadError> {
    let mut all = Vec::new();
    read(file, None, 0, &mut all)?;
    Ok(all)
}

fn read(
    file: &Path,
    from: Option<&Place>,
    depth: usize,
    all: &mut Vec<Directive>,
) -> Result<(), LoadError> {
    let failed = |path: &Path, source| {
        let (path, from) = (path.to_owned(), from.cloned());
        LoadError::Read { path, from, source }
    };
    let bytes = std::fs::read(file).map_err(|error| failed(file, error))?;
    for directive in directives(file, &String::from_utf8_lossy(&bytes)) {
        if directive.name != "include_dir" {
            all.push(directive);
            continue;
        }
        let place = directive.place;
        if depth >= DEPTH_MAX {
            return Err(LoadError::TooDeep { place });
        }
        let dir = file.parent().unwrap_or(Path::new("")).join(&directive.value);
        let listed = std::fs::read_dir(&dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = listed.map_err(|source| LoadError::Read {
            path: dir.clone(),
            from: Some(place.clone()),
            source,
        })?;
        let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|end| end == "conf"));
        files.sort();
        for included in files {
            read(&included, Some(&place), depth + 1, all)?;
        }
    }
    Ok(())
}

//! shell: reads the file.
#![allow(clippy::disallowed_methods, reason = "this shell reads the configuration file")]

use std::io::{ErrorKind, Read};
use std::path::Path;

use super::complaint::Complaints;
use super::parse::{self, FILE_BYTES_MAX, Parsed};
use super::secret::SecretSource;
use super::template::TemplateFolder;

/// Reads the file at `path`, with the templates beside it, and turns it into settings. `secrets` is asked for each secret the file names.
///
/// # Errors
/// Everything that is wrong with the file, or that it cannot be read.
pub fn load(path: &Path, secrets: &dyn SecretSource) -> Result<Parsed, Complaints> {
    let name = path.display().to_string();
    match read(path) {
        Ok(bytes) => parse::parse_bytes(&name, &bytes, secrets, &TemplateFolder::beside(path)),
        Err(error) => {
            let (message, remedy) = words(&error);
            Err(parse::whole_file(&name, message, remedy))
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the kinds with words of their own are few")]
fn words(error: &std::io::Error) -> (String, &'static str) {
    let (message, remedy) = match error.kind() {
        ErrorKind::NotFound => (
            "there is no such file",
            "look at the spelling of the path, or name another file (`-c FILE`, `check FILE`)",
        ),
        ErrorKind::PermissionDenied => {
            ("this file may not be read", "let the user of the service read it, or use `sudo`")
        }
        ErrorKind::IsADirectory => ("this is a directory", "name a file in it"),
        _ => {
            let message = format!("this file cannot be read: {error}");
            return (message, "look whether the disk is in order");
        }
    };
    (message.to_owned(), remedy)
}

/// Reads no more than shows that a file is too long.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

//! shell: `fieldpost import mosquitto.conf`: our configuration out of mosquitto's.
#![allow(clippy::disallowed_methods, reason = "a command reads and writes files")]

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::ExitStatus;
use crate::import::{import as convert, load};

/// Arguments of `import`.
#[derive(Debug, Clone, clap::Args)]
pub struct ImportArgs {
    /// Mosquitto's configuration; directories it includes are read, too
    #[arg(value_name = "MOSQUITTO.CONF")]
    file: PathBuf,
    /// Write our configuration to this file, which must not be there yet [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The gateway's name: its first topic level and client id [default: this machine's name]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
}

/// Writes our configuration; names on standard error each line it could not carry over.
///
/// # Errors
/// A file cannot be read, or `--output` not be written.
pub fn import(args: &ImportArgs, out: &mut impl Write) -> anyhow::Result<ExitStatus> {
    let file = std::path::absolute(&args.file).unwrap_or_else(|_| args.file.clone());
    let directives = load(&file)?;
    let id = args.id.clone().unwrap_or_else(machine);
    let imported = convert(&directives, &id);
    if imported.unknown > 0 && imported.unknown == directives.len() {
        let (file, count) = (file.display(), directives.len());
        bail!(
            "none of the {count} lines of {file} is an option of mosquitto: is it the right file?"
        );
    }
    match &args.output {
        None => out.write_all(imported.yaml.as_bytes()).context("cannot write")?,
        Some(path) => write(path, &imported.yaml)?,
    }
    for note in &imported.notes {
        eprintln!("{note}");
    }
    let file =
        args.output.as_ref().map_or_else(|| "FILE".to_owned(), |path| path.display().to_string());
    match imported.notes.len() {
        0 => eprintln!("fieldpost: everything was carried over; `fieldpost check {file}` reads it"),
        1 => eprintln!("fieldpost: 1 line needs a look; `fieldpost check {file}` reads the rest"),
        count => eprintln!(
            "fieldpost: {count} lines need a look; `fieldpost check {file}` reads the rest"
        ),
    }
    Ok(ExitStatus::Done)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = match options.write(true).create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("{} is there already: move it, or name another file", path.display());
        }
        opened => opened.with_context(|| format!("cannot write {}", path.display()))?,
    };
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

/// The name of this machine up to its first dot, as far as it can be a topic level.
fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim().split('.').next().unwrap_or_default();
    let is_good = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let name: String = name.chars().filter(is_good).collect();
    if name.is_empty() { "gateway".to_owned() } else { name }
}

//! shell: `fieldpost passwd FILE USER`: sets the password of a user of the broker, or takes the user out.
#![allow(clippy::disallowed_methods, reason = "this shell reads and writes the users file")]

use std::fs::{self, File, Permissions};
use std::io::{self, BufRead, IsTerminal, Read as _, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use ring::rand::{SecureRandom, SystemRandom};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::ExitStatus;
use crate::access::{AccessError, Fault, PasswordHash, SALT_BYTES, Users, edit_users};

/// Bytes of a password that MQTT can carry.
const PASSWORD_BYTES_MAX: usize = 65_535;
/// The longest users file that is edited.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Arguments of `passwd`.
#[derive(Debug, Clone, clap::Args)]
pub struct PasswdArgs {
    /// The users file; it is made if it is not there
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The user name
    #[arg(value_name = "USER")]
    pub user: String,
    /// Take the user out of the file
    #[arg(short = 'D', long, conflicts_with = "password_stdin")]
    pub delete: bool,
    /// Read the password from standard input, up to the end of its first line
    #[arg(long)]
    pub password_stdin: bool,
}

/// Sets the password of a user, or takes the user out. The other lines of the file stay as they are; a gateway that uses
/// the file reads it again by itself.
///
/// # Errors
/// The file cannot be read or written, is no users file, the name cannot be one, or the two passwords differ.
pub fn passwd(args: &PasswdArgs) -> anyhow::Result<ExitStatus> {
    let PasswdArgs { file, user, .. } = args;
    // A link stays one: what it leads to is rewritten.
    let file = &fs::canonicalize(file).unwrap_or_else(|_| file.clone());
    let text = read(file)?;
    // Before anybody types in vain.
    let probe = PasswordHash::argon2id(b"", &[0; SALT_BYTES]);
    let in_file = || format!("{}", file.display());
    let probed = edit_users(&text, user, if args.delete { None } else { Some(&probe) });
    let faults = Users::parse(&probed.with_context(in_file)?).err().unwrap_or_default();
    no_users_file(file, &faults)?;
    let hash = if args.delete {
        None
    } else {
        let password = if args.password_stdin { from_stdin()? } else { asked_twice(user)? };
        ensure!(!password.is_empty(), "an empty password lets anybody in; nothing was changed");
        ensure!(
            password.len() <= PASSWORD_BYTES_MAX,
            "MQTT carries passwords of at most {PASSWORD_BYTES_MAX} bytes; nothing was changed"
        );
        let mut salt = [0; SALT_BYTES];
        let random = SystemRandom::new();
        random.fill(&mut salt).ok().context("the system gives no random numbers")?;
        Some(PasswordHash::argon2id(password.as_bytes(), &salt))
    };
    let edited = edit_users(&text, user, hash.as_ref()).with_context(in_file)?;
    write(file, &edited).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(ExitStatus::Done)
}

/// Nobody's key or configuration gets a user at its end: a file with other lines that cannot be read stays as it is.
fn no_users_file(file: &Path, faults: &[Fault]) -> anyhow::Result<()> {
    if faults.is_empty() {
        return Ok(());
    }
    let faults = AccessError::Faults { file: file.to_owned(), faults: faults.to_vec() };
    bail!("{faults}\nnothing was changed: mend or remove these lines first, or name the right file")
}

fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(text),
        opened => opened.and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)),
    }
    .with_context(|| format!("cannot read {}", file.display()))?;
    ensure!(text.len() as u64 <= FILE_BYTES_MAX, "{} is too long for a users file", file.display());
    Ok(text)
}

/// Puts the text in the file's place at once: whoever reads meanwhile reads the old one or this one. The file keeps its
/// mode and owner; one that is made is its owner's alone.
fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = file.file_name().context("this is not the name of a file")?;
    let beside = dir.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let before = fs::metadata(file).ok();
    let written = (|| -> io::Result<()> {
        let mut options = File::options();
        let mut beside_file = options.write(true).create_new(true).mode(0o600).open(&beside)?;
        beside_file.write_all(text.as_bytes())?;
        if let Some(before) = &before {
            // Who may not give files away keeps it.
            let _ = std::os::unix::fs::chown(&beside, Some(before.uid()), Some(before.gid()));
            let mode = before.permissions().mode() & 0o777;
            beside_file.set_permissions(Permissions::from_mode(mode))?;
        }
        beside_file.sync_all()?;
        fs::rename(&beside, file)?;
        File::open(dir)?.sync_all()
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    Ok(written?)
}

fn from_stdin() -> anyhow::Result<String> {
    let mut line = String::new();
    let limit = PASSWORD_BYTES_MAX as u64 + 2;
    io::stdin().lock().take(limit).read_line(&mut line).context("cannot read the password")?;
    Ok(without_line_break(&line).to_owned())
}

fn asked_twice(user: &str) -> anyhow::Result<String> {
    if !io::stdin().is_terminal() {
        bail!("there is no terminal to ask on; write `--password-stdin` to hand the password over");
    }
    let password = asked(&format!("Password of {user}: "))?;
    ensure!(password == asked("Again: ")?, "the two passwords differ; nothing was changed");
    Ok(password)
}

/// Asks on the terminal, which does not show what is typed until there is an answer, or a signal such as Ctrl-C ends the
/// program.
fn asked(question: &str) -> anyhow::Result<String> {
    let stdin = io::stdin();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut ends = {
        let _entered = runtime.enter();
        let ends = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        ends.map(signal).into_iter().collect::<io::Result<Vec<Signal>>>()?
    };
    eprint!("{question}");
    let shown = tcgetattr(&stdin).context("cannot ask on this terminal")?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    hidden.local_modes.insert(LocalModes::ECHONL);
    tcsetattr(&stdin, OptionalActions::Flush, &hidden).context("cannot hide the password")?;
    let _restored = Restored(shown);
    let (answer, answered) = oneshot::channel();
    // Nothing ends a read from a terminal, so it has a thread that may be left behind.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        let _ = answer.send(read.map(|_| line));
    });
    let line = runtime.block_on(async {
        let [interrupt, terminate, hangup] = &mut ends[..] else { return None };
        tokio::select! {
            line = answered => line.ok(),
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
            _ = hangup.recv() => None,
        }
    });
    let Some(line) = line else { bail!("stopped; nothing was changed") };
    let line = line.context("cannot read the password")?;
    ensure!(!line.is_empty(), "no password was typed; nothing was changed");
    Ok(without_line_break(&line).to_owned())
}

/// Shows what is typed again, also when reading fails or is given up.
struct Restored(Termios);

impl Drop for Restored {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

fn without_line_break(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

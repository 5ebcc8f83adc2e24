//! shell: `fieldpost sub` and `fieldpost pub` as processes.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::support::{Process, wait_until};

pub const VERSIONS: [&str; 3] = ["31", "311", "5"];

/// `fieldpost` with these arguments, split at spaces, towards a port of this machine.
pub fn fieldpost(port: u16, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fieldpost"));
    let mut words = arguments.split(' ');
    command.args(words.next());
    command.args(["-h", "127.0.0.1", "-p", &port.to_string()]).args(words);
    command.env_remove("FIELDPOST_PASSWORD");
    command
}

/// Runs it to its end.
#[track_caller]
pub fn run(port: u16, arguments: &str) -> Output {
    fieldpost(port, arguments).stdin(Stdio::null()).output().expect("fieldpost runs")
}

/// Runs it to its end with `input` as its standard input.
#[track_caller]
pub fn run_with(port: u16, arguments: &str, input: &[u8]) -> Output {
    let mut child = fieldpost(port, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("fieldpost runs");
    let mut stdin = child.stdin.take().expect("its input");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("it ends");
    let _ = writer.join();
    output
}

/// Runs it and wants status 0.
#[track_caller]
pub fn done(port: u16, arguments: &str) -> Output {
    let output = run(port, arguments);
    assert!(output.status.success(), "{arguments}: {output:?}");
    output
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A `fieldpost sub` that runs beside the test; what it prints is kept byte for byte.
#[derive(Debug)]
pub struct Sub {
    process: Process,
    dir: tempfile::TempDir,
}

impl Sub {
    /// Starts it and waits until it is subscribed.
    #[track_caller]
    pub fn start(port: u16, arguments: &str) -> Self {
        let mut sub = Self::begin(&fieldpost(port, &format!("sub -d {arguments}")));
        sub.process.wait_for_log("received SUBACK");
        sub
    }

    /// Starts a command and waits for nothing.
    #[track_caller]
    pub fn begin(command: &Command) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut shell = Command::new("sh");
        shell.args(["-c", "out=$1; shift; exec \"$@\" >\"$out\"", "sh"]);
        shell.arg(dir.path().join("out")).arg(command.get_program()).args(command.get_args());
        let process = Process::spawn(shell, &dir.path().join("log"));
        Self { process, dir }
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What it has printed.
    pub fn printed(&self) -> Vec<u8> {
        fs::read(self.dir.path().join("out")).unwrap_or_default()
    }

    #[track_caller]
    pub fn wait_for(&self, wanted: &[u8]) {
        wait_until(&format!("{:?} is printed", text(wanted)), || self.printed() == wanted);
    }

    /// Waits for its end; gives status and output.
    #[track_caller]
    pub fn ended(mut self) -> (Option<i32>, Vec<u8>) {
        (self.process.wait().code(), self.printed())
    }

    /// What it said on standard error.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

//! shell: child processes that end with their test.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::wait::{DEADLINE, wait_until, wait_until_for};

/// A child process in a group of its own, its output in a file. Dropping it kills the whole group.
#[derive(Debug)]
pub struct Process {
    child: Child,
    status: Option<ExitStatus>,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; standard output and error are appended to `log`.
    #[track_caller]
    pub fn spawn(mut command: Command, log: &Path) -> Self {
        let open = || OpenOptions::new().create(true).append(true).open(log).expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(open())
            .stderr(open())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        Self { child, status: None, log: log.to_owned() }
    }

    /// The process id, which is that of its group, too.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that was written so far, by earlier processes on the same log as well.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    /// Waits until the log contains `text`. Fails the test if the process ends before.
    #[track_caller]
    pub fn wait_for_log(&mut self, text: &str) {
        let mut ended = false;
        let found = wait_until_for(DEADLINE, || {
            ended = self.has_ended();
            self.log().contains(text) || ended
        });
        let log = self.log();
        assert!(found && log.contains(text), "{text:?} was not written (ended: {ended}):\n{log}");
    }

    /// Whether the process is gone.
    pub fn has_ended(&mut self) -> bool {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("a child can be waited for");
        }
        self.status.is_some()
    }

    /// Waits for the end and returns how it ended.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        wait_until("the process ends", || self.has_ended());
        self.status.expect("it has ended")
    }

    /// Sends a signal, `TERM` or `KILL` and the like, to the process itself.
    pub fn signal(&mut self, name: &str) {
        if !self.has_ended() {
            kill(name, &self.id().to_string());
        }
    }

    /// SIGTERM, then waits for the end.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// SIGKILL for the whole group, then waits for the end.
    pub fn kill(&mut self) {
        if !self.has_ended() {
            kill("KILL", &format!("-{}", self.id()));
            // Also if the group is gone already: a child that is not waited for stays in the process table.
            let _ = self.child.kill();
            self.status = self.child.wait().ok();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Children of an ended child may live on in its group.
        kill("KILL", &format!("-{}", self.id()));
        self.kill();
    }
}

/// The shell's own `kill`, for machines without procps.
fn kill(signal: &str, who: &str) {
    let _ = Command::new("sh")
        .args(["-c", &format!("kill -s {signal} -- {who}")])
        .stderr(Stdio::null())
        .status();
}

//! shell: child processes that end with their test.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::wait::{DEADLINE, wait_until, wait_until_for};

/// A child process in a group of its own, its output in a file. Dropping it kills the whole group, and so does the end
/// of the test itself, however it comes about.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// A shell that waits for the end of its input, which we hold open, and then kills the group.
    guard: Child,
    status: Option<ExitStatus>,
    log: PathBuf,
    /// Where in the log this process begins.
    begin: usize,
}

impl Process {
    /// Starts `command`; standard output and error are appended to `log`.
    #[track_caller]
    pub fn spawn(mut command: Command, log: &Path) -> Self {
        let open = || OpenOptions::new().create(true).append(true).open(log).expect("a log file");
        let begin = fs::read(log).map_or(0, |before| before.len());
        let child = command
            .stdin(Stdio::null())
            .stdout(open())
            .stderr(open())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let guard = Command::new("sh")
            .args(["-c", "read -r _; kill -s KILL -- -$0", &child.id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("a shell starts");
        Self { child, guard, status: None, log: log.to_owned(), begin }
    }

    /// The process id, which is that of its group, too.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that was written so far, by earlier processes on the same log as well.
    pub fn log(&self) -> String {
        self.log_from(0)
    }

    /// What this process has written so far.
    pub fn own_log(&self) -> String {
        self.log_from(self.begin)
    }

    fn log_from(&self, begin: usize) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(begin..).unwrap_or_default()).into_owned()
    }

    /// Waits until this process has written `text`. Fails the test if it ends before.
    #[track_caller]
    pub fn wait_for_log(&mut self, text: &str) {
        let mut ended = false;
        let found = wait_until_for(DEADLINE, || {
            ended = self.has_ended();
            self.own_log().contains(text) || ended
        });
        let log = self.own_log();
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
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
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

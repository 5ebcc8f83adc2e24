//! shell: the processes of a run: they start, are killed, and do not outlive it.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this shell runs processes, reads their logs and tries ports"
)]

use std::fs::OpenOptions;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// How long a process may take to listen, or to stop when it is asked to.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a port is tried that nobody listens on yet.
const TRY: Duration = Duration::from_millis(2);
/// Lines of a log that are shown when something went wrong.
const LAST_LINES: usize = 15;

/// A child process that writes into a log file.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts it with nothing to read; what it says is appended to `log`.
    pub(super) fn spawn(command: Command, log: &Path) -> anyhow::Result<Self> {
        Self::spawn_reading(command, Stdio::null(), log)
    }

    /// Starts it with something to read; what it says is appended to `log`.
    pub(super) fn spawn_reading(
        mut command: Command,
        input: Stdio,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let open = || OpenOptions::new().create(true).append(true).open(log);
        let what = command.as_std().get_program().to_owned();
        let child = command
            .stdin(input)
            .stdout(open()?)
            .stderr(open()?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", what.display()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Its number, until it has ended.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for its end.
    pub(super) async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        self.child.wait().await.context("cannot wait for a process")
    }

    /// SIGKILL; how it ended, which may be otherwise if it was faster.
    pub(super) async fn kill(&mut self) -> anyhow::Result<ExitStatus> {
        // It may have ended a moment ago.
        let _ = self.child.start_kill();
        self.ended().await
    }

    /// SIGTERM; waits until it has stopped in order.
    pub(super) async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            let _ = kill_process(id, Signal::TERM);
        }
        let stopped = timeout(PATIENCE, self.ended()).await;
        stopped
            .with_context(|| format!("a process does not stop; it said\n{}", self.last_words()))?
    }

    /// The end of what it and those before it have said.
    pub(super) fn last_words(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        // While it lives it may write into directories that are being removed.
        while let Ok(None) = self.child.try_wait() {
            std::thread::sleep(TRY);
        }
    }
}

/// The path of an installed program; brokers lie in `sbin`, which not every user searches.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file())
}

/// Waits until somebody listens on a port of 127.0.0.1.
pub(super) async fn listens(port: u16, process: &mut Running) -> anyhow::Result<()> {
    let connected = timeout(PATIENCE, async {
        while tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            sleep(TRY).await;
        }
    });
    tokio::select! {
        done = connected => done.ok(),
        _ = process.ended() => None,
    }
    .with_context(|| format!("nobody listens on port {port}:\n{}", process.last_words()))
}

/// A port of 127.0.0.1 that is free, below those the system gives to outgoing connections, so that it still is when its
/// owner has been killed.
pub(super) fn free_port() -> u16 {
    loop {
        let port = fastrand::u16(15_000..32_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

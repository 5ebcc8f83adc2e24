//! shell: the brokers that are measured: this program or mosquitto, in a directory of its own, looked at from outside.
#![allow(clippy::disallowed_methods, reason = "this shell writes configurations and reads /proc")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::Command;

use crate::bench::process::{Running, find, free_port, listens};
use crate::demo::scratch::Scratch;
use crate::service::usage;

/// Whose broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Side {
    /// This program.
    Fieldpost(PathBuf),
    /// An installed mosquitto.
    Mosquitto(PathBuf),
}

impl Side {
    /// The mosquitto of this machine.
    pub(super) fn mosquitto() -> Option<Self> {
        find("mosquitto").map(Self::Mosquitto)
    }

    /// Its name, as files have it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Fieldpost(_) => "fieldpost",
            Self::Mosquitto(_) => "mosquitto",
        }
    }
}

/// A running broker and where its files are.
#[derive(Debug)]
pub(super) struct Broker {
    side: Side,
    running: Running,
    port: u16,
    arguments: Vec<OsString>,
    log: PathBuf,
    // Last: it goes when the process has ended.
    _scratch: Scratch,
}

impl Broker {
    /// Starts one with an empty state on a free port of 127.0.0.1. It keeps its state in `dir`.
    pub(super) async fn start(side: &Side, dir: &Path) -> anyhow::Result<Self> {
        let scratch = Scratch::new_in(dir).context("cannot make a directory")?;
        let port = free_port();
        let mut arguments: Vec<OsString> = Vec::new();
        match side {
            Side::Fieldpost(_) => {
                let state = scratch.directory("state")?;
                let listen = format!("127.0.0.1:{port}");
                arguments.extend(["broker", "--anonymous", "--log", "warn"].map(OsString::from));
                arguments.extend(["--listen".into(), listen.into()]);
                arguments.extend(["--state-dir".into(), state.into_os_string()]);
            }
            Side::Mosquitto(_) => {
                let file = scratch.path().join("mosquitto.conf");
                // Without `user` one started by root changes to a user who may not read here.
                let text = format!(
                    "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence false\n\
                     max_queued_messages 0\nmax_inflight_messages 0\nset_tcp_nodelay true\n\
                     log_dest stderr\nlog_type error\n"
                );
                std::fs::write(&file, text)?;
                arguments.extend(["-c".into(), file.into_os_string()]);
            }
        }
        let log = scratch.path().join("log");
        let running = spawn(side, &arguments, &log)?;
        let side = side.clone();
        let mut broker = Self { side, running, port, arguments, log, _scratch: scratch };
        listens(port, &mut broker.running).await?;
        Ok(broker)
    }

    /// Where it listens.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Its process, for whoever looks at it.
    pub(super) fn process(&self) -> anyhow::Result<Process> {
        let id = self.running.id();
        let id = id.with_context(|| format!("a broker ended:\n{}", self.running.last_words()))?;
        Ok(Process { id })
    }

    /// The end of what it has said.
    pub(super) fn last_words(&self) -> String {
        self.running.last_words()
    }

    /// Kills it without a word and starts it again on what it left.
    pub(super) async fn kill_and_restart(&mut self) -> anyhow::Result<()> {
        self.running.kill().await?;
        self.running = spawn(&self.side, &self.arguments, &self.log)?;
        listens(self.port, &mut self.running).await
    }

    /// Stops it; what it had to say is in the error.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let status = self.running.stop().await?;
        anyhow::ensure!(
            status.success(),
            "{} failed:\n{}",
            self.side.name(),
            self.running.last_words()
        );
        Ok(())
    }
}

fn spawn(side: &Side, arguments: &[OsString], log: &Path) -> anyhow::Result<Running> {
    let (Side::Fieldpost(program) | Side::Mosquitto(program)) = side;
    let mut command = Command::new(program);
    command.args(arguments);
    Running::spawn(command, log)
}

/// A process seen from outside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process {
    id: u32,
}

impl Process {
    /// The processor time it has used, all threads, user and system. To the nanosecond where the kernel tells that; else
    /// to the hundredth of a second.
    pub(super) fn cpu(self) -> anyhow::Result<Duration> {
        cpu(&format!("/proc/{}", self.id))
            .map_or_else(|| Ok(usage(Some(self.id)).context("a broker is gone")?.cpu), Ok)
    }

    /// Its resident memory in bytes.
    pub(super) fn rss(self) -> anyhow::Result<u64> {
        Ok(usage(Some(self.id)).context("a broker is gone")?.rss)
    }
}

/// The processor time of this process, as [`Process::cpu`].
pub(super) fn own_cpu() -> Duration {
    cpu("/proc/self").unwrap_or_default()
}

/// The first number of each thread's `schedstat` (sched-stats.rst): nanoseconds on a processor. Threads of the brokers do not
/// end while they are measured.
fn cpu(process: &str) -> Option<Duration> {
    let mut nanoseconds = 0;
    for thread in std::fs::read_dir(format!("{process}/task")).ok()? {
        let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        nanoseconds += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
}

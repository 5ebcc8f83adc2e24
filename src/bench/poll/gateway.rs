//! shell: the `run` process whose polling is measured.
#![allow(
    clippy::disallowed_methods,
    reason = "this shell writes a configuration and runs a process"
)]

use std::path::Path;

use anyhow::Context as _;
use tokio::process::Command;

use crate::bench::process::Running;
use crate::demo::scratch::Scratch;

/// A gateway in directories of its own.
#[derive(Debug)]
pub(super) struct Gateway {
    running: Running,
    // Last: they go when the process has ended.
    _scratch: Scratch,
    _memory: Scratch,
}

impl Gateway {
    /// Starts `program` on a configuration that continues `rest`, the keys beside `gateway` and `log`.
    pub(super) fn start(program: &Path, rest: &str) -> anyhow::Result<Self> {
        let scratch = Scratch::new().context("cannot make a directory for temporary files")?;
        // Memory, as systemd's RuntimeDirectory is.
        let memory = Scratch::new_in(Path::new("/dev/shm")).context("no /dev/shm to stage in")?;
        let config = format!(
            "gateway: {{ id: bench, state_dir: {}, runtime_dir: {} }}\nlog: {{ level: error }}\n{rest}",
            scratch.directory("gateway")?.display(),
            memory.directory("run")?.display(),
        );
        let file = scratch.path().join("bench.yaml");
        std::fs::write(&file, config).context("cannot write the configuration")?;
        let mut command = Command::new(program);
        command.args(["run", "-c"]).arg(&file);
        let running = Running::spawn(command, &scratch.path().join("log"))?;
        Ok(Self { running, _scratch: scratch, _memory: memory })
    }

    /// Its number.
    pub(super) fn id(&self) -> anyhow::Result<u32> {
        let id = self.running.id();
        id.with_context(|| format!("the gateway ended:\n{}", self.last_words()))
    }

    /// The end of what it has said.
    pub(super) fn last_words(&self) -> String {
        self.running.last_words()
    }

    /// Stops it in order.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let status = self.running.stop().await?;
        anyhow::ensure!(status.success(), "the gateway failed:\n{}", self.last_words());
        Ok(())
    }
}

//! shell: serial lines out of pseudo-terminals.

use std::path::{Path, PathBuf};

use super::peers;
use super::process::Process;
use super::wait::wait_until;

/// Two serial ports that are the ends of one line.
#[derive(Debug)]
pub struct Line {
    socat: Process,
    dir: tempfile::TempDir,
}

/// A line of two pseudo-terminals by socat. Bytes pass at once, whatever the baud rate; parity is not carried.
#[track_caller]
pub fn pty_pair() -> Line {
    let dir = tempfile::tempdir().expect("a directory for the line");
    let socat = plug(dir.path());
    Line { socat, dir }
}

impl Line {
    /// The port of the gateway.
    pub fn near(&self) -> PathBuf {
        self.dir.path().join("near")
    }

    /// The port of the devices.
    pub fn far(&self) -> PathBuf {
        self.dir.path().join("far")
    }

    /// Pulls both ports out, as an adapter is.
    pub fn unplug(&mut self) {
        self.socat.kill();
        for port in [self.near(), self.far()] {
            let _ = std::fs::remove_file(port);
        }
    }

    /// Plugs both ports in again under their old names.
    #[track_caller]
    pub fn plug_in(&mut self) {
        self.socat = plug(self.dir.path());
    }
}

#[track_caller]
fn plug(dir: &Path) -> Process {
    let end = |name: &str| format!("pty,raw,echo=0,link={}", dir.join(name).display());
    let mut command = peers::program("socat");
    command.args([end("near"), end("far")]);
    let socat = Process::spawn(command, &dir.join("socat.log"));
    wait_until("socat makes both ports", || dir.join("near").exists() && dir.join("far").exists());
    socat
}

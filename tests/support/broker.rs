//! shell: a mosquitto of the test's own.

use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::peers;
use super::process::Process;
use super::wait::{DEADLINE, wait_until_for};

/// A mosquitto with persistence on a port of its own, which it keeps over restarts.
#[derive(Debug)]
pub struct Mosquitto {
    process: Process,
    dir: tempfile::TempDir,
    port: u16,
}

impl Mosquitto {
    /// Starts a broker on 127.0.0.1 for anybody.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with("allow_anonymous true\n")
    }

    /// Starts a broker on 127.0.0.1 with lines of `mosquitto.conf(5)`; who may connect must be among them.
    #[track_caller]
    pub fn start_with(lines: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the broker");
        for _ in 0..20 {
            let port = free_port();
            let config = format!(
                "listener {port} 127.0.0.1\n\
                 user root\n\
                 persistence true\n\
                 persistence_location {}/\n\
                 max_queued_messages 1000000\n\
                 set_tcp_nodelay true\n\
                 log_dest stderr\n\
                 log_type all\n\
                 connection_messages true\n\
                 {lines}",
                dir.path().display()
            );
            fs::write(dir.path().join("mosquitto.conf"), config).expect("the configuration");
            if let Some(process) = spawn(dir.path()) {
                return Self { process, dir, port };
            }
        }
        panic!("no free port was found for mosquitto");
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `mqtt://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// All it has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Stops it in good order: it saves its sessions, queues and retained messages.
    #[track_caller]
    pub fn stop(&mut self) {
        self.process.terminate();
    }

    /// Ends it with SIGKILL: what was not saved is gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Freezes it: connections stay open, nothing is answered.
    pub fn freeze(&mut self) {
        self.process.signal("STOP");
    }

    /// Lets a frozen broker go on.
    pub fn thaw(&mut self) {
        self.process.signal("CONT");
    }

    /// Removes what a stopped broker had saved: sessions, queues and retained messages.
    #[track_caller]
    pub fn forget(&mut self) {
        assert!(self.process.has_ended(), "the broker is running");
        fs::remove_file(self.dir.path().join("mosquitto.db")).expect("the broker had saved");
    }

    /// Starts it again on the same port after [`stop`](Self::stop) or [`kill`](Self::kill).
    #[track_caller]
    pub fn start_again(&mut self) {
        assert!(self.process.has_ended(), "the broker is running");
        let dir = self.dir.path();
        let mut restarted = None;
        wait_until_for(DEADLINE, || {
            restarted = spawn(dir);
            restarted.is_some()
        });
        self.process = restarted.expect("the broker starts again on its port");
    }
}

/// A running broker, or `None` if its port is taken.
#[track_caller]
fn spawn(dir: &Path) -> Option<Process> {
    let mut command = peers::program("mosquitto");
    command.arg("-c").arg(dir.join("mosquitto.conf"));
    let mut process = Process::spawn(command, &dir.join("mosquitto.log"));
    let mut said = String::new();
    let settled = wait_until_for(DEADLINE, || {
        let ended = process.has_ended();
        said = process.own_log();
        ended || said.contains(" running")
    });
    assert!(settled, "mosquitto says neither that it runs nor why not:\n{said}");
    if process.has_ended() {
        assert!(said.contains("Address already in use"), "mosquitto does not start:\n{said}");
        return None;
    }
    Some(process)
}

/// A port of 127.0.0.1 that was free a moment ago, below those the system gives to outgoing connections, so that it is
/// still free when its owner restarts. No other test is given it while this one runs; who binds it tries another one if
/// somebody else was faster.
pub fn free_port() -> u16 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").subsec_nanos();
    let mut mixed = nanos
        ^ process::id().wrapping_mul(0x9E37_79B9)
        ^ CALLS.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x85EB_CA6B);
    loop {
        mixed = mixed.wrapping_mul(0x0019_660D).wrapping_add(0x3C6E_F35F);
        let port = 15_000 + u16::try_from((mixed >> 16) % 17_000).expect("below 32,000");
        if claim(port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Takes a port for as long as this process lives. Tests run side by side, and a port that its owner is yet to bind, or
/// binds again after a restart, looks free to all of them.
fn claim(port: u16) -> bool {
    let name = SocketAddr::from_abstract_name(format!("fieldpost-test-port-{port}"));
    let held = UnixListener::bind_addr(&name.expect("a short name"));
    // It is let go with the process.
    held.map(std::mem::forget).is_ok()
}

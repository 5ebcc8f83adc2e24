//! shell: a broker in a process of its own, and connections on which a test says what it wants.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{DEADLINE, Process};

/// CONNECT of 3.1.1 and of 5.0, client ids `a` and `b`, keep alive 60 s.
pub const CONNECT_V311: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";
pub const CONNECT_V5: &[u8] = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01b";

/// A running broker.
pub struct Broker {
    pub process: Process,
    _dir: tempfile::TempDir,
    /// As it says itself, in its order.
    pub addresses: Vec<String>,
}

impl Broker {
    /// `fieldpost broker` with these arguments, ready.
    #[track_caller]
    pub fn start(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut command = command("broker");
        command.args(arguments);
        let mut process = Process::spawn(command, &dir.path().join("log"));
        process.wait_for_log("gateway started");
        process.wait_for_log("listening ");
        let log = process.own_log();
        let line = log.lines().find_map(|line| line.strip_prefix("listening ")).expect("the line");
        let addresses = line.split(' ').map(str::to_owned).collect();
        Self { process, _dir: dir, addresses }
    }

    /// `fieldpost run` with `broker:` as written; listeners on port 0.
    #[track_caller]
    pub fn run(broker: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let config = dir.path().join("fieldpost.yaml");
        let state = dir.path().join("state");
        let text =
            format!("gateway: {{ id: g, state_dir: {} }}\nbroker:\n{broker}", state.display());
        std::fs::write(&config, text).expect("a configuration");
        let mut command = command("run");
        command.arg("-c").arg(&config);
        let mut process = Process::spawn(command, &dir.path().join("log"));
        process.wait_for_log("gateway started");
        let told =
            |line: &str| Some(line.split_once("broker listens address=")?.1.trim().to_owned());
        let addresses = process.own_log().lines().filter_map(told).collect();
        Self { process, _dir: dir, addresses }
    }

    /// The port of its listener number `index`.
    #[track_caller]
    pub fn port(&self, index: usize) -> u16 {
        let address = &self.addresses[index];
        let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
        port.unwrap_or_else(|| panic!("{address} has no port"))
    }

    #[track_caller]
    pub fn wait_for_log(&mut self, text: &str) {
        self.process.wait_for_log(text);
    }

    /// A connection to its listener number `index`.
    #[track_caller]
    pub fn dial(&self, index: usize) -> Line {
        Line::dial(self.port(index))
    }

    /// SIGTERM; gives everything that was logged.
    #[track_caller]
    pub fn stop(mut self) -> String {
        let status = self.process.terminate();
        let log = self.process.own_log();
        assert!(status.success(), "{status}: {log}");
        log
    }
}

fn command(subcommand: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fieldpost"));
    command.arg(subcommand).env_remove("RUNTIME_DIRECTORY").env_remove("JOURNAL_STREAM");
    command
}

/// `fieldpost broker` that should not start.
#[track_caller]
pub fn fails(arguments: &[&str]) -> Output {
    let output = command("broker").args(arguments).output().expect("it runs");
    assert!(!output.status.success(), "{output:?}");
    output
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("a path of letters")
}

/// A plain connection.
pub struct Line(pub TcpStream);

impl Line {
    #[track_caller]
    pub fn dial(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        Self(stream)
    }

    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("bytes leave");
    }

    /// The next `count` bytes.
    #[track_caller]
    pub fn receive(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).expect("bytes come");
        bytes
    }

    /// Everything until the broker closes.
    #[track_caller]
    pub fn until_closed(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Ok(_) => bytes,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => bytes,
            Err(error) => panic!("not closed: {error}"),
        }
    }

    /// Whether the connection answers as one that is let in does.
    #[track_caller]
    pub fn is_let_in(&mut self, connect: &[u8]) -> bool {
        self.send(connect);
        let head = self.receive(2);
        let ack = self.receive(head[1].into());
        assert_eq!(head[0], 0x20, "a CONNACK");
        ack[1] == 0
    }
}

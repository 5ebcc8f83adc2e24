//! shell: MQTT clients that are not ours.

use std::process::Command;

use serde_json::Value;

use super::peers;
use super::process::Process;
use super::wait::wait_until;

/// A message as a subscriber got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub topic: String,
    /// The payload as text; `payload_hex` if it is no UTF-8.
    pub payload: String,
    pub qos: u64,
    pub retain: bool,
    /// The DUP flag (paho only).
    pub dup: bool,
    /// The packet id, 0 at QoS 0.
    pub mid: u64,
    /// The correlation data (MQTT 5, `mosquitto_sub` only).
    pub correlation: Option<String>,
}

/// A subscriber in a process of its own that writes down what it gets.
#[derive(Debug)]
pub struct Subscriber {
    process: Process,
    _dir: tempfile::TempDir,
}

impl Subscriber {
    /// paho-mqtt at QoS 2, MQTT 5, with a session that outlives its connections. Waits until it is subscribed.
    #[track_caller]
    pub fn paho(port: u16, client: &str, filter: &str) -> Self {
        Self::paho_with(port, client, filter, &[])
    }

    /// The same with further arguments (`--qos 1`, `--version 3`).
    #[track_caller]
    pub fn paho_with(port: u16, client: &str, filter: &str, arguments: &[&str]) -> Self {
        let mut command = peers::script("subscriber.py");
        command.args([&port.to_string(), filter, "--client", client]).args(arguments);
        Self::start(command, r#"{"subscribed": true}"#)
    }

    #[track_caller]
    fn start(command: Command, subscribed: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the subscriber");
        let mut process = Process::spawn(command, &dir.path().join("log"));
        process.wait_for_log(subscribed);
        Self { process, _dir: dir }
    }

    /// All messages so far, in the order they came.
    pub fn received(&self) -> Vec<Received> {
        let log = self.process.log();
        // The last line may be half written.
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        whole.lines().filter_map(message).collect()
    }

    /// All it has written.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// How often it has subscribed: once, and again after each reconnection (paho only).
    pub fn subscriptions(&self) -> usize {
        self.process.log().matches(r#"{"subscribed": true}"#).count()
    }

    /// Waits until at least `count` messages came and returns all.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        let mut all = Vec::new();
        wait_until(&format!("the subscriber gets {count} messages"), || {
            all = self.received();
            all.len() >= count
        });
        all
    }

    /// Leaves in good order; the session stays at the broker.
    #[track_caller]
    pub fn stop(mut self) -> Vec<Received> {
        self.process.terminate();
        self.received()
    }
}

/// `mosquitto_sub` with further arguments (`-q 2`, `-c -i ID`, `-V 5`). Waits until it is subscribed.
#[track_caller]
pub fn mosquitto_sub(port: u16, filter: &str, arguments: &[&str]) -> Subscriber {
    // It keeps its debugging lines to itself until a message comes, unless stdbuf tells it otherwise.
    let mut command = peers::program("stdbuf");
    command
        .args([
            "-oL",
            "mosquitto_sub",
            "-h",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-t",
            filter,
            "-F",
            "%j",
            "-d",
        ])
        .args(arguments);
    Subscriber::start(command, "Subscribed (mid:")
}

/// `mosquitto_pub` with further arguments (`-q 2`, `-r`, `-V 5`). Waits until the message is acknowledged.
#[track_caller]
pub fn mosquitto_pub(port: u16, topic: &str, payload: &str, arguments: &[&str]) {
    let done = peers::program("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-t", topic, "-m", payload])
        .args(arguments)
        .output()
        .expect("mosquitto_pub runs");
    assert!(done.status.success(), "mosquitto_pub: {done:?}");
}

fn message(line: &str) -> Option<Received> {
    let json: Value = serde_json::from_str(line).ok()?;
    let flag = |name: &str| match json.get(name) {
        Some(Value::Bool(set)) => *set,
        other => other.and_then(Value::as_u64) == Some(1),
    };
    let number = |name: &str| json.get(name).and_then(Value::as_u64).unwrap_or_default();
    let text = |name: &str| Some(json.get(name)?.as_str()?.to_owned());
    Some(Received {
        topic: text("topic")?,
        payload: match json.get("payload") {
            // mosquitto_sub's word for no payload.
            Some(Value::Null) => String::new(),
            _ => text("payload").or_else(|| text("payload_hex"))?,
        },
        qos: number("qos"),
        retain: flag("retain"),
        dup: flag("dup"),
        mid: number("mid"),
        correlation: json["properties"]["correlation-data"].as_str().map(str::to_owned),
    })
}

//! A gateway that only carries messages: a broker on a port of its own, and uplinks.

use std::process::Stdio;

use serde_json::Value;

use crate::support::{
    Fieldpost, Received, Site, Subscriber, free_port, mosquitto_pub, mosquitto_sub, program,
    wait_until,
};

/// A running gateway and the place where it runs.
#[derive(Debug)]
pub struct Gateway {
    pub process: Fieldpost,
    pub site: Site,
    pub port: u16,
}

impl Gateway {
    /// A gateway whose broker listens on `port`; `uplinks` is indented by two.
    #[track_caller]
    pub fn start(id: &str, port: u16, uplinks: &str) -> Self {
        Self::start_within(id, port, "", uplinks)
    }

    /// The same with bounds for its clients, `inflight: 100`.
    #[track_caller]
    pub fn start_within(id: &str, port: u16, limits: &str, uplinks: &str) -> Self {
        let site = Site::new();
        site.write_config(&format!(
            "gateway: {{ id: {id}, state_dir: \"{{state}}\" }}\n\
             broker:\n  listeners: [ {{ tcp: 127.0.0.1:{port}, anonymous: true }} ]\n  limits: {{ {limits} }}\n\
             uplinks:\n{uplinks}"
        ));
        let mut process = site.start();
        process.wait_for_log("gateway started");
        Self { process, site, port }
    }

    /// On a port that is free.
    #[track_caller]
    pub fn start_anywhere(id: &str, uplinks: &str) -> Self {
        Self::start(id, free_port(), uplinks)
    }

    /// What it says of an uplink.
    #[track_caller]
    pub fn wait_for_state(&self, uplink: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let near = mosquitto_sub(self.port, &format!("+/uplinks/{uplink}/state"), &["-q", "1"]);
        let mut found = Value::Null;
        wait_until("the uplink says so", || {
            let states = near.received().into_iter().rev();
            let state = states.map(|got| serde_json::from_str(&got.payload).expect("JSON"));
            let last = { state }.find(&wanted);
            found = last.unwrap_or_default();
            !found.is_null()
        });
        found
    }
}

/// Publishes numbers from `first` on at QoS 2, over one connection.
#[track_caller]
pub fn publish_numbers(port: u16, topic: &str, prefix: &str, count: usize) {
    let mut child = program("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-t", topic, "-q", "2", "-l"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("mosquitto_pub runs");
    let mut lines = child.stdin.take().expect("it is piped");
    for number in 0..count {
        std::io::Write::write_all(&mut lines, format!("{prefix}{number}\n").as_bytes()).unwrap();
    }
    drop(lines);
    assert!(child.wait().unwrap().success());
}

/// Waits until a marker published behind everything else has arrived, and for one more behind that.
#[track_caller]
pub fn wait_for_marks(from: u16, topic: &str, at: &[&Subscriber]) {
    for mark in ["mark-1", "mark-2"] {
        mosquitto_pub(from, topic, mark, &["-q", "2"]);
        for subscriber in at {
            wait_until("the mark arrives", || {
                subscriber.received().iter().any(|got| got.topic == topic && got.payload == mark)
            });
        }
    }
}

/// The payloads that are no marks, sorted.
pub fn payloads(received: &[Received]) -> Vec<String> {
    let own = received.iter().filter(|got| !got.payload.starts_with("mark-"));
    let mut payloads: Vec<String> = own.map(|got| got.payload.clone()).collect();
    payloads.sort_unstable();
    payloads
}

/// What `publish_numbers` published, sorted.
pub fn numbers(sides: &[(&str, usize)]) -> Vec<String> {
    let mut all: Vec<String> = sides
        .iter()
        .flat_map(|(prefix, count)| (0..*count).map(move |number| format!("{prefix}{number}")))
        .collect();
    all.sort_unstable();
    all
}

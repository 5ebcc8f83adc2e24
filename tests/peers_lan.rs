//! Clients of the LAN broker that are not ours and come as they do in the field: MQTT.js from Node and from a page in a real
//! browser, over WebSocket, and a mosquitto that bridges into us; each in 3.1.1 and 5.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests touch the machine, and a failure here fails the test"
)]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use serde_json::Value;

use support::{
    DEADLINE, Fieldpost, Mosquitto, Process, Site, find, modules, mosquitto_pub, mosquitto_sub,
    require_peers, top, wait_until,
};

/// A gateway that is a broker alone, on a TCP port and a WebSocket port.
struct Broker {
    gateway: Fieldpost,
    site: Site,
}

impl Broker {
    fn start() -> Self {
        let site = Site::new();
        site.write_config(
            "gateway: { id: lan, state_dir: \"{state}\" }\n\
             broker: { listeners: [ { tcp: 127.0.0.1:0, anonymous: true }, \
             { ws: 127.0.0.1:0, anonymous: true } ] }\n",
        );
        let mut gateway = site.start();
        gateway.wait_for_log("gateway started");
        Self { gateway, site }
    }

    /// The port of a scheme, as the log has it.
    fn port(&mut self, scheme: &str) -> u16 {
        let log = self.gateway.process().own_log();
        let after = log.split(&format!("address={scheme}://127.0.0.1:")).nth(1);
        let after = after.unwrap_or_else(|| panic!("it does not listen for {scheme}:\n{log}"));
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().expect("a port")
    }
}

/// All that is sent and heard: each size at each QoS.
const MESSAGES: u64 = 24;

#[test]
fn mqtt_js_in_node_is_served_over_websocket_and_tcp_in_both_versions() {
    require_peers();
    let mut broker = Broker::start();
    for scheme in ["ws", "mqtt"] {
        for version in ["4", "5"] {
            let url = format!("{scheme}://127.0.0.1:{}", broker.port(scheme));
            let done = Command::new(find("node").expect("node"))
                .arg(top().join("tests/peers/round_trip.mjs"))
                .args([modules().to_str().expect("a path"), &url, version])
                .output()
                .expect("node runs");
            let said = String::from_utf8_lossy(&done.stdout);
            let error = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "{url}, {version}: {error}\n{}", broker.gateway.log());
            let result: Value = serde_json::from_str(&said).expect("a result");
            assert_eq!(result["messages"], MESSAGES);
        }
    }
}

/// Serves the page and what it loads on 127.0.0.1, and hears how it went.
fn serve_page() -> (u16, Receiver<Value>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (sender, results) = mpsc::channel();
    // It ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let sender = sender.clone();
            thread::spawn(move || answer(&stream, &sender));
        }
    });
    (port, results)
}

fn answer(mut stream: &TcpStream, results: &Sender<Value>) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).is_ok_and(|count| count == 0) {
            return;
        }
    }
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if method == "POST" {
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
        });
        let mut body = vec![0; length.unwrap_or(0)];
        if reader.read_exact(&mut body).is_ok() {
            let _ = results.send(serde_json::from_slice(&body).unwrap_or(Value::Null));
        }
    }
    let peers = top().join("tests/peers");
    let (file, kind) = match target.split('?').next().unwrap_or_default() {
        "/" => (peers.join("page.html"), "text/html"),
        "/mqtt_js.mjs" => (peers.join("mqtt_js.mjs"), "text/javascript"),
        "/mqtt.esm.js" => (modules().join("node_modules/mqtt/dist/mqtt.esm.js"), "text/javascript"),
        _ => ("/dev/null".into(), "text/plain"),
    };
    let body = fs::read(&file).expect("what the page loads is there");
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}

#[test]
fn a_page_in_chromium_is_served_over_websocket_in_both_versions() {
    require_peers();
    let mut broker = Broker::start();
    let (page, results) = serve_page();
    for version in ["4", "5"] {
        let profile = tempfile::tempdir().expect("a directory for the browser");
        let log = profile.path().join("chromium.log");
        let mut command = Command::new(find("chromium").expect("chromium"));
        command
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-extensions", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync", "--mute-audio"])
            .arg(format!("--user-data-dir={}", profile.path().join("profile").display()))
            .arg(format!(
                "http://127.0.0.1:{page}/?version={version}&broker=ws://127.0.0.1:{}",
                broker.port("ws")
            ));
        let mut chromium = Process::spawn(command, &log);
        let result = results.recv_timeout(2 * DEADLINE);
        chromium.kill();
        let result = result.unwrap_or_else(|_| panic!("the page says nothing: {}", chromium.log()));
        assert_eq!(result["messages"], MESSAGES, "{result}\n{}", broker.gateway.log());
    }
}

#[test]
fn a_mosquitto_bridges_into_us_both_ways_and_over_a_kill_in_both_versions() {
    for (version, protocol) in [("mqttv311", "311"), ("mqttv50", "5")] {
        let port = support::free_port();
        let mut broker = Broker::start();
        broker.gateway.sigterm();
        broker.site.write_config(&format!(
            "gateway: {{ id: lan, state_dir: \"{{state}}\" }}\n\
             broker: {{ listeners: [ {{ tcp: 127.0.0.1:{port}, anonymous: true }} ] }}\n"
        ));
        broker.gateway.restart(&broker.site);
        broker.gateway.wait_for_log("broker listens");
        let site = Mosquitto::start_with(&format!(
            "allow_anonymous true\n\
             connection ours\n\
             address 127.0.0.1:{port}\n\
             bridge_protocol_version {version}\n\
             remote_clientid bridge\n\
             cleansession false\n\
             restart_timeout 1\n\
             topic up/# out 2\n\
             topic down/# in 2\n"
        ));
        broker.gateway.wait_for_log("client_id=bridge");
        let at_ours = mosquitto_sub(port, "up/#", &["-q", "2", "-V", protocol, "-c", "-i", "ours"]);
        let at_theirs = mosquitto_sub(site.port(), "down/#", &["-q", "2", "-V", protocol]);
        wait_until("the bridge has subscribed", || site.log().contains("Received SUBACK"));
        let publish = |qos: &str, text: &str| {
            mosquitto_pub(site.port(), "up/x", text, &["-q", qos]);
            mosquitto_pub(port, "down/x", text, &["-q", qos, "-V", protocol]);
        };
        for qos in ["0", "1", "2"] {
            publish(qos, &format!("before {qos}"));
        }
        at_ours.wait_for(3);
        at_theirs.wait_for(3);
        broker.gateway.sigkill();
        for qos in ["1", "2"] {
            mosquitto_pub(site.port(), "up/x", &format!("away {qos}"), &["-q", qos]);
        }
        broker.gateway.restart(&broker.site);
        broker.gateway.wait_for_log("client_id=bridge");
        publish("2", "after");
        let texts = |received: Vec<support::Received>| -> Vec<String> {
            received.into_iter().map(|message| message.payload).collect()
        };
        let theirs = texts(at_theirs.wait_for(4));
        assert_eq!(theirs, ["before 0", "before 1", "before 2", "after"]);
        let ours = texts(at_ours.wait_for(6));
        assert_eq!(ours, ["before 0", "before 1", "before 2", "away 1", "away 2", "after"]);
    }
}

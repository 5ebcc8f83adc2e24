//! Each way in, with each client that can go it.

use std::process::Command;

use crate::pki::Authority;
use crate::stage::{Broker, CONNECT_V311, text};
use crate::support::{mosquitto_pub, mosquitto_sub, script};

#[track_caller]
fn succeeds(command: &mut Command) {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn each_way_in_carries_what_paho_sends_and_gets() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let ca = authority.write(dir.path(), "ca.pem");
    let (cert, key) = authority.server().write(dir.path(), "broker");
    let (socket, state) = (dir.path().join("mqtt.sock"), dir.path().join("state"));
    let broker = Broker::start(&[
        "--anonymous",
        "--state-dir",
        text(&state),
        "--listen",
        "0",
        "--ws",
        "0",
        "--tls",
        "0",
        "--wss",
        "0",
        "--unix",
        text(&socket),
        "--cert",
        text(&cert),
        "--key",
        text(&key),
    ]);
    let schemes: Vec<&str> = broker
        .addresses
        .iter()
        .map(|address| address.split(':').next().expect("a scheme"))
        .collect();
    assert_eq!(schemes, ["mqtt", "ws", "mqtts", "wss", "unix"]);
    for version in ["3", "5"] {
        for (index, transport, is_tls) in
            [(0, "tcp", false), (1, "websockets", false), (2, "tcp", true), (3, "websockets", true)]
        {
            let mut paho = script("round_trip.py");
            paho.args([&broker.port(index).to_string(), "--transport", transport]);
            paho.args(["--version", version]);
            if is_tls {
                paho.args(["--ca", text(&ca)]);
            }
            succeeds(&mut paho);
        }
        let mut paho = script("round_trip.py");
        succeeds(paho.args([text(&socket), "--transport", "unix", "--version", version]));
    }
    let log = broker.stop();
    assert!(!log.contains(" WARN "), "{log}");
}

#[test]
fn mosquitto_s_clients_meet_over_different_ways() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let ca = authority.write(dir.path(), "ca.pem");
    let (cert, key) = authority.server().write(dir.path(), "broker");
    let socket = dir.path().join("mqtt.sock");
    let state = dir.path().join("state");
    let broker = Broker::start(&[
        "--anonymous",
        "--listen",
        "0",
        "--tls",
        "0",
        "--unix",
        text(&socket),
        "--cert",
        text(&cert),
        "--key",
        text(&key),
        "--state-dir",
        text(&state),
    ]);
    let over_unix = mosquitto_sub(broker.port(0), "site/#", &["--unix", text(&socket), "-q", "2"]);
    let over_tls =
        mosquitto_sub(broker.port(1), "site/#", &["--cafile", text(&ca), "-V", "5", "-q", "2"]);
    mosquitto_pub(broker.port(0), "site/a", "plain", &["-q", "1"]);
    mosquitto_pub(broker.port(1), "site/a", "tls", &["--cafile", text(&ca), "-q", "2"]);
    mosquitto_pub(
        broker.port(0),
        "site/a",
        "unix",
        &["--unix", text(&socket), "-q", "2", "-V", "5"],
    );
    for subscriber in [over_unix, over_tls] {
        let got: Vec<String> = subscriber.wait_for(3).into_iter().map(|m| m.payload).collect();
        assert_eq!(got, ["plain", "tls", "unix"]);
    }
    let log = broker.stop();
    assert!(log.contains(" peer=unix:uid="), "{log}");
}

#[test]
fn a_peer_that_speaks_something_else_is_named_and_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let (cert, key) = Authority::new().server().write(dir.path(), "broker");
    let mut broker = Broker::start(&[
        "--anonymous",
        "--listen",
        "0",
        "--ws",
        "0",
        "--tls",
        "0",
        "--cert",
        text(&cert),
        "--key",
        text(&key),
    ]);
    let hello = b"\x16\x03\x01\x00\x04\x01\x00\x00\x00";
    let get = b"GET /x HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    let (plain, web, tls) = (0, 1, 2);
    for (index, bytes, words) in [
        (plain, &hello[..], "a TLS client on an MQTT port without TLS"),
        (plain, get, "an HTTP client on an MQTT port"),
        (web, hello, "a TLS client on a WebSocket port without TLS"),
        (web, CONNECT_V311, "an MQTT client on a WebSocket port"),
        (tls, CONNECT_V311, "an MQTT client without TLS on a TLS port"),
        (tls, get, "an HTTP client without TLS on a TLS port"),
        (tls, b"\x00\x00", "a peer that speaks no TLS on a TLS port"),
    ] {
        let mut line = broker.dial(index);
        line.send(bytes);
        assert_eq!(line.until_closed(), b"", "{words}");
        broker.wait_for_log(words);
    }
    let mut browser = broker.dial(web);
    browser.send(get);
    let answer = String::from_utf8(browser.until_closed()).expect("text");
    assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
    assert!(answer.contains("\r\n\r\nThis port speaks MQTT over WebSocket"), "{answer}");
    broker.wait_for_log("WebSocket refused: an HTTP client that asks for no WebSocket");
    assert!(broker.dial(plain).is_let_in(CONNECT_V311), "and the broker is none the worse");
    broker.stop();
}

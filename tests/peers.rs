//! The tests' own tools: brokers, subscribers, lines and devices do what the tests rely on.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests touch the machine")]

mod support;

use std::net::TcpListener;
use std::process::Command;

use support::{ModbusServer, Mosquitto, Process, Subscriber};

#[test]
fn everything_the_tests_need_is_installed() {
    assert_eq!(support::peers_missing(), None);
}

#[test]
fn a_subscriber_receives_what_was_published() {
    let broker = Mosquitto::start();
    let paho = Subscriber::paho(broker.port(), "p", "site/#");
    let mosquitto = support::mosquitto_sub(broker.port(), "site/#", &["-q", "1"]);
    support::mosquitto_pub(broker.port(), "site/pump", "21.4", &["-q", "2"]);
    let got = &paho.wait_for(1)[0];
    assert_eq!((got.topic.as_str(), got.payload.as_str(), got.qos), ("site/pump", "21.4", 2));
    assert!(got.mid > 0 && !got.dup && !got.retain, "{got:?}");
    let got = &mosquitto.wait_for(1)[0];
    assert_eq!((got.topic.as_str(), got.payload.as_str(), got.qos), ("site/pump", "21.4", 1));
}

#[test]
fn a_broker_keeps_its_port_and_retained_messages_over_a_restart() {
    let mut broker = Mosquitto::start();
    let port = broker.port();
    support::mosquitto_pub(port, "site/status", "online", &["-q", "1", "-r"]);
    broker.stop();
    assert!(TcpListener::bind(("127.0.0.1", port)).is_ok(), "nobody listens any more");
    broker.start_again();
    let got = support::mosquitto_sub(port, "site/status", &[]).wait_for(1);
    assert_eq!((got[0].payload.as_str(), got[0].retain), ("online", true));
}

#[test]
fn a_broker_keeps_a_session_and_its_queue_while_the_subscriber_is_away() {
    let mut broker = Mosquitto::start();
    assert!(Subscriber::paho(broker.port(), "s", "site/#").stop().is_empty());
    support::mosquitto_pub(broker.port(), "site/pump", "1", &["-q", "2"]);
    broker.stop();
    broker.start_again();
    let got = Subscriber::paho(broker.port(), "s", "site/#").wait_for(1);
    assert_eq!((got[0].payload.as_str(), got[0].qos), ("1", 2));
}

#[test]
fn a_process_and_its_children_end_with_their_handle() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 1000 & echo child=$!; wait"]);
    let mut process = Process::spawn(command, &dir.path().join("log"));
    process.wait_for_log("child=");
    let log = process.log();
    let child: u32 = log.trim().strip_prefix("child=").and_then(|n| n.parse().ok()).expect(&log);
    drop(process);
    // A zombie may wait for its new parent to notice.
    let alive = || {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
    };
    support::wait_until("the child is gone", || !alive());
}

/// What mbpoll reads at `place`: lines such as `[100]: \t215`.
fn mbpoll(place: &[&str], table: &str, address: &str) -> String {
    let arguments = ["-0", "-1", "-q", "-o", "2", "-t", table, "-r", address];
    let done = Command::new("mbpoll").args(arguments).args(place).output().expect("mbpoll runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&done.stdout) + &text(&done.stderr)
}

#[test]
fn pymodbus_answers_over_tcp_and_counts_what_was_read() {
    let bank = [("holding", 100, 215), ("input", 7, 9), ("coil", 4, 1)];
    let server = ModbusServer::pymodbus_tcp(&bank, Some(200));
    let port = server.port().to_string();
    let read = |table, address, count| {
        mbpoll(&["-m", "tcp", "-p", &port, "-c", count, "127.0.0.1"], table, address)
    };
    assert!(read("4", "100", "1").contains("[100]: \t215"));
    assert!(read("3", "7", "1").contains("[7]: \t9"));
    assert!(read("0", "4", "1").contains("[4]: \t1"));
    let refused = read("4", "500", "1");
    assert!(refused.contains("Illegal data address"), "{refused}");
    for value in 1..=3 {
        let answer = read("4", "200", "2");
        assert!(answer.contains(&format!("[201]: \t{value}")), "{answer}");
    }
    assert_eq!(server.counted(), [1, 2, 3]);
}

#[test]
fn libmodbus_answers_over_tcp() {
    let server = ModbusServer::libmodbus_tcp(&[("holding", 100, 216), ("discrete", 3, 1)]);
    let port = server.port().to_string();
    let place = ["-m", "tcp", "-p", &port, "-c", "1", "127.0.0.1"];
    assert!(mbpoll(&place, "4", "100").contains("[100]: \t216"));
    assert!(mbpoll(&place, "1", "3").contains("[3]: \t1"));
}

#[test]
fn both_libraries_answer_over_a_line_that_was_unplugged_in_between() {
    let mut line = support::pty_pair();
    let near = line.near().display().to_string();
    let place = ["-m", "rtu", "-b", "9600", "-P", "none", "-a", "5", "-c", "1", &near];
    let server = ModbusServer::pymodbus_rtu(&line.far(), 5, &[("holding", 1, 77)], None);
    let answer = mbpoll(&place, "4", "1");
    assert!(answer.contains("[1]: \t77"), "{answer}");
    drop(server);
    line.unplug();
    assert!(!line.near().exists());
    line.plug_in();
    let _server = ModbusServer::libmodbus_rtu(&line.far(), 5, &[("holding", 1, 78)]);
    let answer = mbpoll(&place, "4", "1");
    assert!(answer.contains("[1]: \t78"), "{answer}");
}

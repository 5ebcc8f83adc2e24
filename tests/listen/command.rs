//! `fieldpost broker`: what it says, what it keeps, whom it lets in.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::stage::{Broker, CONNECT_V311, fails, text};
use crate::support::{mosquitto_pub, mosquitto_sub, program};

#[test]
fn one_line_on_standard_output_says_where_it_listens() {
    let broker = Broker::start(&["--anonymous", "--listen", "0", "--listen", "127.0.0.2:0"]);
    let log = broker.process.own_log();
    assert_eq!(log.lines().filter(|line| line.starts_with("listening ")).count(), 1, "{log}");
    let [first, second] = &broker.addresses[..] else { panic!("two addresses: {log}") };
    assert!(first.starts_with("mqtt://127.0.0.1:") && second.starts_with("mqtt://127.0.0.2:"));
    assert!(broker.dial(0).is_let_in(CONNECT_V311));
    broker.stop();
}

#[test]
fn without_a_state_directory_nothing_is_left_behind() {
    let temporary = tempfile::tempdir().expect("a directory");
    let left = || fs::read_dir(temporary.path()).expect("the directory").count();
    let mut command = program("env");
    command.arg(format!("TMPDIR={}", temporary.path().display()));
    command.args([env!("CARGO_BIN_EXE_fieldpost"), "broker", "--anonymous", "--listen", "0"]);
    let log = tempfile::tempdir().expect("a directory");
    let mut process = crate::support::Process::spawn(command, &log.path().join("log"));
    process.wait_for_log("listening ");
    process.wait_for_log(
        "no --state-dir: sessions, retained and queued messages end with this process",
    );
    assert_eq!(left(), 1);
    assert!(process.terminate().success());
    assert_eq!(left(), 0);
}

#[test]
fn with_a_state_directory_what_was_acknowledged_outlives_a_kill() {
    let dir = tempfile::tempdir().expect("a directory");
    let state = dir.path().join("state");
    let arguments = ["--anonymous", "--listen", "0", "--state-dir", text(&state)];
    let mut broker = Broker::start(&arguments);
    let session = ["-c", "-i", "pump", "-q", "2"];
    mosquitto_sub(broker.port(0), "t", &session).stop();
    mosquitto_pub(broker.port(0), "t", "kept", &["-q", "2"]);
    broker.process.kill();
    let broker = Broker::start(&arguments);
    let got = mosquitto_sub(broker.port(0), "t", &session).wait_for(1);
    assert_eq!(got[0].payload, "kept");
    broker.stop();
}

#[test]
fn the_queue_of_a_broker_without_a_configuration_is_looked_at_by_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(&["-p", "0", "--anonymous", "--state-dir", text(dir.path())]);
    let session = ["-i", "away", "-c", "-q", "1"];
    mosquitto_sub(broker.port(0), "t", &session).stop();
    mosquitto_pub(broker.port(0), "t", "kept", &["-q", "1"]);
    let queue = |what: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fieldpost"));
        let command = command.arg("queue").args(what).args(["--state-dir", text(dir.path())]);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(queue(&["export", "--payload"]), (Some(0), "kept\n".to_owned()));
    let (_, running) = queue(&["status"]);
    assert!(running.contains("away"), "{running}");
    broker.stop();
    assert_eq!(queue(&["export", "--payload"]), (Some(0), "kept\n".to_owned()));
    assert_eq!(queue(&["purge", "--all", "--yes"]).0, Some(2));
}

#[test]
fn what_would_be_open_to_all_or_to_nobody_is_a_wrong_command_line() {
    for (arguments, words) in [
        (&["--listen", "0"][..], "would let nobody in: add --users FILE, or --anonymous"),
        (&["--listen", "0.0.0.0:0", "--anonymous"], "--anonymous-beyond-loopback if that is meant"),
        (&["--ws", "[::]:0", "--anonymous"], "--anonymous-beyond-loopback if that is meant"),
        (&["--tls", "0", "--anonymous"], "--cert <FILE>"),
        (&["--listen", "here", "--anonymous"], "write an address of this machine and a port"),
        (&["--anonymous", "--cert", "c.pem"], "--cert and --key are for --tls and --wss"),
        (&["--anonymous", "--client-ca", "ca.pem"], "--client-ca is for --tls and --wss"),
        (&["-c", "mosquitto.conf"], "`fieldpost import mosquitto.conf`"),
        (&["--anonymous", "--max-connections", "-1"], "-1 is not in 1.."),
    ] {
        let output = fails(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(words), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty());
    }
    Broker::start(&["--listen", "0.0.0.0:0", "--anonymous-beyond-loopback"]).stop();
}

#[test]
fn what_stands_in_the_way_of_a_start_is_said_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for (arguments, words) in [
        (&["-p", "0", "--anonymous", "--state-dir", text(&file)][..], "a file is in its place"),
        (&["-p", "192.0.2.7:0", "--anonymous-beyond-loopback"], "an address of this machine"),
    ] {
        let output = fails(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(words), "{arguments:?}: {said}");
    }
    let log = Broker::start(&["-p", "0", "--users", text(&file)]).stop();
    assert!(log.contains("nobody can enter with a name"), "{log}");
}

#[test]
fn a_state_directory_that_is_made_is_its_owner_s_alone() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    Broker::start(&["-p", "0", "--anonymous", "--state-dir", text(&state)]).stop();
    let mode = fs::metadata(&state).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn users_and_rules_of_mosquitto_s_making_are_taken() {
    let dir = tempfile::tempdir().expect("a directory");
    let (users, rules) = (dir.path().join("passwd"), dir.path().join("acl"));
    let made =
        program("mosquitto_passwd").args(["-c", "-b", text(&users), "ann", "secret"]).output();
    assert!(made.expect("mosquitto_passwd runs").status.success());
    fs::write(&rules, "user ann\ntopic readwrite open/#\n").expect("a file");
    let broker = Broker::start(&["--listen", "0", "--users", text(&users), "--acl", text(&rules)]);
    let port = broker.port(0);
    let ann = ["-u", "ann", "-P", "secret", "-q", "1"];
    let subscriber = mosquitto_sub(port, "#", &ann);
    mosquitto_pub(port, "closed/x", "nobody's", &ann);
    mosquitto_pub(port, "open/x", "everybody's", &ann);
    let got: Vec<String> = subscriber.wait_for(1).into_iter().map(|m| m.topic).collect();
    assert_eq!(got, ["open/x"]);
    let port = port.to_string();
    for wrong in [&["-u", "ann", "-P", "wrong"][..], &["-u", "bob", "-P", "secret"], &[]] {
        let mut publisher = program("mosquitto_pub");
        publisher.args(["-h", "127.0.0.1", "-p", &port, "-t", "open/x", "-m", "x"]).args(wrong);
        assert!(!publisher.output().expect("it runs").status.success(), "{wrong:?}");
    }
    broker.stop();
}

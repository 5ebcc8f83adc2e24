//! That whatever goes wrong on a bus is told with its likely cause, and stands in the README.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use fieldpost::field::modbus::pdu::ExceptionCode;
use fieldpost::field::modbus::transaction::Failure;

use crate::support::{Line, Process, Site, pty_pair};

/// One of each kind. Whoever adds a kind adds it here: the match has no other arm.
fn failures() -> Vec<Failure> {
    use ExceptionCode as Code;
    let of = |failure: &Failure| match failure {
        Failure::NoAnswer
        | Failure::EchoOnly
        | Failure::Noise { .. }
        | Failure::Short { .. }
        | Failure::Crc { .. }
        | Failure::Lrc { .. }
        | Failure::WrongUnit { .. }
        | Failure::WrongFunction { .. }
        | Failure::WrongLength { .. }
        | Failure::OtherWrite
        | Failure::Malformed
        | Failure::OnlyOlder { .. }
        | Failure::Refused { .. }
        | Failure::RefusedSomething { .. } => true,
        // Their reasons come from elsewhere.
        Failure::NotAsked { .. } | Failure::Port { .. } => false,
    };
    let codes = [
        Code::IllegalFunction,
        Code::IllegalDataAddress,
        Code::IllegalDataValue,
        Code::DeviceFailure,
        Code::Acknowledge,
        Code::DeviceBusy,
        Code::NegativeAcknowledge,
        Code::MemoryParity,
        Code::GatewayPathUnavailable,
        Code::GatewayTargetFailed,
        Code::Unknown(9),
    ];
    let others = [
        Failure::NoAnswer,
        Failure::EchoOnly,
        Failure::Noise { bytes: 7 },
        Failure::Short { received: 4, expected: 9 },
        Failure::Crc { received: 1, computed: 2 },
        Failure::Lrc { received: 1, computed: 2 },
        Failure::WrongUnit { asked: 3, answered: 7 },
        Failure::WrongFunction { asked: 3, answered: 4 },
        Failure::WrongLength { asked: 4, answered: 2 },
        Failure::OtherWrite,
        Failure::Malformed,
        Failure::OnlyOlder { count: 1 },
        Failure::RefusedSomething { code: Code::DeviceBusy },
    ];
    let refused = codes.into_iter().map(|code| Failure::Refused { code });
    others.into_iter().chain(refused).filter(of).collect()
}

#[test]
fn every_failure_is_told_with_its_cause() {
    for failure in failures() {
        let words = failure.to_string();
        let cause = words.split_once('(').map(|(_, cause)| cause).unwrap_or_default();
        assert!(cause.len() > 15, "`{words}` names no cause");
    }
}

#[test]
fn every_failure_stands_in_the_readme() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).expect("the README").replace('`', "");
    for failure in failures() {
        let words = failure.to_string();
        let seen = words.split(" (").next().unwrap_or_default();
        // Numbers differ from case to case: the longest stretch of words without one is looked for.
        let has_digit = |word: &str| word.contains(|c: char| c.is_ascii_digit());
        let words: Vec<&str> = seen.split(' ').collect();
        let stretches = words.split(|word| has_digit(word)).map(|stretch| stretch.join(" "));
        let stretch = stretches.max_by_key(String::len).expect("there are words");
        assert!(readme.contains(&stretch), "the README does not name `{stretch}` of `{seen}`");
    }
}

/// A gateway on the near port of a line; `more` stands in the settings of its bus.
fn on_line(line: &Line, more: &str) -> Site {
    let site = Site::new();
    site.write_config(&format!(
        "gateway: {{ id: gw, state_dir: \"{{state}}\" }}
buses: {{ rs485: {{ modbus-rtu: {}, baud: 19200{more} }} }}
devices: {{ meter: {{ bus: rs485, unit: 1, points: {{ x: {{ holding: 1 }} }} }} }}
",
        line.near().display()
    ));
    site
}

/// What the log gives as the reason why the bus is lost.
#[track_caller]
fn reason(log: &str) -> String {
    let line = log.lines().find(|line| line.contains("bus lost")).expect("it is lost");
    line.split_once("reason=").expect("with a reason").1.to_owned()
}

#[test]
fn a_port_that_cannot_switch_the_direction_says_what_to_take_out() {
    let line = pty_pair();
    let site = on_line(&line, ", rs485: {}");
    let mut gateway = site.start();
    gateway.wait_for_log("bus lost");
    let reason = reason(&gateway.log());
    assert!(reason.contains("cannot switch the direction of RS-485"), "{reason}");
    assert!(reason.contains("remove `rs485`"), "{reason}");
    assert!(gateway.sigterm().success());
}

#[test]
fn whoever_has_the_port_is_named() {
    let line = pty_pair();
    let (first, second) = (on_line(&line, ""), on_line(&line, ""));
    let mut holder = first.start();
    holder.wait_for_log("device fell silent");
    let mut gateway = second.start();
    gateway.wait_for_log("bus lost");
    let (reason, holder) = (reason(&gateway.log()), holder.process().id());
    assert!(reason.contains(&format!("fieldpost (process {holder})")), "{reason}");
    assert!(reason.contains("stop that"), "{reason}");
    assert!(gateway.sigterm().success());
}

#[test]
fn a_port_that_is_for_others_names_its_group_and_the_command() {
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| {
        use std::os::unix::fs::MetadataExt as _;
        me.uid() == 0
    });
    if !is_root {
        // Only root can be somebody else.
        return;
    }
    let line = pty_pair();
    let site = on_line(&line, "");
    let port = fs::canonicalize(line.near()).expect("the port");
    let run = |command: &str, args: &[&str]| {
        assert!(Command::new(command).args(args).status().expect("it runs").success(), "{command}");
    };
    run("chgrp", &["dialout", port.to_str().expect("a plain path")]);
    fs::set_permissions(&port, fs::Permissions::from_mode(0o660)).expect("the port is ours");
    let all = fs::Permissions::from_mode(0o777);
    for dir in [
        site.path().to_owned(),
        site.state_dir(),
        line.near().parent().expect("a directory").to_owned(),
    ] {
        fs::set_permissions(dir, all.clone()).expect("it is ours");
    }
    // The binary may lie where nobody else gets: it is handed over open.
    let binary = site.path().join("fieldpost");
    fs::copy(env!("CARGO_BIN_EXE_fieldpost"), &binary).expect("a copy");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&binary);
    command.args(["run", "-c"]).arg(site.config()).env_remove("RUNTIME_DIRECTORY");
    let mut gateway = Process::spawn(command, &site.path().join("nobody.log"));
    gateway.wait_for_log("bus lost");
    let reason = reason(&gateway.log());
    assert!(reason.contains("no permission to open"), "{reason}");
    assert!(
        reason.contains("it belongs to the group dialout, and nobody is not in it"),
        "{reason}"
    );
    assert!(reason.contains("`sudo usermod -aG dialout nobody`"), "{reason}");
    gateway.terminate();
}

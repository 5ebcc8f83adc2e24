//! `fieldpost bench crash`: a real gateway process is killed hundreds of times, from outside and at named steps, and the
//! far side has everything, once, in order.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests touch the machine, and a failure here fails the test"
)]

mod support;

use std::process::{Command, Output};

use serde_json::Value;

fn fieldpost(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fieldpost"));
    command.args(arguments).env_remove("RUST_LOG");
    command
}

/// Runs `bench crash --json`; what it printed is shown when the test fails.
fn crash(arguments: &[&str]) -> (Output, Value) {
    support::require_peers();
    let done = fieldpost(&["bench", "crash", "--json"]).args(arguments).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    println!("{arguments:?}\n{out}{err}");
    let row = serde_json::from_str(&out).unwrap_or(Value::Null);
    (done, row)
}

#[track_caller]
fn number(row: &Value, key: &str) -> u64 {
    row[key].as_u64().unwrap_or_else(|| panic!("{key} in {row}"))
}

/// A module of its own: these tests want the machine for themselves.
mod heavy {
    use super::*;

    /// Over `kills` ends nothing is lost or out of order, and at QoS 2 nothing doubled, in either direction.
    #[track_caller]
    fn nothing_is_lost(kills: u64, qos: u64, version: &str, arguments: &[&str]) {
        let (count, qos_text) = (kills.to_string(), qos.to_string());
        let base = ["--kills", &count, "--qos", &qos_text, "--mqtt", version];
        let (done, row) = crash(&[&base, arguments].concat());
        assert_eq!(number(&row, "kills"), kills);
        let steps = row["steps"].as_object().expect("steps");
        let aborted: u64 = steps.values().filter_map(Value::as_u64).sum();
        assert_eq!(number(&row, "outside") + aborted, kills);
        assert!(aborted > 0 && number(&row, "outside") > 0, "{row}");
        for lane in ["", "down_"] {
            let of = |key: &str| number(&row, &format!("{lane}{key}"));
            assert!(of("accepted") > kills, "{row}");
            assert_eq!((of("lost"), of("out_of_order"), of("sessions_lost")), (0, 0, 0), "{row}");
            assert!(qos == 1 || of("doubled") == 0, "{row}");
        }
        assert_eq!(done.status.code(), Some(0));
    }

    #[test]
    fn over_50_kills_at_qos_2_with_mqtt_5_nothing_is_lost_and_nothing_doubled() {
        nothing_is_lost(50, 2, "5", &["--seed", "1"]);
    }

    #[test]
    fn over_50_kills_at_qos_2_with_mqtt_3_1_1_nothing_is_lost_and_nothing_doubled() {
        nothing_is_lost(50, 2, "3.1.1", &["--seed", "2"]);
    }

    #[test]
    fn over_30_kills_at_qos_1_with_mqtt_5_nothing_is_lost() {
        nothing_is_lost(30, 1, "5", &["--seed", "3"]);
    }

    #[test]
    fn over_30_kills_at_qos_1_with_mqtt_3_1_1_nothing_is_lost() {
        nothing_is_lost(30, 1, "3.1.1", &["--seed", "4", "--upstream", "fieldpost"]);
    }

    /// The seed is in what is printed when it fails.
    #[test]
    fn over_40_kills_never_drawn_before_and_an_upstream_of_ours_nothing_is_lost_or_doubled() {
        let seed = fastrand::u64(..).to_string();
        nothing_is_lost(40, 2, "5", &["--seed", &seed, "--upstream", "fieldpost"]);
    }

    /// What mosquitto does is its own affair: only Fieldpost's figures decide.
    #[test]
    fn a_mosquitto_that_is_killed_in_its_place_has_a_row_beside_it() {
        let (done, row) = crash(&["--kills", "5", "--seed", "5", "--peer", "mosquitto-bridge"]);
        assert_eq!(done.status.code(), Some(0));
        let peer = &row["peer"];
        assert_eq!((number(&row, "kills"), number(peer, "kills")), (5, 5));
        assert_eq!(peer["name"], "mosquitto-bridge");
        assert!(peer["note"].as_str().unwrap().contains("autosave_interval 1800"), "{peer}");
        assert!(number(peer, "accepted") > 0 && number(peer, "down_accepted") > 0, "{peer}");
        number(peer, "lost");
    }
}

#[test]
fn a_step_that_there_is_not_is_refused_at_the_start_with_a_list_of_those_there_are() {
    for (wanted, said) in [
        ("commit.befor:1", "write one of start.found, start.committed, stage.before"),
        ("commit.before:0", "write 1 or more"),
    ] {
        let run = ["run", "-c", "/nowhere/fieldpost.yaml"];
        let done = fieldpost(&run).env("FIELDPOST_ABORT_AT", wanted).output().unwrap();
        let err = String::from_utf8_lossy(&done.stderr);
        assert!(err.contains(said), "{err}");
        assert_eq!(done.status.code(), Some(2));
    }
}

#[test]
fn a_run_that_is_stopped_leaves_no_process_and_no_file() {
    support::require_peers();
    let places = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let log = places[1].path().join("log");
    let mut command = fieldpost(&["bench", "crash", "--kills", "100000"]);
    command.env("TMPDIR", places[0].path());
    let mut bench = support::Process::spawn(command, &log);
    let made = || std::fs::read_dir(places[0].path()).unwrap().filter_map(Result::ok).next();
    support::wait_until("the bench has made its directory", || made().is_some());
    let dir = made().unwrap().path();
    support::wait_until("a gateway has been started", || dir.join("files/gateway.log").exists());
    assert_eq!(bench.terminate().code(), Some(1));
    assert!(bench.log().contains("stopped before the end"), "{}", bench.log());
    assert!(made().is_none());
    let prefix = format!("fieldpost-{}-", bench.id());
    let of_it =
        |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&prefix);
    let left =
        std::fs::read_dir("/dev/shm").into_iter().flatten().filter_map(Result::ok).find(of_it);
    assert!(left.is_none(), "{left:?}");
    let of_it = |entry: &std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&dir.display().to_string())
    };
    let left = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).find(of_it);
    assert!(left.is_none(), "{left:?}");
}

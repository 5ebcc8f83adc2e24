//! `fieldpost demo`, the binary itself: what it prints and how it ends.
#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tests touch the machine")]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use support::{Process, wait_until};

/// The demo with its queues in `tmp` and a surrounding that does not matter.
fn demo(tmp: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fieldpost"));
    command.arg("demo").args(arguments).env("TMPDIR", tmp).env_remove("RUST_LOG");
    command.env_remove("JOURNAL_STREAM").env_remove("NO_COLOR");
    command
}

/// What it printed at its end. Nothing may be left behind.
#[track_caller]
fn end(arguments: &[&str]) -> Output {
    let tmp = tempfile::tempdir().expect("a directory");
    let output = demo(tmp.path(), arguments).output().expect("the demo runs");
    let left: Vec<_> = fs::read_dir(tmp.path()).expect("it is there").collect();
    assert!(left.is_empty(), "{left:?} is left behind");
    output
}

/// The summary of a run that ended well, with nothing else on standard output.
#[track_caller]
fn summary(arguments: &[&str]) -> Value {
    let output = end(arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("one JSON object and nothing else")
}

#[track_caller]
fn number(summary: &Value, key: &str) -> f64 {
    summary[key].as_f64().unwrap_or_else(|| panic!("{key} is a number: {summary}"))
}

/// Everything that was polled arrived, once.
#[track_caller]
fn assert_all_once(summary: &Value) {
    for key in ["lost", "doubled", "unreadable"] {
        assert_eq!(summary[key], 0, "{summary}");
    }
    assert_eq!(summary["delivered"], summary["polled"], "{summary}");
    assert_eq!((&summary["devices"], &summary["devices_online"]), (&4.into(), &4.into()));
    assert!(number(summary, "delivered") > 50.0, "{summary}");
}

#[test]
fn a_run_delivers_everything_once_and_says_so_in_json() {
    let summary = summary(&["--for", "10s", "--json"]);
    assert_all_once(&summary);
    assert!(number(&summary, "duration_s") >= 10.0, "{summary}");
    assert!(number(&summary, "first_delivery_ms") < 5000.0, "{summary}");
    assert!(number(&summary, "rss_mb") > 1.0, "{summary}");
    assert_eq!(summary["outage_s"], 0.0, "{summary}");
}

#[test]
fn an_outage_fills_the_queue_and_loses_and_doubles_nothing() {
    let calm = summary(&["--for", "2s", "--json"]);
    let summary = summary(&["--for", "8s", "--outage", "3s", "--json"]);
    assert_all_once(&summary);
    assert!(number(&summary, "outage_s") > 2.5, "{summary}");
    assert!(number(&summary, "drained_ms") > 0.0, "{summary}");
    let peak = number(&summary, "queue_peak");
    assert!(peak > 60.0 && peak > 2.0 * number(&calm, "queue_peak"), "{summary} {calm}");
    assert!(number(&summary, "slowest_delivery_ms") > 2000.0, "{summary}");
}

#[test]
fn the_older_protocol_and_an_outage_to_the_very_end_lose_nothing_either() {
    let summary = summary(&["--for", "4s", "--outage", "4s", "--json", "--mqtt", "3.1.1"]);
    assert_all_once(&summary);
}

#[test]
fn without_a_terminal_it_tells_in_lines_how_it_goes() {
    let output = end(&["--for", "2s", "--outage", "500ms"]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0), "{text}");
    for part in ["uplink connected", "upstream cut", "upstream back", " 0 lost, 0 doubled\n"] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    assert!(!text.contains('\x1b'), "{text:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn it_runs_until_it_is_asked_to_stop_and_still_delivers_everything() {
    let tmp = tempfile::tempdir().expect("a directory");
    let log = tempfile::tempdir().expect("a directory");
    let mut process = Process::spawn(demo(tmp.path(), &[]), &log.path().join("log"));
    process.wait_for_log("  1.");
    process.signal("INT");
    let status = process.wait();
    let text = process.log();
    assert!(status.success() && text.contains(" 0 lost, 0 doubled\n"), "{text}");
    wait_until("nothing is left", || fs::read_dir(tmp.path()).is_ok_and(|d| d.count() == 0));
}

#[test]
fn a_run_that_cannot_be_is_a_wrong_command_line() {
    for (arguments, words) in [
        (&["--for", "2s", "--outage", "5s"][..], "an outage of 5s does not fit into a run of 2s"),
        (&["--for", "soon"], "write 10s, 1500ms or 2m"),
        (&["--for", "0s"], "longer than nothing"),
        (&["--qos", "3"], "--qos"),
        (&["--mqtt", "4"], "3.1.1"),
        (&["--show-config", "--json"], "cannot be used with"),
    ] {
        let output = end(arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(words), "{arguments:?}: {text}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

#[test]
fn the_help_names_every_key_of_the_summary() {
    let help = String::from_utf8(end(&["--help"]).stdout).expect("text");
    let summary = fieldpost::demo::summary::Summary::default().json();
    for key in summary.as_object().expect("an object").keys() {
        assert!(help.contains(key.as_str()), "{key} is not in:\n{help}");
    }
}

#[test]
fn the_configuration_it_shows_can_be_checked() {
    let shown = end(&["--show-config", "--qos", "1"]);
    let tmp = tempfile::tempdir().expect("a directory");
    let file = tmp.path().join("demo.yaml");
    fs::write(&file, &shown.stdout).expect("it can be written");
    let checked = Command::new(env!("CARGO_BIN_EXE_fieldpost"))
        .arg("check")
        .arg(&file)
        .output()
        .expect("the check runs");
    let text = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success() && text.contains("4 devices"), "{text}");
}

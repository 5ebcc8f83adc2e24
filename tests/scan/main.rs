//! `fieldpost scan`, the binary itself: what it finds on lines and networks, what it prints, how it ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "tests touch the machine, and a failure here fails the test"
)]

#[path = "../support/mod.rs"]
mod support;

mod far_end;
mod gateway;
mod line;
mod network;

use std::process::{Command, Output};

use serde_json::Value;

/// `fieldpost scan` with `arguments`.
fn scan(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fieldpost"));
    command.arg("scan").args(arguments).env_remove("RUST_LOG");
    command
}

/// Runs it to its end.
#[track_caller]
fn end(arguments: &[&str]) -> Output {
    scan(arguments).output().expect("the scan runs")
}

/// What it found, as JSON.
#[track_caller]
fn report(arguments: &[&str], code: i32) -> Value {
    let output = end(&[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("one JSON object and nothing else")
}

/// Unit ids with their verdicts.
fn units(report: &Value) -> Vec<(u64, &str)> {
    let units = report["units"].as_array().expect("a list");
    let words = |unit: &'_ Value| -> Option<u64> { unit["unit"].as_u64() };
    units.iter().map(|unit| (words(unit).unwrap(), unit["verdict"].as_str().unwrap())).collect()
}

/// What `fieldpost check` says of `yaml` below the name of a gateway.
#[track_caller]
fn assert_fine(yaml: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("pasted.yaml");
    let above = "gateway: { id: g }\nuplinks: { cloud: { url: \"mqtts://broker.example.com\" } }\n";
    std::fs::write(&file, format!("{above}{yaml}")).expect("a file");
    let check = Command::new(env!("CARGO_BIN_EXE_fieldpost"))
        .args(["check", "--json"])
        .arg(&file)
        .output()
        .expect("the check runs");
    let said: Value = serde_json::from_slice(&check.stdout).expect("JSON");
    let counts = (&said["errors"], &said["warnings"]);
    assert_eq!(counts, (&0.into(), &0.into()), "{yaml}\n{said:#}");
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

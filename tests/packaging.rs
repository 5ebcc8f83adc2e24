//! What surrounds the binary: the systemd unit and the settings of the cross build.
#![allow(clippy::disallowed_methods, reason = "tests touch the machine")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Map, Value};

type Table = Map<String, Value>;

/// systemd's exposure level the unit must not exceed, in tenths: 1.7. That asking for the clock's state is allowed counts for
/// 0.4 in it, as if the clock could be set.
const EXPOSURE_TENTHS_MAX: &str = "--threshold=17";

/// Keys of `Cross.toml` that cross 0.2.5 knows; it is silent about others.
const BUILD_KEYS: &[&str] = &["default-target", "pre-build", "env", "zig", "build-std"];
const TARGET_KEYS: &[&str] =
    &["image", "pre-build", "env", "dockerfile", "zig", "runner", "build-std"];
const ENV_KEYS: &[&str] = &["passthrough", "volumes"];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(file(name)).expect("a file of the repository")
}

#[track_caller]
fn toml(name: &str) -> Table {
    basic_toml::from_str(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[track_caller]
fn systemd_analyze(arguments: &[&str], unit: &Path) -> Output {
    Command::new("systemd-analyze")
        .args(arguments)
        .arg(unit)
        .env("SYSTEMD_PAGER", "cat")
        .output()
        .expect("systemd-analyze is missing: run ./tests/run --setup-only")
}

#[test]
fn the_unit_exposes_at_most_1_7() {
    let arguments = ["security", "--offline=yes", EXPOSURE_TENTHS_MAX];
    let done = systemd_analyze(&arguments, &file("systemd/fieldpost.service"));
    let table = String::from_utf8_lossy(&done.stdout);
    assert!(table.contains("Overall exposure level"), "{done:?}");
    assert!(done.status.success(), "{table}");
}

/// The unit with the program where it is now: a package puts it where the unit says.
fn unit_here(lines: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let unit = dir.path().join("fieldpost.service");
    let text = read("systemd/fieldpost.service");
    assert!(text.contains("ExecStart=/usr/bin/fieldpost run "), "the unit starts something else");
    let text = text.replace("/usr/bin/fieldpost", env!("CARGO_BIN_EXE_fieldpost"));
    fs::write(&unit, text.replace("[Service]\n", &format!("[Service]\n{lines}"))).expect("a unit");
    (dir, unit)
}

#[test]
fn systemd_takes_every_line_of_the_unit() {
    let (_dir, unit) = unit_here("");
    let done = systemd_analyze(&["verify", "--man=no"], &unit);
    // Unknown keys and bad values are said, but are no failure.
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.is_empty(), "{said}");
}

#[test]
fn a_line_systemd_does_not_know_would_be_seen() {
    let (_dir, unit) = unit_here("ProtectEverything=yes\n");
    let done = systemd_analyze(&["verify", "--man=no"], &unit);
    assert!(String::from_utf8_lossy(&done.stderr).contains("ProtectEverything"), "{done:?}");
}

#[test]
fn the_unit_keeps_what_the_program_relies_on() {
    let unit = read("systemd/fieldpost.service");
    let lines: BTreeSet<&str> = unit.lines().collect();
    for line in [
        "Type=notify",
        "StateDirectory=fieldpost",
        "RuntimeDirectory=fieldpost",
        "RuntimeDirectoryPreserve=yes",
        "Restart=always",
        "SupplementaryGroups=dialout",
    ] {
        assert!(lines.contains(line), "{line} is missing");
    }
    // A name instead of a number is dropped if the driver is loaded after the start.
    for line in lines.iter().filter_map(|line| line.strip_prefix("DeviceAllow=char-")) {
        let major = line.split(' ').next().unwrap_or_default();
        assert!(major.parse::<u16>().is_ok(), "DeviceAllow=char-{line}: not a number");
    }
}

#[track_caller]
fn known(table: &Table, keys: &[&str], place: &str) {
    for key in table.keys() {
        assert!(keys.contains(&key.as_str()), "{place}.{key}: cross knows no such key");
    }
    if let Some(env) = table.get("env") {
        let env = env.as_object().unwrap_or_else(|| panic!("{place}.env is no table"));
        for key in env.keys() {
            assert!(ENV_KEYS.contains(&key.as_str()), "{place}.env.{key}: cross knows no such key");
        }
    }
}

#[test]
fn cross_knows_every_key_and_each_board_has_its_target() {
    let cross = toml("Cross.toml");
    for (key, value) in &cross {
        let table = value.as_object().unwrap_or_else(|| panic!("{key} is no table"));
        match key.as_str() {
            "build" => known(table, BUILD_KEYS, "build"),
            "target" => {
                for (target, value) in table {
                    let place = format!("target.{target}");
                    known(value.as_object().expect("a target is a table"), TARGET_KEYS, &place);
                }
            }
            other => panic!("{other}: cross knows no such table"),
        }
    }
    let target = cross.get("target").and_then(Value::as_object).expect("there are targets");
    let targets: BTreeSet<&str> = target.keys().map(String::as_str).collect();
    let boards = [
        "aarch64-unknown-linux-gnu",
        "arm-unknown-linux-musleabihf",
        "armv7-unknown-linux-gnueabihf",
    ];
    assert_eq!(targets, BTreeSet::from(boards));
    for (name, value) in target {
        let image = value.get("image").and_then(Value::as_str).unwrap_or_default();
        assert!(image.contains(&format!("/{name}:")), "{name} is built in {image:?}");
    }
}

#[test]
fn cargo_deny_looks_at_the_targets_that_are_built() {
    let deny = toml(".deny.toml");
    let cross = toml("Cross.toml");
    let looked_at = deny["graph"]["targets"].as_array().expect("a list of targets");
    for target in cross["target"].as_object().expect("there are targets").keys() {
        assert!(looked_at.iter().any(|t| t.as_str() == Some(target)), "{target} is not looked at");
    }
}

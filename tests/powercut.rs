//! What a power cut costs: the promises of README, cut at a thousand operations of the disk, and what the proof itself
//! sees when they are broken.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests touch the machine"
)]

use std::process::Command;
use std::time::Duration;

use fieldpost::bench::{PowercutFigures, PowercutOptions, powercut};
use fieldpost::store::disk::{Act, Class, Role};
use serde_json::Value;

const AT_ONCE: Duration = Duration::ZERO;
const STAGED: Duration = Duration::from_secs(1);

fn cut(cuts: u64, seed: u64, commit_every: Duration, lying_disk: bool) -> PowercutFigures {
    println!(
        "fieldpost bench powercut --cuts {cuts} --seed {seed} --commit-every {commit_every:?}"
    );
    powercut(PowercutOptions { cuts, seed, commit_every, lying_disk }).expect("a run")
}

#[track_caller]
fn assert_kept(figures: &PowercutFigures, cuts: u64) {
    assert_eq!(figures.cuts, cuts);
    assert!(figures.is_kept(), "{figures:#?}");
}

/// Every step on the way of a page to the disk was cut at, and so was the beginning and the end of a log.
#[track_caller]
fn assert_everywhere(figures: &PowercutFigures) {
    let classes = [
        (Act::Create, Role::Database),
        (Act::Create, Role::Wal),
        (Act::Begin, Role::Wal),
        (Act::Write, Role::Wal),
        (Act::Sync, Role::Wal),
        (Act::Write, Role::Database),
        (Act::Sync, Role::Database),
        (Act::Delete, Role::Wal),
    ];
    for (act, role) in classes {
        assert!(figures.by_operation.contains_key(&Class { act, role }), "{act:?} {role:?}");
    }
}

#[test]
fn a_thousand_cuts_cost_nothing_when_every_batch_is_committed() {
    let figures = cut(1000, 1, AT_ONCE, false);
    assert_kept(&figures, 1000);
    assert_everywhere(&figures);
    assert_eq!((figures.allowed_lost, figures.allowed_doubled), (0, 0));
}

#[test]
fn a_thousand_cuts_cost_only_what_was_staged_when_batches_wait() {
    let figures = cut(1000, 1, STAGED, false);
    assert_kept(&figures, 1000);
    assert_everywhere(&figures);
    assert!(figures.allowed_lost > 0, "nothing was staged at any cut");
}

/// In this run all packet ids may be open for a while: cut follows cut before those of the first are released.
#[test]
fn cuts_that_come_before_the_packet_ids_of_the_last_one_are_released_cost_no_more() {
    assert_kept(&cut(800, 5_337_582_782_508_575_073, STAGED, false), 800);
}

/// In this run messages are settled soon after their PUBREC, and the cut comes when that is due.
#[test]
fn a_message_that_was_received_longer_than_commit_every_ago_is_not_repeated() {
    assert_kept(&cut(180, 11_397_689_258_001_412_997, STAGED, false), 180);
}

#[test]
fn cuts_of_a_seed_nobody_chose_cost_nothing_either() {
    let seed = fastrand::u64(..);
    assert_kept(&cut(1000, seed, AT_ONCE, false), 1000);
}

#[test]
fn cuts_of_a_seed_nobody_chose_cost_only_what_was_staged() {
    let seed = fastrand::u64(..);
    assert_kept(&cut(1000, seed, STAGED, false), 1000);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for commit_every in [AT_ONCE, STAGED] {
        assert_eq!(cut(150, 5, commit_every, false), cut(150, 5, commit_every, false));
    }
}

#[test]
fn a_disk_that_lies_about_fsync_is_found_out() {
    let figures = cut(150, 1, AT_ONCE, true);
    assert!(figures.lost > 0, "{figures:?}");
    assert!(!figures.troubles.is_empty());
}

#[test]
fn the_command_prints_its_figures_and_ends_with_1_when_a_promise_was_broken() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_fieldpost"))
            .args(["bench", "powercut", "--cuts", "150", "--seed", "3", "--json"])
            .args(arguments)
            .output()
            .expect("it runs");
        let figures: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (output.status.code(), figures)
    };
    let (status, kept) = run(&[]);
    assert_eq!(status, Some(0), "{kept}");
    for (name, value) in
        [("cuts", 150), ("lost", 0), ("doubled", 0), ("unreadable", 0), ("seed", 3)]
    {
        assert_eq!(kept.get(name).and_then(Value::as_u64), Some(value), "{name} of {kept}");
    }
    let (status, broken) = run(&["--lying-disk"]);
    assert_eq!(status, Some(1), "{broken}");
    assert!(broken.get("lost").and_then(Value::as_u64) > Some(0), "{broken}");
}

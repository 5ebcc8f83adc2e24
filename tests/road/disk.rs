//! The disk under the gateway is damaged, full, or cannot be written; the rest of the road is as it should be.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::counting::Counting;
use crate::support::{Received, Site, wait_until};

const DATABASE: &str = "fieldpost.db";

/// Whether this system lets a test have mounts of its own; where it does not, nothing is shown.
fn has_mounts() -> bool {
    let done = Command::new("unshare").args(["--map-root-user", "--mount", "true"]).status();
    let has = done.is_ok_and(|status| status.success());
    if !has {
        println!("no mounts of our own here (unshare): this test shows nothing");
    }
    has
}

fn aside(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let is_aside = |path: &PathBuf| path.to_string_lossy().ends_with(".db.damaged-1");
    files.filter(is_aside).collect()
}

/// Writes until the disk takes no more.
fn fill_up(dir: &Path) {
    let mut filler = File::create(dir.join("filler")).unwrap();
    for len in [1 << 20, 4096, 1] {
        while filler.write_all(&vec![1; len]).is_ok() {}
    }
}

#[test]
fn a_damaged_page_costs_what_stood_on_it_and_the_rest_is_delivered_once() {
    let mut road = Counting::start("10ms", ", qos: 2", |broker| broker.port());
    road.wait_for_arrivals(100);
    road.broker.stop();
    for _ in 0..3 {
        road.wait_for_reads(400);
    }
    assert!(road.gateway.sigterm().success(), "{}", road.gateway.log());
    let file = road.site.state_dir().join(DATABASE);
    let mut bytes = fs::read(&file).unwrap();
    // Whatever stands in the middle of the file is the queue.
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0xa5);
    fs::write(&file, &bytes).unwrap();
    road.broker.start_again();
    road.gateway.restart(&road.site);
    road.gateway.wait_for_log("uplink connected");
    let books = road.finish();
    let log = road.gateway.log();
    assert!(log.contains("queue is damaged"), "{log}");
    let told = log.lines().find(|line| line.contains("queue salvaged")).expect("it is told");
    println!("{told}");
    let number = |of: &str| -> u64 {
        let (_, rest) = told.split_once(of).unwrap_or_else(|| panic!("no {of} in {told}"));
        rest.split(' ').next().and_then(|number| number.parse().ok()).expect(of)
    };
    let lost_at_most = number(" lost_at_most=");
    assert!(number(" messages=") > 10_000 && lost_at_most < 4000, "{told}");
    println!("{} arrived, {} missing", books.arrived, books.holes.len());
    assert!(books.holes.len() as u64 <= lost_at_most, "{} of {told}", books.holes.len());
    books.assert_nothing_doubled();
    let told = |got: &Received| {
        got.topic == "gw/gateway/dropped" && got.payload.contains(r#""reasons":{"damaged":"#)
    };
    wait_until("the upstream is told", || road.far.received().iter().any(told));
    let [kept] = &aside(&road.site.state_dir())[..] else { panic!("not moved aside: {log}") };
    assert!(fs::read(kept).unwrap()[middle..middle + 4096].iter().all(|byte| *byte == 0xa5));
}

#[test]
fn a_disk_that_others_fill_stops_neither_delivery_nor_polling_and_the_room_is_held_again() {
    if !has_mounts() {
        return;
    }
    let mut site = Site::new();
    site.set_mounts("mount -t tmpfs -o size=96m none \"$STATE\"");
    let mut road = Counting::start_at(site, "20ms", ", qos: 2", |broker| broker.port());
    road.wait_for_arrivals(100);
    road.broker.stop();
    let state = road.gateway.state_dir(&road.site);
    let reserve = state.join("fieldpost.reserve");
    wait_until("room is held", || reserve.exists());
    road.wait_for_reads(100);
    fill_up(&state);
    road.gateway.wait_for_log("the room held for that is given up");
    assert!(!reserve.exists());
    road.wait_for_reads(100);
    road.broker.start_again();
    road.wait_for_arrivals(3000);
    fs::remove_file(state.join("filler")).unwrap();
    road.broker.stop();
    // What waits is committed, and looks at the room.
    wait_until("room is held again", || reserve.exists());
    road.broker.start_again();
    let books = road.finish();
    books.assert_nothing_lost(0);
    books.assert_nothing_doubled();
    let log = road.gateway.log();
    assert!(!log.contains("dropped to keep"), "{log}");
}

#[test]
fn a_disk_that_takes_nothing_at_all_is_said_once_and_costs_nothing_once_it_does() {
    if !has_mounts() {
        return;
    }
    let mut site = Site::new();
    site.set_mounts("mount -t tmpfs -o size=96m none \"$STATE\"");
    let mut road = Counting::start_at(site, "50ms", ", qos: 2", |broker| broker.port());
    road.wait_for_arrivals(100);
    road.broker.stop();
    let state = road.gateway.state_dir(&road.site);
    fill_up(&state);
    road.gateway.wait_for_log("the room held for that is given up");
    // Others take that, too.
    let mut more = File::create(state.join("more")).unwrap();
    while more.write_all(&[1; 4096]).is_ok() {}
    road.gateway.wait_for_log("store cannot write");
    let log = road.gateway.log();
    assert!(log.contains("make room on that disk"), "{log}");
    road.wait_for_reads(50);
    for name in ["filler", "more"] {
        fs::remove_file(state.join(name)).unwrap();
    }
    road.gateway.wait_for_log("store writes again");
    road.broker.start_again();
    let books = road.finish();
    books.assert_nothing_lost(0);
    books.assert_nothing_doubled();
    assert_eq!(road.gateway.log().matches("store cannot write").count(), 1);
}

#[test]
fn a_start_on_a_full_disk_delivers_what_waits() {
    if !has_mounts() {
        return;
    }
    let mut road = Counting::start("20ms", ", qos: 2", |broker| broker.port());
    road.wait_for_arrivals(100);
    road.broker.stop();
    road.wait_for_reads(300);
    assert!(road.gateway.sigterm().success(), "{}", road.gateway.log());
    // The same files on a small disk that others have filled, the room that is held among them.
    road.site.set_mounts(
        "cp -a \"$STATE\" \"$STATE.kept\"
mount -t tmpfs -o size=96m none \"$STATE\"
cp -a --sparse=never \"$STATE.kept/.\" \"$STATE\"
dd if=/dev/zero of=\"$STATE/filler\" bs=4096 2>/dev/null || true",
    );
    road.broker.start_again();
    road.gateway.restart(&road.site);
    road.gateway.wait_for_log("the room held for that is given up");
    let books = road.finish();
    books.assert_nothing_lost(0);
    books.assert_nothing_doubled();
    let log = road.gateway.log();
    assert!(!log.contains("dropped to keep"), "{log}");
}

#[test]
fn a_start_without_any_room_ends_with_the_reason_and_status_1() {
    if !has_mounts() {
        return;
    }
    let mut road = Counting::start("50ms", ", qos: 2", |broker| broker.port());
    road.wait_for_arrivals(50);
    assert!(road.gateway.sigterm().success(), "{}", road.gateway.log());
    road.site.set_mounts(
        "cp -a \"$STATE\" \"$STATE.kept\"
mount -t tmpfs -o size=1m none \"$STATE\"
cp \"$STATE.kept/fieldpost.db\" \"$STATE\"
dd if=/dev/zero of=\"$STATE/filler\" bs=4096 2>/dev/null || true",
    );
    road.gateway.restart(&road.site);
    let status = road.gateway.process().wait();
    let log = road.gateway.log();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("make room on that disk"), "{log}");
}

#[test]
fn a_start_on_a_disk_that_cannot_be_written_ends_with_the_reason_and_status_1() {
    if !has_mounts() {
        return;
    }
    let mut road = Counting::start("50ms", ", qos: 2", |broker| broker.port());
    road.wait_for_arrivals(50);
    assert!(road.gateway.sigterm().success(), "{}", road.gateway.log());
    let before = fs::read(road.site.state_dir().join(DATABASE)).unwrap();
    road.site.set_mounts("mount --bind \"$STATE\" \"$STATE\"\nmount -o remount,bind,ro \"$STATE\"");
    road.gateway.restart(&road.site);
    let status = road.gateway.process().wait();
    let log = road.gateway.log();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("is the file system mounted for writing"), "{log}");
    assert!(fs::read(road.site.state_dir().join(DATABASE)).unwrap() == before);
}

//! A board whose clock is set while it runs, and whose word counts on that, as far upstream sees it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::support::{Fieldpost, ModbusServer, Mosquitto, Proxy, Received, Site, Subscriber};

const DAYS_3: Duration = Duration::from_secs(3 * 86_400);

/// A site where the gateway reads a clock of the test's making.
fn site() -> Site {
    let site = Site::new();
    let (library, clock) = (site.path().join("wall_clock.so"), site.path().join("clock"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/wall_clock.c");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]);
    let done = cc.output().expect("a C compiler, which SQLite needs as well");
    assert!(done.status.success(), "{done:?}");
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let (library, clock) = (text(&library), text(&clock));
    site.with_env("LD_PRELOAD", &library).with_env("FIELDPOST_TEST_CLOCK", &clock)
}

/// Sets how far the gateway's clock is behind, and what the kernel says of it, in one step.
fn set_clock(site: &Site, behind: Duration, synced: bool) {
    let beside = site.path().join("clock.new");
    fs::write(&beside, format!("-{} {}", behind.as_secs(), u8::from(synced))).expect("written");
    fs::rename(beside, site.path().join("clock")).expect("in its place");
}

/// A gateway with one device, its readings as `format` says going to each of `ports`.
fn start(site: &Site, (clock, format): (&str, &str), device: u16, ports: &[u16]) -> Fieldpost {
    let uplink = |port| format!("far-{port}: {{ url: \"mqtt://127.0.0.1:{port}\", qos: 2 }}");
    let uplinks: Vec<String> = ports.iter().map(uplink).collect();
    site.write_config(&format!(
        "gateway: {{ id: gw, state_dir: \"{{state}}\", clock: {clock}, format: {format} }}
buses: {{ plant: {{ modbus-tcp: \"127.0.0.1:{device}\" }} }}
devices: {{ boiler: {{ bus: plant, unit: 1, every: 50ms, points: {{ flow: {{ holding: 1 }} }} }} }}
uplinks: {{ {} }}
",
        uplinks.join(", "),
    ));
    site.start()
}

/// What a payload says: its id, its time in milliseconds, and whether the clock is marked. A template tells the clock always.
fn told(message: &Received) -> (String, u64, bool) {
    let json: Value = serde_json::from_str(&message.payload).expect("JSON");
    let time = json["time"].as_str().expect("a time");
    let time = humantime::parse_rfc3339(time).expect("RFC 3339");
    let mark = json.get("clock").is_some_and(|mark| mark != "synced");
    (json["id"].as_str().expect("an id").to_owned(), unix_ms(time), mark)
}

fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

#[test]
fn what_was_read_before_the_clock_was_set_arrives_with_the_time_it_was_read_at() {
    arrives_with_its_time("json", "gw/boiler/flow");
}

#[test]
fn a_message_of_a_device_that_was_read_before_the_clock_was_set_arrives_with_its_time() {
    arrives_with_its_time("device", "gw/boiler");
}

#[test]
fn words_of_the_operator_s_that_tell_the_time_arrive_with_the_right_one() {
    let words = r#"{"v":{value},"time":{time},"id":{id},"clock":"{clock}"}"#;
    arrives_with_its_time(&format!("{{ template: '{words}' }}"), "gw/boiler/flow");
}

#[track_caller]
fn arrives_with_its_time(format: &str, topic: &str) {
    let device = ModbusServer::pymodbus_tcp(&[("holding", 1, 5)], None);
    let (near, far) = (Mosquitto::start(), Mosquitto::start());
    let at_once = Subscriber::paho(near.port(), "near", topic);
    let later = Subscriber::paho(far.port(), "far", topic);
    let proxy = Proxy::start(far.port());
    proxy.swallow();
    let site = site();
    set_clock(&site, DAYS_3, false);
    let begin = unix_ms(SystemTime::now());
    let mut gateway = start(&site, ("kernel", format), device.port(), &[near.port(), proxy.port()]);
    gateway.wait_for_log("clock is not synchronised");
    let marked = at_once.wait_for(20);
    assert!(marked.iter().all(|message| told(message).2), "{marked:?}");

    set_clock(&site, Duration::ZERO, true);
    gateway.wait_for_log("clock synchronised");
    let count = at_once.received().len();
    // Those under way when the clock was set may still be marked.
    let fresh = at_once.wait_for(count + 10).pop().expect("many");
    assert!(!told(&fresh).2, "{fresh:?}");
    assert_eq!(later.received(), []);

    proxy.pass();
    let arrived = later.wait_for(count + 10);
    let end = unix_ms(SystemTime::now());
    let said: BTreeMap<_, _> =
        at_once.received().iter().map(told).map(|(id, time, mark)| (id, (time, mark))).collect();
    let mut before = begin;
    for (id, time, mark) in arrived.iter().map(told) {
        assert!(!mark && (before..=end).contains(&time), "{id}: {time} after {before}");
        // Two clocks read one after the other are a little apart.
        before = time - 5;
        if let Some((wrong, true)) = said.get(&id)
            && *wrong < begin - 3_600_000
        {
            let off = time.abs_diff(wrong + DAYS_3.as_millis() as u64);
            assert!(off < 1_000, "{id}: {off} ms off");
        }
    }
}

#[test]
fn the_operator_or_the_kernel_says_whether_the_clock_is_right() {
    let device = ModbusServer::pymodbus_tcp(&[("holding", 1, 5)], None);
    for (clock, synced, is_marked) in
        [("trusted", false, false), ("kernel", false, true), ("kernel", true, false)]
    {
        let broker = Mosquitto::start();
        let far = Subscriber::paho(broker.port(), "far", "gw/boiler/flow");
        let site = site();
        set_clock(&site, Duration::ZERO, synced);
        let _gateway = start(&site, (clock, "json"), device.port(), &[broker.port()]);
        assert_eq!(told(&far.wait_for(1)[0]).2, is_marked, "{clock}, {synced}");
    }
}

//! The queue's bounds: what is dropped, what is kept, and how much disk it takes.

use std::fs;
use std::path::Path;

use crate::counting::Counting;
use crate::reading::{Reading, readings};
use crate::support::{
    DEADLINE, ModbusServer, Mosquitto, Received, Site, Subscriber, free_port, wait_until_for,
};

const MIB: u64 = 1024 * 1024;
const POINTS: usize = 60;

fn bytes_in(dir: &Path) -> u64 {
    // What is held for a full disk is not the queue's.
    let files = fs::read_dir(dir).unwrap().map(Result::unwrap);
    let files = files.filter(|file| file.file_name() != "fieldpost.reserve");
    files.map(|file| file.metadata().map_or(0, |data| data.len())).sum()
}

/// Messages the gateway says it has dropped.
fn dropped(log: &str) -> u64 {
    log.lines()
        .filter(|line| line.contains("messages dropped"))
        .filter_map(|line| line.split("count=").nth(1)?.split(" ").next()?.parse::<u64>().ok())
        .sum()
}

#[test]
fn a_full_queue_drops_the_oldest_counts_them_and_stays_within_its_bound() {
    let device = ModbusServer::pymodbus_tcp(&[], Some(0));
    let port = free_port();
    let points: String =
        (0..POINTS).map(|point| format!("      p{point}: {{ holding: 0, type: u32 }}\n")).collect();
    let config = |port: u16, every: &str, size: &str| {
        format!(
            "gateway: {{ id: gw, state_dir: \"{{state}}\" }}
buses: {{ plant: {{ modbus-tcp: \"127.0.0.1:{}\", timeout: 10s }} }}
devices:
  d:
    bus: plant
    unit: 1
    every: {every}
    points:
{points}
uplinks: {{ far: {{ url: \"mqtt://127.0.0.1:{port}\", qos: 2 }} }}
queue: {{ max_size: {size} }}
log: {{ level: \"info,fieldpost::hub=debug\" }}
",
            device.port()
        )
    };
    let site = Site::new();
    site.write_config(&config(port, "10ms", "1MiB"));
    let mut gateway = site.start();
    let mut most = 0;
    // Sixty thousand readings of values that hardly change are a mebibyte of segments.
    let was_full = wait_until_for(4 * DEADLINE, || {
        most = most.max(bytes_in(&site.state_dir()));
        dropped(&gateway.log()) > 3000
    });
    assert!(was_full, "{}", gateway.log());
    // The database, its write-ahead log up to its checkpoint, and the index of that.
    assert!(most <= MIB + 4 * MIB + MIB / 2, "{most} bytes");
    println!("{most} bytes at most");

    let broker = Mosquitto::start();
    let far = Subscriber::paho_with(broker.port(), "far", "gw/#", &["--qos", "1"]);
    assert!(gateway.sigterm().success(), "{}", gateway.log());
    let log = gateway.log();
    let last = log.rsplit("gateway stopped queued=").next().unwrap();
    let last = last.split_whitespace().next().unwrap();
    let queued: usize = last.parse().expect(last);
    let taken = (device.counted().len() * POINTS) as u64;
    let dropped = dropped(&log);
    println!("{taken} taken, {dropped} dropped, {queued} queued");
    assert_eq!(log.matches("raise queue.max_size").count(), 1, "{log}");
    assert!(log.contains(&format!("gateway stopped queued={queued} dropped={dropped}\n")), "{log}");
    assert_eq!(log.matches("ERROR").count(), 1, "{log}");
    // And the word that the device is online, the very first message, which was dropped, too.
    assert_eq!(dropped + queued as u64, taken + 1, "{log}");

    // What was read last before the stop must have been kept, and everything in between. Nothing more needs to go.
    site.write_config(&config(broker.port(), "1h", "2MiB"));
    gateway.restart(&site);
    let got = || -> Vec<u64> {
        let all = readings(&far.received());
        all.iter().filter(|got| got.id.0 == 1).map(|got| got.id.1).collect()
    };
    // Sixty thousand at QoS 2 through a broker that logs each packet, and a subscriber in Python.
    let arrived = wait_until_for(8 * DEADLINE, || got().len() >= queued);
    let (got, log) = (got(), gateway.log());
    let ends = (got.first(), got.last());
    let log = log.get(log.len().saturating_sub(3000)..).unwrap_or(&log);
    assert!(arrived, "{} of {queued} arrived, {ends:?}:\n{log}", got.len());
    assert!(gateway.sigterm().success(), "{}", gateway.log());
    let expected: Vec<u64> = (taken + 1 - queued as u64..=taken).collect();
    assert_eq!(got, expected);
    // The upstream is told what it did not get: once, before all that waited, also over a start.
    let all = far.received();
    let is_told = |message: &&Received| message.topic == "gw/gateway/dropped";
    let told: Vec<&Received> = all.iter().filter(is_told).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    let json: serde_json::Value = serde_json::from_str(&told[0].payload).unwrap();
    assert_eq!((&json["uplink"], &json["dropped"]), (&"far".into(), &dropped.into()), "{json}");
    assert_eq!(json["reasons"], serde_json::json!({ "queue_full": dropped }));
    let first_reading = all.iter().position(|message| Reading::of(message).is_some());
    assert!(all.iter().position(|message| is_told(&message)) < first_reading);
}

#[test]
fn a_gateway_that_is_online_hardly_writes_to_its_disk() {
    let mut road = Counting::start("20ms", ", qos: 2", |broker| broker.port());
    road.wait_for_arrivals(300);
    let before = bytes_in(&road.site.state_dir());
    road.wait_for_arrivals(3000);
    let written = bytes_in(&road.site.state_dir()) - before;
    // Each commit of a read takes some pages of 4 KiB: all of them would be more than the log's whole 4 MiB. A broker
    // that is slow for a second costs a few.
    assert!(written < 256 * 1024, "{written} bytes");
    let staged = road.site.runtime_dir().join("staged");
    assert!(staged.exists(), "nothing is staged");
    let books = road.finish();
    books.assert_nothing_lost(0);
    books.assert_nothing_doubled();
}

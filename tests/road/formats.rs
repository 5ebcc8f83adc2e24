//! What readings look like upstream: a bare value, the operator's words, and all of a device in one message.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::counting::{Counting, POINTS};
use crate::support::{self, ModbusServer, Mosquitto, Received, Site, Subscriber, wait_until};

/// The last payload on each topic.
fn latest(received: Vec<Received>) -> BTreeMap<String, String> {
    received.into_iter().map(|got| (got.topic, got.payload)).collect()
}

#[test]
fn each_format_arrives_as_it_is_written() {
    // Far apart: two reads.
    let bank =
        [("holding", 10, 214), ("holding", 11, 0x6122), ("holding", 12, 0), ("holding", 600, 7)];
    let device = ModbusServer::pymodbus_tcp(&bank, None);
    let broker = Mosquitto::start();
    let paho = Subscriber::paho(broker.port(), "far", "gw/#");
    let sub = support::mosquitto_sub(broker.port(), "gw/#", &["-q", "1"]);
    let site = Site::new();
    site.write_config(&format!(
        "gateway: {{ id: gw, state_dir: \"{{state}}\", format: value }}
buses: {{ plant: {{ modbus-tcp: \"127.0.0.1:{}\", timeout: 5s }} }}
devices:
  together:
    bus: plant
    unit: 1
    every: 100ms
    format: {{ device: {{ units: true }} }}
    points:
      flow: &flow {{ holding: 10, type: i16, scale: 0.1, unit: \"°C\" }}
      text: &text {{ holding: 11, type: string, length: 2 }}
      far: {{ holding: 600 }}
      no-text: {{ holding: 12, invalid: 0 }}
      twice: {{ expression: \"flow * 2\" }}
      alone: {{ holding: 12, format: json }}
  each:
    bus: plant
    unit: 1
    every: 100ms
    points: {{ flow: *flow, text: *text, no-text: {{ holding: 12, invalid: 0 }} }}
  worded:
    bus: plant
    unit: 1
    every: 100ms
    format: {{ template: '{{\"v\":{{value}},\"t\":{{time_ms}},\"who\":\"{{device}}/{{point}}\"}}' }}
    points:
      flow: *flow
      text: *text
      line: {{ holding: 10, format: {{ template: \"m,point={{point}} v={{value}} {{time_ns}}\" }} }}
uplinks: {{ far: {{ url: \"{}\", qos: 1 }} }}
",
        device.port(),
        broker.url(),
    ));
    let mut gateway = site.start();
    let values: [&str; 7] = [
        "gw/together",
        "gw/together/alone",
        "gw/each/flow",
        "gw/each/text",
        "gw/worded/flow",
        "gw/worded/text",
        "gw/worded/line",
    ];
    for far in [&paho, &sub] {
        wait_until("every topic has a message", || {
            let got = latest(far.received());
            values.iter().all(|topic| got.contains_key(*topic))
        });
        let mut got = latest(far.received());
        got.retain(|topic, _| !topic.ends_with("/status"));
        let topics: BTreeSet<&str> = got.keys().map(String::as_str).collect();
        assert_eq!(topics, BTreeSet::from(values), "and no other has");
        let parsed = |topic: &str| -> Value { serde_json::from_str(&got[topic]).expect("JSON") };
        let together = parsed("gw/together");
        let expected = json!({ "flow": 21.4, "text": "a\"", "far": 7, "twice": 42.8 });
        assert_eq!(together["values"], expected);
        assert_eq!(together["units"], json!({ "flow": "°C" }));
        assert_eq!(together["bad"]["no-text"]["quality"], "invalid");
        assert_eq!(together["bad"]["no-text"]["value"], Value::Null);
        assert!(got["gw/together"].starts_with("{\"time\":\"20"), "{together}");
        assert_eq!(parsed("gw/together/alone")["value"], 0);
        assert_eq!((&*got["gw/each/flow"], &*got["gw/each/text"]), ("21.4", "a\""));
        let worded = parsed("gw/worded/text");
        assert_eq!((&worded["v"], &worded["who"]), (&json!("a\""), &json!("worded/text")));
        assert!(parsed("gw/worded/flow")["t"].as_u64() > Some(1_500_000_000_000));
        assert!(got["gw/worded/line"].starts_with("m,point=line v=214 1"), "{got:?}");
    }
    assert!(gateway.sigterm().success(), "{}", gateway.log());
}

#[test]
fn a_device_that_falls_silent_is_told_in_one_message_and_comes_back() {
    let mut device = ModbusServer::pymodbus_tcp(&[("holding", 1, 5), ("holding", 600, 6)], None);
    let broker = Mosquitto::start();
    let far = Subscriber::paho(broker.port(), "far", "gw/boiler");
    let site = Site::new();
    site.write_config(&format!(
        "gateway: {{ id: gw, state_dir: \"{{state}}\", format: device }}
buses: {{ plant: {{ modbus-tcp: \"127.0.0.1:{}\", timeout: 300ms }} }}
devices:
  boiler:
    bus: plant
    unit: 1
    every: 50ms
    report: change
    points: {{ flow: {{ holding: 1 }}, return: {{ holding: 600 }} }}
uplinks: {{ far: {{ url: \"{}\", qos: 2 }} }}
",
        device.port(),
        broker.url(),
    ));
    let _gateway = site.start();
    let parsed = |got: &Received| serde_json::from_str::<Value>(&got.payload).expect("JSON");
    let first = parsed(&far.wait_for(1)[0]);
    assert_eq!(first["values"], json!({ "flow": 5, "return": 6 }));
    device.freeze();
    let silent = parsed(&far.wait_for(2)[1]);
    assert_eq!(silent["values"], json!({}));
    for (point, value) in [("flow", 5), ("return", 6)] {
        let told = &silent["bad"][point];
        assert_eq!((&told["value"], &told["quality"]), (&json!(value), &json!("stale")));
        assert!(told["reason"].is_string(), "{silent}");
    }
    device.thaw();
    let back = parsed(&far.wait_for(3)[2]);
    assert_eq!(back["values"], json!({ "flow": 5, "return": 6 }));
    assert_eq!(back.get("bad"), None);
    assert_eq!(far.received().len(), 3, "what does not change is told once");
}

/// A message of a device whose points all show its counter.
#[derive(Debug)]
struct Poll {
    id: (u64, u64),
    count: u64,
    late: bool,
    delivery: (u64, bool),
}

fn polls(received: &[Received]) -> Vec<Poll> {
    let poll = |got: &Received| {
        let json: Value = serde_json::from_str(&got.payload).expect("JSON");
        let mut numbers = json["id"].as_str()?.rsplit('-').map(str::parse);
        let (number, start) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        let values = json["values"].as_object().expect("an object");
        let count = values["p0"].as_u64()?;
        assert_eq!(values.len(), POINTS, "a poll stands or falls as a whole: {got:?}");
        assert!(values.values().all(|value| value.as_u64() == Some(count)), "{got:?}");
        assert_eq!(json.get("bad"), None, "{got:?}");
        let late = json.get("late").is_some();
        Some(Poll { id: (start, number), count, late, delivery: (got.mid, got.dup) })
    };
    received.iter().map(|got| poll(got).expect("a message of a device")).collect()
}

/// Stops the gateway and holds what arrived against what the device has counted: at a kill at most `cut_max` polls may be
/// missing, in between none; each came once, by its id and by its count. In order, but for what is late.
#[track_caller]
fn assert_all_arrived_once(road: &mut Counting, cut_max: u64) {
    let now = u64::from(*road.device.counted().last().expect("it was read"));
    wait_until("the queue is empty", || {
        polls(&road.far.received()).iter().any(|poll| poll.count > now)
    });
    let status = road.gateway.sigterm();
    let log = road.gateway.log();
    assert!(status.success() && log.trim_end().ends_with("gateway stopped queued=0"), "{log}");
    let last = u64::from(*road.device.counted().last().expect("it was read"));
    wait_until("the last poll arrives", || {
        polls(&road.far.received()).iter().any(|poll| poll.count == last)
    });
    // A broker passes on what has its PUBREL, and that is not always in order: the last is not the last to come.
    wait_until("no poll is missing in the middle of a start", || {
        let mut starts: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for poll in polls(&road.far.received()) {
            starts.entry(poll.id.0).or_default().insert(poll.count);
        }
        starts.values().all(|counts| {
            let ends = counts.first().zip(counts.last());
            ends.is_none_or(|(first, last)| counts.len() as u64 == last - first + 1)
        })
    });
    let mut packets = BTreeMap::new();
    let mut starts: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    let mut newest = BTreeMap::new();
    for poll in polls(&road.far.received()) {
        // mosquitto forgets over a restart that it had sent PUBREL, and delivers the same packet again.
        let (packet_id, dup) = poll.delivery;
        if let Some(earlier) = packets.insert(poll.id, packet_id) {
            assert!(dup && earlier == packet_id, "doubled: {poll:?}");
            continue;
        }
        assert!(starts.entry(poll.id.0).or_default().insert(poll.count), "twice: {poll:?}");
        let newest = newest.entry(poll.late).or_default();
        assert!(poll.count > *newest, "behind {newest}: {poll:?}");
        *newest = poll.count;
    }
    let mut end = 0;
    for (start, counts) in starts {
        let (first, last) = (*counts.first().unwrap(), *counts.last().unwrap());
        assert_eq!(counts.len() as u64, last - first + 1, "lost in the middle of start {start}");
        let gap = first - end - 1;
        assert!(gap <= cut_max, "{gap} polls lost at start {start}");
        end = last;
    }
}

#[test]
fn the_polls_of_a_device_arrive_once_over_outages_new_ones_first() {
    let uplink = ", qos: 2, keep_alive: 5s, live_first: true, backfill_rate: 200";
    let form = ("30ms", "device", "gw/d");
    let mut road = Counting::start_with(Site::new(), form, uplink, Mosquitto::port);
    for _ in 0..2 {
        road.wait_for_arrivals(20);
        road.broker.stop();
        road.wait_for_reads(60);
        road.broker.start_again();
        road.wait_for_arrivals(60);
    }
    assert_all_arrived_once(&mut road, 0);
    let late = polls(&road.far.received()).iter().filter(|poll| poll.late).count();
    assert!(late > 60, "{late} are marked");
}

/// A module of its own: these tests want the machine for themselves.
mod heavy {
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// What a kill may cost: the poll under way and those that wait while a commit is on its way to the disk.
    const CUT_MAX: u64 = 12;

    #[test]
    fn the_polls_of_a_device_arrive_once_over_kills_online_offline_and_draining() {
        let seed = std::env::var("ROAD_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| fastrand::u64(..));
        println!("ROAD_SEED={seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let form = ("20ms", "device", "gw/d");
        let uplink = ", qos: 2, keep_alive: 5s";
        let mut road = Counting::start_with(Site::new(), form, uplink, Mosquitto::port);
        let mut kill = |road: &mut Counting, within_ms: u64| {
            // The instant itself, not a wait for something.
            thread::sleep(Duration::from_micros(random.u64(0..within_ms * 1000)));
            road.gateway.sigkill();
            road.gateway.restart(&road.site);
        };
        for _ in 0..3 {
            for _ in 0..2 {
                road.wait_for_arrivals(20);
                kill(&mut road, 60);
            }
            road.broker.stop();
            for _ in 0..2 {
                road.wait_for_reads(20);
                kill(&mut road, 60);
            }
            road.wait_for_reads(100);
            road.broker.start_again();
            for _ in 0..2 {
                road.gateway.wait_for_log("uplink connected");
                kill(&mut road, 100);
            }
        }
        assert_all_arrived_once(&mut road, CUT_MAX);
    }
}

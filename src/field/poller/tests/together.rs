//! core: tests: what a device says in one poll goes out together, whatever becomes of the poll.

use super::*;
use crate::field::{Change, ReportSettings};

/// A device whose points go out together, but for those in `alone`.
fn together(unit: u8, addresses: &[u16], every_ms: u64, alone: &[u16]) -> DeviceSettings {
    let points: Vec<(u16, bool)> = addresses.iter().map(|address| (*address, false)).collect();
    let mut device = device(unit, &points, every_ms);
    let is_alone = |point: &str| alone.iter().any(|address| address.to_string() == point);
    device.set_together(|point| !is_alone(point));
    device
}

const WELL: Mood = Mood::Answer { delay_ms: 5 };

#[test]
fn the_reads_of_one_poll_bring_one_event_and_a_point_that_is_alone_its_own_at_once() {
    let mut sim = Sim::new(vec![together(1, &[0, 1000, 2000], 1_000, &[])]);
    sim.run(Duration::from_millis(2_500), |_, _| WELL);
    assert_eq!(sim.batches, ["0, 1000, 2000"; 3]);
    let mut sim = Sim::new(vec![together(1, &[0, 1000, 2000], 1_000, &[1000])]);
    sim.run(Duration::from_millis(1_500), |_, _| WELL);
    assert_eq!(sim.batches, ["1000", "0, 2000", "1000", "0, 2000"]);
}

#[test]
fn points_with_other_periods_are_polls_of_their_own() {
    let mut device = together(1, &[0, 1000, 2000], 1_000, &[]);
    device.points[2].every = Duration::from_secs(3);
    let mut sim = Sim::new(vec![device]);
    sim.run(Duration::from_millis(3_900), |_, _| WELL);
    let count = |names: &str| sim.batches.iter().filter(|batch| *batch == names).count();
    assert_eq!((count("0, 1000"), count("2000"), sim.batches.len()), (4, 2, 6));
}

#[test]
fn what_a_poll_brought_before_its_device_fell_silent_goes_out_before_that() {
    let mut sim = Sim::new(vec![together(1, &[0, 1000, 2000], 1_000, &[])]);
    sim.run(Duration::from_millis(500), |_, _| WELL);
    let mut left = 1;
    sim.run(Duration::from_secs(20), |_, _| {
        left -= 1;
        if left >= 0 { WELL } else { Mood::Lose }
    });
    let stale = "0 stale, 1000 stale, 2000 stale";
    assert_eq!(sim.batches, ["0, 1000, 2000", "0", stale]);
    sim.batches.clear();
    sim.run(Duration::from_secs(60), |_, _| WELL);
    // A device that may be back is asked something else each time.
    let rounds = ["0, 1000, 2000", "1000, 2000, 0", "2000, 0, 1000"];
    let is_whole = |batch: &String| rounds.contains(&batch.as_str());
    assert!(sim.batches.len() > 20 && sim.batches.iter().all(is_whole), "{:?}", sim.batches);
}

#[test]
fn a_read_that_is_refused_is_told_of_with_the_others_of_its_poll() {
    let mut sim = Sim::new(vec![together(1, &[0, 1000, 2000], 1_000, &[])]);
    let mut asked = 0;
    sim.run(Duration::from_millis(1_500), |_, _| {
        asked += 1;
        if asked == 2 { Mood::Refuse { code: 2, delay_ms: 5 } } else { WELL }
    });
    assert_eq!(sim.batches, ["0, 1000 error, 2000", "0, 2000"]);
}

#[test]
fn a_message_holds_what_is_news_and_none_is_made_of_nothing() {
    let mut device = together(1, &[0, 1000], 1_000, &[]);
    let (change, before_jump) = (Change::Absolute(0.0), false);
    let on_change = ReportSettings { change, at_least: None, at_most: None, before_jump };
    device.points[0].report = Some(on_change);
    let mut sim = Sim::new(vec![device.clone()]);
    sim.run(Duration::from_millis(1_500), |_, _| WELL);
    assert_eq!(sim.batches, ["0, 1000", "1000"]);
    device.points[1].report = Some(on_change);
    let mut sim = Sim::new(vec![device]);
    sim.run(Duration::from_millis(5_500), |_, _| WELL);
    assert_eq!(sim.batches, ["0, 1000"]);
}

#[test]
fn when_the_gateway_stops_what_a_poll_brought_so_far_goes_out() {
    let mut sim = Sim::new(vec![together(1, &[0, 1000, 2000], 1_000, &[])]);
    let mut left = 1;
    sim.run(Duration::from_millis(100), |_, _| {
        left -= 1;
        Mood::Answer { delay_ms: if left >= 0 { 5 } else { 200 } }
    });
    assert!(sim.batches.is_empty(), "{:?}", sim.batches);
    sim.poller.handle_stop();
    sim.take_events();
    assert_eq!(sim.batches, ["0, 1000"]);
}

#[test]
fn what_was_kept_back_before_a_jump_goes_out_by_itself_and_first() {
    let mut device = together(1, &[0, 1000], 1_000, &[]);
    let report = ReportSettings {
        change: Change::Absolute(3.0),
        at_least: None,
        at_most: None,
        before_jump: true,
    };
    device.points.iter_mut().for_each(|point| point.report = Some(report));
    let begin = Sim::new(Vec::new()).now;
    let mut device = Device::new(device, Default::default(), TIMEOUT, begin);
    let mut told = Vec::new();
    for (second, values) in [[1, 1], [2, 2], [9, 3], [9, 4]].into_iter().enumerate() {
        let good = |(point, value)| (point, (Some(Value::Int(value)), Quality::Good));
        let values = values.into_iter().enumerate().map(good).collect();
        let now = Sim::moment(begin + Duration::from_secs(second as u64));
        for event in device.taken(values, now) {
            let FieldEvent::Readings(readings) = event else { panic!("{event:?}") };
            let told_of = |it: &Reading| {
                let age = now.mono - it.taken.mono;
                format!("{}={:?}@-{}", it.point.point, it.value, age.as_secs())
            };
            told.push(readings.iter().map(told_of).collect::<Vec<_>>().join(" "));
        }
    }
    let told: Vec<_> =
        told.iter().map(|it| it.replace("Some(Int(", "").replace("))", "")).collect();
    assert_eq!(told, ["0=1@-0 1000=1@-0", "0=2@-1", "0=9@-0", "1000=3@-1", "1000=4@-0"]);
}

//! The broker is away, forgets, or falls silent: what the device said arrives all the same.

use std::collections::BTreeSet;
use std::fs;

use crate::counting::{Counting, POINTS};
use crate::reading::{Reading, readings};
use crate::support::{self, Proxy, wait_until};

/// How often the gateway has logged `text`.
fn said(road: &Counting, text: &str) -> usize {
    road.gateway.log().matches(text).count()
}

/// Waits until what the broker has taken for good has reached the far subscriber: the mark comes behind all of it.
fn wait_for_the_far_leg(road: &Counting, mark: &str) {
    support::mosquitto_pub(road.broker.port(), "gw/mark/mark", mark, &["-q", "2"]);
    wait_until("the mark arrives", || road.far.received().iter().any(|got| got.payload == mark));
}

#[test]
fn a_broker_stopped_and_restarted_gets_everything_once() {
    let mut road = Counting::start("30ms", ", qos: 2, keep_alive: 5s", |broker| broker.port());
    for outages in 1..=3 {
        road.wait_for_arrivals(300);
        road.broker.stop();
        road.wait_for_reads(60);
        road.broker.start_again();
        // What the broker had kept for the far subscriber comes before the gateway is back.
        wait_until("the gateway is back", || said(&road, "uplink connected") > outages);
        road.wait_for_arrivals(600);
    }
    assert_eq!(said(&road, "uplink lost"), 3, "{}", road.gateway.log());
    let books = road.finish();
    books.assert_nothing_lost(0);
    books.assert_nothing_doubled();
}

#[test]
fn after_an_outage_new_readings_come_at_once_and_the_backlog_follows_marked_and_in_order() {
    let uplink = ", qos: 1, keep_alive: 5s, live_first: true, backfill_rate: 500";
    let mut road = Counting::start("30ms", uplink, |broker| broker.port());
    road.wait_for_arrivals(300);
    road.broker.stop();
    road.wait_for_reads(80);
    road.broker.start_again();
    let waited = *road.device.counted().last().expect("it was read");
    wait_until("the whole backlog arrives", || {
        let got = readings(&road.far.received());
        got.iter().filter(|got| got.value == waited).count() >= POINTS
    });
    let books = road.finish();
    books.assert_nothing_lost(0);
    assert_eq!(books.twice, 0);

    let all = road.far.received();
    let parsed = all.iter().filter_map(|message| {
        let reading = Reading::of(message)?;
        let late = message.payload.ends_with(",\"late\":true}");
        Some((late, reading.topic.clone(), reading.value.as_u64()?))
    });
    let parsed: Vec<(bool, String, u64)> = parsed.collect();
    let late = parsed.iter().filter(|(late, ..)| *late).count();
    assert!(late >= 60 * POINTS, "only {late} of the backlog are marked");
    let last_late = parsed.iter().rposition(|(late, ..)| *late).expect("there are some");
    let first_late = parsed.iter().position(|(late, ..)| *late).expect("there are some");
    let passed = parsed[first_late..last_late].iter().filter(|(late, ..)| !late).count();
    assert!(passed > 5 * POINTS, "only {passed} new readings passed the backlog");
    let topics: BTreeSet<&String> = parsed.iter().map(|(_, topic, _)| topic).collect();
    for topic in topics {
        for class in [false, true] {
            let of_class = parsed.iter().filter(|(late, of, _)| *late == class && of == topic);
            let mut values: Vec<u64> = of_class.map(|(.., value)| *value).collect();
            // At QoS 1 what was under way when the link broke comes again.
            let mut seen = BTreeSet::new();
            values.retain(|value| seen.insert(*value));
            assert!(values.is_sorted(), "{topic}, late {class}: {values:?}");
        }
    }
}

#[test]
fn a_broker_that_forgot_everything_gets_again_what_it_may_have_lost() {
    for qos in [1, 2] {
        let mut proxy = None;
        let uplink = format!(", qos: {qos}, keep_alive: 1s");
        let mut road = Counting::start("20ms", &uplink, |broker| {
            proxy.insert(Proxy::start(broker.port())).port()
        });
        let proxy = proxy.expect("it was made");
        road.wait_for_arrivals(300);
        // Messages are under way when the line goes dead.
        proxy.swallow();
        wait_for_the_far_leg(&road, "before");
        road.broker.stop();
        road.broker.forget();
        road.broker.start_again();
        wait_until("the far subscriber is back", || road.far.subscriptions() >= 2);
        road.wait_for_reads(50);
        proxy.pass();
        let books = road.finish();
        books.assert_nothing_lost(0);
        books.assert_in_order();
        let log = road.gateway.log();
        assert!(log.contains("upstream lost our session"), "{log}");
        let republished: usize = log
            .lines()
            .filter_map(|line| {
                line.split("republished=").nth(1)?.split(' ').next()?.parse::<usize>().ok()
            })
            .sum();
        println!("QoS {qos}: {} of {} again", books.repeated, books.arrived);
        assert!(books.repeated <= republished, "{} repeated:\n{log}", books.repeated);
    }
}

#[test]
fn a_port_that_swallows_everything_is_noticed_by_keep_alive_and_costs_nothing() {
    let mut proxy = None;
    let mut road = Counting::start("20ms", ", qos: 2, keep_alive: 1s", |broker| {
        proxy.insert(Proxy::start(broker.port())).port()
    });
    let proxy = proxy.expect("it was made");
    for outage in 1..=2 {
        road.wait_for_arrivals(300);
        proxy.swallow();
        wait_until("the gateway notices", || said(&road, "nothing heard for 1 s") == outage);
        road.wait_for_reads(20);
        proxy.pass();
        wait_until("the gateway is back", || said(&road, "uplink connected") > outage);
        road.wait_for_arrivals(300);
    }
    assert_eq!(said(&road, "upstream lost our session"), 0, "{}", road.gateway.log());
    let books = road.finish();
    books.assert_nothing_lost(0);
    books.assert_nothing_doubled();
}

#[test]
fn a_broker_that_freezes_and_thaws_costs_nothing() {
    let mut road = Counting::start("20ms", ", qos: 2, keep_alive: 1s", |broker| broker.port());
    road.wait_for_arrivals(300);
    road.broker.freeze();
    road.gateway.wait_for_log("uplink lost");
    road.wait_for_reads(20);
    road.broker.thaw();
    road.wait_for_arrivals(600);
    let books = road.finish();
    books.assert_nothing_lost(0);
    books.assert_nothing_doubled();
}

#[test]
fn a_broker_that_is_not_there_at_the_start_gets_everything_later() {
    let mut road = Counting::start("20ms", ", qos: 2", |_| support::free_port());
    road.gateway.wait_for_log("uplink unreachable");
    road.wait_for_reads(50);
    assert!(road.gateway.sigterm().success(), "{}", road.gateway.log());
    // Every reading, and that the device is online.
    let queued = format!("gateway stopped queued={}", road.device.counted().len() * POINTS + 1);
    assert!(road.gateway.log().trim_end().ends_with(&queued), "{queued}: {}", road.gateway.log());
    let config = fs::read_to_string(road.site.config()).unwrap();
    let from = config.find("mqtt://127.0.0.1:").unwrap() + "mqtt://127.0.0.1:".len();
    let to = from + config[from..].find('"').unwrap();
    let config = format!("{}{}{}", &config[..from], road.broker.port(), &config[to..]);
    road.site.write_config(&config);
    road.gateway.restart(&road.site);
    let books = road.finish();
    books.assert_nothing_lost(0);
    books.assert_nothing_doubled();
}

#[test]
fn acknowledgements_lost_with_the_line_lose_and_double_nothing() {
    let mut proxy = None;
    let mut road = Counting::start("20ms", ", qos: 2, keep_alive: 5s", |broker| {
        proxy.insert(Proxy::start(broker.port())).port()
    });
    let proxy = proxy.expect("it was made");
    for is_killed in [false, true, false, true] {
        road.wait_for_arrivals(100);
        // The broker takes messages and says so, but nobody hears it.
        proxy.swallow_down();
        wait_until("the broker takes messages", || proxy.holds_down());
        if is_killed {
            road.gateway.sigkill();
        }
        proxy.cut();
        if is_killed {
            road.gateway.restart(&road.site);
        }
        road.wait_for_arrivals(100);
    }
    let books = road.finish();
    books.assert_nothing_lost(2);
    books.assert_nothing_doubled();
}

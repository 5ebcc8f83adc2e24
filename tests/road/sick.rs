//! A sick serial line and the gateway itself: what arrives far away is right, and what was asked to be written is written once.

use std::collections::HashMap;
use std::time::Duration;

use fieldpost::field::modbus::receiver::Wrap;
use serde_json::Value;

use super::lan::port;
use crate::support::wire::{Act, Heard, Pace, Wire, register};
use crate::support::{Mosquitto, Site, mosquitto_pub, mosquitto_sub, wait_until, wait_until_for};

const UNITS: u8 = 4;
const REGISTERS: u16 = 10;

/// All that can go wrong, one after the other.
const WRONG: [Act; 13] = [
    Act::Silent,
    Act::Damaged,
    Act::As(0),
    Act::Late(Duration::from_millis(330)),
    Act::NoiseBefore(12),
    Act::Truncated,
    Act::Refused(6),
    Act::Twice,
    Act::BytesTwice,
    Act::Refused(5),
    Act::NoiseAfter(12),
    Act::Echo,
    Act::Mute,
];

fn pace() -> Pace {
    Pace { baud: 19_200, wrap: Wrap::Rtu, turn_around: Duration::from_millis(5) }
}

/// A fifth of what `is_struck` says goes wrong, every time in another way.
fn act(is_struck: impl Fn(&Heard) -> bool + Send + 'static) -> impl FnMut(&Heard) -> Act + Send {
    let mut chance = fastrand::Rng::with_seed(7);
    let mut ways = WRONG.into_iter().cycle();
    move |heard| {
        if !is_struck(heard) || chance.u8(..5) > 0 {
            return Act::Right;
        }
        let wrong = ways.next().expect("without an end");
        if let Act::As(_) = wrong { Act::As(heard.unit % UNITS + 1) } else { wrong }
    }
}

fn config(wire: &Wire, every: &str, upstream: &Mosquitto) -> String {
    let points: String =
        (0..REGISTERS).map(|at| format!("r{at}: {{ holding: {at}, writable: true }}, ")).collect();
    let devices: String = (1..=UNITS)
        .map(|unit| {
            format!(
                "  u{unit}: {{ bus: line, unit: {unit}, every: {every}, points: {{ {points} }} }}\n"
            )
        })
        .collect();
    format!(
        "gateway: {{ id: gw, state_dir: \"{{state}}\" }}\n\
         buses: {{ line: {{ modbus-rtu: {}, baud: 19200, parity: none, timeout: 300ms }} }}\n\
         broker: {{ listeners: [ {{ tcp: 127.0.0.1:0, anonymous: true }} ] }}\n\
         devices:\n{devices}uplinks: {{ far: {{ url: \"{}\", qos: 1 }} }}\n",
        wire.path(),
        upstream.url()
    )
}

#[test]
fn on_a_line_where_all_goes_wrong_now_and_then_no_value_arrives_under_a_wrong_name() {
    let wire = Wire::open(pace(), act(|_| true));
    let upstream = Mosquitto::start();
    let far = mosquitto_sub(upstream.port(), "gw/+/+", &["-q", "1"]);
    let site = Site::new();
    site.write_config(&config(&wire, "50ms", &upstream));
    let mut gateway = site.start();
    wait_until_for(Duration::from_secs(60), || wire.asked() >= 300);
    assert!(gateway.sigterm().success(), "{}", gateway.log());
    let mut good: HashMap<String, usize> = HashMap::new();
    for message in far.received() {
        let Ok(json) = serde_json::from_str::<Value>(&message.payload) else { continue };
        let Some((unit, point)) = message.topic[3..].split_once("/r") else { continue };
        let unit: u8 = unit[1..].parse().expect("a unit");
        let address: u16 = point.parse().expect("an address");
        if let Some(value) = json["value"].as_u64() {
            assert_eq!(value, u64::from(register(unit, address)), "{}: {json}", message.topic);
        }
        if json["quality"] == "good" {
            *good.entry(message.topic).or_default() += 1;
        }
    }
    assert_eq!(good.len(), usize::from(UNITS) * usize::from(REGISTERS));
    let (asked, least) = (wire.asked(), good.values().min().copied().unwrap_or_default());
    println!("{asked} requests, {least} good values of each point at least");
    assert!(
        least * usize::from(UNITS) * 2 >= asked,
        "half of what a sound line would bring: {least} of {asked}"
    );
}

#[test]
fn what_goes_wrong_with_a_write_makes_no_second_one_and_is_answered() {
    let wire = Wire::open(pace(), act(|heard| heard.number > 10));
    let upstream = Mosquitto::start();
    let site = Site::new();
    site.write_config(&config(&wire, "500ms", &upstream));
    let mut gateway = site.start();
    let port = port(&mut gateway);
    let near = mosquitto_sub(port, "gw/+/+/set/result", &["-q", "1"]);
    wait_until("all devices have answered", || {
        gateway.log().matches("device answered").count() == usize::from(UNITS)
    });
    let mut answers = Vec::new();
    for number in 0..30u16 {
        // Each with a value of its own, so that the wire tells them apart.
        let (unit, address, value) = (number % 4 + 1, number % REGISTERS, 20_000 + number);
        mosquitto_pub(
            port,
            &format!("gw/u{unit}/r{address}/set"),
            &value.to_string(),
            &["-q", "1"],
        );
        let answer = near.wait_for(answers.len() + 1).pop().expect("an answer");
        let answer: Value = serde_json::from_str(&answer.payload).expect("JSON");
        answers.push((value, answer));
    }
    assert!(gateway.sigterm().success(), "{}", gateway.log());
    let heard = wire.heard();
    let mut ends: HashMap<String, usize> = HashMap::new();
    for (value, answer) in &answers {
        let is_it = |it: &&Heard| it.function() == 6 && it.pdu[3..] == value.to_be_bytes();
        let sent: Vec<&Heard> = heard.iter().filter(is_it).collect();
        // What a device refuses because it is busy was not done.
        let done = sent.iter().filter(|it| !matches!(it.act, Act::Refused(_))).count();
        let result = answer["result"].as_str().expect("a word");
        *ends.entry(result.to_owned()).or_default() += 1;
        assert!(done <= 1, "{value} was sent {done} times: {sent:?}");
        match result {
            "confirmed" => {
                assert!(sent.iter().any(|it| it.act != Act::Silent), "{answer}: {sent:?}")
            }
            "failed" | "unknown" => assert!(answer["reason"].is_string(), "{answer}"),
            "refused" => assert!(sent.is_empty(), "{answer}: {sent:?}"),
            other => panic!("{other}: {answer}"),
        }
    }
    println!("{ends:?}");
    assert!(ends.get("confirmed").is_some_and(|count| *count >= 20), "{ends:?}");
}

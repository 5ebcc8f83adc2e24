//! A line where every fifth request goes wrong in one way, at the real pace of a wire: no value under a wrong name, and
//! what the rest still brings, told as good values per request.

use std::time::Duration;

use fieldpost::field::modbus::receiver::Wrap;
use fieldpost::field::{BusSettings, FieldEvent, PortSettings};
use fieldpost::model::Quality;
use tokio::task::JoinSet;

use super::stage::{Running, ascii_bus, device, run, serial_bus};
use super::support::wire::{Act, Heard, Pace, Wire};

const UNITS: u8 = 4;
const POINTS: [&str; 20] = [
    "h0", "h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8", "h9", "h10", "h11", "h12", "h13", "h14",
    "h15", "h16", "h17", "h18", "h19",
];
/// Requests after which nobody is new to the bus.
const SETTLED: usize = 40;
/// Requests of which every fifth goes wrong.
const SPOILT: usize = 150;
/// Requests that all go well again, half of which count.
const SOUND_AGAIN: usize = 80;

/// What a line brought: values with good quality for each request, as a share of what one brings at best.
#[derive(Debug, Clone, Copy)]
struct Brought {
    /// While every fifth request went wrong.
    meanwhile: f64,
    /// Afterwards.
    afterwards: f64,
}

/// Four units of twenty registers, read without a pause; `wrong` is done to one of five requests, nobody knows to which.
async fn brought(wrap: Wrap, wrong: Act) -> Brought {
    let mut chance = fastrand::Rng::with_seed(20_261_121);
    let mut unlucky = 0;
    let act = move |heard: &Heard| {
        if heard.number.is_multiple_of(5) {
            unlucky = heard.number + chance.usize(..5);
        }
        if !(SETTLED..SETTLED + SPOILT).contains(&heard.number) || heard.number != unlucky {
            return Act::Right;
        }
        // The number of a unit that is there, too.
        if let Act::As(_) = wrong { Act::As(heard.unit % UNITS + 1) } else { wrong }
    };
    // An ASCII frame has twice the characters.
    let baud = if wrap == Wrap::Rtu { 19_200 } else { 38_400 };
    let wire = Wire::open(Pace { baud, wrap, turn_around: Duration::from_millis(5) }, act);
    let settings = if wrap == Wrap::Rtu { serial_bus(wire.path()) } else { ascii_bus(wire.path()) };
    let settings = BusSettings { timeout: Duration::from_millis(300), ..settings };
    let devices = (1..=UNITS).map(|unit| device(unit, 10, &POINTS)).collect();
    let mut bus = run(settings, devices);
    share(&mut bus, &wire, SETTLED).await;
    let meanwhile = share(&mut bus, &wire, SETTLED + SPOILT).await;
    share(&mut bus, &wire, SETTLED + SPOILT + SOUND_AGAIN / 2).await;
    let afterwards = share(&mut bus, &wire, SETTLED + SPOILT + SOUND_AGAIN).await;
    bus.stop().await;
    Brought { meanwhile, afterwards }
}

/// Takes what the bus says until so many requests were heard; returns how many of the values came that so many requests
/// could bring. None is ever another's: the stage looks at each.
async fn share(bus: &mut Running, wire: &Wire, until: usize) -> f64 {
    let begin = wire.asked();
    let mut good = 0;
    while wire.asked() < until {
        if let FieldEvent::Readings(readings) = bus.next().await {
            good += readings.iter().filter(|it| it.quality == Quality::Good).count();
        }
    }
    #[allow(clippy::cast_precision_loss, reason = "some thousands")]
    let (good, best) = (good as f64, ((wire.asked() - begin) * POINTS.len()) as f64);
    good / best
}

/// Runs lines beside one another and wants of each at least so much of what a sound one brings, meanwhile and afterwards.
async fn lines(wrap: Wrap, wanted: &[(Act, f64)]) {
    let mut lines = JoinSet::new();
    for (wrong, least) in wanted.iter().copied() {
        lines.spawn(async move { (wrong, least, brought(wrap, wrong).await) });
    }
    let mut failed = Vec::new();
    while let Some(line) = lines.join_next().await {
        let (wrong, least, brought) = line.expect("no value is another's");
        println!("{wrap:?} {wrong:?}: {brought:.3?}");
        if brought.meanwhile < least || brought.afterwards < 0.95 {
            failed.push(format!("{wrong:?}: {brought:.3?}, wanted {least}"));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Later than any time-out.
const LATE: Act = Act::Late(Duration::from_millis(330));

#[tokio::test]
async fn what_can_be_passed_over_costs_nothing() {
    let wanted = [Act::Right, Act::NoiseBefore(12), Act::NoiseAfter(12), Act::Echo];
    lines(Wrap::Rtu, &wanted.map(|act| (act, 0.97))).await;
}

#[tokio::test]
async fn a_fifth_of_all_answers_gone_wrong_costs_themselves_and_at_most_another_question_each() {
    let hard = [Act::Truncated, Act::As(0), Act::Silent, Act::BytesTwice, LATE];
    let wanted = hard.map(|act| (act, 0.57));
    lines(Wrap::Rtu, &[wanted.as_slice(), &[(Act::Damaged, 0.7), (Act::Twice, 0.7)]].concat())
        .await;
}

#[tokio::test]
async fn a_fifth_of_all_requests_refused_costs_themselves() {
    lines(Wrap::Rtu, &[(Act::Refused(5), 0.78), (Act::Refused(6), 0.78)]).await;
}

#[tokio::test]
async fn an_ascii_line_is_as_good() {
    let nothing = [Act::Right, Act::NoiseBefore(12), Act::Echo].map(|act| (act, 0.97));
    let themselves = [Act::Damaged, Act::As(0), Act::Silent, LATE].map(|act| (act, 0.57));
    lines(Wrap::Ascii, &[nothing.as_slice(), &themselves].concat()).await;
}

/// A question to a dead unit takes its time-out and what goes over the wire, at most; one to another twenty registers and
/// the turn-around. So the share of the dead unit follows from how many questions there were of each.
#[tokio::test]
async fn a_dead_unit_of_four_takes_at_most_a_twentieth_from_the_others() {
    const DEAD: u8 = 4;
    let act = |heard: &Heard| if heard.unit == DEAD { Act::Silent } else { Act::Right };
    let turn_around = Duration::from_millis(5);
    let wire = Wire::open(Pace { baud: 9_600, wrap: Wrap::Rtu, turn_around }, act);
    let mut settings =
        BusSettings { timeout: Duration::from_millis(300), ..serial_bus(wire.path()) };
    if let PortSettings::Rtu(serial) = &mut settings.port {
        serial.baud = 9_600;
    }
    let devices = (1..=UNITS).map(|unit| device(unit, 10, &POINTS)).collect();
    let mut bus = run(settings, devices);
    // It was never there, and is found out.
    share(&mut bus, &wire, 100).await;
    let begin = wire.asked();
    share(&mut bus, &wire, begin + 400).await;
    bus.stop().await;
    let heard = wire.heard().split_off(begin);
    let dead = heard.iter().filter(|heard| heard.unit == DEAD).count();
    // 9600 baud, ten bits a character: request, answer, silence.
    let (to_dead, to_others) = (300.0 + 8.3 + 3.7, 8.3 + 46.9 + 5.0 + 3.7);
    #[allow(clippy::cast_precision_loss, reason = "some hundreds")]
    let slowdown = 1.0 + dead as f64 * to_dead / ((heard.len() - dead) as f64 * to_others);
    println!("{dead} of {} questions to the dead unit: {slowdown:.3}", heard.len());
    assert!(slowdown <= 1.05, "{dead} of {} questions: {slowdown:.3}", heard.len());
}

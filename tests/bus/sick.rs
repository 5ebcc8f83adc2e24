//! A line where every fifth request goes wrong in one way, at the real pace of a wire: no value under a wrong name, and
//! what the rest still brings, told as good values per request.

use std::time::Duration;

use fieldpost::field::modbus::receiver::Wrap;
use fieldpost::field::{BusSettings, FieldEvent};
use fieldpost::model::Quality;

use super::stage::{Running, ascii_bus, device, run, serial_bus};
use super::support::wire::{Act, Heard, Pace, Wire};

const UNITS: u8 = 4;
const POINTS: [&str; 20] = [
    "h0", "h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8", "h9", "h10", "h11", "h12", "h13", "h14",
    "h15", "h16", "h17", "h18", "h19",
];
/// Requests after which all is found out that is: nobody is new to the bus.
const SETTLED: usize = 40;
/// Requests that count.
const COUNTED: usize = 240;

fn pace(wrap: Wrap) -> Pace {
    Pace { baud: 19_200, wrap, turn_around: Duration::from_millis(5) }
}

/// What a line brought.
struct Brought {
    /// Values with good quality for each request, of twenty that one brings at best.
    per_request: f64,
    /// The share of requests that went wrong.
    spoilt: f64,
}

/// Four units of twenty registers, read without a pause; `wrong` is done to one request of five, by chance.
async fn brought(wrap: Wrap, wrong: Act) -> Brought {
    let mut chance = fastrand::Rng::with_seed(20_261_121);
    let act = move |heard: &Heard| match wrong {
        _ if heard.number < SETTLED || chance.u8(..) >= 51 => Act::Right,
        // The number of a unit that is there, too.
        Act::As(_) => Act::As(heard.unit % UNITS + 1),
        wrong => wrong,
    };
    let wire = Wire::open(pace(wrap), act);
    let settings = if wrap == Wrap::Rtu { serial_bus(wire.path()) } else { ascii_bus(wire.path()) };
    let settings = BusSettings { timeout: Duration::from_millis(300), ..settings };
    let devices = (1..=UNITS).map(|unit| device(unit, 10, &POINTS)).collect();
    let mut bus = run(settings, devices);
    until(&mut bus, &wire, SETTLED).await;
    let begin = wire.asked();
    let good = until(&mut bus, &wire, begin + COUNTED).await;
    let asked = wire.asked() - begin;
    bus.stop().await;
    let spoilt = wire.heard().iter().skip(begin).filter(|heard| heard.act != Act::Right).count();
    #[allow(clippy::cast_precision_loss, reason = "some hundreds")]
    let share = |part: usize| part as f64 / asked as f64;
    Brought { per_request: share(good), spoilt: share(spoilt) }
}

/// Takes what the bus says until so many requests were heard; returns how many good values came. None is ever another's:
/// the stage looks at each.
async fn until(bus: &mut Running, wire: &Wire, asked: usize) -> usize {
    let mut good = 0;
    while wire.asked() < asked {
        if let FieldEvent::Readings(readings) = bus.next().await {
            good += readings.iter().filter(|it| it.quality == Quality::Good).count();
        }
    }
    good
}

/// Wants `least` of what a sound line brings for each request.
async fn brings(wrap: Wrap, wrong: Act, least: f64) {
    let Brought { per_request, spoilt } = brought(wrap, wrong).await;
    let kept = per_request / 20.0;
    println!(
        "{wrap:?} {wrong:?}: {per_request:.2} values per request, {kept:.3} of a sound line; {spoilt:.3} spoilt"
    );
    assert!(
        kept >= least,
        "{kept:.3} of what a sound line brings, {spoilt:.3} of its requests spoilt"
    );
}

macro_rules! lines {
    ($($name:ident: $wrap:ident, $act:expr, $least:expr;)*) => {$(
        #[tokio::test]
        async fn $name() {
            brings(Wrap::$wrap, $act, $least).await;
        }
    )*};
}

lines! {
    a_sound_line_brings_every_value: Rtu, Act::Right, 0.98;
    damaged_answers_cost_no_more_than_themselves: Rtu, Act::Damaged, 0.72;
    noise_before_an_answer_costs_nothing: Rtu, Act::NoiseBefore(12), 0.98;
    noise_behind_an_answer_costs_nothing: Rtu, Act::NoiseAfter(12), 0.98;
    answers_that_break_off_cost_no_more_than_themselves: Rtu, Act::Truncated, 0.72;
    answers_under_the_number_of_another_unit_cost_no_more_than_themselves: Rtu, Act::As(0), 0.72;
    lost_answers_cost_no_more_than_themselves: Rtu, Act::Silent, 0.72;
    late_answers_cost_no_more_than_themselves: Rtu, Act::Late(Duration::from_millis(330)), 0.6;
    answers_that_come_twice_cost_nothing: Rtu, Act::Twice, 0.98;
    bytes_that_come_twice_cost_no_more_than_their_answers: Rtu, Act::BytesTwice, 0.72;
    a_busy_device_costs_no_more_than_its_refusals: Rtu, Act::Refused(6), 0.72;
    a_device_that_acknowledges_costs_no_more_than_its_refusals: Rtu, Act::Refused(5), 0.72;
    refused_addresses_now_and_then_cost_no_point: Rtu, Act::Refused(2), 0.3;
    the_echo_of_requests_costs_nothing: Rtu, Act::Echo, 0.98;
    a_sound_ascii_line_brings_every_value: Ascii, Act::Right, 0.98;
    damaged_ascii_answers_cost_no_more_than_themselves: Ascii, Act::Damaged, 0.72;
    noise_before_an_ascii_answer_costs_nothing: Ascii, Act::NoiseBefore(12), 0.98;
    late_ascii_answers_cost_no_more_than_themselves: Ascii, Act::Late(Duration::from_millis(330)), 0.6;
    ascii_answers_under_another_number_cost_no_more_than_themselves: Ascii, Act::As(0), 0.72;
}

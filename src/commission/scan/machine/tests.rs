//! core: stories of scans in virtual time.
#![allow(
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    clippy::needless_pass_by_value,
    reason = "a test needs some instant to count from, and its world knows few things"
)]

use super::evidence::{SILENT_FOLLOWS_MAX, VERIFICATIONS};
use super::*;
use crate::commission::scan::case::Verdict;
use crate::commission::scan::setting::Choice;
use crate::field::modbus::identity as wire;
use crate::field::modbus::identity::Objects;
use crate::field::modbus::pdu::Data;
use crate::field::{Expected, Parity, Place, PointSettings, Sign, Table, ValueType};

/// What is at the other end of the line.
enum Thing {
    /// A device that answers to its id at its setting, unless the function is one of those it refuses.
    Device { unit: u8, at: Setting, takes: Vec<u8>, after: Duration },
    /// Two of one id: answers at their setting come over each other.
    Twins { unit: u8, at: Setting },
    /// Two of one id, one much slower than the other: both answers come soundly, one after the other.
    SlowTwins { unit: u8, at: Setting },
    /// One that does not look at the parity bit: with another parity its answers come damaged.
    Lenient { unit: u8, at: Setting },
    /// Noise at this rate, whatever is asked.
    Chatter { baud: u32 },
    /// The adapter hears itself.
    Echo,
    /// A device or gateway that answers as if it were everybody.
    Anybody,
    /// A Modbus gateway with these units behind it.
    Gateway { units: Vec<u8> },
}

struct World {
    things: Vec<Thing>,
    now: Instant,
    began: Instant,
    /// Questions by setting, unit and function.
    asked: Vec<(usize, u8, u8)>,
    late: Option<UnitId>,
}

const N: Parity = Parity::None;
const E: Parity = Parity::Even;

fn at(baud: u32, parity: Parity) -> Setting {
    Setting { baud, data_bits: 8, parity, stop_bits: 1 }
}

fn device(unit: u8, at: Setting) -> Thing {
    Thing::Device { unit, at, takes: vec![3], after: Duration::from_millis(10) }
}

fn range(table: Table) -> ReadRange {
    ReadRange::new(table, 0, 1).expect("allowed")
}

fn settings(settings: Vec<Option<Setting>>) -> ScanSettings {
    ScanSettings {
        settings,
        units: (1..=247).map(UnitId).collect(),
        first: range(Table::Holding),
        timeout: Duration::from_millis(100),
        goes_on: false,
        is_network: false,
        fingerprints: Vec::new(),
    }
}

fn likely() -> ScanSettings {
    let all = Setting::to_try(&Choice::default(), false);
    settings(all.into_iter().map(Some).collect())
}

impl World {
    fn new(things: Vec<Thing>) -> Self {
        let now = Instant::now();
        Self { things, now, began: now, asked: Vec::new(), late: None }
    }

    /// Scans to the end, or until `stop` says so.
    fn scan(&mut self, settings: ScanSettings, stop: impl Fn(&Scan) -> bool) -> Scan {
        let mut scan = Scan::new(settings, self.now);
        while let Some(ask) = scan.poll_ask(self.now) {
            let setting = scan.setting(ask.setting);
            self.asked.push((ask.setting, ask.unit.0, ask.query.function()));
            let (heard, took) = self.answer(ask, setting);
            self.now += took;
            scan.handle_outcome(heard, 0, self.now);
            if stop(&scan) {
                scan.handle_stop();
            }
        }
        scan
    }

    fn answer(&mut self, ask: Ask, setting: Option<Setting>) -> (Outcome, Duration) {
        let quick = Duration::from_millis(30);
        let wire = setting.map_or(Duration::ZERO, |it| it.characters(19));
        let ends = |result, took| (Outcome { result, dropped: Vec::new() }, took);
        let fails = |failure, took| ends(Err(failure), took);
        let damaged = Failure::Crc { received: 1, computed: 2 };
        let unit = ask.unit;
        if let Some(answered) = self.late.take().filter(|late| *late != unit) {
            let wrong = Failure::WrongUnit { asked: unit.0, answered: answered.0 };
            return fails(wrong, quick);
        }
        let mut echoes = false;
        for thing in &self.things {
            match thing {
                Thing::Device { unit: its, at, takes, after }
                    if *its == unit.0 && Some(*at) == setting =>
                {
                    if *after > ask.timeout {
                        self.late = Some(unit);
                        return fails(Failure::NoAnswer, ask.timeout + wire);
                    }
                    return ends(reply(&ask.query, takes), *after + wire);
                }
                Thing::Twins { unit: its, at } if *its == unit.0 && Some(*at) == setting => {
                    return fails(damaged, quick);
                }
                Thing::SlowTwins { unit: its, at } if *its == unit.0 && Some(*at) == setting => {
                    self.late = Some(unit);
                    return ends(reply(&ask.query, &[3]), quick);
                }
                Thing::Lenient { unit: its, at }
                    if *its == unit.0 && Some(at.baud) == setting.map(|it| it.baud) =>
                {
                    if Some(*at) == setting {
                        return ends(reply(&ask.query, &[3]), quick);
                    }
                    return fails(damaged, quick);
                }
                Thing::Chatter { baud } if Some(*baud) == setting.map(|it| it.baud) => {
                    return fails(Failure::Noise { bytes: 7 }, ask.timeout);
                }
                Thing::Echo => echoes = true,
                Thing::Anybody => return ends(reply(&ask.query, &[3]), quick),
                Thing::Gateway { units } => {
                    if units.contains(&unit.0) {
                        return ends(reply(&ask.query, &[3]), quick);
                    }
                    let code = ExceptionCode::GatewayTargetFailed;
                    return fails(Failure::Refused { code }, Duration::from_millis(300));
                }
                _ => {}
            }
        }
        fails(if echoes { Failure::EchoOnly } else { Failure::NoAnswer }, ask.timeout + wire)
    }

    fn units_asked(&self, setting: usize) -> Vec<u8> {
        let of = |(at, unit, _): &(usize, u8, u8)| (*at == setting).then_some(*unit);
        let mut units: Vec<u8> = self.asked.iter().filter_map(of).collect();
        units.sort_unstable();
        units.dedup();
        units
    }
}

fn reply(query: &Query, takes: &[u8]) -> Result<Data, Failure> {
    if !takes.contains(&query.function()) {
        return Err(Failure::Refused { code: ExceptionCode::IllegalFunction });
    }
    Ok(match query {
        Query::Read(range) if range.function() > 2 => Data::Registers(vec![230]),
        Query::Read(_) => Data::Bits(vec![true]),
        Query::Identity(asked) => {
            let texts: &[(u8, &str)] = match asked.objects {
                Objects::Basic => &[(0, "Acme"), (1, "X1")],
                _ => &[(5, "Meter X1")],
            };
            let objects = texts.iter().map(|(id, text)| (*id, text.as_bytes().to_vec())).collect();
            Data::Identity(wire::Identity { conformity: 0x82, more_from: None, objects })
        }
        _ => Data::ServerId(b"\x01\xff".to_vec()),
    })
}

fn found(scan: &Scan) -> Vec<(u8, String)> {
    let words = |case: &Case| {
        (case.unit.0, scan.setting(case.setting).map_or(String::new(), |it| it.to_string()))
    };
    scan.found().map(words).collect()
}

fn to_the_end(_: &Scan) -> bool {
    false
}

#[test]
fn units_of_one_setting_are_found_and_that_setting_is_finished() {
    let at = at(19_200, E);
    let mut world = World::new(vec![device(1, at), device(7, at), device(200, at)]);
    let scan = world.scan(likely(), to_the_end);
    let line = "19200 8E1".to_owned();
    assert_eq!(found(&scan), [(1, line.clone()), (7, line.clone()), (200, line)]);
    assert!(scan.found().all(|case| case.verdict(false) == Verdict::One));
    assert_eq!(world.units_asked(1), (1..=247).collect::<Vec<u8>>());
    assert_eq!(world.units_asked(0), (1..=16).collect::<Vec<u8>>());
    assert!(world.units_asked(2).is_empty());
    let news: Vec<News> = std::iter::from_fn({
        let mut scan = scan;
        move || scan.poll_news()
    })
    .collect();
    assert_eq!(news, [News::Unit(0), News::Unit(1), News::Unit(2)]);
}

#[test]
fn all_ids_of_one_setting_take_well_below_a_minute() {
    let mut world = World::new(Vec::new());
    world.scan(settings(vec![Some(at(9_600, N))]), to_the_end);
    let took = world.now - world.began;
    assert!(took < Duration::from_secs(35), "{took:?}");
}

#[test]
fn a_unit_with_a_high_id_at_an_unlikely_setting_is_found_in_the_second_round() {
    let at = at(2_400, E);
    let mut world = World::new(vec![device(99, at)]);
    let scan = world.scan(likely(), to_the_end);
    assert_eq!(found(&scan), [(99, "2400 8E1".to_owned())]);
}

#[test]
fn nothing_at_all_is_counted_as_that_and_the_time_left_was_right() {
    let mut world = World::new(Vec::new());
    let plan = Scan::new(likely(), world.now).progress();
    let scan = world.scan(likely(), to_the_end);
    assert_eq!(scan.found().count() + scan.suspects().count(), 0);
    let all = scan.tallies().fold(Tally::default(), |sum, (_, tally)| sum.and(tally));
    assert_eq!((all.asked, all.silent), (16 * 247, 16 * 247));
    assert_eq!(plan.total, 16 * 247);
    let took = (world.now - world.began).as_secs_f64();
    assert!((plan.left.as_secs_f64() / took - 1.0).abs() < 0.02, "{:?} and {took}", plan.left);
}

#[test]
fn only_echoes_are_counted_as_echoes() {
    let mut world = World::new(vec![Thing::Echo]);
    let scan = world.scan(settings(vec![Some(at(9_600, N))]), to_the_end);
    let (_, tally) = scan.tallies().next().expect("one setting");
    assert_eq!((tally.echoed, tally.silent), (247, 0));
}

#[test]
fn two_devices_with_one_id_that_answer_over_each_other_are_told() {
    let at = at(9_600, N);
    let mut world = World::new(vec![device(3, at), Thing::Twins { unit: 7, at }, device(9, at)]);
    let scan = world.scan(likely(), to_the_end);
    let line = "9600 8N1".to_owned();
    assert_eq!(found(&scan), [(3, line.clone()), (9, line)]);
    let suspects: Vec<&Case> = scan.suspects().collect();
    let [case] = suspects[..] else { panic!("{suspects:?}") };
    assert_eq!((case.unit, case.verdict(false)), (UnitId(7), Verdict::ProbablyTwo));
    assert!(case.damaged >= 3);
}

#[test]
fn two_devices_that_answer_one_after_the_other_are_told() {
    let at = at(9_600, N);
    let mut world = World::new(vec![Thing::SlowTwins { unit: 7, at }, device(8, at)]);
    let scan = world.scan(likely(), to_the_end);
    let cases: Vec<(u8, Verdict)> =
        scan.found().map(|case| (case.unit.0, case.verdict(false))).collect();
    assert_eq!(cases, [(7, Verdict::ProbablyTwo), (8, Verdict::One)]);
}

#[test]
fn bytes_behind_an_answer_are_those_of_a_second_device() {
    let at = at(9_600, N);
    for (more, verdict) in [(0, Verdict::One), (2, Verdict::One), (7, Verdict::ProbablyTwo)] {
        let mut world = World::new(vec![device(1, at)]);
        let units = vec![UnitId(1)];
        let mut scan = Scan::new(ScanSettings { units, ..settings(vec![Some(at)]) }, world.now);
        let mut listened = 0;
        while let Some(ask) = scan.poll_ask(world.now) {
            let more = ask.linger.map_or(0, |_| more);
            listened += u32::from(ask.linger.is_some());
            let (outcome, took) = world.answer(ask, Some(at));
            world.now += took;
            scan.handle_outcome(outcome, more, world.now);
        }
        let case = scan.found().next().expect("the unit");
        assert_eq!((listened, case.verdict(false)), (VERIFICATIONS, verdict), "{more}");
    }
}

#[test]
fn a_wrong_parity_is_not_taken_for_two_devices_once_the_right_one_is_tried() {
    let right = at(19_200, E);
    let mut world = World::new(vec![Thing::Lenient { unit: 40, at: right }]);
    let scan = world.scan(likely(), to_the_end);
    assert_eq!(found(&scan), [(40, "19200 8E1".to_owned())]);
    assert_eq!(scan.suspects().count(), 0);
}

#[test]
fn an_id_that_is_not_understood_has_other_parities_of_its_rate_tried_next() {
    let right = at(9_600, Parity::Odd);
    let mut world = World::new(vec![Thing::Lenient { unit: 2, at: right }]);
    let scan = world.scan(likely(), to_the_end);
    assert_eq!(found(&scan), [(2, "9600 8O1".to_owned())]);
    let tried: Vec<usize> = (0..16).filter(|at| !world.units_asked(*at).is_empty()).collect();
    assert_eq!(tried, [0, 2, 14]);
}

#[test]
fn an_id_that_nobody_understands_does_not_keep_other_rates_from_being_tried_first() {
    let lost = Setting { stop_bits: 2, ..at(9_600, Parity::Odd) };
    let mut world =
        World::new(vec![Thing::Lenient { unit: 2, at: lost }, device(3, at(115_200, N))]);
    let scan = world.scan(likely(), to_the_end);
    assert_eq!(found(&scan), [(3, "115200 8N1".to_owned())]);
    assert_eq!(scan.suspects().next().map(|case| case.unit), Some(UnitId(2)));
    assert!(world.units_asked(0).len() <= 16, "the rest of the ids waits");
}

#[test]
fn a_setting_with_noise_whatever_is_asked_is_left() {
    let right = at(19_200, E);
    let mut world = World::new(vec![Thing::Chatter { baud: 9_600 }, device(30, right)]);
    let scan = world.scan(likely(), to_the_end);
    assert_eq!(found(&scan), [(30, "19200 8E1".to_owned())]);
    assert_eq!(scan.suspects().count(), 0);
    let left: Vec<String> = scan
        .tallies()
        .filter(|(_, tally)| tally.is_left)
        .map(|(setting, _)| setting.map_or(String::new(), |it| it.to_string()))
        .collect();
    assert_eq!(left, ["9600 8N1", "9600 8E1", "9600 8O1"]);
    assert!(world.units_asked(0).len() <= 5);
}

#[test]
fn a_single_setting_is_not_left_for_its_noise() {
    let mut world = World::new(vec![Thing::Chatter { baud: 9_600 }]);
    let scan = world.scan(settings(vec![Some(at(9_600, N))]), to_the_end);
    let (_, tally) = scan.tallies().next().expect("one setting");
    assert_eq!((tally.asked, tally.noisy_ids, tally.is_left), (247, 247, false));
    assert_eq!(scan.suspects().count(), 0);
}

#[test]
fn a_unit_that_answers_late_is_found_all_the_same() {
    let at = at(9_600, N);
    let after = Duration::from_millis(250);
    let slow = Thing::Device { unit: 5, at, takes: vec![3], after };
    let mut world = World::new(vec![slow, device(6, at)]);
    let scan = world.scan(settings(vec![Some(at)]), to_the_end);
    let cases: Vec<(u8, bool)> = scan.found().map(|case| (case.unit.0, case.is_slow)).collect();
    assert_eq!(cases, [(5, true), (6, false)]);
    assert!(scan.found().all(|case| case.verdict(false) == Verdict::One));
}

#[test]
fn who_is_there_is_asked_who_it_is_and_what_it_has() {
    let at = at(9_600, N);
    let after = Duration::from_millis(10);
    let device = Thing::Device { unit: 1, at, takes: vec![4, 43], after };
    let mut world = World::new(vec![device]);
    let scan = world.scan(settings(vec![Some(at)]), to_the_end);
    let case = scan.found().next().expect("the unit");
    assert_eq!(case.identity.to_string(), "Acme Meter X1");
    let (range, values) = case.first_values().expect("its input register");
    assert_eq!((range.table(), values), (Table::Input, &Data::Registers(vec![230])));
}

#[test]
fn a_device_that_knows_the_question_and_says_nothing_is_asked_no_more() {
    let now = Instant::now();
    let mut scan = Scan::new(ScanSettings { units: vec![UnitId(1)], ..settings(vec![None]) }, now);
    let mut asked = 0;
    while let Some(ask) = scan.poll_ask(now) {
        asked += 1;
        let identity = wire::Identity { conformity: 0x83, more_from: None, objects: Vec::new() };
        let result = match ask.query {
            Query::Identity(_) => Ok(Data::Identity(identity)),
            query => reply(&query, &[3]),
        };
        scan.handle_outcome(Outcome { result, dropped: Vec::new() }, 0, now);
        assert!(asked < 20, "it goes on for ever");
    }
}

#[test]
fn a_unit_that_is_silent_where_others_refuse_is_not_asked_for_ever() {
    let point = |address| {
        let place = Place { table: Table::Holding, address, bit: None };
        PointSettings::new("x".into(), place, ValueType::U16, Duration::from_secs(1))
    };
    let sign = |address| Sign::Value(Box::new(point(address)), Expected::Number(vec![1.0]));
    let signs = (100..150).map(sign).collect();
    let fingerprints = vec![Fingerprint { template: "x".into(), title: "X".into(), signs }];
    let units = vec![UnitId(1)];
    let now = Instant::now();
    let mut scan = Scan::new(ScanSettings { units, fingerprints, ..settings(vec![None]) }, now);
    let mut unanswered = 0;
    while let Some(ask) = scan.poll_ask(now) {
        let result = if ask.query == Query::Read(range(Table::Holding)) {
            Ok(Data::Registers(vec![1]))
        } else {
            unanswered += 1;
            Err(Failure::NoAnswer)
        };
        scan.handle_outcome(Outcome { result, dropped: Vec::new() }, 0, now);
    }
    assert_eq!((scan.found().count(), unanswered), (1, SILENT_FOLLOWS_MAX));
    assert_eq!(scan.poll_news(), Some(News::Unit(0)));
}

#[test]
fn a_stop_keeps_what_was_found() {
    let at = at(9_600, N);
    let mut world = World::new(vec![device(1, at), device(100, at)]);
    let scan = world.scan(likely(), |scan| scan.progress().asked == 50);
    assert!(scan.is_stopped());
    assert_eq!(found(&scan), [(1, "9600 8N1".to_owned())]);
}

#[test]
fn other_settings_are_tried_after_units_were_found_only_when_that_is_wanted() {
    let things = || vec![device(1, at(9_600, N)), device(2, at(19_200, E))];
    let scan = World::new(things()).scan(likely(), to_the_end);
    assert_eq!(scan.found().count(), 1);
    let all = ScanSettings { goes_on: true, ..likely() };
    let scan = World::new(things()).scan(all, to_the_end);
    assert_eq!(found(&scan), [(1, "9600 8N1".to_owned()), (2, "19200 8E1".to_owned())]);
}

#[test]
fn broadcasts_are_never_asked() {
    let mut world = World::new(Vec::new());
    let units = [0, 1, 2].map(UnitId).to_vec();
    world.scan(ScanSettings { units, ..settings(vec![None]) }, to_the_end);
    assert_eq!(world.units_asked(0), [1, 2]);
}

#[test]
fn behind_a_gateway_only_its_own_refusals_say_that_nobody_is_there() {
    let mut world = World::new(vec![Thing::Gateway { units: vec![4, 5] }]);
    let network = ScanSettings { is_network: true, ..settings(vec![None]) };
    let scan = world.scan(network, to_the_end);
    assert_eq!(found(&scan), [(4, String::new()), (5, String::new())]);
    let (_, tally) = scan.tallies().next().expect("one");
    assert_eq!(tally.denied, 245);
}

#[test]
fn twenty_units_one_after_the_other_behind_a_gateway_are_twenty() {
    let mut world = World::new(vec![Thing::Gateway { units: (1..=20).collect() }]);
    let network = ScanSettings { is_network: true, ..settings(vec![None]) };
    let scan = world.scan(network, to_the_end);
    assert_eq!((scan.found().count(), scan.answers_to_any()), (20, false));
}

#[test]
fn a_device_that_answers_to_every_id_is_one_device() {
    let mut world = World::new(vec![Thing::Anybody]);
    let network = ScanSettings { is_network: true, ..settings(vec![None]) };
    let scan = world.scan(network, to_the_end);
    assert!(scan.answers_to_any());
    assert_eq!(scan.progress().asked, 11);
}

#[test]
fn a_port_that_fails_again_and_again_ends_the_scan() {
    let now = Instant::now();
    let mut scan = Scan::new(settings(vec![None]), now);
    let gone = || Outcome {
        result: Err(Failure::Port { reason: "the serial port is gone".to_owned() }),
        dropped: Vec::new(),
    };
    let mut asked = Vec::new();
    while let Some(ask) = scan.poll_ask(now) {
        asked.push(ask.unit.0);
        scan.handle_outcome(gone(), 0, now);
    }
    assert_eq!(asked, [1, 1, 2, 2, 3, 3]);
    assert_eq!(scan.failure(), Some("the serial port is gone"));
}

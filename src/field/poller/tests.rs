//! The decisions of a serial bus against simulated devices, in virtual time, over the real framing.

mod golden;
mod looks;
mod together;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::field::health::Ailment;
use crate::field::modbus::link::Link;
use crate::field::modbus::pdu::{Data, ReadRange};
use crate::field::modbus::query::Query;
use crate::field::modbus::rtu;
use crate::field::modbus::write::{What, Write};
use crate::field::{
    Allowed, DeviceState, Parity, Place, PointSettings, SerialSettings, Table, UnitId, ValueType,
};
use crate::model::{Quality, Reading, Value};

const TIMEOUT: Duration = Duration::from_millis(300);

/// What a read asks for, or a write touches.
fn range_of(question: &Question) -> ReadRange {
    let Query::Write(write) = &question.query else {
        return question.query.range().expect("nothing else is asked here");
    };
    write.range()
}

fn register(unit: u8, address: u16) -> u16 {
    u16::from(unit) * 1000 + address
}

fn device(unit: u8, points: &[(u16, bool)], every_ms: u64) -> DeviceSettings {
    let point = |&(address, is_wide): &(u16, bool)| {
        let place = Place { table: Table::Holding, address, bit: None };
        let value_type = if is_wide { ValueType::U32 } else { ValueType::U16 };
        let every = Duration::from_millis(every_ms);
        PointSettings::new(address.to_string().into(), place, value_type, every)
    };
    DeviceSettings {
        name: unit.to_string().into(),
        bus: "bus".into(),
        unit: UnitId(unit),
        points: points.iter().map(point).collect(),
        computed: Vec::new(),
        allowed: Allowed::default(),
    }
}

/// What a simulated device does with a question.
#[derive(Debug, Clone, Copy)]
enum Mood {
    Answer { delay_ms: u64 },
    Lose,
    Damage { delay_ms: u64 },
    Refuse { code: u8, delay_ms: u64 },
}

/// Devices that answer in order, each question after the one before it is done, over a line that takes its time.
struct Sim {
    serial: SerialSettings,
    poller: Poller,
    link: Link,
    now: Instant,
    start: Instant,
    /// When each unit is done with what it was asked so far.
    free: BTreeMap<u8, Instant>,
    /// Frames on their way, by when their last byte is read.
    coming: BTreeMap<(Instant, usize), Vec<u8>>,
    asked: Vec<(Duration, u8)>,
    good: BTreeMap<String, usize>,
    states: Vec<(String, bool)>,
    facts: Vec<Fact>,
    /// Readings that are not good, by point.
    bad: BTreeMap<String, usize>,
    /// The names of the points of each event with readings, with the word of a quality that is not good.
    batches: Vec<String>,
    /// What was asked and how it ended, a line each.
    transcript: String,
    /// What somebody who looks around asks, again as soon as it has ended.
    looks: Option<Question>,
    looked: u64,
    is_looking: bool,
}

impl Sim {
    fn new(devices: Vec<DeviceSettings>) -> Self {
        Self::remembering(19_200, devices, &Memory::default())
    }

    fn remembering(baud: u32, devices: Vec<DeviceSettings>, memory: &Memory) -> Self {
        #[allow(
            clippy::disallowed_methods,
            reason = "a simulation needs some instant to count from"
        )]
        let start = Instant::now();
        let path = "tty".into();
        let serial = SerialSettings {
            path,
            baud,
            data_bits: 8,
            parity: Parity::None,
            stop_bits: 1,
            rs485: None,
        };
        let link = Link::rtu(&serial, TIMEOUT, start);
        let port = PortSettings::Rtu(serial.clone());
        let bus = BusSettings {
            name: "bus".into(),
            port,
            timeout: TIMEOUT,
            probe_share: 5,
            in_flight: 1,
        };
        let poller = Poller::new(&bus, devices, memory, Self::moment(start));
        Self {
            serial,
            poller,
            link,
            now: start,
            start,
            free: BTreeMap::new(),
            coming: BTreeMap::new(),
            asked: Vec::new(),
            good: BTreeMap::new(),
            states: Vec::new(),
            facts: Vec::new(),
            bad: BTreeMap::new(),
            batches: Vec::new(),
            transcript: String::new(),
            looks: None,
            looked: 0,
            is_looking: false,
        }
    }

    fn note(&mut self, words: &str) {
        let at = (self.now - self.start).as_secs_f64();
        self.transcript += &format!("{at:9.3} {words}\n");
    }

    fn moment(mono: Instant) -> Moment {
        Moment { mono, wall: crate::model::Timestamp::from_unix_ms(0), boot_ms: 0 }
    }

    fn run(&mut self, span: Duration, mut mood: impl FnMut(u8, ReadRange) -> Mood) {
        let until = self.now + span;
        while self.now < until {
            self.take_events();
            if let Some(question) = self.looks.clone().filter(|_| !self.is_looking) {
                let rank = Rank::Idle;
                self.poller.handle_errand(Errand { id: self.looked, rank, question, until: None });
                self.is_looking = true;
            }
            match self.poller.poll_next(self.now) {
                Next::Wait(None) => return,
                Next::Wait(Some(at)) => {
                    assert!(at > self.now, "a wait is a wait");
                    self.pass(at.min(until));
                }
                Next::Ask(ask) => self.transact(ask, &mut mood),
            }
        }
        self.take_events();
    }

    /// Lets time pass between two transactions.
    fn pass(&mut self, until: Instant) {
        while let Some(frame) = self.next_frame(until) {
            assert_eq!(self.link.handle_bytes(&frame, self.now), None);
        }
        self.now = self.now.max(until);
    }

    fn next_frame(&mut self, until: Instant) -> Option<Vec<u8>> {
        let entry = self.coming.first_entry().filter(|entry| entry.key().0 <= until)?;
        self.now = self.now.max(entry.key().0);
        Some(entry.remove())
    }

    fn transact(&mut self, ask: Ask, mood: &mut impl FnMut(u8, ReadRange) -> Mood) {
        let Ask { ticket, question, timeout } = ask;
        while self.link.poll_ready() > self.now {
            self.pass(self.link.poll_ready());
        }
        self.link.set_timeout(timeout);
        self.link.ask(question.clone(), self.now);
        self.asked.push((self.now - self.start, question.unit.0));
        self.note(&format!("ask {question}, {} ms", timeout.as_millis()));
        let mood = mood(question.unit.0, range_of(&question));
        self.answer(&question, mood);
        loop {
            let deadline = self.link.poll_timeout().expect("a transaction is under way");
            let outcome = match self.next_frame(deadline) {
                Some(frame) => self.link.handle_bytes(&frame, self.now),
                None => {
                    self.now = deadline;
                    self.link.handle_timeout(deadline)
                }
            };
            if let Some(outcome) = outcome {
                match &outcome.result {
                    Ok(_) => self.note("  values"),
                    Err(failure) => self.note(&format!("  {failure}")),
                }
                self.poller.handle_outcome(ticket, &outcome, Self::moment(self.now));
                return;
            }
        }
    }

    fn answer(&mut self, question: &Question, mood: Mood) {
        let (unit, range) = (question.unit, range_of(question));
        let mut pdu = vec![range.function(), range.byte_count()];
        for offset in 0..range.count() {
            pdu.extend(register(unit.0, range.address() + offset).to_be_bytes());
        }
        if question.query.is_write() {
            pdu = question.query.request();
            pdu.truncate(question.query.expected_len());
        }
        let (delay_ms, frame) = match mood {
            Mood::Lose => return,
            Mood::Answer { delay_ms } => (delay_ms, rtu::encode(unit, &pdu)),
            Mood::Refuse { code, delay_ms } => {
                (delay_ms, rtu::encode(unit, &[question.query.function() | 0x80, code]))
            }
            Mood::Damage { delay_ms } => {
                let mut frame = rtu::encode(unit, &pdu);
                frame[3] ^= 0x40;
                (delay_ms, frame)
            }
        };
        let free = self.free.entry(unit.0).or_insert(self.now);
        let asked = self.now + self.serial.characters(8);
        let length = u32::try_from(frame.len()).expect("short");
        // A short answer does not overtake a long one that is still being sent.
        *free =
            (*free).max(asked) + Duration::from_millis(delay_ms) + self.serial.characters(length);
        self.coming.insert((*free, self.asked.len()), frame);
    }

    fn take_events(&mut self) {
        while let Some(fact) = self.poller.poll_fact() {
            self.note(&format!("      {fact:?}"));
            self.facts.push(fact);
        }
        while let Some((id, outcome)) = self.poller.poll_errand() {
            self.looked += 1;
            self.is_looking = false;
            self.note(&format!("      errand {id}: {}", outcome.result.is_ok()));
        }
        while let Some(event) = self.poller.poll_event() {
            match event {
                FieldEvent::Device { device, state, .. } => {
                    self.states.push((device.to_string(), state == DeviceState::Online));
                }
                FieldEvent::Readings(readings) => {
                    readings.iter().for_each(|it| self.check(it));
                    let told = |it: &Reading| {
                        let word = if it.quality == Quality::Good { "" } else { it.quality.word() };
                        format!("{} {word}", it.point.point).trim_end().to_owned()
                    };
                    let told: Vec<String> = readings.iter().map(told).collect();
                    self.batches.push(told.join(", "));
                }
            }
        }
    }

    fn check(&mut self, reading: &Reading) {
        if reading.quality != Quality::Good {
            *self.bad.entry(reading.point.to_string()).or_default() += 1;
        }
        let Some(value) = &reading.value else { return };
        let unit: u8 = reading.point.device.parse().expect("a number");
        let address: u16 = reading.point.point.parse().expect("a number");
        let low = i64::from(register(unit, address));
        let wide = low << 16 | i64::from(register(unit, address + 1));
        assert!(*value == Value::Int(low) || *value == Value::Int(wide), "wrong: {reading:?}");
        if reading.quality == Quality::Good {
            *self.good.entry(reading.point.to_string()).or_default() += 1;
        }
    }
}

fn mood() -> impl Strategy<Value = Mood> {
    prop_oneof![
        4 => (0..50u64).prop_map(|delay_ms| Mood::Answer { delay_ms }),
        3 => (200..4_000u64).prop_map(|delay_ms| Mood::Answer { delay_ms }),
        1 => Just(Mood::Lose),
        1 => (0..1_000u64).prop_map(|delay_ms| Mood::Damage { delay_ms }),
        1 => (prop_oneof![Just(2u8), Just(4), Just(6)], 0..1_000u64)
            .prop_map(|(code, delay_ms)| Mood::Refuse { code, delay_ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn however_late_devices_answer_no_value_is_ever_wrong_and_they_recover(
        moods in proptest::collection::vec(mood(), 1..60),
        points in proptest::collection::btree_map(0..200u16, any::<bool>(), 1..8),
    ) {
        let points: Vec<(u16, bool)> = points.into_iter().collect();
        let mut sim = Sim::new(vec![device(1, &points, 200), device(2, &points, 500)]);
        let mut left = moods.into_iter();
        // A device that is behind by more than the time after which nothing is expected any more cannot be told.
        sim.run(Duration::from_secs(60), |_, _| match left.next() {
            Some(Mood::Answer { delay_ms }) => Mood::Answer { delay_ms: delay_ms.min(900) },
            Some(mood) => mood,
            None => Mood::Answer { delay_ms: 5 },
        });
        sim.run(Duration::from_secs(120), |_, _| Mood::Answer { delay_ms: 5 });
        sim.good.clear();
        sim.run(Duration::from_secs(5), |_, _| Mood::Answer { delay_ms: 5 });
        for (address, _) in points {
            for unit in 1..=2 {
                let good = sim.good.get(&format!("{unit}/{address}")).copied().unwrap_or_default();
                prop_assert!(good >= 5);
            }
        }
    }
}

#[test]
fn one_late_answer_does_not_shift_the_next_values() {
    let mut sim = Sim::new(vec![device(1, &[(10, false), (100, false)], 200)]);
    let mut asked = 0;
    sim.run(Duration::from_secs(5), |_, _| {
        asked += 1;
        Mood::Answer { delay_ms: if asked == 3 { 500 } else { 5 } }
    });
    assert_eq!(sim.states, [("1".to_owned(), true)]);
    assert!(sim.good.values().all(|count| *count > 20), "{:?}", sim.good);
}

#[test]
fn dead_units_take_a_twentieth_of_the_bus_and_come_back_together() {
    let devices = (1..=20).map(|unit| device(unit, &[(1, false)], 1_000)).collect();
    let mut sim = Sim::new(devices);
    sim.run(Duration::from_secs(300), |unit, _| match unit {
        1..=5 => Mood::Answer { delay_ms: 5 },
        _ => Mood::Lose,
    });
    let late = Duration::from_secs(60)..Duration::from_secs(300);
    let to_dead = sim.asked.iter().filter(|(at, unit)| late.contains(at) && *unit > 5).count();
    assert!((30..=50).contains(&to_dead), "{to_dead} questions of 0.3 s in 240 s");
    assert!((280..=300).contains(&sim.good["1/1"]), "{:?}", sim.good);

    sim.good.clear();
    sim.run(Duration::from_secs(20), |_, _| Mood::Answer { delay_ms: 5 });
    assert_eq!(sim.good.len(), 20, "all are back: {:?}", sim.good);
    assert!(sim.good.values().all(|count| *count >= 5), "{:?}", sim.good);
}

#[test]
fn a_read_that_a_device_is_silent_to_does_not_take_it_offline_for_ever() {
    let points = [(10, false), (11, false), (12, false), (13, false), (100, false)];
    let mut sim = Sim::new(vec![device(1, &points, 500)]);
    let mood = |_: u8, range: ReadRange| {
        let holds = range.address() <= 12 && 12 < range.end();
        if holds { Mood::Lose } else { Mood::Answer { delay_ms: 5 } }
    };
    sim.run(Duration::from_secs(120), mood);
    sim.good.clear();
    sim.run(Duration::from_secs(50), mood);
    for point in ["1/10", "1/11", "1/13", "1/100"] {
        assert!(sim.good.get(point).is_some_and(|count| *count > 80), "{:?}", sim.good);
    }
}

#[test]
fn the_first_values_come_at_once_and_periods_are_kept() {
    let devices = (1..=3).map(|unit| device(unit, &[(1, false), (2, false)], 1_000)).collect();
    let mut sim = Sim::new(devices);
    sim.run(Duration::from_millis(200), |_, _| Mood::Answer { delay_ms: 5 });
    assert_eq!(sim.good.len(), 6);
    sim.run(Duration::from_secs(100), |_, _| Mood::Answer { delay_ms: 5 });
    assert!(sim.good.values().all(|count| (99..=102).contains(count)), "{:?}", sim.good);
    assert!(sim.poller.skipped().all(|(_, _, skipped)| skipped == 0));
}

#[test]
fn a_bus_that_is_gone_takes_its_devices_along_and_brings_them_back() {
    let mut sim = Sim::new(vec![device(1, &[(1, false)], 200), device(2, &[(1, false)], 200)]);
    sim.run(Duration::from_secs(1), |_, _| Mood::Answer { delay_ms: 5 });
    sim.states.clear();
    sim.poller.handle_port_down("gone", Sim::moment(sim.now));
    sim.poller.handle_port_down("gone", Sim::moment(sim.now));
    sim.take_events();
    assert_eq!(sim.states, [("1".to_owned(), false), ("2".to_owned(), false)]);
    sim.poller.handle_port_up(sim.now);
    sim.run(Duration::from_secs(1), |_, _| Mood::Answer { delay_ms: 5 });
    assert_eq!(sim.states[2..], [("1".to_owned(), true), ("2".to_owned(), true)]);
}

/// Thirty registers in a row, asked for as fast as it goes.
fn meters(units: std::ops::RangeInclusive<u8>) -> Vec<DeviceSettings> {
    let points: Vec<_> = (0..30).map(|address| (address, false)).collect();
    units.map(|unit| device(unit, &points, 10)).collect()
}

/// How much slower the cycle of `healthy` units at 9600 baud is with dead ones beside it, over `span` after `settled`.
fn slowdown(healthy: u8, all: u8, settled: u64, span: u64) -> f64 {
    let cycles = |units: u8| {
        let mut sim = Sim::remembering(9_600, meters(1..=units), &Memory::default());
        let mood = |unit: u8, _: ReadRange| {
            if unit <= healthy { Mood::Answer { delay_ms: 5 } } else { Mood::Lose }
        };
        sim.run(Duration::from_secs(settled), mood);
        sim.good.clear();
        sim.run(Duration::from_secs(span), mood);
        f64::from(u32::try_from(sim.good["1/0"]).expect("few"))
    };
    cycles(healthy) / cycles(all)
}

#[test]
fn one_dead_unit_of_four_slows_the_others_by_at_most_a_twentieth() {
    let (settled, from_the_start) = (slowdown(3, 4, 20, 120), slowdown(3, 4, 0, 120));
    println!("{settled:.4} settled, {from_the_start:.4} from the start");
    assert!(settled <= 1.05, "{settled}");
    assert!(from_the_start <= 1.05, "{from_the_start}");
}

#[test]
fn thirty_dead_units_of_thirty_two_slow_the_others_by_at_most_a_tenth() {
    let (settled, from_the_start) = (slowdown(2, 32, 120, 300), slowdown(2, 32, 0, 600));
    println!("{settled:.4} settled, {from_the_start:.4} from the start");
    assert!(settled <= 1.06, "{settled}");
    assert!(from_the_start <= 1.10, "{from_the_start}");
}

#[test]
fn the_wire_is_the_limit_for_healthy_units() {
    let mut sim = Sim::remembering(9_600, meters(1..=4), &Memory::default());
    sim.run(Duration::from_secs(60), |_, _| Mood::Answer { delay_ms: 5 });
    sim.good.clear();
    sim.run(Duration::from_secs(339), |_, _| Mood::Answer { delay_ms: 5 });
    let cycles = sim.good["4/29"];
    assert!((995..=1001).contains(&cycles), "{cycles} cycles where 1000 fit");
}

#[test]
fn points_of_a_silent_device_go_stale_once() {
    let mut sim =
        Sim::new(vec![device(1, &[(1, false), (2, false)], 100), device(2, &[(1, false)], 100)]);
    sim.run(Duration::from_secs(5), |_, _| Mood::Answer { delay_ms: 5 });
    sim.run(Duration::from_secs(120), |unit, _| match unit {
        1 => Mood::Lose,
        _ => Mood::Answer { delay_ms: 5 },
    });
    let once = [("1/1".to_owned(), 1), ("1/2".to_owned(), 1)];
    assert_eq!(sim.bad.into_iter().collect::<Vec<_>>(), once);
}

#[test]
fn a_device_that_refuses_everything_is_told_once_and_asked_less_and_less() {
    let mut sim = Sim::new(vec![device(1, &[(1, false)], 100), device(2, &[(1, false)], 100)]);
    let refuse = |unit: u8, _: ReadRange| match unit {
        1 => Mood::Refuse { code: 4, delay_ms: 5 },
        _ => Mood::Answer { delay_ms: 5 },
    };
    sim.run(Duration::from_secs(5), |_, _| Mood::Answer { delay_ms: 5 });
    sim.run(Duration::from_secs(60), refuse);
    let count = sim.asked.iter().filter(|(at, unit)| at.as_secs() >= 5 && *unit == 1).count();
    assert!((8..=14).contains(&count), "{count} questions in a minute");
    let is_it = |fact: &Fact| {
        matches!(fact, Fact::FellSick { ailment: Ailment::Refusing, unit: UnitId(1), .. })
    };
    assert_eq!(sim.facts.iter().filter(|fact| is_it(fact)).count(), 1, "{:?}", sim.facts);
    // Three times by itself, and as stale.
    assert_eq!(sim.bad["1/1"], 5);
    sim.good.clear();
    sim.run(Duration::from_secs(20), |_, _| Mood::Answer { delay_ms: 5 });
    assert!(sim.good["1/1"] > 90, "{:?}", sim.good);
}

#[test]
fn a_busy_device_is_left_alone_and_holds_up_nobody() {
    let points = [(1, false), (500, false)];
    let mut sim = Sim::new(vec![device(1, &points, 200), device(2, &points, 200)]);
    let mut left = 3;
    sim.run(Duration::from_secs(10), |unit, _| {
        if unit == 1 && left > 0 {
            left -= 1;
            return Mood::Refuse { code: if left == 1 { 5 } else { 6 }, delay_ms: 5 };
        }
        Mood::Answer { delay_ms: 5 }
    });
    assert_eq!(sim.states.len(), 2, "busy is not sick: {:?}", sim.states);
    assert!(sim.bad.is_empty(), "{:?}", sim.bad);
    assert!(sim.good["1/1"] >= 43 && sim.good["2/1"] >= 49, "{:?}", sim.good);
}

#[test]
fn a_lost_answer_of_a_device_that_is_known_costs_little() {
    let mut sim = Sim::new(vec![device(1, &[(1, false)], 100)]);
    sim.run(Duration::from_secs(3), |_, _| Mood::Answer { delay_ms: 5 });
    let mut lost = false;
    sim.transcript.clear();
    sim.run(Duration::from_secs(1), |_, _| {
        if std::mem::replace(&mut lost, true) { Mood::Answer { delay_ms: 5 } } else { Mood::Lose }
    });
    let timeouts: Vec<&str> = sim.transcript.lines().filter(|line| line.contains("ask")).collect();
    assert!(timeouts[0].ends_with(", 75 ms") && timeouts[1].ends_with(", 300 ms"), "{timeouts:?}");
    assert!(sim.bad.is_empty());
}

#[test]
fn what_was_learnt_about_a_device_holds_after_a_restart() {
    let points: Vec<_> = (0..60).map(|address| (address, false)).collect();
    let devices = || vec![device(1, &points, 1_000)];
    let mood = |_: u8, range: ReadRange| {
        let has_hole = range.address() <= 33 && 33 < range.end();
        if has_hole || range.count() > 20 {
            Mood::Refuse { code: 2, delay_ms: 5 }
        } else {
            Mood::Answer { delay_ms: 5 }
        }
    };
    let mut sim = Sim::new(devices());
    sim.run(Duration::from_secs(20), mood);
    let memory = sim.poller.take_memory().expect("something was learnt");
    assert_eq!(sim.poller.take_memory(), None, "nothing since");
    let refuses = sim.facts.iter().find_map(|fact| {
        let Fact::Refuses { points, remedy, .. } = fact else { return None };
        Some((points.as_str(), remedy.as_str()))
    });
    let remedy = "correct its address (of a manual that counts from 1, 33 is 32 here), or remove it and write \
                  `holes: [{ holding: 33 }]`";
    assert_eq!(refuses, Some(("33", remedy)));
    let memory = Memory::parse(&memory.to_text()).expect("it was written so");
    let mut sim = Sim::remembering(19_200, devices(), &memory);
    sim.run(Duration::from_millis(900), mood);
    assert_eq!(sim.asked.len(), 4, "33 and 26 registers, 20 at a time:\n{}", sim.transcript);
    assert_eq!((sim.good.len(), sim.bad.len()), (59, 1));
}

#[test]
fn what_a_device_does_not_allow_is_found_out_again_once_a_day() {
    let points: Vec<_> = (0..60).map(|address| (address, false)).collect();
    let mut sim = Sim::new(vec![device(1, &points, 60_000)]);
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    sim.run(hours(25), |_, range| match range.count() {
        21.. => Mood::Refuse { code: 3, delay_ms: 5 },
        _ => Mood::Answer { delay_ms: 5 },
    });
    let learnt = sim.facts.iter().filter(|it| matches!(it, Fact::Learnt { .. })).count();
    assert_eq!(learnt, 1, "what is only confirmed is no news");
    let mut asked = |hours| {
        let before = sim.asked.len();
        sim.run(hours, |_, _| Mood::Answer { delay_ms: 5 });
        sim.asked.len() - before
    };
    assert_eq!(asked(hours(1)), 3 * 60);
    asked(hours(23));
    assert_eq!(asked(hours(1)), 60, "all of it in one read");
    assert!(sim.bad.is_empty());
}

#[test]
fn a_bus_that_is_too_slow_says_so_once_and_when_it_is_over() {
    let mut sim = Sim::new(vec![device(1, &[(1, false)], 100)]);
    sim.run(Duration::from_secs(10), |_, _| Mood::Answer { delay_ms: 150 });
    sim.run(Duration::from_secs(70), |_, _| Mood::Answer { delay_ms: 5 });
    let told: Vec<_> = sim.facts.iter().filter(|it| !matches!(it, Fact::Answers { .. })).collect();
    let [Fact::FellBehind { device, every }, Fact::CaughtUp { missed, .. }] = told[..] else {
        panic!("{told:?}");
    };
    assert_eq!((&**device, *every), ("1", Duration::from_millis(100)));
    let skipped: u64 = sim.poller.skipped().map(|(_, _, skipped)| skipped).sum();
    assert!(*missed == skipped && (48..=51).contains(missed), "{missed} of 100 slots");
}

#[test]
fn over_tcp_several_questions_may_be_open_and_are_answered_in_any_order() {
    let sim = Sim::new(Vec::new());
    let tcp = crate::field::TcpSettings { host: "plc".into(), port: 502 };
    let port = PortSettings::Tcp(tcp);
    let bus =
        BusSettings { name: "bus".into(), port, timeout: TIMEOUT, probe_share: 5, in_flight: 1 };
    let points = [(0, false), (1_000, false), (2_000, false), (3_000, false)];
    let devices = vec![device(1, &points, 1_000)];
    let mut poller = Poller::new(&bus, devices, &Memory::default(), Sim::moment(sim.now));
    poller.in_flight = 3;
    let data = |ask: &Ask| Outcome {
        result: Ok(Data::Registers(vec![register(1, range_of(&ask.question).address())])),
        dropped: Vec::new(),
    };
    let ask = |poller: &mut Poller| match poller.poll_next(sim.now) {
        Next::Ask(ask) => Some(ask),
        Next::Wait(_) => None,
    };
    let first = ask(&mut poller).expect("it is due");
    assert_eq!(ask(&mut poller), None, "nobody knows whether it is there");
    poller.handle_outcome(first.ticket, &data(&first), Sim::moment(sim.now));
    let open: Vec<_> = std::iter::from_fn(|| ask(&mut poller)).collect();
    assert_eq!(open.len(), 3);
    for open in open.iter().rev() {
        poller.handle_outcome(open.ticket, &data(open), Sim::moment(sim.now));
    }
    let events: Vec<_> = std::iter::from_fn(|| poller.poll_event()).collect();
    let readings = events.iter().filter(|event| matches!(event, FieldEvent::Readings(_))).count();
    assert_eq!(readings, 4);
    assert!(matches!(poller.poll_next(sim.now), Next::Wait(Some(_))));
}

#[test]
fn over_tcp_a_write_waits_for_what_is_under_way_and_then_goes_alone() {
    let sim = Sim::new(Vec::new());
    let tcp = crate::field::TcpSettings { host: "plc".into(), port: 502 };
    let port = PortSettings::Tcp(tcp);
    let bus =
        BusSettings { name: "bus".into(), port, timeout: TIMEOUT, probe_share: 5, in_flight: 3 };
    let devices = (1..=4).map(|unit| device(unit, &[(0, false)], 1_000)).collect();
    let mut poller = Poller::new(&bus, devices, &Memory::default(), Sim::moment(sim.now));
    let next = |poller: &mut Poller| match poller.poll_next(sim.now) {
        Next::Ask(ask) => Some((ask.ticket, ask.question.query.is_write())),
        Next::Wait(_) => None,
    };
    let end = |poller: &mut Poller, ticket| {
        let outcome = Outcome { result: Err(Failure::NoAnswer), dropped: Vec::new() };
        poller.handle_outcome(ticket, &outcome, Sim::moment(sim.now));
    };
    let (first, _) = next(&mut poller).expect("a read is due");
    let (second, _) = next(&mut poller).expect("of another unit, too");
    let write = Write::new(7, What::Register(1)).expect("allowed");
    let question = Question::write(UnitId(9), &write);
    poller.handle_errand(Errand { id: 1, rank: Rank::First, question, until: None });
    assert_eq!(next(&mut poller), None);
    end(&mut poller, first);
    assert_eq!(next(&mut poller), None);
    end(&mut poller, second);
    let (ticket, is_write) = next(&mut poller).expect("its turn has come");
    assert!(is_write);
    assert_eq!(next(&mut poller), None);
    end(&mut poller, ticket);
    assert!(next(&mut poller).is_some());
}

//! The decisions of a serial bus against simulated devices, in virtual time, over the real framing.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::field::modbus::link::Link;
use crate::field::modbus::rtu;
use crate::field::{
    Order, Parity, Place, PointSettings, PortSettings, SerialSettings, Table, UnitId, ValueType,
};

const TIMEOUT: Duration = Duration::from_millis(300);

fn register(unit: u8, address: u16) -> u16 {
    u16::from(unit) * 1000 + address
}

fn device(unit: u8, points: &[(u16, bool)], every_ms: u64) -> DeviceSettings {
    let point = |&(address, is_wide): &(u16, bool)| PointSettings {
        name: address.to_string().into(),
        place: Place { table: Table::Holding, address, bit: None },
        value_type: if is_wide { ValueType::U32 } else { ValueType::U16 },
        word_order: Order::Big,
        byte_order: Order::Big,
        scale: 1.0,
        offset: 0.0,
        decimals: None,
        unit: None,
        names: Vec::new(),
        every: Duration::from_millis(every_ms),
    };
    DeviceSettings {
        name: unit.to_string().into(),
        bus: "bus".into(),
        unit: UnitId(unit),
        points: points.iter().map(point).collect(),
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

/// Devices that answer in order, each question after the one before it is done.
struct Sim {
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
}

impl Sim {
    fn new(devices: Vec<DeviceSettings>) -> Self {
        #[allow(
            clippy::disallowed_methods,
            reason = "a simulation needs some instant to count from"
        )]
        let start = Instant::now();
        let path = "tty".into();
        let serial = SerialSettings {
            path,
            baud: 19_200,
            data_bits: 8,
            parity: Parity::None,
            stop_bits: 1,
            rs485: None,
        };
        let link = Link::rtu(&serial, TIMEOUT, start);
        let bus = BusSettings {
            name: "bus".into(),
            port: PortSettings::Rtu(serial),
            timeout: TIMEOUT,
            in_flight: 1,
        };
        let poller = Poller::new(&bus, devices, Self::moment(start));
        Self {
            poller,
            link,
            now: start,
            start,
            free: BTreeMap::new(),
            coming: BTreeMap::new(),
            asked: Vec::new(),
            good: BTreeMap::new(),
            states: Vec::new(),
        }
    }

    fn moment(mono: Instant) -> Moment {
        Moment { mono, wall: crate::model::Timestamp::from_unix_ms(0), boot_ms: 0 }
    }

    fn run(&mut self, span: Duration, mut mood: impl FnMut(u8, ReadRange) -> Mood) {
        let until = self.now + span;
        while self.now < until {
            self.take_events();
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

    fn transact(
        &mut self,
        Ask { ticket, question, .. }: Ask,
        mood: &mut impl FnMut(u8, ReadRange) -> Mood,
    ) {
        while self.link.poll_ready() > self.now {
            self.pass(self.link.poll_ready());
        }
        self.link.ask(question, self.now);
        self.asked.push((self.now - self.start, question.unit.0));
        self.answer(question, mood(question.unit.0, question.range));
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
                self.poller.handle_outcome(ticket, &outcome, Self::moment(self.now));
                return;
            }
        }
    }

    fn answer(&mut self, question: Question, mood: Mood) {
        let (unit, range) = (question.unit, question.range);
        let mut pdu = vec![range.function(), range.byte_count()];
        for offset in 0..range.count() {
            pdu.extend(register(unit.0, range.address() + offset).to_be_bytes());
        }
        let (delay_ms, frame) = match mood {
            Mood::Lose => return,
            Mood::Answer { delay_ms } => (delay_ms, rtu::encode(unit, &pdu)),
            Mood::Refuse { code, delay_ms } => {
                (delay_ms, rtu::encode(unit, &[range.function() | 0x80, code]))
            }
            Mood::Damage { delay_ms } => {
                let mut frame = rtu::encode(unit, &pdu);
                frame[3] ^= 0x40;
                (delay_ms, frame)
            }
        };
        let free = self.free.entry(unit.0).or_insert(self.now);
        *free = (*free).max(self.now) + Duration::from_millis(delay_ms + 1);
        self.coming.insert((*free, self.asked.len()), frame);
    }

    fn take_events(&mut self) {
        while self.poller.poll_fact().is_some() {}
        while let Some(event) = self.poller.poll_event() {
            match event {
                FieldEvent::Device { device, state, .. } => {
                    self.states.push((device.to_string(), state == DeviceState::Online));
                }
                FieldEvent::Readings(readings) => readings.iter().for_each(|it| self.check(it)),
            }
        }
    }

    fn check(&mut self, reading: &Reading) {
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
    assert_eq!(sim.poller.skipped(), 0);
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

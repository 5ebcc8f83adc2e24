//! shell: holds what a bus asks in virtual time against the golden transcripts in `tests/data/field`.
//!
//! `UPDATE_EXPECTED=1` writes them anew; read them before they are committed.
#![allow(clippy::disallowed_methods, reason = "tests read their expectations")]

use super::*;

const GOOD: fn(u8, ReadRange) -> Mood = |_, _| Mood::Answer { delay_ms: 5 };

#[track_caller]
fn assert_golden(name: &str, sim: &Sim) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/field");
    let path = folder.join(format!("{name}.transcript"));
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        std::fs::write(&path, &sim.transcript).expect("a folder that can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(sim.transcript == expected, "{}:\n{}", path.display(), sim.transcript);
}

#[test]
fn first_values_come_at_once_and_periods_are_spread() {
    let mut slow = device(4, &[(10, false)], 3_000);
    slow.points.extend(device(4, &[(20, false)], 500).points);
    let alike = (1..=3).map(|unit| device(unit, &[(0, false), (1, true)], 1_000));
    let mut sim = Sim::new(alike.chain([slow]).collect());
    sim.run(Duration::from_millis(3_600), GOOD);
    assert_golden("start-and-spread", &sim);
}

#[test]
fn nothing_is_caught_up_after_a_stall() {
    let devices = (1..=3).map(|unit| device(unit, &[(0, false)], 500)).collect();
    let mut sim = Sim::new(devices);
    sim.run(Duration::from_millis(1_100), GOOD);
    // The machine slept.
    sim.now += Duration::from_millis(10_150);
    sim.run(Duration::from_millis(1_500), GOOD);
    assert_golden("stall", &sim);
}

#[test]
fn a_write_goes_before_the_next_read_and_a_look_around_when_nothing_is_due() {
    let devices = (1..=3).map(|unit| device(unit, &[(0, false)], 500)).collect();
    let mut sim = Sim::new(devices);
    let errand = |id, rank, unit, address| {
        let range = ReadRange::new(Table::Holding, address, 1).expect("allowed");
        Errand { id, rank, question: Question::new(UnitId(unit), range), until: None }
    };
    sim.poller.handle_errand(errand(1, Rank::Idle, 9, 900));
    sim.poller.handle_errand(errand(2, Rank::First, 2, 200));
    sim.poller.handle_errand(errand(3, Rank::First, 2, 201));
    sim.run(Duration::from_millis(1_000), |unit, _| match unit {
        9 => Mood::Lose,
        _ => Mood::Answer { delay_ms: 5 },
    });
    assert_golden("errands", &sim);
}

#[test]
fn a_write_is_asked_once_whatever_comes_of_it_and_never_when_its_time_is_over() {
    let mut sim = Sim::new(vec![device(1, &[(0, false)], 500)]);
    let errand = |id, unit, until: u64| {
        let write = Write::new(7, What::Register(1)).expect("allowed");
        let until = Some(sim.now + Duration::from_millis(until));
        Errand { id, rank: Rank::First, question: Question::write(UnitId(unit), &write), until }
    };
    let errands = [errand(1, 1, 500), errand(2, 8, 500), errand(3, 9, 500), errand(4, 1, 300)];
    errands.into_iter().for_each(|errand| sim.poller.handle_errand(errand));
    sim.run(Duration::from_millis(1_000), |unit, _| match unit {
        8 => Mood::Lose,
        9 => Mood::Refuse { code: 4, delay_ms: 5 },
        _ => Mood::Answer { delay_ms: 5 },
    });
    assert_golden("writes", &sim);
}

#[test]
fn a_silent_unit_is_asked_less_and_less_and_at_full_rate_once_it_answers() {
    let mut sim = Sim::new(vec![device(1, &[(0, false)], 1_000), device(2, &[(0, false)], 1_000)]);
    sim.run(Duration::from_millis(9_900), GOOD);
    sim.transcript.clear();
    sim.run(Duration::from_secs(25), |unit, _| match unit {
        2 => Mood::Lose,
        _ => Mood::Answer { delay_ms: 5 },
    });
    sim.run(Duration::from_secs(10), GOOD);
    assert_golden("silent-unit", &sim);
}

#[test]
fn silence_garbled_answers_refusals_and_busy_devices_are_told_apart() {
    let mut sim = Sim::new((1..=4).map(|unit| device(unit, &[(0, false)], 400)).collect());
    sim.run(Duration::from_millis(3_900), GOOD);
    sim.transcript.clear();
    sim.run(Duration::from_millis(4_000), |unit, _| match unit {
        1 => Mood::Lose,
        2 => Mood::Damage { delay_ms: 5 },
        3 => Mood::Refuse { code: 4, delay_ms: 5 },
        _ => Mood::Refuse { code: 6, delay_ms: 5 },
    });
    assert_golden("ailments", &sim);
}

#[test]
fn one_illegal_register_costs_its_block_once() {
    let points: Vec<_> = (0..16).map(|address| (address, false)).collect();
    let mut sim = Sim::new(vec![device(1, &points, 1_000)]);
    sim.run(Duration::from_secs(7), |_, range| {
        if range.address() <= 5 && 5 < range.end() {
            Mood::Refuse { code: 2, delay_ms: 5 }
        } else {
            Mood::Answer { delay_ms: 5 }
        }
    });
    assert_golden("illegal-register", &sim);
}

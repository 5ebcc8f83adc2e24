//! core: tests: what a bus does while somebody looks around on it.

use super::*;

#[test]
fn on_a_bus_without_a_gap_whoever_looks_around_gets_a_small_share() {
    let mut sim = Sim::new((1..=4).map(|unit| device(unit, &[(1, false)], 20)).collect());
    let good = |_: u8, _: ReadRange| Mood::Answer { delay_ms: 30 };
    let errand = |id| {
        let range = ReadRange::new(Table::Holding, 500, 2).expect("allowed");
        Errand { id, rank: Rank::Idle, question: Question::new(UnitId(9), range), until: None }
    };
    sim.run(Duration::from_secs(5), good);
    sim.asked.clear();
    (0..200).for_each(|id| sim.poller.handle_errand(errand(id)));
    sim.run(Duration::from_secs(60), good);
    let looks: Vec<Duration> =
        sim.asked.iter().filter(|(_, unit)| *unit == 9).map(|(at, _)| *at).collect();
    let reads = sim.asked.len() - looks.len();
    let first = looks[0] - Duration::from_secs(5);
    assert!(first < Duration::from_millis(350), "{first:?}");
    // One takes 40 ms of which 5 % is earned in 800 ms.
    assert!((70..85).contains(&looks.len()), "{} of them, {reads} reads", looks.len());
    let after = sim.asked.len();
    sim.run(Duration::from_secs(10), |unit, _| match unit {
        9 => Mood::Lose,
        _ => Mood::Answer { delay_ms: 30 },
    });
    let vain = sim.asked[after..].iter().filter(|(_, unit)| *unit == 9).count();
    assert!((1..=3).contains(&vain), "{vain} vain ones of 320 ms each");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whoever_looks_around_again_and_again_spoils_no_value(
        moods in proptest::collection::vec(mood(), 1..60),
        points in proptest::collection::btree_map(0..200u16, any::<bool>(), 1..5),
        look in (0..200u16, 1..3u16),
    ) {
        let points: Vec<(u16, bool)> = points.into_iter().collect();
        let mut sim = Sim::new(vec![device(1, &points, 200)]);
        let range = ReadRange::new(Table::Holding, look.0, look.1).expect("the range is allowed");
        sim.looks = Some(Question::new(UnitId(1), range));
        let mut left = moods.into_iter();
        sim.run(Duration::from_secs(60), |_, _| match left.next() {
            Some(Mood::Answer { delay_ms }) => Mood::Answer { delay_ms: delay_ms.min(900) },
            Some(mood) => mood,
            None => Mood::Answer { delay_ms: 5 },
        });
        prop_assert!(sim.looked > 0);
    }
}

#[test]
fn what_whoever_looks_around_is_refused_is_not_held_against_the_device() {
    let mut sim = Sim::new(vec![device(1, &[(1, false)], 200)]);
    let range = ReadRange::new(Table::Holding, 500, 2).expect("allowed");
    sim.looks = Some(Question::new(UnitId(1), range));
    sim.run(Duration::from_secs(5), |_, range| match range.address() {
        500 => Mood::Refuse { code: 2, delay_ms: 5 },
        _ => Mood::Answer { delay_ms: 5 },
    });
    assert!(sim.looked > 10, "{}", sim.looked);
    let view = sim.poller.view(None, sim.now);
    let tally = &view.devices[0].tally;
    assert_eq!(tally.troubles.sum(), 0, "{tally:?}");
    assert_eq!(tally.last, None);
}

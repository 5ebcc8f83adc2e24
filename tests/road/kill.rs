//! The gateway is killed at random instants, online, offline and draining, and the device's own counter says what should
//! have arrived.

/// A module of its own: these tests want the machine for themselves.
mod heavy {
    use std::thread;
    use std::time::Duration;

    use crate::counting::Counting;

    /// What a kill may cost: the read whose answer is under way to the gateway, and those that wait while a commit is on
    /// its way to the disk. That is one commit, seldom more than two reads; a quarter of a second of them where a busy
    /// disk takes so long. Nothing that was accepted before, and no part of a read: its points stand or fall together.
    const CUT_MAX: u64 = 12;

    /// Rounds of two kills online, two offline, two draining.
    const ROUNDS: usize = 4;

    #[derive(Debug, Clone, Copy)]
    enum Weather {
        Online,
        Offline,
        Draining,
    }

    /// Random instants that `ROAD_SEED` repeats.
    fn random() -> fastrand::Rng {
        let seed = std::env::var("ROAD_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| fastrand::u64(..));
        println!("ROAD_SEED={seed}");
        fastrand::Rng::with_seed(seed)
    }

    fn kill_at_random_instants(uplink: &str) -> Counting {
        let mut random = random();
        let mut road = Counting::start("20ms", uplink, |broker| broker.port());
        let mut kills = Vec::new();
        let mut kill =
            |road: &mut Counting, weather, random: &mut fastrand::Rng, within_ms: u64| {
                // The instant itself, not a wait for something.
                thread::sleep(Duration::from_micros(random.u64(0..within_ms * 1000)));
                road.gateway.sigkill();
                kills.push(weather);
                road.gateway.restart(&road.site);
            };
        for _ in 0..ROUNDS {
            for _ in 0..2 {
                road.wait_for_arrivals(random.usize(1..600));
                kill(&mut road, Weather::Online, &mut random, 60);
            }
            road.broker.stop();
            for _ in 0..2 {
                road.wait_for_reads(random.usize(1..50));
                kill(&mut road, Weather::Offline, &mut random, 60);
            }
            road.wait_for_reads(100);
            road.broker.start_again();
            for _ in 0..2 {
                road.gateway.wait_for_log("uplink connected");
                kill(&mut road, Weather::Draining, &mut random, 150);
            }
        }
        println!("{} kills", kills.len());
        for line in road.gateway.log().lines().filter(|line| line.contains("gateway started")) {
            println!("{}", &line[line.find("start=").unwrap()..]);
        }
        road
    }

    #[test]
    fn at_qos_2_over_24_kills_nothing_is_lost_and_nothing_doubled() {
        let mut road = kill_at_random_instants(", qos: 2, keep_alive: 5s");
        let books = road.finish();
        println!("{} arrived, cut off: {:?}", books.arrived, books.gaps);
        books.assert_nothing_lost(CUT_MAX);
        books.assert_nothing_doubled();
    }

    #[test]
    fn at_qos_2_over_24_kills_nothing_is_lost_and_nothing_doubled_with_mqtt_3_1_1() {
        let mut road = kill_at_random_instants(", qos: 2, keep_alive: 5s, version: 3.1.1");
        let books = road.finish();
        println!("{} arrived, cut off: {:?}", books.arrived, books.gaps);
        books.assert_nothing_lost(CUT_MAX);
        books.assert_nothing_doubled();
    }

    #[test]
    fn at_qos_1_over_24_kills_nothing_is_lost() {
        let mut road = kill_at_random_instants(", qos: 1, keep_alive: 5s");
        let books = road.finish();
        println!(
            "{} arrived, {} of them again, cut off: {:?}",
            books.arrived, books.repeated, books.gaps
        );
        books.assert_nothing_lost(CUT_MAX);
        books.assert_in_order();
    }

    #[test]
    fn with_both_qos_over_24_kills_nothing_is_lost_and_only_qos_1_is_doubled() {
        let rules = "forward: [{ filter: gw/d/p3, qos: 1 }, { filter: \"gw/#\", qos: 2 }]";
        let mut road = kill_at_random_instants(&format!(", keep_alive: 5s, {rules}"));
        road.finish();
        let books = road.books_by_packet_id();
        println!(
            "{} arrived, {} of them again, cut off: {:?}",
            books.arrived, books.repeated, books.gaps
        );
        books.assert_nothing_lost(CUT_MAX);
        books.assert_in_order();
        assert!(
            books.repeated_at.iter().all(|topic| topic == "gw/d/p3"),
            "{:?}",
            books.repeated_at
        );
    }
}

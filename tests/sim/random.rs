//! core: steps drawn from a seed.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use fastrand::Rng;
use fieldpost::hub::{EngineOptions, LiveFirst};
use fieldpost::model::{QoS, Seq, Timestamp};
use fieldpost::store::{SessionId, SessionOwner, WhenFull};

use crate::state::{MESSAGE_BYTES, SessionRow, State};
use crate::world::{FAST, MEMORY, SECOND, SLOW, UPLINK, UplinkRules, World};

/// What may happen in a run beside the road itself.
#[derive(Debug, Clone, Copy)]
struct Dangers {
    crashes: bool,
    cuts: bool,
    losses: bool,
    /// An operator removes messages.
    purges: bool,
    /// The power fails; what was staged is gone.
    power: bool,
    /// There are two uplinks, whose rules change from start to start; packet ids go round their end.
    sites: bool,
    /// The store holds so many messages.
    room: Option<u64>,
}

fn steps(rng: &mut Rng, dangers: Dangers, count: usize) {
    let store_bytes_max = dangers.room.map_or(u64::MAX / 2, |messages| messages * MESSAGE_BYTES);
    let live_first = live_first(rng);
    let policies = [WhenFull::DropOldest, WhenFull::DropNewest, WhenFull::Thin];
    let when_full = rng.choice(policies).unwrap();
    let options = EngineOptions { store_bytes_max, when_full, ..EngineOptions::default() };
    let mut uplinks = vec![UplinkRules { live_first, ..UplinkRules::default() }];
    let mut state = State::default();
    if dangers.sites {
        let windows = [1, 2, 20, u16::MAX];
        uplinks[0].window = *rng.choice(&windows).unwrap();
        let window = *rng.choice(&windows).unwrap();
        uplinks.push(UplinkRules { window, live_first: self::live_first(rng) });
        state = with_last_ids();
    }
    let mut world = World::with_uplinks(options, uplinks, state);
    for _ in 0..count {
        step(&mut world, rng, dangers);
    }
    world.finish();
}

fn live_first(rng: &mut Rng) -> Option<LiveFirst> {
    let pauses = [Duration::from_millis(1), Duration::from_millis(30), Duration::from_secs(2)];
    match rng.u32(..4) {
        0 | 1 => None,
        2 => Some(LiveFirst { pause: None }),
        _ => Some(LiveFirst { pause: rng.choice(pauses) }),
    }
}

/// A store whose uplink has given almost all packet ids, and does not know which of the last ones are open.
fn with_last_ids() -> State {
    let owner = SessionOwner::Uplink("uplink".into());
    let reserved = NonZeroU16::new(65_500).zip(NonZeroU16::new(65_520));
    let (cursor, expiry, away_since, ids_lost) = (Seq(0), u32::MAX, None, true);
    let row = SessionRow { owner, cursor, expiry, away_since, reserved, ids_lost };
    let sessions = BTreeMap::from([(SessionId(1), row)]);
    State { sessions, last_session: 1, ..State::default() }
}

fn step(world: &mut World, rng: &mut Rng, dangers: Dangers) {
    let at = rng.usize(..world.peers.len());
    let qos = *rng.choice(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]).unwrap();
    match rng.u32(..1000) {
        0..80 => _ = world.publish(qos),
        80..140 => _ = world.peer_publishes(at, qos),
        140..300 => _ = world.work_store(),
        300..450 => _ = world.hear_store(),
        450..650 => _ = world.deliver_to_engine(at),
        650..880 => _ = world.deliver_to_peer(at),
        880..920 if world.peers[at].connection.is_none() => {
            let lost = dangers.losses && rng.u32(..4) == 0;
            world.connect(at, lost, false, *rng.choice(&[1, 2, 20]).unwrap());
        }
        920..940 if dangers.cuts => world.cut(at),
        940..945 if dangers.cuts && at != UPLINK && at != SECOND => {
            let clean = dangers.losses && rng.bool();
            world.connect(at, clean, true, *rng.choice(&[1, 2, 20]).unwrap());
        }
        945..950 if dangers.purges => {
            let of = *rng.choice(&[None, Some(UPLINK), Some(FAST), Some(SLOW)]).unwrap();
            let now = world.now.wall.unix_ms();
            let before = rng.bool().then(|| Timestamp::from_unix_ms(now - rng.u64(..20_000)));
            world.purge(of, before);
        }
        950..965 => world.congest(at, rng.bool()),
        965..969 if dangers.power => {
            // It costs most in the middle of something that only the other side remembers.
            world.publish(QoS::ExactlyOnce);
            for _ in 0..rng.usize(..12) {
                world.work_store();
                world.hear_store();
                world.deliver_to_peer(UPLINK);
            }
            world.power_cut(rng.usize(..3));
        }
        969..971 if dangers.sites => {
            let at = *rng.choice(&[UPLINK, SECOND]).unwrap();
            let live_first = live_first(rng);
            world.reconfigure(at, live_first);
        }
        965..975 if dangers.crashes => world.crash(rng.usize(..3)),
        975..980 if at != MEMORY => (0..30).for_each(|_| _ = world.publish(qos)),
        990..1000 if dangers.power => world.flush(),
        980..990 => world.advance(Duration::from_secs(rng.u64(..20))),
        _ => {}
    }
}

/// Runs the seeds of `SIM_SEED`, or `count` from a fixed start; says which seed broke.
fn run(name: &str, count: u64, dangers: impl Fn(&mut Rng) -> Dangers) {
    let chosen = std::env::var("SIM_SEED").ok().and_then(|text| text.parse().ok());
    let factor: u64 = std::env::var("SIM_FACTOR").ok().and_then(|f| f.parse().ok()).unwrap_or(1);
    let seeds = chosen.map_or(0..count * factor, |seed: u64| seed..seed + 1);
    for seed in seeds {
        let mut rng = Rng::with_seed(seed);
        let dangers = dangers(&mut rng);
        let length = rng.usize(50..600);
        let result = catch_unwind(AssertUnwindSafe(|| steps(&mut rng, dangers, length)));
        if result.is_err() {
            panic!("SIM_SEED={seed} breaks {name} ({dangers:?}, {length} steps)");
        }
    }
}

#[test]
fn in_good_weather_everything_arrives_once_and_in_order() {
    run("good weather", 400, |_| Dangers {
        crashes: false,
        cuts: false,
        losses: false,
        purges: false,
        power: false,
        sites: false,
        room: None,
    });
}

#[test]
fn connections_that_end_anywhere_lose_and_double_nothing() {
    run("cuts", 800, |_| Dangers {
        crashes: false,
        cuts: true,
        losses: false,
        purges: false,
        power: false,
        sites: false,
        room: None,
    });
}

#[test]
fn kills_anywhere_lose_and_double_nothing() {
    run("kills", 1200, |_| Dangers {
        crashes: true,
        cuts: true,
        losses: false,
        purges: false,
        power: false,
        sites: false,
        room: None,
    });
}

#[test]
fn sessions_that_are_lost_lose_nothing_of_ours() {
    run("losses", 1200, |_| Dangers {
        crashes: true,
        cuts: true,
        losses: true,
        purges: false,
        power: false,
        sites: false,
        room: None,
    });
}

#[test]
fn a_purge_anywhere_takes_what_it_says_and_nothing_else() {
    run("purges", 1200, |rng| Dangers {
        crashes: rng.bool(),
        cuts: true,
        losses: rng.bool(),
        purges: true,
        power: false,
        sites: false,
        room: None,
    });
}

#[test]
fn a_full_store_loses_what_it_says_and_nothing_else() {
    run("a full store", 1200, |rng| {
        let room = Some(rng.u64(1..40));
        Dangers {
            crashes: rng.bool(),
            cuts: true,
            losses: rng.bool(),
            purges: rng.bool(),
            power: false,
            sites: false,
            room,
        }
    });
}

#[test]
fn two_uplinks_under_changing_rules_lose_and_double_nothing() {
    run("two uplinks", 1200, |rng| Dangers {
        crashes: true,
        cuts: true,
        losses: rng.bool(),
        purges: rng.bool(),
        power: false,
        sites: true,
        room: rng.bool().then(|| rng.u64(1..40)),
    });
}

#[test]
fn a_power_cut_anywhere_costs_what_was_staged_and_nothing_else() {
    run("power cuts", 300, |rng| Dangers {
        crashes: rng.bool(),
        cuts: true,
        losses: rng.bool(),
        purges: rng.bool(),
        power: true,
        sites: rng.bool(),
        room: rng.bool().then(|| rng.u64(1..40)),
    });
}

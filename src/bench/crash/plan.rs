//! core: the lives of a gateway and how each ends, drawn from a seed.

use std::time::Duration;

use crate::step::Step;

/// One start of the gateway, up to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// What ends it.
    pub kill: Kill,
    /// What happens beside it.
    pub weather: Weather,
    /// Whether what comes in is committed at once instead of staged.
    pub commits_at_once: bool,
}

/// What ends a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    /// SIGKILL so long after the process was started, whatever it is doing.
    Start(Duration),
    /// SIGKILL so long after its first client was in.
    Time(Duration),
    /// SIGKILL after so many more messages were accepted.
    Messages(u64),
    /// It aborts when it passes this step for this time.
    Step(Step, u64),
}

/// What happens beside a life, once its first client is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Nothing.
    Fair,
    /// The link to the upstream is cut and is there again at once.
    Cut,
    /// There is no link during the whole life.
    Dark,
    /// The upstream ends, and starts again after the kill.
    UpstreamRestart,
}

/// The lives of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// One for each kill.
    pub lives: Vec<Life>,
    /// Messages under way from a publisher, at most.
    pub window: usize,
}

impl Plan {
    /// Draws the plan of `kills` lives; the same seed gives the same plan.
    #[must_use]
    pub fn draw(kills: usize, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        // mosquitto takes no more than 20 of QoS 2 at once, and with 3.1.1 cannot say so.
        let window = random.usize(4..=20);
        let mut commits_at_once = random.bool();
        let lives = (0..kills).map(|_| {
            if random.u8(..10) == 0 {
                commits_at_once = !commits_at_once;
            }
            let kill = kill(&mut random);
            let weather = match (weather(&mut random), kill) {
                // Without a link the life would not come to its step.
                (Weather::Dark, Kill::Step(step, _)) if is_of_uplink(step) => Weather::Fair,
                (weather, _) => weather,
            };
            Life { kill, weather, commits_at_once }
        });
        Self { lives: lives.collect(), window }
    }
}

fn kill(random: &mut fastrand::Rng) -> Kill {
    match random.u8(..10) {
        0 => Kill::Start(Duration::from_micros(random.u64(..60_000))),
        1 | 2 => Kill::Time(Duration::from_micros(random.u64(..300_000))),
        3 | 4 => Kill::Messages(random.u64(1..300)),
        _ => {
            let mut step = Step::ALL[random.usize(..Step::ALL.len())];
            if random.u8(..8) == 0 {
                // Reached only where the life before left something staged: seldom.
                step = if random.bool() { Step::StartFound } else { Step::StartCommitted };
            }
            // Early ones are more, as each life is sure to come to them.
            let most = random.u64(1..=passes(step));
            Kill::Step(step, random.u64(1..=most))
        }
    }
}

/// How often a life of some hundred milliseconds passes a step, mostly.
fn passes(step: Step) -> u64 {
    match step {
        Step::StartFound | Step::StartCommitted | Step::TrimTorn => 1,
        Step::StageBefore
        | Step::StageTorn
        | Step::StageAfter
        | Step::CommitBefore
        | Step::CommitTorn
        | Step::CommitAfter
        | Step::RenewBefore
        | Step::FlushAfter
        | Step::WriteBefore
        | Step::WriteTorn
        | Step::ReadAfter => 40,
        Step::HandBefore | Step::HandAfter | Step::AckBefore | Step::AckAfter => 80,
    }
}

/// Whether only a start passes a step, if anything does.
#[must_use]
pub fn is_of_start(step: Step) -> bool {
    matches!(step, Step::StartFound | Step::StartCommitted | Step::TrimTorn)
}

fn is_of_uplink(step: Step) -> bool {
    matches!(step, Step::WriteBefore | Step::WriteTorn | Step::ReadAfter)
}

fn weather(random: &mut fastrand::Rng) -> Weather {
    match random.u8(..20) {
        0..=2 => Weather::Dark,
        3 | 4 => Weather::Cut,
        5 => Weather::UpstreamRestart,
        _ => Weather::Fair,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_its_plan_again_and_another_seed_another() {
        assert_eq!(Plan::draw(200, 7), Plan::draw(200, 7));
        assert_ne!(Plan::draw(200, 7), Plan::draw(200, 8));
    }

    #[test]
    fn a_long_plan_ends_lives_at_every_step_and_in_every_weather() {
        let plan = Plan::draw(1000, 7);
        let has = |what: &dyn Fn(&Life) -> bool| plan.lives.iter().any(what);
        for step in Step::ALL {
            assert!(has(&|life| matches!(life.kill, Kill::Step(at, _) if at == *step)), "{step:?}");
        }
        for weather in [Weather::Fair, Weather::Cut, Weather::Dark, Weather::UpstreamRestart] {
            assert!(has(&|life| life.weather == weather), "{weather:?}");
        }
        assert!(has(&|life| matches!(life.kill, Kill::Start(_))));
        assert!(has(&|life| matches!(life.kill, Kill::Time(_))));
        assert!(has(&|life| matches!(life.kill, Kill::Messages(_))));
        assert!(has(&|life| life.commits_at_once) && has(&|life| !life.commits_at_once));
    }
}

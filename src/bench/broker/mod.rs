//! The LAN broker beside a mosquitto on the same machine, in the same run, one after the other: throughput and processor
//! time for a message, latency at a trickle, memory, retained messages, and what a subscriber that is away gets after a
//! kill.
//!
//! Both run as processes of their own and are looked at from outside. The load is ours, speaks MQTT 3.1.1 with Nagle's
//! algorithm off, and bounds what is under way, so that neither broker has to drop anything. mosquitto keeps its state in
//! memory and its queues unbounded. Messages are counted where they arrive.

mod clients;
mod durable;
mod latency;
mod load;
mod memory;
mod side;
mod wire;

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::spawn_blocking;

pub use latency::RATE;
pub use load::Pattern;

use self::latency::Trickle;
use self::load::Run;
use self::side::{Broker, Process, Side};
use super::queue::median;

/// How often each load is put on each broker, in turns.
const ROUNDS: usize = 3;

/// What is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerOptions {
    /// How long each load lasts, in all rounds together; a trickle lasts three times as long.
    pub time: Duration,
    /// Which loads; without any only the rest is measured.
    pub patterns: Vec<Pattern>,
    /// Idle connections whose memory is measured, one measurement each.
    pub connections: Vec<usize>,
    /// Retained messages.
    pub retained: usize,
}

/// A figure of ours and, where it is installed, of mosquitto.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beside<T> {
    /// This program's.
    pub ours: T,
    /// mosquitto's.
    pub mosquitto: Option<T>,
}

/// What a load cost; medians of the rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadFigures {
    /// The load.
    pub pattern: Pattern,
    /// QoS of publications and subscriptions.
    pub qos: u8,
    /// Messages that arrived, a second.
    pub messages_per_s: Beside<f64>,
    /// Processor seconds of the broker for 100,000 of them.
    pub cpu_s_per_100k: Beside<f64>,
    /// Processor time of the load itself, as a share of one core.
    pub load_share: Beside<f64>,
    /// Ours over mosquitto's, the median of the rounds: messages a second, processor time.
    pub ratio: Option<(f64, f64)>,
}

/// What a trickle of [`RATE`] messages a second cost, and how long they took; medians of the rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrickleFigures {
    /// QoS of publications and subscription.
    pub qos: u8,
    /// The middle one of the times, in milliseconds.
    pub p50_ms: Beside<f64>,
    /// The time that 99 of 100 stay below.
    pub p99_ms: Beside<f64>,
    /// Processor seconds of the broker for 100,000 messages.
    pub cpu_s_per_100k: Beside<f64>,
}

/// Memory of so many idle connections.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IdleFigures {
    /// How many.
    pub connections: usize,
    /// Kilobytes (1,000 bytes) each.
    pub kb_per_connection: Beside<f64>,
}

/// What a broker does with many retained messages of 100 bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetainedFigures {
    /// How many were retained.
    pub topics: usize,
    /// Resident memory with them, in megabytes of 1,000,000 bytes.
    pub rss_mb: Beside<f64>,
    /// Retained and acknowledged, a second.
    pub per_s: Beside<f64>,
    /// How many came to a subscriber of `#` at QoS 1.
    pub received: Beside<usize>,
    /// From its SUBSCRIBE to the last of them, in milliseconds.
    pub receive_ms: Beside<f64>,
}

/// QoS 1 for a durable session whose client is away.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AwayFigures {
    /// Acknowledged messages a second; mosquitto's live in memory.
    pub per_s: Beside<f64>,
    /// Acknowledged messages.
    pub acknowledged: u64,
    /// How many of them were not there after SIGKILL and another start, of ours.
    pub lost: u64,
}

/// Everything.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerFigures {
    /// Whether a mosquitto was there to be measured.
    pub has_mosquitto: bool,
    /// The loads.
    pub loads: Vec<LoadFigures>,
    /// The trickles.
    pub trickles: Vec<TrickleFigures>,
    /// Resident memory without a client, in megabytes of 1,000,000 bytes.
    pub rss_idle_mb: Beside<f64>,
    /// Idle connections.
    pub idle: Vec<IdleFigures>,
    /// Retained messages.
    pub retained: RetainedFigures,
    /// A subscriber that is away.
    pub away: AwayFigures,
}

/// Measures; `program` is this one. Files are made in `dir` and removed.
///
/// # Errors
/// A process cannot be run, closes a connection or does not get on.
pub async fn broker(
    program: &Path,
    dir: &Path,
    options: &BrokerOptions,
) -> anyhow::Result<BrokerFigures> {
    // A socket of each connection is in this process, the other in the broker, which has the same limit.
    let most = options.connections.iter().copied().max().unwrap_or(0) as u64;
    let may = crate::service::raise_open_files(most + 500);
    anyhow::ensure!(may > most, "only {may} files may be open here: raise `ulimit -n`");
    let bench = Bench { ours: Side::Fieldpost(program.to_owned()), peer: Side::mosquitto(), dir };
    let mut loads = Vec::new();
    for pattern in &options.patterns {
        for qos in 0..=2 {
            loads.push(bench.load(*pattern, qos, options.time).await?);
        }
    }
    let mut trickles = Vec::new();
    for qos in 0..=1 {
        trickles.push(bench.trickle(qos, options.time * 3).await?);
    }
    let rss_idle_mb = bench.beside(|_, process| memory::at_rest(process)).await?;
    let rss_idle_mb = rss_idle_mb.map(megabytes);
    let mut idle = Vec::new();
    for &connections in &options.connections {
        let bytes = bench.beside(move |port, process| memory::idle((port, process), connections));
        let kb_per_connection = bytes.await?.map(|bytes| bytes / 1e3);
        idle.push(IdleFigures { connections, kb_per_connection });
    }
    let topics = options.retained;
    let kept = bench.beside(move |port, process| memory::retained((port, process), topics)).await?;
    Ok(BrokerFigures {
        has_mosquitto: bench.peer.is_some(),
        loads,
        trickles,
        rss_idle_mb,
        idle,
        retained: RetainedFigures {
            topics,
            rss_mb: kept.map(|kept| megabytes(kept.rss)),
            per_s: kept.map(|kept| kept.per_s),
            received: kept.map(|kept| kept.received),
            receive_ms: kept.map(|kept| kept.receive_ms),
        },
        away: bench.away(options.time).await?,
    })
}

struct Bench<'a> {
    ours: Side,
    peer: Option<Side>,
    dir: &'a Path,
}

impl Bench<'_> {
    /// Puts the same measurement to a fresh broker of each side.
    async fn beside<T: Send + 'static>(
        &self,
        measure: impl Fn(u16, Process) -> anyhow::Result<T> + Clone + Send + 'static,
    ) -> anyhow::Result<Beside<T>> {
        let ours = self.once(&self.ours, measure.clone()).await?;
        let mosquitto = match &self.peer {
            Some(side) => Some(self.once(side, measure).await?),
            None => None,
        };
        Ok(Beside { ours, mosquitto })
    }

    async fn once<T: Send + 'static>(
        &self,
        side: &Side,
        measure: impl FnOnce(u16, Process) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let broker = Broker::start(side, self.dir).await?;
        let (port, process) = (broker.port(), broker.process()?);
        let done = spawn_blocking(move || measure(port, process)).await?;
        let done =
            done.with_context(|| format!("under {}: {}", side.name(), broker.last_words()))?;
        broker.stop().await?;
        Ok(done)
    }

    async fn load(&self, pattern: Pattern, qos: u8, time: Duration) -> anyhow::Result<LoadFigures> {
        let rounds = u32::try_from(ROUNDS).unwrap_or(1);
        let mut runs: Vec<Beside<Run>> = Vec::new();
        for _ in 0..ROUNDS {
            let run = move |port, process| load::load((port, process), pattern, qos, time / rounds);
            let what = || format!("{} at QoS {qos}", pattern.name());
            runs.push(self.beside(run).await.with_context(what)?);
        }
        let ratio = |of: fn(&Run) -> f64| {
            let ratios = runs.iter().filter_map(|run| Some(of(&run.ours) / of(&run.mosquitto?)));
            median(ratios)
        };
        let of = |figure: fn(&Run) -> f64| {
            Beside::median(runs.iter().map(|run| run.map(|run| figure(&run))))
        };
        Ok(LoadFigures {
            pattern,
            qos,
            messages_per_s: of(|run| run.messages_per_s),
            cpu_s_per_100k: of(|run| run.cpu_s_per_100k),
            load_share: of(|run| run.load_share),
            ratio: self
                .peer
                .is_some()
                .then(|| (ratio(|run| run.messages_per_s), ratio(|run| run.cpu_s_per_100k))),
        })
    }

    async fn trickle(&self, qos: u8, time: Duration) -> anyhow::Result<TrickleFigures> {
        let rounds = u32::try_from(ROUNDS).unwrap_or(1);
        let mut runs: Vec<Beside<Trickle>> = Vec::new();
        for _ in 0..ROUNDS {
            let run = move |port, process| latency::latency((port, process), qos, time / rounds);
            runs.push(self.beside(run).await.with_context(|| format!("a trickle at QoS {qos}"))?);
        }
        let of = |figure: fn(&Trickle) -> f64| {
            Beside::median(runs.iter().map(|run| run.map(|run| figure(&run))))
        };
        Ok(TrickleFigures {
            qos,
            p50_ms: of(|trickle| trickle.p50_ms),
            p99_ms: of(|trickle| trickle.p99_ms),
            cpu_s_per_100k: of(|trickle| trickle.cpu_s_per_100k),
        })
    }

    async fn away(&self, time: Duration) -> anyhow::Result<AwayFigures> {
        let mut broker = Broker::start(&self.ours, self.dir).await?;
        let port = broker.port();
        let offline = spawn_blocking(move || durable::publish(port, time)).await??;
        broker.kill_and_restart().await?;
        let (per_s, acknowledged) = (offline.per_s, offline.acknowledged.iter().sum());
        let lost = spawn_blocking(move || durable::missing(port, &offline)).await??;
        broker.stop().await?;
        let mosquitto = match &self.peer {
            Some(side) => {
                let publish = move |port, _| durable::publish(port, time);
                Some(self.once(side, publish).await?.per_s)
            }
            None => None,
        };
        Ok(AwayFigures { per_s: Beside { ours: per_s, mosquitto }, acknowledged, lost })
    }
}

impl<T> Beside<T> {
    /// The same of both.
    pub fn map<U>(self, of: impl Fn(T) -> U) -> Beside<U> {
        Beside { ours: of(self.ours), mosquitto: self.mosquitto.map(of) }
    }
}

impl Beside<f64> {
    fn median(rounds: impl Iterator<Item = Self> + Clone) -> Self {
        let mosquitto: Vec<f64> = rounds.clone().filter_map(|round| round.mosquitto).collect();
        Self {
            ours: median(rounds.map(|round| round.ours)),
            mosquitto: (!mosquitto.is_empty()).then(|| median(mosquitto)),
        }
    }

    /// Ours over mosquitto's.
    #[must_use]
    pub fn ratio(self) -> Option<f64> {
        self.mosquitto.filter(|theirs| *theirs > 0.0).map(|theirs| self.ours / theirs)
    }
}

fn megabytes(bytes: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a process has less than 2^52 bytes")]
    let bytes = bytes as f64;
    bytes / 1e6
}

//! shell: what polling over TCP costs, how well periods are kept, and what several questions in flight bring.
#![allow(clippy::disallowed_methods, reason = "a measurement waits and reads clocks")]

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::gateway::Gateway;
use super::plc::{Asked, Plc, take};
use crate::demo::scratch::Scratch;
use crate::demo::upstream::Upstream;
use crate::service::usage;

/// The shortest period a point may have.
const SHORTEST: Duration = Duration::from_millis(10);
/// How long an answer takes behind the link for which questions in flight are there.
const ROUND_TRIP: Duration = Duration::from_millis(5);
/// Units behind that link.
const UNITS: u8 = 16;

/// How the values go up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Messages {
    /// Each in a message of its own.
    Value,
    /// What was read of a device in one poll in one.
    Device,
}

impl Messages {
    /// The word for it in the configuration.
    fn word(self) -> &'static str {
        match self {
            Self::Value => "json",
            Self::Device => "device",
        }
    }
}

/// Devices that are polled over TCP.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TcpFigures {
    /// Devices, each on a bus of its own.
    pub devices: usize,
    /// Values of each.
    pub values: usize,
    /// Their period, in milliseconds.
    pub period_ms: u128,
    /// How they go up.
    pub messages: Messages,
    /// Values read a second.
    pub values_per_s: f64,
    /// Processor seconds of the gateway for a million values, from the device's answer to the PUBACK at QoS 1, in messages of
    /// this format.
    pub cpu_s_per_million: f64,
    /// The share of one core.
    pub cpu_share: f64,
    /// How far the time between two questions is from the period, in milliseconds, for 99 of 100.
    pub period_error_p99_ms: f64,
    /// Resident memory, in megabytes of 1,000,000 bytes.
    pub rss_mb: f64,
}

/// Polls `devices` devices of `values` registers in a row every `period`, with an uplink at QoS 1.
///
/// # Errors
/// The gateway cannot be run, or asks nothing.
pub(super) async fn devices(
    program: &Path,
    (devices, values, period): (usize, usize, Duration),
    messages: Messages,
    (settle, time): (Duration, Duration),
) -> anyhow::Result<TcpFigures> {
    let scratch = Scratch::new().context("cannot make a directory for temporary files")?;
    let upstream = Upstream::start(&scratch.directory("upstream")?).await?;
    let mut tasks = JoinSet::new();
    let mut asked: Vec<Asked> = Vec::new();
    let (mut buses, mut units) = (String::new(), String::new());
    let points: Vec<String> = (0..values).map(|at| format!("r{at}: {{ input: {at} }}")).collect();
    for index in 0..devices {
        let plc = Plc::bind(Duration::ZERO).await.context("cannot listen on loopback")?;
        buses += &format!("  b{index}: {{ modbus-tcp: \"{}\" }}\n", plc.address()?);
        let points = if index == 0 {
            format!("&points {{ {} }}", points.join(", "))
        } else {
            "*points".to_owned()
        };
        let (every, format) = (humantime::format_duration(period), messages.word());
        units += &format!(
            "  d{index}: {{ bus: b{index}, unit: 1, every: {every}, format: {format}, points: {points} }}\n"
        );
        asked.push(plc.asked());
        tasks.spawn(plc.serve());
    }
    let uplink =
        format!("uplinks: {{ far: {{ url: \"mqtt://{}\", qos: 1 }} }}", upstream.address());
    let gateway = Gateway::start(program, &format!("buses:\n{buses}devices:\n{units}{uplink}\n"))?;
    sleep(settle).await;
    let (before, begin) = (usage(Some(gateway.id()?))?, Instant::now());
    asked.iter().for_each(|asked| drop(take(asked)));
    sleep(time).await;
    let (after, elapsed) = (usage(Some(gateway.id()?))?, begin.elapsed());
    let asked: Vec<Vec<Instant>> = asked.iter().map(take).collect();
    gateway.stop().await?;
    upstream.stop().await;
    let mut errors: Vec<Duration> = asked
        .iter()
        .flat_map(|times| times.windows(2))
        .filter_map(|pair| Some((*pair.get(1)?).duration_since(*pair.first()?).abs_diff(period)))
        .collect();
    errors.sort_unstable();
    let p99 = errors.get(errors.len() * 99 / 100).context("the gateway asks nothing")?;
    let questions: usize = asked.iter().map(Vec::len).sum();
    let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "counts of a few seconds")]
    let (read, rss) = ((questions * values) as f64, after.rss as f64);
    Ok(TcpFigures {
        devices,
        values,
        period_ms: period.as_millis(),
        messages,
        values_per_s: read / elapsed.as_secs_f64(),
        cpu_s_per_million: cpu / read * 1e6,
        cpu_share: cpu / elapsed.as_secs_f64(),
        period_error_p99_ms: p99.as_secs_f64() * 1e3,
        rss_mb: rss / 1e6,
    })
}

/// As fast as periods allow.
pub(super) async fn fast(
    program: &Path,
    messages: Messages,
    times: (Duration, Duration),
) -> anyhow::Result<TcpFigures> {
    devices(program, (10, 100, SHORTEST), messages, times).await
}

/// Questions a second to sixteen units behind one link of 5 ms, with so many in flight.
///
/// # Errors
/// As for [`devices`].
pub(super) async fn in_flight(
    program: &Path,
    window: usize,
    (settle, time): (Duration, Duration),
) -> anyhow::Result<f64> {
    let plc = Plc::bind(ROUND_TRIP).await.context("cannot listen on loopback")?;
    let mut config = format!(
        "buses: {{ b: {{ modbus-tcp: \"{}\", in_flight: {window} }} }}\ndevices:\n",
        plc.address()?
    );
    for unit in 1..=UNITS {
        config += &format!(
            "  d{unit}: {{ bus: b, unit: {unit}, every: 10ms, points: {{ p: {{ input: 0 }} }} }}\n"
        );
    }
    let asked = plc.asked();
    let mut tasks = JoinSet::new();
    tasks.spawn(plc.serve());
    let gateway = Gateway::start(program, &config)?;
    sleep(settle).await;
    take(&asked);
    let begin = Instant::now();
    sleep(time).await;
    let (count, elapsed) = (take(&asked).len(), begin.elapsed());
    anyhow::ensure!(count > 0, "the gateway asks nothing; it said\n{}", gateway.last_words());
    gateway.stop().await?;
    #[allow(clippy::cast_precision_loss, reason = "a count of a few seconds")]
    let count = count as f64;
    Ok(count / elapsed.as_secs_f64())
}

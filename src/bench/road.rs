//! shell: the whole road of a real `run` process: simulated TCP devices before it, a broker behind it, its own figures
//! read from the outside.
#![allow(clippy::disallowed_methods, reason = "a measurement reads clocks, files and processes")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::demo::bank::{Bank, Cell, Form, Signal};
use crate::demo::scratch::Scratch;
use crate::demo::tcp::Devices;
use crate::demo::upstream::Upstream;
use crate::demo::witness::Witness;
use crate::field::{Table, UnitId};
use crate::service::{Usage, usage};

/// Devices, each on a bus of its own.
const DEVICES: usize = 10;
/// Points of each device.
const POINTS: u16 = 40;
/// How long the first reading may take.
const FIRST_MAX: Duration = Duration::from_secs(20);
/// How long the process may take to stop.
const STOP_MAX: Duration = Duration::from_secs(30);

/// What a `run` process costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoadFigures {
    /// The period of every point, in milliseconds.
    pub period_ms: u128,
    /// From the start of the process to its first reading at the broker, in milliseconds.
    pub first_delivery_ms: f64,
    /// Readings that arrived, a second.
    pub readings_per_s: f64,
    /// Processor time of the process, as a share of one core.
    pub cpu_share: f64,
    /// Processor seconds for a million readings, from the device's answer to the PUBACK.
    pub cpu_s_per_million: f64,
    /// Resident memory of the process at the end, in megabytes of 1,000,000 bytes.
    pub rss_mb: f64,
    /// Bytes handed to the disk for each reading.
    pub bytes_per_reading: f64,
}

/// Runs `fieldpost run` for `time` with ten devices of forty points each, all read every `period`, at QoS 1.
///
/// # Errors
/// The process cannot be run, or nothing arrives.
pub async fn road(program: &Path, period: Duration, time: Duration) -> anyhow::Result<RoadFigures> {
    let scratch = Scratch::new().context("cannot make a directory for temporary files")?;
    // Memory, as systemd's RuntimeDirectory is.
    let memory = Scratch::new_in(Path::new("/dev/shm")).context("no /dev/shm to stage in")?;
    let upstream = Upstream::start(&scratch.directory("upstream")?).await?;
    let mut witness = Witness::subscribe(upstream.hub()).await?;
    let mut devices = JoinSet::new();
    let (mut buses, mut units) = (String::new(), String::new());
    for index in 0..DEVICES {
        let tcp = Devices::bind().await.context("cannot listen on loopback")?;
        buses += &format!("  b{index}: {{ modbus-tcp: \"{}\" }}\n", tcp.address()?);
        let points = if index == 0 { points(period) } else { "*points".to_owned() };
        units += &format!("  d{index}: {{ bus: b{index}, unit: 1, points: {points} }}\n");
        devices.spawn(tcp.serve(vec![bank()]));
    }
    let config = format!(
        "gateway: {{ id: bench, state_dir: {}, runtime_dir: {} }}\nbuses:\n{buses}devices:\n{units}\
         uplinks:\n  broker: {{ url: \"mqtt://{}\", qos: 1 }}\nlog: {{ level: warn }}\n",
        scratch.directory("gateway")?.display(),
        memory.directory("run")?.display(),
        upstream.address(),
    );
    let file = scratch.directory("config")?.join("bench.yaml");
    std::fs::write(&file, config).context("cannot write the configuration")?;
    let start = Instant::now();
    let child = Command::new(program)
        .args(["run", "-c"])
        .arg(&file)
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let mut child = Running(child);
    let first = timeout(FIRST_MAX, first_reading(&mut witness)).await;
    first.context("no reading arrived")??;
    let first_delivery = start.elapsed();
    let figures = steady(&mut witness, &child, time).await?;
    child.stop().await?;
    drop(devices);
    upstream.stop().await;
    let (count, elapsed, used) = figures;
    #[allow(clippy::cast_precision_loss, reason = "counts of a few seconds")]
    let (count, written, rss) = (count as f64, used.written as f64, used.rss as f64);
    Ok(RoadFigures {
        period_ms: period.as_millis(),
        first_delivery_ms: first_delivery.as_secs_f64() * 1e3,
        readings_per_s: count / elapsed.as_secs_f64(),
        cpu_share: used.cpu.as_secs_f64() / elapsed.as_secs_f64(),
        cpu_s_per_million: used.cpu.as_secs_f64() / count * 1e6,
        rss_mb: rss / 1e6,
        bytes_per_reading: written / count,
    })
}

/// The points of a device, under an anchor for the others.
fn points(period: Duration) -> String {
    let period = humantime::format_duration(period);
    let points: Vec<String> = (0..POINTS)
        .map(|point| format!("p{point}: {{ input: {}, type: u32, every: {period} }}", point * 2))
        .collect();
    format!("&points {{ {} }}", points.join(", "))
}

fn bank() -> Bank {
    let cells = (0..POINTS).map(|point| Cell {
        table: Table::Input,
        address: point * 2,
        form: Form::Long,
        signal: Signal::Asked,
    });
    Bank::new(UnitId(1), cells.collect())
}

async fn first_reading(witness: &mut Witness) -> anyhow::Result<()> {
    loop {
        let event = witness.next().await?;
        let messages = witness.take(Some(event)).await?;
        if messages.iter().any(|message| message.payload.starts_with(b"{")) {
            return Ok(());
        }
    }
}

/// Counts readings for `time`; what the process used meanwhile.
async fn steady(
    witness: &mut Witness,
    child: &Running,
    time: Duration,
) -> anyhow::Result<(u64, Duration, Usage)> {
    let (before, start) = (usage(Some(child.id()))?, Instant::now());
    let mut count = 0;
    while let Some(left) = time.checked_sub(start.elapsed()) {
        let Ok(event) = timeout(left, witness.next()).await else { break };
        let messages = witness.take(Some(event?)).await?;
        count += messages.iter().filter(|message| message.payload.starts_with(b"{")).count() as u64;
    }
    let after = usage(Some(child.id()))?;
    if count == 0 {
        bail!("nothing arrived");
    }
    let used = Usage {
        cpu: after.cpu.saturating_sub(before.cpu),
        written: after.written.saturating_sub(before.written),
        rss: after.rss,
    };
    Ok((count, start.elapsed(), used))
}

/// A child that does not outlive the measurement.
struct Running(Child);

impl Running {
    fn id(&self) -> u32 {
        self.0.id()
    }

    async fn stop(&mut self) -> anyhow::Result<()> {
        let id = self.id().to_string();
        // The standard library sends SIGKILL only.
        let asked = Command::new("kill").args(["-TERM", &id]).status();
        if !asked.is_ok_and(|status| status.success()) {
            self.0.kill().context("cannot stop the process")?;
        }
        let start = Instant::now();
        while start.elapsed() < STOP_MAX {
            if self.0.try_wait()?.is_some() {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        bail!("the process does not stop")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

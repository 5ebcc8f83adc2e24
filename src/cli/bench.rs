//! shell: `fieldpost bench`: figures of this machine, each beside its limit in the same run.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::ExitStatus;
use super::bench_broker::{BrokerBenchArgs, broker};
use super::bench_poll::{PollBenchArgs, poll};
use super::powercut::{PowercutArgs, powercut};
use super::run::runtime;
use crate::bench;
use crate::bench::crash::{Options, Subject, Upstream, report};
use crate::model::QoS;
use crate::mqtt::Version;
use crate::service::Signals;

/// Readings that wait when a start is measured, unless told otherwise.
const START_ROWS: usize = 10_000_000;

/// Readings that drain, unless told otherwise.
const BACKLOG: usize = 1_000_000;
/// The period at which a gateway is online while what it writes is counted.
const ONLINE_PERIOD: Duration = Duration::from_millis(10);

/// Arguments of `bench`.
#[derive(Debug, Clone, clap::Args)]
pub struct BenchArgs {
    /// What to measure
    #[command(subcommand)]
    pub what: BenchWhat,
}

/// What `bench` measures.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum BenchWhat {
    /// Readings a second through commit, beside a plain file with fdatasync; a backlog that drains, beside mosquitto_pub; and
    /// a start with a long queue
    Queue {
        /// A directory on the disk to be measured
        #[arg(long, value_name = "DIR", default_value = ".")]
        dir: PathBuf,
        /// How many readings wait in the queue of the start that is measured
        #[arg(long, value_name = "COUNT", default_value_t = START_ROWS)]
        rows: usize,
        /// How many readings wait in the queue that drains to a broker on loopback
        #[arg(long, value_name = "COUNT", default_value_t = BACKLOG)]
        backlog: usize,
        /// How long, and how it is printed
        #[command(flatten)]
        common: Common,
    },
    /// A gateway process with ten TCP devices of forty points: memory, start, processor time for a reading
    Road {
        /// How long, and how it is printed
        #[command(flatten)]
        common: Common,
    },
    /// Four units on a serial line beside the least its wire allows, a dead unit, and Modbus TCP: processor time, periods,
    /// questions in flight
    Poll(PollBenchArgs),
    /// The LAN broker beside an installed mosquitto: throughput, latency, processor time, memory, and what a kill leaves
    Broker(BrokerBenchArgs),
    /// Kill a gateway again and again, and count at the far side what was lost, doubled and out of order
    Crash(CrashArgs),
    /// What power cuts cost: the store on a disk in memory that is cut at any write, and what arrives upstream afterwards
    Powercut(PowercutArgs),
}

const CRASH_STATUS: &str = "\
Exit status: 0 if everything arrived in order, at QoS 2 once; 1 if not, or if it was stopped before
the end; 2 if the command line is wrong.";

/// Arguments of `bench crash`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = CRASH_STATUS)]
pub struct CrashArgs {
    /// How often the gateway is killed
    #[arg(long, value_name = "N", default_value = "50")]
    pub kills: NonZeroUsize,
    /// The QoS from end to end
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub qos: u8,
    /// The MQTT version everybody speaks
    #[arg(long, value_name = "VERSION", default_value = "5", value_parser = ["3.1.1", "5"])]
    pub mqtt: String,
    /// Draw the same kills again
    #[arg(long)]
    pub seed: Option<u64>,
    /// Kill another program in the gateway's place as well, and show both
    #[arg(long, value_name = "NAME")]
    pub peer: Option<CrashPeer>,
    /// Who stands upstream: mosquitto where it is installed, or else a second fieldpost
    #[arg(long, value_name = "NAME")]
    pub upstream: Option<CrashUpstream>,
    /// Print the figures as JSON
    #[arg(long)]
    pub json: bool,
}

/// Who stands upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum CrashUpstream {
    /// An installed mosquitto, restarted in order: one that is killed loses what it has accepted
    Mosquitto,
    /// This program as a broker, killed as the gateway is
    Fieldpost,
}

/// Who is killed for comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum CrashPeer {
    /// An installed mosquitto that bridges to the upstream
    MosquittoBridge,
}

/// What every measurement takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Common {
    /// How long each figure is measured
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    pub time: Duration,
    /// Print the figures as JSON
    #[arg(long)]
    pub json: bool,
}

/// Measures and prints.
///
/// # Errors
/// What is measured cannot be run, or `out` cannot be written to.
pub fn bench(args: &BenchArgs, out: &mut impl Write) -> anyhow::Result<ExitStatus> {
    let (text, status) = match &args.what {
        BenchWhat::Broker(args) => return broker(args, out),
        BenchWhat::Poll(args) => return poll(args, out),
        BenchWhat::Powercut(args) => return powercut(args, out),
        BenchWhat::Queue { dir, rows, backlog, common } => {
            (queue(dir, *rows, *backlog, common)?, ExitStatus::Done)
        }
        BenchWhat::Road { common } => (road(common)?, ExitStatus::Done),
        BenchWhat::Crash(args) => crash(args)?,
    };
    out.write_all(text.as_bytes()).context("cannot write the figures")?;
    Ok(status)
}

fn queue(dir: &Path, start_rows: usize, backlog: usize, common: &Common) -> anyhow::Result<String> {
    let program = std::env::current_exe().context("cannot find this program")?;
    // The gateway that drains it must be told a whole path.
    let dir = &dir.canonicalize().with_context(|| format!("cannot find {}", dir.display()))?;
    if common.time.is_zero() {
        bail!("nothing can be measured in no time: write `--time 5s`");
    }
    let runtime = runtime()?;
    let mut rows = Vec::new();
    for batch in [1, 10, 100, 1000] {
        rows.push(bench::queue(dir, batch, common.time)?);
    }
    let online = runtime.block_on(bench::road(&program, ONLINE_PERIOD, common.time))?;
    let drain = |qos| runtime.block_on(bench::drain(&program, dir, backlog, qos));
    let drains = [drain(QoS::AtLeastOnce)?, drain(QoS::ExactlyOnce)?];
    let start_ms = bench::start_ms_at_rows(dir, start_rows)?;
    if common.json {
        let figures = queue_json(&rows, online.bytes_per_reading, &drains, (start_rows, start_ms));
        return Ok(format!("{figures:#}\n"));
    }
    let head = "readings a commit   readings/s   of a plain file   bytes to disk a reading\n";
    let mut text = rows.iter().fold(head.to_owned(), |text, row| {
        let bench::QueueFigures { batch, rows_per_s, ratio_to_file, bytes_per_reading } = row;
        text + &format!(
            "{batch:>17} {rows_per_s:>12.0} {ratio_to_file:>16.2}x {bytes_per_reading:>25.0}\n"
        )
    });
    let online = online.bytes_per_reading;
    text += &format!("online, acknowledged in time: {online:.2} bytes to disk a reading\n");
    let broker = if drains[0].to_mosquitto { "mosquitto" } else { "a second fieldpost" };
    text += &format!("a backlog of {backlog} readings drains to {broker} on loopback:\n");
    text += "QoS   readings/s   CPU s/million          memory   mosquitto_pub   CPU s/million   ratio\n";
    for drain in &drains {
        let memory = format!("{:.1} to {:.1} MB", drain.rss_begin_mb, drain.rss_peak_mb);
        let (qos, per_s, cpu) = (drain.qos.level(), drain.drain_per_s, drain.cpu_s_per_million);
        text += &format!("{qos:>3} {per_s:>12.0} {cpu:>15.1} {memory:>15}");
        text += &drain.peer.map_or("   not installed\n".to_owned(), |peer| {
            let bench::PeerFigures { per_s, cpu_s_per_million: cpu, ratio } = peer;
            format!(" {per_s:>15.0} {cpu:>15.1} {ratio:>6.2}x\n")
        });
    }
    Ok(text + &format!("a start with {start_rows} readings in the queue: {start_ms:.0} ms\n"))
}

fn queue_json(
    rows: &[bench::QueueFigures],
    online_bytes: f64,
    drains: &[bench::DrainFigures; 2],
    (start_rows, start_ms): (usize, f64),
) -> Value {
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "batch": row.batch,
                "rows_per_s": row.rows_per_s.round(),
                "ratio_to_file": rounded(row.ratio_to_file, 2),
                "bytes_per_reading": row.bytes_per_reading.round(),
            })
        })
        .collect();
    let mut figures = json!({
        "append": rows,
        "online_bytes_per_reading": rounded(online_bytes, 2),
        "backlog": drains[0].backlog,
        "broker": if drains[0].to_mosquitto { "mosquitto" } else { "fieldpost" },
        "start_rows": start_rows,
        "start_ms": rounded(start_ms, 1),
    });
    if start_rows == START_ROWS {
        figures["start_ms_at_10m_rows"] = json!(rounded(start_ms, 1));
    }
    for (drain, name) in drains.iter().zip(["", "_qos2"]) {
        let memory = [drain.rss_begin_mb, drain.rss_peak_mb].map(|mb| rounded(mb, 1));
        let peer = |of: fn(&bench::PeerFigures) -> f64, digits| {
            json!(drain.peer.as_ref().map(|peer| rounded(of(peer), digits)))
        };
        for (key, value) in [
            (format!("drain{name}_per_s"), json!(drain.drain_per_s.round())),
            (format!("ratio_to_mosquitto_pub{name}"), peer(|peer| peer.ratio, 2)),
            (format!("drain{name}_rss_mb"), json!({ "begin": memory[0], "peak": memory[1] })),
            (format!("drain{name}_cpu_s_per_million"), json!(rounded(drain.cpu_s_per_million, 2))),
            (format!("mosquitto_pub{name}_per_s"), peer(|peer| peer.per_s, 0)),
            (
                format!("mosquitto_pub{name}_cpu_s_per_million"),
                peer(|peer| peer.cpu_s_per_million, 2),
            ),
        ] {
            figures[key] = value;
        }
    }
    figures
}

fn road(common: &Common) -> anyhow::Result<String> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let runtime = runtime()?;
    let mut rows = Vec::new();
    for period in [Duration::from_secs(1), Duration::from_millis(10)] {
        rows.push(runtime.block_on(bench::road(&program, period, common.time))?);
    }
    if common.json {
        let rows: Vec<Value> = rows
            .iter()
            .map(|row| {
                json!({
                    "period_ms": row.period_ms,
                    "first_delivery_ms": rounded(row.first_delivery_ms, 1),
                    "readings_per_s": row.readings_per_s.round(),
                    "cpu_share": rounded(row.cpu_share, 4),
                    "cpu_s_per_million": rounded(row.cpu_s_per_million, 2),
                    "rss_mb": rounded(row.rss_mb, 1),
                    "bytes_per_reading": row.bytes_per_reading.round(),
                })
            })
            .collect();
        return Ok(format!("{:#}\n", json!({ "road": rows })));
    }
    let head = "period   first reading   readings/s   of a core   CPU s/million   memory   bytes to disk a reading\n";
    Ok(rows.iter().fold(head.to_owned(), |text, row| {
        text + &format!(
            "{:>4} ms {:>12.0} ms {:>12.0} {:>10.1}% {:>15.2} {:>5.1} MB {:>25.0}\n",
            row.period_ms,
            row.first_delivery_ms,
            row.readings_per_s,
            row.cpu_share * 100.0,
            row.cpu_s_per_million,
            row.rss_mb,
            row.bytes_per_reading,
        )
    }))
}

/// Fails if the gateway, not the peer, lost or doubled what it must not.
fn crash(args: &CrashArgs) -> anyhow::Result<(String, ExitStatus)> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    let version = if args.mqtt == "5" { Version::V5 } else { Version::V311 };
    let qos = if args.qos == 2 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
    let kills = args.kills.get();
    let upstream = args.upstream.map(|upstream| match upstream {
        CrashUpstream::Mosquitto => Upstream::Mosquitto,
        CrashUpstream::Fieldpost => Upstream::Fieldpost,
    });
    let options = |subject| Options { subject, kills, qos, version, seed, upstream };
    let rows = async {
        let mut signals = Signals::listen().context("cannot take over SIGTERM")?;
        let run = async {
            let mut rows = vec![bench::crash::crash(&program, &options(Subject::Fieldpost)).await?];
            if args.peer == Some(CrashPeer::MosquittoBridge) {
                let options = options(Subject::MosquittoBridge);
                rows.push(bench::crash::crash(&program, &options).await?);
            }
            anyhow::Ok(rows)
        };
        tokio::select! {
            rows = run => rows,
            _ = signals.next_stop() => bail!("stopped before the end"),
        }
    };
    let rows = runtime()?.block_on(rows).with_context(|| format!("seed {seed}"))?;
    let is_right = rows.first().is_some_and(|row| row.is_right(qos));
    let status = if is_right { ExitStatus::Done } else { ExitStatus::Failed };
    if !args.json {
        return Ok((report::table(&rows, seed), status));
    }
    let mut json = rows.first().map(report::Row::json).unwrap_or_default();
    json["seed"] = seed.into();
    json["peer"] = rows.get(1).map(report::Row::json).into();
    Ok((format!("{json:#}\n"), status))
}

pub(super) fn rounded(value: f64, digits: i32) -> f64 {
    let factor = 10f64.powi(digits);
    (value * factor).round() / factor
}

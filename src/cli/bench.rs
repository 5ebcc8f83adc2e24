//! shell: `fieldpost bench`: figures of this machine, each beside its limit in the same run.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::ExitStatus;
use super::powercut::{PowercutArgs, powercut};
use super::run::runtime;
use crate::bench;

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
    /// Readings a second through commit, beside a plain file with fdatasync
    Queue {
        /// A directory on the disk to be measured
        #[arg(long, value_name = "DIR", default_value = ".")]
        dir: PathBuf,
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
    /// What power cuts cost: the store on a disk in memory that is cut at any write, and what arrives upstream afterwards
    Powercut(PowercutArgs),
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
    let text = match &args.what {
        BenchWhat::Powercut(args) => return powercut(args, out),
        BenchWhat::Queue { dir, common } => queue(dir, common)?,
        BenchWhat::Road { common } => road(common)?,
    };
    out.write_all(text.as_bytes()).context("cannot write the figures")?;
    Ok(ExitStatus::Done)
}

fn queue(dir: &Path, common: &Common) -> anyhow::Result<String> {
    let mut rows = Vec::new();
    for batch in [1, 10, 100, 1000] {
        rows.push(bench::queue(dir, batch, common.time)?);
    }
    if common.json {
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
        return Ok(format!("{:#}\n", json!({ "append": rows })));
    }
    let head = "readings a commit   readings/s   of a plain file   bytes to disk a reading\n";
    Ok(rows.iter().fold(head.to_owned(), |text, row| {
        let bench::QueueFigures { batch, rows_per_s, ratio_to_file, bytes_per_reading } = row;
        text + &format!(
            "{batch:>17} {rows_per_s:>12.0} {ratio_to_file:>16.2}x {bytes_per_reading:>25.0}\n"
        )
    }))
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

fn rounded(value: f64, digits: i32) -> f64 {
    let factor = 10f64.powi(digits);
    (value * factor).round() / factor
}

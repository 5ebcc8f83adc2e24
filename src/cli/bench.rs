//! shell: `fieldpost bench`: figures of this machine, each beside its limit in the same run.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::ExitStatus;
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
        /// How long each batch size is measured
        #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
        time: Duration,
        /// Print the figures as JSON
        #[arg(long)]
        json: bool,
    },
}

/// Measures and prints.
///
/// # Errors
/// What is measured cannot be run, or `out` cannot be written to.
pub fn bench(args: &BenchArgs, out: &mut impl Write) -> anyhow::Result<ExitStatus> {
    match &args.what {
        BenchWhat::Queue { dir, time, json } => {
            let mut rows = Vec::new();
            for batch in [1, 10, 100, 1000] {
                rows.push(bench::queue(dir, batch, *time)?);
            }
            let text = if *json {
                let rows: Vec<Value> = rows
                    .iter()
                    .map(|row| {
                        json!({
                            "batch": row.batch,
                            "rows_per_s": row.rows_per_s.round(),
                            "ratio_to_file": (row.ratio_to_file * 100.0).round() / 100.0,
                            "bytes_per_reading": row.bytes_per_reading.round(),
                        })
                    })
                    .collect();
                format!("{:#}\n", json!({ "append": rows }))
            } else {
                let head =
                    "readings a commit   readings/s   of a plain file   bytes to disk a reading\n";
                rows.iter().fold(head.to_owned(), |text, row| {
                    let bench::QueueFigures { batch, rows_per_s, ratio_to_file, bytes_per_reading } = row;
                    text + &format!(
                        "{batch:>17} {rows_per_s:>12.0} {ratio_to_file:>16.2}x {bytes_per_reading:>25.0}\n"
                    )
                })
            };
            out.write_all(text.as_bytes()).context("cannot write the figures")?;
        }
    }
    Ok(ExitStatus::Done)
}

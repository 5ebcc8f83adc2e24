//! shell: `fieldpost bench poll`: what polling devices costs, beside what the wire allows.

use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::ExitStatus;
use super::bench::rounded;
use super::run::runtime;
use crate::bench::{self, LineFigures, Messages, PollFigures, PollOptions, TcpFigures};

/// Arguments of `bench poll`.
#[derive(Debug, Clone, clap::Args)]
pub struct PollBenchArgs {
    /// How long each figure is measured, beside what it takes to settle
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub time: Duration,
    /// The lines, by their baud rates, with commas between them
    #[arg(long, value_name = "RATES", default_value = "9600,19200,115200", value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(300..=1_000_000))]
    pub baud: Vec<u32>,
    /// How long a line with a dead unit runs before it counts
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = humantime::parse_duration)]
    pub settle: Duration,
    /// Print the figures as JSON
    #[arg(long)]
    pub json: bool,
}

/// Measures and prints.
///
/// # Errors
/// What is measured cannot be run, or `out` cannot be written to.
pub(super) fn poll(args: &PollBenchArgs, out: &mut impl Write) -> anyhow::Result<ExitStatus> {
    if args.time.is_zero() {
        bail!("nothing can be measured in no time: write `--time 10s`");
    }
    let program = std::env::current_exe().context("cannot find this program")?;
    let (baud_rates, time, settle) = (args.baud.clone(), args.time, args.settle);
    let options = PollOptions { baud_rates, time, settle };
    let figures = runtime()?.block_on(bench::poll(&program, &options))?;
    let text = if args.json { format!("{:#}\n", as_json(&figures)) } else { table(&figures) };
    out.write_all(text.as_bytes()).context("cannot write the figures")?;
    Ok(ExitStatus::Done)
}

fn as_json(figures: &PollFigures) -> Value {
    let line = |line: &LineFigures| {
        json!({
            "baud": line.baud,
            "cycle_ms": rounded(line.cycle_ms, 2),
            "minimum_ms": rounded(line.minimum_ms, 2),
            "ratio": rounded(line.cycle_ms / line.minimum_ms, 3),
            "transactions": rounded(line.transactions, 2),
            "optimum": line.optimum,
            "silence_kept": rounded(line.silence_kept, 4),
        })
    };
    let devices = |tcp: &TcpFigures| {
        json!({
            "devices": tcp.devices,
            "values": tcp.values,
            "period_ms": tcp.period_ms,
            "messages": messages(tcp.messages),
            "values_per_s": tcp.values_per_s.round(),
            "cpu_s_per_million": rounded(tcp.cpu_s_per_million, 2),
            "cpu_share": rounded(tcp.cpu_share, 4),
            "period_error_p99_ms": rounded(tcp.period_error_p99_ms, 2),
            "rss_mb": rounded(tcp.rss_mb, 1),
        })
    };
    let PollFigures { lines, dead_unit_slowdown, fast, fast_device, calm, in_flight } = figures;
    let [one, eight] = in_flight;
    json!({
        "lines": lines.iter().map(line).collect::<Vec<_>>(),
        "dead_unit_slowdown": rounded(*dead_unit_slowdown, 3),
        "tcp_values_per_s": fast.values_per_s.round(),
        "cpu_s_per_million": rounded(fast.cpu_s_per_million, 2),
        "cpu_s_per_million_device": rounded(fast_device.cpu_s_per_million, 2),
        "period_error_p99_ms": rounded(calm.period_error_p99_ms, 2),
        "tcp": [devices(fast), devices(fast_device), devices(calm)],
        "in_flight": { "1": one.round(), "8": eight.round(), "ratio": rounded(eight / one, 2) },
    })
}

fn messages(of: Messages) -> &'static str {
    match of {
        Messages::Value => "value",
        Messages::Device => "device",
    }
}

fn table(figures: &PollFigures) -> String {
    let mut text =
        "  baud       cycle     minimum   ratio   requests   optimum   silence kept\n".to_owned();
    for line in &figures.lines {
        let _ = writeln!(
            text,
            "{:>6} {:>8.1} ms {:>8.1} ms {:>7.3} {:>10.2} {:>9} {:>13.2}%",
            line.baud,
            line.cycle_ms,
            line.minimum_ms,
            line.cycle_ms / line.minimum_ms,
            line.transactions,
            line.optimum,
            line.silence_kept * 100.0,
        );
    }
    let dead = figures.dead_unit_slowdown;
    let _ = writeln!(text, "a dead unit makes the cycle of three others {dead:.3} times as long");
    for tcp in [&figures.fast, &figures.fast_device, &figures.calm] {
        let _ = writeln!(
            text,
            "{} TCP devices of {} values every {} ms, a message a {}: {:.0} values/s, {:.2} CPU s/million, {:.1}% of a core, \
             {:.1} MB, 99 of 100 questions within {:.2} ms of their period",
            tcp.devices,
            tcp.values,
            tcp.period_ms,
            messages(tcp.messages),
            tcp.values_per_s,
            tcp.cpu_s_per_million,
            tcp.cpu_share * 100.0,
            tcp.rss_mb,
            tcp.period_error_p99_ms,
        );
    }
    let [one, eight] = figures.in_flight;
    let ratio = eight / one;
    let _ = writeln!(
        text,
        "over a link of 5 ms: {one:.0} questions/s one at a time, {eight:.0} with eight in flight ({ratio:.1} times)"
    );
    text
}

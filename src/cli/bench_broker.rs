//! shell: `fieldpost bench broker`: the LAN broker beside a mosquitto.

use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::ExitStatus;
use super::bench::rounded;
use super::run::runtime;
use crate::bench::{self, Beside, BrokerFigures, BrokerOptions, Pattern};

/// Retained messages, unless told otherwise.
const RETAINED: usize = 50_000;

const STATUS: &str = "\
Exit status: 0 if everything was measured and nothing that was acknowledged is missing after the
kill; 1 if not; 2 if the command line is wrong.";

/// Arguments of `bench broker`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = STATUS)]
pub struct BrokerBenchArgs {
    /// How long each load lasts on each broker
    #[arg(long, value_name = "TIME", default_value = "900ms", value_parser = humantime::parse_duration)]
    pub time: Duration,
    /// Which loads, with commas between them: pairs, 1-to-50, 50-to-1, pairs-4k, or none
    #[arg(long, value_name = "NAMES", default_value = "pairs,1-to-50,50-to-1,pairs-4k")]
    pub patterns: String,
    /// How many idle connections are looked at, with commas between several numbers
    #[arg(long, value_name = "COUNTS", default_value = "1000,5000", value_delimiter = ',')]
    pub connections: Vec<usize>,
    /// How many topics have a retained message
    #[arg(long, value_name = "COUNT", default_value_t = RETAINED)]
    pub retained: usize,
    /// Print the figures as JSON
    #[arg(long)]
    pub json: bool,
}

/// Measures and prints.
///
/// # Errors
/// What is measured cannot be run, or `out` cannot be written to.
pub(super) fn broker(args: &BrokerBenchArgs, out: &mut impl Write) -> anyhow::Result<ExitStatus> {
    if args.time.is_zero() {
        bail!("nothing can be measured in no time: write `--time 1s`");
    }
    let named = |name: &str| {
        let known = Pattern::ALL.map(Pattern::name).join(", ");
        let unknown = || format!("there is no pattern `{name}`: write some of {known}, or none");
        Pattern::named(name).with_context(unknown)
    };
    let names = args.patterns.split(',').filter(|name| !matches!(*name, "" | "none"));
    let options = BrokerOptions {
        time: args.time,
        patterns: names.map(named).collect::<anyhow::Result<_>>()?,
        connections: args.connections.clone(),
        retained: args.retained,
    };
    let program = std::env::current_exe().context("cannot find this program")?;
    let dir = std::env::temp_dir();
    let figures = runtime()?.block_on(bench::broker(&program, &dir, &options))?;
    let text = if args.json { format!("{:#}\n", json(&figures)) } else { table(&figures)? };
    out.write_all(text.as_bytes()).context("cannot write the figures")?;
    let kept = figures.away.lost == 0 && figures.retained.received.ours == figures.retained.topics;
    Ok(if kept { ExitStatus::Done } else { ExitStatus::Failed })
}

fn json(figures: &BrokerFigures) -> Value {
    let loads: Vec<Value> = figures
        .loads
        .iter()
        .map(|load| {
            json!({
                "pattern": load.pattern.name(),
                "qos": load.qos,
                "payload_bytes": load.pattern.payload_bytes(),
                "messages_per_s": load.messages_per_s.ours.round(),
                "cpu_s_per_100k": rounded(load.cpu_s_per_100k.ours, 4),
                "load_cpu_share": rounded(load.load_share.ours, 3),
                "ratio_to_mosquitto": load.ratio.map(|(rate, cpu)| json!({
                    "messages_per_s": rounded(rate, 3),
                    "cpu_s_per_100k": rounded(cpu, 3),
                })),
                "mosquitto": load.messages_per_s.mosquitto.map(|rate| json!({
                    "messages_per_s": rate.round(),
                    "cpu_s_per_100k": load.cpu_s_per_100k.mosquitto.map(|cpu| rounded(cpu, 4)),
                    "load_cpu_share": load.load_share.mosquitto.map(|share| rounded(share, 3)),
                })),
            })
        })
        .collect();
    let trickles: Vec<Value> = figures
        .trickles
        .iter()
        .map(|trickle| {
            let side = |of: &dyn Fn(Beside<f64>) -> Option<f64>| {
                let figure = |beside, digits| of(beside).map(|value| rounded(value, digits));
                json!({
                    "p50_ms": figure(trickle.p50_ms, 4),
                    "p99_ms": figure(trickle.p99_ms, 4),
                    "cpu_s_per_100k": figure(trickle.cpu_s_per_100k, 4),
                })
            };
            let mut json = side(&|beside| Some(beside.ours));
            json["qos"] = trickle.qos.into();
            json["messages_per_s"] = bench::RATE.into();
            if figures.has_mosquitto {
                json["mosquitto"] = side(&|beside| beside.mosquitto);
                json["ratio_to_mosquitto"] = side(&Beside::ratio);
            }
            json
        })
        .collect();
    let idle: Vec<Value> = figures
        .idle
        .iter()
        .map(|idle| {
            json!({
                "connections": idle.connections,
                "kb_per_connection": rounded(idle.kb_per_connection.ours, 2),
                "mosquitto": idle.kb_per_connection.mosquitto.map(|kb| rounded(kb, 2)),
            })
        })
        .collect();
    let (retained, away) = (&figures.retained, &figures.away);
    let beside = |beside: Beside<f64>, digits| {
        json!({
            "fieldpost": rounded(beside.ours, digits),
            "mosquitto": beside.mosquitto.map(|value| rounded(value, digits)),
            "ratio_to_mosquitto": beside.ratio().map(|ratio| rounded(ratio, 3)),
        })
    };
    json!({
        "mosquitto": figures.has_mosquitto,
        "loads": loads,
        "latency": trickles,
        "rss_idle_mb": rounded(figures.rss_idle_mb.ours, 2),
        "mosquitto_rss_idle_mb": figures.rss_idle_mb.mosquitto.map(|mb| rounded(mb, 2)),
        "kb_per_connection": figures.idle.first().map(|idle| rounded(idle.kb_per_connection.ours, 2)),
        "idle_connections": idle,
        "retained": {
            "topics": retained.topics,
            "received": retained.received.ours,
            "mosquitto_received": retained.received.mosquitto,
            "rss_mb": beside(retained.rss_mb, 1),
            "retained_per_s": beside(retained.per_s, 0),
            "receive_ms": beside(retained.receive_ms, 1),
        },
        "offline_session": {
            "messages_per_s": beside(away.per_s, 0),
            "acknowledged": away.acknowledged,
            "lost_after_kill": away.lost,
        },
    })
}

fn table(figures: &BrokerFigures) -> anyhow::Result<String> {
    let mut text = String::new();
    if !figures.has_mosquitto {
        text += "mosquitto is not installed here: only this broker is measured\n";
    }
    let ratio = |ratio: Option<f64>| ratio.map_or(String::new(), |ratio| format!("{ratio:.2}x"));
    text += "load       QoS   messages/s   of mosquitto   CPU s/100,000   of mosquitto   the load's CPU\n";
    for load in &figures.loads {
        let (rates, cpus) = load.ratio.unzip();
        writeln!(
            text,
            "{:<10} {:>3} {:>12.0} {:>14} {:>15.4} {:>14} {:>15.0}%",
            load.pattern.name(),
            load.qos,
            load.messages_per_s.ours,
            ratio(rates),
            load.cpu_s_per_100k.ours,
            ratio(cpus),
            load.load_share.ours * 100.0,
        )?;
    }
    let beside = |beside: Beside<f64>, digits: usize| {
        let theirs = beside.mosquitto.map(|theirs| format!(" (mosquitto {theirs:.digits$})"));
        format!("{:.digits$}{}", beside.ours, theirs.unwrap_or_default())
    };
    for trickle in &figures.trickles {
        writeln!(
            text,
            "{} messages/s at QoS {}: p50 {} ms, p99 {} ms, {} CPU s/100,000",
            bench::RATE,
            trickle.qos,
            beside(trickle.p50_ms, 3),
            beside(trickle.p99_ms, 3),
            beside(trickle.cpu_s_per_100k, 2),
        )?;
    }
    writeln!(text, "idle: {} MB", beside(figures.rss_idle_mb, 1))?;
    for idle in &figures.idle {
        let kb = beside(idle.kb_per_connection, 1);
        writeln!(text, "{} idle connections: {kb} KB each", idle.connections)?;
    }
    let retained = &figures.retained;
    let theirs = retained.received.mosquitto.map(|count| format!(" (mosquitto {count})"));
    writeln!(
        text,
        "{} retained topics: {} MB, {} retained/s; a subscriber of `#` got {}{} in {} ms",
        retained.topics,
        beside(retained.rss_mb, 1),
        beside(retained.per_s, 0),
        retained.received.ours,
        theirs.unwrap_or_default(),
        beside(retained.receive_ms, 0),
    )?;
    let away = &figures.away;
    writeln!(
        text,
        "QoS 1 for a session that is away: {} messages/s; {} of {} acknowledged ones are missing after a kill",
        beside(away.per_s, 0),
        away.lost,
        away.acknowledged,
    )?;
    Ok(text)
}

//! shell: `fieldpost demo`: simulated devices, a gateway and a stand-in upstream in one process, counted at the far end.
#![allow(
    clippy::disallowed_methods,
    reason = "the command looks at the clock and its surroundings"
)]

use std::env;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::ExitStatus;
use super::run::runtime;
use crate::demo::script::Script;
use crate::demo::{Options, Show, play, show_config};
use crate::model::QoS;
use crate::mqtt::Version;
use crate::service::start_logging;

/// What stands below the options in the help.
const KEYS: &str = "\
Keys of --json, one flat object; null where there is nothing to say:
  polled               readings the gateway took from its devices
  delivered            distinct readings that arrived, counted at the upstream
  lost                 polled, but not arrived by the end
  doubled              arrived again, each time counted
  unreadable           messages that should be readings and are not
  devices              devices of the gateway
  devices_online       how many of them answered in the end
  queue_peak           most messages waiting for the upstream at once
  first_delivery_ms    from the start of the program to the first reading upstream
  slowest_delivery_ms  longest way of a reading from its device to the upstream
  outage_s             how long the upstream was away
  drained_ms           from the end of the outage until all polled before had arrived
  duration_s           length of the run with the wait for the last reading
  qos                  QoS of the uplink
  cpu_s, rss_mb        processor time and memory of all of it, devices and upstream included

Exit status: 0 if something arrived, all of it, once; 1 if not; 2 if the command line is wrong.";

/// Arguments of `demo`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = KEYS)]
pub struct DemoArgs {
    /// End after this time, such as 10s; left out, run until Ctrl-C
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub run: Option<Duration>,
    /// Cut the upstream for this time in the middle of the run (without --for after 5s)
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub outage: Option<Duration>,
    /// Print nothing but a summary as JSON at the end
    #[arg(long)]
    pub json: bool,
    /// QoS towards the upstream; only 2 promises nothing lost and nothing doubled
    #[arg(long, value_name = "0|1|2", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub qos: u8,
    /// MQTT version towards the upstream
    #[arg(long, value_name = "VERSION", default_value = "5", value_parser = ["3.1.1", "5"])]
    pub mqtt: String,
    /// Print the gateway's configuration and end
    #[arg(long, conflicts_with_all = ["run", "outage", "json"])]
    pub show_config: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("longer than nothing, please".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; write 10s, 1500ms or 2m")),
    }
}

/// Runs the demo. [`ExitStatus::Done`] means something arrived at the upstream, all of it, once.
///
/// # Errors
/// Something it needs cannot be started, or standard output cannot be written to.
pub fn demo(args: &DemoArgs) -> anyhow::Result<ExitStatus> {
    let begin = Instant::now();
    let qos = QoS::try_from(args.qos).unwrap_or(QoS::ExactlyOnce);
    let version = if args.mqtt == "5" { Version::V5 } else { Version::V311 };
    if args.show_config {
        show_config(qos, version, &mut io::stdout().lock())?;
        return Ok(ExitStatus::Done);
    }
    let script = match Script::new(args.run, args.outage) {
        Ok(script) => script,
        Err(error) => {
            eprintln!("fieldpost demo: {error}; give --for more or --outage less");
            return Ok(ExitStatus::Wrong);
        }
    };
    // The table says itself what the log would.
    let level = if args.json { "warn" } else { "off" };
    let _log = start_logging(level).context("cannot start the log")?;
    let options = Options { script, qos, version };
    let summary = runtime()?.block_on(play(options, show(args), begin))?;
    let mut out = io::stdout().lock();
    let written = match args.json {
        true => writeln!(out, "{}", summary.json()),
        false => writeln!(out, "\n{summary}"),
    };
    written.context("cannot write to standard output")?;
    Ok(if summary.is_fine() { ExitStatus::Done } else { ExitStatus::Failed })
}

fn show(args: &DemoArgs) -> Show {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    // A log on the same terminal would tear the table.
    let torn = is_set("RUST_LOG") && io::stderr().is_terminal();
    let dumb = env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    if args.json {
        Show::Nothing
    } else if !io::stdout().is_terminal() || torn || dumb {
        Show::Lines
    } else {
        Show::Table { colours: !is_set("NO_COLOR") }
    }
}

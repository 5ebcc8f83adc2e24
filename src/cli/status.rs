//! shell: `fieldpost status`: how a running gateway is doing: its buses, its devices, its uplinks, its queue.
#![allow(clippy::disallowed_methods, reason = "a command reads the clock")]

use std::io::Write;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Context as _;

use super::place::Place;
use super::queue::is_closed_pipe;
use super::{ExitStatus, status_text};
use crate::config::{self, SystemSecrets};
use crate::control::{BusReport, GatewayReport, Request};
use crate::store::QueueSettings;

const NOTES: &str = "\
Keys of --json: `gateway`, `version`, `running_s`, `buses` and `queue` (as of `queue status --json`). A bus has its port, whether that \
is `open`, `since` when and the `reason` if not, `utilisation` (share of the last minute with a question under way), `per_second`, \
`asked`, `answered`, `errors` by kind, `hints` and `devices`; a device its `state` (unknown, online, silent, garbling, refusing), \
`since`, `quality` (share of the last 64 questions that were answered), `last_error`, what was `learnt`, and for each period in \
`groups` the reads that were left out (`missed`).

Exit status: 0; 1 if no gateway runs there; 2 if the command line or the configuration is wrong.";

/// Arguments of `status`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = NOTES)]
pub struct StatusArgs {
    /// The gateway's configuration file
    #[arg(short, long, value_name = "FILE", default_value = "/etc/fieldpost/fieldpost.yaml")]
    pub config: PathBuf,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// Does it.
///
/// # Errors
/// No gateway runs, it does not answer, or `out` cannot be written to.
pub fn status(args: &StatusArgs, out: &mut impl Write) -> anyhow::Result<ExitStatus> {
    let settings = match config::load(&args.config, &SystemSecrets::for_check()) {
        Ok(parsed) => parsed.settings,
        Err(complaints) => {
            eprintln!("{complaints}");
            return Ok(ExitStatus::Wrong);
        }
    };
    let QueueSettings { state_dir, runtime_dir, .. } = settings.queue;
    let place = Place { state_dir, runtime_dir };
    match show(&place, &settings.gateway.id, args.json, out) {
        // Whoever read has seen enough.
        Err(error) if is_closed_pipe(&error) => Ok(ExitStatus::Done),
        shown => shown.map(|()| ExitStatus::Done),
    }
}

fn show(place: &Place, gateway: &str, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    const OTHER_VERSION: &str = "the gateway answers in words of another version";
    let mut buses: Vec<BusReport> = Vec::new();
    let sum = place.ask_running(&Request::Status, |item| {
        buses.push(serde_json::from_str(&item).context(OTHER_VERSION)?);
        Ok(())
    })?;
    let sum: GatewayReport = serde_json::from_str(&sum).context(OTHER_VERSION)?;
    if json {
        let GatewayReport { version, running_s, queue } = sum;
        let all = serde_json::json!({
            "gateway": gateway,
            "version": version,
            "running_s": running_s,
            "buses": buses,
            "queue": queue,
        });
        writeln!(out, "{all:#}")?;
    } else {
        let now = SystemTime::now().into();
        write!(out, "{}", status_text::status(gateway, &buses, &sum, now))?;
    }
    Ok(())
}

//! shell: `fieldpost clients`: who is connected to the broker of a running gateway, whose sessions wait, and what for.
#![allow(clippy::disallowed_methods, reason = "a command reads the clock")]

use std::io::Write;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Context as _;

use super::place::Place;
use super::queue::is_closed_pipe;
use super::{ExitStatus, clients_text};
use crate::config::{self, SystemSecrets};
use crate::control::{ClientReport, ClientsReport, Request};
use crate::store::QueueSettings;

const NOTES: &str = "\
Exit status: 0; 1 if no gateway runs there, or the client is not connected; 2 if the command line or the configuration is wrong.";

/// Arguments of `clients`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = NOTES, args_conflicts_with_subcommands = false)]
pub struct ClientsArgs {
    /// The gateway's configuration file
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        default_value = "/etc/fieldpost/fieldpost.yaml"
    )]
    pub config: PathBuf,
    /// The directory of its queue, where there is no configuration file: that of `fieldpost broker --state-dir`
    #[arg(long, global = true, value_name = "DIRECTORY", conflicts_with = "config")]
    pub state_dir: Option<PathBuf>,
    /// Print them as JSON
    #[arg(long)]
    pub json: bool,
    /// What to do instead
    #[command(subcommand)]
    pub what: Option<ClientsWhat>,
}

/// What is done with a client.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum ClientsWhat {
    /// End a client's connection (0x98, administrative action); its session stays, and it may come back
    Disconnect {
        /// Its client id
        #[arg(value_name = "CLIENT_ID")]
        client_id: String,
    },
}

/// Does it.
///
/// # Errors
/// No gateway runs, it does not answer, or `out` cannot be written to.
pub fn clients(args: &ClientsArgs, out: &mut impl Write) -> anyhow::Result<ExitStatus> {
    let place = match &args.state_dir {
        Some(state_dir) => Place { state_dir: state_dir.clone(), runtime_dir: None },
        None => match config::load(&args.config, &SystemSecrets::for_check()) {
            Ok(parsed) => {
                let QueueSettings { state_dir, runtime_dir, .. } = parsed.settings.queue;
                Place { state_dir, runtime_dir }
            }
            Err(complaints) => {
                eprintln!("{complaints}");
                return Ok(ExitStatus::Wrong);
            }
        },
    };
    let done = match &args.what {
        None => list(&place, args.json, out),
        Some(ClientsWhat::Disconnect { client_id }) => disconnect(&place, client_id),
    };
    match done {
        // Whoever read has seen enough.
        Err(error) if is_closed_pipe(&error) => Ok(ExitStatus::Done),
        done => done,
    }
}

fn list(place: &Place, json: bool, out: &mut impl Write) -> anyhow::Result<ExitStatus> {
    let mut clients: Vec<ClientReport> = Vec::new();
    let sum = place.ask_running(&Request::Clients, |item| {
        clients.push(serde_json::from_str(&item).context(OTHER_VERSION)?);
        Ok(())
    })?;
    let sum: ClientsReport = serde_json::from_str(&sum).context(OTHER_VERSION)?;
    clients.sort_by(|one, other| one.client_id.cmp(&other.client_id));
    if json {
        let ClientsReport { connected, away } = sum;
        let all = serde_json::json!({ "connected": connected, "away": away, "clients": clients });
        writeln!(out, "{all:#}")?;
    } else {
        write!(out, "{}", clients_text::list(&clients, &sum, SystemTime::now().into()))?;
    }
    Ok(ExitStatus::Done)
}

const OTHER_VERSION: &str = "the gateway answers in words of another version";

fn disconnect(place: &Place, client_id: &str) -> anyhow::Result<ExitStatus> {
    place.ask_running(&Request::SendAway { client_id: client_id.to_owned() }, |_| Ok(()))?;
    Ok(ExitStatus::Done)
}

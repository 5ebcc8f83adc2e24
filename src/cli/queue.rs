//! shell: `fieldpost queue`: looks at the durable queue, hands it out, removes from it, verifies it; the same whether the
//! gateway runs or not.
#![allow(
    clippy::disallowed_methods,
    reason = "a command reads the clock, and waits for a gateway that is starting"
)]

use std::io::{self, BufRead as _, IsTerminal as _, Write};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use serde::de::DeserializeOwned;

use super::place::Place;
use super::{ExitStatus, broker, queue_text};
use crate::config::{self, Settings, SystemSecrets};
use crate::control::{
    DamageReport, ExportReport, ExportRequest, ExportedMessage, PurgeReport, PurgeRequest,
    PurgeWhat, QueueReport, Request, StoppedQueue, VerifyReport,
};
use crate::model::Timestamp;
use crate::store::{QueueSettings, StoreError};

/// How long a gateway may have the store open before it listens, or after.
const BETWEEN_MAX: Duration = Duration::from_secs(5);
/// How often that is looked at.
const BETWEEN_LOOK: Duration = Duration::from_millis(100);

/// Arguments of `queue`.
#[derive(Debug, Clone, clap::Args)]
pub struct QueueArgs {
    /// The gateway's configuration file
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        default_value = "/etc/fieldpost/fieldpost.yaml"
    )]
    pub config: PathBuf,
    /// The directory of the queue, where there is no configuration file: that of `fieldpost broker --state-dir`
    #[arg(long, global = true, value_name = "DIRECTORY", conflicts_with = "config")]
    pub state_dir: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub what: QueueWhat,
}

/// What is done with the queue.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum QueueWhat {
    /// How many messages wait for whom, since when, and whether the disk takes them
    Status {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the messages, one a line, oldest first; the queue stays as it is
    Export(ExportArgs),
    /// Remove waiting messages; what is in flight stays
    Purge(PurgeArgs),
    /// Read everything and say what is damaged
    Verify {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
}

/// Arguments of `queue export`.
#[derive(Debug, Clone, clap::Args)]
pub struct ExportArgs {
    /// Only what waits for this session: an uplink's name or a client id
    #[arg(long, value_name = "NAME")]
    pub session: Option<String>,
    /// Only topics under this filter
    #[arg(long, value_name = "FILTER")]
    pub topic: Option<String>,
    /// Only what was accepted then or later: 2026-11-21T03:10:00Z, or 2h for two hours ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<Timestamp>,
    /// Only what was accepted before
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<Timestamp>,
    /// So many messages at most
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Only the payloads, a line each: what `mosquitto_pub -l` reads
    #[arg(long)]
    pub payload: bool,
}

/// Arguments of `queue purge`.
#[derive(Debug, Clone, clap::Args)]
#[command(group = clap::ArgGroup::new("choice").required(true).multiple(true))]
pub struct PurgeArgs {
    /// What waits for this session; the session of an uplink that the configuration no longer has goes, too
    #[arg(long, value_name = "NAME", group = "choice")]
    pub session: Option<String>,
    /// Topics under this filter
    #[arg(long, value_name = "FILTER", group = "choice")]
    pub topic: Option<String>,
    /// What was accepted before: 2026-11-21T03:10:00Z, or 2h for two hours ago
    #[arg(long, value_name = "TIME", value_parser = time, group = "choice")]
    pub before: Option<Timestamp>,
    /// The session of an uplink that the configuration no longer has, and what waits for it
    #[arg(long, value_name = "NAME", group = "choice", conflicts_with_all = ["session", "topic", "before"])]
    pub uplink_gone: Option<String>,
    /// Everything that waits
    #[arg(long, group = "choice", conflicts_with_all = ["session", "topic", "before", "uplink_gone"])]
    pub all: bool,
    /// What cannot be read, as `verify` names it
    #[arg(
        long,
        group = "choice",
        conflicts_with_all = ["session", "topic", "before", "uplink_gone", "all"]
    )]
    pub damaged: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Print what was removed as JSON
    #[arg(long)]
    pub json: bool,
}

/// Does it.
///
/// # Errors
/// The queue cannot be read, or not be changed, or `out` not be written to.
pub fn queue(args: &QueueArgs, out: &mut impl Write) -> anyhow::Result<ExitStatus> {
    let settings = match &args.state_dir {
        Some(_) if matches!(args.what, QueueWhat::Purge(_)) => {
            // Else the session of one that is configured could be taken for one that is gone.
            eprintln!(
                "fieldpost: a purge must know which uplinks there are: name the configuration with -c"
            );
            return Ok(ExitStatus::Wrong);
        }
        Some(state_dir) => {
            let mut settings = broker::base()?;
            settings.queue.state_dir.clone_from(state_dir);
            settings.queue.runtime_dir = None;
            settings
        }
        None => match config::load(&args.config, &SystemSecrets::for_check()) {
            Ok(parsed) => parsed.settings,
            Err(complaints) => {
                eprintln!("{complaints}");
                return Ok(ExitStatus::Wrong);
            }
        },
    };
    let QueueSettings { state_dir, runtime_dir, .. } = settings.queue.clone();
    let place = Kept { settings, place: Place { state_dir, runtime_dir } };
    let done = match &args.what {
        QueueWhat::Status { json } => status(&place, *json, out),
        QueueWhat::Export(args) => export(&place, args, out),
        QueueWhat::Purge(args) => purge(&place, args, out),
        QueueWhat::Verify { json } => verify(&place, *json, out),
    };
    match done {
        // Whoever read has seen enough.
        Err(error) if is_closed_pipe(&error) => Ok(ExitStatus::Done),
        done => done,
    }
}

pub(super) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// A time as somebody writes it, or how long ago it was.
fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        let then = SystemTime::now().checked_sub(ago).ok_or("that is before all time")?;
        return Ok(then.into());
    }
    humantime::parse_rfc3339_weak(text).map(Timestamp::from).map_err(|_| {
        "write a UTC time like 2026-11-21T03:10:00Z, or a duration like 2h for two hours ago".into()
    })
}

/// A gateway and its queue, which can be looked at if it does not run.
#[derive(Debug)]
struct Kept {
    settings: Settings,
    place: Place,
}

impl Kept {
    fn open(&self) -> Result<StoppedQueue, StoreError> {
        let Settings { queue, uplinks, .. } = &self.settings;
        let runtime_dir = self.place.runtime_dirs().into_iter().next();
        let names = uplinks.iter().map(|uplink| uplink.name.to_string()).collect();
        let queue = QueueSettings { runtime_dir, ..queue.clone() };
        StoppedQueue::open(queue, names, SystemTime::now().into())
    }

    /// Asks the gateway, or its store if nobody listens.
    fn ask<T: DeserializeOwned>(
        &self,
        request: &Request,
        mut item: impl FnMut(String) -> anyhow::Result<()>,
    ) -> anyhow::Result<T> {
        let end = Instant::now() + BETWEEN_MAX;
        let sum = loop {
            if let Some(answers) = self.place.ask_gateway(request)? {
                break answers.each(&mut item)?;
            }
            match self.open() {
                Ok(mut queue) => {
                    break queue.answer(request, &mut item, |why| anyhow::anyhow!(why))?;
                }
                // It is about to listen, or does so no more.
                Err(StoreError::InUse { .. }) if Instant::now() < end => sleep(BETWEEN_LOOK),
                Err(StoreError::InUse { path }) => anyhow::bail!(
                    "{} is in use, but nobody answers at {}; is another `fieldpost queue` at work, or does the gateway \
                     run with another configuration, or another version? its log names its directories",
                    path.display(),
                    self.place
                        .sockets()
                        .iter()
                        .map(|s| s.display().to_string())
                        .collect::<Vec<_>>()
                        .join(", "),
                ),
                Err(error) => return Err(error.into()),
            }
        };
        serde_json::from_str(&sum).context("the gateway answers in words of another version")
    }
}

fn no_items(_: String) -> anyhow::Result<()> {
    Ok(())
}

fn status(place: &Kept, json: bool, out: &mut impl Write) -> anyhow::Result<ExitStatus> {
    let report: QueueReport = place.ask(&Request::QueueStatus, no_items)?;
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        write!(out, "{}", queue_text::status(&report, SystemTime::now().into()))?;
    }
    Ok(ExitStatus::Done)
}

fn export(place: &Kept, args: &ExportArgs, out: &mut impl Write) -> anyhow::Result<ExitStatus> {
    let request = Request::QueueExport(ExportRequest {
        session: args.session.clone(),
        topic: args.topic.clone(),
        since_ms: args.since.map(Timestamp::unix_ms),
        until_ms: args.until.map(Timestamp::unix_ms),
        limit: args.limit,
    });
    let mut out = io::BufWriter::new(out);
    let mut left_out = 0;
    let report: ExportReport = place.ask(&request, |json| {
        if !args.payload {
            return Ok(writeln!(out, "{json}")?);
        }
        let message: ExportedMessage = serde_json::from_str(&json)?;
        let payload = message.payload_bytes().context("a payload is not well written")?;
        let why = if payload.contains(&b'\n') {
            "has a newline, which would make two lines of it"
        } else if payload.is_empty() {
            "is empty, and mosquitto_pub passes over empty lines"
        } else {
            out.write_all(&payload)?;
            return Ok(out.write_all(b"\n")?);
        };
        left_out += 1;
        eprintln!(
            "fieldpost: message {} ({}) left out: its payload {why}",
            message.seq, message.topic
        );
        Ok(())
    })?;
    out.flush()?;
    if report.damaged > 0 {
        let count = report.damaged;
        eprintln!(
            "fieldpost: {count} damaged rows passed over; `fieldpost queue verify` names them"
        );
    }
    let whole = left_out == 0 && report.damaged == 0;
    Ok(if whole { ExitStatus::Done } else { ExitStatus::Failed })
}

fn purge(place: &Kept, args: &PurgeArgs, out: &mut impl Write) -> anyhow::Result<ExitStatus> {
    let what = if args.all {
        PurgeWhat::All
    } else if args.damaged {
        PurgeWhat::Damaged
    } else if let Some(name) = &args.uplink_gone {
        PurgeWhat::UplinkGone { name: name.clone() }
    } else {
        PurgeWhat::Some {
            session: args.session.clone(),
            topic: args.topic.clone(),
            before_ms: args.before.map(Timestamp::unix_ms),
        }
    };
    if !args.yes {
        let request = Request::QueuePurge(PurgeRequest { what: what.clone(), dry_run: true });
        let report: PurgeReport = place.ask(&request, no_items)?;
        eprint!("{}", queue_text::purge(&report, false));
        if !io::stdin().is_terminal() {
            eprintln!("fieldpost: nothing removed; add --yes to do it without being asked");
            return Ok(ExitStatus::Wrong);
        }
        eprint!("Remove it for good? [y/N] ");
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if !["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
            eprintln!("nothing removed");
            return Ok(ExitStatus::Failed);
        }
    }
    let request = Request::QueuePurge(PurgeRequest { what, dry_run: false });
    let report: PurgeReport = place.ask(&request, no_items)?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        write!(out, "{}", queue_text::purge(&report, true))?;
    }
    Ok(ExitStatus::Done)
}

fn verify(place: &Kept, json: bool, out: &mut impl Write) -> anyhow::Result<ExitStatus> {
    let mut damages: Vec<DamageReport> = Vec::new();
    let report: VerifyReport = place.ask(&Request::QueueVerify, |item| {
        let damage: DamageReport = serde_json::from_str(&item)?;
        if json {
            damages.push(damage);
        } else {
            write!(out, "{}", queue_text::damage(&damage))?;
        }
        Ok(())
    })?;
    if json {
        let mut all = serde_json::to_value(report)?;
        if let Some(all) = all.as_object_mut() {
            all.insert("damaged".to_owned(), serde_json::to_value(&damages)?);
        }
        writeln!(out, "{all:#}")?;
    } else {
        write!(out, "{}", queue_text::verify(&report))?;
    }
    Ok(if report.faults == 0 { ExitStatus::Done } else { ExitStatus::Failed })
}

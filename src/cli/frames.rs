//! shell: `fieldpost frames`: what passed on a bus of a running gateway, for a person, a program or Wireshark.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a command reads the clock, waits, and writes the file it is told to"
)]

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;

use super::frames_pcapng::Capture;
use super::place::Place;
use super::queue::is_closed_pipe;
use super::{ExitStatus, frames_text};
use crate::config::{self, SystemSecrets};
use crate::control::{FrameKind, FrameReport, FramesReport, Request};
use crate::field::watch::traffic::Framing;
use crate::store::QueueSettings;

const NOTES: &str = "\
Wireshark checks the CRC of Modbus RTU when it is told to: Preferences, Protocols, Modbus RTU, or \
`tshark -o mbrtu.crc_verification:TRUE -r FILE`. `--pcap - --follow | wireshark -k -i -` shows frames as they pass.

Keys of --json: `number` grows from entry to entry, `wall_us` and `mono_us` are when it began (since the Unix epoch, since the bus \
started), `kind` is sent, received, note, opened or lost, `hex` the bytes, `words` what they are, `sound` whether they are a frame \
that came over as it was sent.

Exit status: 0; 1 if no gateway runs there, or it has no such bus; 2 if the command line or the configuration is wrong.";

/// How often it is looked for more.
const LOOK: Duration = Duration::from_millis(250);
/// From this age on what came is whole.
const WHOLE_AFTER_US: u64 = 500_000;

/// Arguments of `frames`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = NOTES)]
pub struct FramesArgs {
    /// The bus, by its name in the configuration
    pub bus: String,
    /// The gateway's configuration file
    #[arg(short, long, value_name = "FILE", default_value = "/etc/fieldpost/fieldpost.yaml")]
    pub config: PathBuf,
    /// Write a capture that Wireshark opens (pcapng), `-` for standard output
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub pcap: Option<PathBuf>,
    /// Print each entry as a line of JSON
    #[arg(long)]
    pub json: bool,
    /// Go on with what passes from here on, until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
}

/// Does it.
///
/// # Errors
/// No gateway runs, it does not answer, or what it says cannot be written.
pub fn frames(args: &FramesArgs, out: &mut impl Write) -> anyhow::Result<ExitStatus> {
    let place = match config::load(&args.config, &SystemSecrets::for_check()) {
        Ok(parsed) => {
            let QueueSettings { state_dir, runtime_dir, .. } = parsed.settings.queue;
            Place { state_dir, runtime_dir }
        }
        Err(complaints) => {
            eprintln!("{complaints}");
            return Ok(ExitStatus::Wrong);
        }
    };
    let shown = match args.pcap.as_deref() {
        Some(path) if path == Path::new("-") => capture(&place, args, out),
        Some(path) => {
            let file =
                File::create(path).with_context(|| format!("cannot write {}", path.display()));
            file.and_then(|mut file| capture(&place, args, &mut file))
        }
        None => list(&place, args, out),
    };
    match shown {
        // Whoever read has seen enough.
        Err(error) if is_closed_pipe(&error) => Ok(ExitStatus::Done),
        shown => shown.map(|()| ExitStatus::Done),
    }
}

fn list(place: &Place, args: &FramesArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let mut out = io::BufWriter::new(out);
    let mut printed = None;
    each(place, args, |entries, sum, framing| {
        if !args.json && printed.is_none() {
            write!(out, "{}", frames_text::head(sum))?;
        }
        for entry in entries {
            if args.json {
                writeln!(out, "{}", serde_json::to_string(entry)?)?;
            } else {
                write!(out, "{}", frames_text::line(entry, framing, printed))?;
            }
            printed = Some(entry.wall_us);
        }
        printed = printed.or(Some(0));
        Ok(out.flush()?)
    })
}

fn capture(place: &Place, args: &FramesArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let mut capture: Option<Capture> = None;
    each(place, args, |entries, sum, framing| {
        let capture = capture.get_or_insert_with(|| Capture::new(framing, &sum.bus));
        for entry in entries {
            capture.add(entry).context(OTHER_VERSION)?;
        }
        out.write_all(&capture.take())?;
        Ok(out.flush()?)
    })
}

/// Hands on what there is, and with `--follow` what comes.
fn each(
    place: &Place,
    args: &FramesArgs,
    mut show: impl FnMut(&[FrameReport], &FramesReport, Framing) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let mut entries: Vec<FrameReport> = Vec::new();
        let request = Request::Frames { bus: args.bus.clone(), after };
        let sum = place.ask_running(&request, |item| {
            entries.push(serde_json::from_str(&item).context(OTHER_VERSION)?);
            Ok(())
        })?;
        let sum: FramesReport = serde_json::from_str(&sum).context(OTHER_VERSION)?;
        let framing = Framing::of_word(&sum.framing).context(OTHER_VERSION)?;
        if args.follow {
            // The rest of it is shown with it.
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
            let young = entries.last().filter(|last| {
                let age = now.saturating_sub(last.wall_us.into());
                last.kind == FrameKind::Received && age < WHOLE_AFTER_US.into()
            });
            if let Some(number) = young.map(|young| young.number) {
                entries.retain(|entry| entry.number != number);
            }
        }
        after = entries.last().map(|entry| entry.number).or(after);
        show(&entries, &sum, framing)?;
        if !args.follow {
            return Ok(());
        }
        sleep(LOOK);
    }
}

const OTHER_VERSION: &str = "the gateway answers in words of another version";

//! shell: `fieldpost bench powercut`: cuts the power of a gateway in memory and counts what that cost.

use std::io::Write;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Map, json};

use super::ExitStatus;
use crate::bench::{self, PowercutFigures, PowercutOptions};

const STATUS: &str = "\
Lost and doubled are broken promises. What a cut may cost with --commit-every is counted on its own
(allowed_lost, allowed_doubled).

Exit status: 0 if every promise was kept, 1 if not, 2 if the command line is wrong.";

/// Arguments of `bench powercut`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = STATUS)]
pub struct PowercutArgs {
    /// How often the power is cut
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub cuts: u64,
    /// Where chance begins; the same number gives the same run
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// How long messages wait in the staged layer, which a cut takes
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    pub commit_every: Duration,
    /// The disk says yes to fsync and does nothing, as some memory cards have it
    #[arg(long)]
    pub lying_disk: bool,
    /// Print the figures as JSON
    #[arg(long)]
    pub json: bool,
}

/// Cuts and prints. The status is 1 if a promise was broken.
pub(super) fn powercut(args: &PowercutArgs, out: &mut impl Write) -> anyhow::Result<ExitStatus> {
    let figures = bench::powercut(PowercutOptions {
        cuts: args.cuts,
        seed: args.seed.unwrap_or_else(|| fastrand::u64(..)),
        commit_every: args.commit_every,
        lying_disk: args.lying_disk,
    })?;
    let text = if args.json { as_json(&figures) } else { as_text(&figures) };
    out.write_all(text.as_bytes()).context("cannot write the figures")?;
    Ok(if figures.is_kept() { ExitStatus::Done } else { ExitStatus::Failed })
}

fn as_json(figures: &PowercutFigures) -> String {
    let by_operation: Map<_, _> =
        figures.by_operation.iter().map(|(class, cuts)| (class.to_string(), json!(cuts))).collect();
    let figures = json!({
        "cuts": figures.cuts,
        "lost": figures.lost,
        "doubled": figures.doubled,
        "unreadable": figures.unreadable,
        "allowed_lost": figures.allowed_lost,
        "allowed_doubled": figures.allowed_doubled,
        "messages": figures.messages,
        "seed": figures.seed,
        "by_operation": by_operation,
        "troubles": figures.troubles,
    });
    format!("{figures:#}\n")
}

fn as_text(figures: &PowercutFigures) -> String {
    let PowercutFigures { cuts, lost, doubled, unreadable, seed, messages, .. } = figures;
    let PowercutFigures { allowed_lost, allowed_doubled, .. } = figures;
    let mut text = format!(
        "cuts {cuts}   messages {messages}   seed {seed}\n\
         lost {lost}   doubled {doubled}   unreadable {unreadable}\n\
         within commit_every: lost {allowed_lost}, doubled {allowed_doubled}\n\
         cut after\n"
    );
    for (class, cuts) in &figures.by_operation {
        text += &format!("{cuts:>8} {class}\n");
    }
    figures.troubles.iter().fold(text, |text, trouble| text + trouble + "\n")
}

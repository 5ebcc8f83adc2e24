//! shell: `fieldpost templates`: which devices the gateway knows by name, and what it knows of one.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{ExitStatus, templates_text};
use crate::config::{self, TemplateFolder};

const NOTES: &str = "\
A device of the configuration uses one with `template: NAME`; all that a template says of a point can be said otherwise there.

Exit status: 0; 2 if a template cannot be used, or there is none of this name.";

/// Arguments of `templates`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = NOTES)]
pub struct TemplatesArgs {
    /// Show this one with its points and parameters
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// The directory of your own templates; those go before what is part of the program
    #[arg(long, value_name = "DIRECTORY", default_value = "/etc/fieldpost/templates")]
    pub dir: PathBuf,
    /// Print its file as it is, to begin one of your own with
    #[arg(long, requires = "name", conflicts_with = "json")]
    pub yaml: bool,
    /// Print them as JSON
    #[arg(long)]
    pub json: bool,
}

/// Lists the templates, or shows one, and says everything that is wrong with those that cannot be used.
///
/// # Errors
/// `out` cannot be written to.
pub fn templates(args: &TemplatesArgs, out: &mut impl Write) -> anyhow::Result<ExitStatus> {
    let folder = args.dir.display().to_string();
    let source = TemplateFolder::beside(Path::new(""));
    let (cards, wrong) = config::templates(&source, Some(&folder), args.name.as_deref());
    let text = match (&args.name, &cards[..]) {
        (_, cards) if args.json => format!("{:#}\n", templates_text::json(cards, &wrong)),
        (Some(_), [card]) if args.yaml => card.text.clone(),
        (Some(_), [card]) => templates_text::one(card),
        (Some(_), _) => String::new(),
        (None, cards) => templates_text::list(cards),
    };
    let complaints: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    let complaints = if args.json { String::new() } else { complaints.join("\n") };
    let gap = if text.is_empty() || complaints.is_empty() { "" } else { "\n" };
    write!(out, "{text}{gap}{complaints}").context("cannot write the templates")?;
    Ok(if wrong.is_empty() { ExitStatus::Done } else { ExitStatus::Wrong })
}

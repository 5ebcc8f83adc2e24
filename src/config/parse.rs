//! core: from the text of a file to settings or complaints.

use super::complaint::{Complaint, Complaints, Severity};
use super::file::File;
use super::notes::{Notes, Spot};
use super::secret::SecretSource;
use super::settings::Settings;
use super::source::{Source, Span};
use super::template::{Library, NoTemplates, TemplateSource, TemplateUse};
use super::tree;

/// Bytes a file may have: some thousand devices.
pub(super) const FILE_BYTES_MAX: usize = 4 << 20;

/// A file the program can run with.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// What the program runs on.
    pub settings: Settings,
    /// What somebody should look at all the same; warnings only.
    pub warnings: Complaints,
    /// Which templates its devices use, in the order of the file.
    pub templates: Vec<TemplateUse>,
}

/// Turns the text of a file into settings. `file` is its name in complaints; `secrets` is asked for each secret the
/// text names. The templates are those that are part of the program.
///
/// # Errors
/// Everything that is wrong with the text, warnings too, each with its place.
pub fn parse(file: &str, text: &str, secrets: &dyn SecretSource) -> Result<Parsed, Complaints> {
    parse_with(file, text, secrets, &NoTemplates)
}

/// As [`parse`], with the templates of the operator.
fn parse_with(
    file: &str,
    text: &str,
    secrets: &dyn SecretSource,
    templates: &dyn TemplateSource,
) -> Result<Parsed, Complaints> {
    if text.len() > FILE_BYTES_MAX {
        let message = format!("this file is longer than {} MiB", FILE_BYTES_MAX >> 20);
        return Err(whole_file(file, message, "look whether it is the right file"));
    }
    // Some editors begin a file with a byte order mark; it is not part of the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut notes = Notes::new(Source::new(text));
    let mut library = Library::new(templates);
    let settings = read(text, &mut library, &mut notes, secrets);
    let has_errors = notes.has_errors();
    let complaints = notes.into_complaints(file);
    match settings {
        Some(settings) if !has_errors => {
            Ok(Parsed { settings, warnings: complaints, templates: library.uses })
        }
        Some(_) | None => Err(complaints),
    }
}

fn read(
    text: &str,
    library: &mut Library<'_>,
    notes: &mut Notes<'_>,
    secrets: &dyn SecretSource,
) -> Option<Settings> {
    let Some(root) = tree::plant(text, 0, notes) else {
        if !notes.has_errors() {
            let remedy =
                "begin with `gateway: { id: pump-house }`; `config/fieldpost.yaml` shows every key";
            notes.error(&Spot::root(), "this file is empty", remedy);
        }
        return None;
    };
    let file = File::read(&root, library, notes)?;
    file.settle(secrets, notes)
}

/// As [`parse`], for bytes that may not be text at all, with the templates of the operator.
pub(super) fn parse_bytes(
    file: &str,
    bytes: &[u8],
    secrets: &dyn SecretSource,
    templates: &dyn TemplateSource,
) -> Result<Parsed, Complaints> {
    let error = match std::str::from_utf8(bytes) {
        Ok(text) => return parse_with(file, text, secrets, templates),
        Err(error) => error,
    };
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        let message = "this file is UTF-16, not UTF-8".to_owned();
        return Err(whole_file(file, message, "save the file as UTF-8 in your editor"));
    }
    let good = error.valid_up_to();
    let text = String::from_utf8_lossy(bytes);
    let mut notes = Notes::new(Source::new(&text));
    notes.source.mask_by_words();
    let end = good + char::REPLACEMENT_CHARACTER.len_utf8();
    let spot = Spot::root().at(Span { start: good, end });
    let byte = bytes.get(good).copied().unwrap_or_default();
    let message = format!("this file is not UTF-8 text: the byte {byte:#04x} stands here");
    notes.error(&spot, message, "save the file as UTF-8 in your editor");
    Err(notes.into_complaints(file))
}

/// The one complaint about a file whose text is not known.
pub(super) fn whole_file(file: &str, message: String, remedy: &str) -> Complaints {
    Complaints::new(vec![Complaint {
        severity: Severity::Error,
        file: file.to_owned(),
        line: 0,
        column: 0,
        path: String::new(),
        text: String::new(),
        message,
        remedy: remedy.to_owned(),
        excerpt: None,
    }])
}

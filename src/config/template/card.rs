//! core: the templates as they are listed: each with its points as a device has them that says nothing else.

use std::rc::Rc;
use std::sync::Arc;

use super::super::complaint::{Complaints, Severity};
use super::super::file::File;
use super::super::notes::Notes;
use super::super::secret::{SecretAnswer, SecretReference, SecretSource};
use super::super::source::Source;
use super::super::tree;
use super::library::{Library, Shelved, TemplateSource};
use super::{apply, parameter, sign};
use crate::field::{DeviceSettings, Fingerprint};

/// A template, as it is listed.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateCard {
    /// What stands behind `template:`.
    pub name: String,
    /// Maker and family.
    pub title: String,
    /// What kind of device: `energy-meter`, `inverter`, …
    pub class: String,
    /// What there is to say about it, if anything.
    pub about: Option<String>,
    /// The public document it is from.
    pub origin: TemplateOrigin,
    /// Its file; `None` for one that is part of the program.
    pub file: Option<String>,
    /// Whether the file stands in for one of this name that is part of the program.
    pub is_instead: bool,
    /// What stands in it.
    pub text: String,
    /// What a device may say under `parameters`.
    pub parameters: Vec<TemplateParameter>,
    /// What such a device answers.
    pub fingerprint: Fingerprint,
    /// A device that says nothing but `template`.
    pub device: DeviceSettings,
    /// The class of each point that has one: its name, and `voltage`, `energy`, …
    pub classes: Vec<(Arc<str>, Arc<str>)>,
}

/// The public document a template is from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TemplateOrigin {
    /// Its title.
    pub title: String,
    /// Which one of several.
    pub revision: Option<String>,
    /// Where it is to be had.
    pub url: Option<String>,
}

/// A parameter of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateParameter {
    /// Its name.
    pub name: String,
    /// What holds when a device does not say it.
    pub default: String,
    /// What it may be, in words.
    pub allowed: String,
    /// What it is.
    pub about: Option<String>,
}

/// Nothing here has a secret.
/// What complaints name where they are about the question and not about a template.
const ASKING: &str = "fieldpost templates";

struct NoSecrets;

impl SecretSource for NoSecrets {
    fn secret(&self, _reference: &SecretReference) -> SecretAnswer {
        let (message, remedy) = (String::new(), String::new());
        SecretAnswer::Absent { severity: Severity::Warning, message, remedy }
    }
}

/// The template called `name`, or all of them, sorted by name, with all that is wrong with those that are left out. A `name`
/// that nobody has is a complaint.
#[must_use]
pub fn templates(
    source: &dyn TemplateSource,
    folder: Option<&str>,
    name: Option<&str>,
) -> (Vec<TemplateCard>, Vec<Complaints>) {
    let mut all = Library::new(source);
    folder.map(Rc::from).into_iter().for_each(|folder| all.open(folder));
    let names = name.map_or_else(|| all.names(), |name| vec![name.to_owned()]);
    let (mut cards, mut wrong) = (Vec::new(), Vec::new());
    for name in names {
        match card(source, folder, &name) {
            Ok(card) => cards.push(card),
            Err(complaints) => wrong.push(complaints),
        }
    }
    (cards, wrong)
}

fn card(
    source: &dyn TemplateSource,
    folder: Option<&str>,
    name: &str,
) -> Result<TemplateCard, Complaints> {
    // The smallest file that uses it, read as any other.
    let quoted = name.replace(['"', '\\'], "?").replace(char::is_control, "?");
    let text = format!(
        "gateway: {{ id: any }}\nbuses: {{ any: {{ modbus-tcp: localhost }} }}\ndevices: {{ any: {{ bus: any, template: \"{quoted}\" }} }}\nuplinks: {{ any: {{ url: mqtt://localhost }} }}\n"
    );
    let mut library = Library::new(source);
    folder.map(Rc::from).into_iter().for_each(|folder| library.open(folder));
    let mut notes = Notes::new(Source::new(&text));
    let found = tree::plant(&text, 0, &mut notes).and_then(|root| {
        let file = File::read(&root, &mut library, &mut notes)?;
        let mut settings = file.settle(&NoSecrets, &mut notes)?;
        let device = settings.devices.pop()?;
        let shelved = library.shelved(name)?;
        Some(filled(&shelved, device, &mut notes))
    });
    match found {
        Some(card) if !notes.has_errors() => Ok(card),
        Some(_) | None => Err(notes.into_complaints(ASKING).without_text_of(ASKING)),
    }
}

fn filled(shelved: &Shelved, device: DeviceSettings, notes: &mut Notes<'_>) -> TemplateCard {
    let template = &*shelved.template;
    let values = parameter::values(&template.parameters, None, notes);
    let parameters = template.parameters.iter().map(|it| TemplateParameter {
        name: it.name.to_string(),
        default: it.default.to_string(),
        allowed: it.allowed(),
        about: it.about.as_deref().map(str::to_owned),
    });
    let classes = apply::classes(template, &values).into_iter();
    let classes =
        classes.filter_map(|(name, class)| Some((Arc::from(&*name), Arc::from(&*class?))));
    let text = |it: &Option<Rc<str>>| it.as_deref().map(str::to_owned);
    TemplateCard {
        name: template.name.to_string(),
        title: template.title.to_string(),
        class: template.class.to_string(),
        about: text(&template.about),
        origin: TemplateOrigin {
            title: template.origin.title.to_string(),
            revision: text(&template.origin.revision),
            url: text(&template.origin.url),
        },
        file: shelved.file.as_deref().map(str::to_owned),
        is_instead: shelved.is_instead,
        text: shelved.text.to_string(),
        parameters: parameters.collect(),
        fingerprint: sign::fingerprint(template, &values, notes),
        device,
        classes: classes.collect(),
    }
}

//! core: where templates are to be had: those of the operator, then those that are part of the program.

use std::collections::HashMap;
use std::rc::Rc;

use super::super::fields::{list, nearest};
use super::super::notes::{At, Notes, Spot};
use super::super::source::Span;
use super::super::tree;
use super::Template;
use super::builtin::BUILT_IN;

/// Values that all templates of a file may unfold to.
const VALUES_MAX: usize = 2_000_000;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 64;

/// What came of looking for a template of the operator's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateAnswer {
    /// There is none of this name.
    Absent,
    /// Here it is.
    Found {
        /// Its file.
        file: String,
        /// What stands in it.
        text: String,
    },
    /// There is one, and it cannot be had.
    Unreadable {
        /// Its file.
        file: String,
        /// What is wrong, in one line.
        message: String,
        /// What to do about it, in one line.
        remedy: String,
    },
}

/// Looks the operator's own templates up.
pub trait TemplateSource {
    /// Their names. `folder` is what the configuration says under `templates`.
    fn names(&self, folder: Option<&str>) -> Vec<String>;
    /// The one called `name`: letters, digits, `-`, `_` and `.`, not at the beginning.
    fn template(&self, folder: Option<&str>, name: &str) -> TemplateAnswer;
}

/// The operator has none.
#[derive(Debug, Clone, Copy)]
pub struct NoTemplates;

impl TemplateSource for NoTemplates {
    fn names(&self, _folder: Option<&str>) -> Vec<String> {
        Vec::new()
    }

    fn template(&self, _folder: Option<&str>, _name: &str) -> TemplateAnswer {
        TemplateAnswer::Absent
    }
}

/// Which template a device uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateUse {
    /// The device.
    pub device: String,
    /// The template.
    pub template: String,
    /// Its file; `None` for one that is part of the program.
    pub file: Option<String>,
    /// Whether the file stands in for one of this name that is part of the program.
    pub is_instead: bool,
}

/// The templates while a file is read.
pub(in crate::config) struct Library<'s> {
    source: &'s dyn TemplateSource,
    folder: Option<Rc<str>>,
    known: HashMap<Rc<str>, Option<Shelved>>,
    values_left: usize,
    pub(in crate::config) uses: Vec<TemplateUse>,
}

/// A template that was read.
#[derive(Debug, Clone)]
pub(super) struct Shelved {
    pub(super) template: Rc<Template>,
    /// Its file, where it is the operator's.
    pub(super) file: Option<Rc<str>>,
    /// What stands in it.
    pub(super) text: Rc<str>,
    /// Whether the program has another of this name.
    pub(super) is_instead: bool,
}

impl<'s> Library<'s> {
    pub(in crate::config) fn new(source: &'s dyn TemplateSource) -> Self {
        let known = HashMap::new();
        Self { source, folder: None, known, values_left: VALUES_MAX, uses: Vec::new() }
    }

    /// Takes what the configuration says under `templates`.
    pub(in crate::config) fn open(&mut self, folder: Rc<str>) {
        self.folder = Some(folder);
    }

    /// Every name, each once, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names = self.source.names(self.folder.as_deref());
        names.extend(BUILT_IN.iter().map(|(name, _)| (*name).to_owned()));
        names.sort();
        names.dedup();
        names
    }

    /// How many more values may be unfolded.
    pub(super) fn values_left(&mut self) -> &mut usize {
        &mut self.values_left
    }

    /// The template called `name`, which `device` uses; `None` with a complaint.
    pub(super) fn get(
        &mut self,
        name: &At<Rc<str>>,
        device: &Spot,
        notes: &mut Notes<'_>,
    ) -> Option<Shelved> {
        if let Some(known) = self.known.get(&name.value) {
            if known.is_none() {
                notes.error(
                    &name.spot,
                    format!("the template `{}` cannot be used", name.value),
                    "see what is said of it",
                );
            }
            return known.clone();
        }
        let found = self.fetch(name, notes).and_then(|(file, text)| {
            let shown = file.clone().unwrap_or_else(|| format!("{}.yaml (built in)", name.value));
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            let base = notes.source.add(&shown, text);
            let root = device.key("template", Span { start: base, end: base + text.len().min(1) });
            let Some(node) = tree::plant(text, base, notes) else {
                notes.error(
                    &name.spot,
                    format!("the template `{}` cannot be used", name.value),
                    format!("look at {shown}"),
                );
                return None;
            };
            let template = Template::read(&name.value, &node, root.at(node.span), notes)?;
            let is_other =
                |(known, built_in): &(&str, &str)| *known == &*name.value && *built_in != text;
            Some(Shelved {
                template: Rc::new(template),
                is_instead: file.is_some() && BUILT_IN.iter().any(is_other),
                file: file.as_deref().map(Rc::from),
                text: Rc::from(text),
            })
        });
        self.known.insert(Rc::clone(&name.value), found.clone());
        found
    }

    /// The operator's own goes before one of the program.
    fn fetch(&self, name: &At<Rc<str>>, notes: &mut Notes<'_>) -> Option<(Option<String>, String)> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let is_name = name.value.chars().all(is_plain)
            && name.value.len() <= NAME_BYTES_MAX
            && !name.value.starts_with('.');
        if is_name {
            match self.source.template(self.folder.as_deref(), &name.value) {
                TemplateAnswer::Found { file, text } => return Some((Some(file), text)),
                TemplateAnswer::Unreadable { file, message, remedy } => {
                    notes.error(&name.spot, format!("{file}: {message}"), remedy);
                    return None;
                }
                TemplateAnswer::Absent => {}
            }
        }
        if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == &*name.value) {
            return Some((None, (*text).to_owned()));
        }
        let names = self.names();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let shown = notes.shown(&name.spot);
        let shown = shown.trim_matches(['"', '\'']);
        let near = near(&name.value, &names);
        let remedy = if near.is_empty() {
            "`fieldpost templates` lists them".to_owned()
        } else {
            format!("did you mean {}? `fieldpost templates` lists them all", list(&near))
        };
        notes.error(&name.spot, format!("there is no template `{shown}`"), remedy);
        None
    }

    /// One that was read.
    pub(super) fn shelved(&self, name: &str) -> Option<Shelved> {
        self.known.get(name).cloned().flatten()
    }
}

/// Those that are spelt almost so, or hold what was written: `sdm630` for `eastron-sdm630`.
fn near<'c>(word: &str, names: &[&'c str]) -> Vec<&'c str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '_', ' '], "");
    let wanted = plain(word);
    let holds = |name: &&&str| {
        let name = plain(name);
        wanted.len() >= 3 && (name.contains(&wanted) || wanted.contains(&name))
    };
    let mut near: Vec<&str> = names.iter().filter(holds).copied().take(4).collect();
    if let Some(name) = nearest(word, names).filter(|name| !near.contains(name)) {
        near.insert(0, name);
    }
    near
}

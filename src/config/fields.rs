//! core: reads the keys of a group one by one: each kind of value once, each complaint of form once.

use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use super::notes::{At, Given, Notes, Spot};
use super::quantity::{self, Misread};
use super::tree::{Entry, Kind, Node};

/// A key that is planned or belongs elsewhere: its name, and what to do instead.
pub(super) type Later = (&'static str, &'static str);

/// A group of keys while it is read.
#[derive(Debug)]
pub(super) struct Fields<'n> {
    /// The whole group.
    pub(super) spot: Spot,
    entries: Vec<(&'n Entry, bool)>,
    asked: Vec<&'static str>,
}

/// One key of a group with its value.
#[derive(Debug)]
pub(super) struct Field<'n> {
    pub(super) name: Rc<str>,
    pub(super) key_spot: Spot,
    pub(super) spot: Spot,
    node: &'n Node,
}

impl<'n> Fields<'n> {
    /// Opens the group at `node`; complains when it is something else.
    pub(super) fn open(
        node: &'n Node,
        spot: Spot,
        example: &str,
        notes: &mut Notes<'_>,
    ) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            if matches!(node.kind, Kind::Broken) {
                return None;
            }
            let found = node.kind.noun();
            let name = last(&spot);
            notes.error(&spot, format!("{name} must be a group of keys, this is {found}"), example);
            return None;
        };
        let entries = entries.iter().map(|entry| (entry, false)).collect();
        Some(Self { spot, entries, asked: Vec::new() })
    }

    /// Takes the value of a key, if it is there.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Field<'n>> {
        self.asked.push(name);
        let (entry, taken) = self.entries.iter_mut().find(|(entry, _)| &*entry.key == name)?;
        *taken = true;
        Some(field(&self.spot, entry))
    }

    /// As [`Self::take`], for a group all of whose keys may be left out: without a value it is as if not there.
    pub(super) fn take_filled(&mut self, name: &'static str) -> Option<Field<'n>> {
        self.take(name).filter(|field| !matches!(field.node.kind, Kind::Null))
    }

    /// Takes a key and reads its value with `read`.
    pub(super) fn given<T>(
        &mut self,
        name: &'static str,
        notes: &mut Notes<'_>,
        read: impl FnOnce(&Field<'n>, &mut Notes<'_>) -> Option<At<T>>,
    ) -> Given<T> {
        match self.take(name) {
            None => Given::Absent,
            Some(field) => read(&field, notes).map_or(Given::Wrong, Given::Value),
        }
    }

    /// Takes every key: for a group in which the operator chooses the names.
    pub(super) fn take_all(&mut self) -> Vec<Field<'n>> {
        let spot = &self.spot;
        self.entries
            .iter_mut()
            .map(|(entry, taken)| {
                *taken = true;
                field(spot, entry)
            })
            .collect()
    }

    /// Whether a key is there, known or not.
    pub(super) fn has_any(&self, names: &[Later]) -> bool {
        self.entries.iter().any(|(entry, _)| names.iter().any(|(name, _)| *name == &*entry.key))
    }

    /// Whether a key is there that nobody has taken.
    pub(super) fn has_unknown(&self) -> bool {
        self.entries.iter().any(|(_, taken)| !taken)
    }

    /// A spot for complaints about the group as a whole: its first key, or the brackets when it is empty.
    pub(super) fn head(&self) -> Spot {
        self.entries.first().map_or(self.spot.clone(), |(entry, _)| self.spot.at(entry.key_span))
    }

    /// Complains of every key that nobody asked for. `later` are those the design has and this version has not;
    /// `instead` are words from elsewhere with the key they mean here.
    pub(super) fn finish(self, later: &[Later], instead: &[Later], notes: &mut Notes<'_>) {
        for (entry, _) in self.entries.iter().filter(|(_, taken)| !taken) {
            if notes.is_full() {
                return;
            }
            let is_secret = notes.source.is_masked(entry.key_span);
            let shown: &str = if is_secret { "***" } else { &entry.key };
            let spot = self.spot.key(shown, entry.key_span);
            if let Some((_, remedy)) = later.iter().find(|(name, _)| *name == &*entry.key) {
                notes.error(&spot, format!("`{shown}` is not in this version"), remedy);
                continue;
            }
            let meant = instead.iter().find(|(word, _)| *word == &*entry.key).map(|(_, key)| *key);
            let remedy = match meant.or_else(|| nearest(&entry.key, &self.asked)) {
                Some(key) => format!("did you mean `{key}`?"),
                None => format!("the keys known here are {}", list(&self.asked)),
            };
            notes.error(&spot, format!("`{shown}` is not a key that is known here"), remedy);
        }
    }
}

fn field<'n>(group: &Spot, entry: &'n Entry) -> Field<'n> {
    let key_spot = group.key(&entry.key, entry.key_span);
    let node = &*entry.value;
    // A value that is not there has no text to point at: its key has.
    let span = if node.span.start < node.span.end { node.span } else { entry.key_span };
    Field { name: Rc::clone(&entry.key), spot: key_spot.at(span), key_spot, node }
}

impl<'n> Field<'n> {
    /// A key that nobody wrote, with its value.
    pub(super) fn named(name: &str, spot: &Spot, node: &'n Node) -> Self {
        Self { name: Rc::from(name), key_spot: spot.clone(), spot: spot.clone(), node }
    }

    /// The same key with another value.
    pub(super) fn with<'m>(&self, node: &'m Node) -> Field<'m> {
        let (name, key_spot, spot) =
            (Rc::clone(&self.name), self.key_spot.clone(), self.spot.clone());
        Field { name, key_spot, spot, node }
    }

    /// The keys as they are written, if the value is a group.
    pub(super) fn entries(&self) -> Option<&'n [Entry]> {
        match &self.node.kind {
            Kind::Map(entries) => Some(entries),
            Kind::Scalar(_) | Kind::Null | Kind::Broken | Kind::List(_) => None,
        }
    }

    /// The value as a group of keys.
    pub(super) fn fields(&self, example: &str, notes: &mut Notes<'_>) -> Option<Fields<'n>> {
        Fields::open(self.node, self.spot.clone(), example, notes)
    }

    /// The value as a list: each item as a group of keys.
    pub(super) fn list(&self, example: &str, notes: &mut Notes<'_>) -> Option<Vec<Fields<'n>>> {
        let Kind::List(items) = &self.node.kind else {
            if self.is_broken() {
                return None;
            }
            let found = self.node.kind.noun();
            notes.error(
                &self.spot,
                format!("`{}` must be a list, this is {found}", self.name),
                example,
            );
            return None;
        };
        let items = items.iter().enumerate().filter_map(|(index, item)| {
            let spot = self.spot.item(index, item.span);
            Fields::open(item, spot, example, notes)
        });
        Some(items.collect())
    }

    /// The value as texts: one, or a list of them.
    pub(super) fn texts(&self, example: &str, notes: &mut Notes<'_>) -> Option<Vec<At<Rc<str>>>> {
        let Kind::List(items) = &self.node.kind else {
            return Some(vec![self.text(example, notes)?]);
        };
        if items.is_empty() {
            notes.error(&self.key_spot, format!("`{}` is empty", self.name), example);
            return None;
        }
        let texts = items.iter().enumerate().map(|(index, node)| {
            let spot = self.spot.item(index, node.span);
            let (name, key_spot) = (Rc::clone(&self.name), self.key_spot.clone());
            Field { name, key_spot, spot, node }.text(example, notes)
        });
        // Each that is wrong is complained about.
        texts.collect::<Vec<_>>().into_iter().collect()
    }

    /// The value as a list: each item as a single value.
    pub(super) fn text_list(
        &self,
        example: &str,
        notes: &mut Notes<'_>,
    ) -> Option<Vec<At<Rc<str>>>> {
        let Kind::List(items) = &self.node.kind else {
            if !self.is_broken() {
                let found = self.node.kind.noun();
                let message = format!("`{}` must be a list, this is {found}", self.name);
                notes.error(&self.spot, message, example);
            }
            return None;
        };
        let mut texts = Vec::new();
        for (index, node) in items.iter().enumerate() {
            let spot = self.spot.item(index, node.span);
            let item = Self { name: Rc::clone(&self.name), key_spot: spot.clone(), spot, node };
            texts.push(item.text(example, notes)?);
        }
        Some(texts)
    }

    /// Whether the value is written exactly so.
    pub(super) fn is_text(&self, text: &str) -> bool {
        matches!(&self.node.kind, Kind::Scalar(found) if **found == *text)
    }

    /// Whether the value is a list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.node.kind, Kind::List(_))
    }

    /// Whether the value is a group of keys.
    pub(super) fn is_group(&self) -> bool {
        matches!(self.node.kind, Kind::Map(_))
    }

    /// Whether the value has been complained about already.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self.node.kind, Kind::Broken)
    }

    /// Any single value as text, as it stands in the file without its quotes.
    pub(super) fn text(&self, example: &str, notes: &mut Notes<'_>) -> Option<At<Rc<str>>> {
        match &self.node.kind {
            Kind::Scalar(text) if text.trim().is_empty() => {
                notes.error(&self.spot, format!("`{}` is empty", self.name), example);
                None
            }
            Kind::Scalar(text) => Some(self.found(Rc::clone(text))),
            Kind::Broken => None,
            Kind::Null => {
                notes.error(&self.spot, format!("`{}` has no value", self.name), example);
                None
            }
            Kind::List(_) | Kind::Map(_) => {
                let found = self.node.kind.noun();
                let message = format!("`{}` must be a single value, this is {found}", self.name);
                notes.error(&self.spot, message, example);
                None
            }
        }
    }

    /// As [`Self::text`], where white space is a value like any other.
    pub(super) fn verbatim(&self, example: &str, notes: &mut Notes<'_>) -> Option<At<Rc<str>>> {
        match &self.node.kind {
            Kind::Scalar(text) if !text.is_empty() => Some(self.found(Rc::clone(text))),
            Kind::Scalar(_) | Kind::Broken | Kind::Null | Kind::List(_) | Kind::Map(_) => {
                self.text(example, notes)
            }
        }
    }

    /// A whole number within `range`.
    pub(super) fn integer<T: TryFrom<i128>>(
        &self,
        range: RangeInclusive<i128>,
        example: &str,
        notes: &mut Notes<'_>,
    ) -> Option<At<T>> {
        let text = self.text(example, notes)?;
        let shown = notes.shown(&self.spot);
        let Some(value) = quantity::integer(text.value.trim()) else {
            let message = format!("`{}` must be a whole number, this is `{shown}`", self.name);
            notes.error(&self.spot, message, example);
            return None;
        };
        let (least, most) = (range.start(), range.end());
        if !range.contains(&value) {
            let (relation, bound) = if value > *most { ("above", most) } else { ("below", least) };
            let message = format!("`{}` is {shown}, which is {relation} {bound}", self.name);
            notes.error(&self.spot, message, format!("write {least} to {most}; {example}"));
            return None;
        }
        Some(self.found(T::try_from(value).ok()?))
    }

    /// A finite number.
    pub(super) fn number(&self, notes: &mut Notes<'_>) -> Option<At<f64>> {
        let text = self.text("write a number such as `0.1`", notes)?;
        let read = quantity::number(text.value.trim());
        self.read(read, notes)
    }

    /// A duration within `range`.
    pub(super) fn duration(
        &self,
        range: RangeInclusive<Duration>,
        notes: &mut Notes<'_>,
    ) -> Option<At<Duration>> {
        let text = self.text("write a duration such as `300ms`, `1s` or `5m`", notes)?;
        let read = quantity::duration(&text.value);
        let found = self.read(read, notes)?;
        if !range.contains(&found.value) {
            let least = quantity::duration_text(*range.start());
            let most = quantity::duration_text(*range.end());
            let shown = notes.shown(&self.spot);
            let relation = if found.value > *range.end() { "longer" } else { "shorter" };
            let bound = if found.value > *range.end() { &most } else { &least };
            let message = format!("`{}` is {shown}, which is {relation} than {bound}", self.name);
            notes.error(&self.spot, message, format!("write {least} to {most}"));
            return None;
        }
        Some(found)
    }

    /// A duration of whole seconds within `range`.
    pub(super) fn seconds(
        &self,
        range: RangeInclusive<Duration>,
        notes: &mut Notes<'_>,
    ) -> Option<At<Duration>> {
        let found = self.duration(range, notes)?;
        if found.value.subsec_nanos() != 0 {
            let message = format!("`{}` must be whole seconds: MQTT counts no finer", self.name);
            let remedy = format!("write `{}s`", found.value.as_secs() + 1);
            notes.error(&self.spot, message, remedy);
            return None;
        }
        Some(found)
    }

    /// A size in bytes, at least `least`.
    pub(super) fn size_bytes(&self, least: (u64, &str), notes: &mut Notes<'_>) -> Option<At<u64>> {
        let text = self.text("write a size such as `256MiB`", notes)?;
        let read = quantity::size_bytes(&text.value);
        let found = self.read(read, notes)?;
        if found.value < least.0 {
            let shown = notes.shown(&self.spot);
            let message = format!("`{}` is {shown}, which is less than {}", self.name, least.1);
            notes.error(&self.spot, message, format!("write {} or more", least.1));
            return None;
        }
        Some(found)
    }

    /// One of a few words. `later` are those the design has and this version has not.
    pub(super) fn choice<T: Copy>(
        &self,
        choices: &[(&'static str, T)],
        later: &[Later],
        notes: &mut Notes<'_>,
    ) -> Option<At<T>> {
        let names: Vec<&'static str> = choices.iter().map(|(name, _)| *name).collect();
        let all = format!("write {}", alternatives(&names));
        let text = self.text(&all, notes)?.value;
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == &*text) {
            return Some(self.found(*choice));
        }
        let shown = notes.shown(&self.spot);
        if let Some((_, remedy)) = later.iter().find(|(name, _)| *name == &*text) {
            notes.error(
                &self.spot,
                format!("`{}: {shown}` is not in this version", self.name),
                remedy,
            );
            return None;
        }
        // One letter resembles any other.
        let near = nearest(&text, &names).filter(|_| text.len() > 1);
        let remedy = match near {
            Some(name) => format!("did you mean `{name}`? {all}"),
            None => all,
        };
        notes.error(&self.spot, format!("`{}` cannot be `{shown}`", self.name), remedy);
        None
    }

    fn read<T>(&self, read: Result<T, Misread>, notes: &mut Notes<'_>) -> Option<At<T>> {
        match read {
            Ok(value) => Some(self.found(value)),
            Err(Misread { message, remedy }) => {
                let shown = notes.shown(&self.spot);
                notes.error(&self.spot, format!("`{}: {shown}` {message}", self.name), remedy);
                None
            }
        }
    }

    fn found<T>(&self, value: T) -> At<T> {
        At { value, spot: self.spot.clone() }
    }
}

/// The candidate that is spelt almost like `word`.
pub(super) fn nearest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let folded = |text: &str| text.to_lowercase().replace('-', "_");
    let word = folded(word);
    if word.len() > 64 {
        return None;
    }
    candidates
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &folded(candidate)), *candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(word.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `a`, `b` and `c`, in the order given.
pub(super) fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// `a`, `b` or `c`.
pub(super) fn alternatives(names: &[&str]) -> String {
    match names {
        [first @ .., last] if !first.is_empty() => format!("{} or `{last}`", list(first)),
        names => list(names),
    }
}

fn last(spot: &Spot) -> String {
    match spot.path.rsplit('.').next() {
        Some("") | None => "the file".to_owned(),
        Some(key) => format!("`{key}`"),
    }
}

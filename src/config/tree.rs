//! core: the YAML of a file as a tree in which every key and every value knows its place.
//!
//! Aliases share their target instead of copying it, so what they unfold to is counted before anybody walks it.

use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle, ScanError};

use super::notes::{Notes, Spot};
use super::secret;
use super::source::{Source, Span, names_a_secret};
use super::syntax;

/// Lists and maps inside each other at most.
pub(super) const DEPTH_MAX: usize = 32;

/// Values that aliases may add to those written out.
const ALIASED_NODES_MAX: usize = 200_000;

/// A value with its place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) kind: Kind,
    /// How many values it is with every alias unfolded.
    weight: usize,
    /// How many lists and maps are inside each other, this one included.
    height: usize,
    /// Whether nothing of it had to be left out.
    is_whole: bool,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Kind {
    /// A word, number or text; without its quotes.
    Scalar(Rc<str>),
    /// Nothing: no value, `~` or `null`.
    Null,
    /// Something that has been complained about already.
    Broken,
    /// A list.
    List(Vec<Rc<Node>>),
    /// Keys and values in the order of the file, each key once.
    Map(Vec<Entry>),
}

impl Kind {
    /// What to call it in front of an operator.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Self::Scalar(_) => "a single value",
            Self::Null | Self::Broken => "nothing",
            Self::List(_) => "a list",
            Self::Map(_) => "a group of keys",
        }
    }
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Rc<str>,
    pub(super) key_span: Span,
    pub(super) value: Rc<Node>,
}

impl Node {
    /// A value that is made of others and stands for what is written at `span`.
    pub(super) fn made(span: Span, kind: Kind) -> Self {
        Self { span, kind, weight: 1, height: 0, is_whole: true }
    }

    /// How many values it is with every alias unfolded, for one that stands in a file.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }
}

/// Reads `text`, whose first byte is `base` of the source; `None` when it cannot be read as YAML or holds nothing, and
/// `notes` say why.
pub(super) fn plant(text: &str, base: usize, notes: &mut Notes<'_>) -> Option<Rc<Node>> {
    let options = granit_parser::options! {
        emit_unresolved_aliases: true,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
    };
    let mut gardener = Gardener::default();
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => {
                let span = span.byte_range().unwrap_or(0..0);
                let span = Span { start: base + span.start, end: base + span.end };
                if !gardener.handle(event, span, notes) {
                    break;
                }
            }
            Err(error) => {
                let bracket = gardener.open_bracket(notes.source.text());
                complain_of_syntax(&error, base, bracket, notes);
                return None;
            }
        }
    }
    gardener.root
}

fn complain_of_syntax(
    error: &ScanError,
    base: usize,
    bracket: Option<(char, usize)>,
    notes: &mut Notes<'_>,
) {
    notes.source.mask_by_words();
    let text = notes.source.text();
    let start = base + error.marker().byte_offset().unwrap_or(0);
    let rest = text.get(start..).unwrap_or_default();
    let word = rest.find(char::is_whitespace).unwrap_or(rest.len()).max(1);
    let spot = Spot::root().at(Span { start, end: (start + word).min(text.len()) });
    let bracket = bracket.map(|(bracket, at)| (bracket, notes.source.place(at).line));
    let (message, remedy) = syntax::words(error, bracket);
    notes.error(&spot, message, remedy);
}

/// Grows the tree out of the parser's events.
#[derive(Default)]
struct Gardener {
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    aliased: usize,
    documents: usize,
    root: Option<Rc<Node>>,
}

enum Anchored {
    Open,
    Done(Rc<Node>),
}

/// A list or map whose end has not come.
struct Open {
    span: Span,
    anchor: usize,
    children: Vec<Rc<Node>>,
    is_map: bool,
}

impl Gardener {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the parser may add events that carry no value"
    )]
    /// Takes one event; `false` ends the reading.
    fn handle(&mut self, event: Event<'_>, span: Span, notes: &mut Notes<'_>) -> bool {
        if event.tag().is_some() {
            notes.error(
                &self.road().at(span),
                "this file has no use for YAML tags (words that begin with `!`)",
                "remove the tag; put quotes around the text if the `!` belongs to it",
            );
        }
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    // Nothing from here on is read, and so nobody sees which values are secret.
                    notes.source.mask_by_words();
                    notes.error(
                        &self.road().at(span),
                        "a second document begins here",
                        "one file is one document: remove this `---` and what is not needed",
                    );
                    return false;
                }
            }
            Event::Scalar(text, style, anchor, _) => {
                let empty = matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let kind = if style == ScalarStyle::Plain && empty {
                    Kind::Null
                } else {
                    Kind::Scalar(Rc::from(&*text))
                };
                self.grown(Rc::new(Node::made(span, kind)), anchor);
            }
            Event::Alias(target) => return self.handle_alias(target, span, notes),
            Event::UnresolvedAlias(_) => {
                notes.error(
                    &self.road().at(span),
                    "a `*` mark stands for the group with the same `&` mark, and there is none above",
                    "an `&` mark must come first in the file; put quotes around a text that begins with `*`",
                );
                self.grown(Rc::new(broken(span)), 0);
            }
            Event::SequenceStart(_, anchor, _) => self.open(span, anchor, false),
            Event::MappingStart(_, anchor, _) => self.open(span, anchor, true),
            Event::SequenceEnd | Event::MappingEnd => self.close(span, notes),
            // The ends, and events that are asked for by options which are off here.
            _ => {}
        }
        true
    }

    fn handle_alias(&mut self, target: usize, span: Span, notes: &mut Notes<'_>) -> bool {
        let Some(Anchored::Done(node)) = self.anchors.get(&target) else {
            notes.error(
                &self.road().at(span),
                "this stands for the very group it is part of",
                "write out what is meant",
            );
            self.grown(Rc::new(broken(span)), 0);
            return true;
        };
        self.aliased = self.aliased.saturating_add(node.weight);
        if self.aliased > ALIASED_NODES_MAX || self.open.len() + node.height > DEPTH_MAX {
            notes.error(
                &self.road().at(span),
                "the `*` marks of this file unfold into more than a gateway can hold",
                "write out what is meant, or use `*` only for groups without `*` in them",
            );
            self.root = None;
            return false;
        }
        let node = Rc::clone(node);
        self.grown(node, 0);
        true
    }

    /// The innermost bracket that is open, and where it stands.
    fn open_bracket(&self, text: &str) -> Option<(char, usize)> {
        let start = self.open.last()?.span.start;
        let bracket = text.get(start..)?.chars().next()?;
        matches!(bracket, '{' | '[').then_some((bracket, start))
    }

    /// The road of keys to what comes next; it ends before anything that may be secret.
    fn road(&self) -> Spot {
        let mut spot = Spot::root();
        for open in &self.open {
            match open.children.last().map(|child| &child.kind) {
                Some(Kind::Scalar(key)) if open.is_map && open.children.len() % 2 == 1 => {
                    spot = spot.key(key, Span::default());
                    if names_a_secret(key) {
                        break;
                    }
                }
                _ if open.is_map => break,
                _ => spot = spot.item(open.children.len(), Span::default()),
            }
        }
        spot
    }

    fn open(&mut self, span: Span, anchor: usize, is_map: bool) {
        if anchor > 0 {
            self.anchors.insert(anchor, Anchored::Open);
        }
        self.open.push(Open { span, anchor, children: Vec::new(), is_map });
    }

    fn close(&mut self, end: Span, notes: &mut Notes<'_>) {
        let Some(open) = self.open.pop() else { return };
        let span = Span { start: open.span.start, end: end.end };
        let weight = open.children.iter().fold(1usize, |sum, c| sum.saturating_add(c.weight));
        let height = 1 + open.children.iter().map(|child| child.height).max().unwrap_or(0);
        let mut is_whole = true;
        let kind = if !open.is_map {
            Kind::List(open.children)
        } else if let Some(entries) = entries(&open.children, &self.road(), notes) {
            is_whole = entries.len() * 2 == open.children.len();
            Kind::Map(entries)
        } else {
            Kind::Broken
        };
        let node = Node { span, kind, weight, height, is_whole };
        self.grown(Rc::new(node), open.anchor);
    }

    /// A value is complete: it goes to the list or map around it.
    fn grown(&mut self, node: Rc<Node>, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, Anchored::Done(Rc::clone(&node)));
        }
        match self.open.last_mut() {
            Some(parent) => parent.children.push(node),
            None => self.root = Some(node),
        }
    }
}

fn broken(span: Span) -> Node {
    Node { span, kind: Kind::Broken, weight: 1, height: 0, is_whole: false }
}

/// Pairs keys with values, hides secrets, and complains of keys that are no text or are there twice. `None` for a group
/// that wants to merge another: what it lacks is nobody's guess.
fn entries(children: &[Rc<Node>], road: &Spot, notes: &mut Notes<'_>) -> Option<Vec<Entry>> {
    let mut is_merge = false;
    let mut entries: Vec<Entry> = Vec::new();
    let mut known: HashMap<Rc<str>, Span> = HashMap::new();
    for pair in children.chunks_exact(2) {
        let (key_node, value) = (&pair[0], &pair[1]);
        let key: Rc<str> = match &key_node.kind {
            Kind::Scalar(text) => Rc::clone(text),
            Kind::Null if key_node.span.start < key_node.span.end => {
                Rc::from(&notes.source.text()[key_node.span.start..key_node.span.end])
            }
            Kind::Broken => continue,
            Kind::Null | Kind::List(_) | Kind::Map(_) => {
                let message = format!("a key is one word, this is {}", key_node.kind.noun());
                let remedy = "write `key: value`; put quotes around a text with brackets in it";
                notes.error(&road.at(key_node.span), message, remedy);
                continue;
            }
        };
        if names_a_secret(&key) {
            mask_secret(key_node.span, value, &mut notes.source);
        }
        if &*key == "<<" {
            notes.error(
                &road.at(key_node.span),
                "`<<` does not merge here: YAML 1.2 has no merge keys",
                "give the whole group a mark, `points: &meter {…}`, and repeat it as `points: *meter`",
            );
            is_merge = true;
            continue;
        }
        if let Some(first) = known.get(&key) {
            let line = notes.source.line_words(first.start);
            notes.error(
                &road.at(key_node.span),
                format!("this key is here twice, first on {line}"),
                "keep one of the two, or give the second another name",
            );
            continue;
        }
        known.insert(Rc::clone(&key), key_node.span);
        entries.push(Entry { key, key_span: key_node.span, value: Rc::clone(value) });
    }
    (!is_merge).then_some(entries)
}

/// Hides the value of a key that names a secret, unless all it says is where the secret is to be had.
fn mask_secret(key: Span, value: &Node, source: &mut Source<'_>) {
    let is_reference = match &value.kind {
        Kind::Map(entries) => entries.iter().all(|entry| match &entry.value.kind {
            Kind::Scalar(text) => secret::is_reference(&entry.key, text),
            Kind::Null => secret::KINDS.contains(&&*entry.key),
            Kind::Broken | Kind::List(_) | Kind::Map(_) => false,
        }),
        Kind::Null => value.span.start == value.span.end,
        Kind::Broken | Kind::Scalar(_) | Kind::List(_) => false,
    };
    // An alias stands for a value further up; any other value hides together with the marks before it.
    let from = if value.span.start < key.end {
        value.span.start
    } else {
        let between = &source.text()[key.end..value.span.start];
        key.end + between.find(['&', '!', '|', '>']).unwrap_or(between.len())
    };
    if !is_reference || !value.is_whole {
        source.mask(Span { start: from, end: value.span.end });
    } else if from < value.span.start {
        source.mask(Span { start: from, end: value.span.start });
    }
}

//! core: the text of a file, and of the templates it uses: where a byte stands, what its line says, and which parts are never
//! shown.

use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;

/// A stretch of the text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Span {
    /// First byte.
    pub(super) start: usize,
    /// The byte after the last.
    pub(super) end: usize,
}

/// Line and column, both from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// One line of the file as it may be shown, and where in it the text at fault stands, in characters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Excerpt {
    pub(super) text: String,
    pub(super) caret_start: usize,
    pub(super) caret_length: usize,
}

/// What stands in place of a secret.
const MASK: &str = "***";

/// Characters of a line that are shown at most: a line longer than this is cut around the fault.
const LINE_LENGTH_MAX: usize = 120;

/// Characters of the text at fault that are repeated at most.
const TEXT_LENGTH_MAX: usize = 60;

/// The text of one file, with those of the files it uses behind it: a byte has one number in all of them.
#[derive(Debug)]
pub(super) struct Source<'t> {
    text: Cow<'t, str>,
    /// The first byte of each line.
    lines: Vec<usize>,
    /// The files behind the first.
    added: Vec<Added>,
    /// Stretches that hold a secret, or may.
    masks: Vec<Range<usize>>,
}

/// A file behind the first.
#[derive(Debug)]
struct Added {
    name: Rc<str>,
    /// Its first byte.
    start: usize,
    /// Which of all lines is its first.
    first_line: usize,
}

impl<'t> Source<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let text = Cow::Borrowed(text);
        let mut source = Self { text, lines: Vec::new(), added: Vec::new(), masks: Vec::new() };
        source.look_at(0);
        source
    }

    /// Puts another file behind those that are there, and says where its first byte stands.
    pub(super) fn add(&mut self, name: &str, text: &str) -> usize {
        let all = self.text.to_mut();
        // The end of the file before keeps a place of its own.
        all.push('\n');
        let start = all.len();
        all.push_str(text);
        self.added.push(Added { name: Rc::from(name), start, first_line: self.lines.len() });
        self.look_at(start);
        start
    }

    /// Finds the lines and the secrets of the last file, which begins at `start`.
    fn look_at(&mut self, start: usize) {
        let breaks = self.text[start..].match_indices('\n').map(|(at, _)| start + at + 1);
        let mut lines: Vec<usize> = std::iter::once(start).chain(breaks).collect();
        // The emptiness after the last line break is no line of the file.
        if lines.len() > 1 && lines.last() == Some(&self.text.len()) {
            lines.pop();
        }
        self.lines.append(&mut lines);
        self.mask_url_credentials(start);
        self.mask_private_keys(start);
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    fn file(&self, offset: usize) -> Option<&Added> {
        let behind = self.added.partition_point(|added| added.start <= offset);
        behind.checked_sub(1).and_then(|index| self.added.get(index))
    }

    /// Which file a byte stands in, 0 for the first, and its name unless it is that.
    pub(super) fn file_at(&self, offset: usize) -> (usize, Option<Rc<str>>) {
        let index = self.added.partition_point(|added| added.start <= offset);
        (index, self.file(offset).map(|added| Rc::clone(&added.name)))
    }

    /// `line 12`, and of which file unless it is the first.
    pub(super) fn line_words(&self, offset: usize) -> String {
        let line = self.place(offset).line;
        match self.file(offset) {
            None => format!("line {line}"),
            Some(added) => format!("line {line} of {}", added.name),
        }
    }

    /// Hides a stretch from everything that is shown of the file.
    pub(super) fn mask(&mut self, span: Span) {
        // The span of a block text runs up to the next key.
        let end = span.start + self.text[span.start..span.end].trim_end().len();
        if span.start < end {
            self.masks.push(span.start..end);
        }
    }

    /// Whether a stretch is hidden, wholly or in part.
    pub(super) fn is_masked(&self, span: Span) -> bool {
        self.masks.iter().any(|mask| mask.start < span.end && span.start < mask.end)
    }

    /// Hides what follows a word like `password:` anywhere in the last file: for one whose structure cannot be read.
    pub(super) fn mask_by_words(&mut self) {
        let mut from = self.added.last().map_or(0, |added| added.start);
        while from < self.text.len() {
            let end = self.text[from..].find('\n').map_or(self.text.len(), |at| from + at);
            let line = &self.text[from..end];
            let mut next = end + 1;
            if let Some(value) = secret_value(line) {
                let start = from + value;
                next = self.value_end(start, end, indent(line));
                self.masks.push(start..next.min(self.text.len()));
            }
            from = next;
        }
    }

    /// Where a value that starts at `start` may end at the latest: with its quote, or with what is indented below it.
    fn value_end(&self, start: usize, line_end: usize, key_indent: usize) -> usize {
        let rest = &self.text[start..];
        let mut end = line_end;
        if let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            let closed = rest[1..].find(quote).map_or(self.text.len(), |at| start + 1 + at);
            end = end.max(closed);
        }
        while end < self.text.len() {
            let from = end + 1;
            let Some(below) = self.text.get(from..) else { break };
            let below = below.split('\n').next().unwrap_or_default();
            if !below.trim().is_empty() && indent(below) <= key_indent {
                break;
            }
            end = from + below.len();
        }
        end
    }

    fn mask_url_credentials(&mut self, from: usize) {
        for (at, _) in self.text[from..].match_indices("://") {
            let start = from + at + 3;
            let rest = &self.text[start..];
            let end = rest.find(|c: char| c == '/' || c.is_whitespace()).unwrap_or(rest.len());
            if let Some(length) = rest[..end].rfind('@') {
                self.masks.push(start..start + length);
            }
        }
    }

    fn mask_private_keys(&mut self, from: usize) {
        for (at, begin) in self.text[from..].match_indices("-----BEGIN") {
            let at = from + at;
            let body = at + begin.len();
            let end = self.text[body..].find("-----END").map_or(self.text.len(), |end| body + end);
            self.masks.push(at..end);
        }
    }

    /// Where a byte stands; a byte after the end stands behind the last character.
    pub(super) fn place(&self, offset: usize) -> Place {
        let offset = self.clamp(offset);
        let index = self.lines.partition_point(|start| *start <= offset).max(1) - 1;
        let start = self.lines[index];
        let column = self.line(index).char_indices().take_while(|(at, _)| start + at < offset);
        let first = self.file(start).map_or(0, |added| added.first_line);
        Place { line: index + 1 - first, column: column.count() + 1 }
    }

    /// What stands there, as it may be shown: one line, cut when it is long.
    pub(super) fn text_at(&self, span: Span) -> String {
        let first_line = self.first_line(span);
        let mut shown: String = self.shown(first_line).into_iter().map(|(_, c)| c).collect();
        if shown.chars().count() > TEXT_LENGTH_MAX {
            shown = shown.chars().take(TEXT_LENGTH_MAX - 1).chain(['…']).collect();
        }
        shown
    }

    /// The line it stands on, as it may be shown, and where on that line.
    pub(super) fn excerpt(&self, span: Span) -> Excerpt {
        let span = self.first_line(span);
        let line = self.lines.partition_point(|start| *start <= span.start).max(1) - 1;
        let start = self.lines[line];
        let end = start + self.line(line).len();
        // Enough around the fault to cut from; the whole line may be the whole file.
        let near = LINE_LENGTH_MAX * 4;
        let start = self.floor(start.max(span.start.saturating_sub(near)));
        let end = self.floor(end.min(span.start + 2 * near)).max(span.start);
        let shown = self.shown(Span { start, end });
        // A fault inside a hidden stretch is shown on its mask.
        let hidden = self.masks.iter().find(|mask| mask.contains(&span.start));
        let fault = hidden.map_or(span.start, |mask| mask.start.max(start));
        let caret_start = shown.partition_point(|(at, _)| *at < fault);
        let fault_end = span.end.max(fault + 1);
        let caret_end = shown.partition_point(|(at, _)| *at < fault_end).max(caret_start + 1);
        cut(&shown, caret_start, caret_end)
    }

    /// The characters of a stretch of one line with secrets replaced, each with the byte it stands for.
    fn shown(&self, span: Span) -> Vec<(usize, char)> {
        let overlaps = |mask: &&Range<usize>| mask.start < span.end && span.start < mask.end;
        let masks: Vec<_> = self.masks.iter().filter(overlaps).collect();
        let mut shown = Vec::new();
        let mut hidden = false;
        for (at, character) in self.text[span.start..span.end].char_indices() {
            let at = span.start + at;
            if let Some(mask) = masks.iter().find(|mask| mask.contains(&at)) {
                if !hidden {
                    shown.extend(MASK.chars().map(|c| (mask.start.max(span.start), c)));
                }
                hidden = true;
                continue;
            }
            hidden = false;
            let character = match character {
                '\t' => '→',
                c if c.is_control() => '·',
                c => c,
            };
            shown.push((at, character));
        }
        shown
    }

    /// A stretch cut to the line it begins on, without spaces at its end.
    fn first_line(&self, span: Span) -> Span {
        let start = self.clamp(span.start);
        let end = self.floor(span.end.min(start + 4 * TEXT_LENGTH_MAX)).max(start);
        let text = self.text[start..end].split('\n').next().unwrap_or_default();
        Span { start, end: start + text.trim_end().len() }
    }

    /// A line without its line break.
    fn line(&self, index: usize) -> &str {
        let end = self.lines.get(index + 1).copied().unwrap_or(self.text.len());
        self.text[self.lines[index]..end].trim_end_matches(['\n', '\r'])
    }

    /// The nearest byte that starts a character of a line, or stands right behind the last one of a line.
    fn clamp(&self, offset: usize) -> usize {
        let offset = self.floor(offset);
        let index = self.lines.partition_point(|start| *start <= offset).max(1) - 1;
        offset.min(self.lines[index] + self.line(index).len())
    }

    fn floor(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

/// Whether a key names something secret, also when it is misspelt.
pub(super) fn names_a_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    ["password", "passwd", "passphrase", "secret"].iter().any(|word| key.contains(word))
        || key.split(|c: char| !c.is_alphanumeric()).any(|word| {
            matches!(word, "pass" | "pw" | "pwd" | "token")
                || strsim::damerau_levenshtein(word, "password") <= 2
        })
}

/// Where the value after a word like `password:` begins on this line.
fn secret_value(line: &str) -> Option<usize> {
    let (colon, _) = line.match_indices(':').find(|(at, _)| {
        let before = line[..*at].trim_end_matches([' ', '"', '\'']);
        let word = before.rsplit([' ', ',', '{', '"', '\'']).next().unwrap_or_default();
        names_a_secret(word)
    })?;
    let value = &line[colon + 1..];
    Some(colon + 1 + value.len() - value.trim_start().len())
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Cuts a long line around the fault.
fn cut(shown: &[(usize, char)], caret_start: usize, caret_end: usize) -> Excerpt {
    let mut caret_length = caret_end - caret_start;
    if shown.len() <= LINE_LENGTH_MAX {
        let text = shown.iter().map(|(_, c)| c).collect();
        return Excerpt { text, caret_start, caret_length };
    }
    let start = caret_start.saturating_sub(LINE_LENGTH_MAX / 3);
    let end = (start + LINE_LENGTH_MAX).min(shown.len());
    let mut text: String = shown[start..end].iter().map(|(_, c)| c).collect();
    caret_length = caret_length.min((end.max(caret_start + 1)) - caret_start);
    let mut caret = caret_start - start;
    if start > 0 {
        text.insert(0, '…');
        caret += 1;
    }
    if end < shown.len() {
        text.push('…');
    }
    Excerpt { text, caret_start: caret, caret_length }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_end_where_people_see_them_end() {
        let source = Source::new("é: 1\r\nb: °C x\n");
        assert_eq!(source.place(0), Place { line: 1, column: 1 });
        assert_eq!(source.place(4), Place { line: 1, column: 4 });
        assert_eq!(source.place(13), Place { line: 2, column: 6 });
        assert_eq!(source.place(999), Place { line: 2, column: 8 });
        assert_eq!(Source::new("").place(5), Place { line: 1, column: 1 });
    }

    #[test]
    fn lines_of_a_file_behind_the_first_count_from_its_own_beginning() {
        let mut source = Source::new("a: 1\nb: 2");
        let start = source.add("meter.yaml", "name: meter\ntitle: mqtt://a:b@c\n");
        assert_eq!(source.place(9), Place { line: 2, column: 5 });
        assert_eq!(source.line_words(5), "line 2");
        assert_eq!(source.place(start), Place { line: 1, column: 1 });
        let title = start + 12;
        assert_eq!(source.line_words(title), "line 2 of meter.yaml");
        assert_eq!(source.file_at(title), (1, Some(Rc::from("meter.yaml"))));
        assert_eq!(
            source.excerpt(Span { start: title, end: title + 5 }).text,
            "title: mqtt://***@c"
        );
    }

    #[test]
    fn a_hidden_stretch_shows_neither_its_text_nor_its_length() {
        let text = "a: { password: hunter2, qos: 9 }";
        let mut source = Source::new(text);
        source.mask(Span { start: 15, end: 22 });
        let excerpt = source.excerpt(Span { start: 29, end: 30 });
        assert_eq!(excerpt.text, "a: { password: ***, qos: 9 }");
        assert_eq!(&excerpt.text[excerpt.caret_start..excerpt.caret_start + 1], "9");
        assert_eq!(source.text_at(Span { start: 15, end: 22 }), "***");
        assert_eq!(source.text_at(Span { start: 17, end: 20 }), "***");
    }

    #[test]
    fn a_password_in_a_url_is_hidden_wherever_it_stands() {
        let source = Source::new("# mqtt://me:hunter2@host:1 and\nurl: mqtt://a:b@c@h/x");
        assert_eq!(source.excerpt(Span::default()).text, "# mqtt://***@host:1 and");
        assert_eq!(source.excerpt(Span { start: 31, end: 34 }).text, "url: mqtt://***@h/x");
    }

    #[test]
    fn in_a_file_that_cannot_be_read_whatever_follows_a_secret_word_is_hidden() {
        for text in [
            "a:\n  pasword: hunter2\n  b: [",
            "a:\n  password: |\n    hunter2\n  b: [",
            "a:\n  password: \"x\nhunter2\n  b: [",
            "a: {user: x, \"password\" : hunter2, b: [",
        ] {
            let mut source = Source::new(text);
            source.mask_by_words();
            for line in 0..source.lines.len() {
                let start = source.lines[line];
                let shown = source.excerpt(Span { start, end: start }).text;
                assert!(!shown.contains("hunter2"), "{shown}");
            }
        }
    }

    #[test]
    fn a_very_long_line_is_cut_around_the_fault() {
        let text = format!("{}FAULT{}", "x".repeat(5_000), "y".repeat(5_000));
        let excerpt = Source::new(&text).excerpt(Span { start: 5_000, end: 5_005 });
        let caret: String =
            excerpt.text.chars().skip(excerpt.caret_start).take(excerpt.caret_length).collect();
        assert_eq!(caret, "FAULT");
        assert!(excerpt.text.chars().count() < 130);
    }
}

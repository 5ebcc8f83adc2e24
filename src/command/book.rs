//! core: which requests were taken before, so that none is written twice, and which of them nobody has answered.

use std::collections::{HashSet, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// Requests that are remembered; the oldest are forgotten first.
pub const REQUESTS_MAX: usize = 4096;

/// What makes two messages one request: a packet that is sent again, or an id that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(u64);

impl Key {
    /// A key of these parts in this order. It is the same in every version of the program.
    #[must_use]
    pub fn new(parts: &[&[u8]]) -> Self {
        // FNV-1a with the length of each part before it.
        let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let part = |hash: u64, part: &&[u8]| {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes();
            length.iter().chain(*part).fold(hash, |hash, byte| fold(hash, *byte))
        };
        Self(parts.iter().fold(0xcbf2_9ce4_8422_2325, part))
    }
}

/// One line of the book.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// This waits for its turn. Its sender believes that it was taken.
    Waiting(Begun),
    /// This is about to be sent to a device.
    Begun(Begun),
    /// It is answered.
    Answered(Key),
}

/// A request that is about to be sent to a device, and where its answer goes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Begun {
    /// What it is told by; the first is its own.
    pub keys: Vec<Key>,
    /// Where it was published.
    pub topic: String,
    /// What the sender knows it by.
    pub id: Option<Json>,
    /// Where the sender wants the answer as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
    /// What the sender tells the answer by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<Vec<u8>>,
}

/// The requests that were taken.
#[derive(Debug, Default)]
pub struct Book {
    taken: HashSet<Key>,
    order: VecDeque<Key>,
    /// Taken, not begun and not answered.
    waiting: Vec<Begun>,
    /// Begun and not answered.
    open: Vec<Begun>,
}

impl Book {
    /// Takes up what a start found.
    #[must_use]
    pub fn new(lines: impl IntoIterator<Item = Line>) -> Self {
        let mut book = Self::default();
        lines.into_iter().for_each(|line| book.note(&line));
        book
    }

    /// Takes a line that stands in the file.
    pub fn note(&mut self, line: &Line) {
        match line {
            // Whether another may be taken under its keys is not for the next start: nothing of it was sent.
            Line::Waiting(begun) => self.waiting.push(begun.clone()),
            Line::Begun(begun) => {
                self.waiting.retain(|it| it.keys.first() != begun.keys.first());
                begun.keys.iter().for_each(|key| _ = self.insert(*key));
                self.open.push(begun.clone());
            }
            Line::Answered(key) => {
                self.waiting.retain(|it| it.keys.first() != Some(key));
                self.open.retain(|it| it.keys.first() != Some(key));
            }
        }
    }

    /// Takes a request with its keys; `false` if one was taken before under a key that is to be unique.
    pub fn take(&mut self, keys: &[Key], unique: &[Key]) -> bool {
        if unique.iter().any(|key| self.taken.contains(key)) {
            return false;
        }
        keys.iter().for_each(|key| _ = self.insert(*key));
        true
    }

    fn insert(&mut self, key: Key) -> bool {
        if self.order.len() >= REQUESTS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.taken.remove(&oldest);
        }
        let is_new = self.taken.insert(key);
        if is_new {
            self.order.push_back(key);
        }
        is_new
    }

    /// Nothing of a request was sent: it may come again.
    pub fn release(&mut self, keys: &[Key]) {
        keys.iter().for_each(|key| _ = self.taken.remove(key));
        self.order.retain(|key| !keys.contains(key));
    }

    /// Requests that were taken, of which nothing was sent and that nobody has answered.
    #[must_use]
    pub fn waiting(&self) -> &[Begun] {
        &self.waiting
    }

    /// Requests that were begun and that nobody has answered.
    #[must_use]
    pub fn open(&self) -> &[Begun] {
        &self.open
    }

    /// The shortest lines that say the same.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let unanswered = || self.open.iter().chain(&self.waiting);
        let is_open = |key: &Key| unanswered().any(|begun| begun.keys.contains(key));
        let keys: Vec<Key> = self.order.iter().copied().filter(|key| !is_open(key)).collect();
        let mut lines = Vec::new();
        for keys in keys.chunks(64) {
            lines.push(Line::Begun(Begun { keys: keys.to_vec(), ..Begun::default() }));
            lines.extend(keys.first().map(|key| Line::Answered(*key)));
        }
        lines.extend(self.waiting.iter().cloned().map(Line::Waiting));
        lines.extend(self.open.iter().cloned().map(Line::Begun));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new(&[name.as_bytes()])
    }

    fn take(book: &mut Book, names: &[&str]) -> bool {
        let keys: Vec<Key> = names.iter().map(|name| key(name)).collect();
        book.take(&keys, &keys)
    }

    fn request(name: &str) -> Begun {
        Begun { keys: vec![key(name)], topic: name.to_owned(), ..Begun::default() }
    }

    fn begun(name: &str) -> Line {
        Line::Begun(request(name))
    }

    #[test]
    fn parts_make_a_key_each_by_itself() {
        assert_ne!(Key::new(&[b"ab", b"c"]), Key::new(&[b"a", b"bc"]));
        assert_eq!(Key::new(&[b"ab", b"c"]), Key::new(&[b"ab", b"c"]));
    }

    #[test]
    fn a_request_is_taken_once_unless_nothing_of_it_was_sent() {
        let mut book = Book::default();
        assert!(take(&mut book, &["packet", "id"]));
        assert!(!take(&mut book, &["other", "id"]));
        assert!(take(&mut book, &["other"]));
        book.release(&[key("packet"), key("id")]);
        assert!(take(&mut book, &["id"]));
    }

    #[test]
    fn what_was_begun_and_not_answered_is_found_after_a_start() {
        let lines = [begun("a"), begun("b"), Line::Answered(key("a"))];
        let book = Book::new(lines);
        assert_eq!(book.open().iter().map(|it| &*it.topic).collect::<Vec<_>>(), ["b"]);
        let mut again = Book::new(book.lines());
        assert_eq!(again.open(), book.open());
        assert!(!take(&mut again, &["a"]) && !take(&mut again, &["b"]));
    }

    #[test]
    fn what_waited_and_was_not_sent_is_found_after_a_start_and_may_come_again() {
        let waiting = |name: &str| Line::Waiting(request(name));
        let lines =
            [waiting("a"), waiting("b"), begun("b"), waiting("c"), Line::Answered(key("c"))];
        let book = Book::new(lines);
        assert_eq!((book.waiting(), book.open()), (&[request("a")][..], &[request("b")][..]));
        let mut again = Book::new(book.lines());
        assert_eq!((again.waiting(), again.open()), (book.waiting(), book.open()));
        assert!(take(&mut again, &["a"]) && !take(&mut again, &["b"]));
    }

    #[test]
    fn the_book_has_an_end() {
        let mut book = Book::default();
        for number in 0..REQUESTS_MAX * 2 {
            assert!(take(&mut book, &[&number.to_string()]));
        }
        assert_eq!((book.taken.len(), book.order.len()), (REQUESTS_MAX, REQUESTS_MAX));
        assert!(book.lines().len() <= REQUESTS_MAX / 32);
    }
}

//! core: log entries that wait for a writer, at most so many, and the count of those that found no room.

use std::collections::VecDeque;

use super::entry::Entry;

/// A bounded queue of log entries that drops the youngest when it is full and says so, in its place, afterwards.
#[derive(Debug)]
pub(super) struct Backlog {
    entries: VecDeque<Entry>,
    entries_max: usize,
    dropped: u64,
}

impl Backlog {
    /// An empty backlog with room for `entries_max` entries.
    pub(super) fn new(entries_max: usize) -> Self {
        Self { entries: VecDeque::new(), entries_max, dropped: 0 }
    }

    /// Takes `entry` in, behind a word on what was dropped before it. Returns false if there was no room for it.
    pub(super) fn push(&mut self, entry: Entry) -> bool {
        if self.entries.len() >= self.entries_max {
            self.dropped += 1;
            return false;
        }
        if let Some(report) = self.take_report() {
            self.entries.push_back(report);
        }
        self.entries.push_back(entry);
        true
    }

    /// The oldest entry; when none is left, a word on what was dropped since.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        self.entries.pop_front().or_else(|| self.take_report())
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.dropped == 0
    }

    fn take_report(&mut self) -> Option<Entry> {
        let count = std::mem::take(&mut self.dropped);
        (count > 0).then(|| Entry::dropped(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(message: &str) -> Entry {
        Entry { message: message.to_owned(), ..Entry::dropped(0) }
    }

    fn drain(backlog: &mut Backlog) -> Vec<String> {
        std::iter::from_fn(|| backlog.pop()).map(|e| e.text()).collect()
    }

    #[test]
    fn what_finds_no_room_is_counted_and_told_where_it_is_missing() {
        let mut backlog = Backlog::new(2);
        assert!(backlog.push(entry("a")) && backlog.push(entry("b")));
        assert!(!backlog.push(entry("lost")) && !backlog.push(entry("lost too")));
        assert_eq!(backlog.pop().map(|e| e.message).as_deref(), Some("a"));
        assert!(backlog.push(entry("c")));
        let left = drain(&mut backlog);
        assert!(left[0].starts_with("b"), "{left:?}");
        assert!(left[1].starts_with("log entries were dropped") && left[1].ends_with("count=2"));
        assert!(left[2].starts_with("c"), "{left:?}");
        assert!(backlog.is_empty());
    }

    #[test]
    fn a_loss_at_the_end_is_told_though_nothing_follows() {
        let mut backlog = Backlog::new(1);
        backlog.push(entry("a"));
        backlog.push(entry("lost"));
        assert!(!backlog.is_empty());
        let left = drain(&mut backlog);
        assert_eq!(left.len(), 2);
        assert!(left[1].ends_with("count=1"), "{left:?}");
    }
}

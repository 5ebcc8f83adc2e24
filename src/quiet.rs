//! core: keeps what others can provoke from filling the log: of each kind and source a few lines a minute are said, the
//! rest is counted and told afterwards.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// How long a burst counts.
const WINDOW: Duration = Duration::from_secs(60);
/// Sources that are kept apart at most; those of more at a time are not said.
const SOURCES_MAX: usize = 1024;

/// Lines about many sources, each of which has the same bound.
#[derive(Debug)]
pub struct Quiet<K> {
    burst: u32,
    sources: HashMap<K, Source>,
    /// No window of a source that has something unsaid is over before.
    over_from: Option<Instant>,
}

#[derive(Debug)]
struct Source {
    until: Instant,
    said: u32,
    unsaid: u64,
}

impl<K: Clone + Eq + Hash> Quiet<K> {
    /// At most `burst` lines a minute from each source.
    #[must_use]
    pub fn new(burst: u32) -> Self {
        Self { burst, sources: HashMap::new(), over_from: None }
    }

    /// Something happened: `Some` if it is to be said, with how often it happened unsaid before.
    pub fn handle(&mut self, source: &K, now: Instant) -> Option<u64> {
        let is_known = self.sources.contains_key(source);
        if !is_known && self.sources.len() >= SOURCES_MAX {
            self.sources.retain(|_, source| now < source.until || source.unsaid > 0);
            if self.sources.len() >= SOURCES_MAX {
                return None;
            }
        }
        let new = Source { until: now + WINDOW, said: 0, unsaid: 0 };
        let source = self.sources.entry(source.clone()).or_insert(new);
        if now >= source.until {
            (source.until, source.said) = (now + WINDOW, 0);
        }
        if source.said < self.burst {
            source.said += 1;
            return Some(std::mem::take(&mut source.unsaid));
        }
        source.unsaid += 1;
        self.over_from = Some(self.over_from.map_or(source.until, |at| at.min(source.until)));
        None
    }

    /// Sources whose minute is over and of which something was left unsaid: how much.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<(K, u64)> {
        if self.over_from.is_none_or(|at| now < at) {
            return Vec::new();
        }
        let mut over = Vec::new();
        self.sources.retain(|key, source| {
            let is_over = now >= source.until;
            if is_over && source.unsaid > 0 {
                over.push((key.clone(), source.unsaid));
            }
            !is_over
        });
        let unsaid = self.sources.values().filter(|source| source.unsaid > 0);
        self.over_from = unsaid.map(|source| source.until).min();
        over
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.over_from
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_said_and_the_rest_of_the_minute_counted() {
        let (mut quiet, now) = (Quiet::new(2), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(quiet.handle(&"a", at(0)), Some(0));
        assert_eq!(quiet.handle(&"a", at(1)), Some(0));
        assert_eq!(quiet.handle(&"a", at(2)), None);
        assert_eq!(quiet.handle(&"b", at(2)), Some(0), "others are counted by themselves");
        assert_eq!(quiet.handle(&"a", at(59)), None);
        assert_eq!(quiet.handle(&"a", at(60)), Some(2));
        assert_eq!(quiet.handle(&"a", at(61)), Some(0));
    }

    #[test]
    fn what_was_left_unsaid_is_told_when_the_minute_is_over() {
        let (mut quiet, now) = (Quiet::new(1), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        quiet.handle(&"calm", at(0));
        assert_eq!(quiet.poll_timeout(), None);
        (0..5).for_each(|second| _ = quiet.handle(&"a", at(second)));
        (10..12).for_each(|second| _ = quiet.handle(&"b", at(second)));
        assert_eq!(quiet.handle_timeout(at(59)), []);
        assert_eq!(quiet.poll_timeout(), Some(at(60)));
        assert_eq!(quiet.handle_timeout(at(60)), [("a", 4)]);
        assert_eq!(quiet.poll_timeout(), Some(at(70)));
        assert_eq!(quiet.handle_timeout(at(70)), [("b", 1)]);
        assert_eq!((quiet.poll_timeout(), quiet.sources.len()), (None, 0));
    }

    #[test]
    fn the_sources_remembered_are_bounded() {
        let (mut quiet, now) = (Quiet::new(1), Instant::now());
        let said = (0..5000).filter(|source| quiet.handle(source, now).is_some()).count();
        assert_eq!((said, quiet.sources.len()), (SOURCES_MAX, SOURCES_MAX));
        assert!(quiet.handle(&9999, now + WINDOW).is_some());
    }
}

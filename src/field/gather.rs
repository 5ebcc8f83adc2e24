//! core: the readings of one poll that go out together, until it is over.

use crate::model::Reading;

/// What of some values goes out, and how.
#[derive(Debug, Default, PartialEq)]
pub(super) struct News {
    /// Each by itself, at once.
    pub(super) own: Vec<Reading>,
    /// Of an earlier poll, kept back until it was known that they are news; together.
    pub(super) before: Vec<Reading>,
    /// Together.
    pub(super) together: Vec<Reading>,
}

/// The readings of polls that are not over: of one device, each poll by the number of its group.
#[derive(Debug, Default)]
pub(super) struct Gather {
    polls: Vec<(usize, News)>,
}

impl Gather {
    /// Keeps what goes out together when the poll of `group` is over. Of two readings of a point in one poll the later one
    /// goes out; only those of points that are made of others, of which there are `made` at the end, can come twice.
    pub(super) fn handle(&mut self, group: usize, news: News, made: usize) {
        if news.before.is_empty() && news.together.is_empty() {
            return;
        }
        let Some((_, kept)) = self.polls.iter_mut().find(|(of, _)| *of == group) else {
            self.polls.push((group, news));
            return;
        };
        kept.before.extend(news.before);
        let first_made = news.together.len().saturating_sub(made);
        for (index, reading) in news.together.into_iter().enumerate() {
            let is_same = |it: &Reading| it.point == reading.point;
            if index >= first_made
                && let Some(at) = kept.together.iter().position(is_same)
            {
                kept.together.remove(at);
            }
            kept.together.push(reading);
        }
    }

    /// What the poll of `group` has brought; it is over.
    pub(super) fn take(&mut self, group: usize) -> Option<News> {
        let at = self.polls.iter().position(|(of, _)| *of == group)?;
        Some(self.polls.swap_remove(at).1)
    }

    /// What the polls that are not over have brought.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = News> + use<> {
        std::mem::take(&mut self.polls).into_iter().map(|(_, news)| news)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::model::{Moment, PointName, Quality, Timestamp, Value};

    fn reading(point: &str, value: i64) -> Reading {
        #[allow(clippy::disallowed_methods, reason = "a test needs some instant")]
        let taken = Moment { mono: Instant::now(), wall: Timestamp::default(), boot_ms: 0 };
        Reading {
            point: PointName { device: "d".into(), point: point.into() },
            value: Some(Value::Int(value)),
            unit: None,
            quality: Quality::Good,
            taken,
        }
    }

    fn news(before: &[(&str, i64)], together: &[(&str, i64)]) -> News {
        let all = |of: &[(&str, i64)]| of.iter().map(|(point, it)| reading(point, *it)).collect();
        News { own: Vec::new(), before: all(before), together: all(together) }
    }

    fn told(news: Option<News>) -> Vec<String> {
        let News { own, before, together } = news.expect("something came");
        assert!(own.is_empty());
        let all = before.iter().chain(&together);
        let value = |it: &Reading| it.value.as_ref().map(ToString::to_string).unwrap_or_default();
        all.map(|it| format!("{}={}", it.point.point, value(it))).collect()
    }

    #[test]
    fn each_poll_has_its_own_and_of_a_made_point_the_latest() {
        let mut gather = Gather::default();
        gather.handle(1, news(&[("a", 0)], &[("a", 1), ("sum", 5)]), 1);
        gather.handle(2, news(&[], &[("slow", 7)]), 0);
        gather.handle(1, news(&[], &[("b", 2), ("sum", 6)]), 1);
        gather.handle(3, news(&[], &[]), 0);
        assert_eq!(told(gather.take(1)), ["a=0", "a=1", "b=2", "sum=6"]);
        assert_eq!(gather.take(1), None);
        assert_eq!(gather.take(3), None);
        assert_eq!(gather.take_all().count(), 1);
        assert_eq!(gather.take(2), None);
    }
}

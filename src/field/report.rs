//! core: whether what was read of a point is news.

use std::time::Duration;

use super::{Change, ReportSettings};
use crate::model::{Moment, Quality, Value};

/// A value (if there is one), its quality and when it was taken.
pub(super) type Taken = (Option<Value>, Quality, Moment);

/// Which readings of one point are news.
#[derive(Debug)]
pub(super) struct Report {
    settings: ReportSettings,
    /// How often the point is read: what is due between two reads goes with the nearer one.
    every: Duration,
    told: Option<Taken>,
    /// The last reading, if it was kept back.
    held: Option<Taken>,
}

impl Report {
    pub(super) fn new(settings: ReportSettings, every: Duration) -> Self {
        Self { settings, every, told: None, held: None }
    }

    /// Takes a reading; returns whether it is news, and the one before it where that must go first.
    pub(super) fn handle(&mut self, reading: &Taken) -> (Option<Taken>, bool) {
        if !self.is_news(reading) {
            if self.settings.before_jump {
                self.held = Some(reading.clone());
            }
            return (None, false);
        }
        self.told = Some(reading.clone());
        (self.held.take(), true)
    }

    fn is_news(&self, (value, quality, taken): &Taken) -> bool {
        let Some((told, told_quality, told_at)) = &self.told else { return true };
        if quality.word() != told_quality.word() {
            return true;
        }
        let since = taken.mono.saturating_duration_since(told_at.mono) + self.every / 2;
        if self.settings.at_least.is_some_and(|at_least| since >= at_least) {
            return true;
        }
        if self.settings.at_most.is_some_and(|at_most| since < at_most) {
            return false;
        }
        quality != told_quality || has_changed(self.settings.change, told.as_ref(), value.as_ref())
    }
}

fn has_changed(change: Change, told: Option<&Value>, value: Option<&Value>) -> bool {
    if change == Change::None {
        return true;
    }
    let distance = match (told, value) {
        (Some(told), Some(value)) => distance(told, value),
        _ => None,
    };
    let Some((distance, told)) = distance else { return told != value };
    let least = match change {
        Change::None => 0.0,
        Change::Absolute(least) => least,
        Change::Percent(share) => told.abs() * share / 100.0,
    };
    // 21.6 is less than 0.2 above 21.4 by one part in many: what calculation loses shall not count.
    distance > 0.0 && distance * (1.0 + 1e-9) >= least
}

/// How far two numbers are from each other, and the first of them; `None` where one is none.
fn distance(from: &Value, to: &Value) -> Option<(f64, f64)> {
    match (whole(from), whole(to)) {
        // Exact also beyond the digits of a float.
        (Some(from), Some(to)) => Some((from.abs_diff(to) as f64, from as f64)),
        _ => {
            let (from, to) = (number(from)?, number(to)?);
            Some(((to - from).abs(), from))
        }
    }
}

fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Int(int) => Some((*int).into()),
        Value::UInt(int) => Some((*int).into()),
        Value::Bool(_) | Value::Float { .. } | Value::Text(_) | Value::List(_) => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Float { value, .. } => Some(*value),
        Value::Int(_) | Value::UInt(_) => whole(value).map(|int| int as f64),
        Value::Bool(_) | Value::Text(_) | Value::List(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;
    use crate::model::Timestamp;

    const EVERY: Duration = Duration::from_secs(1);
    const ON_CHANGE: ReportSettings = ReportSettings {
        change: Change::Absolute(0.0),
        at_least: None,
        at_most: None,
        before_jump: false,
    };

    /// A report that is told values, one a poll, at times counted from its start.
    struct Told {
        report: Report,
        start: Instant,
    }

    impl Told {
        #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
        fn new(settings: ReportSettings) -> Self {
            Self { report: Report::new(settings, EVERY), start: Instant::now() }
        }

        /// The values that are news at `ms`, in their order.
        fn at(&mut self, ms: u64, value: Option<Value>, quality: Quality) -> Vec<String> {
            let mono = self.start + Duration::from_millis(ms);
            let taken = Moment { mono, wall: Timestamp::from_unix_ms(ms), boot_ms: ms };
            let reading = (value, quality, taken);
            let (before, is_news) = self.report.handle(&reading);
            let news = before.into_iter().chain(is_news.then_some(reading));
            let shown = |(value, quality, taken): Taken| {
                let value = value.map_or("-".to_owned(), |value| value.to_string());
                let word = if quality == Quality::Good { "" } else { quality.word() };
                format!("{value}{word}@{}", taken.boot_ms)
            };
            news.map(shown).collect()
        }

        fn good(&mut self, ms: u64, value: f64) -> Vec<String> {
            self.at(ms, Some(Value::Float { value, decimals: None }), Quality::Good)
        }
    }

    #[test]
    fn a_value_is_news_once_it_is_far_enough_from_the_last_that_was() {
        let settings = ReportSettings { change: Change::Absolute(0.2), ..ON_CHANGE };
        let mut told = Told::new(settings);
        assert_eq!(told.good(0, 21.4), ["21.4@0"]);
        assert!(told.good(1_000, 21.5).is_empty());
        assert_eq!(told.good(2_000, 21.6), ["21.6@2000"], "0.2 further, as people count");
        assert!(told.good(3_000, 21.5).is_empty(), "small steps are counted from what was told");
        assert_eq!(told.good(4_000, 21.4), ["21.4@4000"]);
    }

    #[test]
    fn per_cent_are_of_the_last_value_that_was_news() {
        let settings = ReportSettings { change: Change::Percent(1.0), ..ON_CHANGE };
        let mut told = Told::new(settings);
        assert_eq!(told.good(0, -200.0).len(), 1);
        assert!(told.good(1_000, -201.9).is_empty());
        assert_eq!(told.good(2_000, -202.0).len(), 1);
        assert_eq!(told.good(3_000, 0.0).len(), 1);
        assert!(told.good(4_000, 0.0).is_empty());
        assert_eq!(told.good(5_000, 1e-9).len(), 1, "anything is far from nothing");
    }

    #[test]
    fn a_heartbeat_comes_with_the_read_that_is_nearest_to_it() {
        let settings = ReportSettings { at_least: Some(Duration::from_secs(3)), ..ON_CHANGE };
        let mut told = Told::new(settings);
        let news =
            [0, 1_010, 1_990, 2_980, 4_000, 5_020, 6_001, 6_900].map(|ms| told.good(ms, 1.0).len());
        assert_eq!(news, [1, 0, 0, 1, 0, 0, 1, 0]);
    }

    #[test]
    fn changes_come_no_faster_than_allowed_and_the_last_one_is_not_lost() {
        let settings = ReportSettings { at_most: Some(Duration::from_secs(3)), ..ON_CHANGE };
        let mut told = Told::new(settings);
        assert_eq!(told.good(0, 1.0), ["1@0"]);
        assert!(told.good(1_000, 2.0).is_empty());
        assert!(told.good(2_000, 3.0).is_empty());
        assert_eq!(told.good(2_990, 3.0), ["3@2990"]);
        assert!(told.good(9_000, 3.0).is_empty());
        let every = ReportSettings { change: Change::None, ..settings };
        let mut told = Told::new(every);
        let news = [0, 1_000, 2_000, 3_000, 4_000].map(|ms| told.good(ms, 1.0).len());
        assert_eq!(news, [1, 0, 0, 1, 0]);
    }

    #[test]
    fn the_last_value_before_a_jump_goes_with_it() {
        let settings =
            ReportSettings { change: Change::Absolute(5.0), before_jump: true, ..ON_CHANGE };
        let mut told = Told::new(settings);
        assert_eq!(told.good(0, 1.0), ["1@0"]);
        assert!(told.good(1_000, 2.0).is_empty());
        assert!(told.good(2_000, 3.0).is_empty());
        assert_eq!(told.good(3_000, 90.0), ["3@2000", "90@3000"]);
        assert_eq!(told.good(4_000, 20.0), ["20@4000"], "the one before was told");
        assert!(told.good(5_000, 21.0).is_empty());
        let stale = Quality::Stale { reason: "silent".into() };
        let value = Some(Value::Int(21));
        assert_eq!(told.at(6_000, value, stale), ["21@5000", "21stale@6000"]);
    }

    #[test]
    fn another_quality_is_news_at_once() {
        let hour = Some(Duration::from_secs(3_600));
        let settings = ReportSettings { change: Change::Absolute(1e9), at_most: hour, ..ON_CHANGE };
        let mut told = Told::new(settings);
        let error = |reason: &str| Quality::Error { reason: reason.into() };
        assert_eq!(told.good(0, 1.0).len(), 1);
        assert_eq!(told.at(1, None, error("a")), ["-error@1"]);
        assert!(told.at(2, None, error("a")).is_empty());
        assert!(told.at(3, None, error("b")).is_empty(), "another reason is a change like others");
        assert_eq!(told.good(4, 1.0), ["1@4"]);
        let mut told = Told::new(ON_CHANGE);
        assert_eq!(told.at(0, None, error("a")).len(), 1);
        assert_eq!(told.at(1, None, error("b")), ["-error@1"]);
    }

    #[test]
    fn what_has_no_distance_is_news_when_it_differs() {
        let settings = ReportSettings { change: Change::Absolute(50.0), ..ON_CHANGE };
        let mut told = Told::new(settings);
        let text = |text: &str| Some(Value::Text(text.into()));
        let mut at = |ms, value| told.at(ms, value, Quality::Good).len();
        assert_eq!(at(0, text("off")), 1);
        assert_eq!(at(1, text("off")), 0);
        assert_eq!(at(2, text("on")), 1);
        assert_eq!(at(3, Some(Value::Bool(true))), 1);
        assert_eq!(at(4, Some(Value::Bool(false))), 1);
        assert_eq!(at(5, Some(Value::List([None, Some(Value::Int(1))].into()))), 1);
        assert_eq!(at(6, Some(Value::List([None, Some(Value::Int(1))].into()))), 0);
        assert_eq!(at(7, Some(Value::Int(i64::MAX))), 1);
        assert_eq!(at(8, Some(Value::Int(i64::MAX - 49))), 0);
        assert_eq!(at(9, Some(Value::Int(i64::MAX - 50))), 1, "exact beyond the digits of a float");
    }

    proptest! {
        #[test]
        fn what_is_not_told_is_near_what_was_and_never_for_longer_than_allowed(
            values in prop::collection::vec(-100.0..100.0f64, 1..200),
            least in 0.0..30.0f64,
            heartbeat in 2..20u64,
            before_jump in any::<bool>(),
        ) {
            let at_least = Some(Duration::from_secs(heartbeat));
            let change = Change::Absolute(least);
            let mut told = Told::new(ReportSettings { change, at_least, at_most: None, before_jump });
            let (mut last, mut last_ms): (f64, u64) = (f64::NAN, 0);
            for (index, value) in values.into_iter().enumerate() {
                let ms = index as u64 * 1_000;
                let news = told.good(ms, value);
                match news.last() {
                    Some(_) => {
                        prop_assert!(news.len() <= 1 + usize::from(before_jump));
                        (last, last_ms) = (value, ms);
                    }
                    None => {
                        prop_assert!((value - last).abs() <= least);
                        prop_assert!(ms - last_ms < heartbeat * 1_000);
                    }
                }
            }
        }
    }
}

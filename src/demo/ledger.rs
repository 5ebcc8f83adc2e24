//! core: what arrived upstream: which readings, how often, and the last value of each point.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::model::{Moment, ReadingId, Timestamp};

/// The numbers of one start of the gateway that have arrived.
#[derive(Debug, Default)]
struct Seen {
    /// All from 1 to here.
    all_to: u64,
    /// And these beyond.
    beyond: BTreeSet<u64>,
}

impl Seen {
    /// Takes a number down; false if it was there.
    fn insert(&mut self, number: u64) -> bool {
        if number <= self.all_to || !self.beyond.insert(number) {
            return false;
        }
        while self.beyond.remove(&(self.all_to + 1)) {
            self.all_to += 1;
        }
        true
    }

    fn count(&self) -> u64 {
        self.all_to + u64::try_from(self.beyond.len()).unwrap_or(u64::MAX)
    }

    fn highest(&self) -> u64 {
        self.beyond.last().copied().unwrap_or(self.all_to)
    }
}

/// The last value of a point, as it stands upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The device.
    pub device: Arc<str>,
    /// The point.
    pub point: Arc<str>,
    /// The value as its payload has it, without quotes.
    pub value: String,
    /// The unit, empty without one.
    pub unit: String,
    /// Whether its quality is `good`.
    pub good: bool,
    /// When the device said it.
    pub time: Timestamp,
}

/// Keeps count at the upstream.
#[derive(Debug)]
pub struct Ledger {
    gateway: Arc<str>,
    starts: BTreeMap<u64, Seen>,
    rows: BTreeMap<(Arc<str>, Arc<str>), Row>,
    /// Devices and whether they are online, as the gateway says.
    devices: BTreeMap<Arc<str>, bool>,
    first: Option<Instant>,
    doubled: u64,
    unreadable: u64,
    longest: Duration,
}

impl Ledger {
    /// An empty ledger for the readings of one gateway.
    #[must_use]
    pub fn new(gateway: Arc<str>) -> Self {
        Self {
            gateway,
            starts: BTreeMap::new(),
            rows: BTreeMap::new(),
            devices: BTreeMap::new(),
            first: None,
            doubled: 0,
            unreadable: 0,
            longest: Duration::ZERO,
        }
    }

    /// A message has arrived. What the gateway says of itself and of its devices (`…/status`) is no reading.
    pub fn handle_message(&mut self, topic: &str, payload: &[u8], now: Moment) {
        let mut levels = topic.splitn(3, '/').skip(1);
        let (Some(device), Some(point)) = (levels.next(), levels.next()) else { return };
        if device == "gateway" {
            return;
        }
        if point == "status" {
            self.devices.insert(device.into(), payload == b"online");
            return;
        }
        let Some((id, row)) = self.read(device, point, payload) else {
            self.unreadable += 1;
            return;
        };
        if !self.starts.entry(id.start).or_default().insert(id.number) {
            self.doubled += 1;
            return;
        }
        self.first.get_or_insert(now.mono);
        self.longest = self.longest.max(now.wall.since(row.time));
        let key = (row.device.clone(), row.point.clone());
        if self.rows.get(&key).is_none_or(|last| last.time <= row.time) {
            self.rows.insert(key, row);
        }
    }

    fn read(&self, device: &str, point: &str, payload: &[u8]) -> Option<(ReadingId, Row)> {
        let json: Value = serde_json::from_slice(payload).ok()?;
        let text = |key: &str| json.get(key).and_then(Value::as_str);
        let numbers = text("id")?.strip_prefix(&*self.gateway)?.strip_prefix('-')?;
        let (start, number) = numbers.split_once('-')?;
        let id = ReadingId { start: start.parse().ok()?, number: number.parse().ok()? };
        let value = match json.get("value")? {
            Value::Null => "-".to_owned(),
            Value::String(text) => text.clone(),
            // The digits the gateway wrote: 21.0 must not become 21.
            Value::Bool(_) | Value::Number(_) => raw_value(payload)?.to_owned(),
            Value::Array(_) | Value::Object(_) => return None,
        };
        let time = humantime::parse_rfc3339(text("time")?).ok()?.into();
        let row = Row {
            device: device.into(),
            point: point.into(),
            value,
            unit: text("unit").unwrap_or_default().to_owned(),
            good: text("quality")? == "good",
            time,
        };
        Some((id, row))
    }

    /// Distinct readings that have arrived.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.starts.values().map(Seen::count).sum()
    }

    /// Readings that arrived again, each time counted.
    #[must_use]
    pub fn doubled(&self) -> u64 {
        self.doubled
    }

    /// Messages that should be readings and cannot be read.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Readings that have not arrived although later ones have. Readings come in order, so it stays 0 if all is well.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.starts.values().map(|seen| seen.highest() - seen.count()).sum()
    }

    /// Of `published` readings in all, how many have not arrived. Only at the end are they lost.
    #[must_use]
    pub fn outstanding(&self, published: u64) -> u64 {
        published.saturating_sub(self.delivered())
    }

    /// When the first reading arrived.
    #[must_use]
    pub fn first(&self) -> Option<Instant> {
        self.first
    }

    /// The longest a reading was on its way, by the wall clock.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// How many devices are online.
    #[must_use]
    pub fn devices_online(&self) -> usize {
        self.devices.values().filter(|online| **online).count()
    }

    /// The last values, by device and point.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }
}

/// What stands between `{"value":` and the next comma or the end, for numbers and truth values.
fn raw_value(payload: &[u8]) -> Option<&str> {
    let rest = std::str::from_utf8(payload).ok()?.strip_prefix("{\"value\":")?;
    rest.split([',', '}']).next()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use super::*;

    fn now() -> Moment {
        Moment {
            mono: Instant::now(),
            wall: Timestamp::from_unix_ms(1_795_230_601_000),
            boot_ms: 0,
        }
    }

    fn arrive(ledger: &mut Ledger, numbers: &[u64]) {
        for number in numbers {
            let payload = format!(
                r#"{{"value":21.0,"unit":"°C","quality":"good","time":"2026-11-21T03:10:00.123Z","id":"demo-1-{number}"}}"#
            );
            ledger.handle_message("demo/boiler/flow", payload.as_bytes(), now());
        }
    }

    #[test]
    fn every_reading_once_is_nothing_lost_and_nothing_doubled() {
        let mut ledger = Ledger::new("demo".into());
        arrive(&mut ledger, &[1, 2, 3, 4, 5]);
        assert_eq!((ledger.delivered(), ledger.outstanding(5)), (5, 0));
        assert_eq!((ledger.doubled(), ledger.missing(), ledger.unreadable()), (0, 0, 0));
        assert_eq!(ledger.longest(), Duration::from_millis(877));
    }

    #[test]
    fn a_reading_that_is_left_out_is_missing_and_in_the_end_lost() {
        let mut ledger = Ledger::new("demo".into());
        arrive(&mut ledger, &[1, 2, 4, 5]);
        assert_eq!((ledger.delivered(), ledger.missing(), ledger.outstanding(6)), (4, 1, 2));
        arrive(&mut ledger, &[3]);
        assert_eq!((ledger.delivered(), ledger.missing(), ledger.outstanding(6)), (5, 0, 1));
    }

    #[test]
    fn a_reading_that_comes_again_is_doubled_and_not_delivered_twice() {
        let mut ledger = Ledger::new("demo".into());
        arrive(&mut ledger, &[1, 2, 2, 1, 5, 5]);
        assert_eq!((ledger.delivered(), ledger.doubled()), (3, 3));
        assert_eq!(ledger.outstanding(5), 2);
    }

    #[test]
    fn the_numbers_of_two_starts_are_two_things() {
        let mut ledger = Ledger::new("demo".into());
        arrive(&mut ledger, &[1]);
        let payload = br#"{"value":true,"quality":"stale","reason":"x","time":"2026-11-21T03:10:00.123Z","id":"demo-2-1"}"#;
        ledger.handle_message("demo/boiler/pump", payload, now());
        assert_eq!((ledger.delivered(), ledger.doubled()), (2, 0));
    }

    #[test]
    fn the_last_value_stands_as_it_was_written() {
        let mut ledger = Ledger::new("demo".into());
        arrive(&mut ledger, &[1]);
        let late =
            br#"{"value":1,"quality":"good","time":"2026-11-21T03:09:00.000Z","id":"demo-1-2"}"#;
        ledger.handle_message("demo/boiler/flow", late, now());
        let none = br#"{"value":null,"quality":"error","reason":"x","time":"2026-11-21T03:10:00.000Z","id":"demo-1-3"}"#;
        ledger.handle_message("demo/meter/power", none, now());
        let rows: Vec<_> = ledger.rows().map(|r| (&*r.value, &*r.unit, r.good)).collect();
        assert_eq!(rows, [("21.0", "°C", true), ("-", "", false)]);
    }

    #[test]
    fn what_is_no_reading_is_not_counted_as_one() {
        let mut ledger = Ledger::new("demo".into());
        ledger.handle_message("demo/status", b"online", now());
        ledger.handle_message("demo/gateway/state", b"{}", now());
        ledger.handle_message("demo/boiler/status", b"online", now());
        ledger.handle_message("demo/meter/status", b"offline", now());
        assert_eq!((ledger.unreadable(), ledger.devices_online()), (0, 1));
        ledger.handle_message("demo/boiler/flow", b"21.0", now());
        ledger.handle_message("demo/boiler/flow", br#"{"value":1,"id":"other-1-1"}"#, now());
        assert_eq!((ledger.delivered(), ledger.unreadable()), (0, 2));
    }
}

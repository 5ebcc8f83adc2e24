//! core: the values of points that are made of others.

use std::time::Duration;

use super::modbus::decode::{calculated, rounded};
use super::{ComputedSettings, DeviceSettings};
use crate::model::{Quality, Value};

/// A point that is made of others. It has a value each time those of its parts that are read most often have been read; the
/// others count with what is known last.
#[derive(Debug)]
pub(super) struct Computed {
    settings: ComputedSettings,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    /// The index of the point.
    point: usize,
    /// Whether it is among those that are read most often.
    sets_the_pace: bool,
    /// Whether it was read since the last value.
    is_fresh: bool,
    /// What is known last.
    known: Option<(Option<f64>, Quality)>,
}

impl Computed {
    pub(super) fn new(settings: ComputedSettings, device: &DeviceSettings) -> Self {
        let mut points = Vec::new();
        settings.formula.parts(&mut |point| points.push(point));
        points.sort_unstable();
        points.dedup();
        let every = |point: &usize| device.points.get(*point).map(|point| point.every);
        let pace = points.iter().filter_map(every).min();
        let part = |point| Part {
            point,
            sets_the_pace: every(&point) == pace,
            is_fresh: false,
            known: None,
        };
        Self { parts: points.into_iter().map(part).collect(), settings }
    }

    /// How often it has a value: as often as the part that is read most often.
    pub(super) fn every(&self, device: &DeviceSettings) -> Duration {
        let every = |part: &Part| device.points.get(part.point).map(|point| point.every);
        self.parts.iter().filter_map(every).min().unwrap_or_default()
    }

    /// Takes what was read of a point.
    pub(super) fn handle(&mut self, point: usize, value: Option<&Value>, quality: &Quality) {
        if let Ok(at) = self.parts.binary_search_by_key(&point, |part| part.point)
            && let Some(part) = self.parts.get_mut(at)
        {
            part.is_fresh = true;
            part.known = Some((value.and_then(number), quality.clone()));
        }
    }

    /// The value, once all that belongs to it has been read. `name` gives the names of points.
    pub(super) fn poll<'n>(
        &mut self,
        name: impl Fn(usize) -> Option<&'n str>,
    ) -> Option<(Option<Value>, Quality)> {
        let is_there = |part: &Part| match &part.known {
            None => false,
            // What is refused is not asked in each cycle: nobody waits for it.
            Some((_, quality)) => !part.sets_the_pace || part.is_fresh || *quality != Quality::Good,
        };
        let is_news = self.parts.iter().any(|part| part.is_fresh && part.sets_the_pace);
        if !is_news || !self.parts.iter().all(is_there) {
            return None;
        }
        self.parts.iter_mut().for_each(|part| part.is_fresh = false);
        let quality = self.quality(name);
        let value = self.settings.formula.evaluate(&|point| {
            let at = self.parts.binary_search_by_key(&point, |part| part.point).ok()?;
            self.parts.get(at)?.known.as_ref()?.0
        });
        let Some(number) = value else { return Some((None, quality)) };
        let value = match self.settings.decimals {
            Some(decimals) => rounded(number, decimals),
            None => calculated(number),
        };
        if value.is_none() && quality == Quality::Good {
            let reason = format!("the calculation gives no number ({number})").into();
            return Some((None, Quality::OutOfRange { reason }));
        }
        Some((value, quality))
    }

    /// The worst of the parts, with the name of the part.
    fn quality<'n>(&self, name: impl Fn(usize) -> Option<&'n str>) -> Quality {
        let known = self.parts.iter().filter_map(|part| Some((part, &part.known.as_ref()?.1)));
        let Some((part, worst)) = known.max_by_key(|(_, quality)| rank(quality)) else {
            return Quality::Good;
        };
        let words = worst.reason().unwrap_or_default();
        let reason = || format!("{}: {words}", name(part.point).unwrap_or_default()).into();
        match worst {
            Quality::Good => Quality::Good,
            Quality::Stale { .. } => Quality::Stale { reason: reason() },
            Quality::Error { .. } => Quality::Error { reason: reason() },
            Quality::Invalid { .. } => Quality::Invalid { reason: reason() },
            Quality::OutOfRange { .. } => Quality::OutOfRange { reason: reason() },
        }
    }
}

fn rank(quality: &Quality) -> u8 {
    match quality {
        Quality::Good => 0,
        Quality::Stale { .. } => 1,
        Quality::Invalid { .. } => 2,
        Quality::OutOfRange { .. } => 3,
        Quality::Error { .. } => 4,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(bit) => Some(f64::from(u8::from(*bit))),
        Value::Int(int) => Some(*int as f64),
        Value::UInt(int) => Some(*int as f64),
        Value::Float { value, .. } => Some(*value),
        Value::Text(_) | Value::List(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::{Formula, Function, Place, PointSettings, Table, UnitId, ValueType};

    /// Points `a`, `b` (every second) and `slow` (every minute).
    fn computed(text: &str) -> Computed {
        let point = |name: &str, seconds| {
            let place = Place { table: Table::Holding, address: 0, bit: None };
            PointSettings::new(name.into(), place, ValueType::I16, Duration::from_secs(seconds))
        };
        let points = vec![point("a", 1), point("b", 1), point("slow", 60)];
        let mut part =
            |name: &str| ["a", "b", "slow"].iter().position(|it| *it == name).map(Formula::Part);
        let formula = match text.split_once(" scaled by ") {
            Some((value, exponent)) => {
                let read = |name| Formula::parse(name, &mut part).expect("right");
                Formula::Call(Function::ScaleBy, [exponent, value].map(read).to_vec())
            }
            None => Formula::parse(text, &mut part).expect("right"),
        };
        let settings = ComputedSettings {
            name: "it".into(),
            formula,
            decimals: None,
            unit: None,
            report: None,
            together: false,
        };
        let (name, bus, unit) = ("device".into(), "bus".into(), UnitId(1));
        let device = DeviceSettings {
            name,
            bus,
            unit,
            points,
            computed: Vec::new(),
            allowed: crate::field::Allowed::default(),
        };
        let computed = Computed::new(settings, &device);
        assert!(computed.every(&device) <= Duration::from_secs(60));
        computed
    }

    fn poll(computed: &mut Computed) -> Option<String> {
        let name = |index| ["a", "b", "slow"].get(index).copied();
        let (value, quality) = computed.poll(name)?;
        let value = value.map_or("-".to_owned(), |value| value.to_string());
        Some(match quality.reason() {
            None => value,
            Some(reason) => format!("{value} {} {reason}", quality.word()),
        })
    }

    fn read(computed: &mut Computed, point: usize, number: i64) -> Option<String> {
        computed.handle(point, Some(&Value::Int(number)), &Quality::Good);
        poll(computed)
    }

    #[test]
    fn a_value_comes_once_all_parts_of_a_cycle_have_been_read() {
        let mut sum = computed("a + b * 0.1");
        assert_eq!(read(&mut sum, 0, 1), None);
        assert_eq!(read(&mut sum, 1, 2).as_deref(), Some("1.2"));
        assert_eq!(read(&mut sum, 1, 3), None);
        assert_eq!(read(&mut sum, 0, 2).as_deref(), Some("2.3"));
        assert_eq!(poll(&mut sum), None, "once");
    }

    #[test]
    fn what_is_read_more_rarely_counts_with_what_is_known_last() {
        let mut scaled = computed("a scaled by slow");
        assert_eq!(read(&mut scaled, 0, 2301), None, "the scale is not known");
        assert_eq!(read(&mut scaled, 2, -1).as_deref(), Some("230.1"));
        assert_eq!(read(&mut scaled, 0, 2302).as_deref(), Some("230.2"));
        assert_eq!(read(&mut scaled, 2, -2), None, "it does not set the pace");
        assert_eq!(read(&mut scaled, 0, 2303).as_deref(), Some("23.03"));
    }

    #[test]
    fn the_quality_is_that_of_the_worst_part_and_names_it() {
        let mut sum = computed("a + b");
        let refused = Quality::Error { reason: "refused".into() };
        sum.handle(1, None, &refused);
        assert_eq!(read(&mut sum, 0, 1).as_deref(), Some("- error b: refused"));
        assert_eq!(
            read(&mut sum, 0, 2).as_deref(),
            Some("- error b: refused"),
            "nobody waits for b"
        );
        let stale = Quality::Stale { reason: "silent".into() };
        sum.handle(0, Some(&Value::Int(2)), &stale);
        sum.handle(1, Some(&Value::Int(5)), &stale);
        assert_eq!(poll(&mut sum).as_deref(), Some("7 stale b: silent"));
        let mut quotient = computed("a / b");
        assert_eq!(read(&mut quotient, 0, 1), None);
        let told = "- out_of_range the calculation gives no number (inf)";
        assert_eq!(read(&mut quotient, 1, 0).as_deref(), Some(told));
    }
}

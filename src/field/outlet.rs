//! core: what of a device's values goes out.

use std::sync::Arc;

use super::DeviceSettings;
use super::report::Report;
use crate::model::{Moment, PointName, Quality, Reading, Value};

/// The points of one device on their way out.
#[derive(Debug)]
pub(super) struct Outlet {
    points: Vec<Point>,
}

#[derive(Debug)]
struct Point {
    name: PointName,
    unit: Option<Arc<str>>,
    report: Option<Report>,
}

impl Outlet {
    pub(super) fn new(settings: &DeviceSettings) -> Self {
        let point = |point: &super::PointSettings| Point {
            name: PointName { device: Arc::clone(&settings.name), point: Arc::clone(&point.name) },
            unit: point.unit.clone(),
            report: point.report.map(|report| Report::new(report, point.every)),
        };
        Self { points: settings.points.iter().map(point).collect() }
    }

    /// Takes values by the index of their point; returns the readings that are news.
    pub(super) fn handle(
        &mut self,
        values: Vec<(usize, (Option<Value>, Quality))>,
        taken: Moment,
    ) -> Vec<Reading> {
        let mut readings = Vec::with_capacity(values.len());
        for (index, (value, quality)) in values {
            if let Some(point) = self.points.get_mut(index) {
                point.handle((value, quality, taken), &mut readings);
            }
        }
        readings
    }
}

impl Point {
    fn handle(&mut self, reading: (Option<Value>, Quality, Moment), out: &mut Vec<Reading>) {
        let Some(report) = &mut self.report else {
            out.push(self.reading(reading));
            return;
        };
        let (before, is_news) = report.handle(&reading);
        out.extend(before.map(|before| self.reading(before)));
        if is_news {
            out.push(self.reading(reading));
        }
    }

    fn reading(&self, (value, quality, taken): (Option<Value>, Quality, Moment)) -> Reading {
        Reading { point: self.name.clone(), value, unit: self.unit.clone(), quality, taken }
    }
}

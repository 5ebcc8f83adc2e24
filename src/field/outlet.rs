//! core: what of a device's values goes out.

use std::sync::Arc;

use super::computed::Computed;
use super::gather::News;
use super::report::Report;
use super::{DeviceSettings, PointSettings};
use crate::model::{Moment, PointName, Quality, Reading, Value};

/// The points of one device on their way out.
#[derive(Debug)]
pub(super) struct Outlet {
    points: Vec<Point>,
    computed: Vec<(Computed, Point)>,
}

#[derive(Debug)]
struct Point {
    name: PointName,
    unit: Option<Arc<str>>,
    report: Option<Report>,
    publish: bool,
    together: bool,
}

impl Outlet {
    pub(super) fn new(settings: &DeviceSettings) -> Self {
        let name = |point: &Arc<str>| PointName {
            device: Arc::clone(&settings.name),
            point: Arc::clone(point),
        };
        let point = |point: &PointSettings| Point {
            name: name(&point.name),
            unit: point.unit.clone(),
            report: point.report.map(|report| Report::new(report, point.every)),
            publish: point.publish,
            together: point.together,
        };
        let computed = settings.computed.iter().map(|point| {
            let computed = Computed::new(point.clone(), settings);
            let every = computed.every(settings);
            let out = Point {
                name: name(&point.name),
                unit: point.unit.clone(),
                report: point.report.map(|report| Report::new(report, every)),
                publish: true,
                together: point.together,
            };
            (computed, out)
        });
        Self { points: settings.points.iter().map(point).collect(), computed: computed.collect() }
    }

    /// Takes values by the index of their point; returns what of them is news, and how many of those that go out together
    /// are of computed points, which come last.
    pub(super) fn handle(
        &mut self,
        values: Vec<(usize, (Option<Value>, Quality))>,
        taken: Moment,
    ) -> (News, usize) {
        let mut news = News::default();
        for (index, (value, quality)) in values {
            for (computed, _) in &mut self.computed {
                computed.handle(index, value.as_ref(), &quality);
            }
            if let Some(point) = self.points.get_mut(index).filter(|point| point.publish) {
                point.handle((value, quality, taken), &mut news);
            }
        }
        let read = news.together.len();
        for (computed, point) in &mut self.computed {
            let name = |index: usize| self.points.get(index).map(|point| &*point.name.point);
            if let Some((value, quality)) = computed.poll(name) {
                point.handle((value, quality, taken), &mut news);
            }
        }
        let made = news.together.len() - read;
        (news, made)
    }
}

impl Point {
    fn handle(&mut self, reading: (Option<Value>, Quality, Moment), news: &mut News) {
        let (before, is_news) = match &mut self.report {
            None => (None, true),
            Some(report) => report.handle(&reading),
        };
        if let Some(before) = before {
            let earlier = if self.together { &mut news.before } else { &mut news.own };
            earlier.push(self.reading(before));
        }
        if is_news {
            let out = if self.together { &mut news.together } else { &mut news.own };
            out.push(self.reading(reading));
        }
    }

    fn reading(&self, (value, quality, taken): (Option<Value>, Quality, Moment)) -> Reading {
        Reading { point: self.name.clone(), value, unit: self.unit.clone(), quality, taken }
    }
}

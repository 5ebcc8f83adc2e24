//! core: a device as written, and what it is run with.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::allowed::Limits;
use super::bus::{Bus, Wire};
use super::expression::Maker;
use super::fields::{Field, Later, nearest};
use super::format;
use super::name;
use super::notes::{At, Given, Notes, Spot};
use super::point::{self, Point};
use super::report::{self, Report};
use crate::field::{DeviceSettings, PointSettings, UnitId};
use crate::payload::{DeviceFormat, Format};

const EXAMPLE: &str =
    "write `{ bus: rs485, unit: 1, points: { flow: { holding: 100, type: i16 } } }`";

/// How often a point is read when nothing says otherwise.
const EVERY_DEFAULT: Duration = Duration::from_secs(1);

/// The unit of a device that is not behind a gateway (Modbus messaging on TCP/IP 1.0b, section 4.4.1.2).
const UNIT_TCP_DEFAULT: u8 = 255;

const UNIT_HELP: &str = "the unit id is set on the device itself, by switches or in its menu";

const LATER: &[Later] = &[("writable", "give it to each point that may be written")];

const INSTEAD: &[Later] = &[
    ("slave", "unit"),
    ("slave_id", "unit"),
    ("unit_id", "unit"),
    ("id", "unit"),
    ("address", "unit"),
    ("interval", "every"),
    ("period", "every"),
    ("poll", "every"),
    ("registers", "points"),
    ("tags", "points"),
    ("max_read", "max_registers"),
    ("block_size", "max_registers"),
    ("skip", "holes"),
];

/// A device as written.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) name: At<Rc<str>>,
    head: Spot,
    bus: Given<Rc<str>>,
    unit: Given<u8>,
    every: Given<Duration>,
    report: Given<Report>,
    points: Vec<Point>,
    limits: Limits,
    /// What a device on a plain serial line is asked with.
    send: Given<Arc<[u8]>>,
    format: Given<Format>,
    uses_template: bool,
}

impl Device {
    pub(super) fn read(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<Self> {
        let taken = [
            ("status", "`{gateway}/status` says whether the gateway is online"),
            ("uplinks", "`{gateway}/uplinks/…` says how the uplinks are doing"),
            ("gateway", "`{gateway}/gateway/…` tells the gateway's own health"),
        ];
        let name = name::name(field, &taken, notes);
        let head = name.spot.clone();
        let mut fields = field.fields(EXAMPLE, notes)?;
        let bus = fields.given("bus", notes, |field, notes| {
            field.text("write the name of a bus from `buses`", notes)
        });
        let unit =
            fields.given("unit", notes, |field, notes| field.integer(0..=255, UNIT_HELP, notes));
        let every = fields.given("every", notes, point::every);
        let report = fields.given("report", notes, report::read);
        let limits = Limits::read(&mut fields, notes);
        let send = fields.given("send", notes, point::pick::send);
        let format = fields.given("format", notes, format::read);
        let points = fields.take("points");
        // What a template gives has been laid under these keys.
        fields.take("template");
        for key in ["parameters", "only"] {
            if let Some(field) = fields.take(key) {
                let message = format!("`{key}` speaks to a template, and this device uses none");
                notes.error(&field.key_spot, message, "add `template: NAME`, or remove it");
            }
        }
        if bus.is_absent() {
            notes.error(&head, "this device does not say which bus it is on", "add `bus: NAME`");
        }
        if points.is_none() && !fields.has_any(LATER) {
            notes.error(&head, "this device has no `points`", EXAMPLE);
        }
        let points = points.map(|field| read_points(&field, notes)).unwrap_or_default();
        fields.finish(LATER, INSTEAD, notes);
        name::warn_of_twins(points.iter().map(|point| &point.name), notes);
        Some(Self {
            name,
            head,
            bus,
            unit,
            every,
            report,
            points,
            limits,
            send,
            format,
            uses_template: false,
        })
    }

    /// The same, with points that come from a template.
    pub(super) fn with_template(self) -> Self {
        Self { uses_template: true, ..self }
    }

    /// The bus and unit, once both are known.
    pub(super) fn address(&self) -> Option<(&Rc<str>, At<u8>)> {
        Some((&self.bus.written()?.value, self.unit.written()?.clone()))
    }

    /// Where the operator wrote that a point may be written, and the topic for it. What a template makes writable need not be
    /// wanted by whoever uses it.
    pub(super) fn writable(&self, gateway: &str) -> impl Iterator<Item = (&Spot, String)> {
        let written = self.points.iter().filter(|_| !self.uses_template);
        written.filter_map(move |point| {
            let topic = format!("{gateway}/{}/{}/set", self.name.value, point.name.value);
            Some((point.writable_spot()?, topic))
        })
    }

    pub(super) fn is_on(&self, bus: &str) -> bool {
        self.bus.written().is_some_and(|at| &*at.value == bus)
    }

    /// How its readings look where nothing but the gateway's `format` says so.
    pub(super) fn format(&self, of_gateway: &Given<Format>) -> DeviceFormat {
        let points = self.points.iter().map(|point| (&*point.name.value, point.format()));
        format::settle(&self.format, of_gateway, points)
    }

    /// `names` are the buses the file tells of, `buses` those that could be read.
    pub(super) fn settle(
        &self,
        names: &[Rc<str>],
        buses: &[Bus],
        notes: &mut Notes<'_>,
    ) -> Option<DeviceSettings> {
        let wire = self.wire(names, buses, notes);
        let unit = self.settle_unit(wire, notes);
        let send = self.send.written();
        if wire == Wire::Line {
            self.check_keys_of_modbus(notes);
        } else if let Some(send) = send.filter(|_| wire != Wire::Unknown) {
            let message = "`send` belongs to a plain serial line, and this is a Modbus device";
            notes.error(&send.spot, message, "remove it");
        }
        let send = send.map(|at| &at.value);
        let every = self.every.or(EVERY_DEFAULT);
        let (mut points, mut indices) = (Vec::new(), Vec::new());
        for point in &self.points {
            let settled = point.settle((wire, send), every, &self.report, notes);
            indices.push(settled.as_ref().map(|_| points.len()));
            points.extend(settled);
        }
        let mut maker = Maker::new(&self.points, &indices, &points);
        let computed = self.points.iter();
        let computed =
            computed.filter_map(|point| maker.make(point, &self.report, notes)).collect();
        maker.warn_of_hidden(notes);
        if wire == Wire::Line {
            self.check_frame(&indices, &points, buses, notes);
        }
        let spots = self.points.iter().zip(&indices).filter(|_| wire != Wire::Line);
        let spots = spots.filter_map(|(it, index)| Some((&it.name.spot, points.get((*index)?)?)));
        let allowed = self.limits.settle(spots, notes);
        Some(DeviceSettings {
            name: Arc::from(&*self.name.value),
            bus: Arc::from(&*self.bus.written()?.value),
            unit: unit?,
            points,
            computed,
            allowed,
        })
    }

    fn check_keys_of_modbus(&self, notes: &mut Notes<'_>) {
        let has_send =
            !self.send.is_absent() || self.points.iter().any(|point| point.own_send().is_some());
        if let Some(every) = self.every.spot().filter(|_| !has_send) {
            let message =
                "these values come by themselves, and `every` is how often a device is asked";
            notes.error(every, message, "remove it, or add `send`");
        }
        let unit = self.unit.spot().map(|spot| ("unit", spot));
        for (key, spot) in unit.into_iter().chain(self.limits.first()) {
            let message = format!("`{key}` belongs to Modbus, and this device is on a plain line");
            notes.error(spot, message, "remove it");
        }
    }

    /// Complains of values that stand behind the end of every frame.
    fn check_frame(
        &self,
        indices: &[Option<usize>],
        settled: &[PointSettings],
        buses: &[Bus],
        notes: &mut Notes<'_>,
    ) {
        let bus = self.bus.written().map(|at| &at.value);
        let bus = buses.iter().find(|it| Some(&it.name.value) == bus);
        let Some(length) = bus.and_then(Bus::frame_length) else { return };
        for (point, index) in self.points.iter().zip(indices) {
            let settled = index.and_then(|index| settled.get(index));
            let last = settled.and_then(|settled| point.last_byte(settled));
            if let Some((last, spot)) = last.filter(|(last, _)| *last >= length) {
                let message = format!(
                    "this value reaches to byte {last}, and the last one of a frame is {}",
                    length - 1
                );
                notes.error(spot, message, "bytes of a frame count from 0");
            }
        }
    }

    fn wire(&self, names: &[Rc<str>], buses: &[Bus], notes: &mut Notes<'_>) -> Wire {
        let Some(bus) = self.bus.written() else { return Wire::Unknown };
        if let Some(found) = buses.iter().find(|candidate| candidate.name.value == bus.value) {
            return found.wire();
        }
        if !names.contains(&bus.value) {
            let names: Vec<&str> = names.iter().map(|name| &**name).collect();
            let shown = notes.shown(&bus.spot);
            let remedy = match (nearest(&bus.value, &names), names.is_empty()) {
                (Some(name), _) => format!("did you mean `{name}`?"),
                (None, true) => "tell of it under `buses`".to_owned(),
                (None, false) => format!("the buses are {}", super::fields::list(&names)),
            };
            notes.error(&bus.spot, format!("there is no bus `{shown}`"), remedy);
        }
        Wire::Unknown
    }

    fn settle_unit(&self, wire: Wire, notes: &mut Notes<'_>) -> Option<UnitId> {
        let unit = match (&self.unit, wire) {
            // There are no units on a plain line.
            (_, Wire::Line) => return Some(UnitId(0)),
            (Given::Wrong, _) | (Given::Absent, Wire::Unknown) => return None,
            (Given::Absent, Wire::Tcp) => return Some(UnitId(UNIT_TCP_DEFAULT)),
            (Given::Absent, Wire::Serial) => {
                let remedy = format!("add `unit:` and 1 to 247; {UNIT_HELP}");
                notes.error(&self.head, "this device has no `unit`", remedy);
                return None;
            }
            (Given::Value(unit), _) => unit,
        };
        if wire == Wire::Serial && !(1..=247).contains(&unit.value) {
            let message = if unit.value == 0 {
                "unit 0 is for all devices of a serial bus at once, and none of them answers"
                    .to_owned()
            } else {
                format!("unit {} is above 247, the highest on a serial bus", unit.value)
            };
            notes.error(&unit.spot, message, format!("write 1 to 247; {UNIT_HELP}"));
        }
        Some(UnitId(unit.value))
    }
}

fn read_points(field: &Field<'_>, notes: &mut Notes<'_>) -> Vec<Point> {
    let example = "write `points: { flow: { holding: 100, type: i16 } }`";
    let key_spot = field.key_spot.clone();
    let Some(mut fields) = field.fields(example, notes) else { return Vec::new() };
    let all = fields.take_all();
    if all.is_empty() {
        notes.error(&key_spot, "this device has no points", example);
    }
    all.into_iter().filter_map(|field| Point::read(&field, notes)).collect()
}

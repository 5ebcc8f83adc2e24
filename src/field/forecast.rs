//! core: what polling a bus will cost, before anything is asked: transactions, bytes, time, and whether its periods fit.
//!
//! The reads are those of the plan the bus will run. Their time is reckoned from the baud rate, a usual turn-around and
//! the silence between frames, so that a bus that is full by this will not keep its periods.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::memory::Memory;
use super::modbus::known::Known;
use super::modbus::pdu::ReadRange;
use super::modbus::plan::{self, WireCost};
use super::{BusSettings, DeviceSettings, UnitId};

/// One read of the plan of a bus.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedRead {
    /// Which device.
    pub device: Arc<str>,
    /// Its unit.
    pub unit: UnitId,
    /// What is asked for.
    pub range: ReadRange,
    /// How often.
    pub every: Duration,
    /// The names of the points it brings, by address.
    pub points: Vec<Arc<str>>,
    /// Bytes of request and answer, with what frames them.
    pub wire_bytes: u32,
    /// How long it occupies the wire, turn-around and silence included.
    pub wire: Duration,
}

/// The points that are the hardest to read in time.
#[derive(Debug, Clone, PartialEq)]
pub struct Tightest {
    /// Which device.
    pub device: Arc<str>,
    /// The first point of the read.
    pub point: Arc<str>,
    /// How often it is to be read.
    pub every: Duration,
    /// What must go over the wire in that time: all reads of this period or a shorter one, as often as they come, and
    /// one longer one that may have begun before.
    pub needs: Duration,
}

/// What polling a bus will cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// The name of the bus.
    pub bus: Arc<str>,
    /// Its reads, device by device in the order of the file.
    pub reads: Vec<PlannedRead>,
    /// Whether it is a serial line, which has a baud rate.
    is_line: bool,
}

impl Forecast {
    /// Plans the reads of the `devices` of a bus with what is remembered of them.
    #[must_use]
    pub fn new(bus: &BusSettings, devices: &[DeviceSettings], memory: &Memory) -> Self {
        let wire = WireCost::of_port(&bus.port);
        let mut reads = Vec::new();
        for device in devices.iter().filter(|device| device.bus == bus.name) {
            let known = Known::new(device.allowed.clone(), memory.of(&bus.port, device));
            for (every, points) in plan::by_period(device).periods {
                let planned = plan::plan(&points, &wire, &known);
                reads.extend(planned.into_iter().map(|read| {
                    PlannedRead {
                        device: Arc::clone(&device.name),
                        unit: device.unit,
                        range: read.range,
                        every,
                        points: read
                            .points
                            .iter()
                            .filter_map(|it| Some(Arc::clone(&device.points.get(it.point)?.name)))
                            .collect(),
                        wire_bytes: wire.bytes(read.range),
                        wire: wire.of(read.range),
                    }
                }));
            }
        }
        let is_line = bus.port.serial().is_some();
        Self { bus: Arc::clone(&bus.name), reads, is_line }
    }

    /// Bytes on the wire to read everything once.
    #[must_use]
    pub fn wire_bytes(&self) -> u64 {
        self.reads.iter().map(|read| u64::from(read.wire_bytes)).sum()
    }

    /// The time on the wire to read everything once.
    #[must_use]
    pub fn wire(&self) -> Duration {
        self.reads.iter().map(|read| read.wire).sum()
    }

    /// The part of the time of the bus that its reads take, each at its period; above 1 they do not fit.
    #[must_use]
    pub fn utilisation(&self) -> f64 {
        let parts =
            self.reads.iter().map(|read| read.wire.as_secs_f64() / read.every.as_secs_f64());
        parts.sum()
    }

    /// The read that has the least room in its period.
    #[must_use]
    pub fn tightest(&self) -> Option<Tightest> {
        let tightest = |read: &PlannedRead| Tightest {
            device: Arc::clone(&read.device),
            point: read.points.first().cloned().unwrap_or_default(),
            every: read.every,
            needs: self.needs(read.every),
        };
        let part =
            |tightest: &Tightest| tightest.needs.as_secs_f64() / tightest.every.as_secs_f64();
        let all = self.reads.iter().map(|read| (read.wire, tightest(read)));
        // Of those with the same period, the longest read.
        let most = all.max_by(|(wire_a, a), (wire_b, b)| {
            part(a).total_cmp(&part(b)).then(wire_a.cmp(wire_b))
        });
        most.map(|(_, tightest)| tightest)
    }

    fn needs(&self, every: Duration) -> Duration {
        let begun = self.reads.iter().filter(|read| read.every > every).map(|read| read.wire).max();
        let within = self.reads.iter().filter(|read| read.every <= every).map(|read| {
            let times = every.as_nanos() / read.every.as_nanos().max(1);
            read.wire * u32::try_from(times).unwrap_or(u32::MAX)
        });
        within.sum::<Duration>() + begun.unwrap_or_default()
    }

    /// Says with the numbers that the periods cannot be kept, if they cannot: what is wrong and what to do about it.
    #[must_use]
    pub fn overload(&self) -> Option<(String, String)> {
        let utilisation = self.utilisation();
        if utilisation <= 1.0 {
            return None;
        }
        let message = format!(
            "the bus `{}` cannot keep its periods: reading everything once takes {}, and as often as is asked for {:.0} % of its time; {}",
            self.bus,
            Milliseconds(self.wire()),
            utilisation * 100.0,
            self.tightest()?,
        );
        let faster = if self.is_line { ", or raise the baud rate of the line" } else { "" };
        let remedy = format!(
            "make periods (`every`) {utilisation:.1} times as long, or read fewer points{faster}"
        );
        Some((message, remedy))
    }
}

impl fmt::Display for Tightest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, point, every, needs } = self;
        let (needs, every) = (Milliseconds(*needs), Milliseconds(*every));
        write!(f, "tightest is `{device}/{point}` with {needs} to do in {every}")
    }
}

/// A time as people compare it: `1400 ms`, `8.4 ms`.
#[derive(Debug, Clone, Copy)]
pub struct Milliseconds(pub Duration);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_secs_f64() * 1000.0;
        if ms < 100.0 { write!(f, "{ms:.1} ms") } else { write!(f, "{ms:.0} ms") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::{
        Allowed, Parity, Place, PointSettings, PortSettings, SerialSettings, Table, ValueType,
    };

    fn bus(baud: u32) -> BusSettings {
        let serial = SerialSettings {
            path: "tty".into(),
            baud,
            data_bits: 8,
            parity: Parity::None,
            stop_bits: 1,
            rs485: None,
        };
        let port = PortSettings::Rtu(serial);
        BusSettings {
            name: "line".into(),
            port,
            timeout: Duration::from_millis(300),
            probe_share: 5,
            in_flight: 1,
        }
    }

    /// Thirty registers in a row, each with this period.
    fn meter(unit: u8, every: Duration) -> DeviceSettings {
        let point = |address: u16| {
            let place = Place { table: Table::Holding, address, bit: None };
            PointSettings::new(format!("r{address}").into(), place, ValueType::U16, every)
        };
        DeviceSettings {
            name: format!("meter-{unit}").into(),
            bus: "line".into(),
            unit: UnitId(unit),
            points: (0..30).map(point).collect(),
            computed: Vec::new(),
            allowed: Allowed::default(),
        }
    }

    fn forecast(baud: u32, periods_ms: &[u64]) -> Forecast {
        let devices = (1..).zip(periods_ms);
        let devices = devices.map(|(unit, ms)| meter(unit, Duration::from_millis(*ms)));
        Forecast::new(&bus(baud), &devices.collect::<Vec<_>>(), &Memory::default())
    }

    #[test]
    fn a_bus_is_told_by_its_transactions_bytes_and_time() {
        let forecast = forecast(9_600, &[1000; 4]);
        assert_eq!((forecast.reads.len(), forecast.wire_bytes()), (4, 4 * (8 + 65)));
        assert_eq!(forecast.wire().as_millis(), 338);
        assert!((forecast.utilisation() - 0.3387).abs() < 0.0001);
        let read = &forecast.reads[2];
        assert_eq!((read.unit, read.range.count(), read.points.len()), (UnitId(3), 30, 30));
        assert_eq!(forecast.overload(), None);
    }

    #[test]
    fn periods_that_cannot_be_kept_are_told_with_the_numbers() {
        let (message, remedy) = forecast(9_600, &[1000, 100, 250]).overload().expect("too much");
        assert_eq!(
            message,
            "the bus `line` cannot keep its periods: reading everything once takes 254 ms, and as often as is asked \
             for 127 % of its time; tightest is `meter-2/r0` with 169 ms to do in 100 ms"
        );
        assert!(remedy.contains("1.3 times as long"), "{remedy}");
    }

    #[test]
    fn the_tightest_point_counts_what_is_in_its_way() {
        let tightest = forecast(9_600, &[1000, 10_000]).tightest().expect("there are reads");
        assert_eq!((&*tightest.device, &*tightest.point), ("meter-1", "r0"));
        assert_eq!(tightest.needs.as_millis(), 169, "its own read and the longer one");
    }
}

//! A gateway whose device counts its reads, and the books on what of that arrived.

use std::collections::{BTreeMap, BTreeSet};

use crate::reading::{Reading, readings};
use crate::support::{Fieldpost, ModbusServer, Mosquitto, Site, Subscriber, wait_until};

/// Points that all show the device's counter: so many messages for each read.
pub const POINTS: usize = 12;

/// A device that counts, a gateway, a broker, and a subscriber with a session of its own at QoS 2.
pub struct Counting {
    pub site: Site,
    pub device: ModbusServer,
    pub broker: Mosquitto,
    pub far: Subscriber,
    pub gateway: Fieldpost,
}

impl Counting {
    /// Starts everything; `uplink` is more of the uplink's YAML: keys, each with a comma before it. `port` says where the
    /// gateway finds the broker, if it is not the broker's own port.
    #[track_caller]
    pub fn start(every: &str, uplink: &str, port: impl FnOnce(&Mosquitto) -> u16) -> Self {
        Self::start_at(Site::new(), every, uplink, port)
    }

    /// The same at a site that was prepared.
    #[track_caller]
    pub fn start_at(
        site: Site,
        every: &str,
        uplink: &str,
        port: impl FnOnce(&Mosquitto) -> u16,
    ) -> Self {
        Self::start_with(site, (every, "json", "gw/+/+"), uplink, port)
    }

    /// The same with the `format` of the device, and the filter that the subscriber has for it.
    #[track_caller]
    pub fn start_with(
        site: Site,
        (every, format, filter): (&str, &str, &str),
        uplink: &str,
        port: impl FnOnce(&Mosquitto) -> u16,
    ) -> Self {
        let device = ModbusServer::pymodbus_tcp(&[], Some(0));
        let broker = Mosquitto::start();
        let far = Subscriber::paho(broker.port(), "far", filter);
        let points: String = (0..POINTS)
            .map(|point| format!("      p{point}: {{ holding: 0, type: u32 }}\n"))
            .collect();
        site.write_config(&format!(
            "gateway: {{ id: gw, state_dir: \"{{state}}\" }}
buses: {{ plant: {{ modbus-tcp: \"127.0.0.1:{}\", timeout: 10s }} }}
devices:
  d:
    bus: plant
    unit: 1
    every: {every}
    format: {format}
    points:
{points}
uplinks: {{ far: {{ url: \"mqtt://127.0.0.1:{}\"{uplink} }} }}
",
            device.port(),
            port(&broker),
        ));
        let gateway = site.start();
        Self { site, device, broker, far, gateway }
    }

    /// Waits until the device was read `more` times.
    #[track_caller]
    pub fn wait_for_reads(&self, more: usize) {
        let until = self.device.counted().len() + more;
        wait_until("the device is read", || self.device.counted().len() >= until);
    }

    /// Waits until the far subscriber has got `more` readings.
    #[track_caller]
    pub fn wait_for_arrivals(&self, more: usize) {
        let until = self.far.received().len() + more;
        wait_until("readings arrive", || self.far.received().len() >= until);
    }

    /// Stops the gateway in good order, which must leave nothing behind, and waits until all has arrived.
    #[track_caller]
    pub fn finish(&mut self) -> Books {
        // Readings that were taken in an outage may be more than the time for a stop is enough for.
        self.wait_for_current();
        let status = self.gateway.sigterm();
        let log = self.gateway.log();
        assert!(status.success(), "{log}");
        assert!(log.trim_end().ends_with("gateway stopped queued=0"), "{log}");
        let last = *self.device.counted().last().expect("it was read");
        wait_until("the last reading arrives", || {
            let got = readings(&self.far.received());
            got.iter().filter(|reading| reading.value == last).count() >= POINTS
        });
        Books::new(&readings(&self.far.received()))
    }

    /// The books in the order in which the broker took the messages: it numbers them then, and it delivers messages of QoS 1
    /// and 2 past one another.
    pub fn books_by_packet_id(&self) -> Books {
        let mut all = readings(&self.far.received());
        all.sort_by_key(|reading| reading.delivery.0);
        Books::new(&all)
    }

    /// Waits until a reading that was taken after this call has arrived.
    #[track_caller]
    fn wait_for_current(&self) {
        let now = *self.device.counted().last().expect("it was read");
        wait_until("the queue is empty", || {
            let got = readings(&self.far.received());
            got.iter().rev().take(5 * POINTS).any(|got| got.value.as_u64() > Some(now.into()))
        });
    }
}

/// What arrived, sorted out.
pub struct Books {
    /// Arrivals in all.
    pub arrived: usize,
    /// Arrivals whose reading had arrived before.
    pub repeated: usize,
    /// The topics at which that happened.
    pub repeated_at: BTreeSet<String>,
    /// Values of the counter that arrived twice at a point under different ids.
    pub twice: usize,
    /// First arrivals that came after a later reading of the same point.
    pub out_of_order: usize,
    /// Between two starts of the gateway: values the device gave and that arrived at no point, or not at all of them.
    pub gaps: Vec<u64>,
    /// Values missing between the first and the last of one start, at any point.
    pub holes: Vec<u64>,
}

impl Books {
    fn new(all: &[Reading]) -> Self {
        let mut books = Self {
            arrived: all.len(),
            repeated: 0,
            repeated_at: BTreeSet::new(),
            twice: 0,
            out_of_order: 0,
            gaps: Vec::new(),
            holes: Vec::new(),
        };
        let mut ids: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        let mut values = BTreeSet::new();
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        // What arrived of each start, point by point.
        let mut starts: BTreeMap<u64, BTreeMap<&str, BTreeSet<u64>>> = BTreeMap::new();
        for reading in all {
            assert_eq!(reading.quality, "good", "{reading:?}");
            let (value, topic) = (reading.value.as_u64().expect("a count"), &*reading.topic);
            let (packet_id, dup) = reading.delivery;
            if let Some(earlier) = ids.insert(reading.id, packet_id) {
                // mosquitto forgets over a restart that it had sent PUBREL, and delivers the same packet again. A message
                // that the gateway had doubled would come under another packet id and without DUP.
                if !(dup && earlier == packet_id) {
                    books.repeated += 1;
                    books.repeated_at.insert(topic.to_owned());
                }
                continue;
            }
            books.twice += usize::from(!values.insert((topic, value)));
            let last = last.entry(topic).or_default();
            books.out_of_order += usize::from(value <= *last);
            *last = value.max(*last);
            starts.entry(reading.id.0).or_default().entry(topic).or_default().insert(value);
        }
        let mut end = 0;
        for points in starts.values() {
            let first = points.values().filter_map(BTreeSet::first).min().copied().unwrap();
            let last = points.values().filter_map(BTreeSet::last).max().copied().unwrap();
            assert_eq!(points.len(), POINTS, "every point of a start arrives");
            books.gaps.push(first.saturating_sub(end + 1));
            for values in points.values() {
                books.holes.extend((first..=last).filter(|value| !values.contains(value)));
            }
            end = last;
        }
        books
    }

    /// Nothing is missing but what a kill cut off: at most `cut_max` reads at a kill, and at most two at most kills.
    #[track_caller]
    pub fn assert_nothing_lost(&self, cut_max: u64) {
        assert!(self.holes.is_empty(), "lost in the middle: {:?}", self.holes);
        let worst = self.gaps.iter().max().copied().unwrap_or_default();
        assert!(worst <= cut_max, "lost at the starts: {:?}", self.gaps);
        let few = self.gaps.iter().filter(|gap| **gap <= 2).count();
        assert!(few * 2 >= self.gaps.len(), "lost at the starts: {:?}", self.gaps);
    }

    /// Nothing arrived twice, and each point's readings arrived in the order they were taken.
    #[track_caller]
    pub fn assert_nothing_doubled(&self) {
        assert_eq!((self.repeated, self.twice, self.out_of_order), (0, 0, 0));
    }

    /// Readings may have arrived again, but each point's first arrivals are in order.
    #[track_caller]
    pub fn assert_in_order(&self) {
        assert_eq!((self.twice, self.out_of_order), (0, 0));
    }
}

impl Drop for Counting {
    /// A failure is told with the gateway's own words.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.gateway.log();
            let begin = log.len().saturating_sub(8000);
            println!("{}", log.get(begin..).unwrap_or(&log));
            if let Some(dir) = std::env::var_os("ROAD_KEEP") {
                let dir = std::path::PathBuf::from(dir);
                let all: String = self
                    .far
                    .received()
                    .iter()
                    .map(|got| format!("{} {} {}\n", got.mid, got.topic, got.payload))
                    .collect();
                let _ = std::fs::write(dir.join("far"), all);
                let _ = std::fs::write(dir.join("broker"), self.broker.log());
                let _ = std::fs::write(dir.join("gateway"), self.gateway.log());
            }
        }
    }
}

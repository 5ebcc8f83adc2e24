//! core: how a run went, for people and for scripts.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

/// How a run went. What arrived is counted at the upstream.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Summary {
    /// From the start to the last reading waited for.
    pub duration: Duration,
    /// Readings the gateway took from its devices.
    pub polled: u64,
    /// Distinct readings that arrived upstream.
    pub delivered: u64,
    /// Readings that had not arrived when the run ended.
    pub lost: u64,
    /// Readings that arrived again, each time counted.
    pub doubled: u64,
    /// Messages upstream that should be readings and cannot be read.
    pub unreadable: u64,
    /// Devices of the gateway.
    pub devices: usize,
    /// How many of them answered in the end, as it was said upstream.
    pub devices_online: usize,
    /// The most messages that waited for the upstream at once.
    pub queue_peak: u64,
    /// From the start of the program to the first reading upstream.
    pub first_delivery: Option<Duration>,
    /// The longest a reading was on its way.
    pub slowest_delivery: Duration,
    /// How long the upstream was away.
    pub outage: Duration,
    /// From the end of the outage until everything polled before had arrived.
    pub drained: Option<Duration>,
    /// QoS of the uplink.
    pub qos: u8,
    /// Processor time of the whole process, devices and upstream included.
    pub cpu: Option<Duration>,
    /// Memory of the whole process in bytes, devices and upstream included.
    pub rss_bytes: Option<u64>,
}

impl Summary {
    /// Whether something arrived, all of it, once.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        self.delivered > 0 && self.lost == 0 && self.doubled == 0 && self.unreadable == 0
    }

    /// One flat object.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "polled": self.polled,
            "delivered": self.delivered,
            "lost": self.lost,
            "doubled": self.doubled,
            "unreadable": self.unreadable,
            "devices": self.devices,
            "devices_online": self.devices_online,
            "queue_peak": self.queue_peak,
            "first_delivery_ms": self.first_delivery.map(whole_ms),
            "slowest_delivery_ms": whole_ms(self.slowest_delivery),
            "outage_s": seconds(self.outage),
            "drained_ms": self.drained.map(whole_ms),
            "duration_s": seconds(self.duration),
            "qos": self.qos,
            "cpu_s": self.cpu.map(seconds),
            "rss_mb": self.rss_bytes.map(megabytes),
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { polled, delivered, lost, doubled, unreadable, queue_peak, .. } = self;
        let run = seconds(self.duration);
        write!(f, "{run:.1}s: {polled} readings polled, {delivered} delivered, ")?;
        writeln!(f, "{lost} lost, {doubled} doubled")?;
        if *unreadable > 0 {
            writeln!(f, "{unreadable} messages arrived that cannot be read")?;
        }
        let (devices, online) = (self.devices, self.devices_online);
        if online < devices {
            writeln!(f, "only {online} of {devices} devices answered: RUST_LOG=warn says why")?;
        }
        if let Some(first) = self.first_delivery {
            write!(f, "first delivery after {} ms, ", whole_ms(first))?;
        }
        write!(f, "at most {queue_peak} waiting")?;
        if let Some(bytes) = self.rss_bytes {
            write!(f, ", {:.1} MB", megabytes(bytes))?;
        }
        if let Some(drained) = self.drained {
            let (outage, drained) = (seconds(self.outage), seconds(drained));
            write!(f, "\noutage of {outage:.1}s made up for {drained:.1}s after its end")?;
        }
        Ok(())
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Seconds with milliseconds.
fn seconds(duration: Duration) -> f64 {
    Duration::from_millis(whole_ms(duration)).as_secs_f64()
}

/// Megabytes with one decimal.
fn megabytes(bytes: u64) -> f64 {
    let tenths = u32::try_from((bytes + 50_000) / 100_000).unwrap_or(u32::MAX);
    f64::from(tenths) / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        Summary {
            duration: Duration::from_micros(10_123_456),
            polled: 612,
            delivered: 612,
            devices: 4,
            devices_online: 4,
            queue_peak: 138,
            first_delivery: Some(Duration::from_millis(210)),
            outage: Duration::from_secs(3),
            drained: Some(Duration::from_millis(1400)),
            qos: 2,
            rss_bytes: Some(11_234_567),
            ..Summary::default()
        }
    }

    #[test]
    fn a_script_reads_one_flat_object() {
        let json = summary().json();
        assert_eq!(json["polled"], 612);
        assert_eq!(json["rss_mb"], 11.2);
        assert_eq!(json["duration_s"], 10.123);
        assert_eq!(json["drained_ms"], 1400);
        assert!(json["cpu_s"].is_null());
        let object = json.as_object().expect("an object");
        assert!(object.values().all(|value| !value.is_object() && !value.is_array()));
    }

    #[test]
    fn a_person_reads_what_happened() {
        assert_eq!(
            summary().to_string(),
            "10.1s: 612 readings polled, 612 delivered, 0 lost, 0 doubled\n\
             first delivery after 210 ms, at most 138 waiting, 11.2 MB\n\
             outage of 3.0s made up for 1.4s after its end"
        );
    }

    #[test]
    fn devices_that_did_not_answer_are_mentioned() {
        let text = Summary { devices_online: 2, ..summary() }.to_string();
        assert!(text.contains("\nonly 2 of 4 devices answered"), "{text}");
    }

    #[test]
    fn only_everything_once_is_fine() {
        assert!(summary().is_fine());
        assert!(!Summary { lost: 1, ..summary() }.is_fine());
        assert!(!Summary { doubled: 1, ..summary() }.is_fine());
        assert!(!Summary { unreadable: 1, ..summary() }.is_fine());
        assert!(!Summary { delivered: 0, ..summary() }.is_fine());
    }
}

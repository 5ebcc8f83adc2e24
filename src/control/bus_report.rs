//! core: how a bus and its devices are doing, as it is told to another process.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::report::QueueReport;
use crate::field::watch::trouble::Troubles;
use crate::field::watch::view::{BusView, DeviceView};
use crate::model::Timestamp;

/// How a bus is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BusReport {
    /// Its name in the configuration.
    pub name: String,
    /// Its port, as a person calls it.
    pub port: String,
    /// Whether that is open.
    pub open: bool,
    /// Since when it is or is not, RFC 3339.
    pub since: String,
    /// Why not, in plain words; `None` also while it is tried for the first time.
    pub reason: Option<String>,
    /// The share of the last minute with a question under way or the silence before it, 0 to 1.
    pub utilisation: f64,
    /// Questions a second, in the last minute.
    pub per_second: f64,
    /// Questions that ended since the start.
    pub asked: u64,
    /// Those of them that were answered, be it with a refusal.
    pub answered: u64,
    /// Frames that answered nothing that was asked then.
    pub passed_over: u64,
    /// What went wrong, by kind: `no_answer`, `echo`, `noise`, `short`, `checksum`, `wrong_unit`, `wrong_answer`, `late`, `refused`,
    /// `port`, `unfit`.
    pub errors: BTreeMap<String, u64>,
    /// What follows from all of it, in plain words.
    pub hints: Vec<String>,
    /// Its devices.
    pub devices: Vec<DeviceReport>,
}

/// How a device is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceReport {
    /// Its name in the configuration.
    pub name: String,
    /// Its unit id; `None` where there are none.
    pub unit: Option<u8>,
    /// `unknown`, `online`, `silent`, `garbling` or `refusing`.
    pub state: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// Questions that ended since the start.
    pub asked: u64,
    /// Those of them that it answered, be it with a refusal.
    pub answered: u64,
    /// The share of the last 64 questions that were answered, 0 to 1; `None` before the first.
    pub quality: Option<f64>,
    /// As those of the bus.
    pub errors: BTreeMap<String, u64>,
    /// What went wrong last, in plain words.
    pub last_error: Option<String>,
    /// When that was, RFC 3339.
    pub last_error_at: Option<String>,
    /// What it was found to allow, as it is written under the device in the configuration.
    pub learnt: Vec<String>,
    /// Its points by period.
    pub groups: Vec<GroupReport>,
}

/// Points of a device with one period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupReport {
    /// The period in milliseconds.
    pub every_ms: u64,
    /// Reads that were left out because the bus or the device was too slow.
    pub missed: u64,
}

/// How a gateway is doing beside its buses, which are told one by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayReport {
    /// The version of the program that runs.
    pub version: String,
    /// For how long, in seconds.
    pub running_s: u64,
    /// How the queue and its sessions are.
    pub queue: QueueReport,
}

impl BusReport {
    /// Of what was seen at `now`.
    #[must_use]
    pub fn new(name: &str, view: &BusView, now: Timestamp) -> Self {
        let BusView { port_name, port, tally, devices, hints, .. } = view;
        Self {
            name: name.to_owned(),
            port: port_name.clone(),
            open: port.is_open,
            since: before(now, port.lasted),
            reason: port.reason.as_deref().map(str::to_owned),
            utilisation: rounded(tally.utilisation),
            per_second: rounded(tally.per_second),
            asked: tally.asked,
            answered: tally.answered,
            passed_over: tally.passed_over,
            errors: errors(&tally.troubles),
            hints: hints.clone(),
            devices: devices.iter().map(|device| DeviceReport::new(device, now)).collect(),
        }
    }
}

impl DeviceReport {
    fn new(view: &DeviceView, now: Timestamp) -> Self {
        let DeviceView { name, unit, tally, learnt, groups } = view;
        let group = |(every, missed): &(Duration, u64)| GroupReport {
            every_ms: u64::try_from(every.as_millis()).unwrap_or(u64::MAX),
            missed: *missed,
        };
        Self {
            name: name.to_string(),
            unit: *unit,
            state: tally.condition.word().to_owned(),
            since: before(now, tally.lasted),
            asked: tally.asked,
            answered: tally.answered,
            quality: tally.quality.map(rounded),
            errors: errors(&tally.troubles),
            last_error: tally.last.as_ref().map(|(words, _)| words.to_string()),
            last_error_at: tally.last.as_ref().map(|(_, ago)| before(now, *ago)),
            learnt: learnt.clone(),
            groups: groups.iter().map(group).collect(),
        }
    }
}

fn before(now: Timestamp, ago: Duration) -> String {
    let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_unix_ms(now.unix_ms().saturating_sub(ago)).to_string()
}

/// Three digits are more than enough.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

fn errors(troubles: &Troubles) -> BTreeMap<String, u64> {
    troubles.iter().map(|(trouble, count)| (trouble.word().to_owned(), count)).collect()
}

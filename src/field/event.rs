//! core: what the field tells the rest of the house.

use std::sync::Arc;
use std::time::Duration;

use super::UnitId;
use super::health::Ailment;
use super::modbus::known::Lesson;
use super::modbus::pdu::ReadRange;
use crate::model::{Reading, Timestamp};

/// What a bus reports.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldEvent {
    /// The values of one device that came together: of one transaction, or of one poll where they go out together; or what is
    /// left of one that fell silent.
    Readings(Vec<Reading>),
    /// A device came or went.
    Device {
        /// Its name.
        device: Arc<str>,
        /// Whether it answers.
        state: DeviceState,
        /// When that was found out.
        time: Timestamp,
    },
}

/// Whether a device answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceState {
    /// It answers.
    Online,
    /// It does not, or its bus is gone.
    Offline {
        /// Why, in plain words.
        reason: Arc<str>,
    },
}

/// What a person should find in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact {
    /// A device answered for the first time.
    Answers { device: Arc<str>, unit: UnitId },
    /// A device gives nothing any more.
    FellSick { device: Arc<str>, unit: UnitId, ailment: Ailment, reason: Arc<str> },
    /// It still gives nothing, in another way.
    Turned { device: Arc<str>, unit: UnitId, ailment: Ailment, reason: Arc<str> },
    /// A device is back.
    AnswersAgain { device: Arc<str>, unit: UnitId, missed: u64, sick_for: Duration },
    /// A device refuses points that it is asked for.
    Refuses {
        device: Arc<str>,
        unit: UnitId,
        points: String,
        range: ReadRange,
        reason: Arc<str>,
        /// What to write instead.
        remedy: String,
    },
    /// What a device allows was found out, and the plan changes.
    Learnt { device: Arc<str>, unit: UnitId, lesson: Lesson },
    /// Reads are left out, seen at this device and period: the bus or the device is too slow for it.
    FellBehind { device: Arc<str>, every: Duration },
    /// That goes on.
    StillBehind { missed: u64, lasted: Duration },
    /// All periods were kept for a while; how many reads were left out before, and for how long.
    CaughtUp { missed: u64, lasted: Duration },
}

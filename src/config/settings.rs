//! core: what the program runs on: one value for each room, checked and with every default applied.

use std::sync::Arc;

use crate::broker::BrokerSettings;
use crate::clock::ClockTrust;
use crate::field::{BusSettings, DeviceSettings, LineSettings};
use crate::payload::DeviceFormat;
use crate::store::QueueSettings;
use crate::uplink::UplinkSettings;

/// The whole configuration as run.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The gateway itself.
    pub gateway: GatewaySettings,
    /// The Modbus buses, in the order of the file.
    pub buses: Vec<BusSettings>,
    /// The plain serial lines, in the order of the file.
    pub lines: Vec<LineSettings>,
    /// The devices, in the order of the file; each one's bus is among `buses` or `lines`.
    pub devices: Vec<DeviceSettings>,
    /// How the readings of each device look, by its name.
    pub formats: Vec<(Arc<str>, DeviceFormat)>,
    /// The upstream brokers, in the order of the file.
    pub uplinks: Vec<UplinkSettings>,
    /// The broker for the LAN.
    pub broker: BrokerSettings,
    /// The durable queue.
    pub queue: QueueSettings,
    /// The log.
    pub log: LogSettings,
}

/// The gateway itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewaySettings {
    /// Topic root and default client id: one topic level of 1 to 64 characters out of `a-z A-Z 0-9 - _ .`.
    pub id: Arc<str>,
    /// Whose word counts on whether the wall clock is right.
    pub clock: ClockTrust,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// The least level that is written, or filter directives such as `info,fieldpost::field=debug`.
    pub level: Arc<str>,
}

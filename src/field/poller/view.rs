//! core: what there is to see of a bus, out of its decisions.

use std::time::Instant;

use super::Poller;
use crate::field::PortSettings;
use crate::field::device::Device;
use crate::field::watch::account::{PortTally, Tally};
use crate::field::watch::diagnosis::{Carrier, hints};
use crate::field::watch::ring::RingCopy;
use crate::field::watch::traffic::Framing;
use crate::field::watch::view::{BusView, DeviceView, learnt};

impl Poller {
    /// What there is to see at `now`.
    pub(in crate::field) fn view(&self, frames: Option<RingCopy>, now: Instant) -> BusView {
        let (tally, port): (Tally, PortTally) = (self.account.tally(now), self.account.port(now));
        let devices: Vec<DeviceView> = self.devices.iter().map(|it| self.device(it, now)).collect();
        let carrier = match &self.port {
            PortSettings::Rtu(_) | PortSettings::Ascii(_) => Carrier::Serial,
            PortSettings::RtuOverTcp(_) | PortSettings::AsciiOverTcp(_) => Carrier::Converter,
            PortSettings::Tcp(_) | PortSettings::Tls(..) | PortSettings::Udp(_) => Carrier::Network,
        };
        BusView {
            port_name: self.port.to_string(),
            hints: hints(carrier, &port, &tally, &devices),
            port,
            tally,
            devices,
            framing: Framing::from(&self.port),
            frames,
        }
    }

    fn device(&self, device: &Device, now: Instant) -> DeviceView {
        let skipped: Vec<u64> = self.schedule.skipped().collect();
        let group = |index: &usize| {
            Some((self.schedule.every(*index)?, skipped.get(*index).copied().unwrap_or_default()))
        };
        DeviceView {
            name: device.settings.name.clone(),
            unit: Some(device.settings.unit.0),
            tally: device.account.tally(now),
            learnt: learnt(device.known.learnt()),
            groups: device.groups.iter().filter_map(group).collect(),
        }
    }
}

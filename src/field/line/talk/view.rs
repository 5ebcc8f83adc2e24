//! core: what there is to see of a plain serial line, out of its decisions.

use std::time::Instant;

use super::{Party, Talk};
use crate::field::watch::ring::RingCopy;
use crate::field::watch::traffic::Framing;
use crate::field::watch::view::{BusView, DeviceView};

impl Talk {
    /// What there is to see at `now`.
    pub(in crate::field::line) fn view(&self, frames: Option<RingCopy>, now: Instant) -> BusView {
        BusView {
            port_name: self.settings.port.to_string(),
            port: self.account.port(now),
            tally: self.account.tally(now),
            devices: self.parties.iter().map(|party| self.party(party, now)).collect(),
            // What a frame should look like is the operator's to say; the reason of each device tells what came instead.
            hints: Vec::new(),
            framing: Framing::Plain,
            frames,
        }
    }

    fn party(&self, party: &Party, now: Instant) -> DeviceView {
        let skipped: Vec<u64> = self.schedule.skipped().collect();
        let group = |request: &usize| {
            let count = skipped.get(*request).copied().unwrap_or_default();
            Some((self.schedule.every(*request)?, count))
        };
        DeviceView {
            name: party.device.settings.name.clone(),
            unit: None,
            tally: party.device.account.tally(now),
            learnt: Vec::new(),
            groups: party.requests.iter().filter_map(group).collect(),
        }
    }
}

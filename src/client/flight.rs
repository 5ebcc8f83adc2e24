//! core: what is under way towards the broker, each under its packet id, MQTT 5.0 section 2.2.1.

use std::collections::HashMap;

use crate::model::{TopicFilter, TopicName};
use crate::mqtt::{PacketId, Publish};

/// What an answer is awaited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Flight {
    /// SUBSCRIBE was sent for these.
    Subscribe(Vec<TopicFilter>),
    /// UNSUBSCRIBE was sent.
    Unsubscribe,
    /// PUBREL was sent for an id that an earlier process may have left open; this message is published under it then.
    Clearing(Box<Publish>),
    /// PUBLISH was sent.
    Published(TopicName),
    /// PUBREL was sent.
    Released(TopicName),
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Flights {
    by_id: HashMap<PacketId, Flight>,
    last: u16,
}

impl Flights {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Notes what is under way under an id that is not in use; `None` if all 65,535 are.
    pub(super) fn begin(&mut self, flight: impl FnOnce(PacketId) -> Flight) -> Option<PacketId> {
        if self.by_id.len() >= usize::from(u16::MAX) {
            return None;
        }
        loop {
            self.last = self.last.wrapping_add(1);
            if let Some(id) = PacketId::new(self.last).filter(|id| !self.by_id.contains_key(id)) {
                self.by_id.insert(id, flight(id));
                return Some(id);
            }
        }
    }

    /// What is under way under `id` goes on as `flight`.
    pub(super) fn go_on(&mut self, id: PacketId, flight: Flight) {
        self.by_id.insert(id, flight);
    }

    /// What was under way under `id`.
    pub(super) fn end(&mut self, id: PacketId) -> Option<Flight> {
        self.by_id.remove(&id)
    }

    /// The connection is gone, and with it every answer.
    pub(super) fn clear(&mut self) {
        self.by_id.clear();
    }
}

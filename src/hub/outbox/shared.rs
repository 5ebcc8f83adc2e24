//! core: what a shared subscription brought, when its member is gone for good (MQTT 5.0 section 4.8.2).

use super::Outbox;
use crate::hub::outgoing::Outgoing;
use crate::model::{QoS, TopicName};

impl Outbox {
    /// Sets the subscription ids of what was under way when the program started: the store does not have them.
    pub fn name_subscriptions(&mut self, ids: impl Fn(&TopicName, bool) -> Vec<u32>) {
        for (_, flight) in self.flights.iter_mut() {
            let out = &mut flight.out;
            out.subscription_ids = ids(&out.message.topic, out.shared);
        }
    }

    /// Messages in memory that another member of their shared subscriptions may get instead of this one, in the order of
    /// their places: at QoS 1 those that were not acknowledged, at QoS 2 those that were never sent [MQTT-4.8.2-5].
    #[must_use]
    pub fn unsettled_shared(&self) -> Vec<Outgoing> {
        let flights = self.flights.values().map(|flight| &flight.out);
        let in_flight = flights.filter(|out| out.qos == QoS::AtLeastOnce);
        let waiting = self.ready.iter().chain(self.live.iter());
        let waiting = waiting.filter(|out| out.qos > QoS::AtMostOnce);
        let mut found: Vec<Outgoing> =
            in_flight.chain(waiting).filter(|out| out.shared).cloned().collect();
        found.sort_by_key(|out| out.seq);
        found
    }
}

//! core: the packet ids of QoS 2 messages that were received and not yet released, MQTT 5.0 section 4.3.3.

use std::num::NonZeroU16;

use super::numbers::NumberMap;

/// The receiver's side of QoS 2: which packet ids are open, and which batch makes each durable.
#[derive(Debug, Default)]
pub struct Inbox {
    open: NumberMap<NonZeroU16, u64>,
}

/// What a QoS 2 PUBLISH is to the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Its id was free: the message goes on.
    First,
    /// Its id is open: the message is a repeat and goes no further; its PUBREC may leave after this batch.
    Repeat {
        /// The batch that makes the id durable.
        batch: u64,
    },
}

impl Inbox {
    /// Takes the ids a start found in the store.
    #[must_use]
    pub fn new(open: impl IntoIterator<Item = NonZeroU16>) -> Self {
        Self { open: open.into_iter().map(|id| (id, 0)).collect() }
    }

    /// A PUBLISH came under `packet_id`; if it is the first, `batch` will make the id durable.
    pub fn handle_publish(&mut self, packet_id: NonZeroU16, batch: u64) -> Received {
        match self.open.entry(packet_id) {
            std::collections::hash_map::Entry::Occupied(open) => {
                Received::Repeat { batch: *open.get() }
            }
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(batch);
                Received::First
            }
        }
    }

    /// Tells which batch a repeat of the message under `packet_id` must wait for; 0 for none.
    pub fn set_batch(&mut self, packet_id: NonZeroU16, batch: u64) {
        self.open.insert(packet_id, batch);
    }

    /// A PUBREL came; tells whether the id was open.
    pub fn handle_pubrel(&mut self, packet_id: NonZeroU16) -> bool {
        self.open.remove(&packet_id).is_some()
    }

    /// The open ids.
    pub fn into_ids(self) -> impl Iterator<Item = NonZeroU16> {
        self.open.into_keys()
    }

    /// How many ids are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether no id is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_is_recognised_until_it_is_released() {
        let id = NonZeroU16::MIN;
        let mut inbox = Inbox::default();
        assert_eq!(inbox.handle_publish(id, 7), Received::First);
        assert_eq!(inbox.handle_publish(id, 9), Received::Repeat { batch: 7 });
        assert!(inbox.handle_pubrel(id));
        assert!(!inbox.handle_pubrel(id));
        assert_eq!(inbox.handle_publish(id, 9), Received::First);
    }

    #[test]
    fn ids_found_in_the_store_are_open() {
        let id = NonZeroU16::MIN;
        assert_eq!(Inbox::new([id]).handle_publish(id, 1), Received::Repeat { batch: 0 });
    }
}

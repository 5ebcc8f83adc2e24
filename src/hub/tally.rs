//! core: what the hub has counted since the start and what it holds, for whoever shows it.

use crate::store::DropReason;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counted {
    /// PUBLISH packets of LAN clients.
    Received,
    /// Bytes of their payloads.
    ReceivedBytes,
    /// PUBLISH packets to LAN clients, repeats among them.
    Sent,
    /// Bytes of their payloads.
    SentBytes,
    /// Sessions that ended because nobody came back in time.
    SessionsExpired,
    /// Connections that ended because their client id connected again.
    TakenOver,
    /// Publications the rules did not allow.
    DeniedPublish,
    /// Wills the rules did not allow.
    DeniedWill,
    /// Subscriptions the rules did not allow.
    DeniedSubscribe,
    /// Messages that had waited and that the rules no longer allowed.
    DeniedDelivery,
    /// Subscriptions above [`subscriptions_max`](super::EngineOptions::subscriptions_max).
    TooManySubscriptions,
    /// Topics and filters above [`topic_levels_max`](super::EngineOptions::topic_levels_max).
    TopicTooDeep,
    /// Topics and filters above [`topic_bytes_max`](super::EngineOptions::topic_bytes_max).
    TopicTooLong,
    /// Messages that were not retained: [`retained_max`](super::EngineOptions::retained_max) and its bytes.
    NotRetained,
    /// Publications refused because the store takes nothing new ([`WhenFull::DropNewest`](crate::store::WhenFull)).
    NotStored,
    /// Messages above [`memory_queue_max`](super::EngineOptions::memory_queue_max) and its bytes.
    DroppedWaiting,
    /// Messages above [`client_queue_max`](super::EngineOptions::client_queue_max).
    DroppedStored,
    /// [`DropReason::QueueFull`].
    QueueFull,
    /// [`DropReason::DiskFull`].
    DiskFull,
    /// [`DropReason::TooOld`].
    TooOld,
    /// [`DropReason::Expired`].
    Expired,
    /// [`DropReason::TooLarge`].
    TooLarge,
    /// [`DropReason::Purged`].
    Purged,
    /// [`DropReason::Thinned`].
    Thinned,
    /// Refused by the other side with a reason code.
    RefusedByOthers,
    /// Back from a bridge, or not sent to where they had been.
    Returning,
}

impl Counted {
    /// All kinds in their order.
    pub const ALL: [Self; 26] = [
        Self::Received,
        Self::ReceivedBytes,
        Self::Sent,
        Self::SentBytes,
        Self::SessionsExpired,
        Self::TakenOver,
        Self::DeniedPublish,
        Self::DeniedWill,
        Self::DeniedSubscribe,
        Self::DeniedDelivery,
        Self::TooManySubscriptions,
        Self::TopicTooDeep,
        Self::TopicTooLong,
        Self::NotRetained,
        Self::NotStored,
        Self::DroppedWaiting,
        Self::DroppedStored,
        Self::QueueFull,
        Self::DiskFull,
        Self::TooOld,
        Self::Expired,
        Self::TooLarge,
        Self::Purged,
        Self::Thinned,
        Self::RefusedByOthers,
        Self::Returning,
    ];

    /// What a drop for this reason is counted as; what was damaged is no drop of the hub's.
    pub(super) fn of_drop(reason: DropReason) -> Option<Self> {
        Some(match reason {
            DropReason::QueueFull => Self::QueueFull,
            DropReason::DiskFull => Self::DiskFull,
            DropReason::TooOld => Self::TooOld,
            DropReason::Expired => Self::Expired,
            DropReason::TooLarge => Self::TooLarge,
            DropReason::Purged => Self::Purged,
            DropReason::Thinned => Self::Thinned,
            DropReason::Damaged => return None,
        })
    }
}

/// A count for each kind. Only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts([u64; Counted::ALL.len()]);

impl Counts {
    /// How often it happened.
    #[must_use]
    pub fn of(&self, counted: Counted) -> u64 {
        // `Counted` numbers its kinds from 0 in the order of `ALL`.
        self.0[counted as usize]
    }

    /// It happened so often more.
    pub fn add(&mut self, counted: Counted, count: u64) {
        self.0[counted as usize] += count;
    }

    /// What was dropped because something was full or too old.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let kinds = [
            Counted::DroppedWaiting,
            Counted::DroppedStored,
            Counted::QueueFull,
            Counted::DiskFull,
            Counted::TooOld,
            Counted::Thinned,
        ];
        kinds.into_iter().map(|kind| self.of(kind)).sum()
    }
}

/// What the hub has counted and what it holds. Uplinks are no clients here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Since the start.
    pub counts: Counts,
    /// Clients that are connected.
    pub clients_connected: u64,
    /// Sessions of clients that are away.
    pub clients_away: u64,
    /// The most clients that were connected at one moment.
    pub clients_peak: u64,
    /// Subscriptions of clients, shared ones among them.
    pub subscriptions: u64,
    /// Members of shared subscriptions.
    pub shared_subscriptions: u64,
    /// Messages that wait for or are under way to clients and uplinks; what waits for two counts twice.
    pub queued: u64,
    /// Bytes of payload of those that are in memory.
    pub queued_bytes: u64,
    /// Retained messages.
    pub retained: u64,
    /// Bytes of their topics and payloads.
    pub retained_bytes: u64,
    /// Bytes of the database in use.
    pub store_bytes: u64,
    /// Batches made durable.
    pub commits: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_count_of_its_own() {
        let mut counts = Counts::default();
        for (place, counted) in (0..).zip(Counted::ALL) {
            counts.add(counted, place);
        }
        let read: Vec<u64> = Counted::ALL.map(|counted| counts.of(counted)).to_vec();
        assert_eq!(read, (0..26).collect::<Vec<u64>>());
    }
}

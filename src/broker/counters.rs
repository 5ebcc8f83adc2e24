//! core: what the broker's doors have seen since the start, for whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of all listeners together. Only grows, but for [`Self::connected`].
#[derive(Debug, Default)]
pub struct BrokerCounters {
    counts: [AtomicU64; Seen::COUNT],
    connected: AtomicU64,
    connected_peak: AtomicU64,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Seen {
    /// Connections taken, whatever became of them.
    Dialled,
    /// Clients that came in.
    Connected,
    /// Refused because [`connections`](super::Limits::connections) or the listener's own bound was reached.
    Full,
    /// Refused because its address came too often ([`connection_rate`](super::Limits::connection_rate)).
    TooOften,
    /// Ended before CONNECT to make room for another ([`half_open`](super::Limits::half_open)).
    Evicted,
    /// Ended because CONNECT did not come in time ([`connect_timeout`](super::Limits::connect_timeout)).
    TooSlow,
    /// Spoke something else than the listener does.
    WrongProtocol,
    /// TLS came to nothing.
    TlsFailed,
    /// A WebSocket was refused.
    UpgradeRefused,
    /// Refused at CONNECT for what it said or who it is.
    Denied,
    /// A certificate that was changed could not be taken.
    CertificateRefused,
}

impl Seen {
    /// How many kinds there are.
    const COUNT: usize = Self::ALL.len();

    /// All kinds in their order.
    pub const ALL: [Self; 11] = [
        Self::Dialled,
        Self::Connected,
        Self::Full,
        Self::TooOften,
        Self::Evicted,
        Self::TooSlow,
        Self::WrongProtocol,
        Self::TlsFailed,
        Self::UpgradeRefused,
        Self::Denied,
        Self::CertificateRefused,
    ];
}

impl BrokerCounters {
    /// How often it was seen.
    #[must_use]
    pub fn count(&self, seen: Seen) -> u64 {
        self.cell(seen).load(Ordering::Relaxed)
    }

    /// Clients that are in at this moment.
    #[must_use]
    pub fn connected(&self) -> u64 {
        self.connected.load(Ordering::Relaxed)
    }

    /// The most clients that were in at one moment.
    #[must_use]
    pub fn connected_peak(&self) -> u64 {
        self.connected_peak.load(Ordering::Relaxed)
    }

    /// Counts one.
    pub(super) fn see(&self, seen: Seen) {
        self.cell(seen).fetch_add(1, Ordering::Relaxed);
    }

    /// So many clients are in.
    pub(super) fn set_connected(&self, connected: u64) {
        self.connected.store(connected, Ordering::Relaxed);
        self.connected_peak.fetch_max(connected, Ordering::Relaxed);
    }

    fn cell(&self, seen: Seen) -> &AtomicU64 {
        // `Seen` numbers its kinds from 0 in the order of `ALL`.
        &self.counts[seen as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_count_of_its_own() {
        let counters = BrokerCounters::default();
        for (times, seen) in Seen::ALL.into_iter().enumerate() {
            assert_eq!(seen as usize, times, "{seen:?} stands at its number");
            (0..times).for_each(|_| counters.see(seen));
        }
        let counts: Vec<u64> = Seen::ALL.map(|seen| counters.count(seen)).to_vec();
        assert_eq!(counts, (0..11).collect::<Vec<u64>>());
    }
}

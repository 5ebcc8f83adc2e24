//! core: what the broker's doors have seen since the start, for whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::mqtt::{Carried, ReasonCode};

/// Counts of all listeners together. Only grows, but for [`Self::connected`].
#[derive(Debug, Default)]
pub struct BrokerCounters {
    counts: [AtomicU64; Seen::COUNT],
    connected: AtomicU64,
    connected_peak: AtomicU64,
    received: Way,
    sent: Way,
}

#[derive(Debug, Default)]
struct Way {
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Way {
    fn add(&self, carried: Carried) {
        // Most turns of a connection carry nothing one way.
        if carried.packets > 0 {
            self.packets.fetch_add(carried.packets, Ordering::Relaxed);
        }
        if carried.bytes > 0 {
            self.bytes.fetch_add(carried.bytes, Ordering::Relaxed);
        }
    }

    fn carried(&self) -> Carried {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Carried { packets: read(&self.packets), bytes: read(&self.bytes) }
    }
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
    /// Refused because as many sessions stand as may ([`sessions`](super::Limits::sessions)).
    TooManySessions,
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
    /// Refused at CONNECT without a look at its password: its address guesses.
    Guessing,
    /// Ended because a packet was larger than [`packet_bytes`](super::Limits::packet_bytes).
    PacketTooLarge,
    /// Ended because it had more under way than [`inflight`](super::Limits::inflight).
    TooManyInflight,
    /// Ended because nothing came for one and a half times its keep alive.
    Silent,
    /// Ended because what it sent is not MQTT, or was not its turn.
    ProtocolError,
    /// Ended because its client id connected again.
    TakenOver,
    /// Ended for another reason of ours: an operator's command, a user who is gone, a stop.
    SentAway,
    /// Ended by the client, or broke.
    Gone,
    /// A certificate that was changed could not be taken.
    CertificateRefused,
}

impl Seen {
    /// How many kinds there are.
    const COUNT: usize = Self::ALL.len();

    /// All kinds in their order.
    pub const ALL: [Self; 20] = [
        Self::Dialled,
        Self::Connected,
        Self::Full,
        Self::TooManySessions,
        Self::TooOften,
        Self::Evicted,
        Self::TooSlow,
        Self::WrongProtocol,
        Self::TlsFailed,
        Self::UpgradeRefused,
        Self::Denied,
        Self::Guessing,
        Self::PacketTooLarge,
        Self::TooManyInflight,
        Self::Silent,
        Self::ProtocolError,
        Self::TakenOver,
        Self::SentAway,
        Self::Gone,
        Self::CertificateRefused,
    ];

    /// As what a connection is counted that we end for `reason`.
    #[must_use]
    pub(super) fn of(reason: ReasonCode) -> Self {
        // The rest of the codes is said of other things than connections.
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "only some codes have a count of their own"
        )]
        match reason {
            ReasonCode::PacketTooLarge => Self::PacketTooLarge,
            ReasonCode::ReceiveMaximumExceeded => Self::TooManyInflight,
            ReasonCode::KeepAliveTimeout => Self::Silent,
            ReasonCode::SessionTakenOver => Self::TakenOver,
            ReasonCode::MalformedPacket
            | ReasonCode::ProtocolError
            | ReasonCode::UnsupportedProtocolVersion
            | ReasonCode::ClientIdNotValid
            | ReasonCode::TopicNameInvalid
            | ReasonCode::TopicFilterInvalid
            | ReasonCode::TopicAliasInvalid
            | ReasonCode::PayloadFormatInvalid => Self::ProtocolError,
            _ => Self::SentAway,
        }
    }

    /// What there were more of than was said.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Dialled => "connections",
            Self::Connected => "clients connected",
            Self::Full => "connections refused: as many clients as may",
            Self::TooManySessions => "connections refused: as many sessions as may",
            Self::TooOften => "connections refused: address connects too often",
            Self::Evicted => "connections ended that said no CONNECT, to make room",
            Self::TooSlow => "connections closed: no CONNECT came in time",
            Self::WrongProtocol => "connections that speak something else than the listener",
            Self::TlsFailed => "TLS handshakes that failed",
            Self::UpgradeRefused => "WebSockets refused",
            Self::Denied => "clients refused",
            Self::Guessing => "clients refused: address guesses passwords",
            Self::PacketTooLarge => "clients sent away: packet too large",
            Self::TooManyInflight => "clients sent away: receive maximum exceeded",
            Self::Silent => "clients sent away: keep alive timeout",
            Self::ProtocolError => "clients sent away: protocol error",
            Self::TakenOver => "clients sent away: session taken over",
            Self::SentAway => "clients sent away",
            Self::Gone => "clients gone",
            Self::CertificateRefused => "certificates refused",
        }
    }
}

/// Bytes and packets of MQTT, without TLS and WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// From clients.
    pub received: Carried,
    /// To clients.
    pub sent: Carried,
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

    /// What all clients together have sent and been sent.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        Traffic { received: self.received.carried(), sent: self.sent.carried() }
    }

    /// Adds what a connection carried.
    pub(super) fn carry(&self, traffic: Traffic) {
        self.received.add(traffic.received);
        self.sent.add(traffic.sent);
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
        assert_eq!(counts, (0..20).collect::<Vec<u64>>());
    }
}

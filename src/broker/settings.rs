//! core: what the broker for the LAN is run with, checked and with every default applied.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::protocol::ProtocolOptions;
use crate::access::AccessSettings;

/// The broker for the LAN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerSettings {
    /// Where it listens, in the order of the file; none if the gateway has no broker.
    pub listeners: Vec<ListenerSettings>,
    /// What all listeners together, each client and each address are held to.
    pub limits: Limits,
    /// Who may enter and who may do what.
    pub access: AccessSettings,
    /// How often `$SYS/broker/…` is brought up to date; `None` leaves it out.
    pub sys_interval: Option<Duration>,
}

impl Default for BrokerSettings {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            limits: Limits::default(),
            access: AccessSettings::default(),
            sys_interval: Some(SYS_INTERVAL),
        }
    }
}

/// As often as mosquitto does.
const SYS_INTERVAL: Duration = Duration::from_secs(10);

/// One place where clients may dial in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Where.
    pub at: ListenAt,
    /// TLS, if clients must speak it.
    pub tls: Option<ListenerTls>,
    /// WebSocket, if MQTT comes in its frames (MQTT 5.0 section 6).
    pub websocket: Option<WebSocketSettings>,
    /// What clients that come this way may do.
    pub rules: ListenerRules,
}

impl ListenerSettings {
    /// A plain listener: no TLS, no WebSocket, and whoever reaches it may connect without a name.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Self {
        let rules = ListenerRules { anonymous: true, ..ListenerRules::default() };
        Self { at: ListenAt::Address(address), tls: None, websocket: None, rules }
    }

    /// How a client writes the way here: `mqtt`, `mqtts`, `ws`, `wss` or `unix`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        match (&self.at, self.websocket.is_some(), self.tls.is_some()) {
            (ListenAt::Path { .. }, ..) => "unix",
            (ListenAt::Address(_), false, false) => "mqtt",
            (ListenAt::Address(_), false, true) => "mqtts",
            (ListenAt::Address(_), true, false) => "ws",
            (ListenAt::Address(_), true, true) => "wss",
        }
    }

    /// Whether programs on other machines can reach it.
    #[must_use]
    pub fn is_beyond_loopback(&self) -> bool {
        matches!(&self.at, ListenAt::Address(address) if !address.ip().to_canonical().is_loopback())
    }

    /// Whether nobody without a certificate gets as far as CONNECT.
    #[must_use]
    pub fn requires_certificate(&self) -> bool {
        let client_ca = self.tls.as_ref().and_then(|tls| tls.client_ca.as_ref());
        client_ca.is_some_and(|client_ca| client_ca.required)
    }
}

/// Where a listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAt {
    /// An address of this machine and a TCP port; port 0 takes a free one.
    Address(SocketAddr),
    /// A Unix socket.
    Path {
        /// Its file.
        path: PathBuf,
        /// The file's mode: who may connect.
        mode: u32,
    },
}

/// TLS of a listener. The files are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// A PEM file with the chain of certificates, the listener's own first.
    pub certificate: PathBuf,
    /// A PEM file with its key.
    pub key: PathBuf,
    /// Whose certificates clients may show; `None` asks for none.
    pub client_ca: Option<ClientCa>,
}

/// The authority that signs the certificates of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCa {
    /// A PEM file with one or more certificates.
    pub path: PathBuf,
    /// Whether a client without a certificate is turned away.
    pub required: bool,
}

/// WebSocket of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WebSocketSettings {
    /// Which pages a browser may connect from.
    pub origins: Origins,
}

/// Which pages a browser may connect from: the `Origin` it sends (RFC 6455 section 10.2). A program that is no browser
/// sends none and is not asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Origins {
    /// Pages of the host that was dialled, on any port. Without this, any page in the world that is open in a browser here
    /// could speak to a broker which asks for no password.
    #[default]
    SameHost,
    /// Any page.
    Any,
    /// These: `https://dashboard.example.com`.
    These(Vec<Arc<str>>),
}

/// What clients of one listener may do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListenerRules {
    /// Whether a client may connect without a name and password.
    pub anonymous: bool,
    /// Whether the common name of a client's verified certificate is its user name.
    pub certificate_user: bool,
    /// What a client id must begin with.
    pub client_id_prefix: Option<Arc<str>>,
    /// Clients at once; `None` leaves it to [`Limits::connections`].
    pub connections_max: Option<u32>,
    /// What every listener is held to.
    pub limits: Limits,
}

/// Bounds. Each says what happens when it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Clients of all listeners at once. One more is refused: 0x97 (quota exceeded), before 5.0 return code 3.
    pub connections: u32,
    /// Sessions of clients that outlive their connections, present or away. One more is refused: 0x97, before 5.0 return
    /// code 3.
    pub sessions: u32,
    /// Connections of one listener that have not said CONNECT. One more ends the one that has waited longest.
    pub half_open: u32,
    /// The same for one address. One more ends the longest waiting of that address.
    pub half_open_per_address: PerAddress,
    /// Connections a second from one address, as many at once. One more is refused: 0x9F (connection rate exceeded), before
    /// 5.0 return code 3; a TLS listener closes before the handshake.
    pub connection_rate: PerAddress,
    /// How long a client may take from the first byte to CONNECT, TLS and WebSocket included. Then it is closed.
    pub connect_timeout: Duration,
    /// The largest packet from a client, in bytes; announced to 5.0 clients. A larger one ends the connection: 0x95.
    pub packet_bytes: u32,
    /// Messages at QoS 1 and 2 under way to one client, and from one. More for it wait in its queue; it is told how many it
    /// may send (receive maximum), and one more ends the connection: 0x93.
    pub inflight: NonZeroU16,
    /// Messages waiting for one client whose session ends with its connection. Then the next is dropped.
    pub queued_messages: u32,
    /// Bytes of payload they may hold.
    pub queued_bytes: u32,
    /// Messages stored for one client, whether it is there or not. Then the next is dropped for it.
    pub stored_messages: u32,
    /// Bytes of payload they may hold.
    pub stored_bytes: u32,
    /// Subscriptions of one client. One more is refused: 0x97.
    pub subscriptions: u32,
    /// Retained messages. One more is delivered and not retained; a client of 5.0 at QoS 1 or 2 is told: 0x97.
    pub retained_messages: u32,
    /// Bytes of their topics and payloads.
    pub retained_bytes: u32,
    /// Levels of a topic or filter. More are refused: 0x90, 0x8F.
    pub topic_levels: u32,
    /// Bytes of a topic or filter. More are refused: 0x90, 0x8F.
    pub topic_bytes: u32,
    /// The longest keep alive in seconds that a client of 5.0 is given; others keep theirs. `None` leaves all theirs.
    pub keep_alive: Option<NonZeroU16>,
    /// Seconds a session outlives its connection; `u32::MAX` is for ever. A client of 5.0 is told.
    pub session_expiry: u32,
}

impl Limits {
    /// What the protocol of a connection is held to.
    #[must_use]
    pub fn protocol(&self) -> ProtocolOptions {
        ProtocolOptions {
            packet_bytes_max: self.packet_bytes,
            receive_maximum: self.inflight,
            keep_alive_max: self.keep_alive,
            ..ProtocolOptions::default()
        }
    }
}

/// A bound for each address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerAddress {
    /// The bound.
    pub max: u32,
    /// Whether it binds programs on this machine as well.
    pub binds_loopback: bool,
}

impl Default for Limits {
    fn default() -> Self {
        let sparing = |max| PerAddress { max, binds_loopback: false };
        Self {
            connections: 10_000,
            sessions: 20_000,
            half_open: 500,
            half_open_per_address: sparing(50),
            connection_rate: sparing(50),
            connect_timeout: Duration::from_secs(10),
            packet_bytes: 1024 * 1024,
            inflight: NonZeroU16::MIN.saturating_add(255),
            queued_messages: 10_000,
            queued_bytes: 4 << 20,
            stored_messages: 100_000,
            stored_bytes: 64 << 20,
            subscriptions: 1000,
            retained_messages: 100_000,
            retained_bytes: 64 << 20,
            topic_levels: 128,
            topic_bytes: 4096,
            keep_alive: None,
            session_expiry: 30 * 86_400,
        }
    }
}

impl PerAddress {
    /// Whom the bound counts `address` as: itself, the network of 64 bits which an IPv6 host has to itself, or nobody.
    #[must_use]
    pub fn counts(&self, address: IpAddr) -> Option<IpAddr> {
        let address = address.to_canonical();
        if address.is_loopback() {
            return self.binds_loopback.then_some(address);
        }
        Some(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(host) => IpAddr::V6((u128::from(host) & !u128::from(u64::MAX)).into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_counted_as_the_host_behind_it() {
        let counts = |text: &str, binds_loopback| {
            let per_address = PerAddress { max: 1, binds_loopback };
            per_address.counts(text.parse().expect("an address")).map(|ip| ip.to_string())
        };
        assert_eq!(counts("127.0.0.5", false), None);
        assert_eq!(counts("::1", false), None);
        assert_eq!(counts("::ffff:127.0.0.1", false), None);
        assert_eq!(counts("127.0.0.5", true).as_deref(), Some("127.0.0.5"));
        assert_eq!(counts("::1", true).as_deref(), Some("::1"));
        assert_eq!(counts("192.0.2.1", false).as_deref(), Some("192.0.2.1"));
        assert_eq!(counts("::ffff:192.0.2.1", false).as_deref(), Some("192.0.2.1"));
        assert_eq!(counts("2001:db8:1:2:3:4:5:6", false).as_deref(), Some("2001:db8:1:2::"));
    }
}

//! core: what the broker for the LAN is run with, checked and with every default applied.

use std::net::SocketAddr;

/// The broker for the LAN.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BrokerSettings {
    /// Where it listens, in the order of the file; none if the gateway has no broker.
    pub listeners: Vec<ListenerSettings>,
}

/// One place where clients may dial in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSettings {
    /// A loopback address and a port; port 0 takes a free one. Whoever reaches it may connect without a name.
    pub address: SocketAddr,
}

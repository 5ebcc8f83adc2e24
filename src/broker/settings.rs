//! core: what the broker for the LAN is run with, checked and with every default applied.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::access::AccessSettings;

/// The broker for the LAN.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BrokerSettings {
    /// Where it listens, in the order of the file; none if the gateway has no broker.
    pub listeners: Vec<ListenerSettings>,
    /// Who may enter and who may do what.
    pub access: AccessSettings,
}

/// One place where clients may dial in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSettings {
    /// A loopback address and a port; port 0 takes a free one.
    pub address: SocketAddr,
    /// What clients that come this way may do.
    pub rules: ListenerRules,
}

impl ListenerSettings {
    /// A plain listener: whoever reaches it may connect without a name.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Self {
        let rules = ListenerRules { anonymous: true, ..ListenerRules::default() };
        Self { address, rules }
    }
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
}

//! core: whom the rules are asked about.

use std::net::IpAddr;
use std::sync::Arc;

/// A client that has entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The user name it has proved, by a password or a certificate; `None` for a client that entered without.
    pub user: Option<Arc<str>>,
    /// Its client id.
    pub client_id: Arc<str>,
    /// Where it comes from; `None` over a Unix socket.
    pub address: Option<IpAddr>,
}

impl Principal {
    /// A client of this machine without user name.
    #[must_use]
    pub fn unnamed(client_id: &str) -> Arc<Self> {
        Arc::new(Self { user: None, client_id: Arc::from(client_id), address: None })
    }
}

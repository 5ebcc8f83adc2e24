//! core: who dialled in, as far as it is known before CONNECT.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A TCP peer.
    Address(SocketAddr),
    /// A process of this machine on a Unix socket; all that the system says of it.
    Unix {
        /// The user it runs as.
        uid: Option<u32>,
        /// Its process id, where the system knows it.
        pid: Option<i32>,
    },
}

impl Peer {
    /// The address; `None` on a Unix socket.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address.ip().to_canonical()),
            Self::Unix { .. } => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => {
                SocketAddr::new(address.ip().to_canonical(), address.port()).fmt(f)
            }
            Self::Unix { uid, pid } => {
                f.write_str("unix")?;
                uid.map_or(Ok(()), |uid| write!(f, ":uid={uid}"))?;
                pid.map_or(Ok(()), |pid| write!(f, ":pid={pid}"))
            }
        }
    }
}

/// Who dialled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    /// The other end of the connection.
    pub peer: Peer,
    /// The common name of the certificate it showed, if that was verified.
    pub certificate_name: Option<Arc<str>>,
}

//! core: where a client dials and how it introduces itself.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::mqtt::{Connect, Version};
use crate::tls::TlsSettings;

/// Where a broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A host name or address and a port.
    Tcp {
        /// Host name or address, IPv6 without brackets.
        host: Arc<str>,
        /// TCP port, 1 to 65,535.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Which broker is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where it is.
    pub place: Place,
    /// TLS, if that leads there; never over a Unix socket.
    pub tls: Option<TlsSettings>,
}

/// How a client introduces itself and how much it has under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSettings {
    /// CONNECT as it is sent on each connection.
    pub connect: Connect,
    /// Messages in flight at most, 1 to 65,535; the broker's receive maximum may lower it. `None` is 100, and 20 before 5.0,
    /// where a broker cannot say how many it takes: mosquitto drops QoS 2 messages beyond 20 without a word.
    pub window: Option<u16>,
}

impl ClientSettings {
    /// The version of the protocol.
    #[must_use]
    pub fn version(&self) -> Version {
        self.connect.version
    }

    /// Messages in flight at most.
    #[must_use]
    pub fn window(&self) -> u16 {
        self.window.unwrap_or(match self.version() {
            Version::V5 => 100,
            Version::V31 | Version::V311 => 20,
        })
    }
}

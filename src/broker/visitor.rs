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

/// What a peer speaks, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    /// It may be MQTT: the first byte is that of CONNECT.
    Mqtt,
    /// The beginning of a TLS handshake.
    Tls,
    /// The beginning of an HTTP request.
    Http,
    /// Nothing that is known here.
    Other,
}

impl Spoken {
    /// Judges by the first bytes, at least one.
    #[must_use]
    pub(super) fn of(bytes: &[u8]) -> Self {
        match bytes {
            [0x10, ..] => Self::Mqtt,
            // ContentType handshake, RFC 8446 section 5.1.
            [0x16] | [0x16, 0x03, ..] => Self::Tls,
            // A method is a word in capitals; the first byte of no MQTT packet that a client begins with is a letter.
            [b'A'..=b'Z', rest @ ..] if rest.iter().take(2).all(u8::is_ascii_uppercase) => {
                Self::Http
            }
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_known_by_its_first_bytes() {
        assert_eq!(Spoken::of(b"\x10\x0d\x00\x04MQTT"), Spoken::Mqtt);
        assert_eq!(Spoken::of(b"\x16\x03\x01\x02"), Spoken::Tls);
        assert_eq!(Spoken::of(b"GET / HTTP/1.1"), Spoken::Http);
        assert_eq!(Spoken::of(b"P"), Spoken::Http);
        assert_eq!(Spoken::of(b"P\x00"), Spoken::Other);
        assert_eq!(Spoken::of(b"\x20\x02"), Spoken::Other);
    }

    #[test]
    fn a_peer_is_shown_as_people_write_it() {
        let peer = |text: &str| Peer::Address(text.parse().expect("an address")).to_string();
        assert_eq!(peer("[::ffff:192.0.2.1]:5"), "192.0.2.1:5");
        assert_eq!(peer("[2001:db8::1]:5"), "[2001:db8::1]:5");
        assert_eq!(Peer::Unix { uid: Some(5), pid: Some(7) }.to_string(), "unix:uid=5:pid=7");
    }
}

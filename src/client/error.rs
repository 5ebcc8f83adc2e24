//! core: why a client's connection did not come about or is over.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::settings::Place;
use crate::model::QoS;
use crate::mqtt::{CodecError, EncodeError, ReasonCode, Version};
use crate::tls::TlsError;

/// Why a connection did not come about or is over, and what to look at.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The name of the host leads nowhere.
    #[error(
        "{host} cannot be found ({source}); is the name right, and does this machine have a name server?"
    )]
    Unknown {
        /// As given.
        host: Arc<str>,
        /// Why.
        source: io::Error,
    },
    /// Nobody listens there.
    #[error("{place} refuses the connection; is a broker listening there?")]
    NobodyListens {
        /// Where.
        place: Place,
    },
    /// There is no such socket.
    #[error("there is no socket {}; is a broker listening there?", path.display())]
    NoSocket {
        /// Which.
        path: PathBuf,
    },
    /// No connection for another reason.
    #[error("no connection to {place}: {source}")]
    Dial {
        /// Where.
        place: Place,
        /// Why.
        source: io::Error,
    },
    /// Nothing answered the connection, or its handshake.
    #[error("no connection to {place} within {} s; is the host up, and does a firewall let you through?", after.as_secs())]
    DialTimeout {
        /// Where.
        place: Place,
        /// For how long.
        after: Duration,
    },
    /// Certificates cannot be read.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// The TLS handshake failed.
    #[error("TLS with {place} failed: {problem}")]
    Handshake {
        /// Where.
        place: Place,
        /// What it means.
        problem: String,
    },
    /// No CONNACK in time.
    #[error("no answer to CONNECT within {} s; is this port an MQTT broker?", after.as_secs())]
    NoConnAck {
        /// For how long.
        after: Duration,
    },
    /// The connection was closed instead of a CONNACK.
    #[error(
        "the other side closed the connection without an answer to CONNECT; is this port an MQTT broker without TLS \
             that speaks {version}?"
    )]
    ClosedBeforeConnAck {
        /// What we spoke.
        version: Version,
    },
    /// The broker refused the connection.
    #[error("the broker refused the connection: {reason}{}{}", said(text.as_ref()), hint(*reason))]
    Refused {
        /// Why.
        reason: ReasonCode,
        /// The broker's own words.
        text: Option<Arc<str>>,
    },
    /// The connection was closed without a word.
    #[error("the other side closed the connection")]
    Closed,
    /// The broker said DISCONNECT.
    #[error("the broker ended the connection: {reason}{}{}", said(text.as_ref()), moved(server.as_ref()))]
    Disconnected {
        /// Why.
        reason: ReasonCode,
        /// The broker's own words.
        text: Option<Arc<str>>,
        /// Another server to use.
        server: Option<Arc<str>>,
    },
    /// Nothing came for one and a half keep alive intervals.
    #[error("nothing heard for {} s although we asked: the link or the broker is dead", silence.as_secs())]
    Silent {
        /// For how long.
        silence: Duration,
    },
    /// The broker wants more than a user name and a password.
    #[error("the broker wants enhanced authentication, which this client has not")]
    Auth,
    /// The broker sent what a server must not send, or not then.
    #[error("the broker sent {packet}, which breaks the protocol here")]
    Unexpected {
        /// Which packet.
        packet: &'static str,
    },
    /// The broker used a topic alias it was not given.
    #[error("the broker used topic alias {alias}, which stands for nothing")]
    Alias {
        /// Which.
        alias: u16,
    },
    /// The bytes are not MQTT.
    #[error("what the broker sent is not {version}: {source}")]
    Codec {
        /// What we spoke.
        version: Version,
        /// Why.
        source: CodecError,
    },
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Io(io::Error),
    /// A packet cannot be said.
    #[error("{0}")]
    Encode(#[from] EncodeError),
    /// The broker takes no such QoS.
    #[error("the broker takes QoS {most} at most: use -q {most}")]
    QoSTooHigh {
        /// What it takes.
        most: QoS,
    },
    /// The broker keeps nothing.
    #[error("the broker keeps no retained messages: leave -r out")]
    NoRetained,
    /// The broker takes no packet of this size.
    #[error("a message of {bytes} bytes is above the {most} the broker takes")]
    TooLarge {
        /// The packet's size in bytes.
        bytes: usize,
        /// The limit in bytes.
        most: u32,
    },
    /// The broker takes no such topic alias.
    #[error("the broker takes topic aliases up to {most}, and this one is {alias}")]
    AliasTooHigh {
        /// The alias.
        alias: u16,
        /// What it takes; 0 if none.
        most: u16,
    },
}

impl ClientError {
    /// Whether another try may go better: the connection was lost rather than refused.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unknown { .. }
            | Self::NobodyListens { .. }
            | Self::NoSocket { .. }
            | Self::Dial { .. }
            | Self::DialTimeout { .. }
            | Self::Handshake { .. }
            | Self::NoConnAck { .. }
            | Self::ClosedBeforeConnAck { .. }
            | Self::Closed
            | Self::Silent { .. }
            | Self::Io(_) => true,
            Self::Refused { reason, .. } | Self::Disconnected { reason, .. } => matches!(
                reason,
                ReasonCode::ServerUnavailable
                    | ReasonCode::ServerBusy
                    | ReasonCode::ServerShuttingDown
                    | ReasonCode::KeepAliveTimeout
                    | ReasonCode::ConnectionRateExceeded
                    | ReasonCode::UnspecifiedError
            ),
            Self::Tls(_)
            | Self::Auth
            | Self::Unexpected { .. }
            | Self::Alias { .. }
            | Self::Codec { .. }
            | Self::Encode(_)
            | Self::QoSTooHigh { .. }
            | Self::NoRetained
            | Self::TooLarge { .. }
            | Self::AliasTooHigh { .. } => false,
        }
    }
}

fn said(text: Option<&Arc<str>>) -> String {
    text.map(|text| format!(", it says: {text}")).unwrap_or_default()
}

fn moved(server: Option<&Arc<str>>) -> String {
    server.map(|server| format!("; it names another server: {server}")).unwrap_or_default()
}

fn hint(reason: ReasonCode) -> &'static str {
    if reason == ReasonCode::UnsupportedProtocolVersion {
        "; try another version: -V 311"
    } else if reason == ReasonCode::BadUserNameOrPassword || reason == ReasonCode::NotAuthorized {
        "; check user name and password (-u, --password-file)"
    } else if reason == ReasonCode::ClientIdNotValid {
        "; give another client id: -i"
    } else {
        ""
    }
}

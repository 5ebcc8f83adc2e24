//! shell: what comes before MQTT on a connection: TLS and the request for a WebSocket, where the listener wants them.
#![allow(clippy::disallowed_types, reason = "this shell owns sockets")]

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{AlertDescription, CertificateError, Error as TlsError, ServerConfig};

use super::certificate::common_name;
use super::counters::Seen;
use super::settings::WebSocketSettings;
use super::socket::Accepted;
use super::stream::Stream;
use super::visitor::Spoken;
use super::websocket::{UpgradeError, WebSocket};

/// Bytes a WebSocket message may have beyond the largest packet: it may hold several.
const MESSAGE_BYTES_MORE: usize = 64 * 1024;

/// How a listener receives.
#[derive(Debug, Clone)]
pub(super) struct Reception {
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) websocket: Option<Arc<WebSocketSettings>>,
    pub(super) packet_bytes_max: u32,
}

/// Somebody who may say CONNECT.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) stream: Stream,
    pub(super) certificate_name: Option<Arc<str>>,
}

impl From<Stream> for Received {
    fn from(stream: Stream) -> Self {
        Self { stream, certificate_name: None }
    }
}

/// Why nobody was received.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreceived {
    /// The peer speaks something else.
    #[error("{0}")]
    Foreign(&'static str),
    /// The peer does not speak as it should.
    #[error("{what}")]
    Wrong {
        /// As what it is counted.
        seen: Seen,
        /// In words that name the mistake and the remedy.
        what: String,
    },
    /// The connection ended.
    #[error("{0}")]
    Gone(#[from] io::Error),
}

/// Receives a connection as the listener wants it.
///
/// # Errors
/// [`Unreceived`].
pub(super) async fn receive(
    accepted: Accepted,
    reception: Reception,
) -> Result<Received, Unreceived> {
    let Reception { tls, websocket, packet_bytes_max } = reception;
    let tcp = match accepted {
        Accepted::Unix(stream) => return Ok(Stream::Unix(stream).into()),
        Accepted::Tcp(stream) => stream,
    };
    let message_bytes_max =
        usize::try_from(packet_bytes_max).unwrap_or(usize::MAX).saturating_add(MESSAGE_BYTES_MORE);
    let Some(tls) = tls else {
        let Some(websocket) = websocket else {
            return Ok(Stream::Tcp(tcp).into());
        };
        expect(&tcp, Spoken::Http).await?;
        let websocket = WebSocket::accept(tcp, &websocket.origins, message_bytes_max).await?;
        return Ok(Stream::WebSocket(Box::new(websocket)).into());
    };
    expect(&tcp, Spoken::Tls).await?;
    let stream = TlsAcceptor::from(tls).accept(tcp).await.map_err(|error| tls_failed(&error))?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let certificate_name = certificate.and_then(|certificate| common_name(certificate));
    let stream = match websocket {
        None => Stream::Tls(Box::new(stream)),
        Some(websocket) => Stream::SecureWebSocket(Box::new(
            WebSocket::accept(stream, &websocket.origins, message_bytes_max).await?,
        )),
    };
    Ok(Received { stream, certificate_name })
}

/// Looks at the first byte, which stays where it is.
async fn expect(tcp: &TcpStream, expected: Spoken) -> Result<(), Unreceived> {
    let mut first = [0; 3];
    let count = tcp.peek(&mut first).await?;
    let Some(first) = first.get(..count).filter(|first| !first.is_empty()) else {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    };
    let spoken = Spoken::of(first);
    if spoken == expected {
        return Ok(());
    }
    let what = match (spoken, expected) {
        (Spoken::Mqtt, Spoken::Tls) => {
            "an MQTT client without TLS on a TLS port: let it use TLS, or dial a port without"
        }
        (Spoken::Http, Spoken::Tls) => {
            "an HTTP client without TLS on a TLS port: let it use TLS (`wss://`, `https://`)"
        }
        (Spoken::Mqtt, _) => {
            "an MQTT client on a WebSocket port: let it use `ws://`, or dial a `tcp` port"
        }
        (Spoken::Tls, _) => {
            "a TLS client on a WebSocket port without TLS: let it use `ws://`, or dial a `wss` port"
        }
        (_, Spoken::Tls) => "a peer that speaks no TLS on a TLS port",
        (_, _) => "a peer that speaks no HTTP on a WebSocket port",
    };
    Err(Unreceived::Foreign(what))
}

fn wrong(seen: Seen, what: impl Into<String>) -> Unreceived {
    Unreceived::Wrong { seen, what: what.into() }
}

impl From<UpgradeError> for Unreceived {
    fn from(error: UpgradeError) -> Self {
        match error {
            UpgradeError::Refused(why) => {
                wrong(Seen::UpgradeRefused, format!("WebSocket refused: {why}"))
            }
            UpgradeError::Io(error) => Self::Gone(error),
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what has no words of its own here has rustls's"
)]
fn tls_failed(error: &io::Error) -> Unreceived {
    let Some(cause) = error.get_ref().and_then(|cause| cause.downcast_ref::<TlsError>()) else {
        let kind = error.kind();
        return match kind {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => wrong(
                Seen::TlsFailed,
                "TLS handshake broken off by the client: does it trust this listener's certificate?",
            ),
            _ => Unreceived::Gone(kind.into()),
        };
    };
    let what = match cause {
        TlsError::NoCertificatesPresented => {
            "client showed no certificate, and this listener asks for one (`client_ca`)".to_owned()
        }
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "client's certificate is not signed by this listener's `client_ca`".to_owned()
        }
        TlsError::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "client's certificate has expired; issue a new one, or set this machine's clock".to_owned()
        }
        TlsError::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => "client's certificate is not valid yet; is this machine's clock right?".to_owned(),
        TlsError::AlertReceived(
            AlertDescription::UnknownCA | AlertDescription::BadCertificate | AlertDescription::CertificateUnknown,
        ) => "client does not trust this listener's certificate: give it the authority that signed it".to_owned(),
        TlsError::AlertReceived(AlertDescription::CertificateExpired) => {
            "client says that this listener's certificate has expired; renew it, or set the client's clock".to_owned()
        }
        TlsError::PeerIncompatible(cause) => {
            format!("client and listener have no version or cipher of TLS in common ({cause:?}); TLS 1.2 and 1.3 are spoken")
        }
        cause => format!("TLS handshake failed: {cause}"),
    };
    wrong(Seen::TlsFailed, what)
}

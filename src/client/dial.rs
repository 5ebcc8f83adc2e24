//! shell: dials a broker over TCP, TLS or a Unix socket.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this shell opens sockets")]

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;

use super::error::ClientError;
use super::settings::{Place, Target};
use crate::tls;

/// How long a connection may take to come about, TLS included.
const DIAL_MAX: Duration = Duration::from_secs(15);

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A connection, whatever it goes over.
pub(super) struct Stream(Box<dyn Duplex>);

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stream")
    }
}

/// Dials `target`.
///
/// # Errors
/// [`ClientError`] says what to look at.
pub(super) async fn dial(target: &Target) -> Result<Stream, ClientError> {
    let place = target.place.clone();
    timeout(DIAL_MAX, connect(target))
        .await
        .unwrap_or(Err(ClientError::DialTimeout { place, after: DIAL_MAX }))
}

async fn connect(target: &Target) -> Result<Stream, ClientError> {
    let (host, port) = match &target.place {
        Place::Unix(path) => return unix(path).await,
        Place::Tcp { host, port } => (host, *port),
    };
    // Certificates that cannot be read are told before anybody is bothered.
    let tls = match &target.tls {
        Some(settings) => Some((tls::connector(settings)?, tls::server_name(host)?)),
        None => None,
    };
    let stream = tcp(host, port).await?;
    let Some((connector, name)) = tls else {
        return Ok(Stream(Box::new(stream)));
    };
    match connector.connect(name, stream).await {
        Ok(stream) => Ok(Stream(Box::new(stream))),
        Err(error) => {
            let (place, problem) = (target.place.clone(), tls::explain(&error, tls::Far::Broker));
            Err(ClientError::Handshake { place, problem })
        }
    }
}

/// Tries each address of the host in turn; tells of the last.
async fn tcp(host: &Arc<str>, port: u16) -> Result<TcpStream, ClientError> {
    let place = || Place::Tcp { host: host.clone(), port };
    let unknown = |source| ClientError::Unknown { host: host.clone(), source };
    let mut error = unknown(io::ErrorKind::NotFound.into());
    for address in lookup_host((&**host, port)).await.map_err(unknown)? {
        let connected = TcpStream::connect(address).await;
        match connected.and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
            Ok(stream) => return Ok(stream),
            Err(source) if source.kind() == io::ErrorKind::ConnectionRefused => {
                error = ClientError::NobodyListens { place: place() };
            }
            Err(source) => error = ClientError::Dial { place: place(), source },
        }
    }
    Err(error)
}

async fn unix(path: &Path) -> Result<Stream, ClientError> {
    match UnixStream::connect(path).await {
        Ok(stream) => Ok(Stream(Box::new(stream))),
        Err(error) => {
            let place = Place::Unix(path.to_owned());
            Err(if error.kind() == io::ErrorKind::NotFound {
                ClientError::NoSocket { path: path.to_owned() }
            } else if error.kind() == io::ErrorKind::ConnectionRefused {
                ClientError::NobodyListens { place }
            } else {
                ClientError::Dial { place, source: error }
            })
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(context)
    }
}

//! shell: connections to devices and converters: TCP, TLS over it, and datagrams.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "opens connections for the port they are part of"
)]

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout;

use super::{CONNECT_TIMEOUT, PortError, Stream};
use crate::field::{NamedTls, TcpSettings};
use crate::tls;

/// How long a connection may be quiet until the kernel asks whether the other side is there.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(15);
/// How long between two such questions.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(5);
/// How many of them may stay without an answer.
const KEEP_ALIVE_TRIES: u32 = 3;
/// How long what was sent may stay unacknowledged, in milliseconds.
const UNACKNOWLEDGED_MS: u32 = 30_000;
/// What of its input a converter's connection may hold before a question, in bytes.
const STALE_MAX: usize = 64 * 1024;

/// Connects to a device or converter.
pub(super) async fn connect(settings: &TcpSettings) -> Result<TcpStream, PortError> {
    let (host, port) = (Arc::clone(&settings.host), settings.port);
    let connecting = TcpStream::connect((&*host, port));
    let stream = match timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(source)) => return Err(PortError::Connect { host, port, source }),
        Err(_) => return Err(PortError::ConnectTimeout { host, port }),
    };
    let set = set_options(&stream);
    set.map(|()| stream).map_err(|source| PortError::Connect { host, port, source })
}

/// A request is one small packet: waiting to fill it would cost up to 40 ms each. And a device that was switched off
/// says no goodbye: a bus that asks once an hour finds out in seconds that it must connect again.
fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEP_ALIVE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, KEEP_ALIVE_EVERY)?;
    sockopt::set_tcp_keepcnt(stream, KEEP_ALIVE_TRIES)?;
    sockopt::set_tcp_user_timeout(stream, UNACKNOWLEDGED_MS)?;
    Ok(())
}

/// Connects and agrees on TLS.
pub(super) async fn connect_tls(
    settings: &TcpSettings,
    named: &NamedTls,
) -> Result<Box<dyn Stream>, PortError> {
    // Files are read at each connection, so that a renewed certificate needs no restart.
    let connector = tls::connector(&named.settings)?;
    let name = tls::server_name(named.name.as_ref().unwrap_or(&settings.host))?;
    let stream = connect(settings).await?;
    let (host, port) = (Arc::clone(&settings.host), settings.port);
    match timeout(CONNECT_TIMEOUT, connector.connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => {
            let problem = tls::explain(&error, tls::Far::Device);
            Err(PortError::Handshake { host, port, problem })
        }
        Err(_) => Err(PortError::ConnectTimeout { host, port }),
    }
}

/// Opens a socket that sends to one address and hears nobody else.
pub(super) async fn reach(settings: &TcpSettings) -> Result<UdpSocket, PortError> {
    let (host, port) = (Arc::clone(&settings.host), settings.port);
    let reached = timeout(CONNECT_TIMEOUT, bind_and_connect(&host, port)).await;
    match reached {
        Ok(reached) => reached.map_err(|source| PortError::Connect { host, port, source }),
        Err(_) => Err(PortError::ConnectTimeout { host, port }),
    }
}

async fn bind_and_connect(host: &str, port: u16) -> io::Result<UdpSocket> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in lookup_host((host, port)).await? {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await?;
        match socket.connect(address).await {
            Ok(()) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Takes off what a converter sent before it was asked.
pub(super) fn clear(stream: &TcpStream) -> io::Result<()> {
    let (mut buffer, mut stale) = ([0; 512], 0);
    while stale < STALE_MAX {
        match stream.try_read(&mut buffer) {
            // The end is found by whoever reads next.
            Ok(0) => return Ok(()),
            Ok(count) => stale += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether the other side ended the connection.
pub(super) fn is_closed(error: &io::Error) -> bool {
    [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe]
        .contains(&error.kind())
}

/// What an error of the network means.
#[allow(clippy::wildcard_enum_match_arm, reason = "the system knows many more")]
pub(super) fn words(error: &io::Error) -> String {
    let words = match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "refused (nothing listens there, or the device allows no further connection)"
        }
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "the device closed the connection (was it switched off, or does another program take its place?)"
        }
        io::ErrorKind::UnexpectedEof => {
            "the device closed the connection (it may close one that is idle, or serve another program)"
        }
        io::ErrorKind::HostUnreachable => "no such host in its network (is it on and plugged in?)",
        io::ErrorKind::NetworkUnreachable => "no way into its network (is the cable plugged in?)",
        io::ErrorKind::TimedOut if error.raw_os_error().is_some() => {
            "the device does not acknowledge what is sent (is it on and plugged in?)"
        }
        _ if error.to_string().starts_with("failed to lookup address") => {
            "no address is known for this name (is it spelt right, and can DNS be reached?)"
        }
        _ => return error.to_string(),
    };
    words.to_owned()
}

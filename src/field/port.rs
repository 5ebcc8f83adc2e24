//! shell: opens a serial port or a connection, reads and writes it.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the one place that opens ports and connections"
)]

mod holders;
mod network;
mod rs485;
mod serial;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio_serial::{ClearBuffer, SerialPort, SerialStream};

use super::{LinePort, PortSettings, SerialSettings};
use crate::tls::TlsError;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a port or connection could not be opened, in the words of the person who must change it.
#[derive(Debug, thiserror::Error)]
pub(super) enum PortError {
    #[error("{path} does not exist ({there})")]
    NotFound { path: Arc<str>, there: String },
    #[error("no permission to open {path}: {remedy}")]
    Permission { path: Arc<str>, remedy: String },
    #[error(
        "{path} is held by {holder} (a port serves one at a time: stop that, or take another port)"
    )]
    Busy { path: Arc<str>, holder: String },
    #[error("{path} cannot switch the direction of RS-485 by itself ({source}): remove `rs485`")]
    Rs485 { path: Arc<str>, source: io::Error },
    #[error(
        "cannot open {path} as a serial port: {detail} (is it one, and does it know this baud rate?)"
    )]
    Serial { path: Arc<str>, detail: String },
    #[error("cannot connect to {host}:{port}: {}", network::words(source))]
    Connect { host: Arc<str>, port: u16, source: io::Error },
    #[error("cannot connect to {host}:{port}: no answer within {} s (is it on, is the address right, does a firewall keep it away?)", CONNECT_TIMEOUT.as_secs())]
    ConnectTimeout { host: Arc<str>, port: u16 },
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] TlsError),
    #[error("no TLS with {host}:{port}: {problem}")]
    Handshake { host: Arc<str>, port: u16, problem: String },
}

/// An open port or connection.
pub(super) enum Port {
    Serial(SerialStream),
    Tcp(TcpStream),
    Tls(Box<dyn Stream>),
    Udp(UdpSocket),
}

/// A connection, whatever it runs over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Who else has the serial port of `settings` open, as far as that can be seen.
pub(super) async fn others(settings: &PortSettings) -> Vec<String> {
    match settings.serial() {
        Some(serial) => others_at(serial).await,
        None => Vec::new(),
    }
}

/// Who else has a serial port open.
pub(super) async fn others_at(serial: &SerialSettings) -> Vec<String> {
    holders::look(Arc::clone(&serial.path), false).await
}

/// Opens a serial port for this program alone; who has it, if it is held, is looked up.
async fn open_serial(serial: &SerialSettings) -> Result<Port, PortError> {
    match serial::open(serial) {
        Err(PortError::Busy { path, holder }) => {
            let others = holders::look(Arc::clone(&path), true).await;
            let holder = if others.is_empty() { holder } else { others.join(", ") };
            Err(PortError::Busy { path, holder })
        }
        opened => opened.map(Port::Serial),
    }
}

impl Port {
    /// Opens what `settings` names; a serial port for this program alone.
    pub(super) async fn open(settings: &PortSettings) -> Result<Self, PortError> {
        match settings {
            PortSettings::Rtu(serial) | PortSettings::Ascii(serial) => open_serial(serial).await,
            PortSettings::Tcp(tcp)
            | PortSettings::RtuOverTcp(tcp)
            | PortSettings::AsciiOverTcp(tcp) => network::connect(tcp).await.map(Self::Tcp),
            PortSettings::Tls(tcp, tls) => network::connect_tls(tcp, tls).await.map(Self::Tls),
            PortSettings::Udp(udp) => network::reach(udp).await.map(Self::Udp),
        }
    }

    /// Opens the port of a plain serial line.
    pub(super) async fn open_line(port: &LinePort) -> Result<Self, PortError> {
        match port {
            LinePort::Serial(serial) => open_serial(serial).await,
            LinePort::Tcp(tcp) => network::connect(tcp).await.map(Self::Tcp),
        }
    }

    /// What `error` of this port means; `answered` when something useful came over it before.
    pub(super) fn explain(&self, error: &io::Error, answered: bool) -> String {
        match self {
            // What the system says of an adapter that is pulled out.
            Self::Serial(_)
                if error.kind() == io::ErrorKind::UnexpectedEof || serial::is_gone(error) =>
            {
                "the serial port is gone (was the adapter pulled out?)".to_owned()
            }
            Self::Serial(_) if error.kind() == io::ErrorKind::TimedOut => error.to_string(),
            Self::Serial(_) => {
                format!(
                    "the serial port failed: {error} (is the adapter loose, or its driver gone?)"
                )
            }
            Self::Tcp(_) | Self::Tls(_) if !answered && network::is_closed(error) => {
                "the device closed the connection before it answered anything (does it allow one connection only, and \
                 another program has it?)"
                    .to_owned()
            }
            Self::Udp(_) if error.kind() == io::ErrorKind::ConnectionRefused => {
                "nothing listens there".to_owned()
            }
            Self::Tcp(_) | Self::Tls(_) | Self::Udp(_) => network::words(error),
        }
    }

    /// Reads what has come, waiting for the first byte; a closed connection is an error. Loses nothing when dropped.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (count, gone) = match self {
            Self::Serial(port) => (port.read(buffer).await?, "the serial port is gone"),
            Self::Tcp(stream) => (stream.read(buffer).await?, "the device closed the connection"),
            Self::Tls(stream) => (stream.read(buffer).await?, "the device closed the connection"),
            // A datagram may be empty.
            Self::Udp(socket) => return socket.recv(buffer).await,
        };
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, gone));
        }
        Ok(count)
    }

    /// Hands all of `bytes` to the operating system.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Serial(port) => port.write_all(bytes).await,
            Self::Tcp(stream) => stream.write_all(bytes).await,
            Self::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
            Self::Udp(socket) => socket.send(bytes).await.map(|_| ()),
        }
    }

    /// Throws away what has been received and nobody has read.
    pub(super) fn clear_input(&mut self) -> io::Result<()> {
        match self {
            Self::Serial(port) => port.clear(ClearBuffer::Input).map_err(io::Error::from),
            Self::Tcp(stream) => network::clear(stream),
            // Here frames have numbers, which tell old answers from others.
            Self::Tls(_) | Self::Udp(_) => Ok(()),
        }
    }
}

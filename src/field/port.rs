//! shell: opens a serial port or a TCP connection, reads and writes it.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the one place that opens ports and connections"
)]

use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_serial::{ClearBuffer, DataBits, FlowControl, SerialPort, SerialStream, StopBits};

use super::{Parity, PortSettings, SerialSettings, TcpSettings};

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What most systems call the group that may use serial ports.
const USUAL_GROUP: &str = "dialout";

/// Why a port or connection could not be opened, in the words of the person who must change it.
#[derive(Debug, thiserror::Error)]
pub(super) enum PortError {
    #[error("{path} does not exist (is the adapter plugged in?)")]
    NotFound { path: Arc<str> },
    #[error("no permission to open {path}: the user of this service must be in the group {group}")]
    Permission { path: Arc<str>, group: String },
    #[error("{path} is held by another program")]
    Busy { path: Arc<str> },
    #[error("cannot open {path} as a serial port: {detail}")]
    Serial { path: Arc<str>, detail: String },
    #[error("cannot connect to {host}:{port}: {source}")]
    Connect { host: Arc<str>, port: u16, source: io::Error },
    #[error("cannot connect to {host}:{port}: no answer within {} s", CONNECT_TIMEOUT.as_secs())]
    ConnectTimeout { host: Arc<str>, port: u16 },
}

/// An open port or connection.
#[derive(Debug)]
pub(super) enum Port {
    Serial(SerialStream),
    Tcp(TcpStream),
}

impl Port {
    /// Opens what `settings` names; a serial port for this program alone.
    pub(super) async fn open(settings: &PortSettings) -> Result<Self, PortError> {
        match settings {
            PortSettings::Rtu(serial) => open_serial(serial).map(Self::Serial),
            PortSettings::Tcp(tcp) => connect(tcp).await.map(Self::Tcp),
        }
    }

    /// Reads what has come, waiting for the first byte; a closed connection is an error. Loses nothing when dropped.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (count, gone) = match self {
            Self::Serial(port) => (port.read(buffer).await?, "the serial port is gone"),
            Self::Tcp(stream) => (stream.read(buffer).await?, "the device closed the connection"),
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
        }
    }

    /// Throws away what a serial port has received and nobody has read. On TCP nothing is thrown away: there the
    /// number of the transaction tells old answers from new ones.
    pub(super) fn clear_input(&mut self) -> io::Result<()> {
        match self {
            Self::Serial(port) => port.clear(ClearBuffer::Input).map_err(io::Error::from),
            Self::Tcp(_) => Ok(()),
        }
    }
}

fn open_serial(settings: &SerialSettings) -> Result<SerialStream, PortError> {
    let parity = match settings.parity {
        Parity::None => tokio_serial::Parity::None,
        Parity::Even => tokio_serial::Parity::Even,
        Parity::Odd => tokio_serial::Parity::Odd,
    };
    let stop_bits = if settings.stop_bits == 2 { StopBits::Two } else { StopBits::One };
    let builder = tokio_serial::new(&*settings.path, settings.baud)
        .data_bits(DataBits::Eight)
        .parity(parity)
        .stop_bits(stop_bits)
        .flow_control(FlowControl::None);
    let port = SerialStream::open(&builder).map_err(|error| explain(&settings.path, &error))?;
    // What came before the settings were in force means nothing.
    port.clear(ClearBuffer::All).map_err(|error| explain(&settings.path, &error))?;
    Ok(port)
}

fn explain(path: &Arc<str>, error: &tokio_serial::Error) -> PortError {
    let path = Arc::clone(path);
    match error.kind {
        tokio_serial::ErrorKind::NoDevice => PortError::Busy { path },
        tokio_serial::ErrorKind::Io(io::ErrorKind::NotFound) => PortError::NotFound { path },
        tokio_serial::ErrorKind::Io(io::ErrorKind::PermissionDenied) => {
            let group = group_of(&path).unwrap_or_else(|| USUAL_GROUP.to_owned());
            PortError::Permission { path, group }
        }
        tokio_serial::ErrorKind::Io(_)
        | tokio_serial::ErrorKind::InvalidInput
        | tokio_serial::ErrorKind::Unknown => {
            PortError::Serial { path, detail: error.to_string().to_lowercase() }
        }
    }
}

/// The name of the group a file belongs to.
fn group_of(path: &str) -> Option<String> {
    let id = std::fs::metadata(path).ok()?.gid().to_string();
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    })
}

async fn connect(settings: &TcpSettings) -> Result<TcpStream, PortError> {
    let (host, port) = (Arc::clone(&settings.host), settings.port);
    let connecting = TcpStream::connect((&*host, port));
    let stream = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(source)) => return Err(PortError::Connect { host, port, source }),
        Err(_) => return Err(PortError::ConnectTimeout { host, port }),
    };
    // A request is one small packet; waiting to fill it would cost up to 40 ms each.
    stream.set_nodelay(true).map_err(|source| PortError::Connect { host, port, source })?;
    Ok(stream)
}

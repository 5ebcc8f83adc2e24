//! shell: the listening socket: a TCP port, or a file that programs on this machine connect to.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this shell owns the listening socket and its file"
)]

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use super::settings::ListenAt;
use super::stream::Stream;
use super::visitor::Peer;

/// Connections that wait to be taken.
const BACKLOG: u32 = 1024;
/// A connection that is silent for so long is asked by the system whether it is still there, so often, and so many times: a
/// client that turned keep alive off and vanished is found out within two minutes; if something was on its way to it, when the
/// system gives that up, in a quarter of an hour.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(15);
const PROBES: u32 = 4;

/// Why a place cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The system's word on an address.
    #[error("cannot listen on {address}: {source}; {}", remedy(source))]
    Address {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The system's word on a file.
    #[error("cannot listen at {}: {problem}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why, and what to do about it.
        problem: String,
    },
}

/// What to do about an address that cannot be listened on.
#[allow(clippy::wildcard_enum_match_arm, reason = "the system has many words")]
fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "a port below 1024 is for root and services with `AmbientCapabilities=CAP_NET_BIND_SERVICE`: choose one above"
        }
        io::ErrorKind::AddrNotAvailable => {
            "it must be an address of this machine, as `ip address` shows them; 0.0.0.0 and [::] are all of them"
        }
        _ => "does another program, or a second fieldpost?",
    }
}

/// A listening socket.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix { listener: UnixListener, file: SocketFile },
}

/// A connection that was taken.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Accepted {
    /// The stream, unless something comes before MQTT on it.
    pub(super) fn into_plain(self, has_hello: bool) -> Result<Stream, Self> {
        match self {
            Self::Unix(stream) => Ok(Stream::Unix(stream)),
            Self::Tcp(stream) if !has_hello => Ok(Stream::Tcp(stream)),
            Self::Tcp(stream) => Err(Self::Tcp(stream)),
        }
    }
}

/// The file of a Unix socket; it goes with this.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Socket {
    /// Listens.
    ///
    /// # Errors
    /// [`SocketError`] names the place.
    pub(super) async fn bind(at: &ListenAt) -> Result<Self, SocketError> {
        match at {
            ListenAt::Address(address) => {
                let problem = |source| SocketError::Address { address: *address, source };
                bind_tcp(*address).map(Self::Tcp).map_err(problem)
            }
            ListenAt::Path { path, mode } => {
                let problem = |problem| SocketError::File { path: path.clone(), problem };
                let (listener, file) = bind_unix(path, *mode).await.map_err(problem)?;
                Ok(Self::Unix { listener, file })
            }
        }
    }

    /// Where it listens; a port that was chosen by the system is told. `None` for a file.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn address(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Some),
            Self::Unix { .. } => Ok(None),
        }
    }

    /// The file it listens at.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix { file, .. } => Some(&file.0),
        }
    }

    /// The next connection.
    ///
    /// # Errors
    /// The system's.
    pub(super) async fn accept(&self) -> io::Result<(Accepted, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((Accepted::Tcp(stream), Peer::Address(address)))
            }
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let process = stream.peer_cred().ok();
                let uid = process.as_ref().map(tokio::net::unix::UCred::uid);
                let pid = process.and_then(|process| process.pid());
                Ok((Accepted::Unix(stream), Peer::Unix { uid, pid }))
            }
        }
    }
}

/// What is set here holds for every connection that is taken: Linux hands it on.
fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // So that a restart need not wait for the connections of the last run to be forgotten.
    socket.set_reuseaddr(true)?;
    // Without it, small packets wait for the peer's delayed acknowledgement.
    sockopt::set_tcp_nodelay(&socket, true)?;
    socket.set_keepalive(true)?;
    sockopt::set_tcp_keepidle(&socket, PROBE_AFTER)?;
    sockopt::set_tcp_keepintvl(&socket, PROBE_EVERY)?;
    sockopt::set_tcp_keepcnt(&socket, PROBES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn bind_unix(path: &Path, mode: u32) -> Result<(UnixListener, SocketFile), String> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(
                "something else than a socket is there; move it, or choose another path".to_owned()
            );
        }
        Ok(_) if UnixStream::connect(path).await.is_ok() => {
            return Err("another program listens there; stop it, or choose another path".to_owned());
        }
        Ok(_) | Err(_) => {}
    }
    // It gets its mode before anybody can find it, and takes the place of one that a killed process left in one step.
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let _ = fs::remove_file(&beside);
    let problem = |error: io::Error| {
        format!("{error}; the directory must be there and writable for the user of the service")
    };
    let listener = UnixListener::bind(&beside).map_err(problem)?;
    let placed = fs::set_permissions(&beside, Permissions::from_mode(mode))
        .and_then(|()| fs::rename(&beside, path));
    if let Err(error) = placed {
        let _ = fs::remove_file(&beside);
        return Err(problem(error));
    }
    Ok((listener, SocketFile(path.to_owned())))
}

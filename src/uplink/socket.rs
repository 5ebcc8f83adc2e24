//! shell: the socket of an uplink.
#![allow(clippy::disallowed_types, reason = "this shell opens a socket")]

use std::io;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::TcpStream;

use super::settings::Server;

/// The pause between two probes of a silent connection.
const PROBE_EVERY: Duration = Duration::from_secs(10);
/// How many of them may go unanswered.
const PROBES_MAX: u32 = 3;

/// A socket that finds out by itself when the other end is gone: unacknowledged bytes for one and a half keep alives, or
/// probes nobody answers, end it.
pub(super) async fn connect(server: &Server, keep_alive: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((&*server.host, server.port)).await?;
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, keep_alive)?;
    sockopt::set_tcp_keepintvl(&stream, PROBE_EVERY)?;
    sockopt::set_tcp_keepcnt(&stream, PROBES_MAX)?;
    let unheard = (keep_alive + keep_alive / 2).as_millis();
    sockopt::set_tcp_user_timeout(&stream, u32::try_from(unheard).unwrap_or(u32::MAX))?;
    Ok(stream)
}

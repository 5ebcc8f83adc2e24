//! shell: takes connections on a TCP port and gives each its own task.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this shell owns the listening socket"
)]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::warn;

use super::connection::{serve, stopped};
use super::settings::{ListenerRules, ListenerSettings};
use super::visitor::{Peer, Visitor};
use crate::access::Gate;
use crate::hub::HubHandle;

/// How long to wait after the system refused to give a connection (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A plain TCP listener for MQTT.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    rules: Arc<ListenerRules>,
    gate: Gate,
}

impl Listener {
    /// Binds to the address in `settings`; port 0 takes a free one. `gate` says who may come in.
    ///
    /// # Errors
    /// The system's.
    pub async fn bind(settings: &ListenerSettings, gate: Gate) -> io::Result<Self> {
        let socket = TcpListener::bind(settings.address).await?;
        Ok(Self { socket, rules: Arc::new(settings.rules.clone()), gate })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves clients of `hub` until `stop` turns true; every connection has ended then.
    pub async fn run(self, hub: HubHandle, stop: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        let mut stopping = stop.clone();
        loop {
            tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) => {
                        // Without it, small packets wait for the peer's delayed acknowledgement.
                        let _ = stream.set_nodelay(true);
                        let visitor =
                            Visitor { peer: Peer::Address(peer), certificate_name: None };
                        let (rules, gate) = (self.rules.clone(), self.gate.clone());
                        let (hub, stop) = (hub.clone(), stop.clone());
                        connections.spawn(serve(stream, visitor, rules, gate, hub, stop));
                    }
                    Err(cause) => {
                        warn!(%cause, "a connection could not be taken");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
                () = stopped(&mut stopping) => break,
            }
        }
        drop(self.socket);
        while connections.join_next().await.is_some() {}
    }
}

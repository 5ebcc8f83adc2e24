//! shell: the stand-in upstream: a hub of its own behind a listener that can be cut.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Context as _;
use tokio::net::TcpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::access::Gate;
use crate::broker::{Listener, ListenerSettings};
use crate::hub::{EngineOptions, Hub, HubHandle};
use crate::store::Store;

/// A broker on loopback.
#[derive(Debug)]
pub(crate) struct Upstream {
    hub: HubHandle,
    address: SocketAddr,
    /// Bound and never listening: while the broker is cut, connections are refused and nobody else gets its port.
    _place: TcpSocket,
    /// The listener and how to stop it; `None` while cut.
    listening: Option<(watch::Sender<bool>, JoinHandle<()>)>,
}

impl Upstream {
    /// Starts it on a free port with its sessions and messages in `state_dir`.
    pub(crate) async fn start(state_dir: &Path) -> anyhow::Result<Self> {
        let (store_events, events) = mpsc::unbounded_channel();
        let (store, snapshot) = Store::open(state_dir, None, store_events)
            .context("cannot open the upstream's queue")?;
        let options = EngineOptions::default();
        let (hub, _) = Hub::start(options, Vec::new(), store, snapshot, events);
        let (place, address) = take_place().context("cannot take a port for the upstream")?;
        let mut upstream = Self { hub, address, _place: place, listening: None };
        upstream.restore().await?;
        Ok(upstream)
    }

    /// Its hub.
    pub(crate) fn hub(&self) -> &HubHandle {
        &self.hub
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection and refuses new ones. Sessions stay.
    pub(crate) async fn cut(&mut self) {
        if let Some((stop, listener)) = self.listening.take() {
            stop.send_replace(true);
            let _ = listener.await;
        }
    }

    /// Takes connections again, on the same port.
    pub(crate) async fn restore(&mut self) -> anyhow::Result<()> {
        if self.listening.is_none() {
            let settings = ListenerSettings::plain(self.address);
            let listener = Listener::bind(&settings, Gate::open()).await;
            let listener = listener.context("cannot let the upstream listen")?;
            let (stop, stopped) = watch::channel(false);
            let serving = tokio::spawn(listener.run(self.hub.clone(), stopped));
            self.listening = Some((stop, serving));
        }
        Ok(())
    }

    /// Ends it and closes its store.
    pub(crate) async fn stop(mut self) {
        self.cut().await;
        let _ = self.hub.stop().await;
    }
}

fn take_place() -> std::io::Result<(TcpSocket, SocketAddr)> {
    let place = TcpSocket::new_v4()?;
    // So that the listener may share the port.
    place.set_reuseaddr(true)?;
    place.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let address = place.local_addr()?;
    Ok((place, address))
}

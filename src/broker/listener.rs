//! shell: takes connections and gives each its own task, which says hello as the listener wants it.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this shell owns the listening socket and knows when a hello must be over"
)]

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, timeout_at};
use tracing::{debug, error, info, warn};

use super::connection::{Entry, serve, stopped};
use super::counters::Seen;
use super::door::{Door, Named, Pass};
use super::identity::{Identity, IdentityError};
use super::settings::{ListenerRules, ListenerSettings, WebSocketSettings};
use super::socket::{Accepted, Socket, SocketError};
use super::visitor::{Peer, Visitor};
use super::welcome::{Received, Reception, Unreceived, receive};
use crate::access::Gate;
use crate::hub::HubHandle;

/// How long to wait after the system refused to give a connection (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often the files of a certificate are looked at.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(1);
/// How long before its end a certificate is spoken of.
const EXPIRY_NOTICE: Duration = Duration::from_secs(14 * 86_400);

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Its place.
    #[error("{0}")]
    Socket(#[from] SocketError),
    /// Its certificate.
    #[error("{0}")]
    Identity(#[from] IdentityError),
    /// It listens, and the system does not say where.
    #[error("the system does not say where it listens: {0}")]
    Address(io::Error),
}

/// Where a listener is, as a client writes it: `mqtts://192.0.2.1:8883` or `unix:/run/fieldpost/mqtt.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerAddress {
    /// A TCP port.
    Tcp {
        /// `mqtt`, `mqtts`, `ws` or `wss`.
        scheme: &'static str,
        /// The port is the real one.
        address: SocketAddr,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for ListenerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { scheme, address } => write!(f, "{scheme}://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A place where clients dial in.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: ListenerAddress,
    identity: Option<Identity>,
    websocket: Option<Arc<WebSocketSettings>>,
    rules: Arc<ListenerRules>,
    gate: Gate,
    door: Arc<Door>,
    named: Arc<Named>,
    reload: watch::Receiver<u64>,
}

impl Listener {
    /// Listens as configured, with a door of its own. `gate` says who may come in.
    ///
    /// # Errors
    /// [`ListenError`] names the address or the file, and the remedy.
    pub async fn bind(settings: &ListenerSettings, gate: Gate) -> Result<Self, ListenError> {
        let (_, reload) = watch::channel(0);
        let door = Door::new(settings.rules.limits);
        Self::open(settings, &gate, &door, reload).await
    }

    /// Listens as configured behind a door that others share, and reads the certificate. A changed value of `reload` has it read again.
    ///
    /// # Errors
    /// [`ListenError`] names the address or the file, and the remedy.
    pub async fn open(
        settings: &ListenerSettings,
        gate: &Gate,
        door: &Arc<Door>,
        reload: watch::Receiver<u64>,
    ) -> Result<Self, ListenError> {
        let identity = settings.tls.as_ref().map(Identity::read).transpose()?;
        let socket = Socket::bind(&settings.at).await?;
        let address = match (socket.address().map_err(ListenError::Address)?, socket.path()) {
            (Some(address), _) => ListenerAddress::Tcp { scheme: settings.scheme(), address },
            (None, path) => ListenerAddress::Unix(path.map(PathBuf::from).unwrap_or_default()),
        };
        let index = door.add_listener(settings.rules.connections_max);
        let named = Arc::new(Named { index, name: address.to_string().into() });
        Ok(Self {
            socket,
            address,
            identity,
            websocket: settings.websocket.clone().map(Arc::new),
            rules: Arc::new(settings.rules.clone()),
            gate: gate.clone(),
            door: door.clone(),
            named,
            reload,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn at(&self) -> &ListenerAddress {
        &self.address
    }

    /// The address of a TCP listener.
    ///
    /// # Errors
    /// It is a Unix socket.
    pub fn address(&self) -> io::Result<SocketAddr> {
        match &self.address {
            ListenerAddress::Tcp { address, .. } => Ok(*address),
            ListenerAddress::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Serves clients of `hub` until `stop` turns true; every connection has ended then.
    pub async fn run(mut self, hub: HubHandle, stop: watch::Receiver<bool>) {
        self.tell_expiry();
        let mut connections = JoinSet::new();
        let mut stopping = stop.clone();
        let mut look = tokio::time::interval(CERTIFICATE_LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let has_identity = self.identity.is_some();
        let has_hello = has_identity || self.websocket.is_some();
        loop {
            tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok((accepted, peer)) => {
                        let Some((pass, too_often)) = self.door.handle_arrival(&self.named, peer) else { continue };
                        let ticket = pass.ticket();
                        if too_often && has_identity {
                            // Its handshake would cost what the bound is there to save.
                            self.door.say(&self.named, Seen::TooOften, &peer, &"address connects too often; closed");
                            continue;
                        }
                        let entry = self.entry(pass, too_often);
                        let (rules, hub, stop) = (self.rules.clone(), hub.clone(), stop.clone());
                        let task = match accepted.into_plain(has_hello) {
                            Ok(stream) => {
                                let visitor = Visitor { peer, certificate_name: None };
                                connections.spawn(serve(stream, visitor, rules, entry, hub, stop))
                            }
                            Err(accepted) => {
                                let reception = self.reception();
                                connections.spawn(attend(accepted, peer, reception, rules, entry, hub, stop))
                            }
                        };
                        self.door.remember(ticket, task);
                    }
                    Err(cause) => {
                        warn!(listener = %self.named.name, %cause, "a connection could not be taken");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
                _ = look.tick(), if has_identity => self.look(),
                Ok(()) = self.reload.changed(), if has_identity => self.read_again(),
                () = stopped(&mut stopping) => break,
            }
        }
        drop(self.socket);
        while connections.join_next().await.is_some() {}
    }

    /// What a connection is told when it enters its task.
    fn entry(&self, pass: Pass, too_often: bool) -> Entry {
        let deadline = Instant::now() + self.rules.limits.connect_timeout;
        Entry { pass, too_often, named: self.named.clone(), deadline, gate: self.gate.clone() }
    }

    fn reception(&self) -> Reception {
        Reception {
            tls: self.identity.as_ref().map(Identity::config),
            websocket: self.websocket.clone(),
            packet_bytes_max: self.rules.limits.packet_bytes,
        }
    }

    fn look(&mut self) {
        if let Some(result) = self.identity.as_mut().and_then(Identity::look) {
            self.tell_reading(result);
        }
    }

    fn read_again(&mut self) {
        if let Some(result) = self.identity.as_mut().map(Identity::read_again) {
            self.tell_reading(result);
        }
    }

    fn tell_reading(&self, result: Result<(), IdentityError>) {
        let listener = &self.named.name;
        match result {
            Ok(()) => {
                let file = self.identity.as_ref().map(|identity| identity.path().display());
                info!(%listener, file = file.map(tracing::field::display), "certificate read again; connections that are open stay");
                self.tell_expiry();
            }
            Err(cause) => {
                self.door.counters().see(Seen::CertificateRefused);
                error!(%listener, %cause, "changed certificate cannot be used; the one before stays until the file is right");
            }
        }
    }

    /// Speaks of a certificate that has expired or soon will.
    fn tell_expiry(&self) {
        let Some(identity) = &self.identity else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let left = identity.valid_until().saturating_sub(now);
        let (listener, file) = (&self.named.name, identity.path().display());
        if left == 0 {
            error!(%listener, %file, "certificate has expired, and clients that look will not connect; renew it, or set the clock");
        } else if left < EXPIRY_NOTICE.as_secs() {
            warn!(%listener, %file, days = left / 86_400, "certificate expires soon; renew it");
        }
    }
}

/// What comes before MQTT, then MQTT.
async fn attend(
    accepted: Accepted,
    peer: Peer,
    reception: Reception,
    rules: Arc<ListenerRules>,
    entry: Entry,
    hub: HubHandle,
    mut stop: watch::Receiver<bool>,
) {
    // In a box of its own: a connection does not carry the room for its hello along.
    let hello = Box::pin(timeout_at(entry.deadline.into(), receive(accepted, reception)));
    let received = tokio::select! {
        received = hello => received,
        () = stopped(&mut stop) => return,
    };
    let door = entry.pass.door();
    let Received { stream, certificate_name } = match received {
        Ok(Ok(received)) => received,
        Ok(Err(Unreceived::Wrong { seen, what })) => {
            return door.say(&entry.named, seen, &peer, &what);
        }
        Ok(Err(Unreceived::Foreign(what))) => return door.say_foreign(&entry.named, &peer, what),
        Ok(Err(Unreceived::Gone(cause))) => {
            return debug!(listener = %entry.named.name, %peer, %cause, "client ended before CONNECT");
        }
        Err(_) => return entry.tell_slow(&peer),
    };
    serve(stream, Visitor { peer, certificate_name }, rules, entry, hub, stop).await;
}

//! shell: one task an uplink: connects, drives the link and the session over one socket, waits, connects again.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this shell owns a socket")]

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::link::{Dial, Link, LinkError, LinkEvent, PACKET_BYTES_MAX};
use super::report::report;
use super::servers::Servers;
use super::settings::{Server, Start, UplinkSettings};
use super::socket::connect;
use super::state::{Condition, Situation};
use crate::backoff::Backoff;
use crate::hub::{
    Attached, ConnectionEvent, DetachCause, HubError, HubHandle, Inbound, UplinkLoad,
};
use crate::model::{Body, Message, QoS, Timestamp, TopicName};
use crate::mqtt::{
    DecodeOptions, Disconnect, Packet, PacketReader, PacketWriter, ReadError, ReasonCode, Version,
};
use crate::step::{self, Step};
use crate::tls::{TlsError, connector, server_name};

/// How long a connection may take to come about, TLS included.
const CONNECT_MAX: Duration = Duration::from_secs(15);
/// The first pause before another try.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// The longest.
const PAUSE_LONGEST: Duration = Duration::from_secs(60);
/// How long a connection must last before the next pause starts from the beginning.
const PROVEN_AFTER: Duration = Duration::from_secs(10);
/// How long the farewell may take.
const FAREWELL_MAX: Duration = Duration::from_secs(3);
/// The longest pause between two looks for the first of several brokers.
const LOOK_AGAIN_LONGEST: Duration = Duration::from_secs(300);
/// Bytes in the write queue at which QoS 0 messages wait.
const CONGESTED_BYTES: usize = 256 * 1024;

/// How an uplink is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UplinkState {
    /// It is not connected.
    Down {
        /// Tries since it last was.
        failures: u32,
    },
    /// It is connected and its session attached.
    Up,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum UplinkError {
    #[error("{0}")]
    Connect(io::Error),
    #[error("no connection within {} s", CONNECT_MAX.as_secs())]
    ConnectTimeout,
    #[error("{0}")]
    Tls(#[from] TlsError),
    #[error("TLS: {0}")]
    Handshake(io::Error),
    #[error("{0}")]
    Link(#[from] LinkError),
    #[error("{0}")]
    Read(#[from] ReadError),
    #[error("{0}")]
    Write(io::Error),
    #[error("connection closed by our own hub: {0}")]
    Closed(ReasonCode),
    #[error("{0}")]
    Hub(#[from] HubError),
}

/// Why a served connection ended without an error: we said goodbye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// We were asked to stop.
    Stopped,
    /// `start: lazy`: nothing was to be done for a while.
    Idle,
    /// The first broker is there again.
    FirstFound,
}

/// Whether 3.1.1 tells the upstream that we bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Private {
    /// Yes.
    Said,
    /// It did not understand that, or seems not to.
    Refused,
}

/// One uplink.
#[derive(Debug)]
pub struct Uplink {
    settings: UplinkSettings,
    topics: UplinkTopics,
    hub: HubHandle,
    state: watch::Sender<UplinkState>,
    situation: watch::Sender<Situation>,
    load: watch::Receiver<UplinkLoad>,
    stop: watch::Receiver<bool>,
    backoff: Backoff,
    servers: Servers,
    /// Which broker our session stands at, where that may be another than the one that is tried.
    stands_at: Option<Arc<str>>,
    private: Private,
    /// Whether this session has its subscriptions.
    subscribed: bool,
    /// When the connection that is there, or the last one, came up.
    up_since: Option<Instant>,
    /// When the last connection ended, or when the program started.
    down_since: Instant,
    /// The broker that was tried last.
    tried: String,
    /// Why the last try failed.
    said: Option<String>,
}

/// Where an uplink says how it is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UplinkTopics {
    /// Upstream: `online` or `offline`, retained.
    pub status: TopicName,
    /// In the LAN: JSON, retained.
    pub state: TopicName,
}

impl Uplink {
    /// An uplink whose session the hub knows.
    #[must_use]
    pub fn new(
        settings: UplinkSettings,
        topics: UplinkTopics,
        hub: HubHandle,
        stop: watch::Receiver<bool>,
    ) -> (Self, watch::Receiver<UplinkState>) {
        let (state, watched) = watch::channel(UplinkState::Down { failures: 0 });
        let view = hub.uplink(&settings.name).cloned();
        let (stands_at, load) = match view {
            Some(view) => (view.server, view.load),
            None => (None, watch::channel(UplinkLoad::default()).1),
        };
        let uplink = Self {
            servers: Servers::new(settings.servers.len(), settings.return_to_first),
            private: if settings.try_private { Private::Said } else { Private::Refused },
            settings,
            topics,
            hub,
            state,
            situation: watch::channel(Situation::default()).0,
            load,
            stop,
            backoff: Backoff::new(PAUSE_FIRST, PAUSE_LONGEST),
            stands_at,
            subscribed: false,
            up_since: None,
            down_since: Instant::now(),
            tried: String::new(),
            said: None,
        };
        (uplink, watched)
    }

    /// Runs until stopped: says `offline` then, if it is connected.
    pub async fn run(mut self) {
        self.tell(Condition::Offline, None);
        let reporter = tokio::spawn(report(
            self.settings.name.clone(),
            self.topics.state.clone(),
            self.hub.clone(),
            self.situation.subscribe(),
            self.load.clone(),
        ));
        self.connect_again_and_again().await;
        self.tell(Condition::Offline, None);
        drop(self);
        let _ = reporter.await;
    }

    async fn connect_again_and_again(&mut self) {
        let (mut stop, state) = (self.stop.clone(), self.state.subscribe());
        loop {
            tokio::select! {
                () = self.wait_for_work() => {}
                () = stopped_while(&mut stop, || true) => return,
            }
            self.up_since = None;
            let result = tokio::select! {
                result = self.connect_and_serve() => result,
                () = stopped_while(&mut stop, || *state.borrow() != UplinkState::Up) => return,
            };
            self.handle_connection_over();
            let error = match result {
                Ok(Ended::Stopped) | Err(UplinkError::Hub(HubError::Stopped)) => return,
                Ok(Ended::Idle) => continue,
                Ok(Ended::FirstFound) => {
                    self.servers.handle_first_found();
                    continue;
                }
                Err(error) => error,
            };
            if self.up_since.is_some() && self.settings.start == Start::Once {
                let (uplink, cause) = (&self.settings.name, error.to_string());
                warn!(%uplink, %cause, "uplink lost, and with `start: once` not made again before the next start");
                self.tell(Condition::Over, Some(cause));
                stopped_while(&mut stop, || true).await;
                return;
            }
            if self.is_tried_otherwise(&error) {
                continue;
            }
            let is_round_over = self.up_since.is_some() || self.servers.handle_unreachable();
            let pause = if is_round_over {
                self.backoff.next_pause(fastrand::f64())
            } else {
                Duration::ZERO
            };
            self.log_failure(&error, pause);
            let failures = self.backoff.failures();
            self.state.send_replace(UplinkState::Down { failures });
            self.tell(Condition::Offline, Some(error.to_string()));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stopped_while(&mut stop, || true) => return,
            }
        }
    }

    /// With `start: lazy`, waits until enough messages do.
    async fn wait_for_work(&mut self) {
        let Start::Lazy { threshold, .. } = self.settings.start else { return };
        if self.load.borrow().queued < threshold {
            self.tell(Condition::Resting, None);
            // A hub that is gone is found out by what comes next.
            let _ = self.load.wait_for(|load| load.queued >= threshold).await;
        }
    }

    fn handle_connection_over(&mut self) {
        let Some(since) = self.up_since else { return };
        self.state.send_replace(UplinkState::Down { failures: self.backoff.failures() });
        self.down_since = Instant::now();
        if since.elapsed() >= PROVEN_AFTER {
            self.backoff.reset();
            self.servers.handle_proven();
        }
    }

    /// A broker that ends the connection over what 3.1.1 does not have is asked again without it.
    fn is_tried_otherwise(&mut self, error: &UplinkError) -> bool {
        let tries = self.settings.version != Version::V5 && self.settings.try_private;
        if !tries || self.up_since.is_some() {
            return false;
        }
        let refused = matches!(
            error,
            UplinkError::Link(LinkError::Refused { reason }) if *reason == ReasonCode::UnsupportedProtocolVersion
        );
        let is_over = refused
            || matches!(
                error,
                UplinkError::Read(ReadError::Closed | ReadError::Io(_))
                    | UplinkError::Link(LinkError::NoSubAck)
            );
        match self.private {
            Private::Said if is_over => {
                self.private = Private::Refused;
                let (uplink, cause) = (&self.settings.name, error.to_string());
                debug!(%uplink, %cause, "upstream may not know what a bridge is; trying without");
                true
            }
            // It was something else.
            Private::Refused if is_over && !refused => {
                self.private = Private::Said;
                false
            }
            Private::Said | Private::Refused => false,
        }
    }

    fn tell(&self, condition: Condition, error: Option<String>) {
        let now = Timestamp::from(std::time::SystemTime::now());
        self.situation.send_if_modified(|situation| {
            let is_same = situation.condition == condition && !situation.broker.is_empty();
            let next = Situation {
                condition,
                since: if is_same { situation.since } else { now },
                broker: self.server().to_string(),
                error: error.or_else(|| situation.error.take()),
                failures: self.backoff.failures(),
            };
            std::mem::replace(situation, next) != *situation
        });
    }

    fn server(&self) -> &Server {
        &self.settings.servers[self.servers.current()]
    }

    /// One line when the trouble begins and one when it is another trouble, the rest at debug level.
    fn log_failure(&mut self, error: &UplinkError, pause: Duration) {
        let failures = self.backoff.failures();
        let uplink = &self.settings.name;
        let cause = error.to_string();
        let is_other = self.said.as_ref() != Some(&cause);
        let retry_in = format_args!("{:.1}s", pause.as_secs_f64());
        if self.up_since.is_some() {
            warn!(%uplink, %cause, %retry_in, "uplink lost; readings wait in the queue");
        } else if is_other {
            let host = &self.tried;
            warn!(%uplink, %host, %cause, %retry_in, "uplink unreachable; readings wait in the queue");
        } else {
            debug!(%uplink, %cause, failures, %retry_in, "uplink still unreachable");
        }
        self.said = Some(cause);
    }

    fn log_connected(&self, session_present: bool) {
        let (uplink, failures) = (&self.settings.name, self.backoff.failures());
        let away = format_args!("{:.1}s", self.down_since.elapsed().as_secs_f64());
        let broker =
            (self.settings.servers.len() > 1).then(|| tracing::field::display(self.server()));
        info!(%uplink, broker, session_present, %away, failures, "uplink connected");
        if self.settings.version != Version::V5
            && self.settings.try_private
            && self.private == Private::Refused
        {
            info!(%uplink, "upstream does not know what a bridge is: it sends back what it is sent where `accept` takes that");
        }
    }

    async fn connect_and_serve(&mut self) -> Result<Ended, UplinkError> {
        let server = self.server().clone();
        self.tried = server.to_string();
        let stream = timeout(CONNECT_MAX, connect(&server, self.settings.keep_alive))
            .await
            .map_err(|_| UplinkError::ConnectTimeout)?
            .map_err(UplinkError::Connect)?;
        match &server.tls {
            None => self.serve(stream).await,
            Some(tls) => {
                let handshake = connector(tls)?.connect(server_name(&server.host)?, stream);
                let stream = timeout(CONNECT_MAX, handshake)
                    .await
                    .map_err(|_| UplinkError::ConnectTimeout)?
                    .map_err(UplinkError::Handshake)?;
                self.serve(stream).await
            }
        }
    }

    /// What the next connection begins with. With one broker a session is where it was; with several it stands at the one
    /// that was connected last, and what another one keeps of it from before means nothing any more.
    fn dial(&self) -> (Dial, Option<Arc<str>>) {
        let server: Arc<str> = self.server().to_string().into();
        let is_known = self.settings.servers.len() > 1 || self.stands_at.is_some();
        let stands_at = is_known.then(|| server.clone());
        let clean_start = self.stands_at.is_some() && self.stands_at != stands_at;
        let bridge = self.private == Private::Said;
        (Dial { server, node: self.hub.node(), bridge, clean_start }, stands_at)
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: S,
    ) -> Result<Ended, UplinkError> {
        let (read, write) = tokio::io::split(stream);
        let version = self.settings.version;
        let options = DecodeOptions { version, packet_bytes_max: PACKET_BYTES_MAX };
        let mut reader = PacketReader::new(read, options);
        let mut writer = PacketWriter::new(write, version);
        let (dial, stands_at) = self.dial();
        let mut link = Link::new(&self.settings, dial, Instant::now());
        self.queue(&mut writer, &link.connect_packet(&self.settings, &self.topics.status));
        writer.write_all().await.map_err(UplinkError::Write)?;
        let mut packets = VecDeque::from([self.await_packets(&link, reader.read_first()).await?]);
        let mut attach = loop {
            let Some(packet) = packets.pop_front() else {
                packets.extend(self.await_packets(&link, reader.read()).await?);
                continue;
            };
            match link.handle_packet(packet, Instant::now())? {
                LinkEvent::Up(attach) => break attach,
                LinkEvent::Send(packet) => {
                    self.queue(&mut writer, &packet);
                    writer.write_all().await.map_err(UplinkError::Write)?;
                }
                LinkEvent::ForSession(_)
                | LinkEvent::SubscriptionRefused { .. }
                | LinkEvent::Subscribed
                | LinkEvent::Nothing => {}
            }
        };
        let present = attach.session_present;
        attach.server.clone_from(&stands_at);
        let (attached, inbound) = self.hub.attach_uplink(attach).await?;
        self.stands_at = stands_at;
        self.up_since = Some(Instant::now());
        self.said = None;
        self.servers.handle_reached();
        self.state.send_replace(UplinkState::Up);
        self.tell(Condition::Online, None);
        self.log_connected(present);
        self.hub.say(attached.connection, self.status("online"), false).await?;
        let mut early = link.take_early();
        early.extend(self.sort(&mut link, packets)?);
        self.subscribed &= present;
        // Whoever keeps our subscriptions need not send everything retained again, as 3.1.1 does at each SUBSCRIBE.
        let has_them = self.subscribed && version != Version::V5;
        if let Some(subscribe) = link.subscribe_packet().filter(|_| !has_them) {
            self.queue(&mut writer, &subscribe);
        }
        if !early.is_empty() {
            self.hub.packets(attached.connection, early).await?;
        }
        let result = self.exchange(&mut reader, &mut writer, link, attached, inbound).await;
        let cause = match result {
            Ok(_) => DetachCause::Goodbye { expiry: None },
            Err(_) => DetachCause::Lost,
        };
        self.hub.detach(attached.connection, cause).await?;
        result
    }

    /// What comes before the session is attached, in the time the link grants.
    async fn await_packets<T>(
        &self,
        link: &Link,
        reading: impl Future<Output = Result<T, ReadError>>,
    ) -> Result<T, UplinkError> {
        tokio::select! {
            read = reading => Ok(read?),
            () = sleep_until_any(link.poll_timeout()) => Err(link.overdue().into()),
        }
    }

    /// What the link leaves for the session.
    fn sort(
        &mut self,
        link: &mut Link,
        packets: impl IntoIterator<Item = Packet>,
    ) -> Result<Vec<Packet>, LinkError> {
        let (packets, now) = (packets.into_iter(), Instant::now());
        let mut for_session = Vec::with_capacity(packets.size_hint().0);
        for packet in packets {
            match link.handle_packet(packet, now)? {
                LinkEvent::ForSession(packet) => for_session.push(packet),
                LinkEvent::SubscriptionRefused { filter, reason } => {
                    let uplink = &self.settings.name;
                    warn!(%uplink, %filter, %reason, "upstream refused a subscription");
                }
                LinkEvent::Subscribed => self.subscribed = true,
                LinkEvent::Up(_) | LinkEvent::Send(_) | LinkEvent::Nothing => {}
            }
        }
        Ok(for_session)
    }

    /// Carries packets both ways until the connection ends.
    async fn exchange<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &mut self,
        reader: &mut PacketReader<R>,
        writer: &mut PacketWriter<W>,
        mut link: Link,
        attached: Attached,
        mut inbound: Inbound,
    ) -> Result<Ended, UplinkError> {
        let connection = attached.connection;
        let mut stop = self.stop.clone();
        let mut load = self.load.clone();
        let mut farewell: Option<Farewell> = None;
        let mut congested = false;
        let mut events = VecDeque::new();
        let first_found = self.look_for_first();
        tokio::pin!(first_found);
        loop {
            let rest = self.poll_rest(&link).filter(|_| farewell.is_none());
            let end = farewell.as_ref().map(|farewell| farewell.until);
            let wake = [rest, end, link.poll_timeout()].into_iter().flatten().min();
            let mut leave = None;
            tokio::select! {
                packets = reader.read() => {
                    let packets = packets?;
                    step::pass(Step::ReadAfter);
                    let for_session = self.sort(&mut link, packets)?;
                    if !for_session.is_empty() {
                        self.hub.packets(connection, for_session).await?;
                    }
                }
                came = inbound.recv_all(&mut events) => {
                    came.ok_or(HubError::Stopped)?;
                    let now = Instant::now();
                    for event in events.drain(..) {
                        match event {
                            ConnectionEvent::Packet(packet) => {
                                link.handle_traffic(now);
                                self.queue(writer, &packet);
                            }
                            ConnectionEvent::Said => {
                                if let Some(farewell) = &mut farewell {
                                    farewell.is_said = true;
                                }
                            }
                            ConnectionEvent::Close(reason) => return Err(UplinkError::Closed(reason)),
                        }
                    }
                    step::pass(Step::WriteBefore);
                    if step::is_due(Step::WriteTorn) {
                        let _ = writer.write_half().await;
                        step::abort();
                    }
                }
                result = writer.write_some(), if writer.queued() > 0 => {
                    result.map_err(UplinkError::Write)?;
                    link.handle_sent(Instant::now());
                }
                changed = load.changed(), if farewell.is_some() => {
                    changed.map_err(|_| HubError::Stopped)?;
                }
                () = sleep_until_any(wake) => {
                    let now = Instant::now();
                    if let Some(farewell) = farewell.as_ref().filter(|farewell| farewell.until <= now) {
                        // Closing without DISCONNECT lets the broker say `offline` by the will.
                        return Ok(farewell.why);
                    }
                    if rest.is_some_and(|rest| rest <= now) {
                        leave = Some(Ended::Idle);
                    }
                    link.handle_waiting(load.borrow().inflight > 0, now)?;
                    if let Some(ping) = link.handle_timeout(now)? {
                        self.queue(writer, &ping);
                    }
                }
                () = &mut first_found, if farewell.is_none() => leave = Some(Ended::FirstFound),
                () = stopped_while(&mut stop, || true), if farewell.is_none() => {
                    leave = Some(Ended::Stopped);
                }
            }
            if let Some(why) = leave {
                self.log_leave(why);
                farewell =
                    Some(Farewell { why, until: Instant::now() + FAREWELL_MAX, is_said: false });
                self.hub.say(connection, self.status("offline"), true).await?;
            }
            if let Some(farewell) = farewell.as_ref().filter(|farewell| farewell.is_said) {
                // What is under way when a session is left for good would be sent twice.
                let is_left = farewell.why == Ended::FirstFound;
                if !is_left || load.borrow_and_update().inflight == 0 {
                    self.queue(writer, &Packet::Disconnect(goodbye()));
                    let _ = timeout(FAREWELL_MAX, writer.finish()).await;
                    return Ok(farewell.why);
                }
            }
            let full = writer.queued() > CONGESTED_BYTES;
            if full != congested {
                congested = full;
                self.hub.congestion(connection, congested).await?;
            }
        }
    }

    /// When the connection has nothing to do any more; `None` if it stays all the same, or something waits.
    fn poll_rest(&self, link: &Link) -> Option<Instant> {
        let Start::Lazy { idle, .. } = self.settings.start else { return None };
        (*self.load.borrow() == UplinkLoad::default()).then(|| link.traffic() + idle)
    }

    /// Completes when the first of several brokers takes connections again while another one serves.
    fn look_for_first(&mut self) -> impl Future<Output = ()> + use<> {
        let pause = self.servers.next_look(fastrand::f64());
        let (first, keep_alive) = (self.settings.servers[0].clone(), self.settings.keep_alive);
        let mut longest = pause.unwrap_or_default();
        async move {
            if pause.is_none() {
                std::future::pending::<()>().await;
            }
            loop {
                tokio::time::sleep(longest).await;
                if let Ok(Ok(_)) = timeout(CONNECT_MAX, connect(&first, keep_alive)).await {
                    return;
                }
                longest = (longest * 2).min(LOOK_AGAIN_LONGEST);
            }
        }
    }

    fn log_leave(&self, why: Ended) {
        let uplink = &self.settings.name;
        match why {
            Ended::Stopped => {}
            Ended::Idle => info!(%uplink, "uplink has nothing to do and disconnects"),
            Ended::FirstFound => {
                let broker = &self.settings.servers[0];
                info!(%uplink, %broker, "first broker is there again; uplink goes back to it");
            }
        }
    }

    fn queue<W: AsyncWrite + Unpin>(&self, writer: &mut PacketWriter<W>, packet: &Packet) {
        tracing::trace!(target: "wire::mqtt", uplink = %self.settings.name, ?packet, "sent");
        if let Err(cause) = writer.queue(packet) {
            let (uplink, packet) = (&self.settings.name, packet.name());
            tracing::error!(%uplink, packet, %cause, "a packet cannot be sent");
        }
    }

    fn status(&self, text: &'static str) -> Message {
        Message {
            topic: self.topics.status.clone(),
            payload: Bytes::from_static(text.as_bytes()),
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: None,
            accepted: Timestamp::from(std::time::SystemTime::now()),
            expires: None,
            body: Body::Foreign,
        }
    }
}

/// The last words on a connection.
#[derive(Debug)]
struct Farewell {
    why: Ended,
    /// How long they may take.
    until: Instant,
    /// The upstream has them.
    is_said: bool,
}

fn goodbye() -> Disconnect {
    Disconnect::new(ReasonCode::Success)
}

/// Sleeps until then, or for ever.
async fn sleep_until_any(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Completes when a stop is asked for while `condition` holds; never otherwise.
async fn stopped_while(stop: &mut watch::Receiver<bool>, condition: impl Fn() -> bool + Send) {
    // A sender that is gone means a stop as well.
    let _ = stop.wait_for(|stopping| *stopping).await;
    if !condition() {
        std::future::pending::<()>().await;
    }
}

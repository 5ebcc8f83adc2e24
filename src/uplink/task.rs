//! shell: one task an uplink: connects, drives the link and the session over one socket, waits, connects again.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this shell owns a socket")]

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::link::{Link, LinkError, LinkEvent, PACKET_BYTES_MAX};
use super::settings::UplinkSettings;
use super::tls::{TlsError, connector, server_name};
use crate::backoff::Backoff;
use crate::hub::{Attached, ConnectionEvent, DetachCause, HubError, HubHandle, Inbound};
use crate::model::{Body, Message, QoS, Timestamp, TopicName};
use crate::mqtt::{
    DecodeOptions, Disconnect, Packet, PacketReader, PacketWriter, ReadError, ReasonCode,
};
use crate::step::{self, Step};

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

/// How a served connection ended without an error.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// We were asked to stop and said so.
    Stopped,
}

/// One uplink.
#[derive(Debug)]
pub struct Uplink {
    settings: UplinkSettings,
    status_topic: TopicName,
    hub: HubHandle,
    state: watch::Sender<UplinkState>,
    stop: watch::Receiver<bool>,
    backoff: Backoff,
    /// When the connection that is there, or the last one, came up.
    up_since: Option<Instant>,
    /// When the last connection ended, or when the program started.
    down_since: Instant,
    /// Why the last try failed.
    said: Option<String>,
}

impl Uplink {
    /// An uplink whose session the hub knows; `status_topic` is where `online` and `offline` are said.
    #[must_use]
    pub fn new(
        settings: UplinkSettings,
        status_topic: TopicName,
        hub: HubHandle,
        stop: watch::Receiver<bool>,
    ) -> (Self, watch::Receiver<UplinkState>) {
        let (state, watched) = watch::channel(UplinkState::Down { failures: 0 });
        let (backoff, up_since, down_since, said) =
            (Backoff::new(PAUSE_FIRST, PAUSE_LONGEST), None, Instant::now(), None);
        let uplink =
            Self { settings, status_topic, hub, state, stop, backoff, up_since, down_since, said };
        (uplink, watched)
    }

    /// Runs until stopped: says `offline` then, if it is connected.
    pub async fn run(mut self) {
        let (mut stop, state) = (self.stop.clone(), self.state.subscribe());
        loop {
            self.up_since = None;
            let result = tokio::select! {
                result = self.connect_and_serve() => result,
                () = stopped_while(&mut stop, || *state.borrow() != UplinkState::Up) => return,
            };
            let error = match result {
                Ok(Ended::Stopped) | Err(UplinkError::Hub(HubError::Stopped)) => return,
                Err(error) => error,
            };
            if let Some(since) = self.up_since {
                self.down_since = Instant::now();
                if since.elapsed() >= PROVEN_AFTER {
                    self.backoff.reset();
                }
            }
            let pause = self.backoff.next_pause(fastrand::f64());
            self.log_failure(&error, pause);
            let failures = self.backoff.failures();
            self.state.send_replace(UplinkState::Down { failures });
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stopped_while(&mut stop, || true) => return,
            }
        }
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
            let host = format_args!("{}:{}", self.settings.host, self.settings.port);
            warn!(%uplink, %host, %cause, %retry_in, "uplink unreachable; readings wait in the queue");
        } else {
            debug!(%uplink, %cause, failures, %retry_in, "uplink still unreachable");
        }
        self.said = Some(cause);
    }

    fn log_connected(&self, session_present: bool) {
        let (uplink, failures) = (&self.settings.name, self.backoff.failures());
        let away = format_args!("{:.1}s", self.down_since.elapsed().as_secs_f64());
        info!(%uplink, session_present, %away, failures, "uplink connected");
    }

    async fn connect_and_serve(&mut self) -> Result<Ended, UplinkError> {
        let UplinkSettings { host, port, tls, .. } = self.settings.clone();
        let connect = async {
            let stream = TcpStream::connect((&*host, port)).await.map_err(UplinkError::Connect)?;
            stream.set_nodelay(true).map_err(UplinkError::Connect)?;
            Ok::<_, UplinkError>(stream)
        };
        let stream =
            timeout(CONNECT_MAX, connect).await.map_err(|_| UplinkError::ConnectTimeout)??;
        match tls {
            None => self.serve(stream).await,
            Some(tls) => {
                let handshake = connector(&tls)?.connect(server_name(&host)?, stream);
                let stream = timeout(CONNECT_MAX, handshake)
                    .await
                    .map_err(|_| UplinkError::ConnectTimeout)?
                    .map_err(UplinkError::Handshake)?;
                self.serve(stream).await
            }
        }
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
        let mut link = Link::new(&self.settings, Instant::now());
        self.queue(&mut writer, &Link::connect_packet(&self.settings, &self.status_topic));
        writer.write_all().await.map_err(UplinkError::Write)?;
        let packet = tokio::select! {
            packet = reader.read_first() => packet?,
            () = tokio::time::sleep_until(link.poll_timeout().into()) => {
                return Err(LinkError::NoConnAck.into());
            }
        };
        let LinkEvent::Up(attach) = link.handle_packet(packet, Instant::now())? else {
            return Err(LinkError::Unexpected { packet: "nothing of use" }.into());
        };
        let present = attach.session_present;
        let (attached, inbound) = self.hub.attach_uplink(attach).await?;
        self.up_since = Some(Instant::now());
        self.said = None;
        self.state.send_replace(UplinkState::Up);
        self.log_connected(present);
        self.hub.say(attached.connection, self.status("online"), false).await?;
        if let Some(subscribe) = link.subscribe_packet() {
            self.queue(&mut writer, &subscribe);
        }
        let result = self.exchange(&mut reader, &mut writer, link, attached, inbound).await;
        let cause = match result {
            Ok(Ended::Stopped) => DetachCause::Goodbye { expiry: None },
            Err(_) => DetachCause::Lost,
        };
        self.hub.detach(attached.connection, cause).await?;
        result
    }

    /// Carries packets both ways until the connection ends.
    async fn exchange<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &self,
        reader: &mut PacketReader<R>,
        writer: &mut PacketWriter<W>,
        mut link: Link,
        attached: Attached,
        mut inbound: Inbound,
    ) -> Result<Ended, UplinkError> {
        let connection = attached.connection;
        let mut stop = self.stop.clone();
        let mut farewell: Option<Instant> = None;
        let mut congested = false;
        loop {
            let wake = farewell.map_or(link.poll_timeout(), |end| end.min(link.poll_timeout()));
            tokio::select! {
                packets = reader.read() => {
                    let mut for_session = Vec::new();
                    let packets = packets?;
                    step::pass(Step::ReadAfter);
                    for packet in packets {
                        match link.handle_packet(packet, Instant::now())? {
                            LinkEvent::ForSession(packet) => for_session.push(packet),
                            LinkEvent::SubscriptionRefused { filter, reason } => {
                                let uplink = &self.settings.name;
                                warn!(%uplink, %filter, %reason, "upstream refused a subscription");
                            }
                            LinkEvent::Up(_) | LinkEvent::Nothing => {}
                        }
                    }
                    if !for_session.is_empty() {
                        self.hub.packets(connection, for_session).await?;
                    }
                }
                event = inbound.recv() => {
                    let mut event = Some(event.ok_or(HubError::Stopped)?);
                    while let Some(next) = event.take() {
                        match next {
                            ConnectionEvent::Packet(packet) => self.queue(writer, &packet),
                            ConnectionEvent::Said if farewell.is_some() => {
                                self.queue(writer, &Packet::Disconnect(goodbye()));
                                let _ = timeout(FAREWELL_MAX, writer.finish()).await;
                                return Ok(Ended::Stopped);
                            }
                            ConnectionEvent::Said => {}
                            ConnectionEvent::Close(reason) => return Err(UplinkError::Closed(reason)),
                        }
                        event = inbound.try_recv();
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
                () = tokio::time::sleep_until(wake.into()) => {
                    if farewell.is_some_and(|end| end <= Instant::now()) {
                        // Closing without DISCONNECT lets the broker say `offline` by the will.
                        return Ok(Ended::Stopped);
                    }
                    if let Some(ping) = link.handle_timeout(Instant::now())? {
                        self.queue(writer, &ping);
                    }
                }
                () = stopped_while(&mut stop, || true), if farewell.is_none() => {
                    farewell = Some(Instant::now() + FAREWELL_MAX);
                    self.hub.say(connection, self.status("offline"), true).await?;
                }
            }
            let full = writer.queued() > CONGESTED_BYTES;
            if full != congested {
                congested = full;
                self.hub.congestion(connection, congested).await?;
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
            topic: self.status_topic.clone(),
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

fn goodbye() -> Disconnect {
    Disconnect::new(ReasonCode::Success)
}

/// Completes when a stop is asked for while `condition` holds; never otherwise.
async fn stopped_while(stop: &mut watch::Receiver<bool>, condition: impl Fn() -> bool + Send) {
    // A sender that is gone means a stop as well.
    let _ = stop.wait_for(|stopping| *stopping).await;
    if !condition() {
        std::future::pending::<()>().await;
    }
}

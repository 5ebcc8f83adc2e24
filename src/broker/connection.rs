//! shell: one LAN client's connection: reads, writes, keeps its deadlines.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this shell owns a socket")]

use std::time::{Duration, Instant, SystemTime};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{debug, info};

use super::protocol::{
    CONNECT_MAX, PACKET_BYTES_MAX, Protocol, Step, refusal, refusal_of_malformed,
};
use crate::hub::{ConnectionEvent, ConnectionId, DetachCause, HubError, HubHandle, Inbound};
use crate::mqtt::{
    DecodeOptions, Disconnect, Packet, PacketReader, PacketWriter, ReadError, ReasonCode, Version,
};
use crate::step;

/// Bytes in the write queue at which QoS 0 messages wait.
const CONGESTED_BYTES: usize = 256 * 1024;
/// How long the last words may take.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);

/// How a connection ended.
enum Ended {
    /// By the client, or because it fell silent or broke.
    Theirs(DetachCause),
    /// By us, with a reason the client is told where its version can.
    Ours(ReasonCode),
    /// The hub is gone.
    Hub,
}

impl From<HubError> for Ended {
    fn from(_: HubError) -> Self {
        Self::Hub
    }
}

/// Serves one client from CONNECT to the end.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: String,
    hub: HubHandle,
    mut stop: watch::Receiver<bool>,
) {
    let (read, write) = tokio::io::split(stream);
    let options = DecodeOptions { version: Version::V311, packet_bytes_max: PACKET_BYTES_MAX };
    let mut reader = PacketReader::new(read, options);
    let first = tokio::select! {
        first = timeout(CONNECT_MAX, reader.read_first()) => first,
        () = stopped(&mut stop) => return,
    };
    let Ok(first) = first else {
        return debug!(%peer, "client said no CONNECT in time");
    };
    let (version, outcome) = match first {
        Ok(Packet::Connect(connect)) => {
            let (mono, wall) = (Instant::now(), SystemTime::now().into());
            let accepted = Protocol::accept(*connect.clone(), fastrand::u64(..), mono, wall);
            (connect.version, accepted.map_err(|refused| refused.reason))
        }
        Ok(packet) => {
            return debug!(%peer, packet = packet.name(), "client did not begin with CONNECT");
        }
        Err(ReadError::Codec(error)) => {
            match refusal_of_malformed(&error, reader.named_version()) {
                Some((version, reason)) => (version, Err(reason)),
                None => return debug!(%peer, cause = %error, "client did not begin with CONNECT"),
            }
        }
        Err(cause) => return debug!(%peer, %cause, "client ended before CONNECT"),
    };
    reader.set_version(version);
    let mut writer = PacketWriter::new(write, version);
    let (protocol, attach) = match outcome {
        Ok(accepted) => accepted,
        Err(reason) => {
            info!(%peer, %reason, "client refused");
            return last_words(&mut writer, &refusal(reason)).await;
        }
    };
    let client_id = attach.client_id.clone();
    let Ok((attached, inbound)) = hub.attach_client(attach).await else { return };
    queue(&mut writer, &protocol.connack(attached.session_present));
    info!(%client_id, %peer, ?version, session_present = attached.session_present, "client connected");
    let id = attached.connection;
    let ended = exchange(&mut reader, &mut writer, protocol, id, inbound, &hub, stop).await;
    let (cause, reason) = match ended {
        Ended::Theirs(cause) => (cause, None),
        Ended::Ours(reason) => (DetachCause::Lost, Some(reason)),
        Ended::Hub => return,
    };
    let _ = hub.detach(id, cause).await;
    match reason {
        None => info!(%client_id, ?cause, "client gone"),
        Some(reason) => {
            info!(%client_id, %reason, "client sent away");
            if version == Version::V5 {
                last_words(&mut writer, &Packet::Disconnect(Disconnect::new(reason))).await;
            }
        }
    }
}

async fn exchange<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    reader: &mut PacketReader<R>,
    writer: &mut PacketWriter<W>,
    mut protocol: Protocol,
    id: ConnectionId,
    mut inbound: Inbound,
    hub: &HubHandle,
    mut stop: watch::Receiver<bool>,
) -> Ended {
    let mut congested = false;
    // Whether what waits to be written tells the client that something is done.
    let mut acknowledges = false;
    loop {
        let deadline = protocol.poll_timeout();
        let silence = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            packets = reader.read(), if writer.queued() <= CONGESTED_BYTES => match packets {
                Ok(packets) => handle_packets(packets, &mut protocol, writer, id, hub).await,
                Err(ReadError::Codec(error)) => {
                    debug!(cause = %error, "client sent what is not MQTT");
                    Some(Ended::Ours(protocol.handle_malformed(&error)))
                }
                Err(ReadError::Closed | ReadError::Io(_)) => {
                    Some(Ended::Theirs(DetachCause::Lost))
                }
            },
            event = inbound.recv() => {
                take_events(event, &mut inbound, writer, &mut acknowledges)
            }
            result = writer.write_some(), if writer.queued() > 0 => {
                if writer.queued() == 0 && std::mem::take(&mut acknowledges) {
                    step::pass(step::Step::AckAfter);
                }
                result.err().map(|_| Ended::Theirs(DetachCause::Lost))
            }
            () = silence => Some(Ended::Ours(ReasonCode::KeepAliveTimeout)),
            () = stopped(&mut stop) => Some(Ended::Ours(ReasonCode::ServerShuttingDown)),
        };
        if let Some(ended) = ended {
            return ended;
        }
        let full = writer.queued() > CONGESTED_BYTES;
        if full != congested {
            congested = full;
            if let Err(error) = hub.congestion(id, congested).await {
                return error.into();
            }
        }
    }
}

async fn handle_packets<W: AsyncWrite + Unpin>(
    packets: Vec<Packet>,
    protocol: &mut Protocol,
    writer: &mut PacketWriter<W>,
    id: ConnectionId,
    hub: &HubHandle,
) -> Option<Ended> {
    let mut for_session = Vec::with_capacity(packets.len());
    let mut ended = None;
    for packet in packets {
        match protocol.handle_packet(packet, Instant::now()) {
            Step::ForSession(packet) => for_session.push(packet),
            Step::Answer(packet) => queue(writer, &packet),
            Step::Goodbye(cause) => ended = Some(Ended::Theirs(cause)),
            Step::End(reason) => ended = Some(Ended::Ours(reason)),
        }
        if ended.is_some() {
            break;
        }
    }
    if !for_session.is_empty()
        && let Err(error) = hub.packets(id, for_session).await
    {
        return Some(error.into());
    }
    ended
}

fn take_events<W: AsyncWrite + Unpin>(
    first: Option<ConnectionEvent>,
    inbound: &mut Inbound,
    writer: &mut PacketWriter<W>,
    acknowledges: &mut bool,
) -> Option<Ended> {
    let Some(first) = first else { return Some(Ended::Hub) };
    let mut next = Some(first);
    while let Some(event) = next {
        match event {
            ConnectionEvent::Packet(packet) => {
                if matches!(packet, Packet::PubAck(_) | Packet::PubRec(_) | Packet::PubComp(_)) {
                    *acknowledges = true;
                    step::pass(step::Step::AckBefore);
                }
                queue(writer, &packet);
            }
            ConnectionEvent::Said => {}
            ConnectionEvent::Close(reason) => return Some(Ended::Ours(reason)),
        }
        next = inbound.try_recv().ok();
    }
    None
}

fn queue<W: AsyncWrite + Unpin>(writer: &mut PacketWriter<W>, packet: &Packet) {
    if let Err(cause) = writer.queue(packet) {
        tracing::error!(packet = packet.name(), %cause, "a packet cannot be sent");
    }
}

async fn last_words<W: AsyncWrite + Unpin>(writer: &mut PacketWriter<W>, packet: &Packet) {
    queue(writer, packet);
    // A client that does not listen is left without them.
    let _ = timeout(LAST_WORDS_MAX, writer.finish()).await;
}

/// Completes when the listener stops.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone means a stop as well.
    let _ = stop.wait_for(|stopping| *stopping).await;
}

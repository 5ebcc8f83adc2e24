//! shell: carries packets both ways between one LAN client and the hub until the connection ends.
#![allow(clippy::disallowed_methods, reason = "this shell keeps the deadlines of a connection")]

use std::borrow::Cow;
use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::sleep_until;
use tracing::debug;

use super::connection::stopped;
use super::counters::{BrokerCounters, Traffic};
use super::protocol::{Protocol, Step};
use crate::hub::{ConnectionEvent, ConnectionId, DetachCause, HubError, HubHandle, Inbound};
use crate::mqtt::{Packet, PacketReader, PacketWriter, ReadError, ReasonCode};
use crate::step;

/// Bytes that wait to be written at which the hub hands over no more messages.
const CONGESTED_BYTES: usize = 256 * 1024;
/// Bytes that are put together for one write.
const WRITE_BYTES: usize = 64 * 1024;
/// So many bytes of a packet that has not come to its end are a word of the client's: it can say nothing else before.
const PART_BYTES_MIN: u64 = 1000;

/// How a connection ended.
pub(super) enum Ended {
    /// By the client, or because it broke; in words for the log.
    Theirs(DetachCause, Cow<'static, str>),
    /// By us, with a reason the client is told where its version can.
    Ours(ReasonCode, Option<Arc<str>>),
    /// The hub is gone.
    Hub,
}

impl Ended {
    fn goodbye(cause: DetachCause) -> Self {
        let words = match cause {
            DetachCause::Goodbye { .. } | DetachCause::Lost => "client said DISCONNECT",
            DetachCause::GoodbyeWithWill { .. } => "client said DISCONNECT and asked for its will",
        };
        Self::Theirs(cause, words.into())
    }

    fn lost(why: impl Into<Cow<'static, str>>) -> Self {
        Self::Theirs(DetachCause::Lost, why.into())
    }
}

impl From<HubError> for Ended {
    fn from(_: HubError) -> Self {
        Self::Hub
    }
}

/// What a connection waits for.
enum Happened {
    Events,
    Wrote(io::Result<()>),
    Packets(Result<Vec<Packet>, ReadError>),
    Silence,
    Stopped,
    HubGone,
}

/// What the hub has said and is not put together for a write yet.
#[derive(Default)]
struct Unsaid {
    events: VecDeque<ConnectionEvent>,
    /// Bytes of payload in them.
    bytes: usize,
    /// The end of the connection is among them: it does not wait until a client reads that does not.
    closes: bool,
}

impl Unsaid {
    fn extend(&mut self, events: VecDeque<ConnectionEvent>) {
        self.bytes += events.iter().map(payload_bytes).sum::<usize>();
        self.closes |= events.iter().any(|event| matches!(event, ConnectionEvent::Close(_)));
        if self.events.is_empty() {
            self.events = events;
        } else {
            self.events.extend(events);
        }
    }

    /// Whether more is to be put together, with so many bytes waiting for the socket.
    fn goes_on(&self, queued: usize) -> bool {
        !self.events.is_empty() && (self.closes || queued < WRITE_BYTES)
    }

    fn pop(&mut self) -> Option<ConnectionEvent> {
        let event = self.events.pop_front()?;
        self.bytes -= payload_bytes(&event);
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
        Some(event)
    }
}

fn payload_bytes(event: &ConnectionEvent) -> usize {
    match event {
        ConnectionEvent::Packet(Packet::Publish(publish)) => publish.payload.len(),
        ConnectionEvent::Packet(_) | ConnectionEvent::Said | ConnectionEvent::Close(_) => 0,
    }
}

/// Runs until the connection is to end.
#[allow(clippy::too_many_arguments, reason = "the parts of one connection")]
pub(super) async fn exchange<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    reader: &mut PacketReader<R>,
    writer: &mut PacketWriter<W>,
    protocol: &mut Protocol,
    id: ConnectionId,
    inbound: &mut Inbound,
    hub: &HubHandle,
    counters: &BrokerCounters,
    stop: &mut watch::Receiver<bool>,
) -> Ended {
    let mut congested = false;
    let mut unsaid = Unsaid::default();
    // Whether what waits to be written tells the client that something is done.
    let mut acknowledges = false;
    // Bytes that came since the last whole packet, or since they were taken for a word.
    let mut part_bytes = 0;
    let mut stopping = pin!(stopped(stop));
    // Each packet moves the deadline, so it is looked at only when an earlier one has come.
    let mut silence = pin!(protocol.poll_timeout().map(|at| sleep_until(at.into())));
    loop {
        // What there is to say is put together before it is written, and written before more is read.
        let happened = poll_fn(|cx| {
            if stopping.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Happened::Stopped);
            }
            // Asked until there is nothing more: only then the next event wakes this task.
            loop {
                if unsaid.goes_on(writer.queued()) {
                    return Poll::Ready(Happened::Events);
                }
                match inbound.poll_all(cx) {
                    Poll::Ready(Some(events)) => unsaid.extend(events),
                    Poll::Ready(None) => return Poll::Ready(Happened::HubGone),
                    Poll::Pending => break,
                }
            }
            // The hub hears of it although the socket takes nothing.
            if !congested && writer.queued() + unsaid.bytes > CONGESTED_BYTES {
                return Poll::Ready(Happened::Events);
            }
            if writer.queued() > 0
                && let Poll::Ready(result) = writer.poll_write_some(cx)
            {
                return Poll::Ready(Happened::Wrote(result));
            }
            if writer.queued() + unsaid.bytes <= CONGESTED_BYTES
                && let Poll::Ready(packets) = reader.poll_read(cx)
            {
                return Poll::Ready(Happened::Packets(packets));
            }
            let Some(silence) = silence.as_mut().as_pin_mut() else { return Poll::Pending };
            silence.poll(cx).map(|()| Happened::Silence)
        });
        let happened = happened.await;
        part_bytes += reader.carried().bytes;
        let ended = match happened {
            Happened::HubGone => Some(Ended::Hub),
            Happened::Events => say(&mut unsaid, protocol, writer, &mut acknowledges),
            Happened::Wrote(Ok(())) => {
                if congested {
                    protocol.handle_taking(Instant::now());
                }
                if writer.queued() == 0 && std::mem::take(&mut acknowledges) {
                    step::pass(step::Step::AckAfter);
                }
                None
            }
            Happened::Packets(Ok(packets)) => {
                part_bytes = 0;
                handle_packets(packets, protocol, writer, id, hub).await
            }
            Happened::Packets(Err(ReadError::Codec(error))) => {
                let reason = protocol.handle_malformed(&error);
                Some(Ended::Ours(reason, Some(error.to_string().into())))
            }
            Happened::Packets(Err(ReadError::Closed)) => {
                Some(Ended::lost("closed by the client without DISCONNECT"))
            }
            Happened::Wrote(Err(cause)) | Happened::Packets(Err(ReadError::Io(cause))) => {
                Some(Ended::lost(format!("connection broke: {cause}")))
            }
            Happened::Silence => {
                if part_bytes >= PART_BYTES_MIN {
                    part_bytes = 0;
                    protocol.handle_part(Instant::now());
                }
                let deadline = protocol.poll_timeout();
                match deadline.filter(|at| *at > Instant::now()) {
                    Some(at) => {
                        silence.set(Some(sleep_until(at.into())));
                        None
                    }
                    None => Some(Ended::Ours(ReasonCode::KeepAliveTimeout, None)),
                }
            }
            Happened::Stopped => Some(Ended::Ours(ReasonCode::ServerShuttingDown, None)),
        };
        counters
            .carry(Traffic { received: reader.carried().take(), sent: writer.carried().take() });
        if let Some(ended) = ended {
            return ended;
        }
        let full = writer.queued() + unsaid.bytes > CONGESTED_BYTES;
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
    let now = Instant::now();
    let mut for_session = Vec::with_capacity(packets.len());
    let mut ended = None;
    for packet in packets {
        match protocol.handle_packet(packet, now) {
            Step::ForSession(packet) => for_session.push(packet),
            Step::Answer(packet) => queue(writer, &packet),
            Step::Goodbye(cause) => ended = Some(Ended::goodbye(cause)),
            Step::End(reason) => ended = Some(Ended::Ours(reason, None)),
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

/// Puts together what one write takes.
fn say<W: AsyncWrite + Unpin>(
    unsaid: &mut Unsaid,
    protocol: &mut Protocol,
    writer: &mut PacketWriter<W>,
    acknowledges: &mut bool,
) -> Option<Ended> {
    while unsaid.goes_on(writer.queued())
        && let Some(event) = unsaid.pop()
    {
        match event {
            ConnectionEvent::Packet(mut packet) => {
                if !protocol.handle_outgoing(&mut packet) {
                    debug!(packet = packet.name(), "left out: larger than the client takes");
                    continue;
                }
                if matches!(packet, Packet::PubAck(_) | Packet::PubRec(_) | Packet::PubComp(_)) {
                    *acknowledges = true;
                    step::pass(step::Step::AckBefore);
                }
                queue(writer, &packet);
            }
            ConnectionEvent::Said => {}
            ConnectionEvent::Close(reason) => return Some(Ended::Ours(reason, None)),
        }
    }
    None
}

/// Puts a packet behind those that wait to be written.
pub(super) fn queue<W>(writer: &mut PacketWriter<W>, packet: &Packet) {
    if let Err(cause) = writer.queue(packet) {
        tracing::error!(packet = packet.name(), %cause, "a packet cannot be sent");
    }
}

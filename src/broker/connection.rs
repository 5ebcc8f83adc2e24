//! shell: one LAN client's connection: reads, writes, keeps its deadlines.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this shell owns a socket")]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{timeout, timeout_at};
use tracing::{debug, info};

use super::admission::Denied;
use super::counters::{Seen, Traffic};
use super::door::{Named, Pass, Whom};
use super::exchange::{Ended, exchange, queue};
use super::login::{Admitted, admit};
use super::protocol::{Protocol, refusal};
use super::settings::ListenerRules;
use super::visitor::{Peer, Spoken, Visitor};
use crate::access::{Gate, Principal};
use crate::hub::{AttachClient, Attached, Caller, ConnectionId, DetachCause, HubHandle, Inbound};
use crate::mqtt::{
    CodecError, Connect, DecodeOptions, Disconnect, Packet, PacketReader, PacketWriter, ReadError,
    ReasonCode, Version,
};

/// The largest CONNECT: what a stranger may have us keep before anybody has looked at who it is. Room for the longest client
/// id and will that are of use.
const CONNECT_BYTES_MAX: u32 = 128 * 1024;
/// How long the last words may take.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);

/// What a connection brings from the listener.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its place.
    pub(super) pass: Pass,
    /// Whether its address comes more often than it may.
    pub(super) too_often: bool,
    /// The listener.
    pub(super) named: Arc<Named>,
    /// When CONNECT must have come.
    pub(super) deadline: Instant,
    /// Users and passwords.
    pub(super) gate: Gate,
}

impl Entry {
    /// The time for CONNECT is over.
    pub(super) fn tell_slow(&self, peer: &Peer) {
        self.say(Seen::TooSlow, peer, &"no CONNECT came in time (`connect_timeout`); closed");
    }

    fn tell_malformed(&self, peer: &Peer, error: &CodecError) {
        let what = format!("client refused: its CONNECT is malformed: {error}");
        self.say(Seen::of(error.reason_code()), peer, &what);
    }

    fn say(&self, seen: Seen, peer: &Peer, what: &dyn std::fmt::Display) {
        self.pass.door().say(&self.named, seen, peer, what);
    }
}

/// Serves one client from CONNECT to the end.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    visitor: Visitor,
    rules: Arc<ListenerRules>,
    mut entry: Entry,
    hub: HubHandle,
    mut stop: watch::Receiver<bool>,
) {
    // Beginning and end have boxes of their own: most connections are idle and do not carry the room for them along.
    let begin = Box::pin(begin(stream, visitor, rules, &mut entry, &hub, &mut stop));
    let Some(mut client) = begin.await else { return };
    let ended = {
        let Client { reader, writer, protocol, id, inbound, .. } = &mut client;
        let counters = entry.pass.door().counters();
        exchange(reader, writer, protocol, *id, inbound, &hub, counters, &mut stop).await
    };
    Box::pin(end(client, ended, &entry, &hub)).await;
}

/// A client that is in.
struct Client<S> {
    reader: PacketReader<ReadHalf<S>>,
    writer: PacketWriter<WriteHalf<S>>,
    protocol: Protocol,
    principal: Arc<Principal>,
    caller: Arc<Caller>,
    id: ConnectionId,
    inbound: Inbound,
}

/// Hears CONNECT and lets the client in if it may; its CONNACK waits to be written.
async fn begin<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    visitor: Visitor,
    rules: Arc<ListenerRules>,
    entry: &mut Entry,
    hub: &HubHandle,
    stop: &mut watch::Receiver<bool>,
) -> Option<Client<S>> {
    let peer = visitor.peer;
    let (read, write) = tokio::io::split(stream);
    let packet_bytes_max = rules.limits.packet_bytes.min(CONNECT_BYTES_MAX);
    let options = DecodeOptions { version: Version::V311, packet_bytes_max };
    let mut reader = PacketReader::new(read, options);
    let first = tokio::select! {
        first = timeout_at(entry.deadline.into(), first_packet(&mut reader)) => first,
        () = stopped(stop) => return None,
    };
    let Ok(first) = first else {
        entry.tell_slow(&peer);
        return None;
    };
    if !entry.pass.handle_connect() {
        // It has just been ended to make room, and that has been said.
        return None;
    }
    let (version, outcome) = match first {
        Ok(First::Packet(Packet::Connect(connect))) => {
            let outcome = tokio::select! {
                outcome = let_in(&connect, &visitor, &rules, entry, hub) => outcome,
                () = stopped(stop) => return None,
            };
            (connect.version, outcome)
        }
        Ok(First::Packet(packet)) => {
            let what = format!("client began with {} instead of CONNECT; closed", packet.name());
            entry.say(Seen::ProtocolError, &peer, &what);
            return None;
        }
        Ok(First::Foreign(what)) => {
            entry.pass.door().say_foreign(&entry.named, &peer, what);
            return None;
        }
        Err(ReadError::Codec(
            error @ (CodecError::UnsupportedVersion { .. } | CodecError::ClientIdMissing),
        )) => {
            entry.tell_malformed(&peer, &error);
            (Version::V311, Err((error.reason_code(), None)))
        }
        Err(ReadError::Codec(error)) => {
            entry.tell_malformed(&peer, &error);
            // Only 5.0 has words for a CONNECT that is none.
            if reader.version() != Version::V5 {
                return None;
            }
            (Version::V5, Err((error.reason_code(), Some(error.to_string().into()))))
        }
        Err(cause) => {
            debug!(%peer, %cause, "client ended before CONNECT");
            return None;
        }
    };
    reader.set_version(version);
    reader.set_packet_bytes_max(rules.limits.packet_bytes);
    let mut writer = PacketWriter::new(write, version);
    let (admitted, protocol, attach) = match outcome {
        Ok(accepted) => accepted,
        Err((reason, why)) => {
            let refusal = refusal(in_words_of(version, reason), why);
            last_words(&mut writer, &refusal).await;
            let (received, sent) = (reader.carried().take(), writer.carried().take());
            entry.pass.door().counters().carry(Traffic { received, sent });
            return None;
        }
    };
    let (principal, caller) = (attach.principal.clone(), attach.caller.clone());
    let (attached, inbound) = hub.attach_client(attach).await.ok()?;
    if let Some(reason) = attached.refused {
        let what = "as many sessions that outlive their connections as may (`sessions`); refused";
        entry.say(Seen::TooManySessions, &peer, &what);
        let _ = hub.detach(attached.connection, DetachCause::Lost).await;
        last_words(&mut writer, &refusal(in_words_of(version, reason), None)).await;
        return None;
    }
    // The hub sends away whom a change of the users finds connected; it may have come just before.
    if !admitted.still_holds(&entry.gate) {
        let _ = hub.detach(attached.connection, DetachCause::Lost).await;
        let refusal = refusal(ReasonCode::BadUserNameOrPassword, None);
        last_words(&mut writer, &refusal).await;
        return None;
    }
    queue(&mut writer, &protocol.connack(&attached));
    let Attached { connection: id, session_present, .. } = attached;
    tell_connected(entry, &principal, &caller, version, session_present);
    Some(Client { reader, writer, protocol, principal, caller, id, inbound })
}

fn tell_connected(
    entry: &Entry,
    principal: &Principal,
    caller: &Caller,
    version: Version,
    session_present: bool,
) {
    let Principal { user, client_id, address } = principal;
    let Caller { peer, listener, keep_alive, clean_start } = caller;
    let user = user.as_deref();
    if entry.pass.door().may_say(&entry.named, Seen::Connected, *address) {
        info!(%client_id, user, %peer, %listener, %version, keep_alive, clean_start, session_present, "client connected");
    } else {
        debug!(%client_id, user, %peer, %listener, %version, keep_alive, clean_start, session_present, "client connected");
    }
}

/// Tells the hub, the log, and the client where it is for us to say.
async fn end<S: AsyncRead + AsyncWrite + Unpin>(
    client: Client<S>,
    ended: Ended,
    entry: &Entry,
    hub: &HubHandle,
) {
    let Client { mut writer, mut protocol, principal, caller, id, .. } = client;
    let Principal { user, client_id, address } = &*principal;
    let (user, Caller { peer, listener, .. }) = (user.as_deref(), &*caller);
    let (cause, seen) = match &ended {
        Ended::Theirs(cause, _) => (*cause, Seen::Gone),
        Ended::Ours(reason, _) => (DetachCause::Lost, Seen::of(*reason)),
        Ended::Hub => return,
    };
    let _ = hub.detach(id, cause).await;
    let door = entry.pass.door();
    let is_said = door.may_say(&entry.named, seen, *address);
    match ended {
        Ended::Hub => {}
        Ended::Theirs(_, reason) if is_said => {
            info!(%client_id, user, %peer, %listener, %reason, "client gone");
        }
        Ended::Theirs(_, reason) => {
            debug!(%client_id, user, %peer, %listener, %reason, "client gone");
        }
        Ended::Ours(reason, why) => {
            let told = why.as_deref();
            if is_said {
                info!(%client_id, user, %peer, %listener, %reason, why = told, "client sent away");
            } else {
                debug!(%client_id, user, %peer, %listener, %reason, why = told, "client sent away");
            }
            if protocol.version() == Version::V5 {
                let bye = Disconnect { reason_string: why, ..Disconnect::new(reason) };
                let mut bye = Packet::Disconnect(bye);
                if protocol.handle_outgoing(&mut bye) {
                    last_words(&mut writer, &bye).await;
                    let sent = writer.carried().take();
                    door.counters().carry(Traffic { sent, ..Traffic::default() });
                }
            }
        }
    }
}

enum First {
    Packet(Packet),
    /// It speaks something else.
    Foreign(&'static str),
}

async fn first_packet<R: AsyncRead + Unpin>(
    reader: &mut PacketReader<R>,
) -> Result<First, ReadError> {
    match Spoken::of(reader.peek().await?) {
        Spoken::Tls => Ok(First::Foreign(
            "a TLS client on an MQTT port without TLS: let it use `mqtt://`, or dial a `tls` port",
        )),
        Spoken::Http => Ok(First::Foreign(
            "an HTTP client on an MQTT port: a browser needs a `ws` port, other clients `mqtt://`",
        )),
        Spoken::Mqtt | Spoken::Other => reader.read_first().await.map(First::Packet),
    }
}

/// Whether a client that said CONNECT may come in, and as what; the refusal has been counted and said.
async fn let_in(
    connect: &Connect,
    visitor: &Visitor,
    rules: &ListenerRules,
    entry: &mut Entry,
    hub: &HubHandle,
) -> Result<(Admitted, Protocol, AttachClient), (ReasonCode, Option<Arc<str>>)> {
    let peer = &visitor.peer;
    if entry.too_often {
        entry.say(Seen::TooOften, peer, &"address connects too often (`connection_rate`); refused");
        return Err((ReasonCode::ConnectionRateExceeded, None));
    }
    // Before its password is looked at, so that those who wait for that are bounded as well.
    if entry.pass.enter().is_err() && take_over(connect, entry, hub).await.is_none() {
        let what = "as many clients as may (`connections`, `max_connections`); refused";
        entry.say(Seen::Full, peer, &what);
        return Err((ReasonCode::QuotaExceeded, None));
    }
    let denied = |Denied { reason, why, seen }| {
        let client_id = Some(&*connect.client_id);
        let whom = Whom { client_id, user: connect.username.as_deref() };
        let what = format!("client refused ({reason}): {why}");
        entry.pass.door().say_of(&entry.named, seen, peer, whom, &what);
        (reason, None)
    };
    let admitted = admit(connect, visitor, rules, &entry.gate).await.map_err(denied)?;
    let (mono, wall) = (Instant::now(), SystemTime::now().into());
    let options = rules.limits.protocol();
    let accepted = Protocol::accept(connect.clone(), options, fastrand::u64(..), mono, wall);
    let (protocol, mut attach) = accepted.map_err(|refused| {
        let why = "its CONNECT asks for what is not to be had".to_owned();
        denied(Denied { reason: refused.reason, why, seen: Seen::Denied })
    })?;
    attach.principal = admitted.principal(&attach.client_id, visitor);
    attach.caller = Arc::new(Caller {
        peer: peer.to_string().into(),
        listener: entry.named.name.clone(),
        keep_alive: protocol.keep_alive(),
        clean_start: connect.clean_start,
    });
    Ok((admitted, protocol, attach))
}

/// Lets a client in although there is no room if it is connected already: its older connection, which may be dead without
/// anybody knowing, ends for this one. Anybody may say so until the password is looked at, and only a few at a time are
/// believed.
async fn take_over(connect: &Connect, entry: &mut Entry, hub: &HubHandle) -> Option<()> {
    let older = hub.listener_of(&connect.client_id).await.ok()??;
    entry.pass.take_over(older == entry.named.name).ok()
}

/// Versions before 5.0 have one word for a server that cannot take a client (3.1.1 section 3.2.2.3).
fn in_words_of(version: Version, reason: ReasonCode) -> ReasonCode {
    match (version, reason) {
        (
            Version::V31 | Version::V311,
            ReasonCode::QuotaExceeded | ReasonCode::ConnectionRateExceeded,
        ) => ReasonCode::ServerUnavailable,
        (_, reason) => reason,
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

//! shell: one LAN client's connection: reads, writes, keeps its deadlines.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this shell owns a socket")]

use std::time::{Duration, Instant, SystemTime};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{debug, info};

use super::exchange::{Ended, exchange, queue};
use super::protocol::{CONNECT_MAX, Protocol, ProtocolOptions, refusal};
use crate::hub::{DetachCause, HubHandle};
use crate::mqtt::{
    CodecError, DecodeOptions, Disconnect, Packet, PacketReader, PacketWriter, ReadError, Version,
};

/// How long the last words may take.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);

/// Serves one client from CONNECT to the end.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: String,
    hub: HubHandle,
    mut stop: watch::Receiver<bool>,
) {
    let (read, write) = tokio::io::split(stream);
    let rules = ProtocolOptions::default();
    let packet_bytes_max = rules.packet_bytes_max;
    let options = DecodeOptions { version: Version::V311, packet_bytes_max };
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
            let accepted = Protocol::accept(*connect.clone(), rules, fastrand::u64(..), mono, wall);
            (connect.version, accepted.map_err(|refused| (refused.reason, None)))
        }
        Ok(packet) => {
            return debug!(%peer, packet = packet.name(), "client did not begin with CONNECT");
        }
        Err(ReadError::Codec(
            error @ (CodecError::UnsupportedVersion { .. } | CodecError::ClientIdMissing),
        )) => (Version::V311, Err((error.reason_code(), None))),
        // Only 5.0 has words for a CONNECT that is none.
        Err(ReadError::Codec(error)) if reader.version() == Version::V5 => {
            (Version::V5, Err((error.reason_code(), Some(error.to_string().into()))))
        }
        Err(cause) => return debug!(%peer, %cause, "client ended before CONNECT"),
    };
    reader.set_version(version);
    let mut writer = PacketWriter::new(write, version);
    let (mut protocol, attach) = match outcome {
        Ok(accepted) => accepted,
        Err((reason, why)) => {
            info!(%peer, %reason, why = why.as_deref(), "client refused");
            return last_words(&mut writer, &refusal(reason, why)).await;
        }
    };
    let client_id = attach.client_id.clone();
    let Ok((attached, inbound)) = hub.attach_client(attach).await else { return };
    queue(&mut writer, &protocol.connack(&attached));
    info!(%client_id, %peer, ?version, session_present = attached.session_present, "client connected");
    let id = attached.connection;
    let ended = exchange(&mut reader, &mut writer, &mut protocol, id, inbound, &hub, stop).await;
    let (cause, reason) = match ended {
        Ended::Theirs(cause) => (cause, None),
        Ended::Ours(reason, why) => (DetachCause::Lost, Some((reason, why))),
        Ended::Hub => return,
    };
    let _ = hub.detach(id, cause).await;
    match reason {
        None => info!(%client_id, ?cause, "client gone"),
        Some((reason, why)) => {
            info!(%client_id, %reason, why = why.as_deref(), "client sent away");
            if version == Version::V5 {
                let bye = Disconnect { reason_string: why, ..Disconnect::new(reason) };
                let mut bye = Packet::Disconnect(bye);
                protocol.handle_outgoing(&mut bye);
                last_words(&mut writer, &bye).await;
            }
        }
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

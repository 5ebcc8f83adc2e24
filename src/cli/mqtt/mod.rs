//! `fieldpost sub` and `fieldpost pub`: what mosquitto_sub and mosquitto_pub are to mosquitto, with their options.

mod args;
mod property;
mod publish;
mod subscribe;
mod template;
mod text;
mod url;

pub use args::MqttArgs;
pub use publish::{PubArgs, publish};
pub use subscribe::{SubArgs, subscribe};

use anyhow::Context as _;

use super::ExitStatus;
use crate::model::TopicName;
use crate::mqtt::Packet;

/// The command line is wrong, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// Runs `client` on what the command line came to, or says what is wrong with that.
fn run<T>(
    planned: Result<T, Usage>,
    client: impl AsyncFnOnce(T) -> anyhow::Result<ExitStatus>,
) -> anyhow::Result<ExitStatus> {
    let planned = match planned {
        Ok(planned) => planned,
        Err(usage) => {
            eprintln!("fieldpost: {usage}");
            return Ok(ExitStatus::Wrong);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    let result = runtime.block_on(client(planned));
    // Output that nobody takes must not keep us here.
    runtime.shutdown_background();
    result
}

/// Tells of a packet on standard error, for `-d`. Passwords and payloads are left out.
fn trace(packet: &Packet, sent: bool) {
    let direction = if sent { "sent" } else { "received" };
    let detail = match packet {
        Packet::Connect(connect) => format!(
            " ({}, client id {:?}, clean start {}, keep alive {} s)",
            connect.version, connect.client_id, connect.clean_start, connect.keep_alive
        ),
        Packet::ConnAck(ack) => {
            format!(" ({}, session present {})", ack.reason, ack.session_present)
        }
        Packet::Publish(publish) => format!(
            " ({:?}, qos {}, retain {}, packet id {}, {} bytes)",
            publish.topic.as_ref().map_or("", TopicName::as_str),
            publish.qos,
            publish.retain,
            publish.packet_id.map_or(0, |id| id.get()),
            publish.payload.len()
        ),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            format!(" (packet id {}, {})", ack.packet_id.get(), ack.reason)
        }
        Packet::Subscribe(subscribe) => {
            let filters: Vec<_> = subscribe.filters.iter().map(|filter| &filter.filter).collect();
            format!(" (packet id {}, {filters:?})", subscribe.packet_id.get())
        }
        Packet::SubAck(ack) | Packet::UnsubAck(ack) => {
            let reasons: Vec<_> = ack.reasons.iter().map(ToString::to_string).collect();
            format!(" (packet id {}, {})", ack.packet_id.get(), reasons.join(", "))
        }
        Packet::Disconnect(disconnect) => format!(" ({})", disconnect.reason),
        Packet::Unsubscribe(_) | Packet::PingReq | Packet::PingResp | Packet::Auth(_) => {
            String::new()
        }
    };
    eprintln!("fieldpost: {direction} {}{detail}", packet.name());
}

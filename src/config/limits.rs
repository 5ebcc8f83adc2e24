//! core: the broker's bounds as written, and what it is run with.

use std::time::Duration;

use super::fields::Field;
use super::notes::Notes;
use crate::broker::{Limits, PerAddress};

const EXAMPLE: &str = "write `limits: { connections: 1000, packet_size: 256KiB }`";
/// The least and the most a packet's size may be bounded to: a CONNECT must go through, and MQTT has no more (1.5.5).
const PACKET_LEAST: (u64, &str) = (1024, "1KiB");
const PACKET_MOST: (u64, &str) = (256 << 20, "256MiB");

/// Reads the bounds; those that are left out have their default.
pub(super) fn read(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<Limits> {
    let mut fields = field.fields(EXAMPLE, notes)?;
    let default = Limits::default();
    let clients = 1..=1_000_000;
    let timeouts = Duration::from_secs(1)..=Duration::from_secs(300);
    // Who writes a bound for an address means every address.
    let binding = |max| PerAddress { max, binds_loopback: true };
    let connections = fields.given("connections", notes, |field, notes| {
        field.integer(clients.clone(), "1000 is a good deal for one site", notes)
    });
    let half_open = fields.given("half_open", notes, |field, notes| {
        field.integer(clients.clone(), "500 serves most sites", notes)
    });
    let half_open_per_address = fields.given("half_open_per_address", notes, |field, notes| {
        field.integer(clients.clone(), "50 serves most sites", notes)
    });
    let connection_rate = fields.given("connection_rate", notes, |field, notes| {
        field.integer(clients.clone(), "connections a second from one address: `50`", notes)
    });
    let connect_timeout =
        fields.given("connect_timeout", notes, |field, notes| field.duration(timeouts, notes));
    let packet_size = fields.given("packet_size", notes, |field, notes| {
        let found = field.size_bytes(PACKET_LEAST, notes)?;
        if found.value > PACKET_MOST.0 {
            let shown = notes.shown(&found.spot);
            let message = format!("`packet_size` is {shown}, which is more than {}", PACKET_MOST.1);
            notes.error(&found.spot, message, format!("write {} or less", PACKET_MOST.1));
            return None;
        }
        Some(found)
    });
    let inflight = fields.given("inflight", notes, |field, notes| {
        field.integer(1..=65_535, "256 serves most clients", notes)
    });
    let queued_messages = fields.given("queued_messages", notes, |field, notes| {
        field.integer(1..=10_000_000, "10000 serves most clients", notes)
    });
    let instead = [
        ("max_connections", "connections"),
        ("packet_bytes", "packet_size"),
        ("max_packet_size", "packet_size"),
        ("message_size_limit", "packet_size"),
        ("max_inflight_messages", "inflight"),
        ("max_queued_messages", "queued_messages"),
    ];
    fields.finish(&[], &instead, notes);
    let packet_bytes = packet_size.written().and_then(|at| u32::try_from(at.value).ok());
    Some(Limits {
        connections: connections.or(default.connections),
        half_open: half_open.or(default.half_open),
        half_open_per_address: half_open_per_address
            .written()
            .map_or(default.half_open_per_address, |at| binding(at.value)),
        connection_rate: connection_rate
            .written()
            .map_or(default.connection_rate, |at| binding(at.value)),
        connect_timeout: connect_timeout.or(default.connect_timeout),
        packet_bytes: packet_bytes.unwrap_or(default.packet_bytes),
        inflight: inflight.or(default.inflight),
        queued_messages: queued_messages.or(default.queued_messages),
    })
}

//! core: the broker's bounds as written, and what it is run with.

use std::num::NonZeroU16;
use std::time::Duration;

use super::fields::Field;
use super::notes::{At, Notes};
use crate::broker::{Limits, PerAddress};

const EXAMPLE: &str = "write `limits: { connections: 1000, packet_size: 256KiB }`";
/// The least and the most a packet's size may be bounded to: a CONNECT must go through, and MQTT has no more (1.5.5).
const PACKET_LEAST: (u64, &str) = (1024, "1KiB");
const PACKET_MOST: (u64, &str) = (256 << 20, "256MiB");
const QUEUE_LEAST: (u64, &str) = (1024, "1KiB");
const MEMORY_MOST: (u64, &str) = (2 << 30, "2GiB");

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
    let sessions = fields.given("sessions", notes, |field, notes| {
        field.integer(clients.clone(), "20000 serves most sites", notes)
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
    let packet_size = fields
        .given("packet_size", notes, |field, notes| bytes(field, PACKET_LEAST, PACKET_MOST, notes));
    let inflight = fields.given("inflight", notes, |field, notes| {
        let found = field.integer(1..=65_535, "256 serves most clients", notes)?;
        nonzero(&found)
    });
    let queued_messages = fields.given("queued_messages", notes, |field, notes| {
        field.integer(1..=10_000_000, "10000 serves most clients", notes)
    });
    let queued_bytes =
        fields.given("queued_bytes", notes, |field, notes| memory(field, QUEUE_LEAST, notes));
    let stored_messages = fields.given("stored_messages", notes, |field, notes| {
        field.integer(1..=100_000_000, "100000 serves most clients", notes)
    });
    let stored_bytes =
        fields.given("stored_bytes", notes, |field, notes| memory(field, QUEUE_LEAST, notes));
    let subscriptions = fields.given("subscriptions", notes, |field, notes| {
        field.integer(clients.clone(), "1000 serves most clients", notes)
    });
    let retained_messages = fields.given("retained_messages", notes, |field, notes| {
        field.integer(1..=10_000_000, "100000 serves most sites", notes)
    });
    let retained_bytes =
        fields.given("retained_bytes", notes, |field, notes| memory(field, QUEUE_LEAST, notes));
    let topic_levels = fields.given("topic_levels", notes, |field, notes| {
        field.integer(1..=128, "16 is deep for a site", notes)
    });
    let topic_length = fields.given("topic_length", notes, |field, notes| {
        field.integer(1..=65_535, "bytes a topic may have: `4096`", notes)
    });
    let keep_alives = Duration::from_secs(1)..=Duration::from_secs(65_535);
    let keep_alive = fields.given("keep_alive", notes, |field, notes| {
        let found = field.seconds(keep_alives, notes)?;
        let seconds = u16::try_from(found.value.as_secs()).ok()?;
        nonzero(&At { value: seconds, spot: found.spot })
    });
    // The longest that has an end: one more second means for ever (MQTT 5.0 section 3.1.2.11.2).
    let expiries = Duration::from_secs(1)..=Duration::from_secs(0xFFFF_FFFE);
    let session_expiry =
        fields.given("session_expiry", notes, |field, notes| field.seconds(expiries, notes));
    let instead = [
        ("max_connections", "connections"),
        ("packet_bytes", "packet_size"),
        ("max_packet_size", "packet_size"),
        ("message_size_limit", "packet_size"),
        ("max_inflight_messages", "inflight"),
        ("max_queued_messages", "queued_messages"),
        ("max_queued_bytes", "queued_bytes"),
        ("max_keepalive", "keep_alive"),
        ("persistent_client_expiration", "session_expiry"),
    ];
    fields.finish(&[], &instead, notes);
    Some(Limits {
        connections: connections.or(default.connections),
        sessions: sessions.or(default.sessions),
        half_open: half_open.or(default.half_open),
        half_open_per_address: half_open_per_address
            .written()
            .map_or(default.half_open_per_address, |at| binding(at.value)),
        connection_rate: connection_rate
            .written()
            .map_or(default.connection_rate, |at| binding(at.value)),
        connect_timeout: connect_timeout.or(default.connect_timeout),
        packet_bytes: packet_size.or(default.packet_bytes),
        inflight: inflight.or(default.inflight),
        queued_messages: queued_messages.or(default.queued_messages),
        queued_bytes: queued_bytes.or(default.queued_bytes),
        stored_messages: stored_messages.or(default.stored_messages),
        stored_bytes: stored_bytes.or(default.stored_bytes),
        subscriptions: subscriptions.or(default.subscriptions),
        retained_messages: retained_messages.or(default.retained_messages),
        retained_bytes: retained_bytes.or(default.retained_bytes),
        topic_levels: topic_levels.or(default.topic_levels),
        topic_bytes: topic_length.or(default.topic_bytes),
        keep_alive: keep_alive.written().map(|at| at.value),
        session_expiry: session_expiry
            .written()
            .and_then(|at| u32::try_from(at.value.as_secs()).ok())
            .unwrap_or(default.session_expiry),
    })
}

fn nonzero(found: &At<u16>) -> Option<At<NonZeroU16>> {
    Some(At { value: NonZeroU16::new(found.value)?, spot: found.spot.clone() })
}

/// A size that must fit in memory.
fn memory(field: &Field<'_>, least: (u64, &str), notes: &mut Notes<'_>) -> Option<At<u32>> {
    bytes(field, least, MEMORY_MOST, notes)
}

fn bytes(
    field: &Field<'_>,
    least: (u64, &str),
    most: (u64, &str),
    notes: &mut Notes<'_>,
) -> Option<At<u32>> {
    let At { value, spot } = field.size_bytes(least, notes)?;
    if value > most.0 {
        let (name, shown) = (&field.name, notes.shown(&spot));
        let message = format!("`{name}` is {shown}, which is more than {}", most.1);
        notes.error(&spot, message, format!("write {} or less", most.1));
        return None;
    }
    Some(At { value: u32::try_from(value).ok()?, spot })
}

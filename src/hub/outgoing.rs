//! core: the words of an outbox: what it is handed, what it sends, what became of it.

use std::num::NonZeroU16;
use std::sync::Arc;

use super::clock::Clock;
use super::node::NodeId;
use crate::model::{Message, Moment, QoS, Seq};
use crate::store::Target;

/// A message on its way to one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Its place in the hub's order.
    pub seq: Seq,
    /// The message, shared by all its deliveries.
    pub message: Arc<Message>,
    /// The QoS of this delivery.
    pub qos: QoS,
    /// The retain flag of this delivery.
    pub retain: bool,
    /// The subscription ids that brought it.
    pub subscription_ids: Vec<u32>,
    /// Whether a shared subscription brought it (MQTT 5.0 section 4.8.2).
    pub shared: bool,
    /// Who the stored copy is for; `None` if it lives in memory only.
    pub stored: Option<Arc<[Target]>>,
    /// The batch that makes the stored copy durable.
    pub batch: u64,
    /// Whether newer messages were sent before it; set when it is picked.
    pub late: bool,
}

/// New messages pass those that waited while there was no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LiveFirst {
    /// The least time between two messages of the backlog, on average; `None` sends it as fast as it is taken.
    pub pause: Option<std::time::Duration>,
}

/// A packet that may leave once `needs` is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// What to send.
    pub what: Send,
    /// The batch that must be durable first; 0 for none.
    pub needs: u64,
}

/// What the outbox sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Send {
    /// PUBLISH; without a packet id it is QoS 0.
    Publish {
        /// The message.
        out: Outgoing,
        /// Its packet id.
        packet_id: Option<NonZeroU16>,
        /// Whether it may have been sent before.
        dup: bool,
        /// What [`Outbox::handle_written`](super::outbox::Outbox::handle_written) must be told when a QoS 0 message has
        /// left; `None` if it is settled already, because it leaves at once.
        flight: Option<FlightNumber>,
    },
    /// PUBREL.
    PubRel {
        /// Its packet id.
        packet_id: NonZeroU16,
    },
}

/// A message that left the outbox for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The message.
    pub out: Outgoing,
    /// Why it left.
    pub outcome: Outcome,
}

/// Why a message left the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was acknowledged (QoS 0: written).
    Delivered,
    /// The other side refused it with a reason code.
    Refused,
    /// It expired before it was sent.
    Expired,
    /// It is larger than the other side takes.
    TooLarge,
    /// The rules allow its delivery no longer.
    Denied,
    /// The gateway at the other end had it already.
    Returning,
}

/// The order in which messages were picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlightNumber(pub(super) u64);

/// What an acknowledgement did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acknowledged {
    /// The message is settled.
    Settled(Settled),
    /// PUBREL follows.
    Released(Transmit),
    /// A packet id that may have been open is closed.
    Closed,
    /// The packet id is under way, but not in that phase on this connection.
    Early,
    /// No such packet id is under way.
    Unknown,
}

/// What became of the flights when the other side had lost the session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lost {
    /// Messages that will be published again although they may have arrived.
    pub republished: u64,
    /// Messages taken for delivered because they were received and the operator trusts that.
    pub trusted: Vec<Settled>,
}

/// What a pick may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PickLimits {
    /// The time, for expiry and for the rate of a backlog.
    pub now: Moment,
    /// What is known of it.
    pub clock: Clock,
    /// The batch that takes changes.
    pub batch: u64,
    /// What needs no later batch than this leaves at once; `None` if something waits to leave before it.
    pub leaves: Option<u64>,
    /// Whether the connection's queue is full: no QoS 0 then.
    pub congested: bool,
    /// Whether the store is dropping messages: what stands there must not get under way, it may be gone already.
    pub trimming: bool,
    /// The highest QoS the other side takes.
    pub qos_max: QoS,
    /// The gateway at the other end: what has been through it is not sent there.
    pub peer: Option<NodeId>,
}

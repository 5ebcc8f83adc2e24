//! core: what the hub keeps for one client or uplink: subscriptions, outbox, inbox, will, and its connection if it has
//! one. MQTT 5.0 section 4.1.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::drops::{Drops, TellDrops};
use super::engine::Rights;
use super::inbox::Inbox;
use super::node::Peer;
use super::outbox::{FlightNumber, Oldest, Outbox, Outgoing};
use crate::model::{Message, QoS, Seq, Timestamp, TopicFilter, TopicRename};
use crate::mqtt::{Packet, RetainHandling, SubscribeFilter, Version};
use crate::store::{SessionId, SessionOwner};

/// The number of a connection: given once in a run of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// How a client came in, as far as it is shown to a person.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Caller {
    /// The other end of its connection: `192.0.2.7:50123`, or what is known of a process of this machine.
    pub peer: Box<str>,
    /// The listener it came to: `mqtts://192.0.2.1:8883`.
    pub listener: Arc<str>,
    /// The keep alive it is held to, in seconds; 0 for none.
    pub keep_alive: u16,
    /// Whether it began its session anew.
    pub clean_start: bool,
}

/// How a session subscribed to a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The highest QoS wanted.
    pub qos: QoS,
    /// Not what this session published itself.
    pub no_local: bool,
    /// Whether a delivery keeps the retain flag of its publication.
    pub retain_as_published: bool,
    /// Subscription id to send along.
    pub id: Option<u32>,
    /// The place of the rule among an uplink's `forward` rules; the lowest decides.
    pub rule: Option<usize>,
}

impl Subscription {
    /// A subscription as SUBSCRIBE asked for it.
    #[must_use]
    pub fn from_request(request: &SubscribeFilter, id: Option<u32>) -> Self {
        Self {
            qos: request.qos,
            no_local: request.no_local,
            retain_as_published: request.retain_as_published,
            id,
            rule: None,
        }
    }

    /// What an uplink's `forward` rule at this place asks for.
    #[must_use]
    pub fn of_rule(place: usize, rule: &Forward) -> Self {
        let (qos, retain_as_published) = (rule.qos, rule.retain);
        Self { qos, no_local: true, retain_as_published, id: None, rule: Some(place) }
    }

    /// The options byte of 3.8.3.1, without retain handling, which matters only once.
    #[must_use]
    pub fn options_byte(&self) -> u8 {
        self.qos.level() | u8::from(self.no_local) << 2 | u8::from(self.retain_as_published) << 3
    }

    /// The inverse of [`Self::options_byte`].
    #[must_use]
    pub fn from_options(options: u8, id: Option<u32>) -> Self {
        Self {
            qos: QoS::try_from(options & 3).unwrap_or_default(),
            no_local: options & 4 != 0,
            retain_as_published: options & 8 != 0,
            id,
            rule: None,
        }
    }
}

/// What an uplink sends up: which topics, at which QoS, under which name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// Which topics.
    pub filter: TopicFilter,
    /// QoS upstream.
    pub qos: QoS,
    /// The topic upstream; `None` keeps the topic.
    pub to: Option<TopicRename>,
    /// Whether it keeps its retain flag.
    pub retain: bool,
}

/// What an uplink takes from upstream, and under which name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accept {
    /// Which topics, as they are called upstream.
    pub filter: TopicFilter,
    /// The topic here; `None` keeps the topic.
    pub to: Option<TopicRename>,
    /// Whether it keeps its retain flag.
    pub retain: bool,
}

/// A message to publish when the connection is lost (3.1.2.5), and how long after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionWill {
    /// The message; `expires` is not set here.
    pub message: Message,
    /// The will delay interval.
    pub delay: Duration,
    /// How long it is worth delivering once it is published.
    pub expiry: Option<Duration>,
}

/// A packet that waits for a batch to be durable.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) needs: u64,
    pub(super) packet: Packet,
    /// The QoS 0 flight that ends when the packet leaves.
    pub(super) written: Option<FlightNumber>,
}

/// The connection of a session.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: ConnectionId,
    pub(super) version: Version,
    pub(super) packet_bytes_max: Option<u32>,
    pub(super) qos_max: QoS,
    pub(super) retain_available: bool,
    pub(super) held: VecDeque<Held>,
    pub(super) congested: bool,
    pub(super) will: Option<Box<SessionWill>>,
    /// The message whose acknowledgement the connection waits for.
    pub(super) saying: Option<Seq>,
    /// What it says once nothing is in flight; until then nothing new is picked.
    pub(super) last_words: Option<Box<Outgoing>>,
    /// The message after which nothing more is picked.
    pub(super) farewell: Option<Seq>,
    /// It has been picked.
    pub(super) closing: bool,
}

/// Everything kept for one client or uplink.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) owner: SessionOwner,
    /// Whether it stands in the store.
    pub(super) durable: bool,
    /// Seconds it outlives its connection; `u32::MAX` never ends.
    pub(super) expiry: u32,
    pub(super) subscriptions: HashMap<TopicFilter, Subscription>,
    /// An uplink's rules; empty for clients.
    pub(super) forward: Vec<Forward>,
    /// What it takes from upstream; empty for clients.
    pub(super) accept: Vec<Accept>,
    /// Topics an uplink is never given.
    pub(super) withheld: Option<TopicFilter>,
    /// Whether it is another broker that dials in: it does not want back what it published.
    pub(super) bridge: bool,
    /// The gateway at the other end, as far as one was ever there.
    pub(super) peer: Option<Peer>,
    /// Which broker an uplink's session stands at.
    pub(super) server: Option<Arc<str>>,
    /// An uplink takes PUBREC for the delivery when the upstream lost the session.
    pub(super) trust_received: bool,
    /// Whether an uplink is in the configuration; true for clients.
    pub(super) configured: bool,
    /// Whether the other side may have had this session before.
    pub(super) known: bool,
    pub(super) window: u16,
    pub(super) outbox: Outbox,
    pub(super) inbox: Inbox,
    pub(super) link: Option<Link>,
    /// How its client came in last; `None` if it has not come since the start.
    pub(super) caller: Option<Arc<Caller>>,
    /// When it came or went; not set if nobody knows.
    pub(super) since: Timestamp,
    pub(super) counters: Counters,
    /// What the rules say to it.
    pub(super) rights: Rights,
    /// What was dropped and an upstream has not been told.
    pub(super) drops: Drops,
    pub(super) tell_drops: Option<TellDrops>,
}

/// What became of a session's messages since the program started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Acknowledged (QoS 0: written).
    pub delivered: u64,
    /// Refused by the other side with a reason code.
    pub refused: u64,
    /// Expired before they were sent.
    pub expired: u64,
    /// Larger than the other side takes.
    pub too_large: u64,
    /// Not sent to a gateway they had been through, or not taken from there.
    pub returning: u64,
    /// Dropped to keep the bounds of its queue, stored or in memory.
    pub dropped: u64,
    /// Publications of this client that were not taken.
    pub rejected: u64,
    /// Subscriptions of this client that were not taken.
    pub subscriptions_refused: u64,
    /// Removed by an operator's command.
    pub purged: u64,
    /// Published again although they may have arrived, because the other side lost the session.
    pub republished: u64,
    /// What the rules kept a client from: publications, wills, subscriptions, and messages that had waited.
    pub denied: u64,
}

impl Session {
    pub(super) fn is_uplink(&self) -> bool {
        matches!(self.owner, SessionOwner::Uplink(_))
    }

    pub(super) fn name(&self) -> &Arc<str> {
        match &self.owner {
            SessionOwner::Uplink(name) | SessionOwner::Client(name) => name,
        }
    }
}

/// A session as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionStatus {
    /// Its number.
    pub id: SessionId,
    /// Whose it is.
    pub owner: SessionOwner,
    /// Whether it stands in the store.
    pub durable: bool,
    /// Whether an uplink is in the configuration; true for clients.
    pub configured: bool,
    /// Whether it has a connection.
    pub connected: bool,
    /// Messages that are not settled.
    pub queued: u64,
    /// Messages in flight.
    pub inflight: usize,
    /// Its oldest stored message that is not settled.
    pub oldest: Oldest,
    /// Bytes of payload waiting for it in memory.
    pub waiting_bytes: usize,
    /// What it subscribed to: filters.
    pub subscriptions: usize,
    /// As whom its client entered.
    pub user: Option<Arc<str>>,
    /// How its client came in last; `None` if it has not come since the start.
    pub caller: Option<Arc<Caller>>,
    /// The version it speaks while it is connected.
    pub version: Option<Version>,
    /// Seconds it outlives its connection; `u32::MAX` never ends.
    pub expiry: u32,
    /// When it came, or went if it is away; not set if nobody knows.
    pub since: Timestamp,
    /// What became of the others.
    pub counters: Counters,
}

/// Whether a new subscription is sent the retained messages (3.8.3.1).
pub(super) fn sends_retained(handling: RetainHandling, existed: bool) -> bool {
    match handling {
        RetainHandling::Send => true,
        RetainHandling::SendIfNew => !existed,
        RetainHandling::DoNotSend => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_back_from_their_byte() {
        let subscription = Subscription {
            qos: QoS::ExactlyOnce,
            no_local: true,
            retain_as_published: true,
            id: Some(7),
            rule: None,
        };
        assert_eq!(Subscription::from_options(subscription.options_byte(), Some(7)), subscription);
    }
}

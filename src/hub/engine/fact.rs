//! core: what happens in the engine that a person may want to know.

use std::net::IpAddr;
use std::sync::Arc;

use super::DeniedWhat;
use crate::hub::session::Caller;
use crate::hub::takeover::Takeover;
use crate::mqtt::ReasonCode;
use crate::store::DropReason;

/// What happened that a person may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The upstream had forgotten the session.
    SessionLost {
        /// Which uplink.
        uplink: Arc<str>,
        /// Messages published again although they may have arrived.
        republished: u64,
        /// Messages taken for delivered because their PUBREC had come.
        trusted: u64,
    },
    /// Messages were dropped to keep the queue's bounds.
    Dropped {
        /// Whose.
        session: Arc<str>,
        /// Why.
        reason: DropReason,
        /// How many.
        count: u64,
        /// Whether none had been dropped for a while.
        first: bool,
    },
    /// None have been dropped for a while.
    DropsEnded {
        /// Whose.
        session: Arc<str>,
        /// How many since the first.
        count: u64,
    },
    /// A client's queue is full: it is too slow for what it subscribed to, or away for too long.
    Overflowed {
        /// Whose.
        session: Arc<str>,
        /// Messages that wait.
        waiting: u64,
        /// Bytes of payload they hold in memory.
        bytes: usize,
    },
    /// A publication of a client was not taken.
    PublicationRefused {
        /// Whose.
        session: Arc<str>,
        /// Its topic.
        topic: Arc<str>,
        /// Why.
        reason: ReasonCode,
        /// Where it comes from.
        address: Option<IpAddr>,
        /// How many of this client since its session was taken up.
        count: u64,
    },
    /// A subscription of a client was not taken.
    SubscriptionRefused {
        /// Whose.
        session: Arc<str>,
        /// Its filter.
        filter: Arc<str>,
        /// Why.
        reason: ReasonCode,
        /// Where it comes from.
        address: Option<IpAddr>,
        /// How many of this client since its session was taken up.
        count: u64,
    },
    /// There was no room to retain a message.
    RetainedRefused {
        /// Its topic.
        topic: Arc<str>,
        /// How many since the start.
        count: u64,
        /// Retained messages.
        messages: usize,
        /// Bytes they hold.
        bytes: usize,
    },
    /// The other side refused a message; it is settled all the same.
    Refused {
        /// Whose.
        session: Arc<str>,
        /// Its topic.
        topic: Arc<str>,
        /// How often that happened since the start.
        count: u64,
    },
    /// A message is larger than the other side takes.
    TooLarge {
        /// Whose.
        session: Arc<str>,
        /// Its topic.
        topic: Arc<str>,
    },
    /// The rules kept a client from something.
    Denied {
        /// Which client.
        client_id: Arc<str>,
        /// As whom it entered.
        user: Option<Arc<str>>,
        /// From what.
        what: DeniedWhat,
        /// The topic, or the filter of a subscription.
        topic: Arc<str>,
        /// Where it comes from.
        address: Option<IpAddr>,
        /// The place, from 1, of the rule that denies it; `None` if no rule allows it.
        rule: Option<usize>,
        /// How often that happened to its session since the start.
        count: u64,
    },
    /// A client id connected a second time; the first connection was ended.
    TakenOver {
        /// Which.
        client_id: Arc<str>,
        /// Where the connection that ended came from.
        first: Arc<Caller>,
        /// Where the one that took over comes from.
        second: Arc<Caller>,
        /// What that looks like.
        what: Takeover,
    },
    /// A stored session of an uplink that the configuration no longer has.
    UplinkGone {
        /// Which.
        uplink: Arc<str>,
        /// Messages that wait for it.
        queued: u64,
    },
    /// A message came over a bridge that has been here before.
    Returned {
        /// From whom.
        session: Arc<str>,
        /// Its topic.
        topic: Arc<str>,
        /// How often that happened since the start.
        count: u64,
    },
    /// An upstream sent what no rule of the uplink accepts.
    Unasked {
        /// Which uplink.
        uplink: Arc<str>,
        /// The topic.
        topic: Arc<str>,
    },
}

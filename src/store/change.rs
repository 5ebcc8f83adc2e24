//! core: the words the hub and the store speak: changes, what a start finds, what a read returns.

use std::num::NonZeroU16;
use std::sync::Arc;

use crate::model::{Message, QoS, Seq, Timestamp, TopicFilter, TopicName};

/// A durable session's number: given once, never given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u32);

/// Who a durable session belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionOwner {
    /// An uplink, by its name in the configuration.
    Uplink(Arc<str>),
    /// A LAN client, by its client id.
    Client(Arc<str>),
}

/// One session that a stored message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target {
    /// Which session.
    pub session: SessionId,
    /// The QoS of the delivery.
    pub qos: QoS,
    /// The retain flag of the delivery.
    pub retain: bool,
    /// Whether it gets it as the member of a shared subscription (MQTT 5.0 section 4.8.2).
    pub shared: bool,
}

/// How far an outgoing message has come (MQTT 5.0 section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Phase {
    /// It has a packet id; PUBLISH may have been sent.
    Assigned = 1,
    /// PUBREC came; PUBREL may have been sent.
    Released = 2,
    /// As [`Self::Assigned`], and newer messages have passed it.
    AssignedLate = 4,
}

impl Phase {
    /// The phase of this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Assigned, Self::Released, Self::AssignedLate]
            .into_iter()
            .find(|phase| *phase as u8 == number)
    }
}

/// Why a message that was to be delivered is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DropReason {
    /// The queue held as much as it may.
    QueueFull = 1,
    /// Too little of the disk was free.
    DiskFull = 2,
    /// It was older than the queue keeps messages.
    TooOld = 3,
    /// Its own expiry passed.
    Expired = 4,
    /// It is larger than the other side takes.
    TooLarge = 5,
    /// An operator's command removed it.
    Purged = 6,
    /// The queue was full, and made coarser instead of shorter.
    Thinned = 7,
    /// The database was damaged where it stood.
    Damaged = 8,
}

impl DropReason {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::QueueFull,
        Self::DiskFull,
        Self::TooOld,
        Self::Expired,
        Self::TooLarge,
        Self::Purged,
        Self::Thinned,
        Self::Damaged,
    ];

    /// The reason of this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == number)
    }

    /// The word for it in logs and messages.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::DiskFull => "disk_full",
            Self::TooOld => "too_old",
            Self::Expired => "expired",
            Self::TooLarge => "too_large",
            Self::Purged => "purged",
            Self::Thinned => "thinned",
            Self::Damaged => "damaged",
        }
    }
}

/// How many messages of a session were dropped for one reason since the other side was told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropCount {
    /// Why.
    pub reason: DropReason,
    /// How many.
    pub count: u64,
    /// When the first went.
    pub first: Timestamp,
    /// When the last went.
    pub last: Timestamp,
}

/// One change of durable state. The changes of a batch become durable together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Keep a message for its targets.
    Append {
        /// Its place in the order.
        seq: Seq,
        /// The message.
        message: Arc<Message>,
        /// Who it is for; never empty.
        targets: Arc<[Target]>,
    },
    /// Everybody has them: they go. Those that are not there are not missed.
    Delete {
        /// First place.
        first: Seq,
        /// Last place, inclusive.
        last: Seq,
    },
    /// An outgoing message reached a phase.
    Flight {
        /// Whose.
        session: SessionId,
        /// Which message.
        seq: Seq,
        /// Under which packet id.
        packet_id: NonZeroU16,
        /// How far.
        phase: Phase,
    },
    /// An outgoing message goes back among the waiting ones.
    Recall {
        /// Whose.
        session: SessionId,
        /// Which message.
        seq: Seq,
    },
    /// Everything between two places above the cursor is settled for this session; flights in between end.
    Settled {
        /// Whose.
        session: SessionId,
        /// First place.
        first: Seq,
        /// Last place, inclusive.
        last: Seq,
    },
    /// Everything up to here is settled for this session.
    Cursor {
        /// Whose.
        session: SessionId,
        /// The last settled place.
        cursor: Seq,
    },
    /// A QoS 2 message was received under this packet id (`present`), or the id was released.
    Inbox {
        /// From whom.
        session: SessionId,
        /// Which packet id.
        packet_id: NonZeroU16,
        /// Whether a repeat must be recognised.
        present: bool,
    },
    /// Packet ids from `first` on, round to `last`, may be given to QoS 2 messages of this session from here on; all
    /// before are closed at the other side.
    Reserve {
        /// Whose.
        session: SessionId,
        /// The first that may be open.
        first: NonZeroU16,
        /// The last that may be given.
        last: NonZeroU16,
    },
    /// No packet id is open at the other side any more without a trace here.
    IdsClosed {
        /// Whose.
        session: SessionId,
    },
    /// The retained message of a topic; `None` clears it.
    Retain {
        /// Which topic.
        topic: TopicName,
        /// The message.
        message: Option<Message>,
    },
    /// A durable session begins or changes its expiry.
    Session {
        /// Its number.
        session: SessionId,
        /// Whose it is.
        owner: SessionOwner,
        /// Everything up to here was before its time.
        cursor: Seq,
        /// Seconds it outlives its connection; `u32::MAX` never ends.
        expiry: u32,
    },
    /// How many messages of a session were dropped for a reason and nobody has been told; zero takes that back.
    Dropped {
        /// Whose.
        session: SessionId,
        /// How many, and why.
        count: DropCount,
    },
    /// When a durable session lost its connection; `None` while it has one.
    Away {
        /// Whose.
        session: SessionId,
        /// Since when.
        since: Option<Timestamp>,
    },
    /// The will of a session, durable or not, as long as it may have to be published; `None` once it need not.
    Will {
        /// Whose.
        session: SessionId,
        /// The will.
        will: Option<StoredWill>,
    },
    /// A durable session ends: its subscriptions, ids and undelivered messages go.
    EndSession {
        /// Which.
        session: SessionId,
    },
    /// A durable session subscribes; `None` unsubscribes.
    Subscription {
        /// Whose.
        session: SessionId,
        /// To what.
        filter: TopicFilter,
        /// The options byte of MQTT 5.0 section 3.8.3.1 and the subscription id.
        options: Option<(u8, Option<u32>)>,
    },
}

/// A message as it stands in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its place in the order.
    pub seq: Seq,
    /// The message.
    pub message: Arc<Message>,
    /// Who it was kept for.
    pub targets: Arc<[Target]>,
}

/// A will as it stands in the store (MQTT 5.0 section 3.1.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredWill {
    /// What is to be published; it does not expire before it is.
    pub message: Message,
    /// The will delay interval in seconds.
    pub delay: u32,
    /// How many seconds it is worth delivering once it is published; `None` for ever.
    pub lifetime: Option<u32>,
}

/// A durable session as a start finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSession {
    /// Its number.
    pub id: SessionId,
    /// Whose it is.
    pub owner: SessionOwner,
    /// Everything up to here is settled.
    pub cursor: Seq,
    /// Seconds it outlives its connection.
    pub expiry: u32,
    /// When it lost its connection, if that was seen.
    pub away_since: Option<Timestamp>,
    /// What it subscribed to: filter, options byte, subscription id.
    pub subscriptions: Vec<(TopicFilter, u8, Option<u32>)>,
    /// What is settled above the cursor: runs from the first place to the last, oldest first.
    pub settled: Vec<(Seq, Seq)>,
    /// Messages under way, oldest first, with what is known of each.
    pub flights: Vec<StoredFlight>,
    /// QoS 2 packet ids received and not released.
    pub inbox: Vec<NonZeroU16>,
    /// The packet ids last reserved: the first that may be open, round to the last that may be given.
    pub reserved: Option<(NonZeroU16, NonZeroU16)>,
    /// Whether ids among them may be open at the other side without a trace here: what was staged was lost, and not all
    /// of them are known to be closed since.
    pub ids_lost: bool,
    /// What was dropped and nobody has been told.
    pub dropped: Vec<DropCount>,
    /// Messages above the cursor that are for it, counted, or estimated above a hundred thousand: never too few.
    pub queued: u64,
    /// Bytes of payload they hold; `None` if they are estimated.
    pub queued_bytes: Option<u64>,
}

/// A message under way as a start finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFlight {
    /// Which message.
    pub seq: Seq,
    /// Its packet id.
    pub packet_id: NonZeroU16,
    /// How far it came.
    pub phase: Phase,
    /// The message; `None` if its row is gone.
    pub stored: Option<StoredMessage>,
}

/// Everything a start finds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// The number of the store: drawn when it was made, kept for its life.
    pub store: u64,
    /// The how-manieth start of this store this is, from 1; durable before it is handed out.
    pub start: u64,
    /// Whether what was staged before is gone: the machine was restarted without a clean stop.
    pub staged_lost: bool,
    /// The last place that may have been given.
    pub last_seq: Seq,
    /// The first place whose message was accepted since the machine was booted.
    pub boot_first: Seq,
    /// The highest session number given.
    pub last_session: u32,
    /// The durable sessions.
    pub sessions: Vec<StoredSession>,
    /// The retained messages.
    pub retained: Vec<Message>,
    /// The wills that may have to be published, also of sessions that are not stored.
    pub wills: Vec<(SessionId, StoredWill)>,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The batch, as numbered by the hub.
    pub batch: u64,
    /// Bytes of the database in use after it: pages that hold something.
    pub bytes_used: u64,
    /// Bytes it may still grow by: what is free on the disk and in the file itself; `None` if the system does not tell.
    pub bytes_room: Option<u64>,
}

/// Messages that were dropped to keep a bound.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trimmed {
    /// Each message that went because it was the oldest, or too old, with those it was still for.
    pub dropped: Vec<(Seq, Arc<[Target]>)>,
    /// Each reading that went to make the queue coarser, with those it was still for.
    pub thinned: Vec<(Seq, Arc<[Target]>)>,
    /// Bytes of the database in use afterwards.
    pub bytes_used: u64,
    /// Bytes it may still grow by: what is free on the disk and in the file itself; `None` if the system does not tell.
    pub bytes_room: Option<u64>,
}

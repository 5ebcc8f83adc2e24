//! core: what the queue looks like to somebody outside, and what was done to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::hub::Counters;
use crate::model::Timestamp;
use crate::store::{Damage, Purged, QueueSettings, SessionId, SessionOwner, WhenFull};

/// Uplink or client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionKind {
    /// It dials out.
    Uplink,
    /// It dialled in.
    Client,
}

impl SessionKind {
    /// Whose session it is, and the name.
    #[must_use]
    pub fn of(owner: &SessionOwner) -> (Self, &str) {
        match owner {
            SessionOwner::Uplink(name) => (Self::Uplink, name),
            SessionOwner::Client(name) => (Self::Client, name),
        }
    }
}

/// How the queue stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueReport {
    /// Whether the gateway runs.
    pub running: bool,
    /// Where the database lies.
    pub state_dir: String,
    /// Where the staged layer lies, if there is one.
    pub runtime_dir: Option<String>,
    /// Bytes of the database in use.
    pub bytes_used: u64,
    /// The most it may hold.
    pub bytes_max: u64,
    /// The oldest message worth keeping, in seconds.
    pub age_max_s: u64,
    /// What gives way when it is full.
    pub when_full: String,
    /// Why it cannot be written, and since when.
    pub stuck: Option<StuckReport>,
    /// Whether what was staged last is not there; it is known only while the gateway does not run.
    pub staged_lost: bool,
    /// The durable sessions.
    pub sessions: Vec<SessionReport>,
}

/// Why the store cannot write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StuckReport {
    /// What the disk said.
    pub cause: String,
    /// Since when, RFC 3339.
    pub since: String,
}

/// A durable session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionReport {
    /// The uplink's name or the client id.
    pub name: String,
    /// Uplink or client.
    pub kind: SessionKind,
    /// Whether an uplink is in the configuration; true for clients.
    pub configured: bool,
    /// Whether it has a connection.
    pub connected: bool,
    /// Messages that wait.
    pub waiting: u64,
    /// Messages in flight.
    pub in_flight: u64,
    /// When the oldest of them was accepted, RFC 3339; `None` if there is none, or it was not found in good time.
    pub oldest: Option<String>,
    /// What became of others since the gateway started; `None` while it does not run.
    pub totals: Option<TotalsReport>,
}

/// What became of a session's messages since the gateway started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TotalsReport {
    /// Acknowledged.
    pub delivered: u64,
    /// Refused by the other side.
    pub refused: u64,
    /// Expired before they were sent.
    pub expired: u64,
    /// Larger than the other side takes.
    pub too_large: u64,
    /// Not sent to a gateway they had been through, or not taken from there.
    #[serde(default)]
    pub returning: u64,
    /// Dropped to keep the queue's bounds.
    pub dropped: u64,
    /// Removed by command.
    pub purged: u64,
    /// Sent again because the other side had lost the session.
    pub republished: u64,
    /// What the rules kept a client from.
    #[serde(default)]
    pub denied: u64,
}

impl From<Counters> for TotalsReport {
    fn from(counters: Counters) -> Self {
        let Counters {
            delivered,
            refused,
            expired,
            too_large,
            returning,
            dropped,
            purged,
            republished,
            denied,
            ..
        } = counters;
        Self {
            delivered,
            refused,
            expired,
            too_large,
            returning,
            dropped,
            purged,
            republished,
            denied,
        }
    }
}

impl QueueReport {
    /// What the settings say; the rest is for the caller to fill in.
    #[must_use]
    pub fn of_settings(queue: &QueueSettings, running: bool) -> Self {
        let when_full = match queue.when_full {
            WhenFull::DropOldest => "drop-oldest",
            WhenFull::DropNewest => "drop-newest",
            WhenFull::Thin => "thin",
        };
        Self {
            running,
            state_dir: queue.state_dir.display().to_string(),
            runtime_dir: queue.runtime_dir.as_ref().map(|dir| dir.display().to_string()),
            bytes_used: 0,
            bytes_max: queue.size_bytes_max,
            age_max_s: queue.age_max.as_secs(),
            when_full: when_full.to_owned(),
            stuck: None,
            staged_lost: false,
            sessions: Vec::new(),
        }
    }
}

impl StuckReport {
    /// In words and time.
    #[must_use]
    pub fn new(cause: &str, since: Timestamp) -> Self {
        Self { cause: cause.to_owned(), since: since.to_string() }
    }
}

/// What an export came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExportReport {
    /// Messages that were handed out.
    pub messages: u64,
    /// Rows that cannot be understood and were passed over.
    pub damaged: u64,
}

/// What a purge removed, or would remove.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PurgeReport {
    /// Messages that somebody no longer gets.
    pub messages: u64,
    /// Rows that cannot be understood.
    pub damaged: u64,
    /// For each session concerned.
    pub sessions: Vec<PurgedReport>,
    /// The uplink whose session went, or would go, as well.
    pub ended: Option<String>,
}

/// What a purge removed of one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgedReport {
    /// Its name.
    pub name: String,
    /// Uplink or client.
    pub kind: SessionKind,
    /// Messages that go.
    pub removed: u64,
    /// Chosen messages that stay because they are in flight.
    pub in_flight: u64,
}

impl PurgeReport {
    /// Names the sessions of what was removed.
    #[must_use]
    pub fn new(purged: &Purged, names: &BTreeMap<SessionId, SessionOwner>) -> Self {
        let sessions = purged.sessions.iter().filter_map(|(id, of)| {
            let (kind, name) = SessionKind::of(names.get(id)?);
            let (removed, in_flight) = (of.removed, of.in_flight);
            Some(PurgedReport { name: name.to_owned(), kind, removed, in_flight })
        });
        Self {
            messages: purged.messages,
            damaged: purged.damaged,
            sessions: sessions.collect(),
            ended: None,
        }
    }
}

/// Something in the queue that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamageReport {
    /// Where.
    pub place: String,
    /// What is wrong there.
    pub fault: String,
    /// What to do.
    pub remedy: String,
}

impl From<Damage> for DamageReport {
    fn from(damage: Damage) -> Self {
        let Damage { place, fault, remedy } = damage;
        Self { place, fault, remedy: remedy.to_owned() }
    }
}

/// What a verification came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Messages that were read.
    pub messages: u64,
    /// Faults that were found.
    pub faults: u64,
    /// Whether SQLite's own check of its pages was made: the gateway must not run.
    pub pages_checked: bool,
    /// Bytes at the end of the staged file that a kill tore off: acknowledged to nobody.
    pub torn_bytes: u64,
}

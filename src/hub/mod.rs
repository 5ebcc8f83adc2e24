//! What a message goes through once it exists: match, retain, commit, deliver.
//!
//! One engine for both directions: an uplink is a session that dials out, a LAN client one that dials in. Knows topics,
//! sessions, packet ids and phases. Does not know sockets, SQLite, Modbus or the configuration file.

mod aside;
pub mod clock;
mod drops;
mod engine;
mod episode;
pub mod inbox;
mod log;
mod mailbox;
pub mod node;
mod numbers;
pub mod outbox;
mod outgoing;
pub mod packet_ids;
mod progress;
pub mod retained;
mod retouch;
pub mod session;
mod share;
mod takeover;
mod tally;
mod task;
pub mod topic_tree;

pub use aside::{Looked, Purge, PurgedSlice};
pub use drops::{DropSummary, TellDrops};
pub use engine::{
    Addressed, Arrival, AttachClient, AttachUplink, Attached, DeniedWhat, DetachCause,
    EndUplinkError, Engine, EngineOptions, Fact, HubStatus, Output, Sender, UplinkSession,
};
pub use mailbox::Inbound;
pub use node::{NodeId, Peer};
pub use outbox::Oldest;
pub use outgoing::LiveFirst;
pub use retouch::{Marks, Retouch};
pub use session::{
    Accept, Caller, ConnectionId, Counters, Forward, SessionStatus, SessionWill, Subscription,
};
pub use takeover::Takeover;
pub use tally::{Counted, Counts, Tally};
pub use task::{ConnectionEvent, Hub, HubError, HubHandle, UplinkLoad, UplinkView};

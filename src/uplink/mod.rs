//! Dial-out: one connection to one upstream broker, kept up, told apart from its session.
//!
//! Knows TLS, CONNECT, keep alive, the will, which of several brokers is tried, when to connect and how long to wait before
//! the next try; says to the LAN how it is doing. Does not know which messages are for it, what they are called there or
//! which are acknowledged: that is the session's, in `hub`.

mod carried;
mod link;
mod report;
mod servers;
mod settings;
mod socket;
mod state;
mod task;

pub use carried::Carried;
pub use link::{Dial, Link, LinkError, LinkEvent, SUBSCRIBE_ID};
pub use settings::{
    AcceptRule, Backfill, ForwardRule, OnSessionLost, Server, Start, UplinkSettings,
};
pub use task::{Uplink, UplinkState, UplinkTopics};

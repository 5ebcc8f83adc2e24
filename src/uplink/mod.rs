//! Dial-out: one connection to one upstream broker, kept up, told apart from its session.
//!
//! Knows TLS, CONNECT, keep alive, the will and how long to wait before the next try. Does not know which messages are
//! for it or which are acknowledged: that is the session's, in `hub`.

mod link;
mod report;
mod servers;
mod settings;
mod state;
mod task;

pub use link::{Dial, Link, LinkError, LinkEvent, SUBSCRIBE_ID};
pub use settings::{
    AcceptRule, Backfill, ForwardRule, OnSessionLost, Server, Start, UplinkSettings,
};
pub use task::{Uplink, UplinkState, UplinkTopics};

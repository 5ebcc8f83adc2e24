//! Dial-in: an MQTT broker for the devices of one site, on the same hub and the same session engine as the uplinks.
//!
//! Knows listening sockets, CONNECT and keep alive. Does not know subscriptions, retained messages or queues: that is
//! the session's, in `hub`.

mod access_watch;
mod admission;
mod alias;
mod connection;
mod listener;
mod login;
mod protocol;
mod settings;
mod visitor;

pub use access_watch::keep_access;
pub use listener::Listener;
pub use protocol::{Protocol, ProtocolOptions, Refusal, Step};
pub use settings::{BrokerSettings, ListenerRules, ListenerSettings};
pub use visitor::{Peer, Visitor};

//! Dial-in: an MQTT broker for the devices of one site, on the same hub and the same session engine as the uplinks.
//!
//! Knows listening sockets, CONNECT and keep alive. Does not know subscriptions, retained messages or queues: that is
//! the session's, in `hub`.

mod alias;
mod connection;
mod exchange;
mod listener;
mod protocol;
mod settings;

pub use listener::Listener;
pub use protocol::{Protocol, ProtocolOptions, Refusal, Step};
pub use settings::{BrokerSettings, ListenerSettings};

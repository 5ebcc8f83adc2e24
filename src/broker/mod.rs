//! Dial-in: an MQTT broker for the devices of one site, on the same hub and the same session engine as the uplinks.
//!
//! A connection's way in: `socket` takes it, `door` and `turnstile` say whether there is room, `welcome` speaks TLS
//! (`identity`, `certificate`) and WebSocket (`upgrade`, `websocket`) where the listener wants them, `connection` hears
//! CONNECT and asks `admission`; from then on it speaks MQTT by `protocol`, whatever `stream` carries it.
//!
//! Knows listening sockets, TLS, WebSocket, CONNECT and keep alive. Does not know subscriptions, retained messages or queues:
//! that is the session's, in `hub`.

mod access_watch;
mod admission;
mod alias;

mod certificate;
mod connection;
mod counters;
mod door;
mod exchange;
mod identity;
mod listener;
mod login;
mod protocol;
mod settings;
mod socket;
mod stream;
mod sys;
mod turnstile;
mod upgrade;
mod visible;
mod visitor;
mod websocket;
mod welcome;

pub use access_watch::keep_access;
pub use counters::{BrokerCounters, Seen, Traffic};
pub use door::Door;
pub use identity::IdentityError;
pub use listener::{ListenError, Listener, ListenerAddress};
pub use protocol::{Protocol, ProtocolOptions, Refusal, Step};
pub use settings::{
    BrokerSettings, ClientCa, Limits, ListenAt, ListenerRules, ListenerSettings, ListenerTls,
    Origins, PerAddress, WebSocketSettings,
};
pub use socket::SocketError;
pub use visible::keep_visible;
pub use visitor::{Peer, Visitor};

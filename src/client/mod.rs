//! A small MQTT client: the other side of a broker, for the command line.
//!
//! Knows one connection: how to dial, the handshakes of each QoS as a sender and as a receiver, the window, keep alive. Does
//! not know the hub or the store: what it holds is gone with the process. What is printed or read is `cli`'s.

mod connection;
mod dial;
mod error;
mod flight;
mod session;
mod settings;

pub use connection::{Connection, Trace};
pub use error::ClientError;
pub use session::{ClientEvent, Session};
pub use settings::{ClientSettings, Place, Target};

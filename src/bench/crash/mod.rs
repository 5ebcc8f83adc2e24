//! `fieldpost bench crash`: kills a gateway at random instants and at named steps, and counts at the far side what was
//! lost, doubled and out of order.
//!
//! ```text
//! publisher ─▶ LAN broker of the gateway ─▶ uplink ─ wire ─▶ upstream ─▶ checker        "up"
//!   checker ◀─ LAN broker of the gateway ◀─ uplink ─ wire ─◀ upstream ◀─ publisher      "down"
//! ```
//!
//! The gateway and the upstream are processes, `fieldpost run` and mosquitto; the clients and the wire live in this
//! process, which is never killed, so that its books are right. Cores: [`plan`] draws the kills from a seed,
//! [`publisher`] and [`checker`] are the two ends of a lane, [`tap`] listens to the upstream, [`setting`] writes the
//! configurations, [`report`] the figures.
//! Shells: `client` drives an end over a socket, `wire` is a stretch of network that can be cut, `run` does what the plan
//! says.
//!
//! Does not know what is inside a gateway, only the names of its steps: the same plan kills a mosquitto with a bridge.

pub mod checker;
mod client;
pub mod plan;
pub mod publisher;
pub mod report;
mod run;
pub mod setting;
pub mod tap;
mod wire;

pub use run::{Options, Subject, Upstream, crash};

use std::num::NonZeroU16;

use crate::mqtt::{Packet, Publish};

/// One end of a lane: a client with a session that outlives its connections.
pub trait End {
    /// A connection is there; `session_present` says whether the broker has kept the session, `receive_maximum` how many
    /// packets it takes at once.
    fn handle_connected(&mut self, session_present: bool, receive_maximum: NonZeroU16);

    /// A packet came.
    fn handle_packet(&mut self, packet: &Packet);

    /// The next packet to send.
    fn poll_packet(&mut self) -> Option<Packet>;

    /// Tells how far it is, and looks how far the other end is.
    fn exchange_progress(&mut self, progress: &mut Progress);
}

/// How far a lane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Connections of the publisher and of the checker.
    pub connections: (u64, u64),
    /// Whether the checker's subscription is acknowledged.
    pub subscribed: bool,
    /// Messages published.
    pub published: u64,
    /// Messages acknowledged to the publisher: PUBACK, or PUBREC at QoS 2.
    pub accepted: u64,
    /// Messages whose exchange with the publisher is not over.
    pub open: usize,
    /// Different messages that arrived.
    pub arrived: u64,
    /// The highest number that arrived.
    pub highest: u64,
    /// The last number to be published, once that is known.
    pub last: Option<u64>,
}

/// The number that a message carries.
fn number_of(publish: &Publish) -> Option<u64> {
    let text = std::str::from_utf8(&publish.payload).ok()?;
    text.split(' ').next()?.parse().ok()
}

//! Buses against scripted devices and independent servers, over pseudo terminals and loopback TCP.
//!
//! Every register and bit of a scripted device holds a value made of its unit and address, so an answer that is taken
//! for another question's is seen at once. No test waits for a fixed time; each has a generous outer deadline.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the devices of these tests listen and take their time"
)]

mod framings;
mod learnt;
mod life;
mod peers;
mod serial;
mod sick;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod tcp;

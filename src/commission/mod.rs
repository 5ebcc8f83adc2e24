//! Looking around on a bus: asks units of it one thing at a time, whoever has the port.
//!
//! An [`Asker`] asks a [`Question`](crate::field::modbus::transaction::Question) and says how it ended, over a port it opens
//! itself or through the gateway that has it; [`Identification`] knows what to ask to learn what a unit is. [`scan`] finds units:
//! a core that says which question comes next and is told how it ended, and a road to ask it on.
//!
//! Knows buses and the control socket. Does not know the command line, the configuration file or what a terminal shows.

mod asker;
mod identification;
pub mod scan;

pub use asker::{AskError, Asker};
pub use identification::{Identification, readable};

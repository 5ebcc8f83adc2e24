//! Finds the units of a bus: settings of the line and unit ids, one question each, likely ones first.
//!
//! [`Scan`] is the machine: it says the next [`Ask`] and is told how it ended. [`setting`] knows which settings of a
//! serial line to try, [`case`](mod@case) gathers what was seen of one unit id and says what it means, [`identity`] what a unit says it
//! is, and [`recognise`] which templates fit. What it came to is said as configuration ([`paste()`]), in [`words`], and, when nothing was found, as [`advice()`]. All
//! of these are cores. A [`Road`] is the shell that asks, over a port of its own that it sets anew, or through the gateway that
//! has it.

mod advice;
pub mod case;
pub mod identity;
mod machine;
mod paste;
mod place;
pub mod recognise;
mod road;
pub mod setting;
mod tally;
pub mod words;

pub use advice::advice;

pub use machine::{Ask, News, Progress, Scan, ScanSettings};
pub use paste::paste;
pub use place::{Place, Way};
pub use road::{Road, RoadError};
pub use tally::Tally;

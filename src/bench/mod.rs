//! Measures the product on the machine it runs on, each figure beside its limit in the same run, and kills it there.
//!
//! Knows the rooms it measures and the process figures of Linux. Decides nothing: it runs, counts and reports.

pub mod crash;
mod queue;
mod readings;
mod road;

pub use queue::{QueueFigures, queue, start_ms_at_rows};
pub use road::{RoadFigures, road};

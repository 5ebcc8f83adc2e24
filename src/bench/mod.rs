//! Measures the product on the machine it runs on, each figure beside its limit in the same run, and proves what power
//! cuts cost.
//!
//! Knows the rooms it measures and the process figures of Linux. Decides nothing: it runs, counts and reports.

mod powercut;
mod queue;
mod road;

pub use powercut::{PowercutFigures, PowercutOptions, powercut};
pub use queue::{QueueFigures, queue};
pub use road::{RoadFigures, road};

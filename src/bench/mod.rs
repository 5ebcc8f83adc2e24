//! Measures the product on the machine it runs on, each figure beside its limit in the same run, kills it there, and proves
//! what power cuts cost.
//!
//! Knows the rooms it measures and the process figures of Linux. Decides nothing: it runs, counts and reports.

mod broker;
pub mod crash;
mod drain;
mod poll;
mod powercut;
mod process;
mod queue;
mod readings;
mod road;

pub use broker::{
    AwayFigures, Beside, BrokerFigures, BrokerOptions, IdleFigures, LoadFigures, Pattern, RATE,
    RetainedFigures, TrickleFigures, broker,
};
pub use drain::{DrainFigures, PeerFigures, drain};
pub use poll::{LineFigures, Messages, PollFigures, PollOptions, TcpFigures, poll};
pub use powercut::{PowercutFigures, PowercutOptions, powercut};
pub use queue::{QueueFigures, queue, start_ms_at_rows};
pub use road::{RoadFigures, road};

//! How devices are polled: serial lines beside the least their wire allows, TCP beside its round trip.
//!
//! Measures a real `run` process from the devices' side. Knows simulated devices at the pace of a wire; does not know how
//! the gateway decides.

mod cycle;
mod gateway;
mod line;
mod plc;
mod serial;
mod tcp;

use std::path::Path;
use std::time::Duration;

pub use serial::LineFigures;
pub use tcp::{Messages, TcpFigures};

/// Questions in flight beside one alone.
const WINDOW: usize = 8;
/// A plant that is not in a hurry: devices, values of each, their period.
const CALM: (usize, usize, Duration) = (50, 40, Duration::from_secs(1));
/// How long what is healthy runs before it counts.
const WARM_UP: Duration = Duration::from_secs(2);

/// What is measured, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollOptions {
    /// Baud rates of the lines.
    pub baud_rates: Vec<u32>,
    /// How long each figure is measured.
    pub time: Duration,
    /// How long a line with a dead unit runs before it counts, and everything else at most: the unit is found out, and left
    /// alone for longer and longer.
    pub settle: Duration,
}

/// All of it.
#[derive(Debug, Clone, PartialEq)]
pub struct PollFigures {
    /// Serial lines.
    pub lines: Vec<LineFigures>,
    /// How many times longer the cycle of three units is with a dead one beside them, at 9600 baud.
    pub dead_unit_slowdown: f64,
    /// Ten devices of a hundred registers, as fast as periods allow, each value in a message of its own.
    pub fast: TcpFigures,
    /// The same, what was read of a device in one poll in one message.
    pub fast_device: TcpFigures,
    /// Fifty devices of forty values, every second.
    pub calm: TcpFigures,
    /// Questions a second over a link of 5 ms: one at a time, and eight.
    pub in_flight: [f64; 2],
}

/// Measures the `run` of `program`.
///
/// # Errors
/// It cannot be run, or asks nothing.
pub async fn poll(program: &Path, options: &PollOptions) -> anyhow::Result<PollFigures> {
    let PollOptions { baud_rates, time, settle } = options;
    // Nothing is dead there.
    let times = ((*settle).min(WARM_UP), *time);
    let mut lines = Vec::new();
    for baud in baud_rates {
        lines.push(serial::line(program, *baud, times).await?);
    }
    Ok(PollFigures {
        lines,
        dead_unit_slowdown: serial::dead_unit_slowdown(program, times, *settle).await?,
        fast: tcp::fast(program, Messages::Value, times).await?,
        fast_device: tcp::fast(program, Messages::Device, times).await?,
        calm: tcp::devices(program, CALM, Messages::Value, times).await?,
        in_flight: [
            tcp::in_flight(program, 1, times).await?,
            tcp::in_flight(program, WINDOW, times).await?,
        ],
    })
}

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
pub use tcp::TcpFigures;

/// Baud rates that are measured.
const BAUD_RATES: [u32; 3] = [9_600, 19_200, 115_200];
/// Questions in flight beside one alone.
const WINDOW: usize = 8;

/// All of it.
#[derive(Debug, Clone, PartialEq)]
pub struct PollFigures {
    /// Serial lines.
    pub lines: Vec<LineFigures>,
    /// How many times longer the cycle of three units is with a dead one beside them, at 9600 baud.
    pub dead_unit_slowdown: f64,
    /// Ten devices of a hundred registers, as fast as periods allow.
    pub fast: TcpFigures,
    /// Fifty devices of forty values, every second.
    pub calm: TcpFigures,
    /// Questions a second over a link of 5 ms: one at a time, and eight.
    pub in_flight: [f64; 2],
}

/// Measures the `run` of `program`; each figure takes `time` and what it needs to settle.
///
/// # Errors
/// It cannot be run, or asks nothing.
pub async fn poll(program: &Path, time: Duration) -> anyhow::Result<PollFigures> {
    let mut lines = Vec::new();
    for baud in BAUD_RATES {
        lines.push(serial::line(program, baud, time).await?);
    }
    Ok(PollFigures {
        lines,
        dead_unit_slowdown: serial::dead_unit_slowdown(program, time).await?,
        fast: tcp::fast(program, time).await?,
        calm: tcp::devices(program, (50, 40, Duration::from_secs(1)), time).await?,
        in_flight: [
            tcp::in_flight(program, 1, time).await?,
            tcp::in_flight(program, WINDOW, time).await?,
        ],
    })
}

//! shell: how near the cycles of a serial line come to the least the wire allows.
#![allow(clippy::disallowed_methods, reason = "a measurement waits and reads clocks")]

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::sleep;

use super::cycle::Cycles;
use super::gateway::Gateway;
use super::line::FarEnd;
use crate::field::modbus::known::{Known, Learnt};
use crate::field::modbus::link::silence;
use crate::field::modbus::pdu::ReadRange;
use crate::field::modbus::plan::{Wanted, WireCost, plan};
use crate::field::{Allowed, Parity, SerialSettings, Table, UnitId};

/// Units on the line.
const UNITS: u8 = 4;
/// From each register that is wanted to the next: runs, small gaps that are read over and large ones that are not.
const STEPS: [u16; 29] =
    [1, 1, 1, 3, 1, 1, 9, 1, 1, 1, 2, 1, 40, 1, 1, 1, 5, 1, 25, 1, 1, 1, 1, 60, 1, 2, 1, 1, 12];

/// A line at one baud rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LineFigures {
    /// Bits per second.
    pub baud: u32,
    /// From a request to its repetition, in milliseconds, on average.
    pub cycle_ms: f64,
    /// What the best plan takes on this wire with these devices, in milliseconds.
    pub minimum_ms: f64,
    /// Requests in a cycle, on average.
    pub transactions: f64,
    /// Reads of the best plan.
    pub optimum: usize,
    /// The share of requests before which the line was silent for 3.5 characters (1.75 ms above 19200 baud).
    pub silence_kept: f64,
}

/// Four units of thirty scattered registers each, read without a pause; `times` are how long they settle and how long they are measured.
///
/// # Errors
/// The gateway or the line cannot be run, or nothing is asked.
pub(super) async fn line(
    program: &Path,
    baud: u32,
    times: (Duration, Duration),
) -> anyhow::Result<LineFigures> {
    let settings = settings(baud);
    let wire = WireCost::rtu(&settings);
    let points: Vec<Wanted> =
        addresses().enumerate().map(|(index, address)| wanted(index, address)).collect();
    let reads = plan(&points, &wire, &Known::new(Allowed::default(), Learnt::default()));
    let minimum: Duration = reads.iter().map(|read| wire.of(read.range)).sum();
    let cycles = cycles(program, baud, UNITS, UNITS, times).await?;
    Ok(LineFigures {
        baud,
        cycle_ms: cycles.length.as_secs_f64() * 1e3,
        minimum_ms: minimum.as_secs_f64() * 1e3 * f64::from(UNITS),
        transactions: cycles.transactions,
        optimum: reads.len() * usize::from(UNITS),
        silence_kept: cycles.silence_kept,
    })
}

/// How many times longer three units take at 9600 baud when a fourth is dead.
///
/// # Errors
/// As for [`line`].
pub(super) async fn dead_unit_slowdown(
    program: &Path,
    times: (Duration, Duration),
    settle: Duration,
) -> anyhow::Result<f64> {
    let healthy = cycles(program, 9600, UNITS - 1, UNITS - 1, times).await?;
    let beside = cycles(program, 9600, UNITS - 1, UNITS, (settle, times.1)).await?;
    Ok(beside.length.as_secs_f64() / healthy.length.as_secs_f64())
}

/// The first `alive` units of `units` answer; what their line looks like after `settle`.
async fn cycles(
    program: &Path,
    baud: u32,
    alive: u8,
    units: u8,
    (settle, time): (Duration, Duration),
) -> anyhow::Result<Cycles> {
    let settings = settings(baud);
    let silence = silence(&settings);
    let answering: Vec<UnitId> = (1..=alive).map(UnitId).collect();
    let far = FarEnd::open(settings, answering.clone())?;
    let points: Vec<String> = addresses().map(|at| format!("r{at}: {{ holding: {at} }}")).collect();
    let mut config = format!(
        "buses:\n  line: {{ modbus-rtu: {}, baud: {baud}, parity: none, timeout: 300ms }}\ndevices:\n",
        far.path()
    );
    for unit in 1..=units {
        let points = if unit == 1 {
            format!("&points {{ {} }}", points.join(", "))
        } else {
            "*points".to_owned()
        };
        config +=
            &format!("  u{unit}: {{ bus: line, unit: {unit}, every: 10ms, points: {points} }}\n");
    }
    let gateway = Gateway::start(program, &config)?;
    sleep(settle).await;
    far.heard();
    sleep(time).await;
    let heard = far.heard();
    let cycles = Cycles::of(&heard, &answering, silence);
    let cycles = cycles.with_context(|| {
        format!(
            "{} requests in {time:?} are no cycle; the gateway said\n{}",
            heard.len(),
            gateway.last_words()
        )
    })?;
    gateway.stop().await?;
    Ok(cycles)
}

fn settings(baud: u32) -> SerialSettings {
    SerialSettings {
        path: "the line of the measurement".into(),
        baud,
        data_bits: 8,
        parity: Parity::None,
        stop_bits: 1,
        rs485: None,
    }
}

fn addresses() -> impl Iterator<Item = u16> {
    let mut address = 0;
    std::iter::once(0).chain(STEPS.iter().map(move |step| {
        address += step;
        address
    }))
}

fn wanted(point: usize, address: u16) -> Wanted {
    let range = ReadRange::new(Table::Holding, address, 1).expect("there are that many registers");
    Wanted { point, range }
}

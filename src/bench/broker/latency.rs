//! shell: how long a message takes when there are few: 20 publishers take turns at an even pace, one subscriber looks at the
//! clock.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a measurement reads clocks and keeps a pace"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::clients::Clients;
use super::load::packet_id;
use super::side::Process;
use super::wire::{self, PUBACK, PUBLISH, Template};

/// Publishers that take turns.
const PUBLISHERS: usize = 20;
/// Messages a second, all together.
pub const RATE: u32 = 2000;
/// What is published before anything counts.
const WARM_UP: u32 = 200;
/// How long the last message may be on its way.
const LAST: Duration = Duration::from_secs(30);

/// What a trickle costs, and how long its messages take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Trickle {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// Processor seconds of the broker for 100,000 messages.
    pub(super) cpu_s_per_100k: f64,
}

/// Publishes at [`RATE`] for `time`.
///
/// # Errors
/// The broker closes a connection, or messages do not arrive.
pub(super) fn latency(
    (port, broker): (u16, Process),
    qos: u8,
    time: Duration,
) -> anyhow::Result<Trickle> {
    let epoch = Instant::now();
    let mut subscriber = Clients::new()?;
    let number = subscriber.connect(port, "subscriber", true)?;
    subscriber.subscribe(&[(number, "trickle/#".to_owned())], qos)?;
    let mut publishers = Clients::new()?;
    for number in 0..PUBLISHERS {
        publishers.connect(port, &format!("p{number}"), true)?;
    }
    let count = u32::try_from(u128::from(RATE) * time.as_millis() / 1000).unwrap_or(u32::MAX);
    let failed = Arc::new(AtomicBool::new(false));
    let has_failed = failed.clone();
    let pace = move || {
        let publish = publish(publishers, broker, epoch, qos, count.max(10));
        has_failed.store(publish.is_err(), Ordering::Release);
        publish
    };
    let publisher = thread::Builder::new().name("pace".to_owned()).spawn(pace)?;
    let wanted = usize::try_from(WARM_UP + count.max(10))?;
    let mut taken = Vec::with_capacity(wanted);
    let end = Instant::now() + time + LAST;
    while taken.len() < wanted && !failed.load(Ordering::Acquire) && Instant::now() < end {
        subscriber.turn(LAST, |_, frame, out| {
            if frame.kind() == PUBLISH {
                let (_, packet_id, payload) = frame.publish();
                let sent = payload.first_chunk().copied().map_or(0, u64::from_be_bytes);
                taken.push(epoch.elapsed().saturating_sub(Duration::from_nanos(sent)));
                if frame.qos() == 1 {
                    wire::ack(out, PUBACK, packet_id);
                }
            }
        })?;
    }
    let cpu = publisher.join().ok().context("the publishers broke")??;
    anyhow::ensure!(taken.len() == wanted, "{} of {wanted} messages arrived", taken.len());
    let mut taken = taken.split_off(WARM_UP as usize);
    taken.sort_unstable();
    let at = |share: usize| {
        let index = (taken.len() * share / 100).min(taken.len() - 1);
        taken[index].as_secs_f64() * 1e3
    };
    Ok(Trickle {
        p50_ms: at(50),
        p99_ms: at(99),
        cpu_s_per_100k: cpu.as_secs_f64() / f64::from(count.max(10)) * 1e5,
    })
}

/// Gives the processor time the broker took for the messages that count.
fn publish(
    mut clients: Clients,
    broker: Process,
    epoch: Instant,
    qos: u8,
    count: u32,
) -> anyhow::Result<Duration> {
    let topic = |number| Template::new(&format!("trickle/{number}"), qos, false, 100);
    let templates: Vec<Template> = (0..PUBLISHERS).map(topic).collect();
    let pause = Duration::from_secs(1) / RATE;
    let start = Instant::now();
    let mut cpu = Duration::ZERO;
    for index in 0..WARM_UP + count {
        let due = start + pause * index;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if index == WARM_UP {
            cpu = broker.cpu()?;
        }
        // Acknowledgements lie there until somebody looks, which must not be before the next message is due.
        if index % 64 == 0 {
            clients.turn(Duration::ZERO, |_, _, _| {})?;
        }
        let number = index as usize % PUBLISHERS;
        let round = u64::from(index) / PUBLISHERS as u64 + 1;
        let now = u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
        templates[number].write(clients.output(number), packet_id(round), &now.to_be_bytes());
        clients.flush(number)?;
    }
    let last = start + pause * (WARM_UP + count);
    thread::sleep(last.saturating_duration_since(Instant::now()));
    Ok(broker.cpu()?.saturating_sub(cpu))
}

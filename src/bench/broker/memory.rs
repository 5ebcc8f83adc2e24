//! shell: what idle connections and retained messages take.
#![allow(clippy::disallowed_methods, reason = "a measurement reads clocks and waits")]

use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

use super::clients::Clients;
use super::load::{acknowledged, packet_id, taken};
use super::side::Process;
use super::wire::{self, Template};

/// How long a broker is left alone before its memory is looked at.
const REST: Duration = Duration::from_millis(300);
/// Retained messages that are unacknowledged, at most.
const WINDOW: u64 = 100;
/// How long a turn waits at most.
const TURN: Duration = Duration::from_millis(50);
/// How long nothing more may come until a subscriber is taken to have all it will get.
const QUIET: Duration = Duration::from_secs(1);

/// The resident memory of a broker without clients, in bytes.
///
/// # Errors
/// It is gone.
pub(super) fn at_rest(broker: Process) -> anyhow::Result<u64> {
    thread::sleep(REST);
    broker.rss()
}

/// What `connections` idle connections with a subscription each take, one by one, in bytes.
///
/// # Errors
/// The broker refuses one.
pub(super) fn idle((port, broker): (u16, Process), connections: usize) -> anyhow::Result<f64> {
    let before = at_rest(broker)?;
    let mut clients = Clients::new()?;
    let mut subscriptions = Vec::new();
    for number in 0..connections {
        let client = clients.connect(port, &format!("idle-{number}"), true)?;
        subscriptions.push((client, format!("idle/{number}/set")));
    }
    clients.subscribe(&subscriptions, 0)?;
    thread::sleep(REST);
    let after = broker.rss()?;
    clients.goodbye();
    #[allow(clippy::cast_precision_loss, reason = "less than 2^52 bytes")]
    let bytes = after.saturating_sub(before) as f64 / connections.max(1) as f64;
    Ok(bytes)
}

/// What a broker does with many retained messages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Kept {
    /// Resident bytes with all of them.
    pub(super) rss: u64,
    /// Retained messages taken, a second.
    pub(super) per_s: f64,
    /// How many topics came to a subscriber of `#` at QoS 1.
    pub(super) received: usize,
    /// From its SUBSCRIBE to the last of them.
    pub(super) receive_ms: f64,
}

/// Retains a message of 100 bytes on each of `topics` topics, then subscribes to all.
///
/// # Errors
/// The broker closes a connection, or nothing gets on.
pub(super) fn retained((port, broker): (u16, Process), topics: usize) -> anyhow::Result<Kept> {
    let mut clients = Clients::new()?;
    let publisher = clients.connect(port, "publisher", true)?;
    let all = topics as u64;
    let (mut published, mut done) = (0, 0);
    let start = Instant::now();
    while done < all {
        while published < all && published - done < WINDOW {
            let template = Template::new(&format!("kept/{published}/value"), 1, true, 100);
            published += 1;
            template.write(clients.output(publisher), packet_id(published), b"");
        }
        clients.flush(publisher)?;
        clients.turn(TURN, |_, frame, out| done += u64::from(acknowledged(frame, out)))?;
    }
    #[allow(clippy::cast_precision_loss, reason = "less than 2^52 topics")]
    let per_s = topics as f64 / start.elapsed().as_secs_f64();
    clients.goodbye();
    thread::sleep(REST);
    let rss = broker.rss()?;
    let mut clients = Clients::new()?;
    let subscriber = clients.connect(port, "subscriber", true)?;
    let mut seen: HashSet<Vec<u8>> = HashSet::with_capacity(topics);
    let start = Instant::now();
    let mut last = start;
    wire::subscribe(clients.output(subscriber), "#", 1);
    clients.flush(subscriber)?;
    while seen.len() < topics && last.elapsed() < QUIET {
        clients.turn(TURN, |_, frame, out| {
            if let Some(topic) = taken(frame, out).filter(|topic| topic.starts_with(b"kept/")) {
                seen.insert(topic.to_vec());
                last = Instant::now();
            }
        })?;
    }
    clients.goodbye();
    let receive_ms = last.duration_since(start).as_secs_f64() * 1e3;
    Ok(Kept { rss, per_s, received: seen.len(), receive_ms })
}

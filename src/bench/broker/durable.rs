//! shell: what a broker acknowledges for a subscriber that is away, and what of it is there after the broker was killed.
#![allow(clippy::disallowed_methods, reason = "a measurement reads clocks")]

use std::time::{Duration, Instant};

use super::clients::Clients;
use super::load::{acknowledged, packet_id};
use super::wire::{self, PUBACK, PUBLISH, Template};

/// Who publishes for the one who is away.
const PUBLISHERS: usize = 20;
/// Messages a publisher has unacknowledged, at most.
const WINDOW: u64 = 100;
/// Messages that are published at most: a queue of ours takes 100,000.
const MESSAGES_MAX: u64 = 80_000;
/// How long a turn waits at most.
const TURN: Duration = Duration::from_millis(50);
/// How long nothing more may come until a subscriber is taken to have all it will get.
const QUIET: Duration = Duration::from_secs(1);
const NAME: &str = "away";
const FILTER: &str = "away/#";

/// What was published for a subscriber that was away.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Offline {
    /// Acknowledged messages a second.
    pub(super) per_s: f64,
    /// Acknowledged messages of each publisher: its first so many.
    pub(super) acknowledged: Vec<u64>,
}

/// Subscribes, goes away, and publishes at QoS 1 for `time`, or [`MESSAGES_MAX`] messages.
///
/// # Errors
/// The broker closes a connection, or nothing gets on.
pub(super) fn publish(port: u16, time: Duration) -> anyhow::Result<Offline> {
    let mut away = Clients::new()?;
    let number = away.connect(port, NAME, false)?;
    away.subscribe(&[(number, FILTER.to_owned())], 1)?;
    away.goodbye();
    let mut clients = Clients::new()?;
    let mut templates = Vec::new();
    for number in 0..PUBLISHERS {
        clients.connect(port, &format!("p{number}"), true)?;
        templates.push(Template::new(&format!("away/{number}"), 1, false, 100));
    }
    let mut published = vec![0; PUBLISHERS];
    let mut done = vec![0; PUBLISHERS];
    let start = Instant::now();
    let goes_on =
        |published: &[u64]| start.elapsed() < time && published.iter().sum::<u64>() < MESSAGES_MAX;
    while goes_on(&published) || published != done {
        for number in 0..PUBLISHERS {
            if !goes_on(&published) || clients.is_blocked(number) {
                continue;
            }
            let before = published[number];
            while published[number] - done[number] < WINDOW {
                published[number] += 1;
                let (count, out): (u64, _) = (published[number], clients.output(number));
                templates[number].write(out, packet_id(count), &count.to_be_bytes());
            }
            if published[number] > before {
                clients.flush(number)?;
            }
        }
        clients.turn(TURN, |client, frame, out| {
            done[client] += u64::from(acknowledged(frame, out));
        })?;
    }
    let seconds = start.elapsed().as_secs_f64();
    clients.goodbye();
    #[allow(clippy::cast_precision_loss, reason = "less than 2^52 messages")]
    let per_s = done.iter().sum::<u64>() as f64 / seconds;
    Ok(Offline { per_s, acknowledged: done })
}

/// Comes back and takes what waits; how many of those that were acknowledged are missing.
///
/// # Errors
/// The broker closes the connection.
pub(super) fn missing(port: u16, offline: &Offline) -> anyhow::Result<u64> {
    let wanted: u64 = offline.acknowledged.iter().sum();
    let none = |count: &u64| vec![false; usize::try_from(*count).unwrap_or(0)];
    let mut seen: Vec<Vec<bool>> = offline.acknowledged.iter().map(none).collect();
    let mut clients = Clients::new()?;
    clients.connect(port, NAME, false)?;
    let (mut found, mut last) = (0, Instant::now());
    while found < wanted && last.elapsed() < QUIET {
        clients.turn(TURN, |_, frame, out| {
            if frame.kind() != PUBLISH {
                return;
            }
            let (topic, packet_id, payload) = frame.publish();
            if frame.qos() == 1 {
                wire::ack(out, PUBACK, packet_id);
            }
            let publisher = std::str::from_utf8(topic)
                .ok()
                .and_then(|topic| topic.strip_prefix("away/")?.parse::<usize>().ok());
            let count = payload.first_chunk().copied().map_or(0, u64::from_be_bytes);
            let index = usize::try_from(count.wrapping_sub(1)).unwrap_or(usize::MAX);
            if let Some(seen) =
                publisher.and_then(|publisher| seen.get_mut(publisher)?.get_mut(index))
            {
                found += u64::from(!std::mem::replace(seen, true));
            }
            last = Instant::now();
        })?;
    }
    clients.goodbye();
    Ok(wanted - found)
}

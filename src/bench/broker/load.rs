//! shell: publishers that say as much as they may, subscribers that take it, and what that costs the broker.
#![allow(clippy::disallowed_methods, reason = "a measurement reads clocks")]

use std::time::{Duration, Instant};

use super::clients::Clients;
use super::side::{Process, own_cpu};
use super::wire::{self, Frame, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, Template};

/// Messages a publisher has unacknowledged, at most.
const WINDOW: u64 = 100;
/// Messages that are published and have not arrived, at most; together, and of one publisher.
const UNDER_WAY: u64 = 4000;
const UNDER_WAY_OF_ONE: u64 = 500;
/// How long a turn waits at most.
const TURN: Duration = Duration::from_millis(50);

/// Who publishes to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// 20 publishers, each to a subscriber of its own, 100 bytes.
    Pairs,
    /// One publisher to 50 subscribers, 100 bytes.
    FanOut,
    /// 50 publishers to one subscriber, 100 bytes.
    FanIn,
    /// As pairs, 4 KiB.
    Large,
}

impl Pattern {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pairs, Self::FanOut, Self::FanIn, Self::Large];

    /// Its name on the command line and in the figures.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pairs => "pairs",
            Self::FanOut => "1-to-50",
            Self::FanIn => "50-to-1",
            Self::Large => "pairs-4k",
        }
    }

    /// The pattern of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|pattern| pattern.name() == name)
    }

    /// Bytes of a payload.
    #[must_use]
    pub fn payload_bytes(self) -> usize {
        if self == Self::Large { 4096 } else { 100 }
    }

    fn publishers(self) -> usize {
        match self {
            Self::Pairs | Self::Large => 20,
            Self::FanOut => 1,
            Self::FanIn => 50,
        }
    }

    /// Subscribers of one publisher.
    fn copies(self) -> u64 {
        if self == Self::FanOut { 50 } else { 1 }
    }

    fn subscriptions(self) -> Vec<String> {
        match self {
            Self::Pairs | Self::Large => (0..20).map(topic).collect(),
            Self::FanOut => vec![topic(0); 50],
            Self::FanIn => vec!["load/+/value".to_owned()],
        }
    }
}

fn topic(publisher: usize) -> String {
    format!("load/{publisher}/value")
}

/// What one run of a load cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Run {
    /// Messages that arrived, a second.
    pub(super) messages_per_s: f64,
    /// Processor seconds of the broker for 100,000 of them.
    pub(super) cpu_s_per_100k: f64,
    /// Processor time of the load, as a share of one core.
    pub(super) load_share: f64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Publisher {
    published: u64,
    acknowledged: u64,
    arrived: u64,
}

/// Puts a broker under load for `time`, after a fifth of it to warm up.
///
/// # Errors
/// The broker closes a connection, or nothing gets on.
pub(super) fn load(
    (port, broker): (u16, Process),
    pattern: Pattern,
    qos: u8,
    time: Duration,
) -> anyhow::Result<Run> {
    let mut clients = Clients::new()?;
    let publishers = pattern.publishers();
    let mut flows = vec![Publisher::default(); publishers];
    for number in 0..publishers {
        clients.connect(port, &format!("p{number}"), true)?;
    }
    let mut subscriptions = Vec::new();
    for (index, filter) in pattern.subscriptions().into_iter().enumerate() {
        subscriptions.push((clients.connect(port, &format!("s{index}"), true)?, filter));
    }
    clients.subscribe(&subscriptions, qos)?;
    let length = pattern.payload_bytes();
    let template = |number| Template::new(&topic(number), qos, false, length);
    let templates: Vec<Template> = (0..publishers).map(template).collect();
    let copies = pattern.copies();
    let room = (UNDER_WAY / publishers as u64).min(UNDER_WAY_OF_ONE);
    let start = Instant::now();
    let mut begun: Option<(Instant, u64, Duration, Duration)> = None;
    loop {
        for (number, flow) in flows.iter_mut().enumerate() {
            let unacknowledged = if qos == 0 { 0 } else { flow.published - flow.acknowledged };
            let under_way = flow.published.saturating_sub(flow.arrived / copies);
            let more = WINDOW.saturating_sub(unacknowledged).min(room.saturating_sub(under_way));
            if more == 0 || clients.is_blocked(number) {
                continue;
            }
            for _ in 0..more {
                flow.published += 1;
                let out = clients.output(number);
                templates[number].write(out, packet_id(flow.published), b"");
            }
            clients.flush(number)?;
        }
        clients.turn(TURN, |client, frame, out| {
            if client < publishers {
                flows[client].acknowledged += u64::from(acknowledged(frame, out));
            } else if let Some(topic) = taken(frame, out) {
                let of = match pattern {
                    Pattern::Pairs | Pattern::Large => client - publishers,
                    Pattern::FanOut => 0,
                    Pattern::FanIn => publisher_of(topic),
                };
                if let Some(flow) = flows.get_mut(of) {
                    flow.arrived += 1;
                }
            }
        })?;
        let arrived = flows.iter().map(|flow| flow.arrived).sum();
        match begun {
            None if start.elapsed() >= time / 5 => {
                begun = Some((Instant::now(), arrived, broker.cpu()?, own_cpu()));
            }
            Some((at, before, cpu, own)) if at.elapsed() >= time => {
                let seconds = at.elapsed().as_secs_f64();
                let cpu = broker.cpu()?.saturating_sub(cpu).as_secs_f64();
                let own = own_cpu().saturating_sub(own).as_secs_f64();
                clients.goodbye();
                #[allow(clippy::cast_precision_loss, reason = "less than 2^52 messages")]
                let messages = (arrived - before).max(1) as f64;
                return Ok(Run {
                    messages_per_s: messages / seconds,
                    cpu_s_per_100k: cpu / messages * 1e5,
                    load_share: own / seconds,
                });
            }
            _ => {}
        }
    }
}

/// Packet ids go round.
pub(super) fn packet_id(published: u64) -> u16 {
    u16::try_from((published - 1) % u64::from(u16::MAX - 1) + 1).unwrap_or(1)
}

/// A publisher's side: tells whether a message is done.
pub(super) fn acknowledged(frame: Frame<'_>, out: &mut Vec<u8>) -> bool {
    match frame.kind() {
        PUBREC => wire::ack(out, PUBREL, frame.packet_id()),
        PUBACK | PUBCOMP => return true,
        _ => {}
    }
    false
}

/// A subscriber's side: acknowledges; the topic if this is a message.
pub(super) fn taken<'a>(frame: Frame<'a>, out: &mut Vec<u8>) -> Option<&'a [u8]> {
    match frame.kind() {
        PUBLISH => {
            let (topic, packet_id, _) = frame.publish();
            match frame.qos() {
                0 => {}
                1 => wire::ack(out, PUBACK, packet_id),
                _ => wire::ack(out, PUBREC, packet_id),
            }
            return Some(topic);
        }
        PUBREL => wire::ack(out, PUBCOMP, frame.packet_id()),
        _ => {}
    }
    None
}

/// The number in `load/7/value`.
fn publisher_of(topic: &[u8]) -> usize {
    let digits = topic.iter().skip(5).take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

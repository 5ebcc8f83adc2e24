//! core: readings as a gateway says them, to be measured with.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;

use crate::model::{
    Body, Message, Moment, PointName, QoS, Quality, Reading, ReadingId, Seq, Timestamp, TopicError,
    TopicName, Value,
};
use crate::payload::payload;
use crate::store::{Change, SessionId, Target};

/// Payload of a reading, as the default JSON is long.
pub(super) const PAYLOAD_BYTES: usize = 200;
/// Whom the readings are for.
pub(super) const SESSION: SessionId = SessionId(1);

const GATEWAY: &str = "pump-house";
/// Four devices of ten points.
const TOPICS: u64 = 40;
/// Numbers in the line that a point gives.
const CHANNELS: usize = 24;
/// Readings made; far more than a segment holds, so that none comes twice in one.
const MADE: u64 = 8192;
/// When the first was taken; each comes 25 ms after the one before.
const BEGIN: Timestamp = Timestamp::from_unix_ms(1_795_230_600_000);

/// Readings, given round and round.
#[derive(Debug)]
pub(super) struct Readings {
    messages: Vec<Message>,
    targets: Arc<[Target]>,
    next: usize,
}

impl Readings {
    /// Makes them, the same ones each time, to be delivered at `qos`.
    pub(super) fn made(now: Moment, qos: QoS) -> Result<Self, TopicError> {
        let mut rng = Rng::with_seed(40);
        let channels = TOPICS * CHANNELS as u64;
        // In hundredths: 0.50 to 999.99.
        let mut values: Vec<i32> = (0..channels).map(|_| rng.i32(50..100_000)).collect();
        let mut messages = Vec::new();
        for number in 1..=MADE {
            let begin = usize::try_from(number % TOPICS).unwrap_or_default() * CHANNELS;
            let channels = values.iter_mut().skip(begin).take(CHANNELS);
            messages.push(message(number, channels, &mut rng, now)?);
        }
        let target = Target { session: SESSION, qos, retain: false, shared: false };
        Ok(Self { messages, targets: Arc::from([target]), next: 0 })
    }

    /// The next `count` of them, to be kept after `seq`, which is moved on.
    pub(super) fn appends(&mut self, seq: &mut Seq, count: usize) -> Vec<Change> {
        let (messages, next) = (&self.messages, self.next);
        self.next = (next + count) % messages.len();
        let messages = messages.iter().cycle().skip(next).take(count);
        let append = |message: &Message| {
            *seq = seq.next();
            let (message, targets) = (Arc::new(message.clone()), self.targets.clone());
            Change::Append { seq: *seq, message, targets }
        };
        messages.map(append).collect()
    }
}

/// A reading whose value is a line of numbers, each a little off what it was.
fn message<'a>(
    number: u64,
    values: impl Iterator<Item = &'a mut i32>,
    rng: &mut Rng,
    now: Moment,
) -> Result<Message, TopicError> {
    let point = number % TOPICS;
    let (device, point) = (format!("meter-{}", point / 10), format!("line_{}", point % 10));
    let topic = TopicName::new(&format!("{GATEWAY}/{device}/{point}"))?;
    let time = Timestamp::from_unix_ms(BEGIN.unix_ms() + number * 25);
    let mut line = String::new();
    for value in values {
        *value = (*value + rng.i32(-30..=30)).max(50);
        // Writing to a String cannot fail.
        _ = write!(line, "{}.{:02},", *value / 100, *value % 100);
    }
    let reading = |value: &str| Reading {
        point: PointName { device: device.as_str().into(), point: point.as_str().into() },
        value: Some(Value::Text(value.into())),
        unit: None,
        quality: Quality::Good,
        taken: Moment { wall: time, ..now },
    };
    let id = ReadingId { start: 7, number: 100_000 + number };
    let around = payload(&reading(""), GATEWAY, id, true).len();
    line.truncate(PAYLOAD_BYTES.saturating_sub(around));
    let payload = Bytes::from(payload(&reading(&line), GATEWAY, id, true));
    let (qos, accepted) = (QoS::ExactlyOnce, time);
    let body = Body::Reading { unsynced_at: None };
    let (retain, properties, expires) = (false, None, None);
    Ok(Message { topic, payload, qos, retain, properties, accepted, expires, body })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[allow(clippy::disallowed_methods, reason = "a test needs some instant")]
    fn now() -> Moment {
        let wall = Timestamp::from_unix_ms(0);
        Moment { mono: std::time::Instant::now(), wall, boot_ms: 0 }
    }

    #[test]
    fn readings_are_as_long_as_they_say_and_none_is_like_another() {
        let readings = Readings::made(now(), QoS::AtLeastOnce).expect("topics");
        assert!(readings.messages.iter().all(|message| message.payload.len() == PAYLOAD_BYTES));
        let payloads: BTreeSet<&Bytes> = readings.messages.iter().map(|m| &m.payload).collect();
        let topics: BTreeSet<&str> = readings.messages.iter().map(|m| m.topic.as_str()).collect();
        assert_eq!((payloads.len(), topics.len()), (8192, 40));
        let json: serde_json::Value =
            serde_json::from_slice(&readings.messages[77].payload).expect("JSON");
        assert_eq!(json["id"], "pump-house-7-100078");
    }

    #[test]
    fn they_are_given_round_and_round() {
        let mut readings = Readings::made(now(), QoS::AtLeastOnce).expect("topics");
        let mut seq = Seq(5);
        let first = readings.appends(&mut seq, 3);
        assert_eq!(seq, Seq(8));
        readings.appends(&mut seq, 8192 - 3);
        let again = readings.appends(&mut seq, 1);
        let message = |change: &Change| {
            let Change::Append { message, .. } = change else { panic!("{change:?}") };
            message.payload.clone()
        };
        assert_eq!(message(&first[0]), message(&again[0]));
        assert_ne!(message(&first[0]), message(&first[1]));
    }
}

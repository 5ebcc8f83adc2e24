//! core: a run of consecutive messages as one piece: built for a row, read back out of one.
//!
//! The content of a segment: a format byte, the length of its records before compression (four bytes), a checksum
//! (eight), little endian; then the records, each as the staged layer writes an append ([`frame`]), compressed with LZ4
//! where that makes them shorter. Readings repeat their topics, keys and times, so what a disk must take is a fraction
//! of what was said.

use std::borrow::Cow;

use super::change::{Change, StoredMessage, Target};
use super::row::RowError;
use super::{checksum, frame};
use crate::model::{Message, Seq, Timestamp};

/// A segment ends with this many messages,
const MESSAGES_MAX: usize = 256;
/// or before the message that makes its records longer than this,
const RAW_BYTES_MAX: usize = 128 * 1024;
/// or where the next message stands this many places after the first.
pub(super) const SPAN_MAX: u64 = 4096;

/// Format, length before compression, checksum.
const HEAD_LEN: usize = 13;
/// The records as they are.
const PLAIN: u8 = 1;
/// The records as an LZ4 block.
const LZ4: u8 = 2;
/// No LZ4 block becomes more than this many times as long.
const LZ4_GROWTH_MAX: usize = 255;

/// A message that is to be kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    /// Its place.
    pub(super) seq: Seq,
    /// The message.
    pub(super) message: &'a Message,
    /// Who it is for.
    pub(super) targets: &'a [Target],
}

impl<'a> From<&'a StoredMessage> for Record<'a> {
    fn from(stored: &'a StoredMessage) -> Self {
        Self { seq: stored.seq, message: &stored.message, targets: &stored.targets }
    }
}

/// A segment as it stands in its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// The place of its first message.
    pub(super) first: Seq,
    /// The place of its last message.
    pub(super) last: Seq,
    /// How many messages it holds; fewer than places if some between them are not here.
    pub(super) count: usize,
    /// The newest time in it that a clock which was set has given; the epoch if there is none.
    pub(super) accepted: Timestamp,
    /// Its content.
    pub(super) content: Vec<u8>,
}

/// The fewest segments that hold `records`, which come in the order of their places.
pub(super) fn segments<'a>(
    records: impl IntoIterator<Item = Record<'a>>,
) -> impl Iterator<Item = Segment> {
    let mut records = records.into_iter().peekable();
    let (mut raw, mut scratch) = (Vec::new(), Vec::new());
    std::iter::from_fn(move || {
        let first = records.peek()?.seq;
        let (mut last, mut count, mut accepted) = (first, 0, Timestamp::default());
        raw.clear();
        while let Some(record) = records.next_if(|next| {
            let fits = raw.len() + next.message.payload.len() <= RAW_BYTES_MAX;
            count == 0 || (count < MESSAGES_MAX && fits && next.seq.0 - first.0 < SPAN_MAX)
        }) {
            frame::write_append(record.seq, record.message, record.targets, &mut raw);
            last = record.seq;
            count += 1;
            if record.message.accepted.is_set() {
                accepted = accepted.max(record.message.accepted);
            }
        }
        Some(Segment { first, last, count, accepted, content: write(&raw, &mut scratch) })
    })
}

/// Wraps records; `scratch` is room to compress in.
fn write(raw: &[u8], scratch: &mut Vec<u8>) -> Vec<u8> {
    scratch.resize(lz4_flex::block::get_maximum_output_size(raw.len()), 0);
    let length = lz4_flex::block::compress_into(raw, scratch).unwrap_or(usize::MAX);
    let (format, body) = match scratch.get(..length) {
        Some(compressed) if length < raw.len() => (LZ4, compressed),
        Some(_) | None => (PLAIN, raw),
    };
    // No packet is longer than 268 MB, and a segment hardly longer than one.
    let raw_len = u32::try_from(raw.len()).unwrap_or(u32::MAX);
    let mut content = Vec::with_capacity(HEAD_LEN + body.len());
    content.push(format);
    content.extend_from_slice(&raw_len.to_le_bytes());
    content.extend_from_slice(&checksum(format, raw_len, body).to_le_bytes());
    content.extend_from_slice(body);
    content
}

/// The messages in the content of the segment that begins at `first`, in order.
pub(super) fn read(first: Seq, content: &[u8]) -> Result<Vec<StoredMessage>, RowError> {
    const FOREIGN: RowError = RowError::Foreign { column: "content" };
    let raw = unwrap(content)?;
    let changes = frame::read_changes(&raw).map_err(|_| FOREIGN)?;
    let mut messages = Vec::with_capacity(changes.len());
    let mut least = first;
    for change in changes {
        let Change::Append { seq, message, targets } = change else { return Err(FOREIGN) };
        let is_first = messages.is_empty();
        if seq < least || (is_first && seq != first) || seq.0 - first.0 >= SPAN_MAX {
            return Err(FOREIGN);
        }
        least = seq.next();
        messages.push(StoredMessage { seq, message, targets });
    }
    Ok(messages)
}

/// The records in a content, as they were before compression.
fn unwrap(content: &[u8]) -> Result<Cow<'_, [u8]>, RowError> {
    let (head, body) =
        content.split_first_chunk::<HEAD_LEN>().ok_or(RowError::Short { column: "content" })?;
    let [format, a, b, c, d, sum @ ..] = *head;
    let raw_len = u32::from_le_bytes([a, b, c, d]);
    if checksum(format, raw_len, body) != u64::from_le_bytes(sum) {
        return Err(RowError::Damaged { column: "content" });
    }
    let foreign = RowError::Foreign { column: "content" };
    let raw_len = usize::try_from(raw_len).map_err(|_| foreign)?;
    match format {
        PLAIN if body.len() == raw_len => Ok(Cow::Borrowed(body)),
        // What claims to grow more than a block can is not worth the memory.
        LZ4 if raw_len <= body.len().saturating_mul(LZ4_GROWTH_MAX) => {
            let mut raw = vec![0; raw_len];
            match lz4_flex::block::decompress_into(body, &mut raw) {
                Ok(length) if length == raw_len => Ok(Cow::Owned(raw)),
                Ok(_) | Err(_) => Err(foreign),
            }
        }
        _ => Err(foreign),
    }
}

fn checksum(format: u8, raw_len: u32, body: &[u8]) -> u64 {
    checksum::of_words(u64::from(format) << 32 | u64::from(raw_len), body)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::model::{QoS, TopicName};
    use crate::store::SessionId;

    fn stored(seq: u64, payload: impl Into<Bytes>, accepted: u64) -> StoredMessage {
        let message = Message {
            topic: TopicName::new("g/d/p").expect("well formed"),
            payload: payload.into(),
            qos: QoS::ExactlyOnce,
            retain: false,
            properties: None,
            accepted: Timestamp::from_unix_ms(accepted),
            expires: None,
            body: crate::model::Body::Foreign,
        };
        let target =
            Target { session: SessionId(1), qos: QoS::AtLeastOnce, retain: false, shared: false };
        StoredMessage { seq: Seq(seq), message: Arc::new(message), targets: Arc::from([target]) }
    }

    fn built(messages: &[StoredMessage]) -> Vec<Segment> {
        segments(messages.iter().map(Record::from)).collect()
    }

    fn reading(seq: u64) -> StoredMessage {
        stored(seq, format!("{{\"value\":{seq},\"quality\":\"good\"}}"), 1_795_230_600_000 + seq)
    }

    #[test]
    fn messages_come_back_as_they_went_in_and_take_less_room() {
        let messages: Vec<_> = (5..105).map(reading).collect();
        let segments = built(&messages);
        let [segment] = &segments[..] else { panic!("{}", segments.len()) };
        assert_eq!((segment.first, segment.last, segment.count), (Seq(5), Seq(104), 100));
        assert_eq!(segment.accepted.unix_ms(), 1_795_230_600_104);
        assert!(segment.content.len() < 100 * 40, "{} bytes", segment.content.len());
        assert_eq!(read(Seq(5), &segment.content), Ok(messages));
    }

    #[test]
    fn what_compression_would_not_shorten_stands_as_it_is() {
        let mut rng = fastrand::Rng::with_seed(7);
        let noise: Vec<u8> = (0..3000).map(|_| rng.u8(..)).collect();
        let messages = [stored(1, noise, 0)];
        let segments = built(&messages);
        assert_eq!(segments[0].content[0], PLAIN);
        assert!(segments[0].content.len() < 3100);
        assert_eq!(read(Seq(1), &segments[0].content).as_deref(), Ok(&messages[..]));
    }

    #[test]
    fn a_segment_ends_at_its_count_its_bytes_and_its_span() {
        let ends = |messages: &[StoredMessage]| -> Vec<u64> {
            built(messages).iter().map(|segment| segment.last.0).collect()
        };
        assert_eq!(ends(&(1..=600).map(reading).collect::<Vec<_>>()), [256, 512, 600]);
        let large = |seq| stored(seq, vec![b'x'; 60 * 1024], 0);
        assert_eq!(ends(&(1..=5).map(large).collect::<Vec<_>>()), [2, 4, 5]);
        let huge = |seq| stored(seq, vec![b'x'; 300 * 1024], 0);
        assert_eq!(ends(&[reading(1), huge(2), reading(3)]), [1, 2, 3]);
        let far = [reading(10), reading(10 + SPAN_MAX - 1), reading(10 + SPAN_MAX)];
        assert_eq!(ends(&far), [10 + SPAN_MAX - 1, 10 + SPAN_MAX]);
    }

    #[test]
    fn a_time_from_before_the_clock_was_set_is_not_the_newest() {
        let segments = built(&[stored(1, "a", 5000), reading(2), stored(3, "b", 7000)]);
        assert_eq!(segments[0].accepted.unix_ms(), 1_795_230_600_002);
        assert_eq!(built(&[stored(1, "a", 5000)])[0].accepted, Timestamp::default());
    }

    #[test]
    fn every_spoilt_bit_and_every_cut_is_recognised() {
        let messages: Vec<_> = (1..20).map(reading).collect();
        let content = built(&messages).remove(0).content;
        for index in 0..content.len() {
            for bit in 0..8 {
                let mut spoilt = content.clone();
                spoilt[index] ^= 1 << bit;
                let damaged = Err(RowError::Damaged { column: "content" });
                assert_eq!(read(Seq(1), &spoilt), damaged, "bit {bit} of byte {index}");
            }
            assert!(read(Seq(1), &content[..index]).is_err(), "cut at {index}");
        }
        assert!(read(Seq(2), &content).is_err(), "another segment's content");
    }

    /// A content whose checksum is right, whatever is in it.
    fn sealed(format: u8, raw_len: u32, body: &[u8]) -> Vec<u8> {
        let sum = checksum(format, raw_len, body).to_le_bytes();
        [&[format][..], &raw_len.to_le_bytes(), &sum, body].concat()
    }

    #[test]
    fn a_length_no_block_can_have_is_refused_before_any_room_is_made() {
        let foreign = Err(RowError::Foreign { column: "content" });
        assert_eq!(read(Seq(1), &sealed(LZ4, u32::MAX, &[0; 64])), foreign);
        assert_eq!(read(Seq(1), &sealed(9, 0, &[])), foreign);
    }

    proptest! {
        #[test]
        fn hostile_content_is_an_error_and_not_a_panic(
            format in 0u8..4,
            raw_len in 0u32..5000,
            body in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let _ = read(Seq(1), &body);
            let _ = read(Seq(1), &sealed(format, raw_len, &body));
            let _ = read(Seq(1), &sealed(PLAIN, u32::try_from(body.len()).expect("short"), &body));
        }
    }
}

//! core: the last of what passed on a bus, byte by byte, in a bounded piece of memory.
//!
//! A record is a header and its bytes in one queue of bytes: to keep one costs two copies and no allocation once the queue
//! has grown. When it is full the oldest records go.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::model::{Moment, Timestamp};

/// Bytes all buses together keep at most; each has an equal part, within [`BUS_BYTES`].
const ALL_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes one bus keeps: at least, and at most.
const BUS_BYTES: std::ops::RangeInclusive<usize> = 32 * 1024..=256 * 1024;
/// Bytes before the content of a record: kind, length, when, how long, wall clock.
const HEADER_LEN: usize = 1 + 2 + 8 + 4 + 8;
/// The most bytes one record holds.
const RECORD_MAX: usize = 4096;

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes that were sent.
    Sent,
    /// Bytes that came.
    Received,
    /// What was made of them, in words.
    Note,
    /// The port or connection was opened.
    Opened,
    /// It was lost: why, in words.
    Lost,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Sent, Self::Received, Self::Note, Self::Opened, Self::Lost];

    fn code(self) -> u8 {
        match self {
            Self::Sent => 0,
            Self::Received => 1,
            Self::Note => 2,
            Self::Opened => 3,
            Self::Lost => 4,
        }
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Counted from 0 since the bus started.
    pub number: u64,
    /// What it is about.
    pub kind: Kind,
    /// When it began, in microseconds since the bus started, by the monotonic clock.
    pub mono_us: u64,
    /// How long after that its last byte came, in microseconds.
    pub lasted_us: u32,
    /// When it began by the wall clock, in milliseconds.
    pub wall: Timestamp,
    /// Bytes, or words in UTF-8.
    pub bytes: Vec<u8>,
}

/// The youngest record while it can grow.
#[derive(Debug, Clone, Copy)]
struct Growing {
    begun: Instant,
    last: Instant,
    /// Header and content.
    len: usize,
}

/// The last records of one bus.
#[derive(Debug)]
pub struct Ring {
    bytes: VecDeque<u8>,
    bytes_max: usize,
    /// What comes within this time of each other belongs to one burst; `None` where each piece is a datagram.
    burst_gap: Option<Duration>,
    start: Instant,
    /// The number of the oldest record that is kept, and of the next one.
    numbers: (u64, u64),
    growing: Option<Growing>,
}

/// What a ring held at some time.
#[derive(Debug, Clone, Default)]
pub struct RingCopy {
    bytes: Vec<u8>,
    /// The number of the first record.
    first: u64,
    /// The most the ring keeps, in bytes, what it needs for itself included.
    pub bytes_max: usize,
}

impl Ring {
    /// An empty ring, begun at `now`, of one bus of `buses`. What comes with `burst_gap` between it at most makes one record,
    /// as long as nothing else happens; without one, each piece makes its own.
    #[must_use]
    pub fn new(buses: usize, burst_gap: Option<Duration>, now: Instant) -> Self {
        let part = ALL_BYTES_MAX / buses.max(1);
        let bytes_max = part.clamp(*BUS_BYTES.start(), *BUS_BYTES.end());
        let (bytes, numbers) = (VecDeque::new(), (0, 0));
        Self { bytes, bytes_max, burst_gap, start: now, numbers, growing: None }
    }

    /// Keeps bytes or words.
    pub fn push(&mut self, kind: Kind, content: &[u8], at: Moment) {
        if kind == Kind::Received && self.grow(content, at.mono) {
            return;
        }
        let mut rest = content;
        loop {
            let (part, after) = rest.split_at(rest.len().min(RECORD_MAX));
            self.push_record(kind, part, at);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
    }

    /// Adds to the youngest record what belongs to the same burst.
    fn grow(&mut self, content: &[u8], now: Instant) -> bool {
        let Some((growing, gap)) = self.growing.as_mut().zip(self.burst_gap) else { return false };
        let is_same = now.saturating_duration_since(growing.last) <= gap;
        if !is_same || growing.len + content.len() > HEADER_LEN + RECORD_MAX {
            return false;
        }
        let header = self.bytes.len().saturating_sub(growing.len);
        growing.last = now;
        growing.len += content.len();
        let len = (growing.len - HEADER_LEN).try_into().unwrap_or(u16::MAX).to_le_bytes();
        let lasted = now.saturating_duration_since(growing.begun).as_micros();
        let lasted = u32::try_from(lasted).unwrap_or(u32::MAX).to_le_bytes();
        for (at, byte) in (1..).zip(len).chain((11..).zip(lasted)) {
            if let Some(place) = self.bytes.get_mut(header + at) {
                *place = byte;
            }
        }
        self.bytes.extend(content);
        self.make_room(0);
        true
    }

    fn push_record(&mut self, kind: Kind, content: &[u8], at: Moment) {
        let len = HEADER_LEN + content.len();
        self.make_room(len);
        let mono = at.mono.saturating_duration_since(self.start).as_micros();
        self.bytes.push_back(kind.code());
        self.bytes.extend(u16::try_from(content.len()).unwrap_or(u16::MAX).to_le_bytes());
        self.bytes.extend(u64::try_from(mono).unwrap_or(u64::MAX).to_le_bytes());
        self.bytes.extend(0_u32.to_le_bytes());
        self.bytes.extend(at.wall.unix_ms().to_le_bytes());
        self.bytes.extend(content);
        self.numbers.1 += 1;
        self.growing =
            (kind == Kind::Received).then_some(Growing { begun: at.mono, last: at.mono, len });
    }

    /// Lets the oldest records go until `len` more bytes fit.
    fn make_room(&mut self, len: usize) {
        while self.bytes.len() + len > self.bytes_max {
            let (Some(low), Some(high)) = (self.bytes.get(1), self.bytes.get(2)) else { return };
            let content = usize::from(u16::from_le_bytes([*low, *high]));
            self.bytes.drain(..(HEADER_LEN + content).min(self.bytes.len()));
            self.numbers.0 += 1;
        }
    }

    /// What is kept, for whoever has the time to look at it.
    #[must_use]
    pub fn copy(&self) -> RingCopy {
        let (front, back) = self.bytes.as_slices();
        RingCopy { bytes: [front, back].concat(), first: self.numbers.0, bytes_max: self.bytes_max }
    }
}

impl RingCopy {
    /// Its records, oldest first.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let (mut rest, mut number) = (self.bytes.as_slice(), self.first);
        std::iter::from_fn(move || {
            let (record, after) = record(rest, number)?;
            (rest, number) = (after, number + 1);
            Some(record)
        })
    }

    /// How many bytes are kept, what the ring needs for itself included.
    #[must_use]
    pub fn bytes_kept(&self) -> usize {
        self.bytes.len()
    }

    /// How many records were kept once and had to go.
    #[must_use]
    pub fn gone(&self) -> u64 {
        self.first
    }
}

fn record(bytes: &[u8], number: u64) -> Option<(Record, &[u8])> {
    let (code, rest) = bytes.split_first()?;
    let (len, rest) = rest.split_first_chunk()?;
    let (mono, rest) = rest.split_first_chunk()?;
    let (lasted, rest) = rest.split_first_chunk()?;
    let (wall, rest) = rest.split_first_chunk()?;
    let (content, rest) = rest.split_at_checked(u16::from_le_bytes(*len).into())?;
    let record = Record {
        number,
        kind: Kind::ALL.into_iter().find(|kind| kind.code() == *code)?,
        mono_us: u64::from_le_bytes(*mono),
        lasted_us: u32::from_le_bytes(*lasted),
        wall: Timestamp::from_unix_ms(u64::from_le_bytes(*wall)),
        bytes: content.to_vec(),
    };
    Some((record, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn start() -> Instant {
        #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
        Instant::now()
    }

    fn at(start: Instant, ms: u64) -> Moment {
        let wall = Timestamp::from_unix_ms(1_795_230_600_000 + ms);
        Moment { mono: start + Duration::from_millis(ms), wall, boot_ms: ms }
    }

    #[test]
    fn records_come_back_as_they_went() {
        let start = start();
        let mut ring = Ring::new(1, Some(Duration::from_millis(30)), start);
        ring.push(Kind::Opened, b"", at(start, 0));
        ring.push(Kind::Sent, &[3, 3, 0], at(start, 5));
        ring.push(Kind::Received, &[3], at(start, 20));
        ring.push(Kind::Received, &[3, 2], at(start, 36));
        ring.push(Kind::Received, &[9], at(start, 100));
        ring.push(Kind::Note, b"no answer", at(start, 101));
        let copy = ring.copy();
        let records: Vec<Record> = copy.records().collect();
        let contents: Vec<&[u8]> = records.iter().map(|it| it.bytes.as_slice()).collect();
        assert_eq!(contents, [b"".as_slice(), &[3, 3, 0], &[3, 3, 2], &[9], b"no answer"]);
        assert_eq!((records[2].mono_us, records[2].lasted_us), (20_000, 16_000));
        assert_eq!(records[2].wall.unix_ms() % 1000, 20);
        assert_eq!(records.iter().map(|it| it.number).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(records[4].kind, Kind::Note);
    }

    #[test]
    fn datagrams_stay_apart() {
        let start = start();
        let mut ring = Ring::new(1, None, start);
        ring.push(Kind::Received, &[1], at(start, 0));
        ring.push(Kind::Received, &[2], at(start, 0));
        assert_eq!(ring.copy().records().count(), 2);
    }

    #[test]
    fn all_buses_together_keep_four_megabytes_and_each_at_least_a_few_pages() {
        let of = |buses| Ring::new(buses, None, start()).copy().bytes_max;
        assert_eq!([of(0), of(1), of(16)], [256 * 1024; 3]);
        assert_eq!([of(64), of(1000)], [64 * 1024, 32 * 1024]);
    }

    proptest! {
        #[test]
        fn whatever_is_pushed_it_stays_within_its_bound_and_holds_the_youngest(
            pushed in proptest::collection::vec((0..5_usize, 0..5000_usize, 0..40_u64), 1..200),
        ) {
            let start = start();
            let mut ring = Ring::new(1000, Some(Duration::from_millis(30)), start);
            let (mut all, mut ms) = (Vec::new(), 0);
            for (index, (kind, len, pause)) in pushed.into_iter().enumerate() {
                ms += pause;
                let content = vec![u8::try_from(index % 251).expect("small"); len];
                ring.push(Kind::ALL[kind], &content, at(start, ms));
                all.extend(content);
                prop_assert!(ring.bytes.len() <= ring.bytes_max);
            }
            let copy = ring.copy();
            let kept: Vec<u8> = copy.records().flat_map(|record| record.bytes).collect();
            prop_assert!(all.ends_with(&kept));
            prop_assert_eq!(copy.records().count() as u64, ring.numbers.1 - ring.numbers.0);
            if copy.gone() == 0 {
                prop_assert_eq!(kept.len(), all.len());
            } else {
                prop_assert!(copy.bytes_kept() + RECORD_MAX + HEADER_LEN > ring.bytes_max);
            }
        }
    }
}

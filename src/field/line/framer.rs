//! core: where a frame begins and ends among bytes that come in any pieces.
//!
//! Whoever starts to listen may do so in the middle of a frame, and the rest of one can look like a whole one: `12.5 kg` of
//! `112.5 kg`. So where frames have no mark at their beginning and nothing protects them, the first counts only after silence.

use std::time::{Duration, Instant};

use super::checksum::{ChecksumError, verify};
use crate::field::{ChecksumSettings, FrameEnd, FrameSettings, Order};

/// After this much silence what comes is taken for the beginning of a frame, and a frame whose length is known and that is not
/// complete is cut off. Adapters hold bytes back for up to 16 ms.
const GAP: Duration = Duration::from_millis(100);

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Its checksum is wrong.
    #[error("{0}")]
    Checksum(#[from] ChecksumError),
    /// It does not end.
    #[error("a frame has not ended after {bytes_max} bytes")]
    TooLong {
        /// What a frame has at most.
        bytes_max: usize,
    },
    /// Its length cannot be.
    #[error("a frame says that it has {len} bytes")]
    Length {
        /// What it says, with what the number does not count.
        len: usize,
    },
    /// It ended too early.
    #[error("a frame ended after {count} bytes")]
    CutOff {
        /// How many bytes came.
        count: usize,
    },
}

impl Damage {
    /// What it is with the likely cause, for the person with the screwdriver.
    #[must_use]
    pub fn explained(&self) -> String {
        let cause = match self {
            Self::Checksum(_) => {
                "parity, data bits, a weak line, or another `checksum` than the device's"
            }
            Self::TooLong { .. } => {
                "is the end in `frame` the device's, and is the baud rate right?"
            }
            Self::Length { .. } => {
                "does its length stand where `frame` says, and is the baud rate right?"
            }
            Self::CutOff { .. } => "a weak line, or another length in `frame` than the device's",
        };
        format!("{self} ({cause})")
    }
}

/// Takes bytes, gives frames.
#[derive(Debug)]
pub struct Framer {
    settings: FrameSettings,
    checksum: Option<ChecksumSettings>,
    buffer: Vec<u8>,
    /// Up to here no end mark begins in the buffer.
    searched: usize,
    /// What comes belongs to a frame whose beginning is not known, or is lost.
    is_lost: bool,
    /// When the last byte came, or listening began.
    last: Instant,
    /// The frame that silence will end is over.
    is_over: bool,
    /// A frame was cut off by silence, with so many bytes.
    cut_off: Option<usize>,
    /// How many bytes were passed over in search of a frame that has no mark, since that was told last.
    passed: usize,
}

impl Framer {
    /// Begins to listen at `now`.
    #[must_use]
    pub fn new(settings: FrameSettings, checksum: Option<ChecksumSettings>, now: Instant) -> Self {
        let mut framer = Self {
            settings,
            checksum,
            buffer: Vec::new(),
            searched: 0,
            is_lost: false,
            last: now,
            is_over: false,
            cut_off: None,
            passed: 0,
        };
        framer.is_lost = !framer.finds_back();
        framer
    }

    /// Forgets what has come: what comes from here on begins with a frame.
    pub fn begin(&mut self) {
        self.clear();
        self.is_lost = false;
    }

    /// Until when a frame that has begun may go on; `None` if none has.
    #[must_use]
    pub fn is_amid_until(&self) -> Option<Instant> {
        (!self.buffer.is_empty()).then(|| self.last + self.gap())
    }

    /// How many bytes have come that are no whole frame yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.buffer.len()
    }

    /// Takes bytes that came at `now`. The frames before them should have been polled: silence before them counts.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        self.handle_timeout(now);
        self.last = now;
        self.buffer.extend_from_slice(bytes);
    }

    /// When silence would end a frame, or make an end of waiting for the beginning of one.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waits = match self.settings.end {
            FrameEnd::Silence(_) => !self.is_over && (self.is_lost || !self.buffer.is_empty()),
            FrameEnd::Length(_) | FrameEnd::Field { .. } => self.is_lost || !self.buffer.is_empty(),
            FrameEnd::Mark { .. } => false,
        };
        waits.then(|| self.last + self.gap())
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now < self.last + self.gap() {
            return;
        }
        match self.settings.end {
            // A frame may pause in the middle: only who does not know where he is makes use of silence.
            FrameEnd::Mark { .. } if self.is_lost => {
                self.clear();
                self.is_lost = false;
            }
            FrameEnd::Mark { .. } => {}
            FrameEnd::Length(_) | FrameEnd::Field { .. } => {
                let count = self.buffer.len();
                self.cut_off = (count > 0 && !self.is_lost).then_some(count).or(self.cut_off);
                self.clear();
                self.is_lost = false;
            }
            FrameEnd::Silence(_) if self.is_lost => {
                self.clear();
                self.is_lost = false;
            }
            FrameEnd::Silence(_) => self.is_over = !self.buffer.is_empty(),
        }
    }

    /// The next frame with its marks, or what is wrong with what came instead. A search for the next frame is told once for
    /// as many bytes as a frame has.
    pub fn poll_frame(&mut self) -> Option<Result<Vec<u8>, Damage>> {
        loop {
            let passed = self.passed;
            let framed = self.poll_next();
            if !matches!(framed, Some(Err(_))) || self.passed == passed || self.passed == 1 {
                return framed;
            }
        }
    }

    fn poll_next(&mut self) -> Option<Result<Vec<u8>, Damage>> {
        if let Some(count) = self.cut_off.take() {
            return Some(Err(Damage::CutOff { count }));
        }
        let framed = match self.settings.end.clone() {
            FrameEnd::Mark { mark, tail } => self.until_mark(&mark, tail),
            FrameEnd::Length(len) => self.of_length(Some(len)),
            FrameEnd::Field { .. } if self.is_lost => None,
            FrameEnd::Field { at, size, order, adds } => {
                self.skip_to_start();
                let number = self.buffer.get(at..at + size).map(|bytes| length(bytes, order));
                let least = (at + size).max(self.settings.starts_with.len());
                match number.map(|number| number + adds) {
                    Some(len) if len < least || len > self.settings.bytes_max => {
                        self.resync(least);
                        Some(Err(Damage::Length { len }))
                    }
                    len => self.of_length(len),
                }
            }
            FrameEnd::Silence(_) => self.until_silence(),
        };
        if framed.is_none() && self.buffer.len() > self.settings.bytes_max {
            self.clear();
            // What begins with a mark is found again by that.
            let is_lost = !self.has_start();
            let was_lost = std::mem::replace(&mut self.is_lost, is_lost);
            let bytes_max = self.settings.bytes_max;
            return (!was_lost).then_some(Err(Damage::TooLong { bytes_max }));
        }
        framed
    }

    fn until_mark(&mut self, mark: &[u8], tail: usize) -> Option<Result<Vec<u8>, Damage>> {
        loop {
            self.skip_to_start();
            let from = self.searched.max(self.settings.starts_with.len());
            let found = self.buffer.get(from..).and_then(|rest| find(rest, mark));
            let Some(found) = found else {
                // A mark may have come in part.
                self.searched = self.buffer.len().saturating_sub(mark.len() - 1);
                return None;
            };
            self.searched = from + found;
            let end = from + found + mark.len() + tail;
            if end > self.buffer.len() {
                return None;
            }
            if end > self.settings.bytes_max {
                self.drop_first(end);
                let bytes_max = self.settings.bytes_max;
                return Some(Err(Damage::TooLong { bytes_max }));
            }
            let frame: Vec<u8> = self.drop_first(end);
            if !std::mem::take(&mut self.is_lost) {
                return Some(self.believed(frame, mark.len() + tail));
            }
        }
    }

    /// A frame that was cut off may stand before the one that ended.
    fn believed(&self, frame: Vec<u8>, end_len: usize) -> Result<Vec<u8>, Damage> {
        let start = &self.settings.starts_with;
        let begins = |at: &usize| frame.get(*at..).is_some_and(|rest| rest.starts_with(start));
        let Some(checksum) = &self.checksum else {
            // A mark in the middle is rarer than a frame that is cut off.
            let last = (0..frame.len() - end_len).rev().find(begins).filter(|_| !start.is_empty());
            return Ok(frame.get(last.unwrap_or(0)..).unwrap_or_default().to_vec());
        };
        let checked = verify(checksum, &frame);
        let Err(error) = checked else { return Ok(frame) };
        if start.is_empty() {
            return Err(error.into());
        }
        let rest = (1..frame.len() - end_len).filter(begins).filter_map(|at| frame.get(at..));
        let mut sound = rest.filter(|rest| verify(checksum, rest).is_ok());
        sound.next().map(<[u8]>::to_vec).ok_or(error.into())
    }

    fn of_length(&mut self, len: Option<usize>) -> Option<Result<Vec<u8>, Damage>> {
        self.skip_to_start();
        if self.is_lost {
            return None;
        }
        let frame = self.buffer.get(..len?)?;
        if let Some(Err(error)) = self.checksum.as_ref().map(|checksum| verify(checksum, frame)) {
            self.resync(len?);
            return Some(Err(error.into()));
        }
        self.passed = 0;
        Some(Ok(self.drop_first(len?)))
    }

    fn until_silence(&mut self) -> Option<Result<Vec<u8>, Damage>> {
        if !std::mem::take(&mut self.is_over) {
            return None;
        }
        self.skip_to_start();
        let frame = std::mem::take(&mut self.buffer);
        (!frame.is_empty()).then(|| match &self.checksum {
            Some(checksum) => verify(checksum, &frame).map_err(Damage::from).map(|()| frame),
            None => Ok(frame),
        })
    }

    /// Drops what stands before the mark at the beginning of a frame.
    fn skip_to_start(&mut self) {
        let start = std::sync::Arc::clone(&self.settings.starts_with);
        if start.is_empty() || self.buffer.starts_with(&start) {
            return;
        }
        let at = find(&self.buffer, &start).unwrap_or_else(|| {
            // It may have come in part.
            let part = (1..start.len())
                .rev()
                .find(|len| start.get(..*len).is_some_and(|part| self.buffer.ends_with(part)));
            self.buffer.len() - part.unwrap_or(0)
        });
        self.drop_first(at);
    }

    /// What stands at the front is no frame of `len` bytes, whatever its length says.
    fn resync(&mut self, len: usize) {
        if self.has_start() {
            self.drop_first(1);
        } else if self.finds_back() {
            self.drop_first(1);
            self.passed = if self.passed >= len { 1 } else { self.passed + 1 };
        } else {
            self.clear();
            self.is_lost = true;
        }
    }

    fn has_start(&self) -> bool {
        !self.settings.starts_with.is_empty()
    }

    /// Whether a frame is recognised wherever one begins to listen.
    fn finds_back(&self) -> bool {
        self.has_start() || self.checksum.is_some()
    }

    fn gap(&self) -> Duration {
        match self.settings.end {
            FrameEnd::Silence(silence) => silence,
            FrameEnd::Mark { .. } | FrameEnd::Length(_) | FrameEnd::Field { .. } => GAP,
        }
    }

    fn drop_first(&mut self, count: usize) -> Vec<u8> {
        self.searched = 0;
        self.buffer.drain(..count.min(self.buffer.len())).collect()
    }

    fn clear(&mut self) {
        self.buffer.clear();
        self.searched = 0;
        self.is_over = false;
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len().max(1)).position(|window| window == what)
}

fn length(bytes: &[u8], order: Order) -> usize {
    let join = |number: usize, byte: &u8| number << 8 | usize::from(*byte);
    match order {
        Order::Big => bytes.iter().fold(0, join),
        Order::Little => bytes.iter().rev().fold(0, join),
    }
}

#[cfg(test)]
mod tests;

//! core: answers that may still come to older questions, so that none is taken for that of a younger one.
//!
//! A frame of a plain line seldom says which question it answers: a number is a number. Where answers to two questions
//! look alike, nobody is asked for a while after one that stayed unanswered: what comes then is its late answer. What comes
//! later is taken for the youngest question only if it does not fit an older one that is still open. If it does, nobody
//! knows whose it is: it is left, the line rests until no answer can come any more, and from then on the device that may
//! have been so late is waited for as long as that.

use std::time::{Duration, Instant};

/// A device that has not answered after so many time-outs will not.
const LATEST_TIMEOUTS: u32 = 10;
/// The same where that is shorter.
const LATEST_MIN: Duration = Duration::from_secs(5);
/// Answers in time after which a device that may have been late is believed to be prompt.
const PROMPT_AFTER: u8 = 10;

/// A question that stayed unanswered.
#[derive(Debug, Clone, Copy)]
struct Open {
    request: usize,
    device: usize,
    until: Instant,
}

/// The questions of one line that may still be answered.
#[derive(Debug)]
pub(super) struct Owed {
    timeout: Duration,
    /// Oldest first.
    open: Vec<Open>,
    /// For each device, answers in time until it is not waited for any longer than others.
    slow: Vec<u8>,
    /// Nobody is asked before.
    quiet_until: Option<Instant>,
    /// Whether nothing that comes until then is taken for an answer.
    is_resting: bool,
}

impl Owed {
    /// For a line with so many devices, which have `timeout` for their answers.
    pub(super) fn new(devices: usize, timeout: Duration) -> Self {
        let slow = vec![0; devices];
        Self { timeout, open: Vec::new(), slow, quiet_until: None, is_resting: false }
    }

    /// The port was opened; over what is a new connection no older answer comes.
    pub(super) fn handle_port_up(&mut self, is_new: bool) {
        if is_new {
            *self = Self::new(self.slow.len(), self.timeout);
        }
    }

    /// `request` to `device` was not answered in time, and its answer could be mistaken for another.
    pub(super) fn handle_unanswered(&mut self, request: usize, device: usize, now: Instant) {
        let quiet = if self.is_slow(device) { self.latest() } else { self.timeout };
        self.open(request, device, now);
        self.quiet_until = Some(now + quiet);
    }

    /// A frame came that answers `request` to `device` and none of [`Self::others`]; `is_in_time` unless the time of its
    /// question was over.
    pub(super) fn handle_answered(
        &mut self,
        request: usize,
        device: usize,
        is_in_time: bool,
        now: Instant,
    ) {
        // A device answers in the order it is asked. If it was asked the same before, this may be the answer to that.
        let Some(first) = self.open.iter().position(|open| open.request == request) else {
            self.open.retain(|open| open.device != device);
            self.slow.get_mut(device).into_iter().for_each(|left| *left = left.saturating_sub(1));
            return;
        };
        let mut index = 0;
        self.open.retain(|open| {
            index += 1;
            open.device != device || index > first + 1
        });
        if is_in_time {
            self.open(request, device, now);
        } else if self.open.is_empty() {
            self.quiet_until = None;
        }
    }

    /// The older questions that may still be answered, without `request` itself.
    pub(super) fn others(&self, request: usize) -> impl Iterator<Item = usize> {
        self.open.iter().map(|open| open.request).filter(move |open| *open != request)
    }

    /// A frame came that may be the answer to `request` of `device` or to the older question `older`: the line rests.
    pub(super) fn handle_mixed_up(
        &mut self,
        request: usize,
        device: usize,
        older: usize,
        now: Instant,
    ) {
        let late = self.open.iter().find(|open| open.request == older).map(|open| open.device);
        let left = late.and_then(|late| self.slow.get_mut(late));
        left.into_iter().for_each(|left| *left = PROMPT_AFTER);
        self.open(request, device, now);
        self.quiet_until = Some(now + self.latest());
        self.is_resting = true;
    }

    /// Whether `device` is waited for as long as an answer can take.
    pub(super) fn is_slow(&self, device: usize) -> bool {
        self.slow.get(device).is_some_and(|left| *left > 0)
    }

    /// Whether nothing that comes is taken for an answer.
    pub(super) fn is_resting(&self) -> bool {
        self.is_resting
    }

    /// When somebody may be asked again; `None` if somebody may be asked.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.quiet_until
    }

    /// Time has passed.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.quiet_until.is_some_and(|until| now >= until) {
            (self.quiet_until, self.is_resting) = (None, false);
        }
        self.open.retain(|open| open.until > now);
    }

    fn open(&mut self, request: usize, device: usize, now: Instant) {
        self.open.push(Open { request, device, until: now + self.latest() });
    }

    fn latest(&self) -> Duration {
        LATEST_MIN.max(self.timeout * LATEST_TIMEOUTS)
    }
}

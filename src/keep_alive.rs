//! core: whether the other side of a connection that we dialled still lives, MQTT 5.0 section 3.1.2.10.

use std::time::{Duration, Instant};

/// What a deadline asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAliveStep {
    /// It has not come yet.
    Wait,
    /// PINGREQ is to be sent.
    Ping,
    /// Nothing was heard for so long although we asked: the link or the broker is dead.
    Silent(Duration),
}

/// Asks the other side when nothing was sent, or nothing heard, for the keep alive time; gives it up when nothing was heard
/// for one and a half. So a link that takes our bytes and answers nothing is found out as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepAlive {
    /// Zero turns it off.
    interval: Duration,
    last_sent: Instant,
    last_heard: Instant,
    pinged: bool,
}

impl KeepAlive {
    /// A connection that came about at `now`; an `interval` of zero turns keep alive off.
    #[must_use]
    pub fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, last_sent: now, last_heard: now, pinged: false }
    }

    /// The other side wants another interval (server keep alive, 3.2.2.3.14).
    pub fn set_interval(&mut self, interval: Duration) {
        self.interval = interval;
    }

    /// Bytes came, whatever they mean: the link lives.
    pub fn handle_heard(&mut self, now: Instant) {
        self.last_heard = now;
        self.pinged = false;
    }

    /// Bytes left.
    pub fn handle_sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    /// When [`Self::handle_timeout`] wants to be called, if ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadline = if self.pinged {
            self.last_heard + self.silence_max()
        } else {
            self.last_sent.min(self.last_heard) + self.interval
        };
        (!self.interval.is_zero()).then_some(deadline)
    }

    /// A deadline may have come.
    pub fn handle_timeout(&mut self, now: Instant) -> KeepAliveStep {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return KeepAliveStep::Wait;
        }
        let silence = now.duration_since(self.last_heard);
        if silence >= self.silence_max() {
            return KeepAliveStep::Silent(silence);
        }
        self.pinged = true;
        self.last_sent = now;
        KeepAliveStep::Ping
    }

    fn silence_max(&self) -> Duration {
        self.interval + self.interval / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_quiet_link_is_asked_and_given_up_when_it_does_not_answer() {
        let start = start();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut keep_alive = KeepAlive::new(Duration::from_secs(10), start);
        assert_eq!(keep_alive.handle_timeout(at(9)), KeepAliveStep::Wait);
        assert_eq!(keep_alive.handle_timeout(at(10)), KeepAliveStep::Ping);
        assert_eq!(keep_alive.poll_timeout(), Some(at(15)));
        keep_alive.handle_heard(at(11));
        assert_eq!(keep_alive.poll_timeout(), Some(at(20)));
        assert_eq!(keep_alive.handle_timeout(at(20)), KeepAliveStep::Ping);
        let silence = Duration::from_secs(15);
        assert_eq!(keep_alive.handle_timeout(at(26)), KeepAliveStep::Silent(silence));
    }

    #[test]
    fn without_an_interval_nobody_is_asked() {
        let start = start();
        let mut keep_alive = KeepAlive::new(Duration::ZERO, start);
        assert_eq!(keep_alive.poll_timeout(), None);
        let late = start + Duration::from_secs(100_000);
        assert_eq!(keep_alive.handle_timeout(late), KeepAliveStep::Wait);
    }
}

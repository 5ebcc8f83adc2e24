//! core: which of several brokers is tried next, and when the first is looked for again.

use std::time::Duration;

use crate::backoff::Backoff;

/// The first pause before the first broker is looked for while another serves.
const LOOK_FIRST: Duration = Duration::from_secs(5);
/// The longest.
const LOOK_LONGEST: Duration = Duration::from_secs(300);

/// The brokers of one uplink, by their places in the configuration.
#[derive(Debug)]
pub(super) struct Servers {
    count: usize,
    current: usize,
    /// How many in a row could not be reached.
    failed: usize,
    return_to_first: bool,
    look: Backoff,
}

impl Servers {
    pub(super) fn new(count: usize, return_to_first: bool) -> Self {
        let look = Backoff::new(LOOK_FIRST, LOOK_LONGEST);
        Self { count, current: 0, failed: 0, return_to_first, look }
    }

    /// The one to connect to, or that is connected.
    pub(super) fn current(&self) -> usize {
        self.current
    }

    /// It could not be reached: the next one's turn. Tells whether all have been tried, so that it is time to wait.
    pub(super) fn handle_unreachable(&mut self) -> bool {
        self.current = (self.current + 1) % self.count.max(1);
        self.failed += 1;
        self.failed.is_multiple_of(self.count.max(1))
    }

    /// A connection is there, or was lost: it is tried again first, since most outages are of the link.
    pub(super) fn handle_reached(&mut self) {
        self.failed = 0;
    }

    /// A connection has proved itself. One to the first may be lost again without being mistrusted for it.
    pub(super) fn handle_proven(&mut self) {
        if self.current == 0 {
            self.look.reset();
        }
    }

    /// How long to wait before the first is looked for; `None` if it is connected or not wanted back. `random` is between
    /// 0 and 1.
    pub(super) fn next_look(&mut self, random: f64) -> Option<Duration> {
        let is_away = self.current != 0 && self.return_to_first;
        is_away.then(|| self.look.next_pause(random))
    }

    /// The first is there again.
    pub(super) fn handle_first_found(&mut self) {
        self.current = 0;
        self.failed = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_tried_before_it_is_time_to_wait_and_the_one_that_was_lost_is_tried_first() {
        let mut servers = Servers::new(3, true);
        assert_eq!(servers.current(), 0);
        assert!(!servers.handle_unreachable());
        assert_eq!(servers.current(), 1);
        servers.handle_reached();
        assert_eq!(servers.current(), 1);
        assert!(!servers.handle_unreachable());
        assert!(!servers.handle_unreachable());
        assert_eq!(servers.current(), 0);
        assert!(servers.handle_unreachable());
        let mut only = Servers::new(1, true);
        assert!(only.handle_unreachable());
        assert_eq!(only.current(), 0);
    }

    #[test]
    fn a_first_broker_that_takes_connections_and_loses_them_is_looked_for_less_and_less_often() {
        let mut servers = Servers::new(2, true);
        assert_eq!(servers.next_look(0.5), None);
        servers.handle_unreachable();
        assert_eq!(servers.next_look(0.5), Some(LOOK_FIRST));
        servers.handle_first_found();
        servers.handle_unreachable();
        assert_eq!(servers.next_look(0.5), Some(LOOK_FIRST * 2));
        servers.handle_first_found();
        servers.handle_proven();
        servers.handle_unreachable();
        assert_eq!(servers.next_look(0.5), Some(LOOK_FIRST));
        assert_eq!(Servers::new(2, false).next_look(0.5), None);
    }
}

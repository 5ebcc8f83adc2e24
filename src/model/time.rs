//! Wall-clock time as it is written into payloads and rows, and the pair of clocks a machine is handed.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// A timestamp from milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_unix_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_ms(self) -> u64 {
        self.0
    }

    /// Whether a clock that was set can have said this: not before 2020. Boards without a clock battery start in 1970.
    #[must_use]
    pub const fn is_set(self) -> bool {
        self.0 >= 1_577_836_800_000
    }

    /// How long after `earlier` this is; zero if the clock was stepped back in between.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This time moved later by `by`, at millisecond resolution.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl From<SystemTime> for Timestamp {
    /// Times before 1970 become the epoch itself: a board without a set clock must not stop the gateway.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds: `2026-11-21T03:10:00.123Z`. Years beyond 9999 are shown as milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LAST_MS: u64 = 253_402_300_799_999;
        if self.0 > LAST_MS {
            return write!(f, "{}ms", self.0);
        }
        humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(self.0)).fmt(f)
    }
}

/// One instant read from all clocks: `mono` for intervals and deadlines, `wall` for what is written down, `boot_ms` for
/// what must outlive the program and a wall clock that is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The monotonic clock.
    pub mono: Instant,
    /// The wall clock.
    pub wall: Timestamp,
    /// Milliseconds since the machine was booted, sleep included. Nobody sets this clock; it is the same for every process of
    /// a boot.
    pub boot_ms: u64,
}

/// Whether the wall clock may be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClockState {
    /// Nobody has set it since the boot, as far as anybody can tell.
    Unsynced,
    /// It is right.
    Synced {
        /// From when on that is known, in milliseconds since the boot; 0 if it was never in doubt.
        since_ms: u64,
    },
}

impl Default for ClockState {
    fn default() -> Self {
        Self::Synced { since_ms: 0 }
    }
}

impl ClockState {
    /// Whether what the wall clock said at `moment` may be believed.
    #[must_use]
    pub fn covers(self, moment: Moment) -> bool {
        match self {
            Self::Unsynced => false,
            Self::Synced { since_ms } => since_ms <= moment.boot_ms && moment.wall.is_set(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_written_as_rfc_3339() {
        let t = Timestamp::from_unix_ms(1_795_230_600_123);
        assert_eq!(t.to_string(), "2026-11-21T03:10:00.123Z");
    }

    #[test]
    fn a_clock_stepped_back_gives_no_negative_age() {
        let (a, b) = (Timestamp::from_unix_ms(5_000), Timestamp::from_unix_ms(1_000));
        assert_eq!(b.since(a), Duration::ZERO);
    }

    #[test]
    fn the_far_future_does_not_panic() {
        assert!(Timestamp::from_unix_ms(u64::MAX).to_string().ends_with("ms"));
    }
}

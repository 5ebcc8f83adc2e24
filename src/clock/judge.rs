//! core: whether the wall clock may be believed, from the signs there are.

use std::time::Duration;

use super::settings::ClockTrust;
use crate::model::Timestamp;

/// How far the wall clock may be from the hardware clock and still have come from there: it drifts over years, and some
/// hardware clocks hold local time. One without a battery begins in 1970 or 2000 and is further away.
const RTC_MAX: Duration = Duration::from_secs(24 * 3600);

/// What the machine says of its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Signs {
    /// Whether the kernel calls it synchronised: NTP or PTP keeps it. `None` if the kernel cannot be asked.
    pub kernel: Option<bool>,
    /// What a hardware clock says, if there is one that says anything.
    pub rtc: Option<Timestamp>,
}

/// Whether `wall` may be believed. A clock from before 2020 never is.
#[must_use]
pub fn is_right(trust: ClockTrust, signs: Signs, wall: Timestamp) -> bool {
    let kept = signs
        .rtc
        .is_some_and(|rtc| rtc.is_set() && wall.since(rtc).max(rtc.since(wall)) <= RTC_MAX);
    wall.is_set()
        && match trust {
            ClockTrust::Trusted => true,
            ClockTrust::Kernel => signs.kernel == Some(true),
            // Where nobody can be asked, a clock that is set was set by somebody.
            ClockTrust::Auto => signs.kernel != Some(false) || kept,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_795_230_600_000);
    const DAYS_3: Duration = Duration::from_secs(3 * 86_400);

    fn auto(kernel: Option<bool>, rtc: Option<Timestamp>) -> bool {
        is_right(ClockTrust::Auto, Signs { kernel, rtc }, NOW)
    }

    #[test]
    fn a_board_without_a_battery_is_right_once_the_kernel_says_so() {
        assert!(!auto(Some(false), None));
        assert!(auto(Some(true), None));
    }

    #[test]
    fn a_box_with_a_battery_is_right_without_a_time_service() {
        assert!(auto(Some(false), Some(NOW)));
        // Local time, or a year of drift.
        assert!(auto(Some(false), Some(NOW.plus(Duration::from_secs(14 * 3600)))));
    }

    #[test]
    fn a_hardware_clock_that_lost_its_power_vouches_for_nothing() {
        let rtcs = [Timestamp::from_unix_ms(7_000), Timestamp::from_unix_ms(946_684_800_000)];
        assert!(rtcs.iter().all(|rtc| !auto(Some(false), Some(*rtc))));
        let moved_on = NOW.plus(DAYS_3);
        assert!(!auto(Some(false), Some(moved_on)), "the wall clock is the shutdown's");
    }

    #[test]
    fn where_the_kernel_cannot_be_asked_a_clock_that_is_set_is_believed() {
        assert!(auto(None, None));
        assert!(!is_right(ClockTrust::Kernel, Signs::default(), NOW));
    }

    #[test]
    fn the_operator_has_the_last_word_but_not_on_1970() {
        let signs = Signs { kernel: Some(false), rtc: None };
        assert!(is_right(ClockTrust::Trusted, signs, NOW));
        let signs = Signs { kernel: Some(true), rtc: None };
        let start = Timestamp::from_unix_ms(60_000);
        for trust in [ClockTrust::Auto, ClockTrust::Trusted, ClockTrust::Kernel] {
            assert!(!is_right(trust, signs, start));
        }
        let kept = Signs { kernel: Some(false), rtc: Some(NOW) };
        assert!(!is_right(ClockTrust::Kernel, kept, NOW));
    }
}

//! shell: reads the clocks, and asks the machine what it thinks of them.
#![allow(clippy::disallowed_methods, reason = "this shell reads the clocks and /sys")]

use std::fs;
use std::time::{Instant, SystemTime};

use rustix::time::{ClockId, clock_gettime};

use super::judge::Signs;
use crate::model::{Moment, Timestamp};

/// What all clocks say.
#[must_use]
pub fn now() -> Moment {
    let boot = clock_gettime(ClockId::Boottime);
    let (seconds, nanoseconds) = (u64::try_from(boot.tv_sec), u64::try_from(boot.tv_nsec));
    Moment {
        mono: Instant::now(),
        wall: SystemTime::now().into(),
        boot_ms: seconds.unwrap_or(0) * 1000 + nanoseconds.unwrap_or(0) / 1_000_000,
    }
}

/// What the machine says of its wall clock.
#[must_use]
pub fn signs() -> Signs {
    Signs { kernel: is_synchronised(), rtc: rtc() }
}

/// `None` if the kernel refuses to say: a filter of system calls does that.
#[allow(unsafe_code, reason = "no crate of ours wraps adjtimex")]
fn is_synchronised() -> Option<bool> {
    // SAFETY: a `timex` is made of numbers, for which zeros are valid. Its `modes` being zero, the kernel changes nothing and
    // only fills it in, and it is ours and large enough.
    let state = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        libc::adjtimex(&raw mut timex)
    };
    (state >= 0).then_some(state != libc::TIME_ERROR)
}

/// What the hardware clock says that has come furthest: one that lost its power is behind, or gives an error.
fn rtc() -> Option<Timestamp> {
    let clocks = fs::read_dir("/sys/class/rtc").ok()?;
    let times = clocks.filter_map(Result::ok).filter_map(|clock| {
        let seconds = fs::read_to_string(clock.path().join("since_epoch")).ok()?;
        let seconds: u64 = seconds.trim().parse().ok()?;
        Some(Timestamp::from_unix_ms(seconds.saturating_mul(1000)))
    });
    times.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_since_the_boot_goes_on_and_the_kernel_answers() {
        let (first, second) = (now(), now());
        assert!(first.boot_ms > 0 && first.boot_ms <= second.boot_ms);
        let uptime = fs::read_to_string("/proc/uptime").expect("Linux");
        let uptime: f64 = uptime.split(' ').next().and_then(|s| s.parse().ok()).expect("a number");
        let off = (uptime - std::time::Duration::from_millis(now().boot_ms).as_secs_f64()).abs();
        assert!(off < 60.0, "{off} s from /proc/uptime");
        // What it answers is the machine's.
        let _ = signs();
    }
}

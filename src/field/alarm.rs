//! shell: waits that end within microseconds: the silence between two frames is shorter than what the runtime's timer,
//! which counts whole milliseconds and is up to two of them late, would add to it.
#![allow(clippy::disallowed_methods, reason = "waits, and reads the clock to know how long")]

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::{Interest, unix::AsyncFd};
use tokio::time::sleep_until;

/// Waits for one moment at a time.
#[derive(Debug)]
pub(super) struct Alarm {
    /// `None` when the system has no file descriptor left for it.
    timer: Option<AsyncFd<OwnedFd>>,
}

impl Alarm {
    /// One that is set to nothing. Where the system gives no timer the runtime's has to do.
    pub(super) fn new() -> Self {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).ok();
        Self { timer: timer.and_then(|timer| watch(timer).ok()) }
    }

    /// Waits until `at`, and never ends before it. May be dropped and called again at any time; of two waits at once only
    /// the later call counts.
    pub(super) async fn wait_until(&self, at: Instant) {
        if self.wait_for_timer(at).await.is_err() {
            sleep_until(at.into()).await;
        }
    }

    async fn wait_for_timer(&self, at: Instant) -> io::Result<()> {
        let timer = self.timer.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        // A timer that is set to nothing would never go off.
        let Some(left) = at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
        else {
            return Ok(());
        };
        let left = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
        let once = Itimerspec { it_interval: Timespec::default(), it_value: left };
        timerfd_settime(timer, TimerfdTimerFlags::empty(), &once)?;
        // Setting it took back what an earlier wait has left behind: there is nothing to read before it goes off.
        let read = |timer: &OwnedFd| Ok(rustix::io::read(timer, &mut [0; 8])?);
        timer.async_io(Interest::READABLE, read).await.map(|_| ())
    }
}

#[allow(unsafe_code, reason = "the safe way is deprecated")]
fn watch(timer: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned, so it stays open and the same as long as the `AsyncFd` has it.
    let watched = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) };
    Ok(watched?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn no_wait_ends_early_however_the_one_before_it_ended() {
        let alarm = Alarm::new();
        assert!(alarm.timer.is_some());
        for micros in [0, 1, 300, 2_000] {
            // Gone off or not, a wait that was given up leaves nothing behind.
            let soon = Instant::now() + Duration::from_micros(50);
            tokio::select! {
                biased;
                () = tokio::task::yield_now() => {}
                () = alarm.wait_until(soon) => {}
            }
            while Instant::now() < soon {}
            tokio::task::yield_now().await;
            let at = Instant::now() + Duration::from_micros(micros);
            alarm.wait_until(at).await;
            assert!(Instant::now() >= at);
        }
    }

    #[tokio::test]
    async fn without_a_timer_of_its_own_it_waits_all_the_same() {
        let alarm = Alarm { timer: None };
        let at = Instant::now() + Duration::from_micros(300);
        alarm.wait_until(at).await;
        assert!(Instant::now() >= at);
    }
}

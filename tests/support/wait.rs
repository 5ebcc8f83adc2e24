//! shell: waits for conditions.

use std::thread;
use std::time::{Duration, Instant};

/// Enough for anything that happens at all, also on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Asks `condition` until it holds or `patience` is over. Returns whether it held.
pub fn wait_until_for(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        let begin = Instant::now();
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        // What is expensive to ask is asked seldom: whoever is waited for needs the machine.
        thread::sleep(Duration::from_millis(10).max(begin.elapsed() * 4));
    }
}

/// Asks `condition` until it holds.
///
/// # Panics
/// After [`DEADLINE`], with `what` did not come about.
#[track_caller]
pub fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    assert!(wait_until_for(DEADLINE, condition), "waited {DEADLINE:?} in vain: {what}");
}

//! shell: looks at the wall clock until it may be believed.
#![allow(clippy::disallowed_methods, reason = "this shell waits between two looks")]

use std::time::Duration;

use tracing::{info, warn};

use super::judge::is_right;
use super::kernel::{now, signs};
use super::settings::ClockTrust;
use crate::model::ClockState;

/// How often a clock that cannot be believed is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whether the wall clock may be believed at the start; says so if not.
#[must_use]
pub fn look(trust: ClockTrust) -> ClockState {
    let (now, signs) = (now(), signs());
    if signs.kernel.is_none() && trust != ClockTrust::Trusted {
        warn!("kernel does not say whether its clock is synchronised; adjtimex is forbidden");
    }
    if is_right(trust, signs, now.wall) {
        return ClockState::default();
    }
    warn!(
        clock = %now.wall,
        "clock is not synchronised; readings are marked until it is (gateway.clock says whom to believe)"
    );
    ClockState::Unsynced
}

/// Waits until the wall clock may be believed. From then on it is, until the program ends: the kernel takes its word back
/// after hours without a time server, when the clock has drifted by less than a second.
pub async fn synchronised(trust: ClockTrust) -> ClockState {
    let begin = now();
    loop {
        let (now, signs) = (now(), signs());
        if is_right(trust, signs, now.wall) {
            let expected = begin.wall.plus(Duration::from_millis(now.boot_ms - begin.boot_ms));
            let (ahead, back) = (now.wall.since(expected), expected.since(now.wall));
            let sign = if back > ahead { "-" } else { "+" };
            let step = format_args!("{sign}{:.1}s", ahead.max(back).as_secs_f64());
            info!(clock = %now.wall, %step, "clock synchronised");
            return ClockState::Synced { since_ms: now.boot_ms };
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

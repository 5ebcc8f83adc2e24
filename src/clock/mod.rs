//! The clocks of the machine, and whether the one on the wall may be believed.
//!
//! Boards without a clock battery start in 1970, or at the time of their last shutdown, until somebody tells them the time.
//! Knows the kernel's flag and the hardware clock. Does not know what is done about a clock that cannot be believed: the
//! readings taken by it are marked in `payload` and set right in `hub`.

mod judge;
mod kernel;
mod settings;
mod watch;

pub use judge::{Signs, is_right};
pub use kernel::{now, signs};
pub use settings::ClockTrust;
pub use watch::{look, synchronised};

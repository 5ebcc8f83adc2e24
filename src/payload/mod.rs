//! What a reading looks like on its way, and the short stretch of road that gives it that look.
//!
//! Knows topics, JSON and the ids of readings. Does not know who wants them: that is the hub's.

mod drops;
mod number;
mod publisher;
mod retouch;
mod task;
mod topics;

pub use drops::drops_payload;
pub use publisher::{Publisher, payload, push_text, push_value};
pub use retouch::retouch;
pub use task::carry;

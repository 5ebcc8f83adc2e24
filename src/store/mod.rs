//! The only place that opens SQLite: schema, migrations, commit, settle, bounds.
//!
//! Knows rows. Does not know connections, topics' meaning or which packet is sent next.

mod settings;

pub use settings::{QueueSettings, WhenFull};

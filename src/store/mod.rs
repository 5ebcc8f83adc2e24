//! The only place that opens SQLite: schema, migrations, commit, settle, bounds.
//!
//! One thread owns the one connection. The hub hands it batches of changes, one at a time; what arrives while a batch is
//! being committed joins the next. Knows rows. Does not know connections, what topics mean or which packet is sent
//! next.

mod change;
mod database;
mod frame;
mod layers;
mod overlay;
mod read;
mod row;
mod schema;
mod selection;
mod settings;
mod slice;
mod staged;
mod stopped;
mod task;
mod verify;

pub use change::{
    Change, Committed, Phase, SessionId, SessionOwner, Snapshot, StoredFlight, StoredMessage,
    StoredSession, Target, Trimmed,
};
pub use database::{FILE_NAME, StoreError};
pub use row::RowError;
pub use selection::{Purged, PurgedSession, Selection, Waiting};
pub use settings::{QueueSettings, Staging, WhenFull};
pub use slice::{DamagedRow, Slice};
pub use staged::noted_runtime_dir;
pub use stopped::StoppedStore;
pub use task::{Store, StoreCommand, StoreEvent};
pub use verify::Damage;

//! The only place that opens SQLite: schema, migrations, commit, settle, bounds.
//!
//! One thread owns the one connection. The hub hands it batches of changes, one at a time; what arrives while a batch is
//! being committed joins the next. Knows rows, and the runs of messages in them. Does not know connections, what topics
//! mean or which packet is sent next. `disk` is a disk in memory to prove it on, `DirectStore` the store without its
//! thread.

mod bounds;
mod change;
mod checksum;
mod damage;
mod database;
mod direct;
pub mod disk;
mod error;
mod frame;
mod gather;
mod gone;
mod layers;
mod migrate;
mod open;
mod overlay;
mod read;
mod reserve;
mod row;
mod runtime_lock;
mod salvage;
mod schema;
mod segment;
mod segments;
mod selection;
mod settings;
mod slice;
mod staged;
mod stopped;
mod task;
mod thinning;
mod verify;

pub use change::{
    Change, Committed, DropCount, DropReason, Phase, SessionId, SessionOwner, Snapshot,
    StoredFlight, StoredMessage, StoredSession, StoredWill, Target, Trimmed,
};
pub use database::FILE_NAME;
pub use direct::DirectStore;
pub use error::StoreError;
pub use row::RowError;
pub use selection::{Purged, PurgedSession, Selection, Waiting};
pub use settings::{QueueSettings, Staging, WhenFull};
pub use slice::{DamagedSegment, Slice};
pub use staged::noted_runtime_dir;
pub use stopped::StoppedStore;
pub use task::{Store, StoreCommand, StoreEvent};
pub use verify::Damage;

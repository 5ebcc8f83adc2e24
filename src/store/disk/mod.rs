//! A disk in memory under SQLite, for proving what a power cut costs: it records every write, truncate, sync, create and
//! delete, tells how it may look after a cut at any of them, and fails when it is told to.
//!
//! `platter` knows what a disk promises and what it does not, `recorder` keeps the files and their record, `fault` what
//! goes wrong; `vfs` hangs them under SQLite. Nothing here knows rows, batches or messages. A gateway runs on SQLite's
//! own file system layer and never comes here.

mod fault;
mod operation;
mod platter;
mod recorder;
mod vfs;

pub use fault::Fault;
pub use operation::{Act, Class, Operation, Role};
pub use platter::{Image, Platter};
pub use vfs::Disk;
pub(super) use vfs::VFS_NAME;

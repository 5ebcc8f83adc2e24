//! Proves what a power cut costs: the real engine and the real store on a disk that records every write, cut at
//! operation after operation.
//!
//! `world` is the gateway between `publisher` and `upstream`, which keep their word whatever happens to it; `ledger` is
//! who was promised what; `run` lets random traffic pass, cuts, starts the gateway on what a disk may look like then, and
//! asks the ledger. Everything is drawn from one seed.

mod figures;
mod ledger;
mod payload;
mod publisher;
mod run;
mod runtime;
mod upstream;
mod world;

pub use figures::PowercutFigures;
pub use run::{PowercutOptions, powercut};

//! Requests to write: what LAN clients and upstreams publish under `…/set`, on its way to a device, and what became of it
//! on its way back.
//!
//! [`request`] reads topic and payload, [`order`] holds them against the configuration, [`writing`] is one point's way through look, write and read-back, [`answer`] is the
//! result as JSON, [`book`] knows which requests were taken before. The shells `journal` (its file) and `task` wait.
//!
//! Knows topics, payloads and which points may be written. Does not know frames, nor who may publish: the rules of the
//! broker were asked before.

pub mod answer;
pub mod book;
mod journal;
pub mod order;
pub mod request;
mod task;
pub mod writing;

pub use task::{CommandSettings, Commands};

//! Fieldpost: from a register on a wire to an acknowledged message upstream.
//!
//! The map of the house; `ARCHITECTURE.md` tells the road of a reading through it.

pub mod access;
pub mod app;
pub mod backoff;
pub mod bench;
pub mod broker;
pub mod cli;
pub mod client;
pub mod clock;
pub mod command;
pub mod commission;
pub mod config;
pub mod control;
pub mod demo;
pub mod field;
pub mod hub;
pub mod import;
pub mod keep_alive;
pub mod model;
pub mod mqtt;
pub mod payload;
pub mod quiet;
pub mod service;
pub mod step;
pub mod store;
pub mod tls;
pub mod uplink;

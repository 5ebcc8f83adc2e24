//! `fieldpost sub` and `fieldpost pub` with a real mosquitto between them and mosquitto's own clients.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test touches the machine, and a failure in it is its answer"
)]

#[path = "../support/mod.rs"]
mod support;

mod client;
mod import;
mod options;
mod publish;
mod subscribe;
mod tls;

//! What the broker shows of itself: `$SYS`, `fieldpost clients` and the log, on the gateway as a process, with mosquitto's
//! clients and mosquitto beside it.
#![allow(
    dead_code,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    clippy::needless_pass_by_value,
    missing_docs,
    unreachable_pub,
    reason = "tests touch the machine, and a failure here fails the test"
)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../broker/client.rs"]
mod client;

#[path = "../access/broker.rs"]
mod broker;

mod bounds;
mod clients;
mod log;
mod sys;

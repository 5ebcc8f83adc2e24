//! Who may enter the broker and who may do what: the gateway as a process, files written by mosquitto's own tools, and
//! mosquitto beside it with the same files.
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

mod broker;
mod mosquitto;
mod passwd;
mod reload;
mod rules;
mod users;

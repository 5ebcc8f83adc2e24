//! The ways into the broker: each kind of listener with clients that are not ours, what a client may be, and what happens at
//! each bound before MQTT begins. The program itself runs: `fieldpost broker`, or `fieldpost run` where a bound is written.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    unreachable_pub,
    reason = "tests touch the machine, and a failure here fails the test"
)]

#[path = "../support/mod.rs"]
mod support;

mod bounds;
mod certificates;
mod command;
mod pki;
mod stage;
mod unix;
mod ways;
mod websocket;

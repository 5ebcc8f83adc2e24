//! Uplinks as bridges: real brokers and gateways beside one another, rules both ways, and nothing that goes round.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    unreachable_pub,
    reason = "tests touch the machine, and a failure here fails the test"
)]

#[path = "../support/mod.rs"]
mod support;

mod circles;
mod failover;
mod gateway;
mod rules;
mod start;

//! What a running gateway shows of its buses to whoever asks: what passed on them, how they are doing, and the words.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::cast_possible_truncation,
    unreachable_pub,
    reason = "tests touch the machine, and a failure here fails the test"
)]

#[path = "../support/mod.rs"]
mod support;

mod frames;
mod stage;
mod status;
mod words;

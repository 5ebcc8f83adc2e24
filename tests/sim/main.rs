//! The session engine against a model of everything around it: a store that forgets what was not committed, peers whose
//! connections end at any packet and who may forget their sessions, a program that is killed between any two steps.
//!
//! `random` draws the steps from a seed, prints it when something breaks, and replays it from `SIM_SEED`; `cases` tells
//! single stories.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    unreachable_pub,
    reason = "a failure here fails the test"
)]

mod cases;
mod clients;
mod clock;
mod peer;
mod random;
mod rules;
mod state;
mod world;

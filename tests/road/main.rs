//! The whole road, end to end: devices by pymodbus and libmodbus at one end, mosquitto with paho and mosquitto_sub at the
//! other, the gateway as its own process in between, and everything that may go wrong on the way.
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

mod clock;
mod commission;
mod counting;
mod disk;
mod kill;
mod lan;
mod lines;
mod neighbours;
mod outage;
mod queue;
mod reading;
mod registers;
mod rules;
mod service;
mod status;
mod tls;
mod tshark;
mod values;
mod writes;

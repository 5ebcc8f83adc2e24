//! The dial-in broker over loopback: our listener and hub in this process, a state directory of its own, spoken to packet
//! by packet, byte by byte, and by clients that are not ours. Dialogues run for 3.1.1 and 5.0 where both can say them.
#![allow(
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

#[path = "../malformed/mod.rs"]
mod malformed;
#[path = "../support/mod.rs"]
mod support;

mod client;
mod connect;
mod gateway;
mod hostile;
mod limits;
mod misplaced;
mod peers;
mod publish;
mod refused;
mod retain;
mod rules;
mod session;
mod share;
mod slow;
mod spoken;
mod subscribe;
mod tshark;
mod will;

//! Packets that break MQTT 3.1, 3.1.1 or 5.0 in their own bytes. The codec's tests say that each is refused and why; the
//! broker's tests send each to a running broker and look at what it does.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    reason = "each test binary uses its own part of this"
)]

pub mod connack;
pub mod connect;
pub mod disconnect;
pub mod header;
pub mod notation;
pub mod properties;
pub mod publish;
pub mod subscribe;

use notation::Row;

/// Every table with its name.
pub const TABLES: &[(&str, &[Row])] = &[
    ("header", header::MALFORMED),
    ("connect", connect::MALFORMED),
    ("connack", connack::MALFORMED),
    ("publish", publish::MALFORMED),
    ("subscribe", subscribe::MALFORMED),
    ("disconnect", disconnect::MALFORMED),
    ("properties", properties::MALFORMED),
];

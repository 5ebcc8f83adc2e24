//! Modbus on the wire: questions, frames, answers, what they mean, and which questions to ask.
//!
//! Everything here is a core. [`pdu`] knows what a read looks like, [`rtu`] and [`mbap`] wrap it for a serial line and
//! for TCP, [`link`] runs one transaction at a time over either and says why one failed ([`transaction`]), [`late`]
//! keeps an answer to an older question from being taken for a younger one, [`plan`] makes few reads out of many
//! points within what a device is [`known`] to allow, and [`decode`] turns words into values.
//!
//! [`server`] is the other side, for devices that are simulated.
//!
//! Nothing here knows ports, sockets, schedules or names of devices.

pub mod decode;
pub mod known;
pub mod late;
pub mod link;
pub mod mbap;
pub mod pdu;
pub mod plan;
pub mod rtu;
pub mod server;
pub mod transaction;

//! Modbus on the wire: questions, frames, answers, what they mean, and which questions to ask.
//!
//! Everything here is a core. [`pdu`] knows what a read looks like, [`mod@write`] what a write does, [`exchange`] what does
//! both, [`file_record`], [`fifo`] and [`identity`] the rarer functions; a [`query`] is one of them.
//! [`rtu`] and [`ascii`] wrap it in frames that carry no
//! number, [`mbap`] in such that do. [`receiver`] finds the answer to a question among frames without a number, [`link`]
//! runs one transaction at a time over them, [`numbered`] runs several where frames have numbers, and [`wire`] is either
//! of them. [`transaction`] says why one failed, [`late`] keeps an answer to an older question from being taken for a
//! younger one, [`plan`] makes few reads out of many points within what a device is [`known`] to allow, [`decode`]
//! turns words into values, and [`encode`] values into words.
//!
//! [`server`] is the other side, for devices that are simulated.
//!
//! Nothing here knows ports, sockets, schedules or names of devices.

pub mod ascii;
pub mod decode;
pub mod encode;
pub mod exchange;
pub mod fifo;
pub mod file_record;
pub mod identity;
pub mod known;
pub mod late;
mod length;
pub mod link;
pub mod mbap;
pub mod numbered;
pub mod pdu;
pub mod plan;
pub mod query;
pub mod receiver;
pub mod rtu;
pub mod server;
pub mod transaction;
pub mod wire;
pub mod write;

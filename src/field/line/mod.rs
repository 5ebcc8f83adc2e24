//! Plain serial lines: devices that speak frames of their own, by themselves or when they are asked.
//!
//! A [`Line`] is one task that owns one port. What it does is decided by cores: where a frame begins and ends
//! ([`framer`]), whether it is as it was sent ([`checksum`]), which values stand in it ([`parser`]), and whom to ask when, who is
//! silent and what is told of it (`talk`), and which answer may still come to an older question (`owed`). Health, news and what points are made of are those of any bus.
//!
//! Does not know Modbus, topics, the store or the configuration file.

pub mod checksum;
pub mod framer;
mod owed;
pub mod parser;
mod talk;
mod task;

pub use task::Line;

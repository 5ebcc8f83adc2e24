//! `fieldpost read`, `write` and what they have in common with each other: how a bus is named on the command line, and how
//! it is reached.

mod bus_args;
mod identify;
mod read;
mod snippet;
mod table;
mod write;

pub use bus_args::{BusArgs, Station};
pub use read::{ReadArgs, read};
pub use write::{WriteArgs, write};

use crate::field::modbus::transaction::Failure;

/// What helps if a gateway holds the port.
const IF_GATEWAY: &str = "if that is a gateway, add `--config FILE` with its configuration: it asks for you then, and nothing need be stopped";

/// What the room `field` says of a port that somebody else has.
const HELD_BY: &str = " is held by ";

/// Whether somebody else has the port.
fn is_held(failure: &Failure) -> bool {
    matches!(failure, Failure::NotAsked { reason } if reason.contains(HELD_BY))
}

/// An address as manuals write them: decimal, or hexadecimal with `0x`.
fn address(text: &str) -> Result<u32, String> {
    let read = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(digits) if !digits.starts_with('+') => u32::from_str_radix(digits, 16),
        _ => text.parse(),
    };
    read.map_err(|_| "write a number from 0 on, such as 100 or 0x0064".to_owned())
}

/// Says something that is no result.
fn say(text: &str) {
    eprintln!("fieldpost: {text}");
}

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

/// Says something that is no result.
fn say(text: &str) {
    eprintln!("fieldpost: {text}");
}

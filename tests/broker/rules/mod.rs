//! Statements of the specifications that no other test shows, each as a conversation byte by byte. The list of all of
//! them is `tests/normative/checklist.md`. An empty property section, `()`, stands in the bytes of 5.0 only.

mod acknowledge;
mod alias;
mod connect;
mod order;
mod retain;
mod share;
mod subscribe;
mod will;

use fieldpost::mqtt::Version;

use crate::client::{Client, connect, persistent};
use crate::gateway::Gateway;

/// A client whose session ends with its connection.
#[track_caller]
fn enter(gateway: &Gateway, version: Version, name: &str) -> Client {
    Client::connect(gateway.port, connect(version, name)).0
}

/// A client whose session stays.
#[track_caller]
fn stay(gateway: &Gateway, version: Version, name: &str) -> Client {
    Client::connect(gateway.port, persistent(version, name)).0
}

//! What the integration tests share: processes that end with their test, brokers, devices, serial lines, a site.
//!
//! Everything waits for a condition with a deadline; nothing sleeps to let something happen. Ports, directories and
//! lines are each test's own, so tests run beside one another.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "each test binary uses its own part of this, and a failure here fails the test"
)]

mod authority;
mod broker;
mod capture;
mod device;
mod line;
pub mod pcap;
mod peers;
mod process;
mod proxy;
mod site;
mod subscriber;
mod wait;
pub mod wire;

pub use authority::Authority;
pub use broker::{Mosquitto, free_port};
pub use capture::Capture;
pub use device::{Bank, ModbusServer};
pub use line::{Line, pty_pair};
pub use peers::{find, modules, peers_missing, program, require_peers, script, top};
pub use process::Process;
pub use proxy::Proxy;
pub use site::{Fieldpost, Site};
pub use subscriber::{Received, Subscriber, mosquitto_pub, mosquitto_sub};
pub use wait::{DEADLINE, wait_until, wait_until_for};

//! `fieldpost demo`: the main job with nothing else installed, in one process, with its outcome counted at the far end.
//!
//! ```text
//! bank ─ line (a pseudo-terminal, 9600 baud) ─┐
//!                                             ├─ the gateway of `app` ─ MQTT over TCP ─ upstream (a second hub) ─ ledger
//! bank ─ tcp ─────────────────────────────────┘
//! ```
//!
//! Cores: [`bank`] what a simulated device says at a time, [`pace`] when a byte is through a wire, [`ledger`] what
//! arrived upstream and how often, [`script`] when the upstream is cut, [`table`] and [`summary`] what is shown of it.
//! Shells: `line` and `tcp` let banks answer, `upstream` is a broker that can be cut, `stage` builds it all and `play`
//! runs it, `screen` owns standard output, `scratch` a directory for the time of the run.
//!
//! The gateway is an ordinary one: started from a YAML text, told nothing of the demo. Nothing here knows packet ids,
//! rows or schedules.

pub mod bank;
pub mod ledger;
pub(crate) mod line;
pub mod pace;
mod play;
pub(crate) mod scratch;
mod screen;
pub mod script;
mod stage;
pub mod summary;
pub mod table;
pub(crate) mod tcp;
pub(crate) mod upstream;
pub(crate) mod witness;

pub use play::{Options, Show, play};
pub use stage::show_config;

//! What the operator wrote, what is wrong with it, and what the program runs on.
//!
//! Two types for everything: as written (text with its place in the file) and as run (`Settings`, each room's own
//! option structs). No room knows this one; it opens no port "just to check".

mod settings;

pub use settings::{GatewaySettings, LogSettings, Settings};

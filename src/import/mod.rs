//! Moving in: a `mosquitto.conf` becomes our YAML, and each line that could not be carried over is named.
//!
//! Knows mosquitto's options and the keys of our configuration as text. Does not know the rooms those keys are for: whether
//! the text is right is for `config` to say.

mod bridge;
mod conf;
mod directive;
mod listener;
mod load;
mod not_carried;
mod yaml;

pub use conf::{Imported, Note, import};
pub use directive::{Directive, Place, directives};
pub use load::{LoadError, load};

//! What the operator wrote, what is wrong with it, and what the program runs on.
//!
//! Two types for everything: as written (`File`, `Bus`, `Device`, `Point`, `Uplink`: values with their place in the
//! file) and as run ([`Settings`], each room's own option structs). The road between them:
//!
//! 1. `tree` reads the YAML so that every key and value knows its place; `syntax` has the words when it is none.
//! 2. `fields` reads groups key by key: kinds of values, units, ranges, keys that nobody knows.
//! 3. `bus` (with `bus_kind` and `bus_tls`, `line_frame` and `line_checksum`), `device`, `allowed`, `point`, `uplink`, `rule`, `broker`, `listener` and `file` hold what is written; their `settle` applies defaults and
//!    checks what concerns more than one key.
//!
//! What a device takes from a `template` is laid under its keys between 1 and 2, so nobody behind knows of it; a template's text
//! stands behind the file's in `source`, and its complaints name its file.
//!
//! Nothing stops at the first complaint: all of them go into `notes`, and settings come out only without an error.
//! Secrets are named in the file and fetched through [`SecretSource`]; what may be a secret is hidden in every excerpt.
//!
//! No room knows this one. It opens no port "just to check"; `load`, `system_secrets` and the folder of templates are its only shells.

mod access;
mod allowed;
mod bridge;
mod broker;
mod bus;
mod bus_kind;
mod bus_tls;
mod bytes;
mod complaint;
mod device;
mod endpoint;
mod expression;
mod fields;
mod file;
mod format;
mod limits;
mod line_checksum;
mod line_frame;
mod listener;
mod load;
mod log_level;
mod marker;
mod name;
mod names;
mod notes;
mod parse;
mod point;
mod quantity;
mod reach;
mod report;
mod rule;
mod secret;
mod settings;
mod source;
mod syntax;
mod system_secrets;
mod template;
mod tree;
mod uplink;
mod url;
mod value_type;
mod writable;

pub use complaint::{Complaint, Complaints, Severity};
pub(crate) use endpoint::Endpoint;
pub use load::load;
pub use parse::{Parsed, parse};
pub use secret::{SecretAnswer, SecretReference, SecretSource};
pub use settings::{GatewaySettings, LogSettings, Settings};
pub use system_secrets::SystemSecrets;
pub use template::{
    NoTemplates, TemplateAnswer, TemplateCard, TemplateFolder, TemplateOrigin, TemplateParameter,
    TemplateSource, TemplateUse, templates,
};

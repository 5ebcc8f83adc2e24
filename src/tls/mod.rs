//! TLS towards a broker or a device: which authorities are trusted, which certificate is shown, what a failed handshake means.
//!
//! Knows certificates and the files they lie in. Does not know MQTT and Modbus, nor who dials and why.

mod connector;
mod explain;
mod settings;
mod verifier;

pub use connector::{TlsError, connector, server_name};
pub use explain::{Far, explain};
pub use settings::{ClientCertificate, TlsSettings};

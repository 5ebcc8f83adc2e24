//! core: which certificates TLS is run with.

use std::path::PathBuf;

/// TLS towards a broker or a device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsSettings {
    /// A PEM file of the authorities to trust instead of the system's, or a directory of such files.
    pub ca: Option<PathBuf>,
    /// PEM files of our certificate chain and its key.
    pub client: Option<ClientCertificate>,
    /// Take a certificate that an authority signed for another host. Whoever has one can then stand in between.
    pub any_name: bool,
}

/// Our certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// PEM file of the chain, ours first.
    pub certificate: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
}

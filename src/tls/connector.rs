//! shell: what TLS towards a broker needs from the disk: authorities to trust, our certificate, our key.
#![allow(clippy::disallowed_methods, reason = "this shell reads PEM files")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{
    CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName,
};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

use super::settings::TlsSettings;
use super::verifier::BrokerVerifier;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be read or holds nothing of use.
    #[error("{}: {problem}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The system has no authorities to trust.
    #[error("no trusted authorities on this system; install ca-certificates or set `ca`")]
    NoAuthorities,
    /// Certificate and key do not go together, or rustls refuses them.
    #[error("client certificate and key: {0}")]
    Client(tokio_rustls::rustls::Error),
    /// The versions of TLS that are wanted are not there.
    #[error("TLS: {0}")]
    Setup(tokio_rustls::rustls::Error),
    /// The host is neither a DNS name nor an address.
    #[error("`{host}` cannot be verified: {source}")]
    Host {
        /// As configured.
        host: Arc<str>,
        /// Why.
        source: InvalidDnsNameError,
    },
}

/// Reads the files and makes a connector that verifies the other side's certificate.
///
/// # Errors
/// [`TlsError`] names the file.
pub fn connector(settings: &TlsSettings) -> Result<TlsConnector, TlsError> {
    let (mut roots, mut named) = (RootCertStore::empty(), Vec::new());
    match &settings.ca {
        Some(path) => {
            for path in authority_files(path)? {
                for certificate in certificates(&path)? {
                    roots.add(certificate.clone()).map_err(|error| file_error(&path, &error))?;
                    named.push(certificate);
                }
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(TlsError::NoAuthorities);
    }
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?;
    let verifier = BrokerVerifier::new(roots, named, settings.any_name, provider);
    let verifier = Arc::new(verifier.map_err(TlsError::Setup)?);
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let config = match &settings.client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let key = PrivateKeyDer::from_pem_file(&client.key)
                .map_err(|error| file_error(&client.key, &error))?;
            builder
                .with_client_auth_cert(certificates(&client.certificate)?, key)
                .map_err(TlsError::Client)?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The name the other side's certificate must hold.
///
/// # Errors
/// [`TlsError::Host`].
pub fn server_name(host: &Arc<str>) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(host.to_string())
        .map_err(|source| TlsError::Host { host: host.clone(), source })
}

/// The file itself, or each file of a directory whose name ends in `.crt` or `.pem`.
fn authority_files(path: &Path) -> Result<Vec<PathBuf>, TlsError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|error| file_error(path, &error))?;
    let files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| file.extension().is_some_and(|end| end == "crt" || end == "pem"))
        .collect();
    if files.is_empty() {
        let problem = "no file in this directory ends in `.crt` or `.pem`";
        return Err(file_error(path, &problem));
    }
    Ok(files)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| file_error(path, &error))?;
    if certificates.is_empty() {
        return Err(file_error(path, &"there is no certificate in this file"));
    }
    Ok(certificates)
}

fn file_error(path: &Path, problem: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), problem: problem.to_string() }
}

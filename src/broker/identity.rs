//! shell: what TLS of a listener needs from the disk: certificate, key, the authority of clients; read again when they change.
#![allow(
    clippy::disallowed_methods,
    reason = "this shell reads PEM files and when they were changed"
)]

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig, crypto::ring};

use super::certificate;
use super::settings::{ClientCa, ListenerTls};

/// Why a listener has no TLS.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A PEM file cannot be read or holds nothing of use.
    #[error("{}: {problem}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and what to do about it.
        problem: String,
    },
    /// Certificate and key do not go together.
    #[error(
        "{}: this key does not belong to the certificate in {}; both must come from the same issue",
        key.display(), certificate.display()
    )]
    Pair {
        /// The file with the certificate.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
    /// The versions of TLS that are wanted are not there.
    #[error("TLS: {0}")]
    Setup(#[from] rustls::Error),
}

/// When a file was changed last and which file it was; `None` if it cannot be looked at.
type Stamp = Option<(i64, i64, u64, u64)>;

/// A listener's certificate, kept as fresh as its files.
#[derive(Debug)]
pub(super) struct Identity {
    settings: ListenerTls,
    config: Arc<ServerConfig>,
    valid_until: u64,
    /// Of the files that were read last, whether they were of use or not.
    read: Vec<Stamp>,
    /// Of the files as they were looked at last.
    seen: Vec<Stamp>,
}

impl Identity {
    /// Reads the files.
    ///
    /// # Errors
    /// [`IdentityError`] names the file.
    pub(super) fn read(settings: &ListenerTls) -> Result<Self, IdentityError> {
        let read = stamps(settings);
        let (config, valid_until) = config(settings)?;
        Ok(Self { settings: settings.clone(), config, valid_until, seen: read.clone(), read })
    }

    /// What the next connection is greeted with.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// Looks whether the files have changed, and reads them if they have and lie still: a certificate and its key are not
    /// replaced in one step. `None` if there is nothing new.
    ///
    /// # Errors
    /// [`IdentityError`] names the file; what was read before stays in use.
    pub(super) fn look(&mut self) -> Option<Result<(), IdentityError>> {
        let seen = stamps(&self.settings);
        let lies_still = seen == self.seen;
        self.seen = seen;
        (lies_still && self.seen != self.read).then(|| self.read_again())
    }

    /// Reads the files, changed or not.
    ///
    /// # Errors
    /// [`IdentityError`] names the file; what was read before stays in use.
    pub(super) fn read_again(&mut self) -> Result<(), IdentityError> {
        self.seen = stamps(&self.settings);
        self.read.clone_from(&self.seen);
        (self.config, self.valid_until) = config(&self.settings)?;
        Ok(())
    }

    /// The last second in which the certificate is valid, since 1970.
    pub(super) fn valid_until(&self) -> u64 {
        self.valid_until
    }

    /// The file with the certificate.
    pub(super) fn path(&self) -> &Path {
        &self.settings.certificate
    }
}

fn stamps(settings: &ListenerTls) -> Vec<Stamp> {
    let client_ca = settings.client_ca.as_ref().map(|client_ca| &client_ca.path);
    let paths = [&settings.certificate, &settings.key].into_iter().chain(client_ca);
    let stamp = |path: &PathBuf| {
        let data = fs::metadata(path).ok()?;
        Some((data.mtime(), data.mtime_nsec(), data.size(), data.ino()))
    };
    paths.map(stamp).collect()
}

fn config(settings: &ListenerTls) -> Result<(Arc<ServerConfig>, u64), IdentityError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(ClientCa { path, required }) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| file_error(path, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if *required { verifier } else { verifier.allow_unauthenticated() };
            let verifier = verifier.build().map_err(|error| file_error(path, &error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = certificates(&settings.certificate)?;
    let valid_until = chain.first().map_or(Ok(0), |own| certificate::valid_until(own));
    let valid_until = valid_until.map_err(|error| file_error(&settings.certificate, &error))?;
    let key = PrivateKeyDer::from_pem_file(&settings.key).map_err(|error| {
        if matches!(error, PemError::NoItemsFound) {
            let problem = "there is no private key in this file; one with a password must be written without it";
            file_error(&settings.key, &problem)
        } else {
            file_error(&settings.key, &words(&error))
        }
    })?;
    let config = builder.with_single_cert(chain, key).map_err(|error| {
        if matches!(error, rustls::Error::InconsistentKeys(_)) {
            let (certificate, key) = (settings.certificate.clone(), settings.key.clone());
            IdentityError::Pair { certificate, key }
        } else {
            let problem = format!(
                "this key cannot be used ({error}); make one of RSA with 2048 to 4096 bits, ECDSA P-256 or P-384, or Ed25519"
            );
            file_error(&settings.key, &problem)
        }
    })?;
    Ok((Arc::new(config), valid_until))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| file_error(path, &words(&error)))?;
    if certificates.is_empty() {
        return Err(file_error(path, &"there is no certificate in this file"));
    }
    Ok(certificates)
}

/// The system's own words where it has some.
fn words(error: &PemError) -> String {
    if let PemError::Io(error) = error {
        return format!(
            "this file cannot be read: {error}; the user of the service must be allowed to"
        );
    }
    format!("this is no PEM file: {error}")
}

fn file_error(path: &Path, problem: &dyn std::fmt::Display) -> IdentityError {
    IdentityError::File { path: path.to_owned(), problem: problem.to_string() }
}

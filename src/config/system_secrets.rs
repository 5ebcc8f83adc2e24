//! shell: fetches secrets from this machine: systemd credentials, environment variables, files.
#![allow(
    clippy::disallowed_methods,
    reason = "this shell reads the environment and the files secrets are in"
)]

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::complaint::Severity;
use super::secret::{SecretAnswer, SecretReference, SecretSource};
use crate::model::Secret;

/// Bytes a secret may have: what an MQTT password may (MQTT 5.0 section 3.1.3.6).
const SECRET_BYTES_MAX: usize = 65_535;

/// The secrets of this machine.
#[derive(Debug, Clone, Copy)]
pub struct SystemSecrets {
    absent: Severity,
}

impl SystemSecrets {
    /// For a run: a secret that is not there is an error.
    #[must_use]
    pub fn for_run() -> Self {
        Self { absent: Severity::Error }
    }

    /// For a check, which may happen on another machine: a secret that is not there is a warning.
    #[must_use]
    pub fn for_check() -> Self {
        Self { absent: Severity::Warning }
    }

    fn absent(self, message: String, remedy: String) -> SecretAnswer {
        SecretAnswer::Absent { severity: self.absent, message, remedy }
    }

    fn credential(self, name: &str) -> SecretAnswer {
        let remedy = format!("put `LoadCredential={name}:/etc/fieldpost/{name}` into the service");
        let Some(directory) = std::env::var_os("CREDENTIALS_DIRECTORY") else {
            let message = format!(
                "the credential `{name}` is not here: systemd hands credentials only to its services"
            );
            return self.absent(message, remedy);
        };
        match std::fs::read(Path::new(&directory).join(name)) {
            Ok(bytes) => self.usable(&bytes, &format!("the credential `{name}`")),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.absent(format!("systemd hands over no credential `{name}`"), remedy)
            }
            Err(error) => {
                self.absent(format!("the credential `{name}` cannot be read: {error}"), remedy)
            }
        }
    }

    fn env(self, name: &str) -> SecretAnswer {
        match std::env::var(name) {
            Ok(text) => self.usable(text.as_bytes(), &format!("the environment variable `{name}`")),
            Err(std::env::VarError::NotPresent) => {
                let remedy = format!(
                    "set it for the service, for example with `EnvironmentFile=` and a line `{name}=…`"
                );
                self.absent(format!("the environment variable `{name}` is not set"), remedy)
            }
            Err(std::env::VarError::NotUnicode(_)) => {
                let message = format!("the environment variable `{name}` is not UTF-8 text");
                self.absent(message, "set it to UTF-8 text".to_owned())
            }
        }
    }

    fn file(self, path: &Path) -> SecretAnswer {
        let shown = path.display();
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let remedy =
                    format!("create it, readable for the service only (`chmod 600 {shown}`)");
                return self.absent(format!("the secret file `{shown}` does not exist"), remedy);
            }
            Err(error) => {
                let remedy = "let the user of the service own it, or use a credential".to_owned();
                return self
                    .absent(format!("the secret file `{shown}` cannot be read: {error}"), remedy);
            }
        };
        let answer = self.usable(&bytes, &format!("the secret file `{shown}`"));
        let SecretAnswer::Found(secret) = answer else { return answer };
        let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.mode());
        if mode & 0o044 == 0 {
            return SecretAnswer::Found(secret);
        }
        let readers = if mode & 0o004 == 0 { "its group" } else { "everybody" };
        SecretAnswer::Doubtful {
            secret,
            message: format!("the secret file `{shown}` can be read by {readers}"),
            remedy: format!("chmod 600 {shown}"),
        }
    }

    /// Trims one line break and checks what is left.
    fn usable(self, bytes: &[u8], what: &str) -> SecretAnswer {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        if bytes.is_empty() {
            return self.absent(format!("{what} is empty"), "put the secret there".to_owned());
        }
        if bytes.len() > SECRET_BYTES_MAX {
            let message = format!("{what} holds more than {SECRET_BYTES_MAX} bytes");
            return self.absent(message, "an MQTT password is no longer than that".to_owned());
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => SecretAnswer::Found(Secret::new(text)),
            Err(_) => {
                self.absent(format!("{what} is not UTF-8 text"), "save it as UTF-8".to_owned())
            }
        }
    }
}

impl SecretSource for SystemSecrets {
    fn secret(&self, reference: &SecretReference) -> SecretAnswer {
        match reference {
            SecretReference::Credential(name) => self.credential(name),
            SecretReference::Env(name) => self.env(name),
            SecretReference::File(path) => self.file(path),
        }
    }
}

//! shell: reads the configuration again while the gateway runs: who may enter the broker and who may do what changes then,
//! everything else at a restart.
#![allow(clippy::disallowed_methods, reason = "this shell waits between two looks at the file")]

use std::path::PathBuf;
use std::time::Duration;

use tracing::{error, info, warn};

use crate::access::{AccessSettings, FileWatch};
use crate::config::{self, Settings, Severity, SystemSecrets};

/// How often the file is looked at. A change counts once it has stayed for two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The configuration of a running gateway.
#[derive(Debug)]
pub(super) struct Reload {
    /// `None` if there is none: then only what it names is read again.
    file: Option<(PathBuf, FileWatch)>,
    /// What runs; of `broker.access`, what is in force.
    running: Settings,
}

impl Reload {
    /// Of a gateway with a configuration file.
    pub(super) fn of(file: PathBuf, running: Settings) -> Self {
        let watch = FileWatch::new(vec![file.clone()]);
        Self { file: Some((file, watch)), running }
    }

    /// Of one that was started by options alone.
    pub(super) fn without_file(running: Settings) -> Self {
        Self { file: None, running }
    }

    /// Waits until the file has changed and says something else of users and rules. A call that is dropped loses nothing.
    pub(super) async fn changed(&mut self) -> Option<AccessSettings> {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.file.as_mut().is_some_and(|(_, watch)| watch.has_changed()) {
                let before = self.running.broker.access.clone();
                return self.read().filter(|access| *access != before);
            }
        }
    }

    /// Reads the file; gives users and rules, or says why that cannot be.
    pub(super) fn read(&mut self) -> Option<AccessSettings> {
        let Some((file, _)) = &self.file else {
            info!("users, rules and certificates are read again");
            return Some(self.running.broker.access.clone());
        };
        let path = file;
        let file = path.display();
        let mut settings = match config::load(path, &SystemSecrets::for_run()) {
            Ok(parsed) => parsed.settings,
            Err(complaints) => {
                let errors = complaints.iter().filter(|c| c.severity == Severity::Error);
                for complaint in errors {
                    let (line, path, message) =
                        (complaint.line, &complaint.path, &complaint.message);
                    error!(%file, line, %path, %message, "configuration cannot be read again; what runs goes on");
                }
                return None;
            }
        };
        let access = settings.broker.access.clone();
        settings.broker.access = self.running.broker.access.clone();
        if settings == self.running {
            info!(%file, "configuration was read again");
        } else {
            warn!(%file, "configuration was read again: `broker.users`, `broker.acl` and `broker.acl_file` take effect, the other changes at a restart");
        }
        self.running.broker.access = access.clone();
        Some(access)
    }
}

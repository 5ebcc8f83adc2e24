//! shell: keeps users and rules as their files say, and tells the hub when they change.
#![allow(clippy::disallowed_methods, reason = "this shell waits between two looks at the files")]

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tracing::{error, info};

use super::connection::stopped;
use crate::access::{AccessError, AccessSettings, Change, Gate};
use crate::hub::HubHandle;

/// How often the files are looked at. A change counts once it has stayed for two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Tells the hub the rules in force, and again whenever their files change or other settings come, until `stop` turns
/// true. What fails is said and leaves in force what was.
pub async fn keep_access(
    gate: Gate,
    hub: HubHandle,
    mut settings: mpsc::Receiver<AccessSettings>,
    mut stop: watch::Receiver<bool>,
) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        let gate = gate.clone();
        let look = tokio::select! {
            _ = looks.tick(), if gate.has_files() => spawn_blocking(move || gate.look()).await,
            Some(settings) = settings.recv() => {
                spawn_blocking(move || Some(gate.put_in_force(settings))).await
            }
            () = stopped(&mut stop) => return,
        };
        // A look that could not be had is repeated soon.
        let Ok(Some(result)) = look else { continue };
        if tell(result, &hub).await.is_none() {
            return;
        }
    }
}

/// `None` if there is nobody to tell.
async fn tell(result: Result<Change, AccessError>, hub: &HubHandle) -> Option<()> {
    match result {
        Ok(Change { acl, users, outdated }) => {
            if !outdated.is_empty() {
                info!(users = ?outdated, "users are gone or have another password; clients that entered as one of them are sent away");
            }
            let rules = acl.count();
            hub.acl(acl, outdated).await.ok()?;
            info!(users, rules, "users and rules of the broker were read again and are in force");
            Some(())
        }
        Err(cause) => {
            error!(%cause, "users and rules cannot be read again; those from before stay in force");
            Some(())
        }
    }
}

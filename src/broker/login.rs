//! shell: has the password of a CONNECT looked at, and says as whom the client is in.

use std::sync::Arc;

use super::admission::{Claim, Denied, bad_password, check_client_id, claim};
use super::counters::Seen;
use super::settings::ListenerRules;
use super::visitor::Visitor;
use crate::access::{Gate, Login, LoginError, Principal};
use crate::mqtt::{Connect, ReasonCode, Version};

/// Somebody who may come in.
#[derive(Debug)]
pub(super) struct Admitted {
    user: Option<Arc<str>>,
    /// The password that let it in.
    login: Option<Login>,
}

impl Admitted {
    /// As whom the rules know it.
    pub(super) fn principal(&self, client_id: &Arc<str>, visitor: &Visitor) -> Arc<Principal> {
        let (user, client_id) = (self.user.clone(), client_id.clone());
        Arc::new(Principal { user, client_id, address: visitor.peer.ip() })
    }

    /// Whether it may still come in: a user may have been taken out while its password was looked at.
    pub(super) fn still_holds(&self, gate: &Gate) -> bool {
        self.login.as_ref().is_none_or(|login| gate.still_holds(login))
    }
}

/// Judges a CONNECT by the rules of its listener and by users and passwords. Waits for as long as others are looked at.
///
/// # Errors
/// [`Denied`].
pub(super) async fn admit(
    connect: &Connect,
    visitor: &Visitor,
    rules: &ListenerRules,
    gate: &Gate,
) -> Result<Admitted, Denied> {
    let admitted = match claim(connect, visitor, rules, gate.has_users())? {
        Claim::Anonymous => return Ok(Admitted { user: None, login: None }),
        Claim::Certified(name) => Admitted { user: Some(name), login: None },
        Claim::Password(name) => {
            let password = connect.password.as_deref().unwrap_or_default();
            let login = gate.log_in(visitor.peer.ip(), &name, password).await;
            let login = login.map_err(|error| denied(error, &name, connect.version))?;
            Admitted { user: Some(login.user.clone()), login: Some(login) }
        }
    };
    if let Some(user) = &admitted.user
        && let Some(prefix) = gate.client_id_prefix(user)
    {
        check_client_id(connect, &prefix)?;
    }
    Ok(admitted)
}

fn denied(error: LoginError, user: &str, version: Version) -> Denied {
    let why = format!("{error} (user `{user}`)");
    match (error, version) {
        (LoginError::Wrong, _) => bad_password(&why),
        (LoginError::Paused, Version::V5) => {
            Denied { reason: ReasonCode::ConnectionRateExceeded, why, seen: Seen::Guessing }
        }
        // 3.1.1 section 3.2.2.3 knows no such reason; 5 is what comes nearest.
        (LoginError::Paused, Version::V31 | Version::V311) => {
            Denied { reason: ReasonCode::NotAuthorized, why, seen: Seen::Guessing }
        }
    }
}

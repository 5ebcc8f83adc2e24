//! core: as whom a client comes in through a listener, by what it says at CONNECT: by its certificate, by a password that
//! has to be looked at, or without a name.

use std::sync::Arc;

use super::counters::Seen;
use super::settings::ListenerRules;
use super::visitor::Visitor;
use crate::mqtt::{Connect, ReasonCode};

/// Why a client may not come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Denied {
    /// For the CONNACK.
    pub(super) reason: ReasonCode,
    /// For the log.
    pub(super) why: String,
    /// As what it is counted.
    pub(super) seen: Seen,
}

/// As whom a client wants to come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Claim {
    /// Without a name.
    Anonymous,
    /// With the name of its certificate, which was verified.
    Certified(Arc<str>),
    /// With this user name, if its password is right.
    Password(Arc<str>),
}

/// Judges a CONNECT by the rules of its listener; `has_users` tells whether there is anybody a password could be of.
///
/// A certificate goes before a password. A user name where there are no users proves nothing: such a client is let in
/// where anybody is, without that name.
///
/// # Errors
/// [`Denied`].
pub(super) fn claim(
    connect: &Connect,
    visitor: &Visitor,
    rules: &ListenerRules,
    has_users: bool,
) -> Result<Claim, Denied> {
    if let Some(prefix) = &rules.client_id_prefix {
        check_client_id(connect, prefix)?;
    }
    if rules.certificate_user
        && let Some(name) = &visitor.certificate_name
    {
        return Ok(Claim::Certified(name.clone()));
    }
    if let Some(name) = connect.username.as_ref().filter(|_| has_users) {
        return Ok(Claim::Password(name.clone()));
    }
    if rules.anonymous {
        return Ok(Claim::Anonymous);
    }
    if connect.username.is_some() || connect.password.is_some() {
        let why = if has_users { "a password without a user name" } else { "there are no users" };
        return Err(bad_password(why));
    }
    let why = if rules.certificate_user {
        "it showed no certificate with a common name"
    } else {
        "this listener lets nobody in without a user"
    };
    Err(Denied { reason: ReasonCode::NotAuthorized, why: why.to_owned(), seen: Seen::Denied })
}

/// Whether the client id begins as it must.
///
/// # Errors
/// [`Denied`].
pub(super) fn check_client_id(connect: &Connect, prefix: &str) -> Result<(), Denied> {
    if connect.client_id.starts_with(prefix) {
        return Ok(());
    }
    let why = format!("its client id must begin with `{prefix}`");
    Err(Denied { reason: ReasonCode::ClientIdNotValid, why, seen: Seen::Denied })
}

/// A password that opens nothing.
pub(super) fn bad_password(why: &str) -> Denied {
    let reason = ReasonCode::BadUserNameOrPassword;
    Denied { reason, why: why.to_owned(), seen: Seen::Denied }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Peer;
    use crate::mqtt::{ConnectProperties, Version};

    fn judge(
        client_id: &str,
        username: Option<&str>,
        certificate_name: Option<&str>,
        rules: &ListenerRules,
        has_users: bool,
    ) -> Result<Claim, ReasonCode> {
        let connect = Connect {
            bridge: false,
            version: Version::V5,
            clean_start: true,
            keep_alive: 0,
            client_id: client_id.into(),
            will: None,
            username: username.map(Into::into),
            password: None,
            properties: ConnectProperties::default(),
        };
        let certificate_name = certificate_name.map(Into::into);
        let visitor = Visitor { peer: Peer::Unix { uid: None, pid: None }, certificate_name };
        claim(&connect, &visitor, rules, has_users).map_err(|denied| denied.reason)
    }

    #[test]
    fn nobody_comes_in_unless_the_listener_says_who() {
        let closed = ListenerRules::default();
        let not_authorized = Err(ReasonCode::NotAuthorized);
        for has_users in [false, true] {
            assert_eq!(judge("a", None, None, &closed, has_users), not_authorized);
            assert_eq!(judge("a", None, Some("meter"), &closed, has_users), not_authorized);
        }
        let anonymous = ListenerRules { anonymous: true, ..ListenerRules::default() };
        assert_eq!(judge("a", None, None, &anonymous, true), Ok(Claim::Anonymous));
        let certified = ListenerRules { certificate_user: true, ..ListenerRules::default() };
        let meter = Ok(Claim::Certified("meter".into()));
        assert_eq!(judge("a", None, Some("meter"), &certified, false), meter);
        assert_eq!(judge("a", Some("ann"), Some("meter"), &certified, true), meter);
        assert_eq!(judge("a", None, None, &certified, true), not_authorized);
        let ann = Ok(Claim::Password("ann".into()));
        assert_eq!(judge("a", Some("ann"), None, &certified, true), ann);
    }

    #[test]
    fn a_user_name_without_users_proves_nothing() {
        let anonymous = ListenerRules { anonymous: true, ..ListenerRules::default() };
        assert_eq!(judge("a", Some("root"), None, &anonymous, false), Ok(Claim::Anonymous));
        let root = Ok(Claim::Password("root".into()));
        assert_eq!(judge("a", Some("root"), None, &anonymous, true), root);
        let bad = Err(ReasonCode::BadUserNameOrPassword);
        assert_eq!(judge("a", Some("root"), None, &ListenerRules::default(), false), bad);
    }

    #[test]
    fn a_client_id_begins_as_the_listener_wants_it() {
        let prefix = Some("line-3-".into());
        let rules =
            ListenerRules { anonymous: true, client_id_prefix: prefix, ..ListenerRules::default() };
        assert_eq!(judge("line-3-meter", None, None, &rules, false), Ok(Claim::Anonymous));
        for other in ["line-4-meter", "line-3", ""] {
            let refused = judge(other, None, None, &rules, false);
            assert_eq!(refused, Err(ReasonCode::ClientIdNotValid), "{other}");
        }
    }
}

//! core: who may come in through a listener, by what it knows of them at CONNECT.

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
}

/// Judges a CONNECT by the rules of its listener.
///
/// # Errors
/// [`Denied`].
pub(super) fn admit(
    connect: &Connect,
    visitor: &Visitor,
    rules: &ListenerRules,
) -> Result<(), Denied> {
    if let Some(prefix) = &rules.client_id_prefix
        && !connect.client_id.starts_with(&**prefix)
    {
        let why = format!("client ids begin with `{prefix}` on this listener");
        return Err(Denied { reason: ReasonCode::ClientIdNotValid, why });
    }
    let is_known = rules.certificate_user && visitor.certificate_name.is_some();
    if is_known || rules.anonymous {
        return Ok(());
    }
    let why = if rules.certificate_user {
        "it showed no certificate with a common name"
    } else {
        "this listener lets nobody in without a user"
    };
    Err(Denied { reason: ReasonCode::NotAuthorized, why: why.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Peer;
    use crate::mqtt::{ConnectProperties, Version};

    fn judge(
        client_id: &str,
        certificate_name: Option<&str>,
        rules: &ListenerRules,
    ) -> Option<ReasonCode> {
        let connect = Connect {
            version: Version::V5,
            clean_start: true,
            keep_alive: 0,
            client_id: client_id.into(),
            will: None,
            username: None,
            password: None,
            properties: ConnectProperties::default(),
        };
        let certificate_name = certificate_name.map(Into::into);
        let visitor = Visitor { peer: Peer::Unix { uid: None, pid: None }, certificate_name };
        admit(&connect, &visitor, rules).err().map(|denied| denied.reason)
    }

    #[test]
    fn nobody_comes_in_unless_the_listener_says_who() {
        let closed = ListenerRules::default();
        assert_eq!(judge("a", None, &closed), Some(ReasonCode::NotAuthorized));
        assert_eq!(judge("a", Some("meter"), &closed), Some(ReasonCode::NotAuthorized));
        let anonymous = ListenerRules { anonymous: true, ..ListenerRules::default() };
        assert_eq!(judge("a", None, &anonymous), None);
        let certified = ListenerRules { certificate_user: true, ..ListenerRules::default() };
        assert_eq!(judge("a", Some("meter"), &certified), None);
        assert_eq!(judge("a", None, &certified), Some(ReasonCode::NotAuthorized));
    }

    #[test]
    fn a_client_id_begins_as_the_listener_wants_it() {
        let prefix = Some("line-3-".into());
        let rules =
            ListenerRules { anonymous: true, client_id_prefix: prefix, ..ListenerRules::default() };
        assert_eq!(judge("line-3-meter", None, &rules), None);
        for other in ["line-4-meter", "line-3", ""] {
            assert_eq!(judge(other, None, &rules), Some(ReasonCode::ClientIdNotValid), "{other}");
        }
    }
}

//! core: who may do what in the engine: publications, wills, subscriptions and deliveries of LAN clients are held against
//! the rules. The gateway's own publications and the uplinks are not.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Engine, Fact, Output};
use crate::access::{Acl, Grant, Permit, Principal};
use crate::hub::session::{Session, SessionWill};
use crate::hub::tally::Counted;
use crate::model::{TopicFilter, TopicName};
use crate::mqtt::ReasonCode;
use crate::store::SessionId;

/// What the rules say to one session. An uplink's, and that of a client which has not come back since the start, is open:
/// what has waited for such a client is asked about when it comes.
#[derive(Debug, Default)]
pub(in crate::hub) struct Rights {
    principal: Option<Arc<Principal>>,
    permit: Permit,
    /// A subscription is wider than the rules: each message is asked about before it is taken for this session.
    is_filtered: bool,
    /// What waits may have been taken under other rules: it is asked about again before it is sent.
    asks_again: bool,
}

/// What the rules kept a client from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeniedWhat {
    /// Publishing a message.
    Publish,
    /// Leaving a will.
    Will,
    /// Subscribing, or getting anything by a subscription it has.
    Subscribe,
    /// Getting a message that had waited.
    Delivery,
}

impl Rights {
    fn new(principal: Arc<Principal>, acl: &Acl, has_waiting: bool) -> Self {
        let permit = acl.permit(&principal);
        let asks_again = has_waiting && !permit.is_open();
        Self { principal: Some(principal), permit, is_filtered: false, asks_again }
    }

    /// As whom its client entered.
    pub(in crate::hub) fn user(&self) -> Option<&Arc<str>> {
        self.principal.as_ref()?.user.as_ref()
    }

    /// Where its client came from.
    pub(in crate::hub) fn address(&self) -> Option<IpAddr> {
        self.principal.as_ref()?.address
    }

    /// The place of the rule that denies it, if it is one.
    fn rule_against(&self, what: DeniedWhat, topic: &str) -> Option<usize> {
        match what {
            DeniedWhat::Publish | DeniedWhat::Will => self.permit.rule_about_publish(topic),
            DeniedWhat::Delivery => self.permit.rule_about_delivery(topic),
            DeniedWhat::Subscribe => {
                let filter = TopicFilter::new(topic).ok()?;
                self.permit.rule_against_subscription(&filter)
            }
        }
    }

    /// Whether it may be told what is said under `topic`.
    pub(in crate::hub) fn may_hear(&self, topic: &TopicName) -> bool {
        self.permit.allows_delivery(topic.as_str())
    }

    /// Whether a message must not be taken for this session.
    pub(in crate::hub) fn withholds(&self, topic: &TopicName) -> bool {
        self.is_filtered && !self.permit.allows_delivery(topic.as_str())
    }

    /// Whether a message that was taken must not be sent.
    pub(in crate::hub) fn recalls(&self, topic: &TopicName) -> bool {
        self.asks_again && !self.permit.allows_delivery(topic.as_str())
    }

    /// Nothing waits any more.
    pub(in crate::hub) fn handle_empty(&mut self) {
        self.asks_again = false;
    }

    /// Takes a subscription; whether it may have it.
    fn take_subscription(&mut self, filter: &TopicFilter) -> bool {
        let grant = self.permit.grants(filter);
        self.is_filtered |= grant != Grant::All;
        grant != Grant::Denied
    }
}

impl Engine {
    /// Other rules are in force, or users are gone or have another password (`outdated`): connected clients that entered
    /// as one of those are sent away, everybody else's sessions, subscriptions, wills and waiting messages are held
    /// against the rules from here on. A subscription that the rules allow no longer stays and delivers nothing, so that
    /// a slip of the pen is mended by putting it right.
    pub fn handle_acl(&mut self, acl: Arc<Acl>, outdated: &[Arc<str>]) {
        self.acl = acl;
        let mut denied = Vec::new();
        for (id, session) in &mut self.sessions {
            let Some(principal) = session.rights.principal.clone() else { continue };
            if let (Some(user), Some(link)) = (&principal.user, &session.link)
                && outdated.contains(user)
            {
                self.outputs.push_back(Output::Close(link.id, ReasonCode::NotAuthorized));
            }
            denied.extend(enter(session, principal, &self.acl).into_iter().map(|what| (*id, what)));
        }
        self.deny_all(denied);
    }

    /// A client has entered its session as `principal`. Its will goes if it may not be published.
    pub(super) fn handle_entered(
        &mut self,
        id: SessionId,
        principal: Arc<Principal>,
        will: &mut Option<SessionWill>,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let mut denied = enter(session, principal, &self.acl);
        let permit = &session.rights.permit;
        if let Some(will) = will.take_if(|will| !permit.allows_publish(will.message.topic.as_str()))
        {
            denied.push((DeniedWhat::Will, will.message.topic.as_str().into()));
        }
        self.deny_all(denied.into_iter().map(|what| (id, what)));
    }

    /// Whether a client may not publish to `topic`; that is counted and told.
    pub(super) fn denies_publish(
        &mut self,
        id: SessionId,
        topic: &TopicName,
        what: DeniedWhat,
    ) -> bool {
        let session = self.sessions.get(&id);
        if session.is_none_or(|session| session.rights.permit.allows_publish(topic.as_str())) {
            return false;
        }
        self.deny(id, what, topic.as_str().into());
        true
    }

    /// Whether a client may not subscribe to `filter` at all; that is counted and told. If it may, its session knows from
    /// here on whether deliveries must be asked about.
    pub(super) fn denies_subscription(&mut self, id: SessionId, filter: &TopicFilter) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        let granted = session.rights.permit.grants(filter);
        if granted == Grant::Denied {
            self.deny(id, DeniedWhat::Subscribe, filter.as_str().into());
            return true;
        }
        session.rights.is_filtered |= granted == Grant::Filtered;
        false
    }

    /// Counts what a client was kept from, and tells of it.
    pub(super) fn deny(&mut self, id: SessionId, what: DeniedWhat, topic: Arc<str>) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.counters.denied += 1;
        let (client_id, count) = (session.name().clone(), session.counters.denied);
        let (user, address) = (session.rights.user().cloned(), session.rights.address());
        let rule = session.rights.rule_against(what, &topic);
        self.counts.add(
            match what {
                DeniedWhat::Publish => Counted::DeniedPublish,
                DeniedWhat::Will => Counted::DeniedWill,
                DeniedWhat::Subscribe => Counted::DeniedSubscribe,
                DeniedWhat::Delivery => Counted::DeniedDelivery,
            },
            1,
        );
        self.facts.push_back(Fact::Denied { client_id, user, what, topic, address, rule, count });
    }

    fn deny_all(&mut self, denied: impl IntoIterator<Item = (SessionId, (DeniedWhat, Arc<str>))>) {
        for (id, (what, topic)) in denied {
            self.deny(id, what, topic);
        }
    }
}

/// Holds a session against the rules; gives what of it they do not allow.
fn enter(
    session: &mut Session,
    principal: Arc<Principal>,
    acl: &Acl,
) -> Vec<(DeniedWhat, Arc<str>)> {
    session.rights = Rights::new(principal, acl, session.outbox.queued() > 0);
    let mut denied = Vec::new();
    for filter in session.subscriptions.keys() {
        if !session.rights.take_subscription(filter) {
            denied.push((DeniedWhat::Subscribe, Arc::from(filter.as_str())));
        }
    }
    let will = session.link.as_ref().and_then(|link| link.will.as_ref());
    let topic = will.map(|will| will.message.topic.as_str());
    if let Some(topic) = topic.filter(|topic| !session.rights.permit.allows_publish(topic)) {
        denied.push((DeniedWhat::Will, Arc::from(topic)));
    }
    denied
}

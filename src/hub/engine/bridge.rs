//! core: what an uplink's session and a bridge that dialled in have beyond other sessions: rules for what comes in,
//! messages that must not return, the broker a session stands at.

use std::sync::Arc;

use bytes::Bytes;

use super::route::Wanted;
use super::{AttachUplink, Engine, Fact};
use crate::hub::node::{NodeId, Peer, goes_in_circles, has_passed, has_passed_any, passed};
use crate::hub::session::Accept;
use crate::model::{Message, QoS, TopicFilter, TopicName};
use crate::mqtt::{Packet, Publish};
use crate::store::{Change, SessionId};

/// Under such a filter the store keeps which broker an uplink's session stands at. It takes no message.
const SERVER_FILTER: &str = "$SYS/fieldpost/server/";

impl Engine {
    /// A message that `id` sent, as it goes on from here: under the name the uplink's rule gives it, and marked if it came
    /// over a bridge. `None` if it is not taken: no rule of the uplink has asked for it, or it has been here before.
    pub(super) fn come_over(&mut self, id: SessionId, mut message: Message) -> Option<Message> {
        let session = self.sessions.get_mut(&id)?;
        if !session.is_uplink() && !session.bridge && session.peer.is_none() {
            return Some(message);
        }
        let name = session.name().clone();
        let topic: Arc<str> = message.topic.as_str().into();
        if has_passed(&message, self.node) || goes_in_circles(&message) {
            session.counters.returning += 1;
            let count = session.counters.returning;
            self.facts.push_back(Fact::Returned { session: name, topic, count });
            return None;
        }
        if session.is_uplink() {
            let rule = session.accept.iter().find(|rule| rule.takes(&message.topic));
            let Some(Accept { to, retain, .. }) = rule else {
                self.facts.push_back(Fact::Unasked { uplink: name, topic });
                return None;
            };
            message.retain &= *retain;
            if let Some(renamed) = to.as_ref().and_then(|to| to.apply(&message.topic).ok()) {
                message.topic = renamed;
            }
        }
        let from: Option<NodeId> = session.peer.map(|peer| peer.node);
        let nodes = from.into_iter().chain([self.node]);
        message.properties = Some(passed(message.properties.as_ref(), nodes));
        Some(message)
    }

    /// Takes those out who had a message already, and of two roads to the same gateway all but one.
    pub(super) fn keep_from_returning(
        &self,
        message: &Message,
        wanted: &mut Vec<(SessionId, Wanted)>,
    ) {
        let peer = |id: &SessionId| self.sessions.get(id).and_then(|session| session.peer);
        if has_passed_any(message) {
            wanted.retain(|(id, _)| peer(id).is_none_or(|peer| !has_passed(message, peer.node)));
        }
        if wanted.iter().all(|(_, wanted)| wanted.rule.is_none()) {
            return;
        }
        wanted.retain(|(id, wanted)| {
            let session = wanted.rule.and_then(|_| self.sessions.get(id));
            let withheld = session.and_then(|session| session.withheld.as_ref());
            withheld.is_none_or(|withheld| !withheld.matches(&message.topic))
        });
        // A gateway that dials in and that we dial out to is told by the uplink, if it would not tell the two apart.
        let mut roads: Vec<(SessionId, NodeId)> = Vec::new();
        for (id, wanted) in &*wanted {
            let rule = wanted.rule.and_then(|rule| self.sessions.get(id)?.forward.get(rule));
            if let (Some(peer), Some(None)) = (peer(id), rule.map(|rule| rule.to.as_ref())) {
                roads.push((*id, peer.node));
            }
        }
        for (uplink, node) in roads {
            let mut qos = QoS::AtMostOnce;
            wanted.retain(|(id, wanted)| {
                let is_second = wanted.rule.is_none()
                    && peer(id).is_some_and(|peer| peer.node == node && peer.same_names);
                if is_second {
                    qos = qos.max(wanted.qos);
                }
                !is_second
            });
            if let Some((_, wanted)) = wanted.iter_mut().find(|(id, _)| *id == uplink) {
                wanted.qos = wanted.qos.max(qos);
            }
        }
    }

    /// Whether a bridge says by this filter which gateway it is; it is told which one this is.
    pub(super) fn meet(&mut self, id: SessionId, filter: &TopicFilter) -> bool {
        let Some(session) = self.sessions.get_mut(&id).filter(|session| session.bridge) else {
            return false;
        };
        let Some(peer) = Peer::announced_by(filter) else { return false };
        let Ok(topic) = TopicName::new(filter.as_str()) else { return false };
        session.peer = Some(peer);
        let publish = Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic: Some(topic),
            packet_id: None,
            payload: Bytes::from(self.node.to_string()),
            properties: None,
            message_expiry: None,
            topic_alias: None,
            subscription_ids: Vec::new(),
        };
        self.answer(id, Packet::Publish(publish), 0);
        true
    }

    /// Whether an uplink's session stands at another broker than the one it found.
    pub(super) fn has_moved(&self, id: SessionId, attach: &AttachUplink) -> bool {
        let before = self.sessions.get(&id).and_then(|session| session.server.as_ref());
        before.is_some() && attach.server.is_some() && before != attach.server.as_ref()
    }

    /// Notes which broker an uplink's session stands at. What is sent there relies on it: the ids given there mean
    /// nothing elsewhere.
    pub(super) fn note_server(&mut self, id: SessionId, server: Option<&Arc<str>>) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if server.is_none() || session.server.as_ref() == server {
            return;
        }
        let before = std::mem::replace(&mut session.server, server.cloned());
        let owner = session.owner.clone();
        for (server, options) in [(before.as_ref(), None), (server, Some((0, None)))] {
            let filter =
                server.and_then(|at| TopicFilter::new(&format!("{SERVER_FILTER}{at}")).ok());
            self.changes.extend(filter.map(|filter| Change::Subscription {
                session: id,
                filter,
                options,
            }));
        }
        self.resets.insert(owner, self.open_batch);
        self.sync = true;
    }

    /// Which broker the session of an uplink stands at.
    #[must_use]
    pub fn uplink_server(&self, name: &str) -> Option<Arc<str>> {
        let id = self.uplinks.get(name)?;
        self.sessions.get(id)?.server.clone()
    }

    /// Messages that wait for an uplink, and how many of them are under way.
    #[must_use]
    pub fn uplink_load(&self, name: &str) -> (u64, usize) {
        let session = self.uplinks.get(name).and_then(|id| self.sessions.get(id));
        session.map_or((0, 0), |session| (session.outbox.queued(), session.outbox.inflight()))
    }
}

/// The broker that a stored filter of an uplink stands for.
pub(super) fn server_of(filter: &TopicFilter) -> Option<Arc<str>> {
    filter.as_str().strip_prefix(SERVER_FILTER).map(Arc::from)
}

impl Accept {
    /// Whether it takes this topic of the upstream's.
    fn takes(&self, topic: &TopicName) -> bool {
        self.filter.unshared().matches(topic)
    }

    /// A filter for the names here of all that it takes.
    pub(super) fn image(&self) -> TopicFilter {
        let filter = self.filter.unshared();
        self.to.as_ref().map_or(filter.clone(), |to| to.image(&filter))
    }
}

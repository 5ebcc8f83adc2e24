//! core: one publication in, a delivery to each session that wants it out.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Engine;
use crate::hub::outbox::Outgoing;
use crate::hub::session::Subscription;
use crate::model::{Message, Moment, QoS};
use crate::store::{Change, SessionId, Target};

/// How one session wants one publication.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) qos: QoS,
    pub(super) retain_as_published: bool,
    pub(super) ids: Vec<u32>,
    pub(super) rule: Option<usize>,
}

impl Wanted {
    fn new(subscription: &Subscription) -> Self {
        Self {
            qos: subscription.qos,
            retain_as_published: subscription.retain_as_published,
            ids: subscription.id.into_iter().collect(),
            rule: subscription.rule,
        }
    }

    /// Overlapping subscriptions make one delivery: the highest QoS and every id [MQTT-3.3.4-2], [MQTT-3.3.4-3]. Of an
    /// uplink's rules the first one decides.
    fn join(&mut self, subscription: &Subscription) {
        match (self.rule, subscription.rule) {
            (Some(have), Some(other)) if have <= other => {}
            (Some(_), Some(_)) => *self = Self::new(subscription),
            (_, _) => {
                self.qos = self.qos.max(subscription.qos);
                self.retain_as_published |= subscription.retain_as_published;
                self.ids.extend(subscription.id);
            }
        }
    }
}

impl Engine {
    /// The gateway itself publishes.
    pub fn handle_publish(&mut self, message: Message, now: Moment) {
        self.route(message, None, now);
    }

    /// Sends a publication of `origin` on its way. Gives the batch that must be durable before it may be acknowledged, 0
    /// if it need not be.
    pub(super) fn route(
        &mut self,
        mut message: Message,
        origin: Option<SessionId>,
        now: Moment,
    ) -> u64 {
        self.accepted += 1;
        self.clock.handle_entry(&mut message, now);
        let mut needs = 0;
        if message.retain && self.retained.keep(&message) {
            let kept = (!message.payload.is_empty()).then(|| message.clone());
            let topic = message.topic.clone();
            self.uncommitted_bytes += message.payload.len();
            self.changes.push(Change::Retain { topic, message: kept });
            needs = self.open_batch;
        }
        let mut wanted = self.wanted(&message, origin);
        self.keep_from_returning(&message, &mut wanted);
        if wanted.is_empty() {
            return needs;
        }
        let seq = self.next_seq();
        let mut targets = Vec::new();
        let mut deliveries = Vec::with_capacity(wanted.len());
        for (id, wanted) in wanted {
            let Some(session) = self.sessions.get(&id) else { continue };
            let qos = wanted.qos.min(message.qos);
            let retain = message.retain && wanted.retain_as_published;
            let stored = session.durable && (session.is_uplink() || qos > QoS::AtMostOnce);
            if stored && let Some(reason) = self.bounds.refusing() {
                self.count_dropped(id, reason, 1, now);
                continue;
            }
            if stored {
                targets.push(Target { session: id, qos, retain });
            } else if session.link.is_none() {
                continue;
            }
            deliveries.push((id, qos, retain, wanted.ids, stored));
        }
        let targets: Arc<[Target]> = targets.into();
        if !targets.is_empty() {
            needs = self.open_batch;
            let (message, targets) = (message.clone(), targets.clone());
            self.uncommitted_bytes += message.payload.len();
            self.changes.push(Change::Append { seq, message, targets });
        }
        for (id, qos, retain, subscription_ids, stored) in deliveries {
            let out = Outgoing {
                seq,
                message: message.clone(),
                qos,
                retain,
                subscription_ids,
                stored: stored.then(|| targets.clone()),
                batch: if stored { self.open_batch } else { 0 },
                late: false,
            };
            self.offer(id, out);
        }
        needs
    }

    /// Whether a durable session would have to keep this message and there is no room.
    pub(super) fn is_refused(&self, message: &Message, origin: SessionId) -> bool {
        self.bounds.refusing().is_some()
            && self.wanted(message, Some(origin)).iter().any(|(id, wanted)| {
                let qos = wanted.qos.min(message.qos);
                let session = self.sessions.get(id);
                session.is_some_and(|session| {
                    session.durable && (session.is_uplink() || qos > QoS::AtMostOnce)
                })
            })
    }

    fn wanted(&self, message: &Message, origin: Option<SessionId>) -> BTreeMap<SessionId, Wanted> {
        let mut wanted: BTreeMap<SessionId, Wanted> = BTreeMap::new();
        self.tree.matches(&message.topic, |id, subscription| {
            let own = origin == Some(*id);
            // A rule of an uplink never sends back up what came down from there.
            if own && (subscription.no_local || subscription.rule.is_some()) {
                return;
            }
            wanted
                .entry(*id)
                .and_modify(|have| have.join(subscription))
                .or_insert_with(|| Wanted::new(subscription));
        });
        wanted
    }

    /// Puts a message into a session's outbox; what has no stored copy is bounded in memory.
    fn offer(&mut self, id: SessionId, out: Outgoing) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if out.stored.is_none() && session.outbox.ready_len() >= self.options.memory_queue_max {
            session.counters.dropped += 1;
            return;
        }
        session.outbox.push(out);
        self.dirty.insert(id);
    }

    /// Sends a retained message to one session only, stored if its session is.
    pub(super) fn deliver_retained(
        &mut self,
        id: SessionId,
        message: &Message,
        subscription: &Subscription,
    ) {
        let qos = subscription.qos.min(message.qos);
        let seq = self.next_seq();
        let stored = self.sessions.get(&id).is_some_and(|session| {
            session.durable && (session.is_uplink() || qos > QoS::AtMostOnce)
        });
        let targets: Arc<[Target]> = Arc::from([Target { session: id, qos, retain: true }]);
        if stored {
            let (message, targets) = (message.clone(), targets.clone());
            self.changes.push(Change::Append { seq, message, targets });
        }
        let out = Outgoing {
            seq,
            message: message.clone(),
            qos,
            retain: true,
            subscription_ids: subscription.id.into_iter().collect(),
            stored: stored.then_some(targets),
            batch: if stored { self.open_batch } else { 0 },
            late: false,
        };
        // All of a subscription's retained messages are sent, however many wait already.
        if let Some(session) = self.sessions.get_mut(&id) {
            session.outbox.push(out);
            self.dirty.insert(id);
        }
    }
}

//! core: one publication in, a delivery to each session that wants it out.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Engine, EngineOptions};
use crate::hub::outbox::Outgoing;
use crate::hub::session::{Session, Subscription};
use crate::hub::share::Readiness;
use crate::model::{Message, Moment, QoS};
use crate::store::{Change, SessionId, Target};

/// How one session wants one publication.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) qos: QoS,
    pub(super) retain_as_published: bool,
    pub(super) ids: Vec<u32>,
    /// As the member of a shared subscription.
    pub(super) shared: bool,
    rule: Option<usize>,
}

impl Wanted {
    fn new(subscription: &Subscription) -> Self {
        Self {
            qos: subscription.qos,
            retain_as_published: subscription.retain_as_published,
            ids: subscription.id.into_iter().collect(),
            shared: false,
            rule: subscription.rule,
        }
    }

    fn shared(subscription: &Subscription) -> Self {
        Self { shared: true, ..Self::new(subscription) }
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
        let needs = if message.retain { self.keep_retained(&message, origin, now) } else { 0 };
        let (wanted, copies) = self.wanted(&message, origin, true);
        if wanted.is_empty() {
            return needs;
        }
        let mut needs = needs.max(self.deliver(&message, wanted, now));
        for copy in copies {
            needs = needs.max(self.deliver(&message, [copy], now));
        }
        needs
    }

    /// Sends a message to those who want it. Gives the batch that makes it durable for them; 0 for none.
    fn deliver(
        &mut self,
        message: &Message,
        wanted: impl IntoIterator<Item = (SessionId, Wanted)>,
        now: Moment,
    ) -> u64 {
        let wanted = wanted.into_iter();
        let seq = self.next_seq();
        let mut targets = Vec::new();
        let mut deliveries = Vec::with_capacity(wanted.size_hint().0);
        for (id, wanted) in wanted {
            let Some(session) = self.sessions.get(&id) else { continue };
            if session.rights.withholds(&message.topic) {
                continue;
            }
            let qos = wanted.qos.min(message.qos);
            let retain = message.retain && (session.is_uplink() || wanted.retain_as_published);
            let stored = is_stored(session, qos);
            if stored && let Some(reason) = self.bounds.refusing() {
                self.count_dropped(id, reason, 1, now);
                continue;
            }
            if stored && is_queue_full(session, &self.options) {
                self.count_overflow(id, 1, now);
                continue;
            }
            if stored {
                targets.push(Target { session: id, qos, retain, shared: wanted.shared });
            } else if session.link.is_none() {
                continue;
            }
            deliveries.push((id, qos, retain, wanted, stored));
        }
        let targets: Arc<[Target]> = targets.into();
        let mut needs = 0;
        if !targets.is_empty() {
            needs = self.open_batch;
            let (message, targets) = (message.clone(), targets.clone());
            self.uncommitted_bytes += message.payload.len();
            self.changes.push(Change::Append { seq, message, targets });
        }
        for (id, qos, retain, wanted, stored) in deliveries {
            let out = Outgoing {
                seq,
                message: message.clone(),
                qos,
                retain,
                subscription_ids: wanted.ids,
                shared: wanted.shared,
                stored: stored.then(|| targets.clone()),
                batch: if stored { self.open_batch } else { 0 },
                late: false,
            };
            self.offer(id, out, now);
        }
        needs
    }

    /// Sends a message to one member of a shared subscription.
    pub(super) fn deliver_shared(
        &mut self,
        message: &Message,
        id: SessionId,
        subscription: &Subscription,
        now: Moment,
    ) {
        self.deliver(message, [(id, Wanted::shared(subscription))], now);
    }

    /// Whether a durable session would have to keep this message and there is no room.
    pub(super) fn is_refused(&self, message: &Message, origin: SessionId) -> bool {
        if self.bounds.refusing().is_none() {
            return false;
        }
        let (wanted, copies) = self.wanted(message, Some(origin), false);
        wanted.into_iter().chain(copies).any(|(id, wanted)| {
            let qos = wanted.qos.min(message.qos);
            self.sessions.get(&id).is_some_and(|session| is_stored(session, qos))
        })
    }

    /// Who wants a message: each session once for its own subscriptions, one member of each shared one, and further copies
    /// for those who are chosen and have one coming already. With `takes_turn` the next message goes to other members.
    fn wanted(
        &self,
        message: &Message,
        origin: Option<SessionId>,
        takes_turn: bool,
    ) -> (BTreeMap<SessionId, Wanted>, Vec<(SessionId, Wanted)>) {
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
        let mut copies = Vec::new();
        if !self.shares.is_empty() {
            let readiness = |id, subscription: &Subscription| {
                readiness(&self.sessions, &self.options, id, subscription, message)
            };
            self.shares.choose(&message.topic, takes_turn, readiness, |id, subscription| {
                let share = Wanted::shared(subscription);
                match wanted.entry(id) {
                    Entry::Vacant(place) => _ = place.insert(share),
                    Entry::Occupied(_) => copies.push((id, share)),
                }
            });
        }
        (wanted, copies)
    }

    /// Puts a message into a session's outbox; what has no stored copy is bounded in memory.
    fn offer(&mut self, id: SessionId, out: Outgoing, now: Moment) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let outbox = &session.outbox;
        if out.stored.is_none()
            && (outbox.ready_len() >= self.options.memory_queue_max
                || outbox.ready_bytes() >= self.options.memory_queue_bytes_max)
        {
            return self.count_overflow(id, 1, now);
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
        let stored = self.sessions.get(&id).is_some_and(|session| is_stored(session, qos));
        let target = Target { session: id, qos, retain: true, shared: false };
        let targets: Arc<[Target]> = Arc::from([target]);
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
            shared: false,
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

/// Whether a delivery at this QoS is kept until the session has it.
fn is_stored(session: &Session, qos: QoS) -> bool {
    session.durable && (session.is_uplink() || qos > QoS::AtMostOnce)
}

/// Whether a client's stored queue takes no more. That of an uplink has the bounds of the store.
fn is_queue_full(session: &Session, options: &EngineOptions) -> bool {
    !session.is_uplink() && session.outbox.queued() >= options.client_queue_max
}

/// How well a session can take a message of a shared subscription.
pub(super) fn readiness(
    sessions: &HashMap<SessionId, Session>,
    options: &EngineOptions,
    id: SessionId,
    subscription: &Subscription,
    message: &Message,
) -> Readiness {
    let Some(session) = sessions.get(&id) else { return Readiness::No };
    if session.rights.withholds(&message.topic) {
        return Readiness::No;
    }
    let stored = is_stored(session, subscription.qos.min(message.qos));
    let (connected, outbox) = (session.link.is_some(), &session.outbox);
    let is_full = if stored {
        is_queue_full(session, options)
    } else {
        outbox.ready_len() >= options.memory_queue_max
            || outbox.ready_bytes() >= options.memory_queue_bytes_max
    };
    match (connected, stored) {
        (false, false) => Readiness::No,
        (_, _) if is_full => Readiness::Full,
        (false, true) => Readiness::Away,
        (true, _) if outbox.ready_len() > 0 => Readiness::Behind,
        (true, _) => Readiness::Ready,
    }
}

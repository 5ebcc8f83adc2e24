//! core: one publication in, a delivery to each session that wants it out.

use std::sync::Arc;

use super::{Engine, EngineOptions};
use crate::hub::numbers::NumberMap;
use crate::hub::outbox::Outgoing;
use crate::hub::session::{Session, Subscription};
use crate::hub::share::Readiness;
use crate::hub::tally::Counted;
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
    pub(super) rule: Option<usize>,
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
    fn join(&mut self, other: Self) {
        match (self.rule, other.rule) {
            (Some(have), Some(other)) if have <= other => {}
            (Some(_), Some(_)) => *self = other,
            (_, _) => {
                self.qos = self.qos.max(other.qos);
                self.retain_as_published |= other.retain_as_published;
                self.ids.extend(other.ids);
            }
        }
    }
}

/// For whom the message that is being routed is kept. Its room serves the next message.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    targets: Vec<Target>,
    kept: Vec<(SessionId, Outgoing)>,
    /// Those of the message before: mostly the next one is for the same.
    before: Option<Arc<[Target]>>,
}

impl Keeping {
    /// Those gathered, if any.
    fn take_targets(&mut self) -> Option<Arc<[Target]>> {
        if self.targets.is_empty() {
            return None;
        }
        if self.before.as_deref() != Some(&self.targets[..]) {
            self.before = Some(Arc::from(&self.targets[..]));
        }
        self.targets.clear();
        self.before.clone()
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
        let mut wanted = std::mem::take(&mut self.wanted);
        let copies = self.find_wanted(&message, origin, true, &mut wanted);
        self.keep_from_returning(&message, &mut wanted);
        if origin.is_some() {
            self.keep_from_upstream(&message, &mut wanted);
        }
        let mut needs = needs;
        if !wanted.is_empty() {
            let message = Arc::new(message);
            needs = needs.max(self.deliver(&message, wanted.drain(..), now));
            for copy in copies {
                needs = needs.max(self.deliver(&message, [copy], now));
            }
        }
        // Its room serves the next message.
        self.wanted = wanted;
        needs
    }

    /// Sends a message to those who want it. Gives the batch that makes it durable for them; 0 for none.
    pub(super) fn deliver(
        &mut self,
        message: &Arc<Message>,
        wanted: impl IntoIterator<Item = (SessionId, Wanted)>,
        now: Moment,
    ) -> u64 {
        let seq = self.next_seq();
        let mut keeping = std::mem::take(&mut self.keeping);
        let Keeping { targets, kept, .. } = &mut keeping;
        for (id, wanted) in wanted {
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            if session.rights.withholds(&message.topic) {
                continue;
            }
            let qos = wanted.qos.min(message.qos);
            let mut out = Outgoing {
                seq,
                message: message.clone(),
                qos,
                retain: message.retain && wanted.retain_as_published,
                subscription_ids: wanted.ids,
                shared: wanted.shared,
                stored: None,
                batch: 0,
                late: false,
            };
            if is_stored(session, qos) {
                let is_full = is_queue_full(session, &self.options);
                if let Some(reason) = self.bounds.refusing() {
                    self.count_dropped(id, reason, 1, now);
                    continue;
                }
                if is_full {
                    self.count_overflow(id, Counted::DroppedStored, 1, now);
                    continue;
                }
                let Outgoing { retain, shared, .. } = out;
                targets.push(Target { session: id, qos, retain, shared });
                out.batch = self.open_batch;
                kept.push((id, out));
            } else if session.link.is_some() && is_memory_full(session, &self.options) {
                self.count_overflow(id, Counted::DroppedWaiting, 1, now);
            } else if session.link.is_some() {
                session.outbox.push(out);
                self.dirty.insert(id);
            }
        }
        let targets = keeping.take_targets();
        if let Some(targets) = &targets {
            self.uncommitted_bytes += message.payload.len();
            let (message, targets) = (message.clone(), targets.clone());
            self.changes.push(Change::Append { seq, message, targets });
        }
        for (id, mut out) in keeping.kept.drain(..) {
            out.stored.clone_from(&targets);
            if let Some(session) = self.sessions.get_mut(&id) {
                session.outbox.push(out);
            }
            self.dirty.insert(id);
        }
        self.keeping = keeping;
        if targets.is_some() { self.open_batch } else { 0 }
    }

    /// Sends a message to one member of a shared subscription.
    pub(super) fn deliver_shared(
        &mut self,
        message: &Arc<Message>,
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
        let mut wanted = Vec::new();
        let copies = self.find_wanted(message, Some(origin), false, &mut wanted);
        wanted.into_iter().chain(copies).any(|(id, wanted)| {
            let qos = wanted.qos.min(message.qos);
            self.sessions.get(&id).is_some_and(|session| is_stored(session, qos))
        })
    }

    /// Who wants a message: into `wanted` each session once, in the order of their numbers, for its own subscriptions or as
    /// the one member of a shared one that is chosen; further copies for those who are chosen and have one coming already.
    /// With `takes_turn` the next message goes to other members.
    pub(super) fn find_wanted(
        &self,
        message: &Message,
        origin: Option<SessionId>,
        takes_turn: bool,
        wanted: &mut Vec<(SessionId, Wanted)>,
    ) -> Vec<(SessionId, Wanted)> {
        self.tree.matches(&message.topic, |id, subscription| {
            let own = origin == Some(*id);
            // A rule of an uplink never sends back up what came down from there.
            if own && (subscription.no_local || subscription.rule.is_some()) {
                return;
            }
            wanted.push((*id, Wanted::new(subscription)));
        });
        if !wanted.is_sorted_by(|(one, _), (next, _)| one < next) {
            wanted.sort_by_key(|(id, _)| *id);
            wanted.dedup_by(|(id, again), (first, have)| {
                let is_same = id == first;
                if is_same {
                    have.join(again.clone());
                }
                is_same
            });
        }
        let mut copies = Vec::new();
        if !self.shares.is_empty() {
            let readiness = |id, subscription: &Subscription| {
                readiness(&self.sessions, &self.options, id, subscription, message)
            };
            self.shares.choose(&message.topic, takes_turn, readiness, |id, subscription| {
                let share = Wanted::shared(subscription);
                match wanted.binary_search_by_key(&id, |(id, _)| *id) {
                    Err(place) => wanted.insert(place, (id, share)),
                    Ok(_) => copies.push((id, share)),
                }
            });
        }
        copies
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
        let message = Arc::new(message.clone());
        let targets = stored.then(|| {
            let target = Target { session: id, qos, retain: true, shared: false };
            let targets: Arc<[Target]> = Arc::from([target]);
            let (message, copy) = (message.clone(), targets.clone());
            self.uncommitted_bytes += message.payload.len();
            self.changes.push(Change::Append { seq, message, targets: copy });
            targets
        });
        let out = Outgoing {
            seq,
            message,
            qos,
            retain: true,
            subscription_ids: subscription.id.into_iter().collect(),
            shared: false,
            stored: targets,
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
pub(super) fn is_queue_full(session: &Session, options: &EngineOptions) -> bool {
    let (messages_max, bytes_max) = (options.client_queue_max, options.client_queue_bytes_max);
    !session.is_uplink() && session.outbox.is_full(messages_max, bytes_max)
}

/// Whether what has no stored copy would be too much in memory.
fn is_memory_full(session: &Session, options: &EngineOptions) -> bool {
    session.outbox.ready_len() >= options.memory_queue_max
        || session.outbox.ready_bytes() >= options.memory_queue_bytes_max
}

/// How well a session can take a message of a shared subscription.
pub(super) fn readiness(
    sessions: &NumberMap<SessionId, Box<Session>>,
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
    let is_full =
        if stored { is_queue_full(session, options) } else { is_memory_full(session, options) };
    match (connected, stored) {
        (false, false) => Readiness::No,
        (_, _) if is_full => Readiness::Full,
        (false, true) => Readiness::Away,
        (true, _) if outbox.ready_len() > 0 => Readiness::Behind,
        (true, _) => Readiness::Ready,
    }
}

//! core: what a client subscribes to, alone or shared with others. MQTT 5.0 sections 3.8 to 3.11, 4.7 and 4.8.

use std::collections::HashMap;
use std::sync::Arc;

use super::limits::{NOT_ALLOWED, Refusal};
use super::route::is_queue_full;
use super::{Engine, Fact};
use crate::hub::outbox::Outgoing;
use crate::hub::session::{Session, Subscription, sends_retained};
use crate::hub::tally::Counted;
use crate::model::{Message, Moment, QoS, TopicFilter, TopicName};
use crate::mqtt::{Packet, ReasonCode, SubAck, Subscribe, SubscribeFilter, Unsubscribe};
use crate::store::{Change, SessionId};

impl Engine {
    pub(super) fn handle_subscribe(&mut self, id: SessionId, request: &Subscribe, now: Moment) {
        let mut reasons = Vec::with_capacity(request.filters.len());
        let mut retained = Vec::new();
        let mut reason_string = None;
        for wanted in &request.filters {
            if self.meet(id, &wanted.filter) {
                reasons.push(ReasonCode::Success);
                continue;
            }
            reasons.push(match self.refuse_subscription(id, &wanted.filter) {
                Some(Refusal { reason, why, .. }) => {
                    reason_string = Some(why.into());
                    reason
                }
                None => self.subscribe(id, wanted, request.subscription_id, now, &mut retained),
            });
        }
        // If every filter was refused, nothing was added to a batch.
        let durable = self.sessions.get(&id).is_some_and(|session| session.durable);
        let needs = if durable { self.last_batch() } else { 0 };
        let user_properties = Vec::new();
        let packet_id = request.packet_id;
        let answer = SubAck { packet_id, reason_string, user_properties, reasons };
        self.answer(id, Packet::SubAck(answer), needs);
        for (message, subscription) in retained {
            self.deliver_retained(id, &message, &subscription);
        }
    }

    fn refuse_subscription(&mut self, id: SessionId, filter: &TopicFilter) -> Option<Refusal> {
        let Some(refusal) = self.subscription_refused(id, filter) else {
            return self.denies_subscription(id, filter).then_some(NOT_ALLOWED);
        };
        self.count_refusal(refusal);
        let session = self.sessions.get_mut(&id)?;
        session.counters.subscriptions_refused += 1;
        self.facts.push_back(Fact::SubscriptionRefused {
            session: session.name().clone(),
            filter: filter.as_str().into(),
            reason: refusal.reason,
            address: session.rights.address(),
            count: session.counters.subscriptions_refused,
        });
        Some(refusal)
    }

    fn subscribe(
        &mut self,
        id: SessionId,
        wanted: &SubscribeFilter,
        subscription_id: Option<u32>,
        now: Moment,
        retained: &mut Vec<(Message, Subscription)>,
    ) -> ReasonCode {
        let filter = &wanted.filter;
        let mut subscription = Subscription::from_request(wanted, subscription_id);
        // A bridge of 3.1.1 cannot ask for it.
        let bridge = self.sessions.get(&id).is_some_and(|session| session.bridge);
        subscription.no_local |= bridge;
        subscription.retain_as_published |= bridge;
        let existed = self.enter_filter(id, filter, &subscription);
        let Some(session) = self.sessions.get_mut(&id) else { return ReasonCode::UnspecifiedError };
        session.subscriptions.insert(filter.clone(), subscription.clone());
        if session.durable {
            let options = Some((subscription.options_byte(), subscription_id));
            self.changes.push(Change::Subscription {
                session: id,
                filter: filter.clone(),
                options,
            });
            self.sync = true;
        }
        // All of them are sent, however many there are, but not again and again to a client that reads none. None are
        // sent for shared subscriptions (4.8.2).
        let waiting = session.outbox.queued().saturating_add(retained.len() as u64);
        let (waiting_max, bound) = match session.durable {
            true => (self.options.client_queue_max, Counted::DroppedStored),
            false => (self.options.memory_queue_max as u64, Counted::DroppedWaiting),
        };
        let is_full =
            waiting >= waiting_max || session.durable && is_queue_full(session, &self.options);
        if !filter.is_shared() && sends_retained(wanted.retain_handling, existed) {
            let rights = self.sessions.get(&id).map(|session| &session.rights);
            let withheld = |m: &&Message| rights.is_some_and(|rights| rights.withholds(&m.topic));
            let found = self.retained_for(filter, now).filter(|m| !withheld(m)).cloned();
            let before = retained.len();
            retained.extend(found.map(|message| (message, subscription.clone())));
            if is_full {
                let count = retained.drain(before..).count();
                self.count_overflow(id, bound, count as u64, now);
            }
        }
        match wanted.qos {
            QoS::AtMostOnce => ReasonCode::Success,
            QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
            QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
        }
    }

    pub(super) fn handle_unsubscribe(&mut self, id: SessionId, request: &Unsubscribe) {
        let mut needs = 0;
        let mut reasons = Vec::with_capacity(request.filters.len());
        for filter in &request.filters {
            let Some(session) = self.sessions.get_mut(&id) else { return };
            let existed = session.subscriptions.remove(filter).is_some();
            if existed && session.durable {
                let (filter, options) = (filter.clone(), None);
                self.changes.push(Change::Subscription { session: id, filter, options });
                self.sync = true;
                needs = self.open_batch;
            }
            if existed {
                self.leave_filter(id, filter);
            }
            reasons.push(if existed {
                ReasonCode::Success
            } else {
                ReasonCode::NoSubscriptionExisted
            });
        }
        let answer = SubAck {
            packet_id: request.packet_id,
            reason_string: None,
            user_properties: Vec::new(),
            reasons,
        };
        self.answer(id, Packet::UnsubAck(answer), needs);
    }

    /// Lets a session's subscription be found by what is published; tells whether there was one to this filter.
    pub(super) fn enter_filter(
        &mut self,
        id: SessionId,
        filter: &TopicFilter,
        subscription: &Subscription,
    ) -> bool {
        match shared_by(filter) {
            Some((name, filter)) => self.shares.insert((name, &filter), id, subscription.clone()),
            None => self.tree.insert(filter, id, subscription.clone()).is_some(),
        }
    }

    /// The inverse of [`Self::enter_filter`].
    pub(super) fn leave_filter(&mut self, id: SessionId, filter: &TopicFilter) {
        match shared_by(filter) {
            Some((name, filter)) => self.shares.remove((name, &filter), id),
            None => _ = self.tree.remove(filter, &id),
        }
    }

    /// What shared subscriptions brought to a session that is gone, and what it has not got, goes to other members of them
    /// [MQTT-4.8.2-5]. `subscriptions` are those it had.
    pub(super) fn share_again(
        &mut self,
        outs: &[Outgoing],
        subscriptions: &HashMap<TopicFilter, Subscription>,
        now: Moment,
    ) {
        for (turn, out) in outs.iter().enumerate() {
            let topic = &out.message.topic;
            let mut filters: Vec<&TopicFilter> = subscriptions
                .keys()
                .filter(|filter| filter.is_shared() && filter.selects(topic))
                .collect();
            filters.sort_unstable();
            // Each of several groups that chose the same member has a copy of its own.
            let Some(filter) = filters.get(turn % filters.len().max(1)) else { continue };
            self.deliver_to_group(&out.message, filter, now);
        }
    }

    fn deliver_to_group(&mut self, message: &Arc<Message>, filter: &TopicFilter, now: Moment) {
        let Some((name, filter)) = shared_by(filter) else { return };
        let Self { shares, sessions, options, .. } = self;
        let readiness = |id, subscription: &Subscription| {
            super::route::readiness(sessions, options, id, subscription, message)
        };
        if let Some((id, subscription)) = shares.choose_in((name, &filter), readiness) {
            self.deliver_shared(message, id, &subscription, now);
        }
    }
}

/// The ids of a session's subscriptions that brought a message [MQTT-3.3.4-3]: of a shared one's copy that one's, of the
/// other copy all others'.
pub(super) fn subscription_ids(
    subscriptions: &HashMap<TopicFilter, Subscription>,
    topic: &TopicName,
    shared: bool,
) -> Vec<u32> {
    let brought = |filter: &TopicFilter| filter.is_shared() == shared && filter.selects(topic);
    let with_id = subscriptions.iter().filter(|(_, subscription)| subscription.id.is_some());
    let mut ids: Vec<u32> =
        with_id.filter(|(filter, _)| brought(filter)).filter_map(|(_, s)| s.id).collect();
    ids.sort_unstable();
    if shared {
        ids.truncate(1);
    }
    ids
}

/// The messages of a session that others may get instead of it.
pub(super) fn unsettled_shared(session: &Session) -> Vec<Outgoing> {
    let shares = session.subscriptions.keys().any(TopicFilter::is_shared);
    if shares { session.outbox.unsettled_shared() } else { Vec::new() }
}

fn shared_by(filter: &TopicFilter) -> Option<(&str, TopicFilter)> {
    let (name, filter) = filter.shared()?;
    // What is left of a filter behind whole levels is one.
    Some((name, TopicFilter::new(filter).ok()?))
}

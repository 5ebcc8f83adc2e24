//! core: connections come and go; sessions begin, are resumed, and end. MQTT 5.0 sections 3.1.2.4, 3.1.2.11.2, 4.1.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use super::bridge::server_of;
use super::subscriptions::{subscription_ids, unsettled_shared};
use super::{Engine, Fact, Output, Rights, Timer};
use crate::access::Principal;
use crate::hub::drops::{Drops, TellDrops};
use crate::hub::inbox::Inbox;
use crate::hub::node::{NodeId, Peer};
use crate::hub::outbox::{LiveFirst, Outbox, Outgoing};
use crate::hub::session::{
    Accept, Caller, ConnectionId, Counters, Forward, Link, Session, SessionWill, Subscription,
};
use crate::hub::tally::Counted;
use crate::model::{Message, Moment, QoS, Seq, Timestamp, TopicFilter, TopicName};
use crate::mqtt::{ReasonCode, Version};
use crate::store::{Change, SessionId, SessionOwner, StoredSession};

/// Messages in flight at most to a bridge of 3.1.1, which cannot say how many it takes: mosquitto drops those of QoS 2
/// beyond 20 without a word.
const BRIDGE_WINDOW: u16 = 20;

/// A LAN client that wants in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachClient {
    /// Its name; never empty here.
    pub client_id: Arc<str>,
    /// Whether what was kept for it is thrown away first.
    pub clean_start: bool,
    /// Seconds the session outlives the connection; `u32::MAX` never ends.
    pub expiry: u32,
    /// The version it speaks.
    pub version: Version,
    /// Its receive maximum; 65,535 if it did not say.
    pub receive_maximum: NonZeroU16,
    /// The largest packet it takes.
    pub packet_bytes_max: Option<u32>,
    /// Its will.
    pub will: Option<SessionWill>,
    /// As whom it has entered.
    pub principal: Arc<Principal>,
    /// How it came in.
    pub caller: Arc<Caller>,
    /// Whether it is a broker that dials in as a bridge.
    pub bridge: bool,
    /// Which gateway it is, if it said so in CONNECT.
    pub peer: Option<Peer>,
}

/// An uplink's durable session, known before it first connects.
#[derive(Debug, Clone)]
pub struct UplinkSession {
    /// The uplink's name in the configuration.
    pub name: Arc<str>,
    /// What goes up; the first rule that takes a topic decides.
    pub forward: Vec<Forward>,
    /// What is taken from upstream, under which name; the first rule that takes a topic decides.
    pub accept: Vec<Accept>,
    /// Messages in flight at most.
    pub window: u16,
    /// Whether PUBREC counts as delivery when the upstream loses the session.
    pub trust_received: bool,
    /// Whether new messages pass a backlog.
    pub live_first: Option<LiveFirst>,
    /// Topics that stay here whatever `forward` says.
    pub withheld: Option<TopicFilter>,
    /// How the upstream is told of messages it will not get; `None` tells nobody.
    pub tell_drops: Option<TellDrops>,
}

/// An uplink's connection, after its CONNACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachUplink {
    /// The uplink's name.
    pub name: Arc<str>,
    /// Whether the upstream still has the session.
    pub session_present: bool,
    /// The version spoken.
    pub version: Version,
    /// The upstream's receive maximum; 65,535 if it did not say.
    pub receive_maximum: NonZeroU16,
    /// The largest packet it takes.
    pub packet_bytes_max: Option<u32>,
    /// The highest QoS it takes (3.2.2.3.4).
    pub qos_max: QoS,
    /// Whether it takes retained messages (3.2.2.3.5).
    pub retain_available: bool,
    /// Which gateway the upstream is, if it said so.
    pub peer: Option<Peer>,
    /// Which of several brokers it is: its address. A session is resumed only where it stands.
    pub server: Option<Arc<str>>,
}

/// A connection is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attached {
    /// Its number.
    pub connection: ConnectionId,
    /// Whether the session was there before.
    pub session_present: bool,
    /// The batch that must be durable before the other side may speak or be spoken to; 0 for none. What was thrown away
    /// for a new session must not come back after a crash: its packet ids would swallow the new session's messages.
    pub needs: u64,
    /// Seconds the session outlives the connection; `u32::MAX` never ends.
    pub expiry: u32,
    /// Which gateway this is, for a peer that said which it is.
    pub node: NodeId,
    /// Why it is not in after all: there are as many sessions as may be. Nothing else holds then.
    pub refused: Option<ReasonCode>,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetachCause {
    /// With a normal DISCONNECT; in 5.0 it may change the session expiry.
    Goodbye {
        /// The session expiry it set, in seconds.
        expiry: Option<u32>,
    },
    /// With a DISCONNECT that asks for the will (reason 0x04, or an error of the client's).
    GoodbyeWithWill {
        /// The session expiry it set, in seconds.
        expiry: Option<u32>,
    },
    /// Any other way: the will is due.
    Lost,
}

impl Engine {
    /// Takes up a session that was found in the store.
    /// Tells how long its client had been away.
    pub(super) fn adopt(&mut self, stored: StoredSession, last_seq: Seq, now: Moment) -> Duration {
        let StoredSession { id, owner, cursor, expiry, away_since, subscriptions, .. } = stored;
        let window = self.options.client_window;
        let mut outbox = Outbox::durable(
            id,
            window,
            cursor,
            last_seq,
            stored.queued,
            stored.settled,
            stored.flights,
        );
        outbox.set_queued_bytes(stored.queued_bytes);
        if let Some((first, last)) = stored.reserved.filter(|_| stored.ids_lost) {
            outbox.distrust(first, last);
        }
        let (index, name) = self.owner_index(&owner);
        index.insert(name, id);
        let is_uplink = matches!(owner, SessionOwner::Uplink(_));
        self.client_sessions += usize::from(!is_uplink);
        let expiry_max = if is_uplink { u32::MAX } else { self.options.session_expiry_max };
        let expiry = expiry.min(expiry_max);
        let mut session = new_session(owner, window, expiry, outbox);
        (session.durable, session.known) = (true, true);
        session.since = away_since.unwrap_or_default();
        session.inbox = Inbox::new(stored.inbox);
        session.drops = Drops::new(stored.dropped);
        for (filter, options, subscription_id) in subscriptions {
            if session.is_uplink() {
                session.server = server_of(&filter).or(session.server);
                continue;
            }
            let subscription = Subscription::from_options(options, subscription_id);
            self.enter_filter(id, &filter, &subscription);
            session.subscriptions.insert(filter, subscription);
        }
        let Session { outbox, subscriptions, .. } = &mut *session;
        outbox.name_subscriptions(|topic, shared| subscription_ids(subscriptions, topic, shared));
        // A session that was connected when the program ended has been away since now.
        // So has one that left, or is found, while the clock cannot be believed, as far as anybody can tell.
        let is_known = self.clock.believes(now);
        let away_since = away_since.filter(|since| since.is_set() && is_known);
        let away = away_since.map_or(Duration::ZERO, |since| now.wall.since(since));
        if !session.is_uplink() && expiry != u32::MAX {
            let left = Duration::from_secs(expiry.into()).saturating_sub(away);
            self.timers.insert((now.mono + left, id, Timer::Expiry));
        }
        self.sessions.insert(id, session);
        away
    }

    /// Makes the session of an uplink known, or sets its rules if the store had it. One that is new gets what is retained.
    pub fn register_uplink(&mut self, uplink: UplinkSession) {
        let UplinkSession { name, forward, accept, window, withheld, .. } = uplink;
        let UplinkSession { trust_received, live_first, tell_drops, .. } = uplink;
        let known = self.uplinks.get(&name).copied();
        let id = match known {
            Some(id) => id,
            None => {
                let id = self.next_session();
                let cursor = self.last_seq;
                let owner = SessionOwner::Uplink(name.clone());
                let expiry = u32::MAX;
                self.changes.push(Change::Session {
                    session: id,
                    owner: owner.clone(),
                    cursor,
                    expiry,
                });
                let outbox = Outbox::durable(id, window, cursor, cursor, 0, Vec::new(), Vec::new());
                let mut session = new_session(owner, window, expiry, outbox);
                session.durable = true;
                self.sessions.insert(id, session);
                self.uplinks.insert(name, id);
                id
            }
        };
        for (place, rule) in forward.iter().enumerate().rev() {
            self.tree.insert(&rule.filter, id, Subscription::of_rule(place, rule));
        }
        self.accepted_up.extend(accept.iter().map(|rule| rule.filter.unshared()));
        if let Some(session) = self.sessions.get_mut(&id) {
            session.forward = forward;
            session.accept = accept;
            session.withheld = withheld;
            session.configured = true;
            session.window = window;
            session.trust_received = trust_received;
            session.outbox.set_live_first(live_first);
            session.tell_drops = tell_drops;
        }
        if known.is_none() {
            self.retain_again(id, self.started);
        }
    }

    /// Says which stored uplink sessions the configuration no longer has. Their messages stay.
    pub fn report_gone_uplinks(&mut self) {
        for session in self.sessions.values() {
            if !session.configured {
                let queued = session.outbox.queued();
                self.facts.push_back(Fact::UplinkGone { uplink: session.name().clone(), queued });
            }
        }
    }

    /// An uplink has its CONNACK.
    pub fn handle_attach_uplink(&mut self, attach: &AttachUplink, now: Moment) -> Option<Attached> {
        self.clock.handle_time(now);
        let id = *self.uplinks.get(&attach.name)?;
        if let Some(old) = self.sessions.get(&id)?.link.as_ref().map(|link| link.id) {
            self.handle_detach(old, DetachCause::Lost, now);
        }
        let connection = self.next_connection();
        let session_present = attach.session_present && !self.has_moved(id, attach);
        let session = self.sessions.get_mut(&id)?;
        let window = session.window.min(attach.receive_maximum.get());
        if session_present {
            session.outbox.handle_resumed(window);
        } else {
            let trust = session.trust_received;
            if session.outbox.inflight() > 0 || !session.inbox.is_empty() {
                self.resets.insert(session.owner.clone(), self.open_batch);
                // Nor may a power cut bring them back: the upstream gives the ids of its end again from here on.
                self.sync = true;
            }
            let lost = session.outbox.handle_session_lost(window, trust, &mut self.changes);
            // The upstream forgot which ids it had used, so a repeat cannot come and a new message must not be taken
            // for one.
            for packet_id in std::mem::take(&mut session.inbox).into_ids() {
                self.changes.push(Change::Inbox { session: id, packet_id, present: false });
            }
            session.counters.republished += lost.republished;
            if lost.republished > 0 || !lost.trusted.is_empty() {
                self.facts.push_back(Fact::SessionLost {
                    uplink: attach.name.clone(),
                    republished: lost.republished,
                    trusted: lost.trusted.len() as u64,
                });
            }
            for settled in lost.trusted {
                self.handle_settled(id, settled);
            }
        }
        let session = self.sessions.get_mut(&id)?;
        let was_known = std::mem::replace(&mut session.known, true);
        let mut link = Link::new(connection, attach.version, attach.packet_bytes_max);
        (link.qos_max, link.retain_available) = (attach.qos_max, attach.retain_available);
        session.link = Some(link);
        session.peer = attach.peer;
        self.connections.insert(connection, id);
        self.moved.insert(id);
        self.dirty.insert(id);
        self.note_server(id, attach.server.as_ref());
        let session = self.sessions.get(&id)?;
        let needs = self.resets.get(&session.owner).copied().unwrap_or(0);
        if was_known && !session_present {
            self.retain_again(id, now);
        }
        self.tell_drops(id, now);
        Some(Attached {
            connection,
            session_present,
            needs,
            expiry: u32::MAX,
            node: self.node,
            refused: None,
        })
    }

    /// An upstream that forgot the session has mostly forgotten what was retained, too: it gets that again, behind what
    /// waits. What may have come from there is left to it.
    fn retain_again(&mut self, id: SessionId, now: Moment) {
        let Some(session) = self.sessions.get(&id) else { return };
        let left: Vec<TopicFilter> =
            session.accept.iter().map(Accept::image).chain(session.withheld.clone()).collect();
        let mut again: BTreeMap<TopicName, (Message, Subscription)> = BTreeMap::new();
        for (place, rule) in session.forward.iter().enumerate() {
            for message in self.retained_for(&rule.filter, now) {
                if !left.iter().any(|filter| filter.matches(&message.topic)) {
                    let own = || (message.clone(), Subscription::of_rule(place, rule));
                    again.entry(message.topic.clone()).or_insert_with(own);
                }
            }
        }
        for (message, subscription) in again.into_values() {
            // A rule that drops the flag wants messages, not what is retained.
            if subscription.retain_as_published {
                self.deliver_retained(id, &message, &subscription);
            }
        }
    }

    /// A LAN client connects: its older connection ends, its session is resumed or begins.
    pub fn handle_attach_client(&mut self, mut attach: AttachClient, now: Moment) -> Attached {
        self.clock.handle_time(now);
        attach.expiry = attach.expiry.min(self.options.session_expiry_max);
        if let Some(id) = self.clients.get(&attach.client_id).copied() {
            self.take_over(id, &attach, now);
        }
        let is_known = self.clients.contains_key(&attach.client_id);
        let is_kept = attach.expiry > 0;
        if is_kept && !is_known && self.client_sessions >= self.options.client_sessions_max {
            let (connection, refused) = (self.next_connection(), Some(ReasonCode::QuotaExceeded));
            let (session_present, needs, expiry) = (false, 0, 0);
            return Attached {
                connection,
                session_present,
                needs,
                expiry,
                node: self.node,
                refused,
            };
        }
        let (id, session_present) = match self.clients.get(&attach.client_id).copied() {
            Some(id) => (id, true),
            None => (self.begin_session(&attach), false),
        };
        self.handle_entered(id, attach.principal.clone(), &mut attach.will);
        let connection = self.next_connection();
        let bound = if attach.bridge { BRIDGE_WINDOW } else { self.options.client_window };
        let window = bound.min(attach.receive_maximum.get());
        let had_will = self.wills.remove(&id).is_some();
        let will_needs = self.keep_will(id, attach.will.as_ref(), had_will);
        self.timers.retain(|(_, session, _)| *session != id);
        if let Some(session) = self.sessions.get_mut(&id) {
            if session_present && session.durable {
                if session.expiry != attach.expiry {
                    let (owner, cursor) = (session.owner.clone(), Seq(0));
                    let expiry = attach.expiry;
                    self.changes.push(Change::Session { session: id, owner, cursor, expiry });
                }
                self.changes.push(Change::Away { session: id, since: None });
            }
            session.expiry = attach.expiry;
            session.bridge = attach.bridge;
            session.peer = attach.peer;
            session.outbox.handle_resumed(window);
            let mut link = Link::new(connection, attach.version, attach.packet_bytes_max);
            link.will = attach.will.map(Box::new);
            session.link = Some(link);
            session.caller = Some(attach.caller);
            session.since = self.clock.stamp(now);
        }
        self.connections.insert(connection, id);
        self.note_peak();
        self.dirty.insert(id);
        let needs = self.resets.get(&SessionOwner::Client(attach.client_id)).copied().unwrap_or(0);
        // A client that is told it is connected relies on its will. While the disk is stuck that can only be hoped for.
        let needs = if self.stuck.is_some() { needs } else { needs.max(will_needs) };
        let expiry = attach.expiry;
        Attached { connection, session_present, needs, expiry, node: self.node, refused: None }
    }

    fn take_over(&mut self, id: SessionId, attach: &AttachClient, now: Moment) {
        let session = self.sessions.get(&id);
        let link = session.and_then(|session| Some((session.link.as_ref()?.id, session)));
        if let Some((connection, session)) = link {
            let client_id = attach.client_id.clone();
            let (first, second) =
                (session.caller.clone().unwrap_or_default(), attach.caller.clone());
            let what = self.takeovers.handle(&client_id, now.mono);
            self.counts.add(Counted::TakenOver, 1);
            self.facts.push_back(Fact::TakenOver { client_id, first, second, what });
            self.outputs.push_back(Output::Close(connection, ReasonCode::SessionTakenOver));
            self.handle_detach(connection, DetachCause::Lost, now);
        }
        if attach.clean_start {
            // A delayed will is due when its session ends (3.1.3.2.2).
            self.publish_will(id, now);
            self.end_session(id, now);
        }
    }

    fn begin_session(&mut self, attach: &AttachClient) -> SessionId {
        let id = self.next_session();
        let owner = SessionOwner::Client(attach.client_id.clone());
        let window = self.options.client_window;
        let durable = attach.expiry > 0;
        let outbox = if durable {
            let (owner, cursor, expiry) = (owner.clone(), self.last_seq, attach.expiry);
            self.changes.push(Change::Session { session: id, owner, cursor, expiry });
            Outbox::durable(id, window, cursor, cursor, 0, Vec::new(), Vec::new())
        } else {
            Outbox::new(window)
        };
        let mut session = new_session(owner, window, attach.expiry, outbox);
        session.durable = durable;
        self.client_sessions += usize::from(durable);
        self.sessions.insert(id, session);
        self.clients.insert(attach.client_id.clone(), id);
        id
    }

    /// A connection is gone.
    pub fn handle_detach(&mut self, connection: ConnectionId, cause: DetachCause, now: Moment) {
        let Some(id) = self.connections.remove(&connection) else { return };
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(link) = session.link.take() else { return };
        session.since = self.clock.stamp(now);
        // Of a session in memory this is the end.
        let shared = if session.durable { Vec::new() } else { unsettled_shared(session) };
        session.outbox.handle_disconnected();
        self.moved.insert(id);
        if session.is_uplink() {
            return;
        }
        let (DetachCause::Goodbye { expiry } | DetachCause::GoodbyeWithWill { expiry }) = cause
        else {
            return self.leave(id, link.will.map(|will| *will), shared, now);
        };
        let expiry = expiry.map(|expiry| expiry.min(self.options.session_expiry_max));
        if let Some(expiry) = expiry.filter(|expiry| session.durable && *expiry != session.expiry) {
            session.expiry = expiry;
            let (owner, cursor) = (session.owner.clone(), Seq(0));
            self.changes.push(Change::Session { session: id, owner, cursor, expiry });
        }
        let had_will = link.will.is_some();
        let is_wanted = matches!(cause, DetachCause::GoodbyeWithWill { .. });
        let will = link.will.map(|will| *will).filter(|_| is_wanted);
        if will.is_none() {
            self.keep_will(id, None, had_will);
        }
        self.leave(id, will, shared, now);
    }

    /// A client has left its session alone: its will and the session's end are due, or will be.
    fn leave(
        &mut self,
        id: SessionId,
        will: Option<SessionWill>,
        shared: Vec<Outgoing>,
        now: Moment,
    ) {
        let Some(session) = self.sessions.get(&id) else { return };
        let (durable, expiry) = (session.durable, session.expiry);
        if let Some(will) = will {
            self.begin_will(id, will, now);
        }
        if expiry == 0 || !durable {
            self.end_session_of(id, shared, now);
            return;
        }
        self.changes.push(Change::Away { session: id, since: Some(self.clock.stamp(now)) });
        if expiry != u32::MAX {
            let end = now.mono + Duration::from_secs(expiry.into());
            self.timers.insert((end, id, Timer::Expiry));
        }
    }

    pub(super) fn end_session(&mut self, id: SessionId, now: Moment) {
        self.end_session_of(id, Vec::new(), now);
    }

    /// Ends a session; others get what shared subscriptions had brought it, `shared` among it.
    fn end_session_of(&mut self, id: SessionId, mut shared: Vec<Outgoing>, now: Moment) {
        self.publish_will(id, now);
        self.timers.retain(|(_, session, _)| *session != id);
        let Some(session) = self.sessions.remove(&id) else { return };
        if let Some(link) = &session.link {
            self.connections.remove(&link.id);
        }
        for filter in session.subscriptions.keys() {
            self.leave_filter(id, filter);
        }
        shared.extend(unsettled_shared(&session));
        self.share_again(&shared, &session.subscriptions, now);
        let (index, name) = self.owner_index(&session.owner);
        index.remove(&name);
        self.dirty.remove(&id);
        self.moved.remove(&id);
        if session.durable {
            // The store deletes what only this session waited for, by what the rows say of the others.
            self.checkpoint();
            self.client_sessions -= usize::from(!session.is_uplink());
            self.changes.push(Change::EndSession { session: id });
            self.resets.insert(session.owner, self.open_batch);
        }
    }

    fn next_connection(&mut self) -> ConnectionId {
        self.last_connection += 1;
        ConnectionId(self.last_connection)
    }
}

fn new_session(owner: SessionOwner, window: u16, expiry: u32, outbox: Outbox) -> Box<Session> {
    Box::new(Session {
        configured: matches!(owner, SessionOwner::Client(_)),
        owner,
        durable: false,
        expiry,
        subscriptions: std::collections::HashMap::new(),
        forward: Vec::new(),
        accept: Vec::new(),
        withheld: None,
        bridge: false,
        peer: None,
        server: None,
        trust_received: false,
        known: false,
        window,
        outbox,
        inbox: Inbox::default(),
        link: None,
        caller: None,
        since: Timestamp::default(),
        counters: Counters::default(),
        rights: Rights::default(),
        drops: Drops::default(),
        tell_drops: None,
    })
}

//! core: the session engine. Publications in, deliveries out; one road for readings, uplinks and LAN clients, online and
//! offline: commit, pick, publish, settle.
//!
//! It is handed inputs and the time, gathers what must become durable in the *open batch*, and lets a packet leave only
//! when the batches it depends on are committed. One batch is under way at a time; what comes meanwhile joins the next.

mod access;
mod addressed;
mod attach;
mod bounds;
mod bridge;
mod deliver;
mod fact;
mod limits;
mod packets;
mod purge;
mod retain;
mod route;
mod subscriptions;
mod tally;
mod wills;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use access::DeniedWhat;
pub(super) use access::Rights;
pub use addressed::{Addressed, Arrival, Sender};
pub use attach::{AttachClient, AttachUplink, Attached, DetachCause, UplinkSession};
pub use fact::Fact;
pub use purge::EndUplinkError;

use self::bounds::Bounds;
use self::route::{Keeping, Wanted};
use super::clock::Clock;
use super::node::NodeId;
use super::numbers::{NumberMap, Turns};
use super::retained::Retained;
use super::retouch::{Retouch, untouched};
use super::session::{ConnectionId, Session, SessionStatus, SessionWill, Subscription};
use super::share::Shares;
use super::takeover::Takeovers;
use super::tally::{Counted, Counts};
use super::topic_tree::TopicTree;
use crate::access::Acl;
use crate::model::{ClockState, Moment, Seq, Timestamp, TopicFilter};
use crate::mqtt::{Packet, ReasonCode};
use crate::store::{Change, SessionId, SessionOwner, Snapshot, StoreCommand, StoreEvent, WhenFull};

/// Rows a fetch looks at, at most.
const FETCH_COUNT: usize = 500;
/// Payload bytes a fetch brings, at most (one message more).
const FETCH_BYTES: usize = 512 * 1024;
/// Changes for which the next batch has room from the start, at most.
const BATCH_USUAL: usize = 256;
/// How long after a read that failed the next one waits.
const READ_PAUSE: Duration = Duration::from_secs(5);

/// Bounds of the hub, and what it is told of the world.
#[derive(Debug, Clone, Copy)]
pub struct EngineOptions {
    /// The most the store may use, in bytes.
    pub store_bytes_max: u64,
    /// The oldest message worth keeping.
    pub age_max: Duration,
    /// What gives way when the store is full.
    pub when_full: WhenFull,
    /// Messages in flight to one LAN client, at most.
    pub client_window: u16,
    /// Messages waiting in memory for one session without a stored queue, at most.
    pub memory_queue_max: usize,
    /// Bytes of payload they may hold (one message more).
    pub memory_queue_bytes_max: usize,
    /// Messages stored for one LAN client at most; an uplink's have the bounds of the store.
    pub client_queue_max: u64,
    /// Bytes of payload they may hold (one message more).
    pub client_queue_bytes_max: u64,
    /// Sessions of LAN clients that outlive their connections, at most.
    pub client_sessions_max: usize,
    /// Subscriptions of one LAN client, at most.
    pub subscriptions_max: usize,
    /// Levels of a topic or filter of a LAN client, at most; a filter never has more than
    /// [`LEVELS_MAX`](super::topic_tree::LEVELS_MAX).
    pub topic_levels_max: usize,
    /// Bytes of a topic or filter of a LAN client, at most.
    pub topic_bytes_max: usize,
    /// Retained messages, at most; the gateway's own always have room.
    pub retained_max: usize,
    /// Bytes of their topics and payloads, at most.
    pub retained_bytes_max: usize,
    /// Seconds the session of a LAN client outlives its connection, at most; `u32::MAX` never ends it.
    pub session_expiry_max: u32,
    /// Whether the wall clock may be believed at the start.
    pub clock: ClockState,
    /// How the payload of a reading is set right.
    pub retouch: Retouch,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            store_bytes_max: 256 * 1024 * 1024,
            age_max: Duration::from_secs(30 * 24 * 3600),
            when_full: WhenFull::DropOldest,
            client_window: 256,
            memory_queue_max: 10_000,
            memory_queue_bytes_max: 4 * 1024 * 1024,
            client_queue_max: 100_000,
            client_queue_bytes_max: 64 * 1024 * 1024,
            client_sessions_max: 20_000,
            subscriptions_max: 1000,
            topic_levels_max: 128,
            topic_bytes_max: 4096,
            retained_max: 100_000,
            retained_bytes_max: 64 * 1024 * 1024,
            session_expiry_max: 30 * 24 * 3600,
            clock: ClockState::default(),
            retouch: untouched,
        }
    }
}

/// What the shell must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Hand a packet to a connection.
    Packet(ConnectionId, Packet),
    /// The message a connection had to say is acknowledged.
    Said(ConnectionId),
    /// End a connection, telling why where the protocol can.
    Close(ConnectionId, ReasonCode),
    /// Hand a message to whoever listens for it in the gateway itself.
    Addressed(Box<Addressed>),
}

/// The hub as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HubStatus {
    /// Every session.
    pub sessions: Vec<SessionStatus>,
    /// Publications taken since the start.
    pub accepted: u64,
    /// The last place given to a message.
    pub last_seq: Seq,
    /// Bytes the store uses.
    pub bytes_used: u64,
    /// Changes that are not durable yet.
    pub uncommitted: usize,
    /// Retained messages.
    pub retained: usize,
    /// Bytes of their topics and payloads.
    pub retained_bytes: usize,
    /// Messages there was no room to retain, since the start.
    pub retained_refused: u64,
    /// Retained messages that expired, since the start.
    pub retained_expired: u64,
    /// Members of shared subscriptions.
    pub shared_subscriptions: usize,
    /// Why the store cannot write, and since when; `None` while it can.
    pub stuck: Option<(Arc<str>, Timestamp)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Will,
    Expiry,
}

/// The session engine.
#[derive(Debug)]
pub struct Engine {
    options: EngineOptions,
    /// Which gateway this is.
    node: NodeId,
    /// What is accepted from any upstream.
    accepted_up: Vec<TopicFilter>,
    /// What the gateway itself listens to.
    listening: Vec<TopicFilter>,
    clock: Clock,
    acl: Arc<Acl>,
    started: Moment,
    sessions: NumberMap<SessionId, Box<Session>>,
    clients: HashMap<Arc<str>, SessionId>,
    /// How many of them outlive their connections.
    client_sessions: usize,
    uplinks: HashMap<Arc<str>, SessionId>,
    connections: NumberMap<ConnectionId, SessionId>,
    tree: TopicTree<SessionId, Subscription>,
    shares: Shares,
    retained: Retained,
    /// What the gateway says of itself: retained and not stored.
    of_self: Retained,
    /// When to look for expired ones.
    retained_check: Option<Instant>,
    retained_refused: u64,
    retained_expired: u64,
    /// Not everybody is there who is known to the store or the configuration.
    starting: bool,
    /// Wills that are published once everybody is.
    due_wills: Vec<(SessionId, SessionWill)>,
    wills: NumberMap<SessionId, SessionWill>,
    timers: BTreeSet<(Instant, SessionId, Timer)>,
    last_seq: Seq,
    last_session: u32,
    last_connection: u64,
    accepted: u64,
    /// What was counted since the start.
    counts: Counts,
    /// The most clients that were connected at one moment.
    clients_peak: u64,
    takeovers: Takeovers,
    /// Changes of the open batch.
    changes: Vec<Change>,
    /// Whether somebody else relies on the open batch to survive a power cut.
    sync: bool,
    /// Payload bytes in them.
    uncommitted_bytes: usize,
    /// Messages everybody has.
    deletes: Vec<Seq>,
    open_batch: u64,
    committed_batch: u64,
    /// Batches, not durable yet, in which an owner's session, or what was under way in it, is thrown away.
    resets: HashMap<SessionOwner, u64>,
    committing: Option<Seq>,
    committed_to: Seq,
    /// Who wants the message that is being routed; empty in between.
    wanted: Vec<(SessionId, Wanted)>,
    /// For whom it is kept; empty in between.
    keeping: Keeping,
    /// Sessions to look after before the next wait.
    dirty: Turns<SessionId>,
    /// Sessions that may have more to say when a batch is durable.
    committing_for: Turns<SessionId>,
    /// Sessions that moved in the open batch.
    moved: Turns<SessionId>,
    commands: VecDeque<StoreCommand>,
    outputs: VecDeque<Output>,
    facts: VecDeque<Fact>,
    bounds: Bounds,
    /// The batch with what an operator purged last.
    purge_batch: u64,
    /// What the disk said when a commit failed, and when, until one goes through.
    stuck: Option<(Arc<str>, Timestamp)>,
    /// Before then nothing is read, because the last read failed.
    reads_from: Option<Instant>,
}

impl Engine {
    /// Takes up what a start found in the store.
    #[must_use]
    pub fn new(options: EngineOptions, snapshot: Snapshot, now: Moment) -> Self {
        let mut retained = snapshot.retained;
        // Nobody can tell how much of its life is left to one that came before the clock was set.
        let undated = retained.iter_mut().filter(|message| !message.accepted.is_set());
        undated.for_each(|message| message.expires = None);
        let mut engine = Self {
            options,
            node: NodeId(snapshot.store),
            accepted_up: Vec::new(),
            listening: Vec::new(),
            clock: Clock::new(options.clock, snapshot.boot_first, now),
            acl: Arc::new(Acl::open()),
            started: now,
            sessions: NumberMap::default(),
            clients: HashMap::new(),
            client_sessions: 0,
            uplinks: HashMap::new(),
            connections: NumberMap::default(),
            tree: TopicTree::default(),
            shares: Shares::default(),
            retained: Retained::new(retained),
            of_self: Retained::default(),
            retained_check: Some(now.mono),
            retained_refused: 0,
            retained_expired: 0,
            starting: true,
            due_wills: Vec::new(),
            wills: NumberMap::default(),
            timers: BTreeSet::new(),
            last_seq: snapshot.last_seq,
            last_session: snapshot.last_session,
            last_connection: 0,
            accepted: 0,
            counts: Counts::default(),
            clients_peak: 0,
            takeovers: Takeovers::default(),
            changes: Vec::new(),
            sync: false,
            uncommitted_bytes: 0,
            deletes: Vec::new(),
            open_batch: 1,
            committed_batch: 0,
            resets: HashMap::new(),
            committing: None,
            committed_to: snapshot.last_seq,
            wanted: Vec::new(),
            keeping: Keeping::default(),
            dirty: Turns::default(),
            committing_for: Turns::default(),
            moved: Turns::default(),
            commands: VecDeque::new(),
            outputs: VecDeque::new(),
            facts: VecDeque::new(),
            bounds: Bounds::default(),
            purge_batch: 0,
            stuck: None,
            reads_from: None,
        };
        let mut away = HashMap::new();
        for stored in snapshot.sessions {
            let id = stored.id;
            away.insert(id, engine.adopt(stored, snapshot.last_seq, now));
        }
        let away = |id| away.get(&id).copied().unwrap_or_default();
        engine.adopt_wills(snapshot.wills, away, now);
        // Sessions that ended while the program did not run must not be found by the first who connects.
        engine.handle_timeout(now);
        engine
    }

    /// Looks after every session that has something to do. The shell calls it before it drains the outputs.
    pub fn settle_down(&mut self, now: Moment) {
        self.clock.handle_time(now);
        if self.starting {
            self.end_start(now);
        }
        while let Some(id) = self.dirty.pop_first() {
            self.pump(id, now);
        }
    }

    /// Whether the wall clock may be believed has changed.
    pub fn handle_clock(&mut self, state: ClockState, now: Moment) {
        self.clock.handle_state(state, now);
    }

    /// Which gateway this is.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// What the shell must do next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// What happened.
    pub fn poll_fact(&mut self) -> Option<Fact> {
        self.facts.pop_front()
    }

    /// What to ask of the store next: a batch if none is under way, a read, a trim.
    pub fn poll_store(&mut self, now: Moment) -> Option<StoreCommand> {
        if self.committing.is_none()
            && let Some(batch) = self.take_batch()
        {
            return Some(batch);
        }
        if let Some(command) = self.commands.pop_front() {
            return Some(command);
        }
        self.poll_trim(now)
    }

    /// Puts how far each session has come into the open batch.
    fn checkpoint(&mut self) {
        while let Some(id) = self.moved.pop_first() {
            if let Some(session) = self.sessions.get_mut(&id) {
                session.outbox.checkpoint(&mut self.changes);
                session.drops.checkpoint(id, &mut self.changes);
            }
        }
    }

    fn take_batch(&mut self) -> Option<StoreCommand> {
        self.checkpoint();
        self.deletes.sort_unstable();
        for seq in self.deletes.drain(..) {
            match self.changes.last_mut() {
                Some(Change::Delete { last, .. }) if last.next() == seq => *last = seq,
                Some(_) | None => self.changes.push(Change::Delete { first: seq, last: seq }),
            }
        }
        if self.changes.is_empty() {
            return None;
        }
        // The next batch is mostly as large as this one.
        let room = Vec::with_capacity(self.changes.len().min(BATCH_USUAL));
        let changes = std::mem::replace(&mut self.changes, room);
        self.uncommitted_bytes = 0;
        let batch = self.open_batch;
        self.open_batch += 1;
        self.committing = Some(self.last_seq);
        let sync = std::mem::take(&mut self.sync);
        Some(StoreCommand::Commit { batch, changes, sync })
    }

    /// The store answered.
    pub fn handle_store(&mut self, event: StoreEvent, now: Moment) {
        match event {
            StoreEvent::Committed(committed) => {
                self.committed_batch = committed.batch;
                self.resets.retain(|_, batch| *batch > committed.batch);
                self.measure(committed.bytes_used, committed.bytes_room);
                if let Some(seq) = self.committing.take() {
                    self.committed_to = seq;
                }
                self.release_held();
            }
            StoreEvent::Fetched { session, messages, examined } => {
                self.handle_fetched(session, messages, examined);
            }
            StoreEvent::Trimmed(trimmed) => {
                self.handle_trimmed(&trimmed, now);
            }
            StoreEvent::TrimFailed(_) => self.handle_trim_failed(now),
            StoreEvent::ReadFailed(_) => {
                self.reads_from = Some(now.mono + READ_PAUSE);
                for (id, session) in &mut self.sessions {
                    session.outbox.handle_fetch_failed();
                    self.dirty.insert(*id);
                }
            }
            StoreEvent::Stuck(cause) | StoreEvent::Damaged(cause) => {
                self.stuck = Some((cause.to_string().into(), now.wall));
            }
            StoreEvent::Unstuck { .. } => self.stuck = None,
            // Whoever asked is told by the shell.
            StoreEvent::Looked { .. } | StoreEvent::Verified { .. } => {}
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(at, _, _)| *at);
        let quiet = self.bounds.poll_timeout();
        let backlogs = self.uplinks.values().filter_map(|id| self.sessions.get(id));
        let backlogs = backlogs.filter_map(|session| session.outbox.poll_timeout());
        let timers = timer.into_iter().chain(self.reads_from).chain(self.retained_check);
        timers.chain(quiet).chain(backlogs).min()
    }

    /// A deadline has come: delayed wills are published, sessions that were away too long end, drops are over.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.end_drops(now);
        self.expire_retained(now);
        if self.reads_from.take_if(|at| *at <= now.mono).is_some() {
            self.dirty.extend(self.sessions.keys());
        }
        for id in self.uplinks.values() {
            let session = self.sessions.get(id);
            let at = session.and_then(|session| session.outbox.poll_timeout());
            if at.is_some_and(|at| at <= now.mono) {
                self.dirty.insert(*id);
            }
        }
        while let Some((at, id, timer)) = self.timers.first().copied() {
            if at > now.mono {
                return;
            }
            self.timers.pop_first();
            match timer {
                Timer::Will => self.publish_will(id, now),
                Timer::Expiry => {
                    self.counts.add(Counted::SessionsExpired, 1);
                    self.end_session(id, now);
                }
            }
        }
    }

    /// Whether a batch is durable.
    #[must_use]
    pub fn is_committed(&self, batch: u64) -> bool {
        batch <= self.committed_batch
    }

    /// Changes waiting for the next batch.
    #[must_use]
    pub fn uncommitted(&self) -> usize {
        self.changes.len() + self.deletes.len()
    }

    /// Payload bytes waiting for the next batch.
    #[must_use]
    pub fn uncommitted_bytes(&self) -> usize {
        self.uncommitted_bytes
    }

    /// Whether everything taken so far is durable, and whatever was dropped is counted.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        let idle = self.committing.is_none() && !self.bounds.is_trimming();
        idle && self.uncommitted() == 0 && self.moved.is_empty()
    }

    /// The hub as others see it.
    #[must_use]
    pub fn status(&self) -> HubStatus {
        let mut sessions: Vec<SessionStatus> = self
            .sessions
            .iter()
            .map(|(id, session)| SessionStatus {
                id: *id,
                owner: session.owner.clone(),
                durable: session.durable,
                configured: session.configured,
                connected: session.link.is_some(),
                queued: session.outbox.queued(),
                inflight: session.outbox.inflight(),
                oldest: session.outbox.oldest(),
                waiting_bytes: session.outbox.ready_bytes(),
                subscriptions: session.subscriptions.len(),
                user: session.rights.user().cloned(),
                caller: session.caller.clone(),
                version: session.link.as_ref().map(|link| link.version),
                expiry: session.expiry,
                since: session.since,
                counters: session.counters,
            })
            .collect();
        sessions.sort_by_key(|session| session.id);
        HubStatus {
            sessions,
            accepted: self.accepted,
            last_seq: self.last_seq,
            bytes_used: self.bounds.bytes_used(),
            uncommitted: self.uncommitted(),
            retained: self.retained.len(),
            retained_bytes: self.retained.bytes(),
            retained_refused: self.retained_refused,
            retained_expired: self.retained_expired,
            shared_subscriptions: self.shares.members(),
            stuck: self.stuck.clone(),
        }
    }

    /// The last batch that holds, or will hold, a change.
    fn last_batch(&self) -> u64 {
        if self.changes.is_empty() { self.open_batch - 1 } else { self.open_batch }
    }

    fn next_seq(&mut self) -> Seq {
        self.last_seq = self.last_seq.next();
        self.last_seq
    }

    fn next_session(&mut self) -> SessionId {
        self.last_session += 1;
        SessionId(self.last_session)
    }

    fn owner_index(
        &mut self,
        owner: &SessionOwner,
    ) -> (&mut HashMap<Arc<str>, SessionId>, Arc<str>) {
        match owner {
            SessionOwner::Uplink(name) => (&mut self.uplinks, name.clone()),
            SessionOwner::Client(name) => (&mut self.clients, name.clone()),
        }
    }
}

//! core: the engine with everything around it, and what must hold at every step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fieldpost::access::Principal;
use fieldpost::hub::{
    Accept, AttachClient, AttachUplink, Attached, DetachCause, DropSummary, Engine, EngineOptions,
    Fact, Forward, LiveFirst, Marks, Output, TellDrops, UplinkSession,
};
use fieldpost::model::{Body, Message, Moment, QoS, Seq, Timestamp, TopicFilter, TopicName};
use fieldpost::mqtt::{Packet, ReasonCode, Version};
use fieldpost::store::{
    Change, Committed, Phase, Selection, SessionId, SessionOwner, Slice, StoreCommand, StoreEvent,
    Trimmed,
};

use crate::peer::{Heard, LATE, Peer};
use crate::state::{Event, State};

/// The places of the peers in [`World::peers`].
pub const UPLINK: usize = 0;
pub const FAST: usize = 1;
pub const SLOW: usize = 2;
pub const MEMORY: usize = 3;
/// A second uplink, if there is one.
pub const SECOND: usize = 4;

/// Rows a fetch brings here: few, so that a backlog takes many.
const FETCH_MAX: usize = 7;

/// A payload that tells of drops: beyond all others, each its own, with the count below [`SUMMARY_UNIT`].
const SUMMARY: u64 = 1_000_000_000_000;
const SUMMARY_UNIT: u64 = 1_000_000;

fn mark_late(payload: &Bytes, _: Body, marks: Marks) -> Bytes {
    let text = std::str::from_utf8(payload).expect("a number").trim_start_matches(LATE);
    Bytes::from(if marks.late { format!("{LATE}{text}") } else { text.to_owned() })
}

fn tell(summary: &DropSummary<'_>) -> Bytes {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    let count: u64 = summary.counts.iter().map(|count| count.count).sum();
    Bytes::from((SUMMARY + number * SUMMARY_UNIT + count).to_string())
}

/// A message that became durable for a session.
#[derive(Debug, Clone, Copy)]
struct Expected {
    /// When, among all of them.
    index: u64,
    seq: Seq,
    qos: QoS,
    /// It was published twice, at QoS 1, and stands in the store twice.
    twice: bool,
}

/// What the configuration says of an uplink.
#[derive(Debug, Clone, Copy)]
pub struct UplinkRules {
    pub window: u16,
    /// Whether new messages pass a backlog.
    pub live_first: Option<LiveFirst>,
}

impl Default for UplinkRules {
    fn default() -> Self {
        Self { window: 10, live_first: None }
    }
}

pub struct World {
    pub engine: Engine,
    pub state: State,
    /// What of it survives a power cut.
    synced: State,
    /// How many messages had been appended by then.
    synced_appended: u64,
    pub commands: VecDeque<StoreCommand>,
    pub events: VecDeque<StoreEvent>,
    pub peers: Vec<Peer>,
    pub facts: Vec<Fact>,
    pub closed: Vec<ReasonCode>,
    /// The session of each peer, as it knows it.
    sessions: Vec<Option<SessionId>>,
    /// Sessions whose peers have not given them up.
    alive: BTreeSet<SessionId>,
    /// What became durable for each session.
    expected: BTreeMap<SessionId, BTreeMap<u64, Expected>>,
    appended: u64,
    arrived: BTreeMap<(SessionId, u64), u32>,
    last_first: BTreeMap<(SessionId, QoS, bool), u64>,
    may_repeat: BTreeSet<(SessionId, u64)>,
    /// The last message of an uplink from before its rules changed: some had passed others by then.
    unordered_to: BTreeMap<SessionId, u64>,
    dropped: BTreeSet<u64>,
    /// The purge under way, and how far it has come.
    purging: Option<(Selection, Seq)>,
    /// What an operator chose of a session's queue, the batch in which it went, and whether it must not arrive.
    purged: BTreeMap<(SessionId, u64), (u64, bool)>,
    /// How many of the upstream's went by command.
    purged_upstream: u64,
    from_peers: BTreeMap<u64, (QoS, BTreeSet<SessionId>)>,
    options: EngineOptions,
    /// The uplinks, in the order of their peers.
    uplinks: Vec<UplinkRules>,
    pub now: Moment,
    last_payload: u64,
    /// Drops the upstream has been told, or would have been.
    told: BTreeSet<u64>,
    has_crashed: bool,
    has_lost_power: bool,
}

impl World {
    pub fn new(options: EngineOptions) -> Self {
        Self::with_uplinks(options, vec![UplinkRules::default()], State::default())
    }

    /// With one uplink or two, over a store that holds something already.
    pub fn with_uplinks(
        options: EngineOptions,
        uplinks: Vec<UplinkRules>,
        mut state: State,
    ) -> Self {
        let now = Moment {
            mono: Instant::now(),
            wall: Timestamp::from_unix_ms(1_795_230_600_000),
            boot_ms: 60_000,
        };
        let options = EngineOptions { retouch: mark_late, ..options };
        let engine = start(options, &uplinks, &mut state, now);
        let mut peers = vec![
            Peer::new("uplink", true, true),
            Peer::new("fast", false, true),
            Peer::new("slow", false, true),
            Peer::new("memory", false, false),
        ];
        peers.extend(uplinks.get(1).map(|_| Peer::new("second", true, true)));
        Self {
            engine,
            synced: state.clone(),
            synced_appended: 0,
            state,
            commands: VecDeque::new(),
            events: VecDeque::new(),
            sessions: vec![None; peers.len()],
            peers,
            facts: Vec::new(),
            closed: Vec::new(),
            alive: BTreeSet::new(),
            expected: BTreeMap::new(),
            appended: 0,
            arrived: BTreeMap::new(),
            last_first: BTreeMap::new(),
            may_repeat: BTreeSet::new(),
            unordered_to: BTreeMap::new(),
            dropped: BTreeSet::new(),
            purging: None,
            purged: BTreeMap::new(),
            purged_upstream: 0,
            from_peers: BTreeMap::new(),
            options,
            uplinks,
            now,
            last_payload: 0,
            told: BTreeSet::new(),
            has_crashed: false,
            has_lost_power: false,
        }
    }

    /// The gateway publishes.
    pub fn publish(&mut self, qos: QoS) -> u64 {
        self.last_payload += 1;
        let message = message(self.last_payload, qos);
        self.engine.handle_publish(message, self.now);
        self.settle();
        self.last_payload
    }

    /// A peer publishes, if it is connected and has a packet id left.
    pub fn peer_publishes(&mut self, at: usize, qos: QoS) -> Option<u64> {
        if !self.peers[at].is_up() || self.peers[at].publications.len() >= 4 {
            return None;
        }
        self.last_payload += 1;
        let subscribed = (0..self.peers.len()).filter(|other| {
            let peer = &self.peers[*other];
            peer.durable && if peer.is_uplink { at != *other } else { peer.subscribed }
        });
        let wanted_by: BTreeSet<SessionId> =
            subscribed.filter_map(|other| self.sessions[other]).collect();
        self.from_peers.insert(self.last_payload, (qos, wanted_by));
        self.peers[at].publish(self.last_payload, qos);
        Some(self.last_payload)
    }

    /// An operator removes what waits for a session, or for all, or what of it was accepted before.
    pub fn purge(&mut self, of: Option<usize>, before: Option<Timestamp>) {
        let session = of.and_then(|at| self.sessions[at]);
        if self.purging.is_none() && (of.is_none() || session.is_some()) {
            let selection = Selection { session, before, ..Selection::default() };
            self.purging = Some((selection, Seq(0)));
            self.look();
        }
    }

    fn look(&mut self) {
        if let Some((_, after)) = self.purging {
            let (question, count_max, bytes_max) = (0, FETCH_MAX, usize::MAX);
            self.commands.push_back(StoreCommand::Look { question, after, count_max, bytes_max });
        }
    }

    fn hear_slice(&mut self, slice: &Slice) {
        let Some((selection, after)) = self.purging.clone() else { return };
        if !self.engine.can_purge() {
            return self.look();
        }
        let waiting = |engine: &Engine| -> BTreeSet<(SessionId, Seq)> {
            let mut waiting = BTreeSet::new();
            for stored in &slice.messages {
                for target in stored.targets.iter() {
                    if !engine.waiting(stored.seq, [&target.session]).is_empty() {
                        waiting.insert((target.session, stored.seq));
                    }
                }
            }
            waiting
        };
        let before = waiting(&self.engine);
        let counted = self.engine.handle_purge(&selection, after, slice, true, self.now);
        let purged = self.engine.handle_purge(&selection, after, slice, false, self.now);
        assert_eq!(counted, purged, "what is counted is what goes");
        let after_it = waiting(&self.engine);
        let mut chosen = 0;
        for stored in &slice.messages {
            for target in stored.targets.iter() {
                let of = (target.session, stored.seq);
                let meant = selection.includes(target.session) && selection.takes(&stored.message);
                assert!(meant || before.contains(&of) == after_it.contains(&of), "{of:?} went too");
                if meant && before.contains(&of) {
                    chosen += 1;
                    // Which of them are in flight only the engine knows; what it has let go of is none of these.
                    let is_gone = !after_it.contains(&of);
                    let payload = payload(&stored.message);
                    if payload >= SUMMARY && is_gone {
                        self.told.insert(payload);
                    }
                    self.purged
                        .insert((target.session, payload), (self.engine.last_purge(), is_gone));
                }
            }
        }
        let sum = purged.sessions.values().map(|session| session.removed + session.in_flight);
        assert_eq!(sum.sum::<u64>(), chosen, "{purged:?}");
        // Its session is there before it first connects.
        let uplink = |owner: &SessionOwner| matches!(owner, SessionOwner::Uplink(_));
        let status = self.engine.status();
        let uplinks = status.sessions.iter().filter(|session| uplink(&session.owner));
        let uplinks = uplinks.filter_map(|uplink| purged.sessions.get(&uplink.id));
        self.purged_upstream += uplinks.map(|uplink| uplink.removed).sum::<u64>();
        self.purging = slice.examined.map(|examined| (selection, examined));
        self.look();
        self.settle();
    }

    pub fn advance(&mut self, by: Duration) {
        self.now.mono += by;
        self.now.wall = self.now.wall.plus(by);
        self.now.boot_ms += by.as_millis() as u64;
        self.engine.handle_timeout(self.now);
        self.settle();
    }

    /// A peer connects. `lost`: the upstream has forgotten the session, the client wants a clean one. A connection that is
    /// still there ends first, or, if `take_over`, because of this one.
    pub fn connect(&mut self, at: usize, lost: bool, take_over: bool, receive_maximum: u16) {
        if self.peers[at].connection.is_some() {
            if take_over && !self.peers[at].is_uplink {
                self.peers[at].cut();
            } else {
                self.cut(at);
            }
        }
        let lost = lost || !self.peers[at].durable || !self.peers[at].has_session;
        if lost {
            self.forget(at);
        }
        let maximum = NonZeroU16::new(receive_maximum).expect("at least 1");
        self.peers[at].receive_maximum = receive_maximum;
        let attached = if self.peers[at].is_uplink {
            self.attach_uplink(at, maximum)
        } else {
            self.attach_client(at, lost, maximum)
        };
        self.peers[at].connection = Some(attached.connection);
        self.peers[at].waiting = Some(attached.needs);
        self.peers[at].reset = self.peers[at].reset.max(attached.needs);
        let status = self.engine.status();
        let owner = |owner: &SessionOwner| match owner {
            SessionOwner::Uplink(name) | SessionOwner::Client(name) => {
                **name == *self.peers[at].name
            }
        };
        let id = status.sessions.iter().find(|session| owner(&session.owner)).map(|s| s.id);
        self.sessions[at] = id;
        self.alive.extend(id.filter(|_| self.peers[at].durable));
        self.settle();
    }

    fn attach_uplink(&mut self, at: usize, receive_maximum: NonZeroU16) -> Attached {
        let attach = AttachUplink {
            name: self.peers[at].name.into(),
            session_present: self.peers[at].has_session,
            version: Version::V5,
            receive_maximum,
            packet_bytes_max: None,
            qos_max: QoS::ExactlyOnce,
            retain_available: true,
            peer: None,
            server: None,
        };
        // The upstream makes the session before it answers.
        self.peers[at].has_session = true;
        self.engine.handle_attach_uplink(&attach, self.now).expect("a registered uplink")
    }

    fn attach_client(&mut self, at: usize, clean: bool, receive_maximum: NonZeroU16) -> Attached {
        let attach = AttachClient {
            client_id: self.peers[at].name.into(),
            clean_start: clean,
            expiry: if self.peers[at].durable { 3600 } else { 0 },
            version: Version::V5,
            receive_maximum,
            packet_bytes_max: None,
            will: None,
            principal: Principal::unnamed(self.peers[at].name),
            caller: std::sync::Arc::default(),
            bridge: false,
            peer: None,
        };
        let attached = self.engine.handle_attach_client(attach, self.now);
        assert!(!clean || !attached.session_present, "a clean start finds a session");
        if !clean && !attached.session_present {
            assert!(!self.peers[at].subscribed, "an acknowledged subscription is gone");
            self.forget(at);
        }
        attached
    }

    fn forget(&mut self, at: usize) {
        if let Some(session) = self.sessions[at] {
            if self.peers[at].is_uplink {
                for stored in self.state.messages.values() {
                    self.may_repeat.insert((session, payload(&stored.message)));
                }
            } else {
                self.alive.remove(&session);
            }
        }
        self.peers[at].forget();
    }

    /// A connection ends, with all that is under way on it.
    pub fn cut(&mut self, at: usize) {
        if let Some(connection) = self.peers[at].connection {
            self.peers[at].cut();
            self.engine.handle_detach(connection, DetachCause::Lost, self.now);
            self.settle();
        }
    }

    /// The next packet of a peer reaches the engine.
    pub fn deliver_to_engine(&mut self, at: usize) -> bool {
        let peer = &mut self.peers[at];
        let (true, Some(connection)) = (peer.is_up(), peer.connection) else { return false };
        let Some(packet) = peer.to_engine.pop_front() else { return false };
        self.engine.handle_packet(connection, packet, self.now);
        self.settle();
        true
    }

    /// The next packet of the engine reaches a peer.
    pub fn deliver_to_peer(&mut self, at: usize) -> bool {
        if !self.peers[at].is_up() || self.peers[at].to_peer.is_empty() {
            return false;
        }
        match self.peers[at].receive() {
            Heard::Arrived { payload, qos, late } => self.arrive(at, payload, qos, late),
            Heard::Accepted { payload } => self.accepted(payload),
            Heard::Subscribed | Heard::Nothing => {}
        }
        true
    }

    fn arrive(&mut self, at: usize, payload: u64, qos: QoS, late: bool) {
        let name = self.peers[at].name;
        let Some(session) = self.sessions[at].filter(|_| self.peers[at].durable) else { return };
        if qos == QoS::AtMostOnce && !self.peers[at].is_uplink {
            return;
        }
        let count = self.arrived.entry((session, payload)).or_default();
        *count += 1;
        if *count > 1 {
            let allowed = qos < QoS::ExactlyOnce || self.may_repeat.contains(&(session, payload));
            assert!(allowed, "{name} got {payload} twice at QoS 2");
            return;
        }
        if payload >= SUMMARY {
            self.told.insert(payload);
            return;
        }
        let expected = self.expected(session, payload).expect("only what is durable is sent");
        let gone = self.purged.get(&(session, payload)).is_some_and(|(_, gone)| *gone);
        assert!(!gone || expected.twice, "{name} got {payload}, which was purged");
        // New messages may pass a backlog on purpose; that keeps its own order.
        let ordered = self.unordered_to.get(&session).is_none_or(|to| expected.index > *to);
        assert!(!late || self.live_first(at).is_some() || !ordered, "{payload} is late");
        // What others published bears no mark, so nobody can tell whether it waited.
        let is_marked = self.live_first(at).is_none() || !self.from_peers.contains_key(&payload);
        if !expected.twice && is_marked && ordered {
            let last = self.last_first.insert((session, qos, late), expected.index);
            assert!(
                last < Some(expected.index),
                "{name} got {payload} ({expected:?}) after {last:?}"
            );
        }
    }

    fn live_first(&self, at: usize) -> Option<LiveFirst> {
        let uplink = if at == SECOND { self.uplinks.get(1) } else { self.uplinks.first() };
        uplink.filter(|_| self.peers[at].is_uplink)?.live_first
    }

    fn accepted(&mut self, payload: u64) {
        let (_, wanted_by) = self.from_peers.get(&payload).expect("it was published");
        for session in wanted_by.intersection(&self.alive) {
            assert!(
                self.expected(*session, payload).is_some(),
                "{payload} was acknowledged and is not durable for {session:?}"
            );
        }
    }

    fn expected(&self, session: SessionId, payload: u64) -> Option<Expected> {
        self.expected.get(&session)?.get(&payload).copied()
    }

    /// The store does the next thing it was asked.
    pub fn work_store(&mut self) -> bool {
        let Some(command) = self.commands.pop_front() else { return false };
        let event = match command {
            StoreCommand::Commit { batch, changes, sync } => {
                self.commit(&changes);
                // The end of a session looks at what is committed.
                if sync || changes.iter().any(|c| matches!(c, Change::EndSession { .. })) {
                    self.flush();
                }
                let bytes_used = self.state.bytes_used();
                StoreEvent::Committed(Committed { batch, bytes_used, bytes_room: None })
            }
            StoreCommand::Fetch { session, after, count_max, .. } => {
                let count_max = count_max.min(FETCH_MAX);
                let (messages, examined) = self.state.fetch(session, after, count_max);
                StoreEvent::Fetched { session, messages, examined }
            }
            StoreCommand::Look { question, after, .. } => {
                let slice = Ok(self.state.look(after, FETCH_MAX));
                StoreEvent::Looked { question, slice }
            }
            StoreCommand::Verify { .. } => panic!("nobody asks"),
            StoreCommand::Trim { keep, bytes_target, thin, .. } => {
                let thinned = match bytes_target.filter(|_| thin) {
                    Some(target) => self.state.thin(&keep, target),
                    None => Vec::new(),
                };
                let dropped = self.state.trim(&keep, bytes_target);
                let all = dropped.iter().chain(&thinned).map(|stored| payload(&stored.message));
                let all: Vec<u64> = all.collect();
                self.told.extend(all.iter().filter(|number| **number >= SUMMARY));
                self.dropped.extend(all);
                self.flush();
                let of = |went: Vec<fieldpost::store::StoredMessage>| {
                    went.into_iter().map(|stored| (stored.seq, stored.targets)).collect()
                };
                let bytes_used = self.state.bytes_used();
                let (dropped, thinned) = (of(dropped), of(thinned));
                StoreEvent::Trimmed(Trimmed { dropped, thinned, bytes_used, bytes_room: None })
            }
        };
        self.events.push_back(event);
        true
    }

    fn commit(&mut self, changes: &[Change]) {
        let mut events = Vec::new();
        for change in changes {
            self.state.apply(change, &mut events);
        }
        for event in events {
            match event {
                Event::Appended(seq, message, targets) => {
                    let payload = payload(&message);
                    self.appended += 1;
                    let index = self.appended;
                    for target in targets {
                        let of = self.expected.entry(target.session).or_default();
                        let qos = target.qos;
                        let before = of.insert(payload, Expected { index, seq, qos, twice: false });
                        if before.is_some() {
                            let once = self.from_peers.get(&payload);
                            let once = once.is_some_and(|(qos, _)| *qos == QoS::ExactlyOnce);
                            assert!(!once, "{payload} was taken twice at QoS 2");
                            of.insert(payload, Expected { index, seq, qos, twice: true });
                        }
                    }
                }
                Event::Deleted(stored, _) => {
                    let payload = payload(&stored.message);
                    for target in stored.targets.iter().filter(|t| t.qos > QoS::AtMostOnce) {
                        let wants = self.state.sessions.contains_key(&target.session)
                            && self.alive.contains(&target.session);
                        let has = self.arrived.contains_key(&(target.session, payload))
                            || self.purged.contains_key(&(target.session, payload));
                        assert!(has || !wants, "{payload} is deleted before {target:?} has it");
                    }
                }
                Event::Ended(session) => {
                    assert!(!self.alive.contains(&session), "{session:?} ended, its peer holds it");
                    self.expected.remove(&session);
                }
            }
        }
    }

    /// The engine hears the next answer of the store.
    pub fn hear_store(&mut self) -> bool {
        let Some(event) = self.events.pop_front() else { return false };
        if let StoreEvent::Looked { slice, .. } = event {
            self.hear_slice(&slice.expect("this store reads"));
            return true;
        }
        self.engine.handle_store(event, self.now);
        self.settle();
        true
    }

    /// What was staged is committed.
    pub fn flush(&mut self) {
        self.synced = self.state.clone();
        self.synced_appended = self.appended;
    }

    /// The program is killed and started again. Of what the store was asked, `done` things were still done.
    pub fn crash(&mut self, done: usize) {
        for _ in 0..done {
            self.work_store();
        }
        self.flush();
        self.start_again();
    }

    /// The power fails, and what was staged is gone. Of what the store was asked, `done` things were still done.
    pub fn power_cut(&mut self, done: usize) {
        self.has_lost_power = true;
        for _ in 0..done {
            self.work_store();
        }
        self.state = self.synced.clone();
        self.state.lose_ids();
        self.synced = self.state.clone();
        let is_there = |id: &SessionId| self.state.sessions.contains_key(id);
        self.alive.retain(is_there);
        self.expected.retain(|id, _| is_there(id));
        self.arrived.retain(|(id, _), _| is_there(id));
        self.last_first.retain(|(id, ..), _| is_there(id));
        self.may_repeat.retain(|(id, _)| is_there(id));
        self.purged.retain(|(id, _), _| is_there(id));
        for session in &mut self.sessions {
            *session = session.filter(is_there);
        }
        self.from_peers.values_mut().for_each(|(_, wanted_by)| wanted_by.retain(is_there));
        self.unordered_to.retain(|id, _| is_there(id));
        let (appended, messages) = (self.synced_appended, &self.state.messages);
        for (session, of) in &mut self.expected {
            for (payload, expected) in of.iter() {
                let waits = messages.get(&expected.seq);
                let waits = waits.is_some_and(|stored| self::payload(&stored.message) == *payload);
                // That it had arrived is forgotten; or whoever sent it was not told, and sends it again.
                if waits || expected.index > appended {
                    self.may_repeat.insert((*session, *payload));
                }
            }
            of.retain(|_, expected| expected.index <= appended);
        }
        self.start_again();
    }

    /// The configuration is another one from the next start on.
    pub fn reconfigure(&mut self, at: usize, live_first: Option<LiveFirst>) {
        let uplink = if at == SECOND { self.uplinks.get_mut(1) } else { self.uplinks.get_mut(0) };
        uplink.expect("there is one").live_first = live_first;
        let appended = self.appended;
        self.unordered_to.extend(self.sessions[at].map(|session| (session, appended)));
        self.crash(0);
    }

    fn start_again(&mut self) {
        self.has_crashed = true;
        self.commands.clear();
        self.events.clear();
        self.purging = None;
        for (batch, must_not_arrive) in self.purged.values_mut() {
            *must_not_arrive &= self.engine.is_committed(*batch);
            *batch = 0;
        }
        for peer in &mut self.peers {
            // The one thing MQTT has no remedy for: an upstream that lost the session has a new one from CONNECT on, and
            // who is killed before that is durable takes it for the old one. So it has lost the new one as well here.
            if peer.is_uplink && !self.engine.is_committed(peer.reset) {
                peer.has_session = false;
            }
            peer.reset = 0;
            peer.cut();
        }
        self.engine = start(self.options, &self.uplinks, &mut self.state, self.now);
        self.settle();
    }

    pub fn congest(&mut self, at: usize, congested: bool) {
        if let Some(connection) = self.peers[at].connection {
            self.engine.handle_congestion(connection, congested);
            self.settle();
        }
    }

    fn settle(&mut self) {
        self.engine.settle_down(self.now);
        while let Some(command) = self.engine.poll_store(self.now) {
            self.commands.push_back(command);
            assert!(self.commands.len() < 100, "the store is asked without end");
        }
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Packet(connection, packet) => {
                    let at = self.peers.iter().position(|p| p.connection == Some(connection));
                    if let Some(at) = at {
                        self.check_durable(at, &packet);
                        self.peers[at].to_peer.push_back(packet);
                    }
                }
                Output::Said(_) | Output::Addressed(_) => {}
                Output::Close(_, reason) => self.closed.push(reason),
            }
        }
        while let Some(fact) = self.engine.poll_fact() {
            self.facts.push(fact);
        }
        for peer in &mut self.peers {
            if peer.waiting.is_some_and(|needs| self.engine.is_committed(needs)) {
                peer.waiting = None;
                peer.has_session = true;
                peer.come_up();
            }
        }
    }

    /// What a packet depends on stands in the store before it leaves.
    fn check_durable(&self, at: usize, packet: &Packet) {
        let Some(session) = self.sessions[at].filter(|_| self.peers[at].durable) else { return };
        let state = &self.state;
        match packet {
            Packet::Publish(publish) if publish.qos > QoS::AtMostOnce => {
                let text = std::str::from_utf8(&publish.payload).expect("a number");
                let payload = text.trim_start_matches(LATE).parse().expect("a number");
                let expected = self.expected(session, payload);
                let Expected { seq, .. } =
                    expected.unwrap_or_else(|| panic!("{payload} leaves before it is durable"));
                if publish.qos == QoS::ExactlyOnce {
                    let row = state.flights.get(&(session, seq));
                    let id = publish.packet_id.expect("at QoS 2").0;
                    let late = row == Some(&(id, Phase::AssignedLate));
                    let is_assigned = late || row == Some(&(id, Phase::Assigned));
                    assert!(is_assigned, "PUBLISH of {payload}: {row:?}");
                    // What others published bears no mark.
                    let is_marked = !self.from_peers.contains_key(&payload) && payload < SUMMARY;
                    assert!(!is_marked || late == text.starts_with(LATE), "{text} late: {late}");
                }
            }
            Packet::PubRel(ack) => {
                let released = (ack.packet_id.0, Phase::Released);
                let row =
                    state.flights.iter().find(|((id, _), row)| *id == session && **row == released);
                let may_be_open = state.sessions.get(&session).is_some_and(|row| row.ids_lost);
                assert!(
                    row.is_some() || may_be_open,
                    "PUBREL {:?} before it is durable",
                    ack.packet_id
                );
            }
            Packet::PubRec(ack) if !ack.reason.is_failure() => {
                assert!(state.inbox.contains(&(session, ack.packet_id.0)), "PUBREC before its id");
            }
            Packet::PubComp(ack) => {
                assert!(
                    !state.inbox.contains(&(session, ack.packet_id.0)),
                    "PUBCOMP before the end"
                );
            }
            Packet::SubAck(_) => {
                let subscribed = state.subscriptions.keys().any(|(id, _)| *id == session);
                assert!(subscribed, "SUBACK before the subscription is durable");
            }
            _ => {}
        }
    }

    /// Everybody works as long as there is something to do.
    pub fn drain(&mut self) {
        for _ in 0..100_000 {
            let mut busy = self.work_store() | self.hear_store();
            for at in 0..self.peers.len() {
                busy |= self.deliver_to_engine(at) | self.deliver_to_peer(at);
            }
            if !busy && !self.wait_for_backlog() {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// Lets the time go on to when more of a backlog may leave.
    fn wait_for_backlog(&mut self) -> bool {
        let Some(due) = self.engine.poll_timeout() else { return false };
        let wait = due.saturating_duration_since(self.now.mono);
        let is_paced = self.uplinks.iter().any(|uplink| uplink.live_first.is_some());
        let is_near = is_paced && wait < Duration::from_secs(3);
        if is_near {
            self.advance(wait);
        }
        is_near
    }

    /// The upstream knows of every message it did not get.
    fn check_told(&self) {
        let count = |fact: &Fact| match fact {
            Fact::Dropped { session, count, .. }
                if self.peers.iter().any(|peer| peer.is_uplink && **session == *peer.name) =>
            {
                *count
            }
            _ => 0,
        };
        let dropped = self.facts.iter().map(count).sum::<u64>() + self.purged_upstream;
        // What a kill cut off between the drop and its count is told to nobody.
        let told = self.told.iter().map(|number| number % SUMMARY_UNIT).sum::<u64>();
        assert!(
            told == dropped || (self.has_crashed && told < dropped) || self.has_lost_power,
            "{told} of {dropped} told"
        );
        assert!(self.state.dropped.is_empty(), "drops are left: {:?}", self.state.dropped);
    }

    /// Drops what was checked already, for long stories.
    pub fn forget_the_past(&mut self) {
        self.expected.clear();
        self.arrived.clear();
    }

    /// Everybody is connected and all is delivered: whatever was taken has arrived, and nothing is left behind.
    pub fn finish(&mut self) {
        for at in 0..self.peers.len() {
            if self.peers[at].connection.is_none() {
                self.connect(at, false, false, 20);
            }
            self.congest(at, false);
        }
        self.drain();
        // Drops are told once none came for a while.
        self.advance(Duration::from_secs(400));
        self.drain();
        self.check_told();
        for session in &self.alive {
            for (payload, expected) in self.expected.get(session).into_iter().flatten() {
                let arrived = self.arrived.contains_key(&(*session, *payload));
                let excused = expected.qos == QoS::AtMostOnce
                    || self.dropped.contains(payload)
                    || self.purged.contains_key(&(*session, *payload));
                assert!(arrived || excused, "{payload} ({expected:?}) never reached {session:?}");
            }
        }
        assert_eq!(self.state.messages.len(), 0, "rows are left: {:?}", self.state.messages.keys());
        assert!(self.state.flights.is_empty(), "flights are left: {:?}", self.state.flights);
        assert!(self.state.settled.is_empty(), "runs are left: {:?}", self.state.settled);
        assert!(self.state.inbox.is_empty(), "ids are left: {:?}", self.state.inbox);
        for session in self.engine.status().sessions {
            assert_eq!((session.queued, session.inflight), (0, 0), "{:?}", session.owner);
            let Some(row) = self.state.sessions.get(&session.id) else { continue };
            let last = self.expected.get(&session.id).into_iter().flatten();
            // What was dropped is passed when something else comes.
            let last = last.filter(|(payload, _)| {
                !self.dropped.contains(payload)
                    && !self.purged.contains_key(&(session.id, **payload))
            });
            let last = last.max_by_key(|(_, expected)| expected.index);
            assert!(last.is_none_or(|(_, last)| row.cursor >= last.seq), "{row:?}");
        }
        for peer in &self.peers {
            assert!(peer.publications.is_empty(), "{} waits: {:?}", peer.name, peer.publications);
        }
        assert!(self.engine.is_durable());
    }
}

fn start(
    options: EngineOptions,
    uplinks: &[UplinkRules],
    state: &mut State,
    now: Moment,
) -> Engine {
    let mut engine = Engine::new(options, state.snapshot(), now);
    for (UplinkRules { window, live_first }, name) in uplinks.iter().zip(["uplink", "second"]) {
        engine.register_uplink(session(name, *window, *live_first));
    }
    engine
}

/// The rules of an uplink that takes everything and accepts what upstreams here send.
pub fn session(name: &str, window: u16, live_first: Option<LiveFirst>) -> UplinkSession {
    UplinkSession {
        name: name.into(),
        forward: vec![Forward {
            filter: TopicFilter::new("t/#").unwrap(),
            qos: QoS::ExactlyOnce,
            to: None,
            retain: true,
        }],
        accept: ["t/down", "t/gateway"].map(accepted).into(),
        withheld: None,
        window,
        trust_received: false,
        live_first,
        tell_drops: Some(TellDrops { topic: TopicName::new("t/dropped").unwrap(), payload: tell }),
    }
}

fn accepted(topic: &str) -> Accept {
    Accept { filter: TopicFilter::new(topic).unwrap(), to: None, retain: true }
}

pub fn message(payload: u64, qos: QoS) -> Message {
    Message {
        topic: TopicName::new("t/gateway").unwrap(),
        payload: Bytes::from(payload.to_string()),
        qos,
        retain: false,
        properties: None,
        accepted: Timestamp::default(),
        expires: None,
        body: Body::Reading { unsynced_at: None },
    }
}

fn payload(message: &Message) -> u64 {
    std::str::from_utf8(&message.payload).unwrap().parse().unwrap()
}

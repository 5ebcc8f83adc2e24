//! shell: the gateway between its publisher and its upstream: the real engine on the real store on a recorded disk, and
//! a clock that goes on when it is told.
#![allow(clippy::disallowed_methods, reason = "the clock begins somewhere")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use anyhow::bail;
use fastrand::Rng;

use super::ledger::News;
use super::payload::{self, Number};
use super::publisher::Publisher;
use super::runtime::Place;
use super::upstream::{Brought, Upstream};
use crate::access::Principal;
use crate::hub::{
    AttachClient, AttachUplink, DetachCause, Engine, EngineOptions, Forward, Output, SessionStatus,
    UplinkSession,
};
use crate::model::{Message, Moment, QoS, Seq, Timestamp, TopicFilter, TopicName};
use crate::mqtt::{Packet, Version};
use crate::store::disk::Disk;
use crate::store::{Change, DirectStore, StoreCommand, StoreError, StoreEvent};

/// Steps after which everything must have come to rest.
const STEPS_MAX: usize = 100_000;
/// Bytes the store may use: little, so that messages are dropped now and then.
const STORE_BYTES_MAX: u64 = 192 * 1024;
/// Packets each way before the store works again.
const ROUNDS: usize = 30;
/// Messages under way to the upstream at most.
const WINDOW: u16 = 10;

/// What is outside the gateway, and outlives its power.
#[derive(Debug, Clone, Default)]
pub(super) struct Outside {
    pub(super) upstream: Upstream,
    pub(super) publisher: Publisher,
    /// Which message stands at a place in the store, for whoever counts.
    numbers: BTreeMap<Seq, Number>,
}

impl Outside {
    /// The gateway is gone. What it had sent to the upstream may still arrive there, or some of it.
    pub(super) fn handle_power_cut(&mut self, rng: &mut Rng, news: &mut Vec<News>) {
        for _ in 0..rng.usize(..=self.upstream.to_upstream.len()) {
            let Some(brought) = self.upstream.receive() else { break };
            news.extend(told(brought));
        }
        self.upstream.handle_cut();
        self.publisher.handle_cut();
    }
}

fn told(brought: Brought) -> Option<News> {
    match brought {
        Brought::Message(number) => Some(News::Arrived(number)),
        Brought::Garbled => Some(News::Garbled),
        Brought::Nothing => None,
    }
}

/// The running gateway and its neighbours.
#[derive(Debug)]
pub(super) struct World {
    pub(super) disk: Disk,
    /// Where it stages.
    place: Option<Place>,
    store: DirectStore,
    engine: Engine,
    pub(super) outside: Outside,
    commands: VecDeque<StoreCommand>,
    /// What the store has answered and the engine has not heard.
    event: Option<StoreEvent>,
    /// Messages in the batch that is being committed.
    committing: Vec<Number>,
    pub(super) news: Vec<News>,
    pub(super) now: Moment,
    topic: TopicName,
}

/// What a process leaves behind.
#[derive(Debug)]
pub(super) struct Remains {
    pub(super) disk: Disk,
    pub(super) place: Option<Place>,
    pub(super) outside: Outside,
}

impl World {
    /// Starts the gateway on what `disk` holds. Nobody is connected.
    pub(super) fn start(
        disk: Disk,
        place: Option<Place>,
        outside: Outside,
        now: Moment,
    ) -> anyhow::Result<Self> {
        let (store, snapshot) = DirectStore::open(&disk, place.as_ref().map(Place::staging))?;
        let options =
            EngineOptions { store_bytes_max: STORE_BYTES_MAX, ..EngineOptions::default() };
        let mut engine = Engine::new(options, snapshot, now);
        engine.register_uplink(UplinkSession {
            name: "upstream".into(),
            forward: vec![Forward {
                filter: TopicFilter::new("#")?,
                qos: QoS::ExactlyOnce,
                to: None,
                retain: true,
            }],
            accept: Vec::new(),
            window: WINDOW,
            trust_received: false,
            live_first: None,
            withheld: None,
            tell_drops: None,
        });
        let mut world = Self {
            disk,
            place,
            store,
            engine,
            outside,
            commands: VecDeque::new(),
            event: None,
            committing: Vec::new(),
            news: Vec::new(),
            now,
            topic: TopicName::new("site/point")?,
        };
        world.settle();
        Ok(world)
    }

    /// Ends the process in order, and gives what is left.
    pub(super) fn stop(self) -> Result<Remains, StoreError> {
        self.store.close()?;
        let Self { disk, place, outside, .. } = self;
        Ok(Remains { disk, place, outside })
    }

    /// Kills the process: nothing more is written, nothing that was written is lost.
    pub(super) fn kill(self) -> Remains {
        let Self { disk, place, outside, .. } = self;
        Remains { disk: disk.fork(), place, outside }
    }

    /// The gateway publishes.
    pub(super) fn read(&mut self, number: Number, qos: QoS, len: usize) {
        let message = Message {
            topic: self.topic.clone(),
            payload: payload::write(number, len),
            qos,
            retain: false,
            properties: None,
            accepted: self.now.wall,
            expires: None,
            body: crate::model::Body::Reading { unsynced_at: None },
        };
        self.engine.handle_publish(message, self.now);
    }

    /// The client on the LAN publishes.
    pub(super) fn publish(&mut self, number: Number, qos: QoS, len: usize) {
        self.outside.publisher.publish(&self.topic, number, qos, len);
    }

    pub(super) fn connect_upstream(&mut self) {
        let upstream = &mut self.outside.upstream;
        if upstream.connection.is_some() {
            return;
        }
        let attach = AttachUplink {
            name: "upstream".into(),
            session_present: std::mem::replace(&mut upstream.has_session, true),
            version: Version::V5,
            receive_maximum: NonZeroU16::MAX,
            packet_bytes_max: None,
            qos_max: QoS::ExactlyOnce,
            retain_available: true,
            peer: None,
            server: None,
        };
        if let Some(attached) = self.engine.handle_attach_uplink(&attach, self.now) {
            upstream.connection = Some(attached.connection);
            upstream.waits_for = attached.needs;
        }
        self.settle();
    }

    pub(super) fn connect_publisher(&mut self) {
        let publisher = &mut self.outside.publisher;
        if publisher.connection.is_some() {
            return;
        }
        let attach = AttachClient {
            client_id: "publisher".into(),
            clean_start: false,
            expiry: u32::MAX,
            version: Version::V5,
            receive_maximum: NonZeroU16::MAX,
            packet_bytes_max: None,
            will: None,
            principal: Principal::unnamed("publisher"),
            caller: std::sync::Arc::default(),
            bridge: false,
            peer: None,
        };
        let attached = self.engine.handle_attach_client(attach, self.now);
        publisher.connection = Some(attached.connection);
        publisher.waits_for = attached.needs;
        publisher.come_up(attached.session_present);
        self.settle();
    }

    pub(super) fn cut_upstream(&mut self) {
        if let Some(connection) = self.outside.upstream.connection {
            self.outside.upstream.handle_cut();
            self.engine.handle_detach(connection, DetachCause::Lost, self.now);
            self.settle();
        }
    }

    pub(super) fn cut_publisher(&mut self) {
        if let Some(connection) = self.outside.publisher.connection {
            self.outside.publisher.handle_cut();
            self.engine.handle_detach(connection, DetachCause::Lost, self.now);
            self.settle();
        }
    }

    /// The next packet of the upstream reaches the gateway.
    pub(super) fn hear_upstream(&mut self) -> bool {
        let upstream = &mut self.outside.upstream;
        let Some(connection) = upstream.connection else { return false };
        if !self.engine.is_committed(upstream.waits_for) {
            return false;
        }
        let Some(packet) = upstream.to_gateway.pop_front() else { return false };
        if let Packet::PubRec(ack) = &packet {
            self.news.extend(upstream.open(ack.packet_id).map(News::Moved));
        }
        self.engine.handle_packet(connection, packet, self.now);
        self.settle();
        true
    }

    /// The next packet of the gateway reaches the upstream.
    pub(super) fn tell_upstream(&mut self) -> bool {
        let Some(brought) = self.outside.upstream.receive() else { return false };
        self.news.extend(told(brought));
        true
    }

    /// The next packet of the publisher reaches the gateway, and the next for it reaches it.
    pub(super) fn talk_to_publisher(&mut self) -> bool {
        let publisher = &mut self.outside.publisher;
        let heard = publisher.receive();
        let ready = self.engine.is_committed(publisher.waits_for);
        if let (true, Some(connection)) = (ready, publisher.connection)
            && let Some(packet) = publisher.to_gateway.pop_front()
        {
            self.engine.handle_packet(connection, packet, self.now);
            self.settle();
            return true;
        }
        heard
    }

    /// The store does the next thing it was asked. Gives what it dropped, if it did anything; nobody has heard of it yet.
    pub(super) fn work_store(&mut self) -> Result<Option<BTreeSet<Number>>, StoreError> {
        self.settle();
        if self.event.is_some() {
            return Ok(None);
        }
        let Some(command) = self.commands.pop_front() else { return Ok(None) };
        if let StoreCommand::Commit { changes, .. } = &command {
            for change in changes {
                if let Change::Append { seq, message, .. } = change
                    && let Some(number) = payload::read(&message.payload)
                {
                    self.outside.numbers.insert(*seq, number);
                    self.committing.push(number);
                } else if let Change::Delete { first, last } = change {
                    let numbers = &mut self.outside.numbers;
                    while let Some((seq, _)) = numbers.range(first..=last).next() {
                        let seq = *seq;
                        numbers.remove(&seq);
                    }
                }
            }
        }
        let event = self.store.execute(command, self.now.mono)?;
        let mut dropped = BTreeSet::new();
        if let StoreEvent::Trimmed(trimmed) = &event {
            let number = |(seq, _): &(Seq, _)| self.outside.numbers.get(seq).copied();
            dropped.extend(trimmed.dropped.iter().filter_map(number));
        }
        self.event = Some(event);
        Ok(Some(dropped))
    }

    /// The engine hears what the store has answered.
    pub(super) fn hear_store(&mut self) -> Result<(), StoreError> {
        match self.event.take() {
            Some(
                StoreEvent::ReadFailed(error)
                | StoreEvent::TrimFailed(error)
                | StoreEvent::Damaged(error)
                | StoreEvent::Stuck(error),
            ) => return Err(error),
            Some(event) => {
                match &event {
                    StoreEvent::Committed(_) => {
                        self.news.extend(self.committing.drain(..).map(News::Kept));
                    }
                    StoreEvent::Trimmed(trimmed) => {
                        let number = |(seq, _): &(Seq, _)| self.outside.numbers.get(seq).copied();
                        let dropped = trimmed.dropped.iter().filter_map(number);
                        self.news.extend(dropped.map(News::Dropped));
                    }
                    StoreEvent::Fetched { .. }
                    | StoreEvent::Looked { .. }
                    | StoreEvent::Verified { .. }
                    | StoreEvent::ReadFailed(_)
                    | StoreEvent::TrimFailed(_)
                    | StoreEvent::Damaged(_)
                    | StoreEvent::Stuck(_)
                    | StoreEvent::Unstuck { .. } => {}
                }
                self.engine.handle_store(event, self.now);
            }
            None => {}
        }
        self.settle();
        Ok(())
    }

    /// Whether the store has been asked for something.
    pub(super) fn is_store_asked(&self) -> bool {
        !self.commands.is_empty()
    }

    /// When what is staged is due.
    pub(super) fn poll_flush(&self) -> Option<Instant> {
        self.store.poll_timeout()
    }

    /// What is staged is due.
    pub(super) fn flush(&mut self) -> Result<(), StoreError> {
        self.store.handle_timeout()
    }

    /// Time goes on; nothing may be due in between.
    pub(super) fn advance(&mut self, by: Duration) {
        self.now.mono += by;
        self.now.wall = self.now.wall.plus(by);
        self.now.boot_ms += u64::try_from(by.as_millis()).unwrap_or_default();
        self.engine.handle_timeout(self.now);
        self.settle();
    }

    fn settle(&mut self) {
        self.engine.settle_down(self.now);
        while let Some(command) = self.engine.poll_store(self.now) {
            self.commands.push_back(command);
        }
        while let Some(output) = self.engine.poll_output() {
            let Outside { upstream, publisher, .. } = &mut self.outside;
            match output {
                Output::Packet(connection, packet) if upstream.connection == Some(connection) => {
                    if let Packet::Publish(publish) = &packet
                        && let Some(number) = payload::read(&publish.payload)
                    {
                        let news = if publish.dup { News::Repeated } else { News::Moved };
                        self.news.push(news(number));
                    }
                    upstream.to_upstream.push_back(packet);
                }
                Output::Packet(connection, packet) if publisher.connection == Some(connection) => {
                    self.news.extend(publisher.told_by(&packet).map(News::Told));
                    publisher.to_publisher.push_back(packet);
                }
                Output::Packet(..) | Output::Said(_) | Output::Close(..) | Output::Addressed(_) => {
                }
            }
        }
        while self.engine.poll_fact().is_some() {}
    }

    /// Everybody is connected and works until all is delivered and acknowledged.
    pub(super) fn drain(&mut self) -> anyhow::Result<()> {
        self.connect_upstream();
        self.connect_publisher();
        for _ in 0..STEPS_MAX {
            // The store works when the others have done what they could: its batches are few then. Releasing packet ids
            // that may be open takes thousands of packets and need not come to an end.
            let is_quiet = (0..ROUNDS)
                .any(|_| !(self.tell_upstream() | self.hear_upstream() | self.talk_to_publisher()));
            let asked = self.work_store()?.is_some();
            self.hear_store()?;
            let queued = |status: &SessionStatus| status.queued > 0;
            let busy = !self.outside.publisher.is_done()
                || !self.engine.is_durable()
                || self.engine.status().sessions.iter().any(queued);
            if !busy || (is_quiet && !asked) {
                return Ok(());
            }
        }
        bail!("the gateway never comes to rest")
    }

    /// What SQLite finds wrong with the database.
    pub(super) fn find_damage(&self) -> Result<Option<String>, StoreError> {
        self.store.find_damage()
    }
}

/// The moment a run begins.
pub(super) fn begin() -> Moment {
    Moment {
        mono: Instant::now(),
        wall: Timestamp::from_unix_ms(1_795_230_600_000),
        boot_ms: 60_000,
    }
}

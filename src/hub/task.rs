//! shell: the hub's task. Owns the engine, talks to the store, speaks with everybody else over channels.
#![allow(clippy::disallowed_methods, reason = "this shell waits for the deadlines of the engine")]

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep_until;
use tracing::{debug, error, info, warn};

use super::aside::{Asides, Looked, Purge, PurgedSlice, Question};
use super::engine::{
    Addressed, AttachClient, AttachUplink, Attached, DetachCause, EndUplinkError, Engine,
    EngineOptions, HubStatus, Output, UplinkSession,
};
use super::episode::{Episode, Over};
use super::log::FactLog;
use super::mailbox::{Inbound, Mailbox, Opened, mailbox};
use super::node::NodeId;
use super::numbers::NumberMap;
use super::session::ConnectionId;
use super::tally::Tally;
use crate::access::Acl;
use crate::clock::now;
use crate::model::{ClockState, Message, Seq, TopicFilter};
use crate::mqtt::{Packet, ReasonCode};
use crate::step::{self, Step};
use crate::store::{Damage, Snapshot, Store, StoreError, StoreEvent};

/// Commands that may wait; a full channel slows whoever publishes.
const COMMANDS_MAX: usize = 64;
/// Messages to the gateway itself that may wait for whoever listens.
pub(super) const ADDRESSED_MAX: usize = 256;
/// Questions that may wait.
const QUESTIONS_MAX: usize = 8;
/// Commands taken in one turn before the store and the connections are looked after.
const TURN_MAX: usize = 256;
/// Changes waiting for a batch at which no more commands are taken: a disk that is stuck slows everybody instead of filling
/// the memory.
const UNCOMMITTED_MAX: usize = 50_000;
/// Their payload bytes at which that is so.
const UNCOMMITTED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The longest the task sleeps; the age of the queue is looked at in between.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// The hub has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// Its task has ended.
    #[error("the hub has stopped")]
    Stopped,
    /// The uplink was not registered when the hub started.
    #[error("the hub does not know this uplink")]
    UnknownUplink,
}

/// What a connection gets from the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionEvent {
    /// Send this packet.
    Packet(Packet),
    /// The message it had to say is acknowledged.
    Said,
    /// End, telling why where the protocol can.
    Close(ReasonCode),
}

#[derive(Debug)]
enum Command {
    Publish(Vec<Message>),
    SayOfSelf(Vec<Message>),
    AttachClient(Box<AttachClient>, oneshot::Sender<(Attached, Inbound)>),
    AttachUplink(AttachUplink, oneshot::Sender<Option<(Attached, Inbound)>>),
    Packets(ConnectionId, Vec<Packet>),
    Say { connection: ConnectionId, message: Box<Message>, last: bool },
    Congestion(ConnectionId, bool),
    Detach(ConnectionId, DetachCause),
    Clock(ClockState),
    Acl { acl: Arc<Acl>, outdated: Vec<Arc<str>> },
    Listen(Vec<TopicFilter>, mpsc::Sender<Box<Addressed>>),
    Flush(oneshot::Sender<()>),
    Stop(oneshot::Sender<()>),
}

/// What waits for an uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UplinkLoad {
    /// Messages that are not settled.
    pub queued: u64,
    /// Those of them that are under way.
    pub inflight: usize,
}

/// An uplink's session as its uplink sees it.
#[derive(Debug, Clone)]
pub struct UplinkView {
    /// Which broker the session stood at when the program started.
    pub server: Option<Arc<str>>,
    /// What waits for it.
    pub load: watch::Receiver<UplinkLoad>,
}

/// How everybody else speaks with the hub. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HubHandle {
    node: NodeId,
    uplinks: Arc<HashMap<Arc<str>, UplinkView>>,
    commands: mpsc::Sender<Command>,
    questions: mpsc::Sender<Question>,
}

impl HubHandle {
    /// Which gateway this is.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The session of an uplink that was registered when the hub started.
    #[must_use]
    pub fn uplink(&self, name: &str) -> Option<&UplinkView> {
        self.uplinks.get(name)
    }

    /// Publishes messages of the gateway itself, in order. Waits while the hub is behind.
    ///
    /// # Errors
    /// [`HubError::Stopped`].
    pub async fn publish(&self, messages: Vec<Message>) -> Result<(), HubError> {
        self.send(Command::Publish(messages)).await
    }

    /// Publishes what the gateway says of itself and nobody needs after its end: in memory alone, retained or not, and at
    /// QoS 0 whatever the messages say of that.
    ///
    /// # Errors
    /// [`HubError::Stopped`].
    pub async fn say_of_self(&self, messages: Vec<Message>) -> Result<(), HubError> {
        self.send(Command::SayOfSelf(messages)).await
    }

    /// A LAN client that said CONNECT comes in.
    ///
    /// # Errors
    /// [`HubError::Stopped`].
    pub async fn attach_client(
        &self,
        client: AttachClient,
    ) -> Result<(Attached, Inbound), HubError> {
        self.ask(|answer| Command::AttachClient(Box::new(client), answer)).await
    }

    /// An uplink that got its CONNACK comes in.
    ///
    /// # Errors
    /// [`HubError::UnknownUplink`] if it was not registered, [`HubError::Stopped`].
    pub async fn attach_uplink(
        &self,
        uplink: AttachUplink,
    ) -> Result<(Attached, Inbound), HubError> {
        let attached = self.ask(|answer| Command::AttachUplink(uplink, answer)).await?;
        attached.ok_or(HubError::UnknownUplink)
    }

    /// Packets of a connected peer, in order.
    ///
    /// # Errors
    /// [`HubError::Stopped`].
    pub async fn packets(
        &self,
        connection: ConnectionId,
        packets: Vec<Packet>,
    ) -> Result<(), HubError> {
        self.send(Command::Packets(connection, packets)).await
    }

    /// A message that goes before all others on this connection and is not stored; [`ConnectionEvent::Said`] follows its
    /// acknowledgement. After the last one nothing more is sent.
    ///
    /// # Errors
    /// [`HubError::Stopped`].
    pub async fn say(
        &self,
        connection: ConnectionId,
        message: Message,
        last: bool,
    ) -> Result<(), HubError> {
        let message = Box::new(message);
        self.send(Command::Say { connection, message, last }).await
    }

    /// The connection's write queue filled up, or has room again.
    ///
    /// # Errors
    /// [`HubError::Stopped`].
    pub async fn congestion(
        &self,
        connection: ConnectionId,
        congested: bool,
    ) -> Result<(), HubError> {
        self.send(Command::Congestion(connection, congested)).await
    }

    /// A connection is gone.
    ///
    /// # Errors
    /// [`HubError::Stopped`].
    pub async fn detach(
        &self,
        connection: ConnectionId,
        cause: DetachCause,
    ) -> Result<(), HubError> {
        self.send(Command::Detach(connection, cause)).await
    }

    /// Whether the wall clock may be believed has changed.
    ///
    /// # Errors
    /// [`HubError::Stopped`].
    pub async fn clock(&self, state: ClockState) -> Result<(), HubError> {
        self.send(Command::Clock(state)).await
    }

    /// Other rules are in force, and users are gone or have another password; connected clients that entered as one of
    /// those are sent away.
    ///
    /// # Errors
    /// [`HubError::Stopped`].
    pub async fn acl(&self, acl: Arc<Acl>, outdated: Vec<Arc<str>>) -> Result<(), HubError> {
        self.send(Command::Acl { acl, outdated }).await
    }

    /// Listens in the gateway itself to what clients and upstreams publish under `filters`, instead of whoever listened
    /// before. What comes while 256 messages wait to be taken is lost to the listener.
    ///
    /// # Errors
    /// [`HubError::Stopped`].
    pub async fn listen(
        &self,
        filters: Vec<TopicFilter>,
    ) -> Result<mpsc::Receiver<Box<Addressed>>, HubError> {
        let (teller, addressed) = mpsc::channel(ADDRESSED_MAX);
        self.send(Command::Listen(filters, teller)).await?;
        Ok(addressed)
    }

    /// The hub as it is, also while it takes no more messages.
    ///
    /// # Errors
    /// [`HubError::Stopped`].
    pub async fn status(&self) -> Result<HubStatus, HubError> {
        self.ask_aside(Question::Status).await
    }

    /// What the hub has counted and what it holds.
    ///
    /// # Errors
    /// [`HubError::Stopped`].
    pub async fn tally(&self) -> Result<Tally, HubError> {
        self.ask_aside(Question::Tally).await
    }

    /// Ends the connection of a client by an operator's command; whether it had one.
    ///
    /// # Errors
    /// [`HubError::Stopped`].
    pub async fn send_away(&self, client_id: &str) -> Result<bool, HubError> {
        let client_id = client_id.to_owned();
        self.ask_aside(|answer| Question::SendAway { client_id, answer }).await
    }

    /// The listener that a connected client came to; `None` if it is not connected.
    ///
    /// # Errors
    /// [`HubError::Stopped`].
    pub async fn listener_of(&self, client_id: &Arc<str>) -> Result<Option<Arc<str>>, HubError> {
        let client_id = client_id.clone();
        self.ask_aside(|answer| Question::ListenerOf { client_id, answer }).await
    }

    /// A stretch of the store after `after`, and who waits for what there.
    ///
    /// # Errors
    /// [`HubError::Stopped`]; the inner one if the store cannot read.
    pub async fn look(&self, after: Seq) -> Result<Result<Looked, StoreError>, HubError> {
        self.ask_aside(|answer| Question::Look { after, answer }).await
    }

    /// Takes a slice of what `purge` means out of the store, or counts it; what is taken out is durably gone.
    ///
    /// # Errors
    /// [`HubError::Stopped`]; the inner one if the store cannot read.
    pub async fn purge(
        &self,
        purge: Purge,
        after: Seq,
        dry_run: bool,
    ) -> Result<Result<PurgedSlice, StoreError>, HubError> {
        self.ask_aside(|answer| Question::Purge { purge, after, dry_run, answer }).await
    }

    /// Ends the session of an uplink that the configuration no longer has, durably.
    ///
    /// # Errors
    /// [`HubError::Stopped`]; the inner one if it is not that.
    pub async fn end_uplink(&self, name: &str) -> Result<Result<(), EndUplinkError>, HubError> {
        let name = name.to_owned();
        self.ask_aside(|answer| Question::EndUplink { name, answer }).await
    }

    /// What is wrong with the small tables of the store and with what is staged; the messages are looked at with
    /// [`Self::look`].
    ///
    /// # Errors
    /// [`HubError::Stopped`]; the inner one if the store cannot read.
    pub async fn verify(&self) -> Result<Result<Vec<Damage>, StoreError>, HubError> {
        self.ask_aside(|answer| Question::Verify { answer }).await
    }

    /// Waits until everything taken before is durable.
    ///
    /// # Errors
    /// [`HubError::Stopped`].
    pub async fn flush(&self) -> Result<(), HubError> {
        self.ask(Command::Flush).await
    }

    /// Stops the hub once everything taken before is durable and the database is closed.
    ///
    /// # Errors
    /// [`HubError::Stopped`] if it had stopped already.
    pub async fn stop(&self) -> Result<(), HubError> {
        self.ask(Command::Stop).await
    }

    async fn send(&self, command: Command) -> Result<(), HubError> {
        self.commands.send(command).await.map_err(|_| HubError::Stopped)
    }

    async fn ask_aside<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Question,
    ) -> Result<T, HubError> {
        let (answer, answered) = oneshot::channel();
        self.questions.send(question(answer)).await.map_err(|_| HubError::Stopped)?;
        answered.await.map_err(|_| HubError::Stopped)
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, HubError> {
        let (answer, answered) = oneshot::channel();
        self.send(command(answer)).await?;
        answered.await.map_err(|_| HubError::Stopped)
    }
}

/// A connection the engine has taken and that does not know it yet.
#[derive(Debug)]
struct Entering {
    attached: Attached,
    inbound: Inbound,
    door: Door,
}

#[derive(Debug)]
enum Door {
    Client(oneshot::Sender<(Attached, Inbound)>),
    Uplink(oneshot::Sender<Option<(Attached, Inbound)>>),
}

impl Entering {
    /// Tells whether somebody was still there to hear it.
    fn answer(self) -> bool {
        match self.door {
            Door::Client(answer) => answer.send((self.attached, self.inbound)).is_ok(),
            Door::Uplink(answer) => answer.send(Some((self.attached, self.inbound))).is_ok(),
        }
    }
}

/// The hub's task.
#[derive(Debug)]
pub struct Hub {
    engine: Engine,
    store: Store,
    connections: NumberMap<ConnectionId, Mailbox>,
    /// Who has been let in and must hear of it only once a batch is durable.
    entering: Vec<Entering>,
    flushing: Vec<oneshot::Sender<()>>,
    /// Who wants to know what waits for each uplink.
    loads: Vec<(Arc<str>, watch::Sender<UplinkLoad>)>,
    asides: Asides,
    stopping: Option<oneshot::Sender<()>>,
    /// Who listens in the gateway itself.
    listener: Option<mpsc::Sender<Box<Addressed>>>,
    log: FactLog,
    /// Reads that fail.
    reading: Episode,
    /// Trims that fail.
    trimming: Episode,
}

impl Hub {
    /// Starts the task on an opened store.
    #[must_use]
    pub fn start(
        options: EngineOptions,
        uplinks: Vec<UplinkSession>,
        store: Store,
        snapshot: Snapshot,
        events: mpsc::UnboundedReceiver<StoreEvent>,
    ) -> (HubHandle, JoinHandle<()>) {
        let mut engine = Engine::new(options, snapshot, now());
        let (mut views, mut loads) = (HashMap::new(), Vec::new());
        for uplink in uplinks {
            let name = uplink.name.clone();
            engine.register_uplink(uplink);
            let (teller, load) = watch::channel(UplinkLoad::default());
            let server = engine.uplink_server(&name);
            views.insert(name.clone(), UplinkView { server, load });
            loads.push((name, teller));
        }
        let node = engine.node();
        engine.report_gone_uplinks();
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
        let hub = Self {
            engine,
            store,
            connections: NumberMap::default(),
            entering: Vec::new(),
            flushing: Vec::new(),
            loads,
            asides: Asides::default(),
            stopping: None,
            listener: None,
            log: FactLog::default(),
            reading: Episode::default(),
            trimming: Episode::default(),
        };
        let uplinks = Arc::new(views);
        let handle = HubHandle { node, uplinks, commands, questions };
        (handle, tokio::spawn(hub.run(inbox, asked, events)))
    }

    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut questions: mpsc::Receiver<Question>,
        mut events: mpsc::UnboundedReceiver<StoreEvent>,
    ) {
        let mut alarm = pin!(sleep_until((Instant::now() + SLEEP_MAX).into()));
        loop {
            self.work();
            if self.engine.is_durable() {
                for answer in self.flushing.drain(..) {
                    let _ = answer.send(());
                }
                if let Some(stopped) = self.stopping.take() {
                    self.store.close();
                    let _ = stopped.send(());
                    return;
                }
            }
            let room = self.engine.uncommitted() < UNCOMMITTED_MAX
                && self.engine.uncommitted_bytes() < UNCOMMITTED_BYTES_MAX;
            let deadline = self.engine.poll_timeout();
            // One that goes off too early does no harm, and setting it for each turn would cost more than that.
            if let Some(at) = deadline.map(Into::into).filter(|at| *at < alarm.deadline()) {
                alarm.as_mut().reset(at);
            }
            tokio::select! {
                event = events.recv() => match event {
                    Some(StoreEvent::Damaged(cause)) => {
                        return error!(
                            %cause,
                            "queue is damaged; the gateway ends and salvages what can be read when it is started again"
                        );
                    }
                    Some(event) => self.handle_event(event),
                    None => return error!("store thread ended; nothing can be kept any more"),
                },
                command = commands.recv(), if room => match command {
                    Some(command) => self.handle_commands(command, &mut commands),
                    None => return,
                },
                // Its sender goes with that of the commands.
                Some(question) = questions.recv() => {
                    let Self { asides, engine, store, .. } = &mut self;
                    asides.handle_question(question, engine, store, now());
                }
                () = alarm.as_mut() => {
                    self.engine.handle_timeout(now());
                    alarm.as_mut().reset((Instant::now() + SLEEP_MAX).into());
                }
            }
        }
    }

    fn handle_commands(&mut self, first: Command, commands: &mut mpsc::Receiver<Command>) {
        self.handle_command(first);
        for _ in 1..TURN_MAX {
            match commands.try_recv() {
                Ok(command) => self.handle_command(command),
                Err(_) => return,
            }
            if self.engine.uncommitted_bytes() >= UNCOMMITTED_BYTES_MAX {
                return;
            }
        }
    }

    fn handle_command(&mut self, command: Command) {
        let now = now();
        match command {
            Command::Publish(messages) => {
                messages.into_iter().for_each(|message| self.engine.handle_publish(message, now));
            }
            Command::SayOfSelf(messages) => {
                messages.into_iter().for_each(|it| self.engine.handle_say_of_self(it, now));
            }
            Command::AttachClient(client, answer) => {
                let attached = self.engine.handle_attach_client(*client, now);
                let inbound = self.connect(attached.connection);
                self.entering.push(Entering { attached, inbound, door: Door::Client(answer) });
            }
            Command::AttachUplink(uplink, answer) => {
                match self.engine.handle_attach_uplink(&uplink, now) {
                    Some(attached) => {
                        let inbound = self.connect(attached.connection);
                        let door = Door::Uplink(answer);
                        self.entering.push(Entering { attached, inbound, door });
                    }
                    None => _ = answer.send(None),
                }
            }
            Command::Packets(connection, packets) => {
                for packet in packets {
                    self.engine.handle_packet(connection, packet, now);
                }
            }
            Command::Say { connection, message, last } => {
                self.engine.handle_say(connection, *message, last);
            }
            Command::Congestion(connection, congested) => {
                self.engine.handle_congestion(connection, congested);
            }
            Command::Detach(connection, cause) => {
                self.engine.handle_detach(connection, cause, now);
                self.connections.remove(&connection);
            }
            Command::Clock(state) => self.engine.handle_clock(state, now),
            Command::Acl { acl, outdated } => self.engine.handle_acl(acl, &outdated),
            Command::Listen(filters, listener) => {
                self.engine.handle_listen(filters);
                self.listener = Some(listener);
            }
            Command::Flush(answer) => self.flushing.push(answer),
            Command::Stop(answer) => self.stopping = Some(answer),
        }
    }

    fn connect(&mut self, connection: ConnectionId) -> Inbound {
        let (mailbox, inbound) = mailbox();
        self.connections.insert(connection, mailbox);
        inbound
    }

    /// Hands on everything the engine has to say.
    fn work(&mut self) {
        let now = now();
        loop {
            self.engine.settle_down(now);
            let mut is_answered = false;
            while let Some(command) = self.engine.poll_store(now) {
                if let Some(event) = self.store.ask(command) {
                    self.handle_event(event);
                    is_answered = true;
                }
            }
            if !is_answered {
                break;
            }
        }
        self.hand_out();
        while let Some(fact) = self.engine.poll_fact() {
            self.log.tell(&fact, now.mono);
        }
        self.log.tell_unsaid(now.mono);
        self.asides.tell(&self.engine, &self.store);
        for (name, teller) in &self.loads {
            let (queued, inflight) = self.engine.uplink_load(name);
            let load = UplinkLoad { queued, inflight };
            teller.send_if_modified(|have| std::mem::replace(have, load) != load);
        }
        let durable = |entering: &mut Entering| self.engine.is_committed(entering.attached.needs);
        let entered: Vec<Entering> = self.entering.extract_if(.., durable).collect();
        for entering in entered {
            let connection = entering.attached.connection;
            if !entering.answer() {
                self.engine.handle_detach(connection, DetachCause::Lost, now);
                self.connections.remove(&connection);
            }
        }
    }

    /// Gives each connection what is for it. What is for one connection mostly follows each other: its mailbox stays open
    /// until somebody else's turn comes.
    fn hand_out(&mut self) {
        let mut opened: Option<(ConnectionId, Option<Opened<'_>>)> = None;
        while let Some(output) = self.engine.poll_output() {
            let (connection, event) = match output {
                Output::Packet(connection, packet) => (connection, ConnectionEvent::Packet(packet)),
                Output::Said(connection) => (connection, ConnectionEvent::Said),
                Output::Close(connection, reason) => (connection, ConnectionEvent::Close(reason)),
                Output::Addressed(addressed) => {
                    let sent = self.listener.as_ref().map(|it| it.try_send(addressed));
                    if let Some(Err(TrySendError::Full(lost))) = sent {
                        let (topic, sender) = (lost.message.topic.as_str(), &lost.sender.name);
                        warn!(topic, %sender, "too many requests at once; this one is not looked at");
                    }
                    continue;
                }
            };
            if opened.is_none() {
                step::pass(Step::HandBefore);
            }
            let (_, mailbox) = match opened.take_if(|(id, _)| *id == connection) {
                Some(same) => opened.insert(same),
                None => {
                    let mailbox = self.connections.get(&connection);
                    opened.insert((connection, mailbox.map(Mailbox::open)))
                }
            };
            // A connection that is gone says so itself with a detach.
            if let Some(mailbox) = mailbox {
                mailbox.push(event);
            }
        }
        if opened.is_some() {
            step::pass(Step::HandAfter);
        }
    }

    fn handle_event(&mut self, event: StoreEvent) {
        let now = now();
        let Self { asides, engine, .. } = self;
        let Some(event) = asides.handle_event(event, engine, now) else { return };
        match &event {
            StoreEvent::Stuck(cause) => {
                error!(%cause, "store cannot write; readings wait in memory, then buses are slowed, until it can");
            }
            StoreEvent::Unstuck { failures, lasted } => {
                info!(failures, seconds = lasted.as_secs(), "store writes again");
            }
            StoreEvent::ReadFailed(cause) if self.reading.handle_failure(now.mono) => {
                error!(%cause, "store cannot read; what waits in it is delivered once it can");
            }
            StoreEvent::TrimFailed(cause) if self.trimming.handle_failure(now.mono) => {
                error!(%cause, "store cannot make room; tried again until it can");
            }
            StoreEvent::ReadFailed(cause) | StoreEvent::TrimFailed(cause) => {
                debug!(%cause, "store still cannot");
            }
            StoreEvent::Fetched { .. } => {
                if let Some(Over { failures, lasted }) = self.reading.handle_success(now.mono) {
                    info!(failures, seconds = lasted.as_secs(), "store reads again");
                }
            }
            StoreEvent::Trimmed(_) => {
                if let Some(Over { failures, lasted }) = self.trimming.handle_success(now.mono) {
                    info!(failures, seconds = lasted.as_secs(), "store makes room again");
                }
            }
            StoreEvent::Committed(_)
            | StoreEvent::Looked { .. }
            | StoreEvent::Verified { .. }
            | StoreEvent::Damaged(_) => {}
        }
        self.engine.handle_store(event, now);
    }
}

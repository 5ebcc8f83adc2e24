//! shell: takes requests from the hub, has the buses carry them out, and publishes what became of them.
#![allow(clippy::disallowed_methods, reason = "waits for buses and reads the clock")]

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use super::answer::{self, About};
use super::book::{Begun, Book, Key, Line};
use super::journal::Journal;
use super::order::{Order, Refusal, Reply, check};
use super::writing::{End, Next, Outcome, Writing};
use crate::clock;
use crate::field::modbus::transaction::Question;
use crate::field::{BusHandle, BusStopped, DeviceSettings, Rank};
use crate::hub::{Addressed, HubHandle, Sender};
use crate::model::{ClockState, Message, TopicName};
use crate::quiet::Quiet;

/// Orders that may wait for one device.
const ORDERS_MAX: usize = 64;
/// How long a read that only finds out what came of a write may wait for its turn.
const READ_BACK_MAX: Duration = Duration::from_secs(5);
/// How long an answer may take to become durable before the next order is looked at.
const DURABLE_MAX: Duration = Duration::from_secs(2);
/// Refusals of one sender's requests that are said in a minute.
const REFUSALS_SAID: u32 = 10;

/// What requests are about.
#[derive(Debug, Clone)]
pub struct CommandSettings {
    /// The gateway id, the root of its topics.
    pub gateway: Arc<str>,
    /// The devices, each with the way to its bus.
    pub devices: Vec<(DeviceSettings, BusHandle)>,
}

/// Takes requests and carries them out.
#[derive(Debug)]
pub struct Commands {
    gateway: Arc<str>,
    devices: HashMap<Arc<str>, Arc<DeviceSettings>>,
    workers: HashMap<Arc<str>, mpsc::Sender<(Order, Sender)>>,
    running: JoinSet<()>,
    shared: Shared,
    clock: watch::Receiver<ClockState>,
    refusals: Quiet<Arc<str>>,
}

/// What all workers have in common.
#[derive(Debug, Clone)]
struct Shared {
    hub: HubHandle,
    ledger: Arc<Mutex<Ledger>>,
}

/// The book and its file.
#[derive(Debug)]
struct Ledger {
    book: Book,
    journal: Journal,
}

impl Ledger {
    fn note(&mut self, line: &Line) -> io::Result<()> {
        let is_begun = matches!(line, Line::Begun(_));
        self.journal.add(line, is_begun)?;
        self.book.note(line);
        if is_begun { Ok(()) } else { self.journal.tidy_up(&self.book) }
    }
}

impl Commands {
    /// Reads below `state_dir` which requests were taken before.
    ///
    /// # Errors
    /// What the operating system says of the file.
    pub fn open(
        settings: CommandSettings,
        state_dir: &Path,
        hub: HubHandle,
        clock: watch::Receiver<ClockState>,
    ) -> io::Result<Self> {
        let (journal, book) = Journal::open(state_dir)?;
        let shared = Shared { hub, ledger: Arc::new(Mutex::new(Ledger { book, journal })) };
        let (mut devices, mut workers) = (HashMap::new(), HashMap::new());
        let mut running = JoinSet::new();
        for (device, bus) in settings.devices {
            let device = Arc::new(device);
            if device.points.iter().any(|point| point.writable.is_some()) {
                let (teller, orders) = mpsc::channel(ORDERS_MAX);
                workers.insert(device.name.clone(), teller);
                running.spawn(work(orders, bus, shared.clone()));
            }
            devices.insert(device.name.clone(), device);
        }
        let (gateway, refusals) = (settings.gateway, Quiet::new(REFUSALS_SAID));
        Ok(Self { gateway, devices, workers, running, shared, clock, refusals })
    }

    /// Runs until `stop` turns true or the hub has stopped; what was begun is finished. Requests that the last run began
    /// and did not answer are answered first.
    pub async fn run(
        mut self,
        mut requests: mpsc::Receiver<Box<Addressed>>,
        mut stop: watch::Receiver<bool>,
    ) {
        self.answer_for_the_last_run().await;
        loop {
            let addressed = tokio::select! {
                addressed = requests.recv() => addressed,
                _ = stop.wait_for(|stop| *stop) => None,
            };
            let Some(addressed) = addressed else { break };
            self.take(*addressed).await;
        }
        let Self { workers, mut running, .. } = self;
        drop(workers);
        while running.join_next().await.is_some() {}
    }

    async fn answer_for_the_last_run(&self) {
        let open = lock(&self.shared.ledger).book.open().to_vec();
        for Begun { keys, topic, id } in open {
            let Ok(request) = TopicName::new(&topic) else { continue };
            let reason = "the gateway was stopped while this was under way; whether the device took it is not known, \
                          and it is not sent again";
            warn!(topic, "request was under way when the gateway was stopped");
            let (response, correlation) = (None, None);
            let reply = Reply { request, id, response, correlation, is_single: true };
            let reason = Some(reason.to_owned());
            let outcome = Outcome { end: End::Unknown, value: None, before: None, reason };
            self.shared.answer(&reply, &[(Arc::from(""), outcome)]).await;
            self.shared.close(keys.first().copied()).await;
        }
    }

    async fn take(&mut self, addressed: Addressed) {
        let clock = *self.clock.borrow();
        let Some(checked) = check(&addressed, &self.gateway, &self.devices, clock) else { return };
        let sender = addressed.sender;
        let order = match checked {
            Ok(order) => order,
            Err(refusal) => {
                let Refusal { reply, outcomes } = *refusal;
                return self.refuse(&sender, &reply, outcomes).await;
            }
        };
        if !lock(&self.shared.ledger).book.take(&order.keys, &order.unique) {
            let reason = "this request was taken before and is not sent again; what became of it was said then";
            return self.refuse_all(&sender, &order, reason).await;
        }
        let Some(worker) = self.workers.get(&order.device.name) else { return };
        if let Err(refused) = worker.try_send((order, sender)) {
            let (order, sender) = refused.into_inner();
            lock(&self.shared.ledger).book.release(&order.keys);
            let reason = "too many requests wait for this device";
            self.refuse_all(&sender, &order, reason).await;
        }
    }

    async fn refuse_all(&mut self, sender: &Sender, order: &Order, reason: &str) {
        let names = order.points.iter().filter_map(|(index, _)| order.device.points.get(*index));
        let outcomes = names.map(|it| (it.name.clone(), Outcome::refused(reason))).collect();
        self.refuse(sender, &order.reply, outcomes).await;
    }

    async fn refuse(&mut self, sender: &Sender, reply: &Reply, outcomes: Vec<(Arc<str>, Outcome)>) {
        if let Some(unsaid) = self.refusals.handle(&sender.name, Instant::now()) {
            let topic = reply.request.as_str();
            let reason = outcomes.iter().find_map(|(_, outcome)| outcome.reason.as_deref());
            warn!(topic, by = %By(sender), reason, unsaid, "write refused");
        }
        self.shared.publish_answer(reply, &outcomes).await;
    }
}

/// Carries out the orders for one device, one after the other.
async fn work(mut orders: mpsc::Receiver<(Order, Sender)>, bus: BusHandle, shared: Shared) {
    while let Some((order, sender)) = orders.recv().await {
        let (outcomes, is_begun) = carry_out(&order, &bus, &shared).await;
        for (point, outcome) in &outcomes {
            audit(&order, point, outcome, &sender);
        }
        if is_begun {
            shared.answer(&order.reply, &outcomes).await;
            shared.close(order.keys.first().copied()).await;
        } else {
            lock(&shared.ledger).book.release(&order.keys);
            shared.publish_answer(&order.reply, &outcomes).await;
        }
    }
}

/// Writes one point after the other, until one does not become what it should. Says whether anything was sent that may
/// have changed the device.
async fn carry_out(
    order: &Order,
    bus: &BusHandle,
    shared: &Shared,
) -> (Vec<(Arc<str>, Outcome)>, bool) {
    let mut outcomes: Vec<(Arc<str>, Outcome)> = Vec::new();
    let mut is_begun = false;
    for (index, setting) in &order.points {
        let Some(point) = order.device.points.get(*index) else { continue };
        if let Some((name, _)) = outcomes.iter().find(|(_, it)| it.end > End::Written) {
            let reason = format!("`{name}` did not become what it should, and goes before");
            outcomes.push((point.name.clone(), Outcome::refused(reason)));
            continue;
        }
        let mut writing = Writing::new(order.device.unit, point, setting.clone(), order.until);
        let outcome = loop {
            match writing.poll_next() {
                Next::Done(outcome) => break outcome,
                Next::Pause(pause) => sleep(pause).await,
                Next::Ask(question) => {
                    if question.query.is_write() && !is_begun {
                        if let Err(cause) = shared.begin(order).await {
                            error!(%cause, "request cannot be noted, and is not sent");
                            break Outcome::refused(format!("the gateway cannot note it: {cause}"));
                        }
                        is_begun = true;
                    }
                    ask(&mut writing, bus, question).await;
                }
            }
        };
        outcomes.push((point.name.clone(), outcome));
    }
    (outcomes, is_begun)
}

async fn ask(writing: &mut Writing<'_>, bus: &BusHandle, question: Question) {
    let until = writing.until().unwrap_or_else(|| Instant::now() + READ_BACK_MAX);
    match bus.ask_until(Rank::First, question, until).await {
        Ok(outcome) => writing.handle_outcome(&outcome.result, Instant::now()),
        Err(BusStopped) => writing.handle_stopped(),
    }
}

impl Shared {
    /// Notes durably that an order is about to be sent.
    async fn begin(&self, order: &Order) -> io::Result<()> {
        let topic = order.reply.request.as_str().to_owned();
        let (keys, id) = (order.keys.clone(), order.reply.id.clone());
        let line = Line::Begun(Begun { keys, topic, id });
        let ledger = self.ledger.clone();
        let noted = spawn_blocking(move || lock(&ledger).note(&line)).await;
        noted.unwrap_or_else(|_| Err(io::Error::other("the program is stopping")))
    }

    /// Notes that it is answered.
    async fn close(&self, key: Option<Key>) {
        let Some(key) = key else { return };
        let ledger = self.ledger.clone();
        let noted = spawn_blocking(move || lock(&ledger).note(&Line::Answered(key))).await;
        if let Ok(Err(cause)) = noted {
            warn!(%cause, "answer to a request cannot be noted; it is given again after a restart");
        }
    }

    /// Publishes an answer and waits until it is durable.
    async fn answer(&self, reply: &Reply, outcomes: &[(Arc<str>, Outcome)]) {
        self.publish_answer(reply, outcomes).await;
        // A store that is stuck keeps nobody from being written.
        let _ = timeout(DURABLE_MAX, self.hub.flush()).await;
    }

    async fn publish_answer(&self, reply: &Reply, outcomes: &[(Arc<str>, Outcome)]) {
        let messages = answers(reply, outcomes, clock::now().wall);
        // A hub that has stopped takes nothing, and nobody is there to hear.
        let _ = self.hub.publish(messages).await;
    }
}

/// The answer beside the request and, where the sender wants it, elsewhere.
fn answers(
    reply: &Reply,
    outcomes: &[(Arc<str>, Outcome)],
    time: crate::model::Timestamp,
) -> Vec<Message> {
    let about = match outcomes {
        [(_, outcome)] if reply.is_single => About::One(outcome),
        outcomes => About::Points(outcomes),
    };
    let payload = answer::payload(reply.id.as_ref(), about, time);
    let beside = answer::topic(&reply.request).ok();
    let topics = beside.into_iter().chain(reply.response.clone());
    let message = |topic| answer::message(topic, payload.clone(), reply.correlation.as_ref(), time);
    topics.map(message).collect()
}

/// The line about one point, for whoever asks later who did that.
fn audit(order: &Order, point: &str, outcome: &Outcome, sender: &Sender) {
    let (device, by) = (&order.device.name, By(sender));
    let id = order.reply.id.as_ref().map(tracing::field::display);
    let shown = |value: &Option<crate::model::Value>| value.as_ref().map(ToString::to_string);
    let (old, new) = (shown(&outcome.before), shown(&outcome.value));
    let reason = outcome.reason.as_deref();
    let asked = order.points.iter().find_map(|(index, setting)| {
        let name = &order.device.points.get(*index)?.name;
        (**name == *point).then(|| setting.value.to_string())
    });
    match outcome.end {
        End::Confirmed | End::Written => {
            info!(%device, point, old, new, %by, id, result = %outcome.end, reason, "point written");
        }
        End::Refused | End::Failed | End::Unknown => {
            warn!(%device, point, old, new, asked, %by, id, result = %outcome.end, reason, "point not written");
        }
    }
}

/// Who asked, for the log: `client "panel" user "anna" at 192.0.2.7`.
struct By<'s>(&'s Sender);

impl std::fmt::Display for By<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Sender { name, is_uplink, user, address } = self.0;
        write!(f, "{} {name:?}", if *is_uplink { "uplink" } else { "client" })?;
        if let Some(user) = user {
            write!(f, " user {user:?}")?;
        }
        address.map_or(Ok(()), |address| write!(f, " at {address}"))
    }
}

fn lock(ledger: &Mutex<Ledger>) -> std::sync::MutexGuard<'_, Ledger> {
    // Whoever panicked while it was held has left a book that is right: it changes in single steps.
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

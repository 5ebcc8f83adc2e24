//! shell: owns one port and runs the decisions of one bus on it.
#![allow(
    clippy::disallowed_methods,
    reason = "reads the clock and waits for the cores of this bus"
)]

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep_until, timeout};
use tracing::{debug, info, trace, warn};

use super::alarm::Alarm;
use super::errand::{Errand, Rank, not_asked};
use super::event::{Fact, FieldEvent};
use super::forecast::Forecast;
use super::health::Ailment;
use super::memory::Memory;
use super::modbus::transaction::{Ended, Failure, Outcome, Question};
use super::modbus::wire::Wire;
use super::notebook::Notebook;
use super::poller::{Ask, Next, Poller};
use super::port::{Port, PortError, others};
use super::watch::ring::{Kind, Ring};
use super::watch::traffic::Framing;
use super::watch::{Look, Onlooker};
use super::{BusSettings, DeviceSettings};
use crate::backoff::Backoff;
use crate::clock;
use crate::model::Moment;

/// The longest frame is 260 bytes; noise may come with it.
const READ_BUFFER_LEN: usize = 512;

/// The first pause before a port or connection is opened again.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
/// The longest.
const PAUSE_LONGEST: Duration = Duration::from_secs(10);
/// The longest where it is a port of this machine: looking costs little, and whoever put the plug back stands beside it.
const PAUSE_LONGEST_PORT: Duration = Duration::from_secs(2);

/// Questions from outside that may wait for a bus.
const ERRANDS_MAX: usize = 16;

/// One bus with its devices, ready to run.
#[derive(Debug)]
pub struct Bus {
    settings: BusSettings,
    devices: Vec<DeviceSettings>,
    notebook: Option<Notebook>,
    errands: (mpsc::Sender<Request>, mpsc::Receiver<Request>),
    looks: (Onlooker, mpsc::Receiver<Look>),
    /// Of how many buses it is one: they share the memory for what passed lately.
    buses: usize,
}

/// A question from outside, until when it may be asked, and whoever waits for how it ends.
type Request = (Rank, Question, Option<Instant>, oneshot::Sender<Outcome>);

/// Asks devices of a running bus questions beside its schedule.
#[derive(Debug, Clone)]
pub struct BusHandle(mpsc::Sender<Request>);

/// The bus has stopped before the question was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bus has stopped")]
pub struct BusStopped;

impl BusHandle {
    /// Asks `question` when its `rank` says; returns how it ended. It is asked at most once.
    ///
    /// # Errors
    /// [`BusStopped`]; whether it was asked is not known then.
    pub async fn ask(&self, rank: Rank, question: Question) -> Result<Outcome, BusStopped> {
        self.send(rank, question, None).await
    }

    /// Asks `question`, but not from `until` on: what waits that long ends as [`Failure::NotAsked`].
    ///
    /// # Errors
    /// [`BusStopped`]; whether it was asked is not known then.
    pub async fn ask_until(
        &self,
        rank: Rank,
        question: Question,
        until: Instant,
    ) -> Result<Outcome, BusStopped> {
        self.send(rank, question, Some(until)).await
    }

    async fn send(
        &self,
        rank: Rank,
        question: Question,
        until: Option<Instant>,
    ) -> Result<Outcome, BusStopped> {
        let (teller, outcome) = oneshot::channel();
        self.0.send((rank, question, until, teller)).await.map_err(|_| BusStopped)?;
        outcome.await.map_err(|_| BusStopped)
    }
}

/// Why a port is no longer used.
enum End {
    /// The program stops, or nobody listens any more.
    Stop,
    /// The port is of no use; `answered` when something useful came over it before.
    Lost { reason: String, answered: bool },
}

impl Bus {
    /// Takes the settings of a bus and of the devices on it.
    #[must_use]
    pub fn new(settings: BusSettings, devices: Vec<DeviceSettings>) -> Self {
        let (errands, looks) = (mpsc::channel(ERRANDS_MAX), Onlooker::new(&settings.name));
        Self { settings, devices, notebook: None, errands, looks, buses: 1 }
    }

    /// Says that it is one of so many buses.
    #[must_use]
    pub fn one_of(mut self, buses: usize) -> Self {
        self.buses = buses;
        self
    }

    /// Keeps what is learnt about its devices in a file below `state_dir`.
    #[must_use]
    pub fn remembering(mut self, state_dir: &Path) -> Self {
        self.notebook = Some(Notebook::new(state_dir, &self.settings.name));
        self
    }

    /// The key under `buses`.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    /// Asks questions beside the schedule while the bus runs.
    #[must_use]
    pub fn handle(&self) -> BusHandle {
        BusHandle(self.errands.0.clone())
    }

    /// Sees what the bus does while it runs.
    #[must_use]
    pub fn onlooker(&self) -> Onlooker {
        self.looks.0.clone()
    }

    /// Polls until `stop` turns true or the receiver of `events` is gone. A full channel slows the bus. After `stop` the
    /// transaction under way is finished within its timeout.
    pub async fn run(self, events: mpsc::Sender<FieldEvent>, stop: watch::Receiver<bool>) {
        let Self { settings, devices, notebook, errands: (keep_open, errands), .. } = self;
        let (onlooker, looks) = self.looks;
        let memory = match &notebook {
            Some(notebook) => notebook.read(),
            None => Memory::default(),
        };
        warn_of_overload(&settings, &devices, &memory);
        let poller = Poller::new(&settings, devices, &memory, clock::now());
        let is_here = settings.port.serial().is_some();
        let longest = if is_here { PAUSE_LONGEST_PORT } else { PAUSE_LONGEST };
        let (backoff, outage) = (Backoff::new(PAUSE_FIRST, longest), None);
        let burst_gap = Framing::from(&settings.port).burst_gap();
        let ring = Ring::new(self.buses, burst_gap, Instant::now());
        Runner {
            settings,
            poller,
            events,
            stop,
            backoff,
            outage,
            notebook,
            errands,
            waiting: HashMap::new(),
            errands_taken: 0,
            echo_is_told: false,
            alarm: None,
            ring,
            looks,
        }
        .run()
        .await;
        drop((keep_open, onlooker));
    }
}

/// Says before anything is asked when the periods cannot be kept.
fn warn_of_overload(settings: &BusSettings, devices: &[DeviceSettings], memory: &Memory) {
    let forecast = Forecast::new(settings, devices, memory);
    if let Some((message, remedy)) = forecast.overload() {
        warn!(bus = %settings.name, remedy, "{message}");
    }
}

struct Runner {
    settings: BusSettings,
    poller: Poller,
    events: mpsc::Sender<FieldEvent>,
    stop: watch::Receiver<bool>,
    backoff: Backoff,
    /// Since when the port cannot be used, and why.
    outage: Option<(Instant, String)>,
    notebook: Option<Notebook>,
    errands: mpsc::Receiver<Request>,
    /// Who waits for which errand.
    waiting: HashMap<u64, oneshot::Sender<Outcome>>,
    errands_taken: u64,
    echo_is_told: bool,
    /// For a line, which pays for every wait that ends late with its pace.
    alarm: Option<Alarm>,
    /// What passed lately.
    ring: Ring,
    looks: mpsc::Receiver<Look>,
}

impl Runner {
    async fn run(mut self) {
        info!(bus = %self.settings.name, "bus started");
        while self.hand_out().await.is_some() {
            let Some(opened) = self.open().await else { break };
            match opened {
                Ok(port) => match self.serve(port).await {
                    End::Stop => break,
                    End::Lost { reason, answered: true } => {
                        debug!(bus = %self.settings.name, reason, "port lost");
                        self.backoff.reset();
                    }
                    End::Lost { reason, answered: false } => self.handle_down(&reason),
                },
                Err(error) => {
                    let reason = error.to_string();
                    self.ring.push(Kind::Lost, reason.as_bytes(), clock::now());
                    self.handle_down(&reason);
                }
            }
            if self.hand_out().await.is_none() {
                break;
            }
            if self.pause().await.is_none() {
                break;
            }
        }
        if let Some((notebook, memory)) = self.notebook.as_ref().zip(self.poller.take_memory()) {
            // Said before if it cannot be written.
            let _ = notebook.write(&memory);
        }
        let mut sum = 0;
        for (device, every, skipped) in self.poller.skipped().filter(|(.., count)| *count > 0) {
            sum += skipped;
            info!(bus = %self.settings.name, %device, ?every, skipped, "reads were left out");
        }
        info!(bus = %self.settings.name, skipped = sum, "bus stopped");
    }

    /// Opens the port; `None` when the program stops. While it was lost, questions from outside are told so at once.
    async fn open(&mut self) -> Option<Result<Port, PortError>> {
        let port = self.settings.port.clone();
        let mut opening = pin!(Port::open(&port));
        loop {
            tokio::select! {
                opened = &mut opening => return Some(opened),
                Some(look) = self.looks.recv() => self.show(look),
                () = stopped(&mut self.stop) => return None,
                Some(request) = self.errands.recv(), if self.outage.is_some() => {
                    refuse(request, self.outage.as_ref());
                }
            }
        }
    }

    /// Waits before the port is opened again; `None` when the program stops.
    async fn pause(&mut self) -> Option<()> {
        let until = Instant::now() + self.backoff.next_pause(fastrand::f64());
        loop {
            tokio::select! {
                () = sleep_until(until.into()) => return Some(()),
                Some(look) = self.looks.recv() => self.show(look),
                () = stopped(&mut self.stop) => return None,
                Some(request) = self.errands.recv(), if self.outage.is_some() => {
                    refuse(request, self.outage.as_ref());
                }
            }
        }
    }

    /// Says who else has the port open: whoever had it before is not kept out.
    fn tell_others(&self) {
        let (bus, port) = (self.settings.name.clone(), self.settings.port.clone());
        tokio::spawn(async move {
            let others = others(&port).await.join(", ");
            if !others.is_empty() {
                warn!(%bus, %others, "port is open elsewhere, too; answers may go there");
            }
        });
    }

    fn handle_down(&mut self, reason: &str) {
        if self.outage.is_none() {
            self.outage = Some((Instant::now(), reason.to_owned()));
            warn!(bus = %self.settings.name, reason, "bus lost");
        } else {
            debug!(bus = %self.settings.name, reason, "bus still lost");
        }
        while let Ok(request) = self.errands.try_recv() {
            self.take_errand(request);
        }
        self.poller.handle_port_down(reason, clock::now());
    }

    /// Polls over `port` until it is of no use or the program stops.
    async fn serve(&mut self, mut port: Port) -> End {
        self.tell_others();
        let opened = clock::now();
        self.ring.push(Kind::Opened, b"", opened);
        let now = opened.mono;
        let mut wire = Wire::new(&self.settings, fastrand::u16(..), now);
        let mut answered = false;
        self.alarm = wire.poll_ready().map(|_| Alarm::new());
        self.poller.handle_port_up(now);
        loop {
            // A bus that nobody listens to must not let answers lie: with one under way it is read on.
            if (wire.is_idle() || self.poller.has_event()) && self.hand_out().await.is_none() {
                return End::Stop;
            }
            while let Ok(request) = self.errands.try_recv() {
                self.take_errand(request);
            }
            while let Ok(look) = self.looks.try_recv() {
                self.show(look);
            }
            let next = if wire.has_room() && !*self.stop.borrow() {
                self.poller.poll_next(Instant::now())
            } else {
                Next::Wait(None)
            };
            let done = match next {
                Next::Ask(ask) => self.ask(&mut port, &mut wire, ask).await,
                Next::Wait(until) => self.listen(&mut port, &mut wire, until).await,
            };
            let now = done.unwrap_or_else(|error| {
                wire.handle_port_failure(&port.explain(&error, answered));
                clock::now()
            });
            while let Some(Ended { ticket, question, outcome }) = wire.poll_ended() {
                if let Err(failure) = &outcome.result {
                    let (bus, device) = (&self.settings.name, self.poller.asked_device(ticket));
                    let device = device.map(AsRef::as_ref).unwrap_or_default();
                    debug!(%bus, device, %question, %failure, "question failed");
                    self.ring.push(Kind::Note, format!("{question}: {failure}").as_bytes(), now);
                }
                if matches!(outcome.result, Ok(_) | Err(Failure::Refused { .. })) {
                    answered = true;
                    self.handle_useful();
                }
                self.poller.handle_outcome(ticket, &outcome, now);
            }
            if wire.hears_itself() && !self.echo_is_told {
                self.echo_is_told = true;
                warn!(
                    bus = %self.settings.name,
                    "own requests come back and are passed over: the adapter does not switch its direction"
                );
            }
            if wire.window() < self.settings.in_flight {
                // Kept for the connections that follow.
                self.settings.in_flight = wire.window();
                warn!(
                    bus = %self.settings.name,
                    in_flight = wire.window(),
                    "questions under way together get lost at the far end; fewer are asked at once"
                );
            }
            if let Some(reason) = wire.unusable() {
                self.ring.push(Kind::Lost, reason.as_bytes(), clock::now());
                return End::Lost { reason: reason.to_owned(), answered };
            }
        }
    }

    fn take_errand(&mut self, (rank, question, until, teller): Request) {
        self.errands_taken += 1;
        let id = self.errands_taken;
        self.waiting.insert(id, teller);
        self.poller.handle_errand(Errand { id, rank, question, until });
    }

    /// Shows somebody what there is to see.
    fn show(&self, Look { with_frames, teller }: Look) {
        let frames = with_frames.then(|| self.ring.copy());
        // Whoever asked may have gone meanwhile.
        let _ = teller.send(self.poller.view(frames, Instant::now()));
    }

    fn handle_useful(&mut self) {
        if let Some((since, _)) = self.outage.take() {
            let down_for = format_args!("{:.1}s", since.elapsed().as_secs_f64());
            info!(bus = %self.settings.name, %down_for, "bus is back");
        }
    }

    /// Asks a question, on a line once it is silent.
    async fn ask(
        &mut self,
        port: &mut Port,
        wire: &mut Wire,
        Ask { ticket, question, timeout: patience }: Ask,
    ) -> io::Result<Moment> {
        // A line that never falls silent must not hold the bus for ever: ask into the noise then, and fail by name.
        let patient_until = Instant::now() + self.settings.timeout;
        while let Some(ready) = wire.poll_ready()
            && Instant::now() < ready.min(patient_until)
        {
            self.read_until(port, wire, ready.min(patient_until), "between").await?;
        }
        if wire.forgets_input() {
            port.clear_input()?;
        }
        let request = wire.ask(ticket, question, patience, Instant::now());
        match timeout(self.settings.timeout, port.write(&request)).await {
            Ok(written) => written?,
            Err(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "nothing can be sent (the other side takes nothing; is it frozen?)",
                ));
            }
        }
        let now = clock::now();
        self.note("sent", Kind::Sent, &request, now);
        Ok(now)
    }

    /// Takes what comes until something ended, `until` has come or, with nothing under way, the program stops.
    async fn listen(
        &mut self,
        port: &mut Port,
        wire: &mut Wire,
        until: Option<Instant>,
    ) -> io::Result<Moment> {
        let Some(deadline) = wire.poll_timeout() else {
            return self.idle(port, wire, until).await;
        };
        let wake = until.map_or(deadline, |until| until.min(deadline));
        self.read_until(port, wire, wake, "received").await
    }

    /// Waits for `until` or the stop; what comes meanwhile belongs to no question.
    async fn idle(
        &mut self,
        port: &mut Port,
        wire: &mut Wire,
        until: Option<Instant>,
    ) -> io::Result<Moment> {
        let mut buffer = [0; READ_BUFFER_LEN];
        let wait = async {
            match until {
                Some(until) => wait_until(self.alarm.as_ref(), until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wait => {}
            () = stopped(&mut self.stop) => {}
            // A receiver that is gone is found out by handing out, which an idle bus does not do.
            () = self.events.closed() => {}
            Some(request) = self.errands.recv() => self.take_errand(request),
            Some(look) = self.looks.recv() => self.show(look),
            read = port.read(&mut buffer) => {
                let bytes = buffer.get(..read?).unwrap_or_default();
                let now = clock::now();
                self.note("idle", Kind::Received, bytes, now);
                wire.handle_bytes(bytes, now.mono);
            }
        }
        Ok(clock::now())
    }

    /// Reads what comes until `deadline`; returns when it came, or when nothing had.
    async fn read_until(
        &mut self,
        port: &mut Port,
        wire: &mut Wire,
        deadline: Instant,
        what: &str,
    ) -> io::Result<Moment> {
        let mut buffer = [0; READ_BUFFER_LEN];
        let read = loop {
            tokio::select! {
                biased;
                read = port.read(&mut buffer) => break Some(read?),
                () = wait_until(self.alarm.as_ref(), deadline) => break None,
                // A device may take a minute for its answer, and whoever wants to see why shall not wait for it.
                Some(look) = self.looks.recv() => self.show(look),
            }
        };
        let now = clock::now();
        match read {
            Some(count) => {
                let bytes = buffer.get(..count).unwrap_or_default();
                self.note(what, Kind::Received, bytes, now);
                wire.handle_bytes(bytes, now.mono);
            }
            None => wire.handle_timeout(now.mono),
        }
        Ok(now)
    }

    /// Hands events to the app and facts to the log; `None` when the program stops.
    async fn hand_out(&mut self) -> Option<()> {
        while let Some(fact) = self.poller.poll_fact() {
            self.log(&fact);
        }
        while let Some((id, outcome)) = self.poller.poll_errand() {
            // Whoever asked may have gone meanwhile.
            self.waiting.remove(&id).map(|teller| teller.send(outcome));
        }
        if let Some(memory) = self.poller.poll_memory(Instant::now()) {
            self.keep(memory);
        }
        loop {
            let is_stopping = *self.stop.borrow();
            let permit = if is_stopping {
                self.poller.handle_stop();
                // What was read before the stop still goes out, if somebody takes it soon.
                timeout(self.settings.timeout, self.events.reserve()).await.ok()?.ok()?
            } else {
                tokio::select! {
                    permit = self.events.reserve() => permit.ok()?,
                    Some(look) = self.looks.recv() => {
                        self.show(look);
                        continue;
                    }
                    () = stopped(&mut self.stop) => continue,
                }
            };
            match self.poller.poll_event() {
                Some(event) => permit.send(event),
                None => return (!is_stopping).then_some(()),
            }
        }
    }

    /// Keeps what was learnt; a slow card holds up nobody.
    fn keep(&self, memory: Memory) {
        let Some(notebook) = self.notebook.clone() else { return };
        let bus = self.settings.name.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = notebook.write(&memory) {
                warn!(%bus, %error, "what was learnt about devices cannot be kept");
            }
        });
    }

    fn log(&self, fact: &Fact) {
        let bus = &self.settings.name;
        match fact {
            Fact::Answers { device, unit } => {
                info!(%bus, %device, unit = unit.0, "device answered")
            }
            Fact::FellSick { device, unit, ailment, reason } => match ailment {
                Ailment::Silent => {
                    warn!(%bus, %device, unit = unit.0, %reason, "device fell silent");
                }
                Ailment::Garbling => {
                    warn!(%bus, %device, unit = unit.0, %reason, "device garbles its answers");
                }
                Ailment::Refusing => {
                    warn!(%bus, %device, unit = unit.0, %reason, "device refuses whatever it is asked");
                }
            },
            Fact::Turned { device, unit, ailment, reason } => {
                info!(%bus, %device, unit = unit.0, ?ailment, %reason, "device still gives nothing");
            }
            Fact::AnswersAgain { device, unit, missed, sick_for } => {
                let silent_for = format_args!("{:.1}s", sick_for.as_secs_f64());
                info!(%bus, %device, unit = unit.0, missed, %silent_for, "device answers again");
            }
            Fact::Refuses { device, unit, points, range, reason, remedy } => {
                warn!(%bus, %device, unit = unit.0, points, %range, %reason, remedy, "device refused points");
            }
            Fact::Learnt { device, unit, lesson } => {
                info!(%bus, %device, unit = unit.0, config = %lesson, "device was found to allow less in one read");
            }
            Fact::FellBehind { device, every } => {
                warn!(%bus, %device, ?every, "reads are left out: the bus or the device is too slow for its period");
            }
            Fact::StillBehind { missed, lasted } => {
                let lasted = format_args!("{:.0}s", lasted.as_secs_f64());
                warn!(%bus, missed, %lasted, "reads are still left out");
            }
            Fact::CaughtUp { missed, lasted } => {
                let lasted = format_args!("{:.1}s", lasted.as_secs_f64());
                info!(%bus, missed, %lasted, "all periods are kept again");
            }
        }
    }

    /// Keeps what passed.
    fn note(&mut self, what: &str, kind: Kind, bytes: &[u8], now: Moment) {
        self.ring.push(kind, bytes, now);
        trace!(target: "wire::modbus", bus = %self.settings.name, bytes = %Hex(bytes), "{what}");
    }
}

/// Bytes as two digits each.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x} "))
    }
}

/// There is no port to ask on.
fn refuse((.., teller): Request, outage: Option<&(Instant, String)>) {
    let reason =
        outage.map_or("the bus is lost (`fieldpost status` says why)", |(_, reason)| reason);
    let result = Err(not_asked(reason));
    // Whoever asked may have gone meanwhile.
    let _ = teller.send(Outcome { result, dropped: Vec::new() });
}

/// Waits until `at`, exactly where there is an alarm for it.
async fn wait_until(alarm: Option<&Alarm>, at: Instant) {
    match alarm {
        Some(alarm) => alarm.wait_until(at).await,
        None => sleep_until(at.into()).await,
    }
}

/// Waits until the program stops.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that whoever could say so is gone, which comes to the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

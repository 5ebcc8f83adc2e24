//! shell: owns one port and runs the decisions of one bus on it.
#![allow(
    clippy::disallowed_methods,
    reason = "reads the clock and waits for the cores of this bus"
)]

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep_until, timeout, timeout_at};
use tracing::{debug, info, trace, warn};

use super::event::{Fact, FieldEvent};
use super::modbus::transaction::{Ended, Failure};
use super::modbus::wire::Wire;
use super::poller::{Ask, Next, Poller};
use super::port::{Port, others};
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

/// One bus with its devices, ready to run.
#[derive(Debug)]
pub struct Bus {
    settings: BusSettings,
    devices: Vec<DeviceSettings>,
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
        Self { settings, devices }
    }

    /// Polls until `stop` turns true or the receiver of `events` is gone. A full channel slows the bus. After `stop` the
    /// transaction under way is finished within its timeout.
    pub async fn run(self, events: mpsc::Sender<FieldEvent>, stop: watch::Receiver<bool>) {
        let poller = Poller::new(&self.settings, self.devices, clock::now());
        let (backoff, outage) = (Backoff::new(PAUSE_FIRST, PAUSE_LONGEST), None);
        let settings = self.settings;
        Runner { settings, poller, events, stop, backoff, outage, echo_is_told: false }.run().await;
    }
}

struct Runner {
    settings: BusSettings,
    poller: Poller,
    events: mpsc::Sender<FieldEvent>,
    stop: watch::Receiver<bool>,
    backoff: Backoff,
    /// Since when the port cannot be used.
    outage: Option<Instant>,
    echo_is_told: bool,
}

impl Runner {
    async fn run(mut self) {
        info!(bus = %self.settings.name, "bus started");
        while self.hand_out().await.is_some() {
            let opened = tokio::select! {
                opened = Port::open(&self.settings.port) => opened,
                () = stopped(&mut self.stop) => break,
            };
            match opened {
                Ok(port) => match self.serve(port).await {
                    End::Stop => break,
                    End::Lost { reason, answered: true } => {
                        debug!(bus = %self.settings.name, reason, "port lost");
                        self.backoff.reset();
                    }
                    End::Lost { reason, answered: false } => self.handle_down(&reason),
                },
                Err(error) => self.handle_down(&error.to_string()),
            }
            if self.hand_out().await.is_none() {
                break;
            }
            let pause = self.backoff.next_pause(fastrand::f64());
            tokio::select! {
                () = sleep_until((Instant::now() + pause).into()) => {}
                () = stopped(&mut self.stop) => break,
            }
        }
        let skipped = self.poller.skipped();
        info!(bus = %self.settings.name, skipped, "bus stopped");
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
            self.outage = Some(Instant::now());
            warn!(bus = %self.settings.name, reason, "bus lost");
        } else {
            debug!(bus = %self.settings.name, reason, "bus still lost");
        }
        self.poller.handle_port_down(reason, clock::now());
    }

    /// Polls over `port` until it is of no use or the program stops.
    async fn serve(&mut self, mut port: Port) -> End {
        self.tell_others();
        let now = Instant::now();
        let mut wire = Wire::new(&self.settings, fastrand::u16(..), now);
        let mut answered = false;
        self.poller.handle_port_up(now);
        loop {
            // A bus that nobody listens to must not let answers lie: with one under way it is read on.
            if (wire.is_idle() || self.poller.has_event()) && self.hand_out().await.is_none() {
                return End::Stop;
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
                return End::Lost { reason: reason.to_owned(), answered };
            }
        }
    }

    fn handle_useful(&mut self) {
        if let Some(since) = self.outage.take() {
            let down_for = format_args!("{:.1}s", since.elapsed().as_secs_f64());
            info!(bus = %self.settings.name, %down_for, "bus is back");
        }
    }

    /// Asks a question, on a line once it is silent.
    async fn ask(
        &self,
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
        self.trace("sent", &request);
        match timeout(self.settings.timeout, port.write(&request)).await {
            Ok(written) => written?,
            Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "nothing can be sent")),
        }
        Ok(clock::now())
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
                Some(until) => sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wait => {}
            () = stopped(&mut self.stop) => {}
            // A receiver that is gone is found out by handing out, which an idle bus does not do.
            () = self.events.closed() => {}
            read = port.read(&mut buffer) => {
                let bytes = buffer.get(..read?).unwrap_or_default();
                self.trace("idle", bytes);
                wire.handle_bytes(bytes, Instant::now());
            }
        }
        Ok(clock::now())
    }

    /// Reads what comes until `deadline`; returns when it came, or when nothing had.
    async fn read_until(
        &self,
        port: &mut Port,
        wire: &mut Wire,
        deadline: Instant,
        what: &str,
    ) -> io::Result<Moment> {
        let mut buffer = [0; READ_BUFFER_LEN];
        let read = timeout_at(deadline.into(), port.read(&mut buffer)).await;
        let now = clock::now();
        match read {
            Ok(read) => {
                let bytes = buffer.get(..read?).unwrap_or_default();
                self.trace(what, bytes);
                wire.handle_bytes(bytes, now.mono);
            }
            Err(_) => wire.handle_timeout(now.mono),
        }
        Ok(now)
    }

    /// Hands events to the app and facts to the log; `None` when the program stops.
    async fn hand_out(&mut self) -> Option<()> {
        while let Some(fact) = self.poller.poll_fact() {
            self.log(&fact);
        }
        loop {
            let is_stopping = *self.stop.borrow();
            let permit = if is_stopping {
                // What was read before the stop still goes out, if somebody takes it soon.
                timeout(self.settings.timeout, self.events.reserve()).await.ok()?.ok()?
            } else {
                tokio::select! {
                    permit = self.events.reserve() => permit.ok()?,
                    () = stopped(&mut self.stop) => continue,
                }
            };
            match self.poller.poll_event() {
                Some(event) => permit.send(event),
                None => return (!is_stopping).then_some(()),
            }
        }
    }

    fn log(&self, fact: &Fact) {
        let bus = &self.settings.name;
        match fact {
            Fact::Answers { device, unit } => {
                info!(%bus, %device, unit = unit.0, "device answered")
            }
            Fact::FellSilent { device, unit, reason } => {
                warn!(%bus, %device, unit = unit.0, %reason, "device fell silent");
            }
            Fact::AnswersAgain { device, unit, missed, silent_for } => {
                let silent_for = format_args!("{:.1}s", silent_for.as_secs_f64());
                info!(%bus, %device, unit = unit.0, missed, %silent_for, "device answers again");
            }
            Fact::Refuses { device, unit, range, reason } => {
                warn!(%bus, %device, unit = unit.0, %range, %reason, "device refused points");
            }
        }
    }

    fn trace(&self, what: &str, bytes: &[u8]) {
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

/// Waits until the program stops.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that whoever could say so is gone, which comes to the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

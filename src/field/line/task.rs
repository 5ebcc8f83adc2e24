//! shell: owns the port of one plain serial line and runs its decisions.
#![allow(
    clippy::disallowed_methods,
    reason = "reads the clock and waits for the cores of this line"
)]

use std::io;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep_until, timeout};
use tracing::{debug, info, trace, warn};

use super::talk::{Fact, Talk};
use crate::backoff::Backoff;
use crate::clock;
use crate::field::alarm::Alarm;
use crate::field::health::Ailment;
use crate::field::port::{Port, PortError, others_at};
use crate::field::watch::ring::{Kind, Ring};
use crate::field::watch::traffic::Framing;
use crate::field::watch::{Look, Onlooker};
use crate::field::{DeviceSettings, FieldEvent, LinePort, LineSettings};
use crate::model::Moment;

const READ_BUFFER_LEN: usize = 4_096;
/// The first pause before a port or connection is opened again.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
/// The longest.
const PAUSE_LONGEST: Duration = Duration::from_secs(10);
/// The longest where it is a port of this machine.
const PAUSE_LONGEST_PORT: Duration = Duration::from_secs(2);

/// A plain serial line with its devices, ready to run.
#[derive(Debug)]
pub struct Line {
    settings: LineSettings,
    devices: Vec<DeviceSettings>,
    looks: (Onlooker, mpsc::Receiver<Look>),
    /// Of how many buses it is one: they share the memory for what passed lately.
    buses: usize,
}

/// Why a port is no longer used.
enum End {
    /// The program stops, or nobody listens any more.
    Stop,
    /// The port is of no use; `heard` when something came over it before.
    Lost { reason: String, heard: bool },
}

impl Line {
    /// Takes the settings of a line and of the devices on it.
    #[must_use]
    pub fn new(settings: LineSettings, devices: Vec<DeviceSettings>) -> Self {
        let looks = Onlooker::new(&settings.name);
        Self { settings, devices, looks, buses: 1 }
    }

    /// Says that it is one of so many buses.
    #[must_use]
    pub fn one_of(mut self, buses: usize) -> Self {
        self.buses = buses;
        self
    }

    /// Sees what the line does while it runs.
    #[must_use]
    pub fn onlooker(&self) -> Onlooker {
        self.looks.0.clone()
    }

    /// Listens and asks until `stop` turns true or the receiver of `events` is gone. A full channel slows the line.
    pub async fn run(self, events: mpsc::Sender<FieldEvent>, stop: watch::Receiver<bool>) {
        let Self { settings, devices, looks: (onlooker, looks), buses } = self;
        let ring = Ring::new(buses, Framing::Plain.burst_gap(), Instant::now());
        let talk = Talk::new(settings.clone(), devices, Instant::now());
        let longest = match settings.port {
            LinePort::Serial(_) => PAUSE_LONGEST_PORT,
            LinePort::Tcp(_) => PAUSE_LONGEST,
        };
        let backoff = Backoff::new(PAUSE_FIRST, longest);
        let (alarm, outage) = (Alarm::new(), None);
        Runner { settings, talk, events, stop, backoff, outage, alarm, ring, looks }.run().await;
        drop(onlooker);
    }
}

struct Runner {
    settings: LineSettings,
    talk: Talk,
    events: mpsc::Sender<FieldEvent>,
    stop: watch::Receiver<bool>,
    backoff: Backoff,
    /// Since when the port cannot be used.
    outage: Option<Instant>,
    /// A frame may end with a silence of a few characters.
    alarm: Alarm,
    /// What passed lately.
    ring: Ring,
    looks: mpsc::Receiver<Look>,
}

impl Runner {
    async fn run(mut self) {
        info!(bus = %self.settings.name, "line started");
        while self.hand_out().await.is_some() {
            let Some(opened) = self.open().await else { break };
            match opened {
                Ok(port) => match self.serve(port).await {
                    End::Stop => break,
                    End::Lost { reason, heard } => {
                        self.ring.push(Kind::Lost, reason.as_bytes(), clock::now());
                        if heard {
                            self.backoff.reset();
                        }
                        self.handle_down(&reason);
                    }
                },
                Err(error) => {
                    let reason = error.to_string();
                    self.ring.push(Kind::Lost, reason.as_bytes(), clock::now());
                    self.handle_down(&reason);
                }
            }
            if self.hand_out().await.is_none() || self.pause().await.is_none() {
                break;
            }
        }
        info!(bus = %self.settings.name, "line stopped");
    }

    /// Opens the port; `None` when the program stops.
    async fn open(&mut self) -> Option<Result<Port, PortError>> {
        let port = self.settings.port.clone();
        let mut opening = pin!(Port::open_line(&port));
        loop {
            tokio::select! {
                opened = &mut opening => return Some(opened),
                Some(look) = self.looks.recv() => self.show(look),
                () = stopped(&mut self.stop) => return None,
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
            }
        }
    }

    /// Shows somebody what there is to see.
    fn show(&self, Look { with_frames, teller }: Look) {
        let frames = with_frames.then(|| self.ring.copy());
        // Whoever asked may have gone meanwhile.
        let _ = teller.send(self.talk.view(frames, Instant::now()));
    }

    fn handle_down(&mut self, reason: &str) {
        if self.outage.is_none() {
            self.outage = Some(Instant::now());
            warn!(bus = %self.settings.name, reason, "bus lost");
        } else {
            debug!(bus = %self.settings.name, reason, "bus still lost");
        }
        self.talk.handle_port_down(reason, clock::now());
    }

    /// Says who else has the port open: whoever had it before is not kept out.
    fn tell_others(&self) {
        let LinePort::Serial(serial) = self.settings.port.clone() else { return };
        let bus = self.settings.name.clone();
        tokio::spawn(async move {
            let others = others_at(&serial).await.join(", ");
            if !others.is_empty() {
                warn!(%bus, %others, "port is open elsewhere, too; frames may go there");
            }
        });
    }

    /// Listens on `port` until it is of no use or the program stops.
    async fn serve(&mut self, mut port: Port) -> End {
        self.tell_others();
        let opened = clock::now();
        self.ring.push(Kind::Opened, b"", opened);
        self.talk.handle_port_up(opened.mono);
        let mut heard = false;
        loop {
            if self.hand_out().await.is_none() || *self.stop.borrow() {
                return End::Stop;
            }
            let done = match self.talk.poll_send(Instant::now()) {
                Some(request) => self.send(&mut port, &request).await,
                None => self.listen(&mut port, &mut heard).await,
            };
            if let Err(error) = done {
                return End::Lost { reason: port.explain(&error, heard), heard };
            }
        }
    }

    async fn send(&mut self, port: &mut Port, request: &[u8]) -> io::Result<()> {
        // What came before belongs to no answer.
        port.clear_input()?;
        match timeout(self.settings.timeout, port.write(request)).await {
            Ok(written) => written?,
            Err(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "nothing can be sent (the other side takes nothing; is it frozen?)",
                ));
            }
        }
        let now = clock::now();
        self.note("sent", Kind::Sent, request, now);
        self.talk.handle_sent(now.mono);
        Ok(())
    }

    /// Takes what comes until there is something to do.
    async fn listen(&mut self, port: &mut Port, heard: &mut bool) -> io::Result<()> {
        let mut buffer = [0; READ_BUFFER_LEN];
        let until = self.talk.poll_timeout();
        let wait = async {
            match until {
                Some(until) => self.alarm.wait_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            read = port.read(&mut buffer) => {
                let bytes = buffer.get(..read?).unwrap_or_default();
                let now = clock::now();
                self.note("received", Kind::Received, bytes, now);
                *heard = true;
                if let Some(since) = self.outage.take() {
                    let down_for = format_args!("{:.1}s", since.elapsed().as_secs_f64());
                    info!(bus = %self.settings.name, %down_for, "bus is back");
                }
                self.talk.handle_bytes(bytes, now);
            }
            () = wait => self.talk.handle_timeout(clock::now()),
            Some(look) = self.looks.recv() => self.show(look),
            () = stopped(&mut self.stop) => {}
            // A receiver that is gone is found out by handing out, which an idle line does not do.
            () = self.events.closed() => {}
        }
        Ok(())
    }

    /// Hands events to the app and facts to the log; `None` when the program stops.
    async fn hand_out(&mut self) -> Option<()> {
        while let Some(fact) = self.talk.poll_fact() {
            self.log(&fact);
            let made = match &fact {
                Fact::Unfit { .. } => "this frame fits no point".to_owned(),
                Fact::MixedUp { .. } => {
                    "this frame may answer an older question as well".to_owned()
                }
                Fact::Damaged { damage } => damage.explained(),
                Fact::FellSick { device, reason, .. } => format!("{device}: {reason}"),
                Fact::Answers { .. }
                | Fact::AnswersAgain { .. }
                | Fact::Turned { .. }
                | Fact::NotFound { .. } => continue,
            };
            self.ring.push(Kind::Note, made.as_bytes(), clock::now());
        }
        loop {
            let is_stopping = *self.stop.borrow();
            let permit = if is_stopping {
                // What was heard before the stop still goes out, if somebody takes it soon.
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
            match self.talk.poll_event() {
                Some(event) => permit.send(event),
                None => return (!is_stopping).then_some(()),
            }
        }
    }

    fn log(&self, fact: &Fact) {
        let bus = &self.settings.name;
        match fact {
            Fact::Answers { device } => info!(%bus, %device, "device answered"),
            Fact::FellSick { device, ailment, reason } => match ailment {
                Ailment::Silent | Ailment::Refusing => {
                    warn!(%bus, %device, %reason, "device fell silent");
                }
                Ailment::Garbling => warn!(%bus, %device, %reason, "device garbles its frames"),
            },
            Fact::Turned { device, ailment, reason } => {
                info!(%bus, %device, ?ailment, %reason, "device still gives nothing");
            }
            Fact::AnswersAgain { device, missed, sick_for } => {
                let silent_for = format_args!("{:.1}s", sick_for.as_secs_f64());
                info!(%bus, %device, missed, %silent_for, "device answers again");
            }
            Fact::NotFound { device, points } => {
                info!(%bus, %device, points, "points were in no frame so far");
            }
            Fact::MixedUp { device, older, frame } => warn!(
                %bus, %device, %older, frame,
                "frame may answer an older question as well and is left; the line rests until no late answer can come"
            ),
            Fact::Unfit { frame } => debug!(%bus, frame, "frame fits no point"),
            Fact::Damaged { damage } => debug!(%bus, %damage, "frame damaged"),
        }
    }

    /// Keeps what passed.
    fn note(&mut self, what: &str, kind: Kind, bytes: &[u8], now: Moment) {
        self.ring.push(kind, bytes, now);
        trace!(target: "wire::line", bus = %self.settings.name, bytes = %bytes.escape_ascii(), "{what}");
    }
}

/// Waits until the program stops.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that whoever could say so is gone, which comes to the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

//! shell: runs the demo: waits for messages, cues and signals, and hands them on.
#![allow(clippy::disallowed_methods, reason = "this shell reads the clocks and waits")]

use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use tokio::time::{MissedTickBehavior, interval};

use super::ledger::Ledger;
use super::screen::Screen;
use super::script::{Cue, Script};
use super::stage::Stage;
use super::summary::Summary;
use super::table::View;
use super::upstream::Upstream;
use super::witness::Witness;
use crate::app::Gateway;
use crate::clock;
use crate::hub::{ConnectionEvent, SessionStatus};
use crate::model::QoS;
use crate::mqtt::Version;
use crate::service::{Signals, usage};
use crate::store::SessionOwner;

/// How often the queue is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Looks between two pictures.
const LOOKS_A_PICTURE: u32 = 4;
/// How long to wait in the end for what is still on its way, an uplink's pause after an outage not counted.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait for the last acknowledgements once everything has arrived.
const SETTLE_MAX: Duration = Duration::from_secs(1);
/// The longest pause of an uplink between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(90);

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// When the upstream is cut and when the run ends.
    pub script: Script,
    /// QoS of the uplink.
    pub qos: QoS,
    /// MQTT version of the uplink, 3.1.1 or 5.
    pub version: Version,
}

/// What to write to standard output while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// A table, drawn again in its place.
    Table {
        /// Whether in colours.
        colours: bool,
    },
    /// A line each second.
    Lines,
    /// Nothing.
    Nothing,
}

/// Runs the demo until its script or a signal ends it, then waits until everything has arrived; a further signal ends
/// that. `begin` is when the program started.
///
/// # Errors
/// Devices, upstream or gateway cannot be started, the upstream breaks, or standard output cannot be written to.
pub async fn play(options: Options, show: Show, begin: Instant) -> anyhow::Result<Summary> {
    let mut signals = Signals::listen().context("cannot take over SIGTERM")?;
    let Options { script, qos, version } = options;
    let Stage { upstream, settings, props } = Stage::build(qos, version).await?;
    let witness = Witness::subscribe(upstream.hub()).await?;
    let devices = settings.devices.len();
    let ledger = Ledger::new(settings.gateway.id.clone());
    let gateway = Gateway::start(settings).await?;
    let mut run = Run {
        begin,
        road: format!("RTU 9600 baud, TCP -> {version}, QoS {} -> upstream", qos.level()),
        script,
        devices,
        upstream,
        gateway,
        witness,
        ledger,
        screen: Screen::new(show),
        uplink: None,
        looks: 0,
        queue_peak: 0,
        cut: None,
        outage: Duration::ZERO,
        restored: None,
        drained: None,
        happenings: Vec::new(),
    };
    run.perform(&mut signals).await?;
    let polled = run.wind_up(&mut signals).await?;
    let (mut summary, upstream) = run.end(polled).await?;
    summary.qos = qos.level();
    upstream.stop().await;
    drop(props);
    Ok(summary)
}

#[derive(Debug)]
struct Run {
    begin: Instant,
    road: String,
    script: Script,
    /// How many the gateway has.
    devices: usize,
    upstream: Upstream,
    gateway: Gateway,
    witness: Witness,
    ledger: Ledger,
    screen: Screen,
    /// The uplink as it was at the last look.
    uplink: Option<SessionStatus>,
    looks: u32,
    queue_peak: u64,
    /// Since when the upstream is cut.
    cut: Option<Instant>,
    outage: Duration,
    /// When the upstream came back, and how many readings were published by then.
    restored: Option<(Instant, u64)>,
    drained: Option<Duration>,
    happenings: Vec<(Duration, String)>,
}

impl Run {
    /// Runs to the end of the script or to a signal.
    async fn perform(&mut self, signals: &mut Signals) -> anyhow::Result<()> {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let begin = self.begin;
            let cue = self.script.poll_timeout();
            let cue = cue.and_then(|since| begin.checked_add(since));
            let due = async {
                match cue {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = self.witness.next() => self.take(event?).await?,
                () = due => {
                    while let Some(cue) = self.script.poll_cue(self.begin.elapsed()) {
                        match cue {
                            Cue::Cut => self.cut().await?,
                            Cue::Restore => self.restore().await?,
                            Cue::End => return Ok(()),
                        }
                    }
                }
                _ = looks.tick() => self.look().await?,
                _ = signals.next_stop() => return Ok(()),
            }
        }
    }

    /// Stops polling and waits until everything published has arrived and is acknowledged; gives how much that is.
    async fn wind_up(&mut self, signals: &mut Signals) -> anyhow::Result<u64> {
        self.restore().await?;
        self.gateway.stop_polling().await;
        let polled = self.gateway.published();
        let patience = PATIENCE + (self.outage * 2).min(PAUSE_MAX);
        let give_up = Instant::now() + patience;
        let mut looks = interval(LOOK_EVERY);
        let mut all_here = None;
        loop {
            let now = Instant::now();
            if self.ledger.outstanding(polled) == 0 {
                all_here.get_or_insert(now);
            }
            let settled = all_here.is_some_and(|at| self.queued() == 0 || now > at + SETTLE_MAX);
            if settled || now > give_up {
                return Ok(polled);
            }
            tokio::select! {
                event = self.witness.next() => self.take(event?).await?,
                _ = looks.tick() => self.look().await?,
                _ = signals.next_stop() => return Ok(polled),
            }
        }
    }

    /// Stops the gateway and counts.
    async fn end(mut self, polled: u64) -> anyhow::Result<(Summary, Upstream)> {
        let duration = self.begin.elapsed();
        self.look().await?;
        self.draw(polled).await?;
        let Self { begin, upstream, gateway, mut witness, mut ledger, screen, .. } = self;
        screen.finish().await?;
        gateway.stop().await;
        // What came in the last moment, and what came twice.
        upstream.hub().flush().await?;
        for message in witness.take(None).await? {
            ledger.handle_message(
                message.topic.as_ref().map_or("", |t| t.as_str()),
                &message.payload,
                clock::now(),
            );
        }
        let usage = usage(None).ok();
        let summary = Summary {
            duration,
            polled,
            delivered: ledger.delivered(),
            lost: ledger.outstanding(polled),
            doubled: ledger.doubled(),
            unreadable: ledger.unreadable(),
            devices: self.devices,
            devices_online: ledger.devices_online(),
            queue_peak: self.queue_peak,
            first_delivery: ledger.first().map(|first| first - begin),
            slowest_delivery: ledger.longest(),
            outage: self.outage,
            drained: self.drained,
            qos: 0,
            // An emulated machine has noughts there; a program that got this far took a tick.
            cpu: usage.map(|usage| usage.cpu).filter(|cpu| !cpu.is_zero()),
            rss_bytes: usage.map(|usage| usage.rss),
        };
        Ok((summary, upstream))
    }

    async fn take(&mut self, first: ConnectionEvent) -> anyhow::Result<()> {
        let now = clock::now();
        for message in self.witness.take(Some(first)).await? {
            let topic = message.topic.as_ref().map_or("", |topic| topic.as_str());
            self.ledger.handle_message(topic, &message.payload, now);
        }
        let Some((restored, published)) = self.restored else { return Ok(()) };
        if self.drained.is_none() && self.ledger.delivered() >= published {
            let drained = restored.elapsed();
            self.drained = Some(drained);
            self.look().await?;
            let after = drained.as_secs_f64();
            self.tell(format!("all polled during the outage delivered {after:.1}s after it"))
                .await?;
        }
        Ok(())
    }

    async fn cut(&mut self) -> anyhow::Result<()> {
        self.cut = Some(Instant::now());
        self.upstream.cut().await;
        self.tell("upstream cut".to_owned()).await
    }

    async fn restore(&mut self) -> anyhow::Result<()> {
        let Some(cut) = self.cut.take() else { return Ok(()) };
        self.upstream.restore().await?;
        self.outage = cut.elapsed();
        let published = self.gateway.published();
        self.restored = Some((Instant::now(), published));
        let waiting = self.ledger.outstanding(published);
        self.tell(format!("upstream back, {waiting} readings wait")).await
    }

    /// Looks at the gateway's queue, and shows it now and then.
    async fn look(&mut self) -> anyhow::Result<()> {
        let status = self.gateway.hub().status().await?;
        let uplink =
            status.sessions.into_iter().find(|s| matches!(s.owner, SessionOwner::Uplink(_)));
        let connected =
            |uplink: &Option<SessionStatus>| uplink.as_ref().is_some_and(|u| u.connected);
        let (was, is) = (connected(&self.uplink), connected(&uplink));
        self.uplink = uplink;
        self.queue_peak = self.queue_peak.max(self.queued());
        if is != was {
            self.tell((if is { "uplink connected" } else { "uplink lost" }).to_owned()).await?;
        }
        self.looks += 1;
        if self.looks % LOOKS_A_PICTURE == 1 {
            self.draw(self.gateway.published()).await?;
        }
        Ok(())
    }

    fn queued(&self) -> u64 {
        self.uplink.as_ref().map_or(0, |uplink| uplink.queued)
    }

    async fn draw(&mut self, polled: u64) -> anyhow::Result<()> {
        let view = View {
            since: self.begin.elapsed(),
            wall: SystemTime::now().into(),
            road: &self.road,
            rows: self.ledger.rows().collect(),
            connected: self.uplink.as_ref().is_some_and(|uplink| uplink.connected),
            cut_for: self.cut.map(|cut| cut.elapsed()),
            queued: self.queued(),
            in_flight: self.uplink.as_ref().map_or(0, |uplink| uplink.inflight),
            queue_peak: self.queue_peak,
            polled,
            delivered: self.ledger.delivered(),
            lost: self.ledger.missing(),
            doubled: self.ledger.doubled(),
            happenings: &self.happenings,
        };
        self.screen.draw(&view).await.context("cannot write to standard output")
    }

    async fn tell(&mut self, what: String) -> anyhow::Result<()> {
        let at = self.begin.elapsed();
        self.screen.tell(at, &what).await.context("cannot write to standard output")?;
        self.happenings.push((at, what));
        Ok(())
    }
}

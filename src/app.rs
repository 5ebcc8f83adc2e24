//! shell: builds the channels, starts the tasks, and stops them along the road: poll and serve, commit, drain, say
//! offline.
#![allow(
    clippy::disallowed_methods,
    reason = "the app reads the time of its start and how long it may go on draining"
)]

use std::future::{Future as _, poll_fn};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{timeout, timeout_at};
use tracing::{info, warn};

use crate::access::{AccessSettings, Gate};
use crate::broker::{
    BrokerCounters, BrokerSettings, Door, Limits, Listener, ListenerAddress, keep_access,
    keep_visible,
};
use crate::clock::{self, ClockTrust};
use crate::command::{CommandSettings, Commands, request};
use crate::config::Settings;
use crate::control::{Control, Desk};
use crate::field::line::Line;
use crate::field::{Bus, BusHandle, BusSettings, DeviceSettings, FieldEvent, LineSettings};
use crate::hub::{
    Accept, EngineOptions, Forward, Hub, HubHandle, HubStatus, LiveFirst, TellDrops, UplinkSession,
};
use crate::model::{ClockState, Timestamp, TopicFilter};
use crate::payload::{Publisher, carry, drops_payload, retouch};
use crate::service;
use crate::store::{QueueSettings, SessionOwner, Store};
use crate::uplink::{
    AcceptRule, ForwardRule, OnSessionLost, Uplink, UplinkSettings, UplinkState, UplinkTopics,
};

/// Events that may wait between the buses and the hub.
const FIELD_EVENTS_MAX: usize = 64;
// Together these stay below the 20 s the service manager grants (TimeoutStopSec).
/// How long the buses have to finish their transactions.
const POLL_STOP_MAX: Duration = Duration::from_secs(3);
/// How long the last readings have to become durable.
const COMMIT_MAX: Duration = Duration::from_secs(2);
/// How long connected uplinks have to take what waits.
const DRAIN_MAX: Duration = Duration::from_secs(4);
/// How long a hub that is well needs at most to say how it stands.
const HUB_ANSWER_MAX: Duration = Duration::from_secs(1);
/// How long the uplinks have to say offline.
const FAREWELL_MAX: Duration = Duration::from_secs(4);
/// Files that are open beside the connections of LAN clients: buses, uplinks, the store.
const FILES_BESIDE: u64 = 256;
/// How often the queue is looked at while it drains.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    hub: HubHandle,
    hub_task: JoinHandle<()>,
    listeners: Vec<JoinHandle<()>>,
    addresses: Vec<ListenerAddress>,
    door: Arc<Door>,
    /// Counts how often everything that can be read again was to be.
    reload: watch::Sender<u64>,
    buses: Vec<JoinHandle<()>>,
    /// Keeps the carrier waiting while there is no bus; `None` once polling has ended.
    field_events: Option<mpsc::Sender<FieldEvent>>,
    /// Takes requests to write; `None` once the last is answered.
    commands: Option<JoinHandle<()>>,
    /// `None` once the last reading is with the hub.
    carrier: Option<JoinHandle<()>>,
    /// Ends once the wall clock may be believed.
    clock: JoinHandle<()>,
    published: watch::Receiver<u64>,
    uplinks: Vec<(JoinHandle<()>, watch::Receiver<UplinkState>)>,
    stop_inputs: watch::Sender<bool>,
    stop_uplinks: watch::Sender<bool>,
    /// Other users and rules for the broker.
    access: mpsc::Sender<AccessSettings>,
    /// `None` if its socket cannot be made.
    control: Option<Control>,
}

impl Gateway {
    /// Opens the store, registers the uplinks' sessions, then starts everything. When this returns, the buses are being
    /// polled and LAN clients served.
    ///
    /// # Errors
    /// The store cannot be opened, or a port cannot be listened on; the message names it and the remedy.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        let Settings { gateway, buses, lines, devices, uplinks, broker, queue, log: _ } = settings;
        let gate = Gate::load(broker.access.clone()).context("users and rules of the broker")?;
        let (reload, reloads) = watch::channel(0);
        let door = Door::new(broker.limits);
        let listeners = listen(&broker, &gate, &door, &reloads).await?;
        let addresses = listeners.iter().map(|listener| listener.at().clone()).collect();
        let (store_events, events) = mpsc::unbounded_channel();
        let (store, snapshot) = Store::open(&queue.state_dir, queue.staging(), store_events)
            .context("cannot open the queue")?;
        let start = snapshot.start;
        let queued: u64 = snapshot.sessions.iter().map(|session| session.queued).sum();
        let clock_state = clock::look(gateway.clock);
        let options = EngineOptions {
            store_bytes_max: queue.size_bytes_max,
            age_max: queue.age_max,
            when_full: queue.when_full,
            clock: clock_state,
            retouch,
            ..client_bounds(&broker.limits)
        };
        let tell_drops = TellDrops {
            topic: Publisher::drops_topic(&gateway.id).context("gateway.id")?,
            payload: drops_payload,
        };
        let withheld = Publisher::uplinks_filter(&gateway.id).context("gateway.id")?;
        let session = |uplink| session_of(uplink, &tell_drops, &withheld);
        let sessions = uplinks.iter().map(session).collect();
        let publisher = Publisher::new(gateway.id.clone(), start);
        let names = devices.iter().map(|device| device.name.clone()).collect();
        let now = Timestamp::from(SystemTime::now());
        let taken_back = publisher.taken_back(&snapshot.retained, &names, now);
        let (hub, hub_task) = Hub::start(options, sessions, store, snapshot, events);
        // Before anybody comes in.
        hub.acl(gate.acl(), Vec::new()).await.context("cannot start the hub")?;
        let filters = request::filters(&gateway.id).context("gateway.id")?;
        let requests = hub.listen(filters).await.context("cannot start the hub")?;
        let bus_count = buses.len();
        let (buses, reached) = buses_of(buses, &devices, &queue.state_dir);
        let control = open_control(&hub, &queue, &buses);
        let (clock_teller, clock_state) = watch::channel(clock_state);
        let settings = CommandSettings { gateway: gateway.id.clone(), devices: reached };
        let commands = Commands::open(settings, &queue.state_dir, hub.clone(), clock_state.clone());
        let commands = commands.context("cannot read which requests were taken before")?;

        let (stop_inputs, inputs_stopped) = watch::channel(false);
        let (access, access_changes) = mpsc::channel(1);
        tokio::spawn(keep_access(gate, hub.clone(), access_changes, inputs_stopped.clone()));
        if !broker.listeners.is_empty() {
            let (door, stop) = (door.clone(), inputs_stopped.clone());
            tokio::spawn(keep_visible(door, hub.clone(), broker.sys_interval, stop));
        }
        let (stop_uplinks, uplinks_stopped) = watch::channel(false);
        let (field_events, inbox) = mpsc::channel(FIELD_EVENTS_MAX);
        let (count, published) = watch::channel(0);
        let clock = tokio::spawn(tell_of_clock(gateway.clock, hub.clone(), clock_teller));
        let hub_of_carrier = hub.clone();
        let carrier = Some(tokio::spawn(async move {
            if hub_of_carrier.publish(taken_back).await.is_ok() {
                carry(inbox, publisher, hub_of_carrier, count, clock_state).await;
            }
        }));
        let topics = |uplink: &UplinkSettings| -> anyhow::Result<UplinkTopics> {
            Ok(UplinkTopics {
                status: Publisher::status_topic(&gateway.id).context("gateway.id")?,
                state: Publisher::uplink_topic(&gateway.id, &uplink.name).context("uplinks")?,
            })
        };
        let topics = uplinks.iter().map(topics).collect::<anyhow::Result<Vec<_>>>()?;
        info!(
            gateway = %gateway.id,
            version = env!("CARGO_PKG_VERSION"),
            start,
            buses = bus_count + lines.len(),
            devices = devices.len(),
            points = devices.iter().map(|device| device.point_count()).sum::<usize>(),
            uplinks = uplinks.len(),
            queued,
            state_dir = %queue.state_dir.display(),
            runtime_dir = queue.runtime_dir.as_deref().map(|dir| tracing::field::display(dir.display())),
            "gateway started"
        );
        let commands = Some(tokio::spawn(commands.run(requests, inputs_stopped.clone())));
        let serve =
            |listener: Listener| tokio::spawn(listener.run(hub.clone(), inputs_stopped.clone()));
        let listeners = listeners.into_iter().map(serve).collect();
        let uplinks = uplinks
            .into_iter()
            .zip(topics)
            .map(|(settings, topics)| {
                let stopped = uplinks_stopped.clone();
                let (uplink, state) = Uplink::new(settings, topics, hub.clone(), stopped);
                (tokio::spawn(uplink.run()), state)
            })
            .collect();
        let poll = |bus: Bus| tokio::spawn(bus.run(field_events.clone(), inputs_stopped.clone()));
        let listen = |line: LineSettings| {
            let line = Line::new(line.clone(), on_bus(&line.name, &devices));
            tokio::spawn(line.run(field_events.clone(), inputs_stopped.clone()))
        };
        let lines = lines.into_iter().map(listen);
        let buses = buses.into_iter().map(poll).chain(lines).collect();
        let field_events = Some(field_events);
        Ok(Self {
            hub,
            hub_task,
            listeners,
            addresses,
            door,
            reload,
            buses,
            field_events,
            commands,
            carrier,
            clock,
            published,
            uplinks,
            stop_inputs,
            stop_uplinks,
            access,
            control,
        })
    }

    /// Puts other users and rules of the broker in force, or reads the same files again; whoever is connected is held
    /// against them. What fails is logged and leaves in force what was.
    pub async fn change_access(&self, access: AccessSettings) {
        let _ = self.access.send(access).await;
    }

    /// The hub, for those who want to look at it.
    #[must_use]
    pub fn hub(&self) -> &HubHandle {
        &self.hub
    }

    /// Where LAN clients dial in, in the order of the file, each with its real port.
    #[must_use]
    pub fn addresses(&self) -> &[ListenerAddress] {
        &self.addresses
    }

    /// What the broker's listeners have seen since the start.
    #[must_use]
    pub fn broker_counters(&self) -> &BrokerCounters {
        self.door.counters()
    }

    /// Reads again what can be read again while the gateway runs: the certificates of listeners. Everything else of the
    /// configuration takes effect at a restart.
    pub fn reload(&self) {
        self.reload.send_modify(|count| *count += 1);
    }

    /// How many readings the hub has taken since the start.
    #[must_use]
    pub fn published(&self) -> u64 {
        *self.published.borrow()
    }

    /// Waits until a part ends although nobody asked it to, and gives its name. What is left then only looks like a
    /// gateway: it should end, so that whoever watches it starts it again.
    pub async fn broken(&mut self) -> &'static str {
        poll_fn(|cx| {
            let mut has_ended = |task: &mut JoinHandle<()>| is_ready(task, cx);
            if has_ended(&mut self.hub_task) {
                Poll::Ready("hub")
            } else if self.carrier.as_mut().is_some_and(&mut has_ended) {
                Poll::Ready("carrier")
            } else if self.commands.as_mut().is_some_and(&mut has_ended) {
                Poll::Ready("commands")
            } else if self.listeners.iter_mut().any(&mut has_ended) {
                Poll::Ready("listener")
            } else if self.buses.iter_mut().any(&mut has_ended) {
                Poll::Ready("bus")
            } else if self.uplinks.iter_mut().any(|(uplink, _)| has_ended(uplink)) {
                Poll::Ready("uplink")
            } else {
                Poll::Pending
            }
        })
        .await
    }

    /// The first stretch of [`Self::stop`]: polling ends, LAN clients are sent away, and what came in becomes durable.
    /// Uplinks go on delivering.
    pub async fn stop_polling(&mut self) {
        self.stop_inputs.send_replace(true);
        self.field_events = None;
        // All of them stop at the same time, however many there are.
        let end = Instant::now() + POLL_STOP_MAX;
        for input in self.buses.drain(..).chain(self.listeners.drain(..)) {
            let abort = input.abort_handle();
            if timeout_at(end.into(), input).await.is_err() {
                // Its answer would only be lost on the road.
                abort.abort();
            }
        }
        if let Some(commands) = self.commands.take() {
            let _ = timeout(COMMIT_MAX, commands).await;
        }
        if let Some(carrier) = self.carrier.take() {
            let _ = timeout(COMMIT_MAX, carrier).await;
            if timeout(COMMIT_MAX, self.hub.flush()).await.is_err() {
                warn!("store did not commit the last readings in time");
            }
        }
    }

    /// Stops along the road: poll, commit, drain for a bounded time, say offline, close the store. What cannot be done in
    /// its time is left; whatever was committed is there at the next start.
    pub async fn stop(mut self) {
        self.stop_polling().await;
        self.clock.abort();
        let Self { hub, hub_task, uplinks, stop_uplinks, control, .. } = self;
        let (left, dropped) = drain(&hub, &uplinks).await.unzip();
        stop_uplinks.send_replace(true);
        let end = Instant::now() + FAREWELL_MAX;
        for (uplink, _) in uplinks {
            let _ = timeout_at(end.into(), uplink).await;
        }
        if let Some(control) = control {
            control.stop().await;
        }
        if timeout(COMMIT_MAX, hub.stop()).await.is_err() {
            hub_task.abort();
            warn!("store did not close in time; everything it had committed is kept");
        }
        info!(queued = left, dropped = dropped.filter(|count| *count > 0), "gateway stopped");
    }
}

/// Tells the hub and whoever marks readings once the wall clock may be believed; nothing else is left to do then.
async fn tell_of_clock(trust: ClockTrust, hub: HubHandle, teller: watch::Sender<ClockState>) {
    if *teller.borrow() == ClockState::Unsynced {
        let state = clock::synchronised(trust).await;
        // The hub first: what is still marked then is set right there.
        if hub.clock(state).await.is_ok() {
            teller.send_replace(state);
        }
    }
}

/// What the engine holds LAN clients to.
fn client_bounds(limits: &Limits) -> EngineOptions {
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    EngineOptions {
        client_sessions_max: count(limits.sessions),
        client_window: limits.inflight.get(),
        memory_queue_max: count(limits.queued_messages),
        memory_queue_bytes_max: count(limits.queued_bytes),
        client_queue_max: limits.stored_messages.into(),
        client_queue_bytes_max: limits.stored_bytes.into(),
        subscriptions_max: count(limits.subscriptions),
        topic_levels_max: count(limits.topic_levels),
        topic_bytes_max: count(limits.topic_bytes),
        retained_max: count(limits.retained_messages),
        retained_bytes_max: count(limits.retained_bytes),
        session_expiry_max: limits.session_expiry,
        ..EngineOptions::default()
    }
}

/// The devices on a bus.
fn on_bus(name: &Arc<str>, devices: &[DeviceSettings]) -> Vec<DeviceSettings> {
    devices.iter().filter(|device| device.bus == *name).cloned().collect()
}

/// The buses with their devices, and each device with the way to it.
fn buses_of(
    buses: Vec<BusSettings>,
    devices: &[DeviceSettings],
    state_dir: &Path,
) -> (Vec<Bus>, Vec<(DeviceSettings, BusHandle)>) {
    let mut reached = Vec::new();
    let make = |settings: BusSettings| {
        let on_it = on_bus(&settings.name, devices);
        let bus = Bus::new(settings, on_it.clone()).remembering(state_dir);
        reached.extend(on_it.into_iter().map(|device| (device, bus.handle())));
        bus
    };
    let buses = buses.into_iter().map(make).collect();
    (buses, reached)
}

/// Takes the ports first: whoever dials in before the hub runs waits instead of being refused.
async fn listen(
    broker: &BrokerSettings,
    gate: &Gate,
    door: &Arc<Door>,
    reloads: &watch::Receiver<u64>,
) -> anyhow::Result<Vec<Listener>> {
    if !broker.listeners.is_empty() {
        let needed = u64::from(broker.limits.connections) + FILES_BESIDE;
        let files = service::raise_open_files(needed);
        if files < needed {
            warn!(
                connections = broker.limits.connections,
                files,
                "system lets this process open fewer files than clients may connect; raise LimitNOFILE"
            );
        }
    }
    let mut listeners = Vec::new();
    for settings in &broker.listeners {
        let listener = Listener::open(settings, gate, door, reloads.clone()).await?;
        info!(address = %listener.at(), "broker listens");
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Whether a task has ended; it must not be awaited after that.
fn is_ready(task: &mut JoinHandle<()>, cx: &mut Context<'_>) -> bool {
    Pin::new(task).poll(cx).is_ready()
}

/// Opens the control socket; a gateway that cannot be asked does its work all the same.
fn open_control(hub: &HubHandle, queue: &QueueSettings, buses: &[Bus]) -> Option<Control> {
    let dir = queue.runtime_dir.as_deref().unwrap_or(&queue.state_dir);
    let buses = buses.iter().map(|bus| (Arc::clone(bus.name()), bus.handle())).collect();
    match Control::start(dir, Desk::new(hub.clone(), queue.clone(), buses)) {
        Ok(control) => Some(control),
        Err(cause) => {
            let directory = dir.display();
            warn!(%directory, %cause, "no control socket; `fieldpost queue` cannot ask this gateway");
            None
        }
    }
}

fn session_of(
    uplink: &UplinkSettings,
    tell_drops: &TellDrops,
    withheld: &TopicFilter,
) -> UplinkSession {
    let forward = uplink.forward.iter().cloned();
    let forward =
        forward.map(|ForwardRule { filter, qos, to, retain }| Forward { filter, qos, to, retain });
    let accept = uplink.accept.iter().cloned();
    let accept = accept.map(|AcceptRule { filter, to, retain, .. }| Accept { filter, to, retain });
    UplinkSession {
        name: uplink.name.clone(),
        forward: forward.collect(),
        accept: accept.collect(),
        withheld: Some(withheld.clone()),
        window: uplink.window,
        trust_received: uplink.on_session_lost == OnSessionLost::Trust,
        live_first: uplink.live_first.map(|backfill| LiveFirst {
            pause: backfill.rate.map(|rate| Duration::from_secs(1) / rate),
        }),
        tell_drops: Some(tell_drops.clone()),
    }
}

/// Waits while a connected uplink still takes messages; gives how many are left and how many were dropped since the
/// start, `None` if the hub does not say.
async fn drain(
    hub: &HubHandle,
    uplinks: &[(JoinHandle<()>, watch::Receiver<UplinkState>)],
) -> Option<(u64, u64)> {
    let end = Instant::now() + DRAIN_MAX;
    loop {
        let Ok(Ok(status)) = timeout(HUB_ANSWER_MAX, hub.status()).await else { return None };
        let up = uplinks.iter().any(|(_, state)| *state.borrow() == UplinkState::Up);
        if !up || waiting(&status, true) == 0 || Instant::now() >= end {
            let dropped = status.sessions.iter().map(|session| session.counters.dropped).sum();
            return Some((waiting(&status, false), dropped));
        }
        tokio::time::sleep(DRAIN_LOOK).await;
    }
}

/// Messages that wait for uplinks, all or only the connected ones.
fn waiting(status: &HubStatus, connected: bool) -> u64 {
    let uplinks = status.sessions.iter().filter(|s| matches!(s.owner, SessionOwner::Uplink(_)));
    uplinks.filter(|session| session.connected || !connected).map(|session| session.queued).sum()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::broker::ProtocolOptions;
    use crate::config::{self, SystemSecrets};

    /// A gateway whose device and upstream are not there.
    async fn lonely(dir: &std::path::Path) -> Gateway {
        let (file, state) = (dir.join("fieldpost.yaml"), dir.join("state"));
        let yaml = format!(
            "gateway: {{ id: gw, state_dir: \"{}\" }}\n\
             buses: {{ plant: {{ modbus-tcp: \"127.0.0.1:1\" }} }}\n\
             devices: {{ boiler: {{ bus: plant, unit: 1, points: {{ flow: {{ holding: 0 }} }} }} }}\n\
             uplinks: {{ cloud: {{ url: \"mqtt://127.0.0.1:1\" }} }}\n\
             broker: {{ listeners: [{{ tcp: 127.0.0.1:0, anonymous: true }}] }}\n",
            state.display()
        );
        fs::write(&file, yaml).expect("a configuration");
        let parsed = config::load(&file, &SystemSecrets::for_run()).expect("it is right");
        Gateway::start(parsed.settings).await.expect("it starts")
    }

    #[test]
    fn the_engine_s_bounds_and_the_broker_s_have_the_same_defaults() {
        let (bounds, engine) = (client_bounds(&Limits::default()), EngineOptions::default());
        assert_eq!(format!("{bounds:?}"), format!("{engine:?}"));
        assert_eq!(Limits::default().protocol(), ProtocolOptions::default());
    }

    #[tokio::test]
    async fn a_part_that_ends_by_itself_is_found_out() {
        type End = fn(&Gateway);
        let ends: [(&str, End); 4] = [
            ("hub", |gateway| gateway.hub_task.abort()),
            ("bus", |gateway| gateway.buses.iter().for_each(JoinHandle::abort)),
            ("listener", |gateway| gateway.listeners.iter().for_each(JoinHandle::abort)),
            ("uplink", |gateway| gateway.uplinks.iter().for_each(|(uplink, _)| uplink.abort())),
        ];
        for (part, end) in ends {
            let dir = tempfile::tempdir().expect("a directory");
            let mut gateway = lonely(dir.path()).await;
            end(&gateway);
            let broken = gateway.broken().await;
            assert_eq!(broken, part);
        }
    }

    #[tokio::test]
    async fn a_gateway_that_is_well_has_no_broken_part_and_stops() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut gateway = lonely(dir.path()).await;
        let soon = Duration::from_millis(50);
        assert!(timeout(soon, gateway.broken()).await.is_err());
        gateway.stop().await;
    }
}

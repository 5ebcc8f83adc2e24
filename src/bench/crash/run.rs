//! shell: does what the plan says, life after life, and closes the books.
#![allow(clippy::disallowed_methods, reason = "a kill has its instant, and a run writes files")]

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::checker::Checker;
use super::client::Client;
use super::plan::{Kill, Life, Plan, Weather, is_of_start};
use super::publisher::Publisher;
use super::report::{Books, Row};
use super::setting::{AUTOSAVE_S, DOWN, Setting, UP};
use super::wire::Wire;
use super::{End, Progress};
use crate::bench::process::{Running, find, free_port, listens};
use crate::demo::scratch::Scratch;
use crate::model::{QoS, TopicFilter, TopicName};
use crate::mqtt::Version;
use crate::step::{self, Step};

/// How long anything may take that is sure to come.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a life goes on that has not come to its number of messages or its step.
const LIFE_MAX: Duration = Duration::from_millis(700);
/// How long one goes on that was to end while it starts, and has not.
const START_MAX: Duration = Duration::from_millis(50);
/// Messages that are published after the last kill.
const TAIL: u64 = 50;
/// How long nothing must happen until what has not arrived counts as lost; longer than any pause between two tries.
const QUIET: Duration = Duration::from_secs(5);
/// How long nothing must happen until what could still double has come.
const SETTLED: Duration = Duration::from_millis(300);
/// What a process that aborts ends by.
const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;
const MISSING: &str = "mosquitto is not installed";

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// This program as a gateway.
    Fieldpost,
    /// A mosquitto with a bridge in its place. It has no steps: it is killed from outside where a step was drawn.
    MosquittoBridge,
}

/// Who stands upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upstream {
    /// A mosquitto, which is restarted in order.
    Mosquitto,
    /// This program as a broker, which is killed.
    Fieldpost,
}

/// What is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Who is killed.
    pub subject: Subject,
    /// How often.
    pub kills: usize,
    /// The QoS of both lanes, 1 or 2.
    pub qos: QoS,
    /// What everybody speaks: 3.1.1 or 5.
    pub version: Version,
    /// What the plan is drawn from.
    pub seed: u64,
    /// Who is the upstream; `None` takes mosquitto where it is installed.
    pub upstream: Option<Upstream>,
}

/// Kills the subject as often as asked, lets it finish, and says what became of the messages. `program` is this program.
///
/// # Errors
/// A process cannot be run, ends by itself, or a publisher cannot finish; the message ends with what the process said.
pub async fn crash(program: &Path, options: &Options) -> anyhow::Result<Row> {
    let start = Instant::now();
    let plan = Plan::draw(options.kills, options.seed);
    let mut stage = Stage::set(program, options, plan.window).await?;
    for (number, life) in plan.lives.iter().enumerate() {
        stage
            .live(*life)
            .await
            .with_context(|| format!("life {} of the plan: {life:?}", number + 1))?;
    }
    let mut row = stage.finish().await?;
    row.elapsed_ms = start.elapsed().as_millis();
    Ok(row)
}

/// A publisher at one broker and a checker at the other.
#[derive(Debug)]
struct Lane {
    progress: watch::Sender<Progress>,
    checker: JoinHandle<Checker>,
    publisher: Option<JoinHandle<Publisher>>,
}

/// Everything that runs. The processes go before their directories.
struct Stage {
    options: Options,
    setting: Setting,
    program: PathBuf,
    mosquitto: Option<PathBuf>,
    upstream_is: Upstream,
    upstream: Running,
    wire: Wire,
    up: Lane,
    down: Lane,
    stop: watch::Sender<bool>,
    row: Row,
    files: PathBuf,
    run: PathBuf,
    _disk: Scratch,
    _memory: Scratch,
}

impl Stage {
    /// Starts the upstream, the clients and a first gateway, and stops that once everybody has subscribed.
    async fn set(program: &Path, options: &Options, window: usize) -> anyhow::Result<Self> {
        let disk = Scratch::new().context("cannot make a directory for temporary files")?;
        // Memory, as systemd's RuntimeDirectory is.
        let memory = Scratch::new_in(Path::new("/dev/shm")).or_else(|_| Scratch::new());
        let memory = memory.context("cannot make a runtime directory")?;
        let (files, run) = (disk.directory("files")?, memory.directory("run")?);
        for name in ["gateway", "upstream"] {
            std::fs::create_dir(files.join(name)).context("cannot make a state directory")?;
        }
        let mosquitto = find("mosquitto");
        let upstream_is = match (options.upstream, &mosquitto) {
            (Some(upstream), _) => upstream,
            (None, Some(_)) => Upstream::Mosquitto,
            (None, None) => Upstream::Fieldpost,
        };
        let upstream = free_port();
        let wire =
            Wire::start(upstream, options.version).await.context("cannot listen on loopback")?;
        let (lan, version, qos) = (free_port(), options.version, options.qos);
        let setting = Setting { version, qos, lan, wire: wire.port(), upstream };
        let upstream = match upstream_is {
            Upstream::Mosquitto => Some(mosquitto.as_deref().context(MISSING)?),
            Upstream::Fieldpost => None,
        };
        let upstream = start_upstream(program, upstream, &setting, &files).await?;
        let (stop, stopped) = watch::channel(false);
        let lane = |topic, checker, port| {
            let (progress, _) = watch::channel(Progress::default());
            let filter = TopicFilter::new(topic).context("a filter")?;
            let end = Checker::new(filter, qos);
            let client = Client { id: checker, port, version, end, progress: progress.clone() };
            let checker = tokio::spawn(client.run(stopped.clone()));
            anyhow::Ok(Lane { progress, checker, publisher: None })
        };
        let (up, down) = (lane(UP, "far", setting.upstream)?, lane(DOWN, "near", lan)?);
        let row = Row { name: name(options.subject), ..Row::default() };
        let mut stage = Self {
            options: *options,
            setting,
            program: program.to_owned(),
            mosquitto,
            upstream_is,
            upstream,
            wire,
            up,
            down,
            stop,
            row,
            files,
            run,
            _disk: disk,
            _memory: memory,
        };
        stage.row.note = stage.note();
        stage.begin(window).await?;
        Ok(stage)
    }

    fn note(&self) -> String {
        let version = match self.options.version {
            Version::V5 => "MQTT 5",
            Version::V31 | Version::V311 => "MQTT 3.1.1",
        };
        let upstream = match self.upstream_is {
            Upstream::Mosquitto => "mosquitto",
            Upstream::Fieldpost => "fieldpost",
        };
        let qos = self.options.qos as u8;
        let autosave = match self.options.subject {
            Subject::Fieldpost => String::new(),
            Subject::MosquittoBridge => {
                format!(", persistence true, autosave_interval {AUTOSAVE_S} (the default)")
            }
        };
        format!("{version}, QoS {qos}, upstream {upstream}{autosave}")
    }

    async fn begin(&mut self, window: usize) -> anyhow::Result<()> {
        self.configure(false)?;
        let mut gateway = self.start(None)?;
        let is_subscribed = |progress: &Progress| progress.subscribed;
        wait(&self.up.progress, is_subscribed, &gateway).await?;
        wait(&self.down.progress, is_subscribed, &gateway).await?;
        self.up.publisher =
            Some(self.publish(UP, "near-publisher", self.setting.lan, true, window)?);
        // The uplink subscribes before it sends anything: what is published up there from here on comes down.
        wait(&self.up.progress, |progress| progress.arrived > 0, &gateway).await?;
        let port = self.setting.upstream;
        self.down.publisher = Some(self.publish(DOWN, "far-publisher", port, false, window)?);
        wait(&self.down.progress, |progress| progress.arrived > 0, &gateway).await?;
        gateway.stop().await?;
        Ok(())
    }

    fn publish(
        &self,
        topic: &str,
        id: &'static str,
        port: u16,
        is_up: bool,
        window: usize,
    ) -> anyhow::Result<JoinHandle<Publisher>> {
        let lane = if is_up { &self.up } else { &self.down };
        let end =
            Publisher::new(TopicName::new(topic).context("a topic")?, self.setting.qos, window);
        let (version, progress) = (self.setting.version, lane.progress.clone());
        let client = Client { id, port, version, end, progress };
        Ok(tokio::spawn(client.run(self.stop.subscribe())))
    }

    /// Starts the subject as it is configured; `abort_at` arms a step.
    fn start(&self, abort_at: Option<(Step, u64)>) -> anyhow::Result<Running> {
        let log = self.files.join("gateway.log");
        let mut command = match (self.options.subject, &self.mosquitto) {
            (Subject::Fieldpost, _) => fieldpost(&self.program, &self.files.join("gateway.yaml")),
            (Subject::MosquittoBridge, Some(mosquitto)) => {
                let mut command = Command::new(mosquitto);
                command.arg("-c").arg(self.files.join("bridge.conf"));
                command
            }
            (Subject::MosquittoBridge, None) => bail!(MISSING),
        };
        if let Some((step, count)) = abort_at {
            command.env(step::VARIABLE, format!("{}:{count}", step.name()));
        }
        Running::spawn(command, &log)
    }

    fn configure(&self, commits_at_once: bool) -> anyhow::Result<()> {
        let dir = self.files.join("gateway");
        let (name, text) = match self.options.subject {
            Subject::Fieldpost => {
                ("gateway.yaml", self.setting.gateway(&dir, &self.run, commits_at_once))
            }
            Subject::MosquittoBridge => ("bridge.conf", self.setting.bridge(&dir)),
        };
        std::fs::write(self.files.join(name), text).context("cannot write a configuration")
    }

    /// One life of the plan.
    async fn live(&mut self, life: Life) -> anyhow::Result<()> {
        self.configure(life.commits_at_once)?;
        self.wire.set_dark(life.weather == Weather::Dark);
        let abort_at = match life.kill {
            Kill::Step(step, count) if self.options.subject == Subject::Fieldpost => {
                Some((step, count))
            }
            Kill::Step(..) | Kill::Start(_) | Kill::Time(_) | Kill::Messages(_) => None,
        };
        let mut gateway = self.start(abort_at)?;
        let by_itself = tokio::select! {
            status = gateway.ended() => Some(status?),
            done = self.until_kill(life) => done.map(|()| None)
                .with_context(|| format!("the gateway said\n{}", gateway.last_words()))?,
        };
        let status = match by_itself {
            Some(status) => status,
            None => gateway.kill().await?,
        };
        self.record(status, abort_at).with_context(|| gateway.last_words())?;
        if life.weather == Weather::UpstreamRestart {
            self.restart_upstream().await?;
        }
        self.wire.set_dark(false);
        Ok(())
    }

    fn record(&mut self, status: ExitStatus, armed: Option<(Step, u64)>) -> anyhow::Result<()> {
        self.row.kills += 1;
        match (status.signal(), armed) {
            (Some(SIGABRT), Some((step, _))) => {
                *self.row.steps.entry(step.name()).or_default() += 1;
            }
            (Some(SIGKILL), armed) => {
                self.row.outside += 1;
                self.row.unreached += u64::from(armed.is_some());
            }
            (_, _) => bail!("the gateway ended by itself: {status}"),
        }
        Ok(())
    }

    /// Waits for the instant of the kill, and makes the weather until then.
    async fn until_kill(&mut self, life: Life) -> anyhow::Result<()> {
        if let Kill::Start(after) = life.kill {
            sleep(after).await;
            return Ok(());
        }
        let before = *self.up.progress.borrow();
        let mut progress = self.up.progress.subscribe();
        let is_in = progress.wait_for(|now| now.connections.0 > before.connections.0);
        timeout(PATIENCE, is_in).await.context("the publisher does not get in")??;
        match life.weather {
            Weather::Cut => self.wire.cut(),
            Weather::UpstreamRestart => self.stop_upstream().await?,
            Weather::Fair | Weather::Dark => {}
        }
        match life.kill {
            Kill::Start(_) => {}
            Kill::Time(after) => sleep(after).await,
            Kill::Messages(count) => {
                let enough = |now: &Progress| now.accepted >= before.accepted + count;
                // Where the backlog is at its bound nothing more is accepted.
                let _ = timeout(LIFE_MAX, progress.wait_for(enough)).await;
            }
            Kill::Step(step, _) if is_of_start(step) => sleep(START_MAX).await,
            Kill::Step(..) => sleep(LIFE_MAX).await,
        }
        Ok(())
    }

    /// A mosquitto that is killed loses what it has accepted since its last save: it is stopped in order instead.
    async fn stop_upstream(&mut self) -> anyhow::Result<()> {
        match self.upstream_is {
            Upstream::Mosquitto => self.upstream.stop().await?,
            Upstream::Fieldpost => self.upstream.kill().await?,
        };
        Ok(())
    }

    async fn restart_upstream(&mut self) -> anyhow::Result<()> {
        // The gateway may have ended before it was asked to.
        self.stop_upstream().await?;
        let mosquitto =
            self.mosquitto.as_deref().filter(|_| self.upstream_is == Upstream::Mosquitto);
        self.upstream =
            start_upstream(&self.program, mosquitto, &self.setting, &self.files).await?;
        Ok(())
    }

    /// A last life in fair weather that nobody ends before everything has arrived.
    async fn finish(self) -> anyhow::Result<Row> {
        self.configure(false)?;
        let mut gateway = self.start(None)?;
        for lane in [&self.up, &self.down] {
            lane.progress.send_modify(|now| now.last = Some(now.published + TAIL));
        }
        let is_over = |now: &Progress| {
            now.last == Some(now.published) && now.open == 0 && now.arrived >= now.accepted
        };
        while !is_over(&self.up.progress.borrow()) || !is_over(&self.down.progress.borrow()) {
            if !self.moves(QUIET).await {
                break;
            }
        }
        while self.moves(SETTLED).await {}
        gateway.stop().await?;
        while self.moves(SETTLED).await {}
        self.stop.send_replace(true);
        let Self { up, down, wire, mut row, .. } = self;
        row.up = close(up, |_| 0).await.with_context(|| gateway.last_words())?;
        let repeated = |number| wire.repeated(number);
        row.down = close(down, repeated).await.with_context(|| gateway.last_words())?;
        Ok(row)
    }

    /// Waits until something happens on a lane; `false` if nothing does for so long.
    async fn moves(&self, quiet: Duration) -> bool {
        let (mut up, mut down) = (self.up.progress.subscribe(), self.down.progress.subscribe());
        let moved = async {
            tokio::select! {
                _ = up.changed() => {}
                _ = down.changed() => {}
            }
        };
        timeout(quiet, moved).await.is_ok()
    }
}

fn name(subject: Subject) -> &'static str {
    match subject {
        Subject::Fieldpost => "fieldpost",
        Subject::MosquittoBridge => "mosquitto-bridge",
    }
}

fn fieldpost(program: &Path, config: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["run", "-c"]).arg(config);
    // What is around this process is none of theirs.
    for name in ["RUNTIME_DIRECTORY", "NOTIFY_SOCKET", "JOURNAL_STREAM", "RUST_LOG", step::VARIABLE]
    {
        command.env_remove(name);
    }
    command
}

async fn start_upstream(
    program: &Path,
    mosquitto: Option<&Path>,
    setting: &Setting,
    files: &Path,
) -> anyhow::Result<Running> {
    let (dir, config) = (files.join("upstream"), files.join("upstream.conf"));
    let (text, command) = match mosquitto {
        Some(mosquitto) => {
            let mut command = Command::new(mosquitto);
            command.arg("-c").arg(&config);
            (setting.upstream(&dir), command)
        }
        None => (setting.upstream_of_ours(&dir), fieldpost(program, &config)),
    };
    std::fs::write(&config, text).context("cannot write a configuration")?;
    let mut running = Running::spawn(command, &files.join("upstream.log"))?;
    listens(setting.upstream, &mut running).await?;
    Ok(running)
}

async fn wait(
    progress: &watch::Sender<Progress>,
    condition: impl FnMut(&Progress) -> bool,
    gateway: &Running,
) -> anyhow::Result<()> {
    let mut progress = progress.subscribe();
    let done = timeout(PATIENCE, progress.wait_for(condition)).await;
    done.with_context(|| format!("the gateway does not work:\n{}", gateway.last_words()))??;
    Ok(())
}

async fn close(lane: Lane, excused: impl Fn(u64) -> u64) -> anyhow::Result<Books> {
    let checker = lane.checker.await.context("a checker broke")?;
    let publisher = lane.publisher.context("there is a publisher")?.await;
    let mut publisher = publisher.context("a publisher broke")?;
    let mut now = Progress::default();
    publisher.exchange_progress(&mut now);
    if now.open > 0 || publisher.refused() > 0 {
        let (open, refused) = (now.open, publisher.refused());
        bail!("{open} messages are not acknowledged, {refused} were refused");
    }
    let accepted = publisher.accepted();
    Ok(Books {
        accepted,
        lost: checker.missing(accepted).count() as u64,
        lost_first: checker.missing(accepted).next(),
        doubled: checker.doubled(&excused),
        excused: checker.doubled(|_| 0) - checker.doubled(&excused),
        out_of_order: checker.out_of_order(),
        sessions_lost: publisher.sessions_lost() + checker.sessions_lost(),
    })
}

//! shell: how fast a backlog leaves a real `run` process, beside `mosquitto_pub -l` from a file of the same payloads to the
//! same broker in the same run.
//!
//! Neither side has a subscriber: the broker takes a message, acknowledges it and forgets it. One observer is subscribed
//! for both sides to topics that carry one message each: the status of the gateway and the last reading of the backlog.
//! The clock runs from the start of the process: for the gateway until the observer has the last reading, which the
//! broker acknowledges in the same turn; for `mosquitto_pub` until it ends, which it does once everything is
//! acknowledged. 2.0 takes an acknowledgement that has the packet id of its last line for that, and packet ids come
//! round, so it gets files of fewer lines than there are ids, one after the other; and it looks every 100 ms whether it
//! is done, so half of that is not counted. Each speaks the version it has when nobody sets one, 5.0 the gateway and 3.1.1
//! mosquitto_pub, and has 20 messages under way, which is what a mosquitto takes and mosquitto_pub gives.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a measurement reads clocks, files, sockets and processes"
)]

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Command;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::process::{Running, find, free_port, listens};
use super::queue::{UPLINK, fill, median};
use super::readings::Readings;
use crate::demo::scratch::Scratch;
use crate::model::{QoS, Seq, TopicFilter, TopicName};
use crate::mqtt::{
    Connect, ConnectProperties, DecodeOptions, Packet, PacketId, PacketReader, PacketWriter,
    RetainHandling, Subscribe, SubscribeFilter, Version,
};
use crate::service::{Usage, usage};
use crate::store::Change;

/// How often each side is measured, in turns.
const TURNS: usize = 3;
/// How often a process is looked at while it runs.
const LOOK: Duration = Duration::from_millis(20);
/// How long nothing may happen, and the least rate that is worth waiting for, in messages a second.
const PATIENCE: Duration = Duration::from_secs(60);
const RATE_MIN: u64 = 500;
/// The gateway's name, where its last reading goes, and where those of mosquitto_pub go, which takes one topic only: as
/// long as the gateway's.
const GATEWAY: &str = "drain";
const STATUS: &str = "drain/status";
/// Lines of a file for mosquitto_pub, at most.
const LINES_MAX: usize = 65_000;
/// What mosquitto_pub sleeps between its last acknowledgement and its end, on average.
const PEER_SLEEP: Duration = Duration::from_millis(50);
const LAST: &str = "drain-last";
const PEER_TOPIC: &str = "pump-house/meter-1/line_3";

/// How a backlog leaves. Rates and times are medians of the turns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DrainFigures {
    /// The QoS of the deliveries.
    pub qos: QoS,
    /// Readings that waited.
    pub backlog: usize,
    /// Readings a second, from the start of the process to the last acknowledgement.
    pub drain_per_s: f64,
    /// Processor seconds of the process for a million readings.
    pub cpu_s_per_million: f64,
    /// Resident memory when the gateway is connected, in megabytes of 1,000,000 bytes.
    pub rss_begin_mb: f64,
    /// The most it has while it drains.
    pub rss_peak_mb: f64,
    /// Whether the broker is an installed mosquitto; else it is a second process of this program.
    pub to_mosquitto: bool,
    /// What mosquitto_pub does, where it is installed.
    pub peer: Option<PeerFigures>,
}

/// What `mosquitto_pub -l` does with the same payloads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PeerFigures {
    /// Messages a second.
    pub per_s: f64,
    /// Processor seconds for a million messages.
    pub cpu_s_per_million: f64,
    /// The gateway's rate over this one: the median of the turns.
    pub ratio: f64,
}

/// What one process has done.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    elapsed: Duration,
    cpu: Duration,
    rss_begin: u64,
    rss_peak: u64,
}

/// Measures a backlog of `backlog` readings, which lies in `dir`, at QoS 1 or 2. `program` is this one.
///
/// # Errors
/// A process cannot be run or does not get on, or `dir` cannot be written to.
pub async fn drain(
    program: &Path,
    dir: &Path,
    backlog: usize,
    qos: QoS,
) -> anyhow::Result<DrainFigures> {
    let name = "cannot make a directory";
    let scratch = Scratch::new_in(dir).with_context(|| format!("{name} in {}", dir.display()))?;
    // Memory, as systemd's RuntimeDirectory is.
    let memory = Scratch::new_in(Path::new("/dev/shm")).context("no /dev/shm to stage in")?;
    let run_dir = memory.directory("run")?;
    let filled = scratch.directory("filled")?;
    let lines = scratch.directory("lines")?;
    let (into, last) = (filled.clone(), TopicName::new(LAST)?);
    let prepare = move || {
        fill(&into, backlog, qos, Some(&last))?;
        write_lines(&lines, backlog, qos)
    };
    let files = tokio::task::spawn_blocking(prepare).await??;
    let mosquitto = find("mosquitto");
    let port = free_port();
    let mut broker = start_broker(program, mosquitto.as_deref(), &memory, port).await?;
    let mosquitto_pub = find("mosquitto_pub");
    let mut observer = Observer::connect(port).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let patience = PATIENCE + Duration::from_secs(backlog as u64 / RATE_MIN);
    for turn in 0..TURNS {
        let state = scratch.directory(&format!("state-{turn}"))?;
        for file in std::fs::read_dir(&filled)? {
            let file = file?;
            std::fs::copy(file.path(), state.join(file.file_name()))?;
        }
        let config = config(&state, &run_dir, port, qos);
        let gateway = gateway(program, &scratch, &config, &mut observer);
        let gateway = timeout(patience, gateway).await;
        ours.push(gateway.context("the gateway does not drain its backlog")??);
        std::fs::remove_dir_all(&state)?;
        if let Some(program) = &mosquitto_pub {
            let publish = async {
                let mut all = Run::default();
                for file in &files {
                    let run = publisher(program, &scratch, file, port, qos).await?;
                    (all.elapsed, all.cpu) = (all.elapsed + run.elapsed, all.cpu + run.cpu);
                }
                anyhow::Ok(all)
            };
            theirs.push(timeout(patience, publish).await.context("mosquitto_pub does not end")??);
        }
    }
    broker.stop().await?;
    let peer = (!theirs.is_empty()).then(|| PeerFigures {
        per_s: median(theirs.iter().map(|run| run.per_s(backlog))),
        cpu_s_per_million: median(theirs.iter().map(|run| run.cpu_s_per_million(backlog))),
        ratio: median(
            ours.iter()
                .zip(&theirs)
                .map(|(our, their)| their.elapsed.as_secs_f64() / our.elapsed.as_secs_f64()),
        ),
    });
    #[allow(clippy::cast_precision_loss, reason = "a process has less than 2^52 bytes")]
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    Ok(DrainFigures {
        qos,
        backlog,
        drain_per_s: median(ours.iter().map(|run| run.per_s(backlog))),
        cpu_s_per_million: median(ours.iter().map(|run| run.cpu_s_per_million(backlog))),
        rss_begin_mb: median(ours.iter().map(|run| megabytes(run.rss_begin))),
        rss_peak_mb: ours.iter().map(|run| megabytes(run.rss_peak)).fold(0.0, f64::max),
        to_mosquitto: mosquitto.is_some(),
        peer,
    })
}

impl Run {
    fn per_s(&self, count: usize) -> f64 {
        per(count, self.elapsed)
    }

    fn cpu_s_per_million(&self, count: usize) -> f64 {
        1e6 / per(count, self.cpu)
    }
}

fn per(count: usize, time: Duration) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a backlog has less than 2^52 readings")]
    let count = count as f64;
    count / time.as_secs_f64()
}

/// Files in `dir` with a line for each payload, as `mosquitto_pub -l` reads them.
fn write_lines(dir: &Path, count: usize, qos: QoS) -> anyhow::Result<Vec<PathBuf>> {
    let mut readings = Readings::made(crate::clock::now(), qos)?;
    let (mut seq, mut files) = (Seq(0), Vec::new());
    for begun in (0..count).step_by(LINES_MAX) {
        let path = dir.join(begun.to_string());
        let mut lines = BufWriter::new(File::create(&path)?);
        for change in readings.appends(&mut seq, LINES_MAX.min(count - begun)) {
            if let Change::Append { message, .. } = change {
                lines.write_all(&message.payload)?;
                lines.write_all(b"\n")?;
            }
        }
        lines.flush()?;
        files.push(path);
    }
    Ok(files)
}

async fn start_broker(
    program: &Path,
    mosquitto: Option<&Path>,
    memory: &Scratch,
    port: u16,
) -> anyhow::Result<Running> {
    let dir = memory.directory("broker")?;
    let file = dir.join("config");
    let text = match mosquitto {
        // Without `user` one started by root changes to a user who may not read here.
        Some(_) => format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence false\n\
             sys_interval 1\n             log_dest stderr\nlog_type error\nlog_type warning\n"
        ),
        None => format!(
            "gateway: {{ id: upstream, state_dir: \"{}\" }}\n\
             broker: {{ listeners: [ {{ tcp: 127.0.0.1:{port}, anonymous: true }} ] }}\n\
             log: {{ level: warn }}\n",
            dir.display()
        ),
    };
    std::fs::write(&file, text)?;
    let mut command = Command::new(mosquitto.unwrap_or(program));
    if mosquitto.is_none() {
        command.arg("run");
    }
    command.arg("-c").arg(&file);
    let mut broker = Running::spawn(command, &dir.join("log"))?;
    listens(port, &mut broker).await?;
    Ok(broker)
}

/// Bounds are as wide as they go: what is measured must not drop anything.
fn config(state: &Path, run: &Path, port: u16, qos: QoS) -> String {
    // A gateway without devices needs something to do.
    let (state, run, qos, lan) = (state.display(), run.display(), qos.level(), free_port());
    format!(
        "gateway: {{ id: {GATEWAY}, state_dir: \"{state}\", runtime_dir: \"{run}\", \
         clock: trusted }}\n\
         broker: {{ listeners: [ {{ tcp: 127.0.0.1:{lan}, anonymous: true }} ] }}\n\
         uplinks:\n  {UPLINK}: {{ url: \"mqtt://127.0.0.1:{port}\", qos: {qos} }}\n\
         queue: {{ max_size: 1000GiB, max_age: 3650d }}\nlog: {{ level: warn }}\n"
    )
}

async fn gateway(
    program: &Path,
    scratch: &Scratch,
    config: &str,
    observer: &mut Observer,
) -> anyhow::Result<Run> {
    let file = scratch.path().join("gateway.yaml");
    std::fs::write(&file, config)?;
    let mut command = Command::new(program);
    command.args(["run", "-c"]).arg(&file);
    observer.forget();
    let start = Instant::now();
    let mut gateway = Running::spawn(command, &scratch.path().join("gateway.log"))?;
    let id = gateway.id().context("the gateway has ended")?;
    let (mut rss_begin, mut rss_peak) = (None, 0);
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            done = observer.look() => done?,
            _ = looks.tick() => {}
            _ = gateway.ended() => bail!("the gateway ended:\n{}", gateway.last_words()),
        }
        let Usage { cpu, rss, .. } = usage(Some(id))?;
        rss_peak = rss_peak.max(rss);
        if observer.is_online {
            rss_begin = rss_begin.or(Some(rss));
        }
        if observer.has_last {
            let elapsed = start.elapsed();
            gateway.stop().await?;
            return Ok(Run { elapsed, cpu, rss_begin: rss_begin.unwrap_or(rss), rss_peak });
        }
    }
}

async fn publisher(
    program: &Path,
    scratch: &Scratch,
    lines: &Path,
    port: u16,
    qos: QoS,
) -> anyhow::Result<Run> {
    let mut command = Command::new(program);
    command.args(["-l", "-h", "127.0.0.1", "-t", PEER_TOPIC]);
    command.args(["-p", &port.to_string(), "-q", &qos.level().to_string()]);
    let start = Instant::now();
    let log = scratch.path().join("mosquitto_pub.log");
    let mut publisher = Running::spawn_reading(command, File::open(lines)?.into(), &log)?;
    let id = publisher.id();
    let mut cpu = Duration::ZERO;
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            status = publisher.ended() => {
                let elapsed = start.elapsed();
                let elapsed = elapsed.saturating_sub(PEER_SLEEP).max(elapsed / 2);
                if !status?.success() {
                    bail!("mosquitto_pub failed:\n{}", publisher.last_words());
                }
                return Ok(Run { elapsed, cpu, ..Run::default() });
            }
            // It may have ended a moment ago.
            _ = looks.tick() => if let Ok(used) = usage(id) {
                cpu = used.cpu;
            },
        }
    }
}

/// Who is told that the gateway is connected, and that the last reading is through.
struct Observer {
    reader: PacketReader<OwnedReadHalf>,
    /// Closing it would end the connection.
    _writer: PacketWriter<OwnedWriteHalf>,
    is_online: bool,
    has_last: bool,
}

impl Observer {
    async fn connect(port: u16) -> anyhow::Result<Self> {
        let (read, write) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?.into_split();
        let version = Version::V5;
        let mut reader =
            PacketReader::new(read, DecodeOptions { version, packet_bytes_max: 64 * 1024 });
        let mut writer = PacketWriter::new(write, version);
        let filter = |topic: &str| -> anyhow::Result<SubscribeFilter> {
            Ok(SubscribeFilter {
                filter: TopicFilter::new(topic)?,
                qos: QoS::AtMostOnce,
                no_local: false,
                retain_as_published: false,
                retain_handling: RetainHandling::DoNotSend,
            })
        };
        writer.queue(&Packet::Connect(Box::new(Connect {
            version,
            bridge: false,
            clean_start: true,
            keep_alive: 0,
            client_id: "observer".into(),
            will: None,
            username: None,
            password: None,
            properties: ConnectProperties::default(),
        })))?;
        writer.queue(&Packet::Subscribe(Subscribe {
            packet_id: PacketId::new(1).context("1 is not 0")?,
            subscription_id: None,
            user_properties: Vec::new(),
            filters: [LAST, STATUS].into_iter().map(filter).collect::<Result<_, _>>()?,
        }))?;
        writer.write_all().await?;
        let heard = timeout(PATIENCE, async {
            loop {
                if let Packet::SubAck(_) = reader.read_first().await? {
                    return anyhow::Ok(());
                }
            }
        });
        heard.await.context("the broker does not answer")??;
        Ok(Self { reader, _writer: writer, is_online: false, has_last: false })
    }

    /// Takes what comes next. A call that is dropped loses nothing.
    async fn look(&mut self) -> anyhow::Result<()> {
        for packet in self.reader.read().await? {
            let Packet::Publish(publish) = packet else { continue };
            match publish.topic.as_ref().map(TopicName::as_str) {
                Some(LAST) => self.has_last = true,
                Some(STATUS) => self.is_online |= *publish.payload == *b"online",
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    /// Waits for what the next gateway does.
    fn forget(&mut self) {
        (self.is_online, self.has_last) = (false, false);
    }
}

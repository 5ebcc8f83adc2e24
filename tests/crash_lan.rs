//! The gateway's LAN broker is killed again and again, from outside and at named steps, between a publisher and subscribers
//! whose sessions stay: at QoS 2 everything that was acknowledged arrives, once and in order, subscriptions are kept, and
//! what is retained is there right after each start.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::wildcard_enum_match_arm,
    reason = "tests touch the machine, and a failure here fails the test"
)]

mod support;

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::num::NonZeroU16;
use std::os::unix::process::ExitStatusExt as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use fieldpost::bench::crash::checker::Checker;
use fieldpost::bench::crash::publisher::Publisher;
use fieldpost::bench::crash::{End, Progress};
use fieldpost::model::{QoS, TopicFilter, TopicName};
use fieldpost::mqtt::{
    Connect, ConnectProperties, DecodeOptions, Packet, PacketId, Publish, RetainHandling,
    Subscribe, SubscribeFilter, Unsubscribe, Version, decode, encode,
};
use fieldpost::step::{self, Step};

use support::{DEADLINE, Site, free_port, wait_until};

const TOPIC: &str = "lan/counted";
/// Topics with a retained message each.
const KEPT: usize = 20;
/// How long a life goes on that has not come to its step.
const LIFE_MAX: Duration = Duration::from_millis(400);
/// How long a socket is listened to before its end has something to say itself.
const LISTEN: Duration = Duration::from_millis(2);
const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

/// A socket with packets on it.
struct Line {
    stream: TcpStream,
    bytes: BytesMut,
    version: Version,
}

impl Line {
    /// Connects; also gives whether the session was there.
    fn open(port: u16, version: Version, id: &str, stays: bool) -> Result<(Self, bool), Error> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LISTEN))?;
        let mut line = Self { stream, bytes: BytesMut::new(), version };
        let session_expiry = (stays && version == Version::V5).then_some(u32::MAX);
        line.send(&Packet::Connect(Box::new(Connect {
            bridge: false,
            version,
            clean_start: !stays,
            keep_alive: 0,
            client_id: id.into(),
            will: None,
            username: None,
            password: None,
            properties: ConnectProperties { session_expiry, ..ConnectProperties::default() },
        })))?;
        match line.wait()? {
            Packet::ConnAck(ack) if !ack.reason.is_failure() => Ok((line, ack.session_present)),
            other => panic!("refused: {other:?}"),
        }
    }

    fn send(&mut self, packet: &Packet) -> Result<(), Error> {
        let mut bytes = BytesMut::new();
        encode(packet, self.version, &mut bytes).expect("a packet that can be said");
        self.stream.write_all(&bytes)
    }

    /// The next packet, if one comes soon.
    fn listen(&mut self) -> Result<Option<Packet>, Error> {
        let options = DecodeOptions { version: self.version, packet_bytes_max: 1 << 20 };
        loop {
            if let Some(packet) = decode(&mut self.bytes, &options).expect("MQTT comes back") {
                return Ok(Some(packet));
            }
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.bytes.extend_from_slice(&chunk[..count]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The next packet.
    fn wait(&mut self) -> Result<Packet, Error> {
        let start = Instant::now();
        loop {
            if let Some(packet) = self.listen()? {
                return Ok(packet);
            }
            assert!(start.elapsed() < DEADLINE, "the broker says nothing");
        }
    }
}

/// What ends the clients.
#[derive(Clone, Default)]
struct Stop(Arc<AtomicBool>);

impl Stop {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Runs one end of the lane, over as many connections as it takes, until it is stopped.
fn run<E: End + Send + 'static>(
    (port, version): (u16, Version),
    id: &'static str,
    mut end: E,
    progress: &Arc<Mutex<Progress>>,
    stop: &Stop,
) -> JoinHandle<E> {
    let (progress, stop) = (progress.clone(), stop.clone());
    thread::spawn(move || {
        while !stop.is_set() {
            // Why a connection ended is of no interest: the broker is being killed all the time.
            let _ = serve(&mut end, Line::open(port, version, id, true), &progress, &stop);
        }
        end
    })
}

fn serve(
    end: &mut impl End,
    opened: Result<(Line, bool), Error>,
    progress: &Mutex<Progress>,
    stop: &Stop,
) -> Result<(), Error> {
    let (mut line, present) = opened.inspect_err(|_| thread::sleep(LISTEN))?;
    end.handle_connected(present, NonZeroU16::MAX);
    while !stop.is_set() {
        end.exchange_progress(&mut progress.lock().expect("nobody failed"));
        while let Some(packet) = end.poll_packet() {
            line.send(&packet)?;
        }
        if let Some(packet) = line.listen()? {
            end.handle_packet(&packet);
        }
    }
    Ok(())
}

/// What has been retained: the last value said on each topic, and the last that was acknowledged.
#[derive(Default)]
struct Kept {
    said: [AtomicU64; KEPT],
    acknowledged: [AtomicU64; KEPT],
}

impl Kept {
    /// Replaces retained messages, one after the other, until it is stopped.
    fn keep(self: &Arc<Self>, port: u16, version: Version, stop: &Stop) -> JoinHandle<()> {
        let (kept, stop) = (self.clone(), stop.clone());
        thread::spawn(move || {
            let mut number = 0;
            while !stop.is_set() {
                let Ok((mut line, _)) = Line::open(port, version, "keeper", false) else {
                    thread::sleep(LISTEN);
                    continue;
                };
                while !stop.is_set() && kept.replace(&mut line, number + 1).is_ok() {
                    number += 1;
                }
                number += 1;
            }
        })
    }

    fn replace(&self, line: &mut Line, number: u64) -> Result<(), Error> {
        let at = usize::try_from(number).expect("not so many") % KEPT;
        self.said[at].store(number, Ordering::SeqCst);
        line.send(&Packet::Publish(Publish {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain: true,
            topic: Some(TopicName::new(&format!("kept/{at}")).expect("a topic")),
            packet_id: PacketId::new(1),
            payload: number.to_string().into(),
            properties: None,
            message_expiry: None,
            topic_alias: None,
            subscription_ids: Vec::new(),
        }))?;
        let answer = line.wait()?;
        assert!(matches!(answer, Packet::PubAck(_)), "{answer:?}");
        self.acknowledged[at].store(number, Ordering::SeqCst);
        Ok(())
    }

    /// Subscribes and looks at what is retained: on each topic what was acknowledged, or later.
    fn check(&self, port: u16, version: Version) -> Result<(), Error> {
        let least: Vec<u64> =
            self.acknowledged.iter().map(|number| number.load(Ordering::SeqCst)).collect();
        let (mut line, _) = Line::open(port, version, "looker", false)?;
        line.send(&Packet::Subscribe(Subscribe {
            packet_id: PacketId::new(1).expect("not 0"),
            subscription_id: None,
            user_properties: Vec::new(),
            filters: vec![SubscribeFilter {
                filter: TopicFilter::new("kept/+").expect("a filter"),
                qos: QoS::AtMostOnce,
                no_local: false,
                retain_as_published: false,
                retain_handling: RetainHandling::Send,
            }],
        }))?;
        let mut found = BTreeMap::new();
        loop {
            match line.wait()? {
                // What is retained is on its way when this is answered.
                Packet::SubAck(_) => line.send(&Packet::Unsubscribe(Unsubscribe {
                    packet_id: PacketId::new(2).expect("not 0"),
                    user_properties: Vec::new(),
                    filters: vec![TopicFilter::new("nothing/like/it").expect("a filter")],
                }))?,
                Packet::UnsubAck(_) => break,
                Packet::Publish(publish) if publish.retain => {
                    let topic = publish.topic.expect("a topic");
                    let at: usize = topic.as_str().trim_start_matches("kept/").parse().unwrap();
                    let number = std::str::from_utf8(&publish.payload).unwrap();
                    let number: u64 = number.parse().unwrap();
                    assert!(found.insert(at, number).is_none(), "{topic} came twice");
                }
                _ => {}
            }
        }
        let there = |at| found.contains_key(&at);
        let missing = (0..KEPT).filter(|at| least[*at] > 0 && !there(*at)).collect::<Vec<_>>();
        assert!(missing.is_empty(), "kept/{missing:?} are not there: {least:?}");
        for (at, number) in found {
            let most = self.said[at].load(Ordering::SeqCst);
            assert!((least[at]..=most).contains(&number), "kept/{at} is {number}: {least:?}");
        }
        Ok(())
    }
}

/// How a life of the gateway ends: it aborts at a step, or is killed so long after its start.
enum Death {
    Step(Step, u64),
    After(Duration),
}

fn draw(random: &mut fastrand::Rng) -> Death {
    let of_lan: Vec<Step> = Step::ALL
        .iter()
        .copied()
        .filter(|step| !matches!(step, Step::WriteBefore | Step::WriteTorn | Step::ReadAfter))
        .collect();
    if random.u8(..4) == 0 {
        return Death::After(Duration::from_micros(random.u64(..250_000)));
    }
    let step = of_lan[random.usize(..of_lan.len())];
    let most = match step {
        Step::StartFound | Step::StartCommitted | Step::TrimTorn => 1,
        _ => random.u64(1..=60),
    };
    Death::Step(step, random.u64(1..=most))
}

/// `LAN_SEED` repeats a plan.
fn survives(kills: u64, version: Version) {
    let seed = std::env::var("LAN_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("LAN_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (port, at) = (free_port(), Site::new());
    let place = (port, version);
    let (progress, stop, kept) =
        (Arc::new(Mutex::new(Progress::default())), Stop::default(), Arc::new(Kept::default()));
    let checker = || Checker::new(TopicFilter::new("lan/+").unwrap(), QoS::ExactlyOnce);
    let publisher =
        Publisher::new(TopicName::new(TOPIC).unwrap(), QoS::ExactlyOnce, random.usize(4..=40));
    let configure = |at_once: bool| {
        let commit_every = if at_once { "0s" } else { "1s" };
        at.write_config(&format!(
            "gateway: {{ id: lan, state_dir: \"{{state}}\" }}\n\
             broker: {{ listeners: [ {{ tcp: 127.0.0.1:{port}, anonymous: true }} ] }}\n\
             queue: {{ commit_every: {commit_every} }}\n"
        ));
    };
    configure(false);
    // A session that sleeps until all is over, and its subscription.
    let mut gateway = at.start();
    gateway.wait_for_log("broker listens");
    let sleeps = Stop::default();
    let asleep = run(place, "sleeper", checker(), &progress, &sleeps);
    wait_until("the sleeper has subscribed", || progress.lock().unwrap().subscribed);
    sleeps.0.store(true, Ordering::SeqCst);
    let sleeper = asleep.join().expect("it did not fail");
    *progress.lock().unwrap() = Progress::default();
    let near = run(place, "near", checker(), &progress, &stop);
    wait_until("it has subscribed", || progress.lock().unwrap().subscribed);
    let publisher = run(place, "publisher", publisher, &progress, &stop);
    let keeper = kept.keep(port, version, &stop);
    wait_until("messages arrive", || progress.lock().unwrap().arrived > 0);
    gateway.sigkill();

    let (mut outside, mut aborted, mut looked) = (1_u64, BTreeMap::new(), 0_u64);
    while outside + aborted.values().sum::<u64>() < kills {
        configure(random.u8(..3) == 0);
        let end = draw(&mut random);
        let armed = match end {
            Death::Step(step, count) => format!("{}:{count}", step.name()),
            Death::After(_) => format!("{}:{}", Step::StageBefore.name(), u64::MAX),
        };
        let mut gateway = at.start_with(&[(step::VARIABLE, &armed)]);
        let start = Instant::now();
        wait_until("it can be reached, or has ended", || {
            gateway.process().has_ended() || gateway.process().own_log().contains("broker listens")
        });
        if !gateway.process().has_ended() && kept.check(port, version).is_ok() {
            looked += 1;
        }
        let life = match end {
            Death::After(after) => after,
            Death::Step(..) => LIFE_MAX,
        };
        while start.elapsed() < life && !gateway.process().has_ended() {
            thread::sleep(LISTEN);
        }
        gateway.sigkill();
        match (gateway.process().wait().signal(), end) {
            (Some(SIGABRT), Death::Step(step, _)) => *aborted.entry(step.name()).or_default() += 1,
            (Some(SIGKILL), _) => outside += 1,
            (other, _) => panic!("the gateway ended by itself: {other:?}\n{}", gateway.log()),
        }
    }

    configure(false);
    let mut gateway = at.start();
    gateway.wait_for_log("broker listens");
    kept.check(port, version).expect("nobody kills it any more");
    {
        let mut progress = progress.lock().unwrap();
        progress.last = Some(progress.published + 50);
    }
    wait_until("everything has arrived", || {
        let now = *progress.lock().unwrap();
        now.last == Some(now.published) && now.open == 0 && now.arrived >= now.accepted
    });
    stop.0.store(true, Ordering::SeqCst);
    let (near, publisher) = (near.join().unwrap(), publisher.join().unwrap());
    keeper.join().unwrap();
    let accepted = publisher.accepted();
    println!("{accepted} accepted, {outside} killed, {aborted:?}, looked {looked} times");
    let sleeps = Stop::default();
    *progress.lock().unwrap() = Progress::default();
    let awake = run(place, "sleeper", sleeper, &progress, &sleeps);
    wait_until("the sleeper has everything", || progress.lock().unwrap().arrived >= accepted);
    sleeps.0.store(true, Ordering::SeqCst);
    let sleeper = awake.join().unwrap();
    for (name, checker) in [("near", &near), ("sleeper", &sleeper)] {
        let lost: Vec<u64> = checker.missing(accepted).collect();
        assert!(lost.is_empty(), "{name} lost {lost:?} of {accepted}");
        let wrong = (checker.doubled(|_| 0), checker.out_of_order(), checker.sessions_lost());
        assert_eq!(wrong, (0, 0, 0), "{name}: doubled, out of order, sessions lost");
    }
    assert_eq!((publisher.refused(), publisher.sessions_lost()), (0, 0));
    assert!(accepted > kills * 5, "{accepted}");
    assert!(outside > kills / 10 && aborted.len() > 5, "{outside} {aborted:?}");
    assert!(looked > kills / 2, "{looked}");
    assert!(gateway.sigterm().success());
}

/// A module of its own: these tests want the machine for themselves.
mod heavy {
    use super::*;

    #[test]
    fn over_60_kills_a_lan_session_loses_and_doubles_nothing_with_mqtt_5() {
        survives(60, Version::V5);
    }

    #[test]
    fn over_60_kills_a_lan_session_loses_and_doubles_nothing_with_mqtt_3_1_1() {
        survives(60, Version::V311);
    }
}

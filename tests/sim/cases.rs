//! core: single stories.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use fieldpost::access::Principal;
use fieldpost::hub::{
    Accept, AttachClient, AttachUplink, Attached, ConnectionId, DetachCause, EndUplinkError,
    Engine, EngineOptions, Fact, Forward, Output, SessionWill, UplinkSession,
};
use fieldpost::model::{Message, Moment, QoS, Timestamp, TopicFilter, TopicName, TopicRename};
use fieldpost::mqtt::{
    Ack, Packet, PacketId, ReasonCode, RetainHandling, Subscribe, SubscribeFilter, Version,
};
use fieldpost::store::{Committed, SessionOwner, StoreCommand, StoreError, StoreEvent, Trimmed};

use crate::state::{MESSAGE_BYTES, State};
use crate::world::{FAST, SLOW, UPLINK, World, message, session};

/// An engine over a store that commits at once, or when told to.
pub struct Bench {
    pub engine: Engine,
    pub state: State,
    /// What a power cut leaves.
    synced: State,
    pub now: Moment,
    pub commits: bool,
    options: EngineOptions,
    pub packets: Vec<(ConnectionId, Packet)>,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(EngineOptions::default())
    }

    pub fn with(options: EngineOptions) -> Self {
        let world = World::new(options);
        let mut bench = Self {
            engine: world.engine,
            state: State::default(),
            synced: State::default(),
            now: world.now,
            commits: true,
            options,
            packets: Vec::new(),
        };
        bench.settle();
        bench
    }

    pub fn restart(&mut self) {
        let snapshot = self.state.snapshot();
        self.engine = Engine::new(self.options, snapshot, self.now);
        self.packets.clear();
        self.settle();
    }

    /// The power fails: only what was synced is there, and `told` says whether the store noticed what it lost.
    fn power_cut(&mut self, told: bool) {
        self.state = self.synced.clone();
        if told {
            self.state.lose_ids();
        }
        self.restart();
    }

    pub fn settle(&mut self) {
        loop {
            self.engine.settle_down(self.now);
            while let Some(output) = self.engine.poll_output() {
                if let Output::Packet(connection, packet) = output {
                    self.packets.push((connection, packet));
                }
            }
            if !self.commits {
                return;
            }
            let Some(command) = self.engine.poll_store(self.now) else { return };
            let answer = match command {
                StoreCommand::Commit { batch, changes, sync } => {
                    changes.iter().for_each(|change| self.state.apply(change, &mut Vec::new()));
                    if sync {
                        self.synced = self.state.clone();
                    }
                    StoreEvent::Committed(Committed { batch, bytes_used: 0, bytes_room: None })
                }
                StoreCommand::Trim { .. } => StoreEvent::Trimmed(Trimmed::default()),
                StoreCommand::Look { question, after, count_max, .. } => {
                    StoreEvent::Looked { question, slice: Ok(self.state.look(after, count_max)) }
                }
                StoreCommand::Verify { question } => {
                    StoreEvent::Verified { question, damages: Ok(Vec::new()) }
                }
                StoreCommand::Fetch { session, after, count_max, .. } => {
                    let (messages, examined) = self.state.fetch(session, after, count_max);
                    StoreEvent::Fetched { session, messages, examined }
                }
            };
            self.engine.handle_store(answer, self.now);
        }
    }

    pub fn attach(&mut self, client: AttachClient) -> Attached {
        let attached = self.engine.handle_attach_client(client, self.now);
        self.settle();
        attached
    }

    pub fn hear(&mut self, connection: ConnectionId, packet: Packet) -> Vec<Packet> {
        self.engine.handle_packet(connection, packet, self.now);
        self.settle();
        self.take()
    }

    pub fn detach(&mut self, connection: ConnectionId, cause: DetachCause) {
        self.engine.handle_detach(connection, cause, self.now);
        self.settle();
    }

    pub fn pass(&mut self, time: Duration) {
        self.now.mono += time;
        self.now.wall = self.now.wall.plus(time);
        self.now.boot_ms += time.as_millis() as u64;
        self.engine.handle_timeout(self.now);
        self.settle();
    }

    pub fn take(&mut self) -> Vec<Packet> {
        self.packets.drain(..).map(|(_, packet)| packet).collect()
    }
}

pub fn client(name: &str, expiry: u32) -> AttachClient {
    AttachClient {
        client_id: name.into(),
        clean_start: expiry == 0,
        expiry,
        version: Version::V5,
        receive_maximum: NonZeroU16::MAX,
        packet_bytes_max: None,
        will: None,
        principal: Principal::unnamed(name),
        caller: std::sync::Arc::default(),
        bridge: false,
        peer: None,
    }
}

pub fn will(expiry: Option<u64>, delay: u64) -> SessionWill {
    let expiry = expiry.map(Duration::from_secs);
    let message = Message { retain: true, ..message(666, QoS::AtLeastOnce) };
    SessionWill { message, delay: Duration::from_secs(delay), expiry }
}

pub fn subscribe(filter: &str) -> Packet {
    Packet::Subscribe(Subscribe {
        packet_id: PacketId::new(9).unwrap(),
        subscription_id: None,
        user_properties: Vec::new(),
        filters: vec![SubscribeFilter {
            filter: TopicFilter::new(filter).unwrap(),
            qos: QoS::ExactlyOnce,
            no_local: false,
            retain_as_published: true,
            retain_handling: RetainHandling::Send,
        }],
    })
}

pub fn publish(id: u16, qos: QoS) -> Packet {
    let Message { topic, payload, .. } = message(u64::from(id), qos);
    Packet::Publish(fieldpost::mqtt::Publish {
        dup: false,
        qos,
        retain: false,
        topic: Some(topic),
        packet_id: PacketId::new(id),
        payload,
        properties: None,
        message_expiry: None,
        topic_alias: None,
        subscription_ids: Vec::new(),
    })
}

pub fn names(packets: &[Packet]) -> Vec<&'static str> {
    packets.iter().map(Packet::name).collect()
}

/// What an uplink tells the hub whose upstream takes everything.
pub fn dialled(name: &str, session_present: bool) -> AttachUplink {
    AttachUplink {
        name: name.into(),
        session_present,
        version: Version::V5,
        receive_maximum: NonZeroU16::MAX,
        packet_bytes_max: None,
        qos_max: QoS::ExactlyOnce,
        retain_available: true,
        peer: None,
        server: None,
    }
}

#[test]
fn a_repeat_before_pubrel_is_answered_on_a_session_in_memory() {
    let mut bench = Bench::new();
    let connection = bench.attach(client("a", 0)).connection;
    let quiet = Packet::Publish(fieldpost::mqtt::Publish {
        topic: Some(fieldpost::model::TopicName::new("nobody").unwrap()),
        ..match publish(1, QoS::ExactlyOnce) {
            Packet::Publish(publish) => publish,
            _ => unreachable!(),
        }
    });
    assert_eq!(names(&bench.hear(connection, quiet.clone())), ["PUBREC"]);
    assert_eq!(names(&bench.hear(connection, quiet)), ["PUBREC"]);
}

#[test]
fn a_subscribe_with_nothing_granted_is_answered_on_a_durable_session() {
    let mut bench = Bench::new();
    let connection = bench.attach(client("a", 100)).connection;
    assert_eq!(names(&bench.hear(connection, subscribe("$share/g"))), ["SUBACK"]);
}

#[test]
fn the_expiry_a_disconnect_sets_survives_a_restart() {
    for cause in [
        DetachCause::Goodbye { expiry: Some(1000) },
        DetachCause::GoodbyeWithWill { expiry: Some(1000) },
    ] {
        let mut bench = Bench::new();
        let connection = bench.attach(client("a", 10)).connection;
        bench.detach(connection, cause);
        bench.restart();
        bench.pass(Duration::from_secs(500));
        let again = bench.attach(client("a", 10));
        assert!(again.session_present, "{cause:?}");
    }
}

#[test]
fn a_session_that_ended_while_the_program_was_away_is_not_found() {
    let mut bench = Bench::new();
    let connection = bench.attach(client("a", 10)).connection;
    bench.detach(connection, DetachCause::Lost);
    bench.now.wall = bench.now.wall.plus(Duration::from_secs(11));
    bench.restart();
    assert!(!bench.attach(client("a", 10)).session_present);
}

#[test]
fn a_session_that_left_before_the_clock_was_set_is_kept() {
    let mut bench = Bench::new();
    let set = bench.now.wall;
    bench.now.wall = Timestamp::from_unix_ms(5000);
    let connection = bench.attach(client("a", 10)).connection;
    bench.detach(connection, DetachCause::Lost);
    bench.now.wall = set;
    bench.restart();
    assert!(bench.attach(client("a", 10)).session_present);
}

#[test]
fn the_lifetime_of_a_will_begins_when_it_is_published() {
    let mut bench = Bench::new();
    let watcher = bench.attach(client("watcher", 0)).connection;
    bench.hear(watcher, subscribe("t/#"));
    let mortal = AttachClient { will: Some(will(Some(60), 0)), ..client("mortal", 0) };
    let connection = bench.attach(mortal).connection;
    bench.pass(Duration::from_secs(1000));
    bench.detach(connection, DetachCause::Lost);
    let packets = bench.take();
    let [Packet::Publish(will)] = &packets[..] else { panic!("{packets:?}") };
    assert_eq!(will.message_expiry, Some(60));
}

#[test]
fn a_will_follows_what_happens_to_its_session() {
    // How the client goes, whether it comes back clean, what is said by then and after its delay.
    let goodbye = DetachCause::Goodbye { expiry: None };
    let with_will = DetachCause::GoodbyeWithWill { expiry: None };
    for (cause, back, soon, late) in [
        (goodbye, None, 0, 0),
        (DetachCause::Lost, None, 0, 1),
        (with_will, None, 0, 1),
        (DetachCause::Lost, Some(false), 0, 0),
        (DetachCause::Lost, Some(true), 1, 1),
    ] {
        let mut bench = Bench::new();
        let watcher = bench.attach(client("watcher", 0)).connection;
        bench.hear(watcher, subscribe("t/#"));
        let mortal = AttachClient { will: Some(will(None, 30)), ..client("mortal", 100) };
        let connection = bench.attach(mortal).connection;
        bench.detach(connection, cause);
        if let Some(clean_start) = back {
            bench.attach(AttachClient { clean_start, ..client("mortal", 100) });
        }
        assert_eq!(bench.packets.len(), soon, "{cause:?} {back:?}, soon");
        bench.pass(Duration::from_secs(31));
        assert_eq!(bench.packets.len(), late, "{cause:?} {back:?}, late");
    }
}

#[test]
fn what_is_too_large_for_the_next_connection_does_not_block_it() {
    let mut bench = Bench::new();
    let connection = bench.attach(client("a", 100)).connection;
    bench.hear(connection, subscribe("t/#"));
    bench.engine.handle_publish(
        Message { payload: vec![0; 500].into(), ..message(1, QoS::AtLeastOnce) },
        bench.now,
    );
    bench.engine.handle_publish(message(2, QoS::AtLeastOnce), bench.now);
    bench.settle();
    assert_eq!(names(&bench.take()), ["PUBLISH", "PUBLISH"]);
    bench.detach(connection, DetachCause::Lost);
    bench.attach(AttachClient { packet_bytes_max: Some(100), ..client("a", 100) });
    let packets = bench.take();
    let [Packet::Publish(second)] = &packets[..] else { panic!("{packets:?}") };
    assert_eq!(&second.payload[..], b"2");
}

#[test]
fn a_pubrec_for_what_waits_to_be_sent_again_releases_nothing() {
    let mut bench = Bench::new();
    let connection = bench.attach(client("a", 100)).connection;
    bench.hear(connection, subscribe("t/#"));
    for payload in 1..3 {
        bench.engine.handle_publish(message(payload, QoS::ExactlyOnce), bench.now);
    }
    bench.settle();
    assert_eq!(names(&bench.take()), ["PUBLISH", "PUBLISH"]);
    bench.detach(connection, DetachCause::Lost);
    let one = NonZeroU16::MIN;
    let again = bench.attach(AttachClient { receive_maximum: one, ..client("a", 100) });
    assert_eq!(names(&bench.take()), ["PUBLISH"]);
    let early = Packet::PubRec(Ack::new(PacketId::new(2).unwrap(), ReasonCode::Success));
    assert_eq!(names(&bench.hear(again.connection, early)), [""; 0]);
}

#[test]
fn what_a_connection_says_itself_keeps_its_topic() {
    let mut bench = Bench::new();
    bench.engine.register_uplink(UplinkSession {
        name: "other".into(),
        forward: vec![Forward {
            filter: TopicFilter::new("t/#").unwrap(),
            qos: QoS::AtLeastOnce,
            to: TopicRename::new("sites/{rest}", &TopicFilter::new("t/#").unwrap()).ok(),
            retain: true,
        }],
        accept: Vec::new(),
        withheld: None,
        window: 10,
        trust_received: false,
        live_first: None,
        tell_drops: None,
    });
    let attach = dialled("other", false);
    let attached = bench.engine.handle_attach_uplink(&attach, bench.now).unwrap();
    bench.engine.handle_say(attached.connection, message(1, QoS::AtLeastOnce), false);
    bench.engine.handle_publish(message(2, QoS::AtLeastOnce), bench.now);
    bench.settle();
    let topics: Vec<String> = bench
        .take()
        .into_iter()
        .map(|packet| match packet {
            Packet::Publish(publish) => publish.topic.unwrap().to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(topics, ["t/gateway", "sites/gateway"]);
}

#[test]
fn the_last_word_to_an_upstream_follows_all_it_has_to_release() {
    let mut bench = Bench::new();
    let attach = dialled("uplink", false);
    let attached = bench.engine.handle_attach_uplink(&attach, bench.now).unwrap();
    bench.engine.handle_publish(message(1, QoS::ExactlyOnce), bench.now);
    bench.settle();
    let packets = bench.take();
    let [Packet::Publish(publish)] = &packets[..] else { panic!("{packets:?}") };
    let under_way = publish.packet_id.unwrap();
    bench.engine.handle_say(attached.connection, message(9, QoS::AtLeastOnce), true);
    bench.engine.handle_publish(message(2, QoS::ExactlyOnce), bench.now);
    bench.settle();
    assert_eq!(bench.take(), []);
    let done = Ack::new(under_way, ReasonCode::Success);
    let packets = bench.hear(attached.connection, Packet::PubRec(done.clone()));
    assert!(matches!(packets[..], [Packet::PubRel(_)]), "{packets:?}");
    let packets = bench.hear(attached.connection, Packet::PubComp(done));
    let [Packet::Publish(last)] = &packets[..] else { panic!("{packets:?}") };
    assert_eq!(last.qos, QoS::AtLeastOnce);
}

#[test]
fn an_upstream_gets_no_more_than_it_takes() {
    let mut bench = Bench::new();
    let attach = AttachUplink {
        qos_max: QoS::AtLeastOnce,
        retain_available: false,
        ..dialled("uplink", false)
    };
    let attached = bench.engine.handle_attach_uplink(&attach, bench.now).unwrap();
    let retained = Message { retain: true, ..message(1, QoS::ExactlyOnce) };
    bench.engine.handle_publish(retained, bench.now);
    bench.settle();
    let packets = bench.take();
    let [Packet::Publish(publish)] = &packets[..] else { panic!("{packets:?}") };
    assert_eq!((publish.qos, publish.retain), (QoS::AtLeastOnce, false));
    let done = Ack::new(publish.packet_id.unwrap(), ReasonCode::Success);
    bench.hear(attached.connection, Packet::PubAck(done));
    assert_eq!((bench.state.messages.len(), bench.state.flights.len()), (0, 0));
}

#[test]
fn an_upstream_that_lost_our_session_is_told_again_what_is_retained_but_not_what_came_from_it() {
    let mut bench = Bench::new();
    let mut attach = dialled("uplink", false);
    bench.engine.register_uplink(UplinkSession {
        name: "uplink".into(),
        forward: vec![Forward {
            filter: TopicFilter::new("t/#").unwrap(),
            qos: QoS::ExactlyOnce,
            to: None,
            retain: true,
        }],
        accept: vec![Accept {
            filter: TopicFilter::new("t/theirs").unwrap(),
            to: None,
            retain: true,
        }],
        window: 10,
        withheld: None,
        trust_received: false,
        live_first: None,
        tell_drops: None,
    });
    let retained = |topic: &str| Message {
        retain: true,
        topic: TopicName::new(topic).unwrap(),
        ..message(1, QoS::AtLeastOnce)
    };
    for topic in ["t/ours", "t/theirs"] {
        bench.engine.handle_publish(retained(topic), bench.now);
    }
    let mut connect = |session_present| {
        attach.session_present = session_present;
        let connection = bench.engine.handle_attach_uplink(&attach, bench.now).unwrap().connection;
        bench.settle();
        let mut topics = Vec::new();
        for packet in bench.take() {
            let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
            assert!(publish.retain);
            topics.push(publish.topic.unwrap().to_string());
            let done = Ack::new(publish.packet_id.unwrap(), ReasonCode::Success);
            bench.hear(connection, Packet::PubAck(done));
        }
        topics
    };
    // The first time everything is in the queue.
    assert_eq!(connect(false), ["t/ours", "t/theirs"]);
    assert_eq!(connect(true), [""; 0]);
    assert_eq!(connect(false), ["t/ours"]);
    assert_eq!((bench.state.messages.len(), bench.state.flights.len()), (0, 0));
}

#[test]
fn a_clean_start_is_not_answered_before_the_old_session_has_ended_for_good() {
    let mut bench = Bench::new();
    let connection = bench.attach(client("a", 100)).connection;
    bench.detach(connection, DetachCause::Lost);
    bench.commits = false;
    let again = bench.attach(AttachClient { clean_start: true, ..client("a", 100) });
    assert!(!bench.engine.is_committed(again.needs));
    // Others do not wait for that.
    let other = bench.attach(client("b", 100));
    assert!(bench.engine.is_committed(other.needs));
    bench.commits = true;
    bench.settle();
    assert!(bench.engine.is_committed(again.needs));
}

#[test]
fn a_trim_that_cannot_help_and_a_read_that_fails_are_not_asked_again_at_once() {
    let options = EngineOptions { store_bytes_max: MESSAGE_BYTES / 2, ..EngineOptions::default() };
    let mut world = World::new(options);
    world.connect(UPLINK, false, false, 20);
    world.drain();
    world.publish(QoS::ExactlyOnce);
    world.drain();
    // A message under way is more than the store may hold, and stays.
    world.publish(QoS::ExactlyOnce);
    for _ in 0..20 {
        world.work_store();
        world.hear_store();
    }
    assert!(world.commands.is_empty(), "{:?}", world.commands);
    world.drain();

    let mut world = World::new(EngineOptions::default());
    world.publish(QoS::AtLeastOnce);
    world.drain();
    world.crash(0);
    world.connect(UPLINK, false, false, 20);
    let failed = || StoreEvent::ReadFailed(StoreError::InUse { path: "here".into() });
    let mut asked = 0;
    for _ in 0..20 {
        while let Some(command) = world.commands.pop_front() {
            if let StoreCommand::Fetch { .. } = command {
                asked += 1;
                world.events.push_back(failed());
            }
        }
        world.hear_store();
    }
    assert_eq!(asked, 1);
    assert!(world.engine.poll_timeout().is_some());
    world.advance(Duration::from_secs(60));
    assert!(world.commands.iter().any(|c| matches!(c, StoreCommand::Fetch { .. })));
}

#[test]
fn a_disk_that_is_nearly_full_is_kept_from_filling_up() {
    let mut bench = Bench::new();
    bench.commits = false;
    let mut look = |bytes_room, now: &mut Moment| {
        // Past the pause after a trim that could not help.
        now.mono += Duration::from_secs(30);
        bench.engine.handle_publish(message(1, QoS::AtLeastOnce), *now);
        let Some(StoreCommand::Commit { batch, .. }) = bench.engine.poll_store(*now) else {
            panic!("nothing to commit")
        };
        let committed = Committed { batch, bytes_used: 50 << 20, bytes_room };
        bench.engine.handle_store(StoreEvent::Committed(committed), *now);
        let Some(StoreCommand::Trim { bytes_target, .. }) = bench.engine.poll_store(*now) else {
            return None;
        };
        let dropped = Trimmed { bytes_used: 50 << 20, bytes_room: None, ..Trimmed::default() };
        bench.engine.handle_store(StoreEvent::Trimmed(dropped), *now);
        bytes_target
    };
    let mut now = bench.now;
    assert_eq!(look(None, &mut now), None);
    assert_eq!(look(Some(100 << 20), &mut now), None);
    let target = look(Some(4 << 20), &mut now).expect("something must go");
    assert!((45 << 20..=46 << 20).contains(&target), "{target}");
}

#[test]
fn messages_that_are_dropped_are_told_once_until_it_is_over() {
    let mut bench = Bench::new();
    for payload in 1..4 {
        bench.engine.handle_publish(message(payload, QoS::AtLeastOnce), bench.now);
    }
    bench.settle();
    let rows: Vec<_> =
        bench.state.messages.iter().map(|(seq, row)| (*seq, row.targets.clone())).collect();
    let mut facts = Vec::new();
    for (seq, targets) in rows {
        let trimmed = Trimmed { dropped: vec![(seq, targets)], ..Trimmed::default() };
        bench.engine.handle_store(StoreEvent::Trimmed(trimmed), bench.now);
        facts.extend(std::iter::from_fn(|| bench.engine.poll_fact()));
    }
    let later = bench.engine.poll_timeout().expect("the end is waited for");
    bench.now.mono = later;
    bench.engine.handle_timeout(bench.now);
    facts.extend(std::iter::from_fn(|| bench.engine.poll_fact()));
    let session = || "uplink".into();
    let reason = fieldpost::store::DropReason::QueueFull;
    let dropped = |first| Fact::Dropped { session: session(), reason, count: 1, first };
    let ended = Fact::DropsEnded { session: session(), count: 3 };
    assert_eq!(facts, [dropped(true), dropped(false), dropped(false), ended]);
}

#[test]
fn messages_stored_for_two_go_when_the_slower_one_ends() {
    let mut world = World::new(EngineOptions::default());
    for at in [UPLINK, FAST, SLOW] {
        world.connect(at, false, false, 20);
    }
    world.drain();
    world.cut(SLOW);
    (0..50).for_each(|_| _ = world.publish(QoS::ExactlyOnce));
    world.drain();
    assert_eq!(world.state.messages.len(), 50);
    world.connect(SLOW, true, false, 20);
    world.drain();
    assert_eq!(world.state.messages.len(), 0);
    world.finish();
}

#[test]
fn packet_ids_begin_again_after_the_last_one() {
    let mut world = World::new(EngineOptions::default());
    world.connect(UPLINK, false, false, 20);
    world.drain();
    for _ in 0..66_000 / 10 {
        (0..10).for_each(|_| _ = world.publish(QoS::AtLeastOnce));
        world.drain();
        world.forget_the_past();
    }
    world.finish();
}

/// A receiver of QoS 2 that keeps its session whatever happens to us: which ids are open, and what it has taken.
#[derive(Default)]
struct Receiver {
    open: BTreeSet<NonZeroU16>,
    taken: Vec<Bytes>,
}

impl Receiver {
    /// Takes packets and answers them until nothing more comes.
    fn converse(&mut self, bench: &mut Bench, connection: ConnectionId) {
        let mut packets = bench.take();
        while !packets.is_empty() {
            let answers: Vec<Packet> = packets.iter().filter_map(|p| self.answer(p)).collect();
            packets =
                answers.into_iter().flat_map(|answer| bench.hear(connection, answer)).collect();
        }
    }

    fn answer(&mut self, packet: &Packet) -> Option<Packet> {
        match packet {
            Packet::Publish(publish) => {
                let id = publish.packet_id?;
                if self.open.insert(id.0) {
                    self.taken.push(publish.payload.clone());
                }
                Some(Packet::PubRec(Ack::new(id, ReasonCode::Success)))
            }
            Packet::PubRel(ack) => {
                self.open.remove(&ack.packet_id.0);
                Some(Packet::PubComp(Ack::new(ack.packet_id, ReasonCode::Success)))
            }
            _ => None,
        }
    }
}

/// What arrives of two messages after a power cut in the middle of another one that only the receiver remembers.
fn taken_after_a_power_cut(told: bool, restarts: usize) -> usize {
    let mut bench = Bench::new();
    let mut receiver = Receiver::default();
    let attached = bench.attach(client("c", 60));
    bench.hear(attached.connection, subscribe("#"));
    bench.engine.handle_publish(message(1, QoS::ExactlyOnce), bench.now);
    bench.settle();
    receiver.converse(&mut bench, attached.connection);
    bench.engine.handle_publish(message(2, QoS::ExactlyOnce), bench.now);
    bench.settle();
    // It is taken, and nothing of it has come back when the power fails.
    bench.take().iter().for_each(|packet| _ = receiver.answer(packet));
    bench.power_cut(told);
    (0..restarts).for_each(|_| bench.restart());
    let before = receiver.taken.len();
    let attached = bench.attach(client("c", 60));
    assert!(attached.session_present);
    receiver.converse(&mut bench, attached.connection);
    for number in 3..5 {
        bench.engine.handle_publish(message(number, QoS::ExactlyOnce), bench.now);
        bench.settle();
        receiver.converse(&mut bench, attached.connection);
    }
    let new = |payload: &&Bytes| {
        (3..5).any(|number| message(number, QoS::ExactlyOnce).payload == **payload)
    };
    assert!(receiver.open.is_empty() || !told, "{:?}", receiver.open);
    assert!(bench.state.sessions.values().all(|row| !row.ids_lost), "all of them are closed");
    receiver.taken[before..].iter().filter(new).count()
}

#[test]
fn packet_ids_that_may_be_open_after_a_power_cut_are_released_before_they_are_given_again() {
    assert_eq!(taken_after_a_power_cut(true, 0), 2);
    // Also by a process that starts before the other side was reached.
    assert_eq!(taken_after_a_power_cut(true, 2), 2);
    // Without it the first new message is taken for a repeat and swallowed.
    assert_eq!(taken_after_a_power_cut(false, 0), 1);
}

#[test]
fn packet_ids_of_an_early_power_cut_are_released_however_often_the_power_fails_after_it() {
    let mut bench = Bench::new();
    let mut receiver = Receiver::default();
    let attached = bench.attach(client("c", 60));
    bench.hear(attached.connection, subscribe("#"));
    let publish = |bench: &mut Bench, number| {
        bench.engine.handle_publish(message(number, QoS::ExactlyOnce), bench.now);
        bench.settle();
        bench.take()
    };
    // Ten cuts use up the ids: each leaves open what came after the commit of a block, and none is released.
    for round in 0..10 {
        bench.attach(client("c", 60));
        for number in 0..3 {
            let packets = publish(&mut bench, 10 * round + number);
            let sent = packets.iter().filter(|packet| matches!(packet, Packet::Publish(_)));
            sent.for_each(|packet| _ = receiver.answer(packet));
        }
        bench.power_cut(true);
    }
    // A few are released and given again.
    let attached = bench.attach(client("c", 60));
    for packet in bench.take().into_iter().take(50) {
        let answer = receiver.answer(&packet).expect("each is answered");
        bench.hear(attached.connection, answer);
    }
    publish(&mut bench, 1000);
    bench.restart();
    let attached = bench.attach(client("c", 60));
    receiver.converse(&mut bench, attached.connection);
    assert!(bench.state.sessions.values().all(|row| !row.ids_lost), "all of them are closed");
    assert_eq!(receiver.open, BTreeSet::new());
    let last = message(1000, QoS::ExactlyOnce).payload;
    assert!(receiver.taken.contains(&last));
}

#[test]
fn ids_of_an_upstream_that_lost_our_session_do_not_come_back_with_a_power_cut() {
    let mut bench = Bench::new();
    let attach = |bench: &mut Bench, session_present| {
        let attach = dialled("uplink", session_present);
        let attached = bench.engine.handle_attach_uplink(&attach, bench.now).expect("it is known");
        bench.settle();
        assert!(bench.engine.is_committed(attached.needs));
        attached.connection
    };
    let connection = attach(&mut bench, false);
    assert_eq!(names(&bench.hear(connection, publish(1, QoS::ExactlyOnce))), ["PUBREC"]);
    bench.detach(connection, DetachCause::Lost);
    let connection = attach(&mut bench, false);
    bench.detach(connection, DetachCause::Lost);
    bench.power_cut(true);
    bench.engine.register_uplink(session("uplink", 10, None));
    let connection = attach(&mut bench, true);
    let before = bench.engine.status().accepted;
    assert_eq!(names(&bench.hear(connection, publish(1, QoS::ExactlyOnce))), ["PUBREC"]);
    assert_eq!(bench.engine.status().accepted, before + 1, "taken for a repeat");
}

#[test]
fn a_purge_of_one_session_leaves_the_others_theirs_in_order() {
    let mut world = World::new(EngineOptions::default());
    for at in [UPLINK, FAST, SLOW] {
        world.connect(at, false, false, 20);
    }
    world.drain();
    for at in [UPLINK, FAST, SLOW] {
        world.cut(at);
    }
    let waiting: Vec<u64> = (0..40).map(|_| world.publish(QoS::ExactlyOnce)).collect();
    world.drain();
    world.purge(Some(SLOW), None);
    world.drain();
    let status = world.engine.status();
    let queued = |name: &str| {
        let is_it = |owner: &SessionOwner| match owner {
            SessionOwner::Uplink(have) | SessionOwner::Client(have) => **have == *name,
        };
        status.sessions.iter().find(|s| is_it(&s.owner)).map(|s| (s.queued, s.counters.purged))
    };
    assert_eq!(queued("slow"), Some((0, 40)));
    assert_eq!(queued("fast"), Some((40, 0)));
    assert_eq!(world.state.messages.len(), waiting.len());
    // Also the program that finds it in its store knows that it is gone.
    world.crash(0);
    world.drain();
    world.finish();
}

#[test]
fn a_purge_leaves_what_is_in_flight() {
    let mut world = World::new(EngineOptions::default());
    world.connect(UPLINK, false, false, 2);
    world.drain();
    // Two fill the window and are not heard of; the others wait behind them.
    (0..6).for_each(|_| _ = world.publish(QoS::ExactlyOnce));
    while world.work_store() | world.hear_store() {}
    world.purge(None, None);
    while world.work_store() | world.hear_store() {}
    let status = world.engine.status();
    let uplink = status.sessions.iter().find(|session| session.configured && session.durable);
    let uplink = uplink.expect("the uplink");
    assert_eq!((uplink.queued, uplink.inflight, uplink.counters.purged), (2, 2, 4));
    assert_eq!(world.state.messages.len(), 2);
    world.finish();
}

#[test]
fn what_was_purged_is_not_read_again_before_its_end_is_durable() {
    let mut world = World::new(EngineOptions::default());
    world.connect(UPLINK, false, false, 20);
    world.drain();
    world.cut(UPLINK);
    (0..5).for_each(|_| _ = world.publish(QoS::ExactlyOnce));
    world.advance(Duration::from_secs(10));
    (0..5).for_each(|_| _ = world.publish(QoS::ExactlyOnce));
    world.drain();
    // After a start nothing has been read yet.
    world.crash(0);
    world.drain();
    let between = Timestamp::from_unix_ms(world.now.wall.unix_ms() - 5_000);
    world.purge(Some(UPLINK), Some(between));
    assert!(world.work_store());
    // A commit is under way, so the purge has to wait for the next; the uplink comes and wants to read.
    world.publish(QoS::ExactlyOnce);
    assert!(world.hear_store());
    world.connect(UPLINK, false, false, 20);
    world.finish();
    let status = world.engine.status();
    let uplink = status.sessions.iter().find(|session| session.durable).expect("the uplink");
    // One of those delivered tells of the purge.
    assert_eq!((uplink.counters.delivered, uplink.counters.purged), (7, 5));
}

#[test]
fn a_removed_uplinks_session_goes_and_a_configured_one_does_not() {
    let mut bench = Bench::new();
    let end = |bench: &mut Bench, name| {
        let ended = bench.engine.handle_end_uplink(name, bench.now);
        bench.settle();
        ended
    };
    assert_eq!(end(&mut bench, "uplink"), Err(EndUplinkError::Configured));
    assert_eq!(end(&mut bench, "other"), Err(EndUplinkError::Unknown));
    // The configuration of the next start has it no more.
    bench.restart();
    assert_eq!(end(&mut bench, "uplink"), Ok(()));
    assert!(bench.engine.is_committed(bench.engine.last_purge()));
    assert!(bench.state.sessions.is_empty() && bench.synced.sessions.is_empty());
}

#[test]
fn the_status_says_what_the_disk_said_and_since_when() {
    let mut bench = Bench::new();
    assert_eq!(bench.engine.status().stuck, None);
    let since = bench.now.wall;
    let stuck = StoreEvent::Stuck(StoreError::InUse { path: "here".into() });
    bench.engine.handle_store(stuck, bench.now);
    bench.pass(Duration::from_secs(5));
    let (cause, at) = bench.engine.status().stuck.expect("it is stuck");
    assert!(cause.contains("in use") && at == since, "{cause} {at}");
    bench.engine.handle_store(
        StoreEvent::Unstuck { failures: 5, lasted: Duration::from_secs(5) },
        bench.now,
    );
    assert_eq!(bench.engine.status().stuck, None);
}

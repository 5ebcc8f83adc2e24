//! core: a board whose wall clock is set while readings wait, told with the words that arrive upstream.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fieldpost::hub::{
    ConnectionId, DetachCause, Engine, EngineOptions, Forward, Output, UplinkSession,
};
use fieldpost::model::{
    Body, ClockState, Message, Moment, PointName, QoS, Quality, Reading, Seq, Timestamp,
    TopicFilter, TopicName, Value,
};
use fieldpost::mqtt::{Ack, Packet, Publish, ReasonCode};
use fieldpost::payload::{Publisher, retouch};
use fieldpost::store::{Committed, StoreCommand, StoreEvent, Trimmed};

use crate::state::State;

const TODAY_MS: u64 = 1_795_230_600_000;
const HOUR: Duration = Duration::from_secs(3600);
const DAYS_3: Duration = Duration::from_secs(3 * 86_400);
const AGE_MAX: Duration = Duration::from_secs(2 * 3600);

/// A board with one uplink, and what has arrived there.
struct Board {
    engine: Engine,
    state: State,
    publisher: Publisher,
    clock: ClockState,
    qos: QoS,
    now: Moment,
    /// What the world's clocks say: how far ahead of the board's.
    ahead_ms: u64,
    connection: Option<ConnectionId>,
    /// Whether the upstream acknowledges.
    answers: bool,
    arrived: Vec<Publish>,
    dropped: usize,
}

impl Board {
    /// A board that was booted `ahead` behind the world's time, a minute ago.
    fn booted(ahead: Duration, clock: ClockState, qos: QoS) -> Self {
        let ahead_ms = ahead.as_millis() as u64;
        let wall = Timestamp::from_unix_ms(TODAY_MS - ahead_ms);
        let now = Moment { mono: Instant::now(), wall, boot_ms: 60_000 };
        let mut state = State::default();
        let mut board = Self {
            engine: engine(&mut state, clock, qos, now),
            state,
            publisher: Publisher::new("gw".into(), 1),
            clock,
            qos,
            now,
            ahead_ms,
            connection: None,
            answers: true,
            arrived: Vec::new(),
            dropped: 0,
        };
        board.settle();
        board
    }

    fn pass(&mut self, time: Duration) {
        self.now.mono += time;
        self.now.wall = self.now.wall.plus(time);
        self.now.boot_ms += time.as_millis() as u64;
        self.engine.handle_timeout(self.now);
        self.settle();
    }

    /// The clock is set to the world's, and said to be right.
    fn synchronise(&mut self) {
        self.now.wall = self.world();
        self.ahead_ms = 0;
        self.settle();
        self.clock = ClockState::Synced { since_ms: self.now.boot_ms };
        self.engine.handle_clock(self.clock, self.now);
        self.settle();
    }

    /// The clock is set back, and nobody says anything.
    fn step_back(&mut self, by: Duration) {
        self.ahead_ms += by.as_millis() as u64;
        self.now.wall = Timestamp::from_unix_ms(self.now.wall.unix_ms() - by.as_millis() as u64);
        self.settle();
    }

    fn step_forward(&mut self, by: Duration) {
        self.now.wall = self.now.wall.plus(by);
        self.settle();
    }

    fn world(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.now.wall.unix_ms() + self.ahead_ms)
    }

    /// A reading is taken; gives the world's time of that.
    fn read(&mut self, value: i64) -> Timestamp {
        let reading = Reading {
            point: PointName { device: "boiler".into(), point: "flow".into() },
            value: Some(Value::Int(value)),
            unit: None,
            quality: Quality::Good,
            taken: self.now,
        };
        let mut messages = Vec::new();
        self.publisher.readings(&[reading], self.clock, &mut messages).expect("well named");
        let message = messages.pop().expect("there is one");
        self.engine.handle_publish(message, self.now);
        self.settle();
        self.world()
    }

    /// Somebody on the LAN publishes what is worth delivering for an hour.
    fn publish_for_an_hour(&mut self) {
        self.engine.handle_publish(
            Message {
                topic: TopicName::new("gw/lan").unwrap(),
                payload: Bytes::from_static(b"lan"),
                qos: QoS::AtLeastOnce,
                retain: false,
                properties: None,
                accepted: self.now.wall,
                expires: Some(self.now.wall.plus(HOUR)),
                body: Body::Foreign,
            },
            self.now,
        );
        self.settle();
    }

    /// The process ends and another one begins; after a boot all that goes on is the time.
    fn restart(&mut self, boots: bool) {
        if boots {
            self.now.boot_ms = 1_000;
            self.state.boot_first = Seq(0);
        }
        self.connection = None;
        self.engine = engine(&mut self.state, self.clock, self.qos, self.now);
        self.settle();
    }

    fn connect(&mut self) {
        let attach = crate::cases::dialled("cloud", true);
        let attached = self.engine.handle_attach_uplink(&attach, self.now).expect("registered");
        self.connection = Some(attached.connection);
        self.settle();
    }

    fn cut(&mut self) {
        let connection = self.connection.take().expect("connected");
        self.engine.handle_detach(connection, DetachCause::Lost, self.now);
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            self.engine.settle_down(self.now);
            let mut answers = Vec::new();
            while let Some(output) = self.engine.poll_output() {
                let Output::Packet(connection, packet) = output else { continue };
                answers.extend(self.hear(packet).map(|answer| (connection, answer)));
            }
            let idle = answers.is_empty();
            for (connection, answer) in answers {
                self.engine.handle_packet(connection, answer, self.now);
            }
            match self.engine.poll_store(self.now) {
                Some(command) => self.work(command),
                None if idle => return,
                None => {}
            }
        }
    }

    fn hear(&mut self, packet: Packet) -> Option<Packet> {
        let success = |id| Ack::new(id, ReasonCode::Success);
        let answer = match packet {
            Packet::Publish(publish) => {
                let id = publish.packet_id?;
                let qos = publish.qos;
                self.arrived.push(publish);
                match qos {
                    QoS::ExactlyOnce => Packet::PubRec(success(id)),
                    _ => Packet::PubAck(success(id)),
                }
            }
            Packet::PubRel(ack) => Packet::PubComp(success(ack.packet_id)),
            _ => return None,
        };
        self.answers.then_some(answer)
    }

    fn work(&mut self, command: StoreCommand) {
        let answer = match command {
            StoreCommand::Commit { batch, changes, .. } => {
                changes.iter().for_each(|change| self.state.apply(change, &mut Vec::new()));
                StoreEvent::Committed(Committed { batch, bytes_used: 0, bytes_room: None })
            }
            StoreCommand::Fetch { session, after, count_max, .. } => {
                let (messages, examined) = self.state.fetch(session, after, count_max);
                StoreEvent::Fetched { session, messages, examined }
            }
            StoreCommand::Look { .. } | StoreCommand::Verify { .. } => panic!("nobody asks"),
            StoreCommand::Trim { older_than, .. } => {
                let limit = older_than.unwrap_or_default();
                let is_old = |m: &Message| m.accepted.is_set() && m.accepted < limit;
                let before = self.state.messages.len();
                let mut dropped = Vec::new();
                self.state.messages.retain(|seq, stored| {
                    let is_old = is_old(&stored.message);
                    dropped.extend(is_old.then(|| (*seq, Arc::clone(&stored.targets))));
                    !is_old
                });
                self.dropped += before - self.state.messages.len();
                StoreEvent::Trimmed(Trimmed { dropped, ..Trimmed::default() })
            }
        };
        self.engine.handle_store(answer, self.now);
    }

    /// What has arrived: the value, the time, and whether the clock is said to be wrong.
    fn readings(&self) -> Vec<(i64, String, bool)> {
        self.arrived.iter().filter_map(reading).collect()
    }
}

fn reading(publish: &Publish) -> Option<(i64, String, bool)> {
    let json: serde_json::Value = serde_json::from_slice(&publish.payload).ok()?;
    let time = json["time"].as_str()?.to_owned();
    let mark = json.get("clock").map(|mark| assert_eq!(mark, "unsynced"));
    Some((json["value"].as_i64()?, time, mark.is_some()))
}

fn engine(state: &mut State, clock: ClockState, qos: QoS, now: Moment) -> Engine {
    let options = EngineOptions { age_max: AGE_MAX, clock, retouch, ..EngineOptions::default() };
    let mut engine = Engine::new(options, state.snapshot(), now);
    let filter = TopicFilter::new("gw/#").unwrap();
    engine.register_uplink(UplinkSession {
        name: "cloud".into(),
        forward: vec![Forward { filter, qos, to: None, retain: true }],
        accept: Vec::new(),
        withheld: None,
        window: 10,
        trust_received: false,
        live_first: None,
        tell_drops: None,
    });
    engine
}

/// The ways a board without a battery comes up: in 1970, and at the time of its last shutdown.
fn behind() -> [Duration; 2] {
    [Duration::from_millis(TODAY_MS - 60_000), DAYS_3]
}

const BOTH_QOS: [QoS; 2] = [QoS::AtLeastOnce, QoS::ExactlyOnce];

#[test]
fn readings_taken_before_the_clock_is_set_arrive_with_the_right_time() {
    for (behind, qos) in behind().into_iter().flat_map(|b| BOTH_QOS.map(|qos| (b, qos))) {
        let mut board = Board::booted(behind, ClockState::Unsynced, qos);
        let mut expected = Vec::new();
        for value in 0..30 {
            expected.push((value, board.read(value).to_string(), false));
            board.pass(Duration::from_secs(90));
            if value == 10 {
                // Another process of the same boot finds them.
                board.restart(false);
            }
        }
        board.synchronise();
        expected.push((30, board.read(30).to_string(), false));
        board.connect();
        assert_eq!(board.readings(), expected);
        assert_eq!((board.dropped, board.state.messages.len()), (0, 0));
    }
}

#[test]
fn what_an_earlier_boot_left_keeps_its_mark_for_ever() {
    for behind in behind() {
        let mut board = Board::booted(behind, ClockState::Unsynced, QoS::AtLeastOnce);
        let said = board.now.wall.to_string();
        board.read(1);
        board.restart(true);
        let right = board.read(2).to_string();
        board.pass(HOUR);
        board.synchronise();
        board.pass(HOUR * 30);
        board.connect();
        assert_eq!(board.readings(), [(1, said, true), (2, right, false)]);
        assert_eq!(board.dropped, 0);
    }
}

#[test]
fn what_is_sent_before_the_clock_is_set_says_so_and_a_repeat_says_the_same() {
    let mut board = Board::booted(DAYS_3, ClockState::Unsynced, QoS::AtLeastOnce);
    board.answers = false;
    board.connect();
    let said = board.now.wall.to_string();
    board.read(1);
    board.cut();
    board.synchronise();
    board.answers = true;
    board.connect();
    let once = (1, said, true);
    assert_eq!(board.readings(), [once.clone(), once]);
    assert!(board.arrived[1].dup);
}

#[test]
fn a_repeat_of_what_was_set_right_is_the_same_to_the_millisecond() {
    let mut board = Board::booted(DAYS_3, ClockState::Unsynced, QoS::ExactlyOnce);
    board.read(1);
    board.synchronise();
    board.answers = false;
    board.connect();
    board.cut();
    // A time service sets the clock a little more.
    board.step_forward(Duration::from_millis(700));
    board.pass(HOUR);
    board.connect();
    assert!(board.arrived[1].dup);
    assert_eq!(board.arrived[0].payload, board.arrived[1].payload);
    // A process that does not know what the last one said sets it right again.
    board.restart(false);
    board.connect();
    assert!(board.arrived[2].dup);
    assert_eq!(reading(&board.arrived[2]).map(|(_, _, marked)| marked), Some(false));
}

#[test]
fn a_clock_stepped_back_neither_reorders_nor_expires_anything() {
    for qos in BOTH_QOS {
        let mut board = Board::booted(Duration::ZERO, ClockState::default(), qos);
        board.publish_for_an_hour();
        (0..10).for_each(|value| _ = board.read(value));
        board.step_back(HOUR);
        board.publish_for_an_hour();
        (10..20).for_each(|value| _ = board.read(value));
        board.restart(false);
        board.pass(Duration::from_secs(120));
        board.connect();
        let values: Vec<i64> = board.readings().into_iter().map(|(value, _, _)| value).collect();
        assert_eq!(values, (0..20).collect::<Vec<_>>());
        let left: Vec<_> =
            board.arrived.iter().filter_map(|publish| publish.message_expiry).collect();
        assert_eq!(left, [3600, 3480]);
        assert_eq!((board.dropped, board.state.messages.len()), (0, 0));
    }
}

#[test]
fn a_clock_stepped_forward_expires_nothing_before_its_time() {
    for behind in behind() {
        let mut board = Board::booted(behind, ClockState::Unsynced, QoS::AtLeastOnce);
        board.publish_for_an_hour();
        board.pass(Duration::from_secs(1800));
        board.synchronise();
        board.pass(Duration::from_secs(60));
        // A clock that was believed, and was wrong.
        board.publish_for_an_hour();
        board.step_forward(DAYS_3);
        board.pass(Duration::from_secs(60));
        assert_eq!((board.dropped, board.state.messages.len()), (0, 2));
        board.connect();
        let left: Vec<_> =
            board.arrived.iter().filter_map(|publish| publish.message_expiry).collect();
        assert_eq!(left, [1680, 3540]);
    }
}

#[test]
fn with_a_clock_that_can_be_believed_what_is_too_old_goes() {
    let mut board = Board::booted(Duration::ZERO, ClockState::default(), QoS::AtLeastOnce);
    board.publish_for_an_hour();
    board.read(1);
    board.pass(HOUR + Duration::from_secs(1));
    board.read(2);
    board.pass(HOUR);
    assert_eq!(board.dropped, 2);
    board.connect();
    assert_eq!(board.readings().len(), 1);
    board.cut();
    board.publish_for_an_hour();
    board.pass(HOUR);
    board.connect();
    assert_eq!((board.arrived.len(), board.state.messages.len()), (1, 0));
}

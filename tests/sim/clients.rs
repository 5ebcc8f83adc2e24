//! core: single stories of LAN clients: wills, shared subscriptions, expiry, what one of them may cost.

use std::time::Duration;

use fieldpost::hub::{
    AttachClient, ConnectionId, DetachCause, Engine, EngineOptions, Forward, UplinkSession,
};
use fieldpost::model::{Message, QoS, TopicFilter};
use fieldpost::mqtt::{Ack, Packet, PacketId, Publish, ReasonCode, Version};
use fieldpost::store::SessionOwner;

use crate::cases::{Bench, client, names, publish, subscribe, will};
use crate::world::message;

const SHARED: &str = "$share/g/t/#";
const LOST: DetachCause = DetachCause::Lost;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn joined(bench: &mut Bench, name: &str, expiry: u32) -> ConnectionId {
    let connection = bench.attach(client(name, expiry)).connection;
    bench.hear(connection, subscribe(SHARED));
    connection
}

fn publish_some(bench: &mut Bench, qos: QoS, payloads: std::ops::Range<u64>) {
    payloads.for_each(|payload| bench.engine.handle_publish(message(payload, qos), bench.now));
    bench.settle();
}

/// What each connection got: payloads.
fn got(bench: &mut Bench, connection: ConnectionId) -> Vec<String> {
    let (its, others) = bench.packets.drain(..).partition(|(to, _)| *to == connection);
    let its: Vec<(ConnectionId, Packet)> = its;
    bench.packets = others;
    let payload = |(_, packet)| match packet {
        Packet::Publish(publish) => Some(String::from_utf8_lossy(&publish.payload).into_owned()),
        _ => None,
    };
    its.into_iter().filter_map(payload).collect()
}

/// Messages that are not settled for a client.
fn queued(bench: &Bench, name: &str) -> u64 {
    let owner = SessionOwner::Client(name.into());
    let status = bench.engine.status();
    status.sessions.iter().find(|session| session.owner == owner).expect("it is there").queued
}

fn only_publish(bench: &mut Bench) -> Publish {
    let packets = bench.take();
    match <[Packet; 1]>::try_from(packets) {
        Ok([Packet::Publish(publish)]) => publish,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_delay_of_a_will_goes_on_while_the_program_is_away() {
    for returns in [false, true] {
        let mut bench = Bench::new();
        let mortal = AttachClient { will: Some(will(Some(60), 30)), ..client("mortal", 100) };
        let connection = bench.attach(mortal).connection;
        bench.detach(connection, LOST);
        bench.pass(seconds(10));
        bench.restart();
        let watcher = bench.attach(client("watcher", 0)).connection;
        bench.hear(watcher, subscribe("t/#"));
        bench.pass(seconds(19));
        assert_eq!(bench.packets.len(), 0);
        if returns {
            bench.attach(client("mortal", 100));
        }
        bench.pass(seconds(2));
        if returns {
            assert_eq!(bench.packets.len(), 0);
        } else {
            assert_eq!(only_publish(&mut bench).message_expiry, Some(60));
        }
        assert!(bench.state.wills.is_empty());
        bench.restart();
        bench.pass(seconds(1000));
        assert!(bench.state.wills.is_empty());
    }
}

#[test]
fn the_will_of_a_session_that_ended_while_the_program_was_away_goes_to_every_uplink() {
    for expiry in [0, 20] {
        let mut bench = Bench::new();
        let mortal = AttachClient { will: Some(will(None, 3600)), ..client("mortal", expiry) };
        let connection = bench.attach(mortal).connection;
        if expiry > 0 {
            bench.detach(connection, LOST);
        }
        assert_eq!(bench.state.wills.len(), 1);
        bench.now.wall = bench.now.wall.plus(seconds(21));
        let snapshot = bench.state.snapshot();
        bench.engine = Engine::new(EngineOptions::default(), snapshot, bench.now);
        bench.engine.register_uplink(UplinkSession {
            name: "other".into(),
            forward: vec![Forward {
                filter: TopicFilter::new("t/#").unwrap(),
                qos: QoS::AtLeastOnce,
                to: None,
                retain: true,
            }],
            accept: Vec::new(),
            withheld: None,
            window: 10,
            trust_received: false,
            live_first: None,
            tell_drops: None,
        });
        bench.settle();
        assert!(bench.state.wills.is_empty());
        assert_eq!(bench.state.retained.len(), 1);
        let attach = crate::cases::dialled("other", false);
        bench.engine.handle_attach_uplink(&attach, bench.now).unwrap();
        bench.settle();
        assert_eq!(&only_publish(&mut bench).payload[..], b"666");
    }
}

#[test]
fn a_client_is_connected_once_its_will_is_durable() {
    let mut bench = Bench::new();
    bench.commits = false;
    let mortal = AttachClient { will: Some(will(None, 0)), ..client("mortal", 0) };
    let attached = bench.attach(mortal);
    assert!(!bench.engine.is_committed(attached.needs));
    bench.commits = true;
    bench.settle();
    assert!(bench.engine.is_committed(attached.needs));
    assert_eq!(bench.state.wills.len(), 1);
    bench.detach(attached.connection, DetachCause::Goodbye { expiry: None });
    assert!(bench.state.wills.is_empty());
}

#[test]
fn a_will_to_a_topic_of_the_server_s_own_is_not_said() {
    let mut bench = Bench::new();
    let watcher = bench.attach(client("watcher", 0)).connection;
    bench.hear(watcher, subscribe("$SYS/#"));
    let mut forbidden = will(None, 0);
    forbidden.message.topic = fieldpost::model::TopicName::new("$SYS/broker/uptime").unwrap();
    let mortal = AttachClient { will: Some(forbidden), ..client("mortal", 0) };
    let connection = bench.attach(mortal).connection;
    bench.detach(connection, LOST);
    assert_eq!(bench.take(), []);
    assert!(bench.state.wills.is_empty());
}

#[test]
fn what_waits_for_a_member_whose_session_ends_goes_to_the_others() {
    let mut bench = Bench::new();
    let away = joined(&mut bench, "away", 60);
    bench.take();
    publish_some(&mut bench, QoS::AtLeastOnce, 1..2);
    publish_some(&mut bench, QoS::ExactlyOnce, 2..3);
    assert_eq!(got(&mut bench, away), ["1", "2"]);
    bench.detach(away, LOST);
    publish_some(&mut bench, QoS::ExactlyOnce, 3..5);
    let other = joined(&mut bench, "other", 60);
    assert_eq!(got(&mut bench, other), [""; 0]);
    bench.pass(seconds(61));
    // The second was on its way to the one that is gone, who may have it.
    assert_eq!(got(&mut bench, other), ["1", "3", "4"]);
    bench.restart();
    let other = bench.attach(client("other", 60)).connection;
    let mut again = got(&mut bench, other);
    again.sort();
    assert_eq!(again, ["1", "3", "4"]);
}

#[test]
fn a_member_that_is_behind_is_passed_by() {
    let options = EngineOptions { client_window: 1, ..EngineOptions::default() };
    let mut bench = Bench::with(options);
    let (first, second) = (joined(&mut bench, "first", 0), joined(&mut bench, "second", 0));
    bench.take();
    for payload in 1..4 {
        publish_some(&mut bench, QoS::AtLeastOnce, payload..payload + 1);
    }
    assert_eq!(
        (got(&mut bench, first), got(&mut bench, second)),
        (vec!["1".into()], vec!["2".into()])
    );
    // The third waits for the first. The second has done its work.
    let done = Packet::PubAck(Ack::new(PacketId::new(1).unwrap(), ReasonCode::Success));
    bench.hear(second, done);
    for payload in 4..6 {
        publish_some(&mut bench, QoS::AtLeastOnce, payload..payload + 1);
    }
    assert_eq!(got(&mut bench, second), ["4"]);
}

#[test]
fn a_message_says_how_much_of_its_life_is_left() {
    let mut bench = Bench::new();
    let connection = bench.attach(client("a", 1000)).connection;
    bench.hear(connection, subscribe("t/#"));
    bench.detach(connection, LOST);
    let other = bench.attach(client("other", 0)).connection;
    let brief = |id| match publish(id, QoS::AtLeastOnce) {
        Packet::Publish(publish) => {
            let message_expiry = Some(if id == 1 { 60 } else { 30 });
            Packet::Publish(Publish { message_expiry, ..publish })
        }
        _ => unreachable!(),
    };
    bench.hear(other, brief(1));
    bench.hear(other, brief(2));
    bench.pass(seconds(40));
    bench.restart();
    bench.attach(client("a", 1000));
    assert_eq!(only_publish(&mut bench).message_expiry, Some(20));
    assert_eq!(queued(&bench, "a"), 1, "the one that expired is gone");
}

#[test]
fn retained_messages_that_expire_leave_the_store() {
    for restarts in [false, true] {
        let mut bench = Bench::new();
        let expires = Some(bench.now.wall.plus(seconds(60)));
        let brief = Message { retain: true, expires, ..message(1, QoS::AtLeastOnce) };
        bench.engine.handle_publish(brief, bench.now);
        bench.settle();
        if restarts {
            bench.restart();
        }
        bench.pass(seconds(59));
        assert_eq!((bench.state.retained.len(), bench.engine.status().retained), (1, 1));
        let due = bench.engine.poll_timeout().expect("it will expire");
        assert!(due <= bench.now.mono + seconds(1), "nobody has to ask for it");
        bench.pass(seconds(2));
        assert_eq!(bench.state.retained.len(), 0);
        let status = bench.engine.status();
        assert_eq!((status.retained, status.retained_bytes, status.retained_expired), (0, 0, 1));
    }
}

#[test]
fn a_session_of_3_1_1_that_nobody_comes_back_to_ends() {
    let month = EngineOptions::default().session_expiry_max;
    for restarts in [false, true] {
        let mut bench = Bench::new();
        let for_ever = AttachClient { version: Version::V311, ..client("a", u32::MAX) };
        let attached = bench.attach(for_ever.clone());
        assert_eq!(attached.expiry, month);
        bench.detach(attached.connection, LOST);
        bench.pass(seconds(u64::from(month) - 1));
        if restarts {
            bench.restart();
        }
        assert_eq!(bench.state.sessions.len(), 2, "that of the uplink and this one");
        bench.pass(seconds(2));
        assert_eq!(bench.state.sessions.len(), 1);
        assert!(!bench.attach(for_ever).session_present);
    }
}

#[test]
fn a_session_an_earlier_version_kept_for_ever_ends_as_well() {
    let mut bench = Bench::new();
    let connection = bench.attach(client("a", 10)).connection;
    bench.detach(connection, LOST);
    let owner = SessionOwner::Client("a".into());
    let row = bench.state.sessions.values_mut().find(|row| row.owner == owner).unwrap();
    row.expiry = u32::MAX;
    bench.restart();
    bench.pass(seconds(u64::from(EngineOptions::default().session_expiry_max) + 1));
    assert!(bench.state.sessions.values().all(|row| row.owner != owner));
}

#[test]
fn large_messages_are_under_way_within_a_bound_of_bytes() {
    let mut bench = Bench::new();
    let connection = bench.attach(client("a", 0)).connection;
    bench.hear(connection, subscribe("t/#"));
    for number in 1..7 {
        let large =
            Message { payload: vec![b'x'; 1 << 20].into(), ..message(number, QoS::AtLeastOnce) };
        bench.engine.handle_publish(large, bench.now);
        bench.settle();
    }
    assert_eq!(bench.take().len(), 4);
    let status = bench.engine.status();
    let session = status.sessions.iter().find(|session| session.connected).unwrap();
    assert_eq!((session.inflight, session.waiting_bytes), (4, 2 << 20));
    let done = Packet::PubAck(Ack::new(PacketId::new(1).unwrap(), ReasonCode::Success));
    assert_eq!(names(&bench.hear(connection, done)), ["PUBLISH"]);
}

#[test]
fn what_waits_in_the_store_is_in_memory_within_a_bound_of_bytes() {
    let mut bench = Bench::new();
    let connection = bench.attach(client("a", 1000)).connection;
    bench.hear(connection, subscribe("t/#"));
    bench.detach(connection, LOST);
    for number in 1..20 {
        let large = Message {
            payload: format!("{number}{}", "x".repeat(300_000)).into(),
            ..message(number, QoS::AtLeastOnce)
        };
        bench.engine.handle_publish(large, bench.now);
        bench.settle();
    }
    let waiting = |bench: &Bench| {
        let status = bench.engine.status();
        status.sessions.iter().map(|session| session.waiting_bytes).max().unwrap()
    };
    assert!((1 << 20..3 << 19).contains(&waiting(&bench)), "{}", waiting(&bench));
    let connection = bench.attach(client("a", 1000)).connection;
    let mut numbers = Vec::new();
    while numbers.len() < 19 {
        let packets = bench.take();
        assert!(!packets.is_empty(), "after {numbers:?}");
        for packet in packets {
            let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
            let text = std::str::from_utf8(&publish.payload).unwrap();
            numbers.push(text.trim_end_matches('x').parse::<u64>().unwrap());
            let done = Ack::new(publish.packet_id.unwrap(), ReasonCode::Success);
            bench.engine.handle_packet(connection, Packet::PubAck(done), bench.now);
        }
        bench.settle();
    }
    assert_eq!(numbers, (1..20).collect::<Vec<_>>());
    assert_eq!(queued(&bench, "a"), 0);
}

#[test]
fn a_connection_whose_own_queue_is_full_is_sent_nothing_more() {
    let mut bench = Bench::new();
    let connection = bench.attach(client("a", 0)).connection;
    bench.hear(connection, subscribe("t/#"));
    bench.engine.handle_congestion(connection, true);
    publish_some(&mut bench, QoS::AtMostOnce, 1..2);
    publish_some(&mut bench, QoS::ExactlyOnce, 2..3);
    assert_eq!(bench.take(), []);
    bench.engine.handle_congestion(connection, false);
    bench.settle();
    assert_eq!(got(&mut bench, connection), ["1", "2"]);
}

#[test]
fn retained_messages_are_all_sent_and_not_again_and_again_to_a_client_that_reads_none() {
    for expiry in [0, 1000] {
        let options = EngineOptions {
            client_window: 1,
            memory_queue_max: 10,
            client_queue_max: 10,
            ..EngineOptions::default()
        };
        let mut bench = Bench::with(options);
        for number in 0..30 {
            let topic = fieldpost::model::TopicName::new(&format!("t/{number}")).unwrap();
            let kept = Message { topic, retain: true, ..message(number, QoS::AtLeastOnce) };
            bench.engine.handle_publish(kept, bench.now);
        }
        let connection = bench.attach(client("a", expiry)).connection;
        for _ in 0..5 {
            bench.hear(connection, subscribe("t/#"));
        }
        assert_eq!(queued(&bench, "a"), 30);
        let status = bench.engine.status();
        let dropped: u64 = status.sessions.iter().map(|session| session.counters.dropped).sum();
        assert_eq!(dropped, 4 * 30);
    }
}

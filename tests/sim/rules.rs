//! core: statements of the specifications that time, or a full queue, must show. The list of all of them is
//! `tests/normative/checklist.md`.

use std::time::Duration;

use fieldpost::hub::{AttachClient, DetachCause, EngineOptions};
use fieldpost::model::{QoS, TopicName};
use fieldpost::mqtt::{Ack, Packet, PacketId, Publish, ReasonCode, Version};
use fieldpost::store::{Committed, StoreEvent, WhenFull};

use crate::cases::{Bench, client, names, subscribe};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A message to `t/x` that is worth delivering for so many seconds.
fn publish(packet_id: u16, qos: QoS, payload: &'static str, expiry: Option<u32>) -> Packet {
    Packet::Publish(Publish {
        dup: false,
        qos,
        retain: false,
        topic: Some(TopicName::new("t/x").unwrap()),
        packet_id: PacketId::new(packet_id),
        payload: payload.into(),
        properties: None,
        message_expiry: expiry,
        topic_alias: None,
        subscription_ids: Vec::new(),
    })
}

/// Payload and time left of each PUBLISH.
fn told(packets: &[Packet]) -> Vec<(String, Option<u32>)> {
    let told = |packet: &Packet| match packet {
        Packet::Publish(publish) => {
            (String::from_utf8_lossy(&publish.payload).into_owned(), publish.message_expiry)
        }
        other => panic!("not a PUBLISH: {other:?}"),
    };
    packets.iter().map(told).collect()
}

/// The only message among what was said.
fn delivered(packets: &[Packet]) -> &Publish {
    let mut all = packets.iter().filter_map(|packet| match packet {
        Packet::Publish(publish) => Some(publish),
        _ => None,
    });
    let (Some(only), None) = (all.next(), all.next()) else { panic!("one: {packets:?}") };
    only
}

fn ack(packet_id: u16) -> Ack {
    Ack::new(PacketId::new(packet_id).unwrap(), ReasonCode::Success)
}

#[test]
fn a_session_does_not_end_while_its_client_is_connected() {
    for version in [Version::V311, Version::V5] {
        let mut bench = Bench::new();
        let connection = bench.attach(AttachClient { version, ..client("a", 10) }).connection;
        bench.hear(connection, subscribe("t/#"));
        bench.pass(seconds(100_000));
        let other = bench.attach(client("b", 0)).connection;
        bench.hear(other, publish(0, QoS::AtMostOnce, "x", None));
        bench.detach(connection, DetachCause::Lost);
        bench.pass(seconds(9));
        assert!(bench.attach(client("a", 10)).session_present);
    }
}

#[test]
fn what_waits_says_how_long_it_has_left_and_is_not_delivered_after_that() {
    for (away, expected) in [(0, Some(60)), (25, Some(35)), (59, Some(1)), (60, None), (61, None)] {
        for restart in [false, true] {
            let mut bench = Bench::new();
            let connection = bench.attach(client("a", 1000)).connection;
            bench.hear(connection, subscribe("t/#"));
            bench.detach(connection, DetachCause::Lost);
            let other = bench.attach(client("b", 0)).connection;
            bench.hear(other, publish(1, QoS::AtLeastOnce, "brief", Some(60)));
            bench.hear(other, publish(2, QoS::AtLeastOnce, "lasting", None));
            if restart {
                bench.restart();
            }
            bench.pass(seconds(away));
            bench.attach(client("a", 1000));
            let brief = expected.map(|left| ("brief".to_owned(), Some(left)));
            let mut all: Vec<_> = brief.into_iter().collect();
            all.push(("lasting".to_owned(), None));
            assert_eq!(told(&bench.take()), all, "{away} s, restart: {restart}");
        }
    }
}

#[test]
fn what_waits_for_the_send_quota_expires_too() {
    let mut bench = Bench::new();
    let narrow = AttachClient { receive_maximum: std::num::NonZeroU16::MIN, ..client("a", 0) };
    let connection = bench.attach(narrow).connection;
    bench.hear(connection, subscribe("t/#"));
    let other = bench.attach(client("b", 0)).connection;
    for (packet_id, payload, expiry) in
        [(1, "first", None), (2, "brief", Some(10)), (3, "lasting", Some(100))]
    {
        bench.hear(other, publish(packet_id, QoS::AtLeastOnce, payload, expiry));
    }
    bench.pass(seconds(20));
    let next = bench.hear(connection, Packet::PubAck(ack(1)));
    assert_eq!(told(&next), [("lasting".to_owned(), Some(80))]);
}

#[test]
fn a_retained_message_that_has_expired_is_not_sent() {
    let mut bench = Bench::new();
    let other = bench.attach(client("b", 0)).connection;
    let Packet::Publish(message) = publish(0, QoS::AtMostOnce, "brief", Some(60)) else {
        unreachable!()
    };
    bench.hear(other, Packet::Publish(Publish { retain: true, ..message }));
    for (away, count) in [(30, 1), (31, 0)] {
        bench.pass(seconds(away));
        let connection = bench.attach(client("a", 0)).connection;
        let said = bench.hear(connection, subscribe("t/#"));
        assert_eq!(said.len(), 1 + count, "{said:?}");
        if let Some(Packet::Publish(publish)) = said.get(1) {
            assert_eq!(publish.message_expiry, Some(30));
        }
        bench.detach(connection, DetachCause::Lost);
    }
}

#[test]
fn what_was_sent_at_qos_2_does_not_expire() {
    for received in [false, true] {
        let mut bench = Bench::new();
        let connection = bench.attach(client("a", 1000)).connection;
        bench.hear(connection, subscribe("t/#"));
        let other = bench.attach(client("b", 0)).connection;
        let said = bench.hear(other, publish(1, QoS::ExactlyOnce, "x", Some(10)));
        let packet_id = delivered(&said).packet_id.unwrap().get();
        if received {
            assert_eq!(names(&bench.hear(connection, Packet::PubRec(ack(packet_id)))), ["PUBREL"]);
        }
        bench.detach(connection, DetachCause::Lost);
        bench.pass(seconds(100));
        bench.attach(client("a", 1000));
        let again = bench.take();
        assert_eq!(names(&again), [if received { "PUBREL" } else { "PUBLISH" }]);
    }
}

#[test]
fn the_handshake_of_what_came_in_goes_on_though_it_has_expired() {
    for expiry in [0, 1000] {
        let mut bench = Bench::new();
        let connection = bench.attach(client("a", expiry)).connection;
        let message = publish(7, QoS::ExactlyOnce, "x", Some(1));
        assert_eq!(names(&bench.hear(connection, message.clone())), ["PUBREC"]);
        bench.pass(seconds(100));
        assert_eq!(names(&bench.hear(connection, message)), ["PUBREC"]);
        let done = bench.hear(connection, Packet::PubRel(ack(7)));
        assert_eq!(done, [Packet::PubComp(ack(7))]);
    }
}

#[test]
fn after_a_pubrec_that_refuses_the_packet_id_is_another_messages() {
    let mut bench = Bench::with(EngineOptions {
        store_bytes_max: 1000,
        when_full: WhenFull::DropNewest,
        ..EngineOptions::default()
    });
    let connection = bench.attach(client("a", 1000)).connection;
    bench.hear(connection, subscribe("t/#"));
    let other = bench.attach(client("b", 1000)).connection;
    let stands =
        |bytes_used| StoreEvent::Committed(Committed { batch: 0, bytes_used, bytes_room: None });
    bench.engine.handle_store(stands(2000), bench.now);
    let refused = bench.hear(other, publish(7, QoS::ExactlyOnce, "refused", None));
    let [Packet::PubRec(refusal)] = &refused[..] else { panic!("{refused:?}") };
    assert_eq!((refusal.packet_id.get(), refusal.reason), (7, ReasonCode::QuotaExceeded));
    bench.engine.handle_store(stands(0), bench.now);
    let taken = bench.hear(other, publish(7, QoS::ExactlyOnce, "taken", None));
    assert!(taken.contains(&Packet::PubRec(ack(7))), "{taken:?}");
    assert_eq!(&delivered(&taken).payload[..], b"taken");
}

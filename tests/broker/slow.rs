//! Links that are slow and alive: what takes longer than a keep alive to come or to go.

use std::thread;
use std::time::Duration;

use fieldpost::hub::EngineOptions;
use fieldpost::mqtt::{Connect, Packet, ReasonCode, Version};

use crate::client::{Client, QOS0, QOS1, connect, ok, publish, subscription};
use crate::gateway::Gateway;

#[test]
fn a_large_message_may_take_longer_than_the_keep_alive_to_come() {
    for version in [Version::V311, Version::V5] {
        let gateway = Gateway::start();
        let hurried = Connect { keep_alive: 1, ..connect(version, "slow") };
        let (mut client, _) = Client::connect(gateway.port, hurried);
        let mut bytes = bytes::BytesMut::new();
        let large = publish(QOS1, 7, "t", &"x".repeat(20_000));
        fieldpost::mqtt::encode(&Packet::Publish(large), version, &mut bytes).expect("a packet");
        // Nothing else can be said in the middle of a packet.
        for part in bytes.chunks(2000) {
            client.send_bytes(part);
            thread::sleep(Duration::from_millis(300));
        }
        client.expect(Packet::PubAck(ok(7)));
        // A packet that hardly grows is no word.
        for part in bytes.chunks(10).take(100) {
            if std::io::Write::write_all(&mut client.stream, part).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(300));
        }
        let said = client.until_closed();
        assert!(said.iter().all(|packet| matches!(
            packet,
            Packet::Disconnect(why) if why.reason == ReasonCode::KeepAliveTimeout
        )));
    }
}

#[test]
fn a_client_that_takes_its_messages_slowly_is_not_taken_for_silent() {
    let options = EngineOptions { memory_queue_bytes_max: 64 << 20, ..EngineOptions::default() };
    for version in [Version::V311, Version::V5] {
        let gateway = Gateway::with(options);
        let hurried = Connect { keep_alive: 1, ..connect(version, "slow") };
        let (mut client, _) = Client::connect(gateway.port, hurried);
        client.subscribe(&[subscription("t", QOS0)]);
        let port = gateway.port;
        let publisher = thread::spawn(move || {
            let (mut publisher, _) = Client::connect(port, connect(version, "p"));
            let payload = "x".repeat(16 * 1024);
            (0..1500).for_each(|_| publisher.publish(QOS1, 1, "t", &payload));
        });
        let mut count = 0;
        while count < 1500 {
            match client.receive() {
                Packet::Publish(_) => count += 1,
                Packet::PingResp => continue,
                other => panic!("after {count}: {other:?}"),
            }
            if count % 50 == 0 {
                client.send(Packet::PingReq);
            }
            thread::sleep(Duration::from_millis(3));
        }
        publisher.join().expect("it has published all");
    }
}

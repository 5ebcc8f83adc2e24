//! CONNECT and its answer, keep alive, taking over.

use fieldpost::mqtt::{Connect, Packet, ReasonCode, Version};

use crate::client::{Client, VERSIONS, connect, persistent};
use crate::gateway::Gateway;

#[test]
fn a_client_without_a_name_gets_one_where_the_version_can_tell_it() {
    let gateway = Gateway::start();
    let (_, ack) = Client::try_connect(gateway.port, connect(Version::V5, ""));
    assert!(ack.properties.assigned_client_id.is_some_and(|id| !id.is_empty()));
    let (_, ack) = Client::try_connect(gateway.port, connect(Version::V311, ""));
    assert_eq!(ack.reason, ReasonCode::Success);
    let mut client = Client::dial(gateway.port, Version::V311);
    client.send_bytes(b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x3c\x00\x00");
    let said = client.until_closed();
    let [Packet::ConnAck(ack)] = &said[..] else { panic!("{said:?}") };
    assert_eq!((ack.reason, ack.session_present), (ReasonCode::ClientIdNotValid, false));
}

#[test]
fn an_unknown_protocol_level_is_refused() {
    let gateway = Gateway::start();
    let mut client = Client::dial(gateway.port, Version::V311);
    client.send_bytes(b"\x10\x0d\x00\x04MQTT\x09\x02\x00\x3c\x00\x01a");
    let packets = client.until_closed();
    let [Packet::ConnAck(ack)] = &packets[..] else { panic!("{packets:?}") };
    assert_eq!(ack.reason, ReasonCode::UnsupportedProtocolVersion);
}

#[test]
fn a_second_connect_ends_the_connection() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let (mut client, _) = Client::connect(gateway.port, connect(version, "a"));
        client.send(Packet::Connect(Box::new(connect(version, "a"))));
        let said = client.until_closed();
        assert_eq!(said.len(), usize::from(version == Version::V5), "{said:?}");
    }
}

#[test]
fn whoever_does_not_begin_with_connect_is_not_answered() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut client = Client::dial(gateway.port, version);
        client.send(Packet::PingReq);
        assert_eq!(client.until_closed(), []);
    }
}

#[test]
fn a_client_that_falls_silent_is_let_go_and_one_that_pings_is_kept() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let hurried = Connect { keep_alive: 1, ..connect(version, "silent") };
        let (mut client, _) = Client::connect(gateway.port, hurried);
        client.send(Packet::PingReq);
        client.expect(Packet::PingResp);
        let said = client.until_closed();
        match (version, &said[..]) {
            (Version::V5, [Packet::Disconnect(why)]) => {
                assert_eq!(why.reason, ReasonCode::KeepAliveTimeout);
            }
            (Version::V311, []) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_name_that_connects_again_ends_its_older_connection() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let (mut old, present) = Client::connect(gateway.port, persistent(version, "a"));
        assert!(!present);
        let (mut new, present) = Client::connect(gateway.port, persistent(version, "a"));
        assert!(present);
        let said = old.until_closed();
        match (version, &said[..]) {
            (Version::V5, [Packet::Disconnect(why)]) => {
                assert_eq!(why.reason, ReasonCode::SessionTakenOver);
            }
            (Version::V311, []) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(new.so_far(), []);
    }
}

#[test]
fn packets_right_behind_connect_are_not_lost() {
    let gateway = Gateway::start();
    let mut client = Client::dial(gateway.port, Version::V311);
    client.send_bytes(
        b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a\xc0\x00\x32\x06\x00\x01t\x00\x05x",
    );
    assert!(matches!(client.receive(), Packet::ConnAck(_)));
    let mut rest = [client.receive().name(), client.receive().name()];
    rest.sort_unstable();
    assert_eq!(rest, ["PINGRESP", "PUBACK"]);
}

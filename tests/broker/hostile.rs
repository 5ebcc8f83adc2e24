//! Bytes that are no MQTT end one connection, and nothing else.

use std::io::Write as _;
use std::net::TcpStream;

use fieldpost::mqtt::Version;

use crate::client::{Client, QOS1, VERSIONS, connect};
use crate::gateway::Gateway;

#[test]
fn malformed_bytes_end_their_own_connection_only() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let (mut bystander, _) = Client::connect(gateway.port, connect(version, "bystander"));
        for bytes in [
            &b"\xf1\x00"[..],
            b"\x30\xff\xff\xff\xff\x01",
            b"\x36\x06\x00\x01t\x00\x01x",
            b"\x32\x05\x00\x01t\x00\x00",
            b"\x30\x04\x00\x02\xc3\x28",
            b"\x30\x05\x00\x01#\x00x",
            b"\x82\x02\x00\x01",
            b"\x80\x06\x00\x01\x00\x01t\x00",
            b"\x20\x02\x00\x00",
            b"\x00\x00",
            b"\x30\xff\xff\xff\x7f",
        ] {
            let (mut client, _) = Client::connect(gateway.port, connect(version, "hostile"));
            client.send_bytes(bytes);
            let said = client.until_closed();
            assert!(said.len() <= usize::from(version == Version::V5), "{bytes:x?}: {said:?}");
            let mut first = Client::dial(gateway.port, version);
            first.send_bytes(bytes);
            assert_eq!(first.until_closed(), [], "{bytes:x?}");
        }
        bystander.publish(QOS1, 1, "t", "still here");
    }
}

#[test]
fn half_a_packet_and_a_vanished_peer_leave_the_broker_alone() {
    let gateway = Gateway::start();
    for cut_at in 1..15 {
        let mut stream = TcpStream::connect(("127.0.0.1", gateway.port)).expect("a connection");
        let connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";
        stream.write_all(&connect[..cut_at]).expect("bytes leave");
    }
    let (mut client, _) = Client::connect(gateway.port, connect(Version::V311, "a"));
    client.publish(QOS1, 1, "t", "x");
}

//! Another reader of what we write, and no library: tshark finds nothing wrong in any packet the codec writes.

use bytes::{Bytes, BytesMut};
use fieldpost::mqtt::{Packet, encode};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use crate::arbitrary::packet;
use crate::notation::{ALL, wire};
use crate::pcap::{From, Pcap, dissect};

/// Packets drawn for each version.
const DRAWN: usize = 2_000;
/// Packets behind one CONNECT, by whose version tshark goes.
const IN_A_CONVERSATION: usize = 12;

fn has_null(data: Option<&Bytes>) -> bool {
    data.is_some_and(|data| data.contains(&0))
}

/// What tshark 4.0 has a note on though it is right: it takes binary data for text that a null byte ends, and an alias
/// that was drawn stands for nothing.
#[allow(clippy::wildcard_enum_match_arm, reason = "the others have no binary data")]
fn is_misread(packet: &Packet) -> bool {
    match packet {
        Packet::Connect(connect) => {
            let will = connect.will.as_ref();
            has_null(connect.password.as_ref())
                || has_null(connect.properties.authentication_data.as_ref())
                || has_null(will.map(|will| &will.payload))
                || has_null(will.and_then(|will| will.properties.correlation_data.as_ref()))
        }
        Packet::ConnAck(connack) => has_null(connack.properties.authentication_data.as_ref()),
        Packet::Auth(auth) => has_null(auth.data.as_ref()),
        Packet::Publish(publish) => {
            let properties = publish.properties.as_ref();
            publish.topic.is_none()
                || has_null(properties.and_then(|some| some.correlation_data.as_ref()))
        }
        _ => false,
    }
}

#[test]
fn tshark_finds_nothing_wrong_in_any_packet_that_is_written() {
    let mut runner = TestRunner::default();
    let (mut pcap, mut types) = (Pcap::default(), Vec::new());
    for &version in ALL {
        let strategy = packet(version);
        let mut draw = || strategy.new_tree(&mut runner).expect("a packet").current();
        let (connects, others): (Vec<Packet>, Vec<Packet>) = std::iter::repeat_with(&mut draw)
            .filter(|packet| !is_misread(packet))
            .take(DRAWN)
            .partition(|packet| matches!(packet, Packet::Connect(_)));
        assert!(connects.len() > DRAWN / 50, "{} CONNECTs", connects.len());
        for (connect, others) in connects.iter().cycle().zip(others.chunks(IN_A_CONVERSATION)) {
            let mut chunks = Vec::new();
            for packet in std::iter::once(connect).chain(others) {
                let mut bytes = BytesMut::new();
                encode(packet, version, &mut bytes).expect("a packet that can be said");
                types.push(bytes[0] >> 4);
                let from = if packet.sent_by_client() { From::Client } else { From::Server };
                chunks.push((from, bytes));
            }
            pcap.add(chunks.iter().map(|(from, bytes)| (*from, &bytes[..])));
        }
    }
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("codec.pcap");
    pcap.write(&path);
    let dissected = dissect(std::process::Command::new("tshark"), &path);
    assert!(dissected.complaints.is_empty(), "{:#?}", dissected.complaints);
    assert_eq!(dissected.types, types);
}

/// The test above would notice.
#[test]
fn tshark_complains_of_what_is_malformed() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("malformed.pcap");
    for (at, text) in
        ["30 [ 0005 =abc ]", "82 [ 0001 () 0009 =a ]", "20 [ 00 00 ( 1f 0009 =abc ) ]"]
            .into_iter()
            .enumerate()
    {
        let mut pcap = Pcap::default();
        let connect = wire("10 [ 'MQTT' 05 02 0000 () 'c' ]");
        let from = if at == 2 { From::Server } else { From::Client };
        pcap.add([(From::Client, &connect[..]), (from, &wire(text)[..])]);
        pcap.write(&path);
        let dissected = dissect(std::process::Command::new("tshark"), &path);
        assert!(!dissected.complaints.is_empty(), "{text}: {dissected:?}");
    }
}

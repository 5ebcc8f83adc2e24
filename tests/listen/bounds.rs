//! What happens at each bound before MQTT begins.

use crate::stage::{Broker, CONNECT_V5, CONNECT_V311, Line};
use crate::support::wait_until;

const LISTENER: &str = "  listeners: [ { tcp: 127.0.0.1:0, anonymous: true } ]\n";

/// The reason of a CONNACK that refuses; nothing follows it.
#[track_caller]
fn refused(line: &mut Line, connect: &[u8]) -> u8 {
    line.send(connect);
    let said = line.until_closed();
    assert_eq!(said.first(), Some(&0x20), "{said:x?}");
    said[3]
}

#[test]
fn who_says_no_connect_in_time_is_closed() {
    let mut broker = Broker::run(&format!("{LISTENER}  limits: {{ connect_timeout: 1s }}\n"));
    let mut silent = broker.dial(0);
    assert_eq!(silent.until_closed(), b"");
    let mut half = broker.dial(0);
    half.send(&CONNECT_V311[..8]);
    assert_eq!(half.until_closed(), b"");
    broker.wait_for_log("no CONNECT came in time");
    let mut quick = broker.dial(0);
    assert!(quick.is_let_in(CONNECT_V311));
    broker.stop();
}

#[test]
fn the_time_for_connect_holds_for_websocket_and_tls_together() {
    let dir = tempfile::tempdir().expect("a directory");
    let (cert, key) = crate::pki::Authority::new().server().write(dir.path(), "broker");
    let mut broker = Broker::run(&format!(
        "  listeners:\n    - {{ ws: 127.0.0.1:0, anonymous: true }}\n    \
         - {{ wss: 127.0.0.1:0, certificate: {}, key: {}, anonymous: true }}\n  \
         limits: {{ connect_timeout: 1s }}\n",
        cert.display(),
        key.display()
    ));
    for (index, begin) in [(0, &b"GET / HTTP/1.1\r\n"[..]), (1, b"\x16\x03\x01\x02\x00\x01")] {
        let mut slow = broker.dial(index);
        slow.send(begin);
        assert_eq!(slow.until_closed(), b"");
    }
    broker.wait_for_log("no CONNECT came in time");
    broker.stop();
}

#[test]
fn one_client_more_than_may_is_refused_until_one_leaves() {
    for bound in ["limits: { connections: 1 }", "limits: { connections: 100 }"] {
        let listener = if bound.contains("100") { ", max_connections: 1" } else { "" };
        let mut broker = Broker::run(&format!(
            "  listeners: [ {{ tcp: 127.0.0.1:0, anonymous: true{listener} }} ]\n  {bound}\n"
        ));
        let mut first = broker.dial(0);
        assert!(first.is_let_in(CONNECT_V5));
        assert_eq!(refused(&mut broker.dial(0), CONNECT_V311), 3, "server unavailable");
        let other = [&CONNECT_V5[..CONNECT_V5.len() - 1], b"c"].concat();
        assert_eq!(refused(&mut broker.dial(0), &other), 0x97, "quota exceeded");
        broker.wait_for_log("as many clients as may");
        drop(first);
        wait_until("there is room again", || broker.dial(0).is_let_in(CONNECT_V311));
        broker.stop();
    }
}

#[test]
fn a_client_that_takes_over_its_own_connection_needs_no_second_place() {
    for bound in ["limits: { connections: 1 }", "limits: { connections: 100 }"] {
        let listener = if bound.contains("100") { ", max_connections: 1" } else { "" };
        let mut broker = Broker::run(&format!(
            "  listeners: [ {{ tcp: 127.0.0.1:0, anonymous: true{listener} }} ]\n  {bound}\n"
        ));
        let mut lines = vec![broker.dial(0)];
        assert!(lines[0].is_let_in(CONNECT_V5));
        for _ in 0..20 {
            let mut again = broker.dial(0);
            assert!(again.is_let_in(CONNECT_V5), "{bound}");
            let said = lines.remove(0).until_closed();
            assert_eq!((said[0], said[2]), (0xE0, 0x8E), "session taken over");
            lines.push(again);
        }
        assert_eq!(refused(&mut broker.dial(0), CONNECT_V311), 3, "another one is refused");
        broker.wait_for_log("as many clients as may");
        broker.stop();
    }
}

#[test]
fn a_connect_that_is_larger_than_any_of_use_is_refused_before_it_is_read() {
    let broker = Broker::run(LISTENER);
    let mut line = broker.dial(0);
    // 200,000 bytes are announced, which a PUBLISH may have.
    line.send(b"\x10\xc0\x9a\x0c\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01b");
    let said = line.until_closed();
    assert_eq!((said[0], said[3]), (0x20, 0x95), "{said:x?}");
    let mut line = broker.dial(0);
    assert!(line.is_let_in(CONNECT_V5));
    let head = b"\x30\xc0\x9a\x0c\x00\x01t\x00";
    line.send(&[&head[..], &vec![b'x'; 200_000 - 4], b"\xc0\x00"].concat());
    assert_eq!(line.receive(2), b"\xd0\x00", "PINGRESP");
    broker.stop();
}

#[test]
fn an_address_that_comes_too_often_is_refused() {
    let mut broker = Broker::run(&format!("{LISTENER}  limits: {{ connection_rate: 1 }}\n"));
    let mut refusals = Vec::new();
    wait_until("it is refused in both versions", || {
        for connect in [CONNECT_V311, CONNECT_V5] {
            let mut line = broker.dial(0);
            line.send(connect);
            let head = line.receive(2);
            let ack = line.receive(head[1].into());
            if ack[1] != 0 && !refusals.contains(&ack[1]) {
                refusals.push(ack[1]);
            }
        }
        refusals.len() == 2
    });
    refusals.sort_unstable();
    assert_eq!(refusals, [3, 0x9F], "server unavailable, connection rate exceeded");
    broker.wait_for_log("address connects too often");
    broker.stop();
}

#[test]
fn the_longest_silent_connection_makes_room_for_the_next() {
    for bound in ["half_open: 2", "half_open_per_address: 2"] {
        let mut broker = Broker::run(&format!("{LISTENER}  limits: {{ {bound} }}\n"));
        let (mut first, mut second) = (broker.dial(0), broker.dial(0));
        let mut third = broker.dial(0);
        assert_eq!(first.until_closed(), b"", "{bound}");
        broker.wait_for_log("the longest waiting one ended");
        assert!(second.is_let_in(CONNECT_V311) && third.is_let_in(CONNECT_V5));
        let (_fourth, _fifth) = (broker.dial(0), broker.dial(0));
        second.send(b"\xc0\x00");
        assert_eq!(second.receive(2), b"\xd0\x00", "who is in stays");
        broker.stop();
    }
}

#[test]
fn a_packet_larger_than_announced_ends_the_connection() {
    let broker = Broker::run(&format!("{LISTENER}  limits: {{ packet_size: 2KiB }}\n"));
    let mut line = broker.dial(0);
    line.send(CONNECT_V5);
    let head = line.receive(2);
    let ack = line.receive(head[1].into());
    let announced = [0x27, 0x00, 0x00, 0x08, 0x00];
    assert!(ack.windows(5).any(|bytes| bytes == announced), "maximum packet size: {ack:x?}");
    // PUBLISH of 3,000 bytes: DISCONNECT with packet too large.
    line.send(b"\x30\xb8\x17");
    let said = line.until_closed();
    assert_eq!((said[0], said[2]), (0xE0, 0x95), "{said:x?}");
    broker.stop();
}

#[test]
fn a_client_id_begins_as_its_listener_wants_it() {
    let mut broker = Broker::run(
        "  listeners: [ { tcp: 127.0.0.1:0, anonymous: true, client_id_prefix: a } ]\n",
    );
    assert!(broker.dial(0).is_let_in(CONNECT_V311));
    assert_eq!(refused(&mut broker.dial(0), CONNECT_V5), 0x85, "client id not valid");
    broker.wait_for_log("its client id must begin with `a`");
    broker.stop();
}

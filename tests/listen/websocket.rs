//! WebSocket, frame by frame.

use crate::stage::{Broker, CONNECT_V311, Line};

const BINARY: u8 = 0x82;
const CONTINUED: u8 = 0x00;

/// Asks for a WebSocket with further header lines; gives the status.
#[track_caller]
fn ask(line: &mut Line, lines: &str) -> String {
    line.send(
        format!(
            "GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n",
            line.0.peer_addr().expect("a peer").port()
        )
        .as_bytes(),
    );
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(line.receive(1));
    }
    String::from_utf8(head).expect("text")
}

#[track_caller]
fn dial(broker: &Broker) -> Line {
    let mut line = broker.dial(0);
    let head = ask(&mut line, "Sec-WebSocket-Protocol: mqtt\r\n");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    line
}

/// A frame of up to 125 bytes from a client, under a mask.
fn frame(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let masked = bytes.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    let length = 0x80 | u8::try_from(bytes.len()).expect("short");
    [kind, length].into_iter().chain(mask).chain(masked).collect()
}

/// The next frame from the broker, which has no mask.
#[track_caller]
fn receive(line: &mut Line) -> (u8, Vec<u8>) {
    let head = line.receive(2);
    assert!(head[1] < 126, "a short frame without a mask: {head:x?}");
    (head[0], line.receive(head[1].into()))
}

#[test]
fn packets_span_frames_and_frames_hold_several_packets() {
    let broker = Broker::start(&["--anonymous", "--ws", "0"]);
    let mut line = dial(&broker);
    // In three frames, the last two of one message.
    line.send(&frame(BINARY, &CONNECT_V311[..3]));
    line.send(&frame(BINARY & 0x7F, &CONNECT_V311[3..9]));
    line.send(&frame(0x89, b"are you there"));
    line.send(&frame(CONTINUED | 0x80, &CONNECT_V311[9..]));
    assert_eq!(
        receive(&mut line),
        (0x8A, b"are you there".to_vec()),
        "a pong between the fragments"
    );
    assert_eq!(receive(&mut line), (BINARY, b"\x20\x02\x00\x00".to_vec()));
    line.send(&frame(BINARY, b"\xc0\x00\xc0\x00\xc0"));
    line.send(&frame(BINARY, b"\x00"));
    let mut pongs = Vec::new();
    while pongs.len() < 6 {
        let (kind, bytes) = receive(&mut line);
        assert_eq!(kind, BINARY);
        pongs.extend(bytes);
    }
    assert_eq!(pongs, b"\xd0\x00\xd0\x00\xd0\x00");
    line.send(&frame(BINARY, b"\xe0\x00"));
    line.send(&frame(0x88, &1000u16.to_be_bytes()));
    line.until_closed();
    let log = broker.stop();
    assert!(log.contains("client said DISCONNECT"), "{log}");
}

#[test]
fn what_is_not_a_binary_frame_of_a_client_ends_the_connection() {
    let broker = Broker::start(&["--anonymous", "--ws", "0"]);
    for bytes in
        [frame(0x81, CONNECT_V311), b"\x82\x01\x10".to_vec(), frame(0x83, b"x"), frame(0xC2, b"x")]
    {
        let mut line = dial(&broker);
        line.send(&bytes);
        line.until_closed();
    }
    let mut line = dial(&broker);
    line.send(&frame(BINARY, CONNECT_V311));
    assert_eq!(receive(&mut line).0, BINARY, "the broker is none the worse");
    broker.stop();
}

#[test]
fn a_frame_beyond_all_bounds_is_not_waited_for() {
    let broker = Broker::start(&["--anonymous", "--ws", "0"]);
    let mut line = dial(&broker);
    line.send(&frame(BINARY, CONNECT_V311));
    receive(&mut line);
    line.send(b"\x82\xff\x00\x00\x00\x10\x00\x00\x00\x00\x01\x02\x03\x04");
    line.until_closed();
    broker.stop();
}

#[test]
fn a_page_from_elsewhere_cannot_use_the_broker_of_this_machine() {
    let mut broker = Broker::start(&["--anonymous", "--ws", "0"]);
    let from = |origin: &str| {
        let lines = format!("Sec-WebSocket-Protocol: mqtt\r\nOrigin: {origin}\r\n");
        ask(&mut broker.dial(0), &lines)[..12].to_owned()
    };
    assert_eq!(from("https://evil.example"), "HTTP/1.1 403");
    assert_eq!(from("null"), "HTTP/1.1 403");
    assert_eq!(from("http://127.0.0.1:8080"), "HTTP/1.1 101");
    assert_eq!(from("http://localhost"), "HTTP/1.1 101");
    broker.wait_for_log("pages of `https://evil.example` are not among the listener's `origins`");
    broker.stop();
}

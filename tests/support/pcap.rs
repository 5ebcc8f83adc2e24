//! shell: writes conversations over TCP into a capture file, and has tshark read it.
#![allow(
    unreachable_pub,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests touch the machine, and a failure here fails the test"
)]

use std::path::Path;
use std::process::Command;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Client,
    Server,
}

/// The port of the servers in a capture.
pub const PORT: u16 = 1883;
/// Packets of IP, without a link below.
const LINK_RAW: u32 = 101;
/// The most one segment carries.
const SEGMENT_MAX: usize = 60_000;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const PUSH: u8 = 0x08;

/// A capture in the format of libpcap.
#[derive(Debug)]
pub struct Pcap {
    bytes: Vec<u8>,
    /// Client ports, one for each conversation.
    next_port: u16,
    micros: u32,
}

/// Both ends of one conversation: how far each has come.
struct Ends {
    port: u16,
    client: u32,
    server: u32,
}

impl Default for Pcap {
    fn default() -> Self {
        let mut bytes = Vec::new();
        for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, LINK_RAW] {
            bytes.extend(word.to_le_bytes());
        }
        Self { bytes, next_port: 20_000, micros: 0 }
    }
}

impl Pcap {
    /// Adds a conversation. Its end is left out: tshark has a note for each.
    pub fn add<'a>(&mut self, chunks: impl IntoIterator<Item = (From, &'a [u8])>) {
        let mut ends = Ends { port: self.next_port, client: 1000, server: 2000 };
        self.next_port += 1;
        self.segment(&mut ends, From::Client, SYN, &[]);
        self.segment(&mut ends, From::Server, SYN | ACK, &[]);
        self.segment(&mut ends, From::Client, ACK, &[]);
        for (from, chunk) in chunks {
            for part in chunk.chunks(SEGMENT_MAX) {
                self.segment(&mut ends, from, PUSH | ACK, part);
            }
        }
    }

    fn segment(&mut self, ends: &mut Ends, from: From, flags: u8, payload: &[u8]) {
        let is_client = from == From::Client;
        let (client, server) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        let (source, target) = if is_client { (client, server) } else { (server, client) };
        let (near, far) = if is_client { (ends.port, PORT) } else { (PORT, ends.port) };
        let (mine, theirs) = if is_client {
            (&mut ends.client, &ends.server)
        } else {
            (&mut ends.server, &ends.client)
        };
        let length = 40 + payload.len();
        let mut packet = vec![0x45, 0];
        packet.extend(u16::try_from(length).expect("a segment").to_be_bytes());
        packet.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        packet.extend(source);
        packet.extend(target);
        packet.extend(near.to_be_bytes());
        packet.extend(far.to_be_bytes());
        packet.extend(mine.to_be_bytes());
        let acknowledged = if flags & ACK == 0 { 0 } else { *theirs };
        packet.extend(acknowledged.to_be_bytes());
        packet.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        packet.extend(payload);
        let begins = u32::from(flags & SYN != 0);
        *mine = mine.wrapping_add(u32::try_from(payload.len()).expect("a segment") + begins);

        self.micros += 1;
        let length = u32::try_from(length).expect("a segment");
        for word in [1_700_000_000, self.micros, length, length] {
            self.bytes.extend(word.to_le_bytes());
        }
        self.bytes.extend(packet);
    }

    /// Writes the file.
    pub fn write(&self, path: &Path) {
        std::fs::write(path, &self.bytes).expect("the capture is written");
    }
}

/// What tshark says of a capture.
#[derive(Debug)]
pub struct Dissected {
    /// The type of each MQTT packet, 1 to 15, in the order of the capture.
    pub types: Vec<u8>,
    /// Whatever it finds wrong or worth a note, in MQTT, TCP or IP.
    pub complaints: Vec<String>,
}

/// Has `tshark` read the capture.
pub fn dissect(mut tshark: Command, path: &Path) -> Dissected {
    let done = tshark
        .arg("-r")
        .arg(path)
        .args(["-d", &format!("tcp.port=={PORT},mqtt"), "-T", "fields"])
        .args(["-E", "separator=|", "-E", "aggregator=,"])
        .args(["-e", "frame.number", "-e", "mqtt.msgtype", "-e", "_ws.malformed"])
        .args(["-e", "_ws.expert.severity", "-e", "_ws.expert.message"])
        .output()
        .expect("tshark runs");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "tshark: {}", String::from_utf8_lossy(&done.stderr));
    let mut dissected = Dissected { types: Vec::new(), complaints: Vec::new() };
    for line in said.lines() {
        let cells: Vec<&str> = line.splitn(5, '|').collect();
        let [_, types, malformed, severity, _] = cells[..] else { panic!("five fields: {line}") };
        let types = types.split(',').filter(|kind| !kind.is_empty());
        dissected.types.extend(types.map(|kind| kind.parse::<u8>().expect("a packet type")));
        // The beginning of a connection is told as chat.
        let is_worse = severity.split(',').any(|level| !["", "2097152"].contains(&level));
        if is_worse || !malformed.is_empty() {
            dissected.complaints.push(line.to_owned());
        }
    }
    dissected
}

//! core: what passed on a bus as a capture file in the format pcapng (draft-ietf-opsawg-pcapng), for Wireshark.
//!
//! Modbus TCP and UDP become packets of IP between two documentation addresses on port 502. Frames of serial lines have no
//! network below them: they are written as PDUs exported by Wireshark, each with the name of the dissector that reads it.

use crate::control::{FrameKind, FrameReport};
use crate::field::watch::traffic::Framing;

/// Packets of IP without a link below (LINKTYPE_RAW).
const LINK_RAW: u16 = 101;
/// PDUs exported by Wireshark, tagged with what they are (LINKTYPE_WIRESHARK_UPPER_PDU).
const LINK_UPPER_PDU: u16 = 252;
/// Tag: the name of the dissector (`wsutil/exported_pdu_tlvs.h`).
const TAG_DISSECTOR: u16 = 12;
/// The registered port of Modbus TCP.
const PORT: u16 = 502;
/// The gateway and the device in a capture (RFC 5737).
const ADDRESSES: ([u8; 4], [u8; 4]) = ([192, 0, 2, 1], [192, 0, 2, 2]);
/// The first port of the gateway; each connection takes the next.
const OWN_PORT_FIRST: u16 = 50_000;

/// The most comments one packet gets.
const COMMENTS_MAX: usize = 8;

/// A capture that grows.
#[derive(Debug)]
pub(super) struct Capture {
    framing: Framing,
    bytes: Vec<u8>,
    /// The last packet: notes may follow that belong to it.
    open: Option<Packet>,
    /// The gateway's port of this connection.
    own_port: u16,
    /// How many bytes each side has sent on it.
    sent: u32,
    received: u32,
}

#[derive(Debug)]
struct Packet {
    wall_us: u64,
    is_sent: bool,
    data: Vec<u8>,
    comments: Vec<String>,
}

impl Capture {
    /// A capture of one bus.
    pub(super) fn new(framing: Framing, bus: &str) -> Self {
        let link = match framing {
            Framing::Tcp | Framing::Udp => LINK_RAW,
            Framing::Rtu | Framing::Ascii | Framing::Plain => LINK_UPPER_PDU,
        };
        let mut bytes = Vec::new();
        let program = concat!("fieldpost ", env!("CARGO_PKG_VERSION"));
        // Byte order magic, version 1.0, a section of unknown length.
        let mut section = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
        section.extend([1, 0, 0, 0]);
        section.extend((-1_i64).to_le_bytes());
        section.extend(options(&[(4, program.as_bytes())]));
        block(&mut bytes, 0x0a0d_0d0a, &section);
        let mut interface = link.to_le_bytes().to_vec();
        interface.extend([0; 6]);
        // Its name, and times in microseconds.
        interface.extend(options(&[(2, bus.as_bytes()), (9, &[6])]));
        block(&mut bytes, 1, &interface);
        Self { framing, bytes, open: None, own_port: OWN_PORT_FIRST, sent: 1, received: 1 }
    }

    /// Adds an entry; `None` if its bytes are not well written.
    pub(super) fn add(&mut self, entry: &FrameReport) -> Option<()> {
        let is_sent = match entry.kind {
            FrameKind::Sent => true,
            FrameKind::Received => false,
            FrameKind::Opened => {
                self.own_port = self.own_port.checked_add(1).unwrap_or(OWN_PORT_FIRST);
                (self.sent, self.received) = (1, 1);
                return Some(());
            }
            FrameKind::Note | FrameKind::Lost => {
                let comments = self.open.as_mut().map(|open| &mut open.comments);
                if let Some(comments) = comments.filter(|it| it.len() < COMMENTS_MAX) {
                    comments.push(entry.words.clone());
                }
                return Some(());
            }
        };
        let bytes = entry.bytes()?;
        let data = match self.framing {
            Framing::Tcp => self.segment(is_sent, &bytes),
            Framing::Udp => self.datagram(is_sent, &bytes),
            Framing::Rtu if entry.sound == Some(false) && !entry.words.starts_with("CRC") => {
                exported("data", &bytes)
            }
            Framing::Rtu => exported("mbrtu", &bytes),
            Framing::Ascii | Framing::Plain => exported("data-text-lines", &bytes),
        };
        let words = &entry.words;
        let comments = if words.is_empty() { Vec::new() } else { vec![words.clone()] };
        self.close();
        self.open = Some(Packet { wall_us: entry.wall_us, is_sent, data, comments });
        Some(())
    }

    /// What is to be written next.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.close();
        std::mem::take(&mut self.bytes)
    }

    fn close(&mut self) {
        let Some(Packet { wall_us, is_sent, data, comments }) = self.open.take() else { return };
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes();
        let [a, b, c, d, e, f, g, h] = wall_us.to_le_bytes();
        let mut packet = vec![0, 0, 0, 0, e, f, g, h, a, b, c, d];
        packet.extend([len, len].concat());
        packet.extend(&data);
        pad(&mut packet);
        // Which way it went: out of here or in.
        let flags = u32::from(is_sent) + 1;
        let flags = flags.to_le_bytes();
        let mut told: Vec<(u16, &[u8])> = vec![(2, &flags)];
        told.extend(comments.iter().map(|words| (1, words.as_bytes())));
        packet.extend(options(&told));
        block(&mut self.bytes, 6, &packet);
    }

    /// A segment of TCP in a packet of IP (RFC 9293 section 3.1).
    fn segment(&mut self, is_sent: bool, payload: &[u8]) -> Vec<u8> {
        let (mine, theirs) =
            if is_sent { (&mut self.sent, self.received) } else { (&mut self.received, self.sent) };
        let (near, far) = if is_sent { (self.own_port, PORT) } else { (PORT, self.own_port) };
        let mut segment = [near.to_be_bytes(), far.to_be_bytes()].concat();
        segment.extend(mine.to_be_bytes());
        segment.extend(theirs.to_be_bytes());
        // Five words of header, PSH and ACK, a wide window; checksum and urgent pointer.
        segment.extend([0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend(payload);
        *mine = mine.wrapping_add(u32::try_from(payload.len()).unwrap_or(u32::MAX));
        packet(is_sent, 6, 16, segment)
    }

    /// A datagram of UDP in a packet of IP (RFC 768).
    fn datagram(&self, is_sent: bool, payload: &[u8]) -> Vec<u8> {
        let (near, far) = if is_sent { (self.own_port, PORT) } else { (PORT, self.own_port) };
        let len = u16::try_from(payload.len() + 8).unwrap_or(u16::MAX);
        let mut datagram = [near, far, len, 0].map(u16::to_be_bytes).concat();
        datagram.extend(payload);
        packet(is_sent, 17, 6, datagram)
    }
}

/// A packet of IP (RFC 791 section 3.1) around a segment or datagram with its checksum at `checksum_at`.
fn packet(is_sent: bool, protocol: u8, checksum_at: usize, mut content: Vec<u8>) -> Vec<u8> {
    let (here, there) = ADDRESSES;
    let (source, target) = if is_sent { (here, there) } else { (there, here) };
    let len = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    let pseudo = [source.as_slice(), &target, &[0, protocol], &len, &content].concat();
    put(&mut content, checksum_at, checksum(&pseudo));
    let len = u16::try_from(content.len() + 20).unwrap_or(u16::MAX).to_be_bytes();
    let mut packet = vec![0x45, 0, len[0], len[1], 0, 0, 0x40, 0, 64, protocol, 0, 0];
    packet.extend([source, target].concat());
    let header = checksum(&packet);
    put(&mut packet, 10, header);
    packet.extend(content);
    packet
}

/// The checksum of the internet (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| {
        let (high, low) = (pair.first().copied(), pair.get(1).copied());
        u32::from(u16::from_be_bytes([high.unwrap_or(0), low.unwrap_or(0)]))
    };
    let sum: u32 = bytes.chunks(2).map(word).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded).unwrap_or(u16::MAX)
}

fn put(bytes: &mut [u8], at: usize, checksum: u16) {
    for (place, byte) in bytes.iter_mut().skip(at).zip(checksum.to_be_bytes()) {
        *place = byte;
    }
}

/// A PDU with the name of its dissector before it.
fn exported(dissector: &str, pdu: &[u8]) -> Vec<u8> {
    let mut name = dissector.as_bytes().to_vec();
    pad(&mut name);
    let len = u16::try_from(name.len()).unwrap_or(u16::MAX);
    let mut exported = [TAG_DISSECTOR.to_be_bytes(), len.to_be_bytes()].concat();
    exported.extend(name);
    exported.extend([0; 4]);
    exported.extend(pdu);
    exported
}

fn options(options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (code, value) in options {
        bytes.extend(code.to_le_bytes());
        bytes.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
        bytes.extend(*value);
        pad(&mut bytes);
    }
    bytes.extend([0; 4]);
    bytes
}

fn block(bytes: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let len = u32::try_from(body.len() + 12).unwrap_or(u32::MAX).to_le_bytes();
    bytes.extend(kind.to_le_bytes());
    bytes.extend(len);
    bytes.extend(body);
    bytes.extend(len);
}

/// Everything begins at a multiple of four.
fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_rfc() {
        // RFC 1071 section 3: the sum of these is 0xddf2.
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }

    #[test]
    fn every_block_has_its_length_at_both_ends_and_notes_stand_at_their_packet() {
        for framing in [Framing::Rtu, Framing::Ascii, Framing::Tcp, Framing::Udp, Framing::Plain] {
            let mut capture = Capture::new(framing, "rs485");
            let entry = |kind, hex: &str, words: &str| FrameReport {
                number: 1,
                wall_us: 1_795_230_600_123_456,
                mono_us: 1,
                kind,
                hex: hex.to_owned(),
                words: words.to_owned(),
                sound: None,
            };
            let wrong = entry(FrameKind::Sent, "0", "");
            assert_eq!(capture.add(&wrong), None);
            for entry in [
                entry(FrameKind::Note, "", "before anything passed"),
                entry(FrameKind::Opened, "", "opened"),
                entry(FrameKind::Sent, "030300640001c5f7", "unit 3 read holding 100+1"),
                entry(FrameKind::Note, "", "no answer"),
                entry(FrameKind::Received, "03", ""),
            ] {
                assert_eq!(capture.add(&entry), Some(()));
            }
            let bytes = capture.take();
            let (mut rest, mut kinds) = (bytes.as_slice(), Vec::new());
            while let [a, b, c, d, e, f, g, h, ..] = *rest {
                let len = usize::try_from(u32::from_le_bytes([e, f, g, h])).expect("small");
                assert_eq!(len % 4, 0);
                assert_eq!(rest[len - 4..len], rest[4..8]);
                kinds.push(u32::from_le_bytes([a, b, c, d]));
                rest = &rest[len..];
            }
            assert_eq!(kinds, [0x0a0d_0d0a, 1, 6, 6], "{framing:?}");
            assert!(bytes.windows(9).any(|window| window == b"no answer"));
        }
    }
}

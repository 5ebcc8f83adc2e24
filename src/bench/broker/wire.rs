//! core: MQTT 3.1.1 as a load speaks it: bytes that are copied, patched and counted, no model of packets, so that the load
//! costs less than any broker under it.

/// The packet types a load tells apart, with their number on the wire (2.2.1).
pub(super) const CONNACK: u8 = 2;
pub(super) const PUBLISH: u8 = 3;
pub(super) const PUBACK: u8 = 4;
pub(super) const PUBREC: u8 = 5;
pub(super) const PUBREL: u8 = 6;
pub(super) const PUBCOMP: u8 = 7;
pub(super) const SUBACK: u8 = 9;

/// One packet as it came: its first byte, and everything behind the fixed header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    first: u8,
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Takes one packet off the front of `bytes`; `None` means more must arrive first.
    pub(super) fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let (&first, mut rest) = bytes.split_first()?;
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let (&byte, after) = rest.split_first()?;
            rest = after;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let (body, after) = rest.split_at_checked(length)?;
        *bytes = after;
        Some(Self { first, body })
    }

    /// The packet's type.
    pub(super) fn kind(&self) -> u8 {
        self.first >> 4
    }

    /// The QoS of a PUBLISH.
    pub(super) fn qos(&self) -> u8 {
        self.first >> 1 & 3
    }

    /// The packet id of an acknowledgement.
    pub(super) fn packet_id(&self) -> u16 {
        two(self.body)
    }

    /// Topic, packet id (0 at QoS 0) and payload of a PUBLISH.
    pub(super) fn publish(&self) -> (&'a [u8], u16, &'a [u8]) {
        let after = self.body.get(2..).unwrap_or_default();
        let topic_end = usize::from(two(self.body)).min(after.len());
        let (topic, rest) = after.split_at(topic_end);
        if self.qos() == 0 {
            return (topic, 0, rest);
        }
        (topic, two(rest), rest.get(2..).unwrap_or_default())
    }
}

fn two(bytes: &[u8]) -> u16 {
    bytes.first_chunk().copied().map_or(0, u16::from_be_bytes)
}

/// CONNECT without keep alive, will and user.
pub(super) fn connect(out: &mut Vec<u8>, client_id: &str, clean: bool) {
    let mut body = b"\0\x04MQTT\x04".to_vec();
    body.extend([if clean { 2 } else { 0 }, 0, 0]);
    text(&mut body, client_id);
    packet(out, 1 << 4, &body);
}

/// SUBSCRIBE to one filter.
pub(super) fn subscribe(out: &mut Vec<u8>, filter: &str, qos: u8) {
    let mut body = vec![0, 1];
    text(&mut body, filter);
    body.push(qos);
    packet(out, 8 << 4 | 2, &body);
}

/// DISCONNECT.
pub(super) fn disconnect(out: &mut Vec<u8>) {
    packet(out, 14 << 4, &[]);
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
pub(super) fn ack(out: &mut Vec<u8>, kind: u8, packet_id: u16) {
    let [high, low] = packet_id.to_be_bytes();
    out.extend([kind << 4 | if kind == PUBREL { 2 } else { 0 }, 2, high, low]);
}

/// A PUBLISH that is sent again and again with another packet id and another beginning of its payload.
#[derive(Debug, Clone)]
pub(super) struct Template {
    bytes: Vec<u8>,
    packet_id_at: Option<usize>,
    payload_at: usize,
}

impl Template {
    /// A PUBLISH with a payload of `length` bytes.
    pub(super) fn new(topic: &str, qos: u8, retain: bool, length: usize) -> Self {
        let mut body = Vec::new();
        text(&mut body, topic);
        let id_at = body.len();
        body.extend((qos > 0).then_some([0, 0]).into_iter().flatten());
        let payload_at = body.len();
        body.resize(payload_at + length, b'x');
        let mut bytes = Vec::new();
        packet(&mut bytes, PUBLISH << 4 | qos << 1 | u8::from(retain), &body);
        let head = bytes.len() - body.len();
        let packet_id_at = (qos > 0).then_some(head + id_at);
        Self { bytes, packet_id_at, payload_at: head + payload_at }
    }

    /// Writes it with this packet id, which does not matter at QoS 0, and this beginning of its payload.
    pub(super) fn write(&self, out: &mut Vec<u8>, packet_id: u16, begin: &[u8]) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let mut put = |at: usize, bytes: &[u8]| {
            if let Some(place) = out.get_mut(start + at..start + at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        };
        if let Some(at) = self.packet_id_at {
            put(at, &packet_id.to_be_bytes());
        }
        put(self.payload_at, begin);
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend(length.to_be_bytes());
    out.extend(text.as_bytes());
}

fn packet(out: &mut Vec<u8>, first: u8, body: &[u8]) {
    out.push(first);
    let mut length = body.len();
    while length > 0x7f {
        out.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap_or(0));
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::mqtt::{DecodeOptions, Packet, PacketId, Version, decode};

    fn decoded(bytes: &[u8]) -> Packet {
        let options = DecodeOptions { version: Version::V311, packet_bytes_max: 1 << 20 };
        let mut bytes = BytesMut::from(bytes);
        let packet = decode(&mut bytes, &options).expect("well formed").expect("whole");
        assert!(bytes.is_empty());
        packet
    }

    #[test]
    fn what_a_load_says_is_mqtt() {
        let mut out = Vec::new();
        connect(&mut out, "me", true);
        assert!(
            matches!(decoded(&out), Packet::Connect(c) if c.clean_start && &*c.client_id == "me")
        );
        out.clear();
        subscribe(&mut out, "a/#", 2);
        assert!(matches!(decoded(&out), Packet::Subscribe(_)));
        for kind in [PUBACK, PUBREC, PUBREL, PUBCOMP] {
            out.clear();
            ack(&mut out, kind, 7);
            assert_eq!(decoded(&out).name().len() > 5, kind != 0);
        }
        out.clear();
        disconnect(&mut out);
        assert!(matches!(decoded(&out), Packet::Disconnect(_)));
    }

    #[test]
    fn a_template_carries_packet_id_and_payload_to_the_other_side() {
        let mut out = Vec::new();
        let template = Template::new("a/b", 1, true, 4096);
        template.write(&mut out, 0x1234, b"12345678");
        let Packet::Publish(publish) = decoded(&out) else { panic!("a PUBLISH") };
        assert_eq!(publish.packet_id, PacketId::new(0x1234));
        assert_eq!((publish.payload.len(), &publish.payload[..9]), (4096, &b"12345678x"[..]));
        let mut bytes = &out[..];
        let frame = Frame::take(&mut bytes).expect("whole");
        assert!(bytes.is_empty());
        let (topic, packet_id, payload) = frame.publish();
        assert_eq!(
            (frame.kind(), frame.qos(), topic, packet_id),
            (PUBLISH, 1, &b"a/b"[..], 0x1234)
        );
        assert_eq!(payload, publish.payload);
    }

    #[test]
    fn a_packet_that_is_not_whole_is_left() {
        let mut out = Vec::new();
        Template::new("t", 0, false, 300).write(&mut out, 0, b"");
        for end in 0..out.len() {
            let mut bytes = &out[..end];
            assert_eq!(Frame::take(&mut bytes), None);
            assert_eq!(bytes.len(), end);
        }
    }
}

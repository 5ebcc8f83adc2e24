//! core: any bytes give packets, "more", or an error; the same split anywhere; and what was taken can be said again.

use bytes::BytesMut;
use fieldpost::mqtt::{
    CodecError, DecodeOptions, Packet, Version, connect_version, decode, encode, encoded_len,
};

/// The first byte names the version and the limit, the second where the rest is split.
///
/// # Panics
/// A law does not hold.
pub fn check(input: &[u8]) {
    let [head, split, bytes @ ..] = input else { return };
    let version = [Version::V31, Version::V311, Version::V5][usize::from(head % 3)];
    let packet_bytes_max = if head & 0x80 == 0 { 1 << 20 } else { u32::from(head & 0x7c) + 1 };
    let options = DecodeOptions { version, packet_bytes_max };
    let _ = connect_version(bytes);
    let whole = all(bytes, bytes.len().max(1), &options);
    let parts = all(bytes, usize::from(*split).max(1), &options);
    assert_eq!(whole, parts, "split each {split} bytes");
    for packet in &whole.0 {
        say_again(packet, &options);
    }
}

/// Everything `bytes` hold when they come in parts of this length.
fn all(bytes: &[u8], part: usize, options: &DecodeOptions) -> (Vec<Packet>, Option<CodecError>) {
    let (mut packets, mut buffer) = (Vec::new(), BytesMut::new());
    for part in bytes.chunks(part) {
        buffer.extend_from_slice(part);
        loop {
            let before = buffer.len();
            match decode(&mut buffer, options) {
                Ok(Some(packet)) => {
                    assert!(buffer.len() < before, "a packet of no bytes");
                    packets.push(packet);
                }
                Ok(None) => break,
                Err(error) => {
                    // Whatever is wrong has words and a reason.
                    assert!(!error.to_string().is_empty() && error.reason_code().is_failure());
                    return (packets, Some(error));
                }
            }
        }
    }
    (packets, None)
}

fn say_again(packet: &Packet, options: &DecodeOptions) {
    let version =
        if let Packet::Connect(connect) = packet { connect.version } else { options.version };
    let mut bytes = BytesMut::new();
    encode(packet, version, &mut bytes).expect("what was taken can be said");
    assert_eq!(encoded_len(packet, version), bytes.len());
    let options = DecodeOptions { packet_bytes_max: u32::MAX, version };
    assert_eq!(decode(&mut bytes, &options).as_ref(), Ok(&Some(packet.clone())));
    assert!(bytes.is_empty());
}

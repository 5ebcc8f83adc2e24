//! core: bytes to packets and back: the fixed header (MQTT 5.0 section 2.1) and the way to each packet's own file.

use bytes::{Buf, BytesMut};

use super::error::{CodecError, EncodeError};
use super::packet::{Packet, Version};
use super::read::{self, Reader, VARIABLE_MAX};
use super::write::{Measure, Sink, variable_len};
use super::{ack, connack, connect, disconnect, publish, subscribe};

/// Limits and version for decoding one connection's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeOptions {
    /// The version the connection speaks. CONNECT names its own, whatever stands here.
    pub version: Version,
    /// The largest packet taken, in bytes with its fixed header. Checked as soon as the length is known, before the
    /// rest is waited for.
    pub packet_bytes_max: u32,
}

/// Takes one packet off the front of `bytes`; `None` means more must arrive first.
///
/// What is taken is copied: nobody who keeps a payload keeps the buffer it came in. Wrong type, flags, length and size are
/// told before the rest has come. Which side may send a packet and when is the caller's to check
/// ([`Packet::sent_by_client`]).
///
/// ```
/// use bytes::BytesMut;
/// use fieldpost::mqtt::{DecodeOptions, Packet, Version, decode};
/// let options = DecodeOptions { version: Version::V5, packet_bytes_max: 1024 };
/// let mut bytes = BytesMut::from(&[0xc0, 0x00, 0xd0][..]);
/// assert_eq!(decode(&mut bytes, &options), Ok(Some(Packet::PingReq)));
/// assert_eq!(decode(&mut bytes, &options), Ok(None));
/// ```
///
/// # Errors
/// [`CodecError`] says what the specification forbids in what was seen. `bytes` is then of no further use.
pub fn decode(bytes: &mut BytesMut, options: &DecodeOptions) -> Result<Option<Packet>, CodecError> {
    let mut rest = &bytes[..];
    let packet = decode_front(&mut rest, options)?;
    let taken = bytes.len() - rest.len();
    bytes.advance(taken);
    Ok(packet)
}

/// As [`decode`], of bytes that stay where they are: `bytes` begins behind the packet afterwards.
///
/// # Errors
/// As [`decode`].
pub fn decode_front(
    bytes: &mut &[u8],
    options: &DecodeOptions,
) -> Result<Option<Packet>, CodecError> {
    let Some((&first, after)) = bytes.split_first() else { return Ok(None) };
    let (kind, flags) = fixed_header(first, options.version)?;
    let Some((remaining, length_bytes)) = read::variable(after)? else { return Ok(None) };
    let start = 1 + length_bytes;
    let total = usize::try_from(remaining).unwrap_or(usize::MAX).saturating_add(start);
    if u32::try_from(total).map_or(true, |total| total > options.packet_bytes_max) {
        return Err(CodecError::PacketTooLarge { bytes: total, max: options.packet_bytes_max });
    }
    let Some((packet, rest)) = bytes.split_at_checked(total) else { return Ok(None) };
    let body = packet.get(start..).unwrap_or_default();
    let packet = read_body(kind, flags, Reader::new(kind.name(), options.version, body))?;
    *bytes = rest;
    Ok(Some(packet))
}

/// Writes `packet` to the end of `out` as `version` has it.
///
/// What a version has no field for is left out without a word: before 5.0 that is all properties, the reasons of
/// PUBACK, PUBREC, PUBREL, PUBCOMP and UNSUBACK, and the subscription options beside QoS; a failure in SUBACK becomes
/// 0x80 and reasons of CONNACK become their return code. CONNECT is written in the version it names.
///
/// # Errors
/// [`EncodeError`] names what cannot be said; `out` is then as it was.
pub fn encode(packet: &Packet, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
    check(packet, version)?;
    if let Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) =
        packet
        && ack::is_bare(ack, version)
    {
        // Every other packet is one of these.
        let [high, low] = ack.packet_id.get().to_be_bytes();
        out.raw(&[first_byte(packet), 2, high, low]);
        return Ok(());
    }
    let mut measure = Measure::default();
    write_body(packet, version, &mut measure);
    if let Some(refused) = measure.refused {
        return Err(refused);
    }
    let remaining = measure.bytes;
    if u32::try_from(remaining).map_or(true, |remaining| remaining > VARIABLE_MAX) {
        return Err(EncodeError::PacketTooLarge { bytes: remaining });
    }
    out.reserve(1 + variable_len(remaining) + remaining);
    out.byte(first_byte(packet));
    out.variable(remaining);
    write_body(packet, version, out);
    Ok(())
}

/// The length in bytes of the whole packet as [`encode`] writes it, to hold against the other side's maximum packet
/// size (MQTT 5.0 section 3.1.2.11.4). Of a packet that `encode` refuses it means nothing.
#[must_use]
pub fn encoded_len(packet: &Packet, version: Version) -> usize {
    let mut measure = Measure::default();
    write_body(packet, version, &mut measure);
    1 + variable_len(measure.bytes) + measure.bytes
}

/// The version a CONNECT at the front of `bytes` names, so that a refusal of it can be written as its sender reads it.
/// `None` if it is no CONNECT, its version is none of ours or has not come yet.
#[must_use]
pub fn connect_version(bytes: &[u8]) -> Option<Version> {
    let (&first, after) = bytes.split_first()?;
    let (Kind::Connect, _) = fixed_header(first, Version::V5).ok()? else { return None };
    let (_, length_bytes) = read::variable(after).ok()??;
    let body = after.get(length_bytes..)?;
    let read = connect::read_version(&mut Reader::new("CONNECT", Version::V5, body));
    read.ok().map(|(version, _)| version)
}

/// The packet types (2.1.2) with their number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
    Auth = 15,
}

impl Kind {
    fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    pub(super) fn of(packet: &Packet) -> Self {
        match packet {
            Packet::Connect(_) => Self::Connect,
            Packet::ConnAck(_) => Self::ConnAck,
            Packet::Publish(_) => Self::Publish,
            Packet::PubAck(_) => Self::PubAck,
            Packet::PubRec(_) => Self::PubRec,
            Packet::PubRel(_) => Self::PubRel,
            Packet::PubComp(_) => Self::PubComp,
            Packet::Subscribe(_) => Self::Subscribe,
            Packet::SubAck(_) => Self::SubAck,
            Packet::Unsubscribe(_) => Self::Unsubscribe,
            Packet::UnsubAck(_) => Self::UnsubAck,
            Packet::PingReq => Self::PingReq,
            Packet::PingResp => Self::PingResp,
            Packet::Disconnect(_) => Self::Disconnect,
            Packet::Auth(_) => Self::Auth,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }

    /// The fixed header flags of all packets but PUBLISH (2.1.3).
    fn flags(self) -> u8 {
        match self {
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            Self::Connect
            | Self::ConnAck
            | Self::Publish
            | Self::PubAck
            | Self::PubRec
            | Self::PubComp
            | Self::SubAck
            | Self::UnsubAck
            | Self::PingReq
            | Self::PingResp
            | Self::Disconnect
            | Self::Auth => 0b0000,
        }
    }
}

/// The DUP bit of the fixed header (3.3.1.1).
pub(super) const DUP: u8 = 0b1000;

fn fixed_header(first: u8, version: Version) -> Result<(Kind, u8), CodecError> {
    let (number, flags) = (first >> 4, first & 0x0f);
    let kind = Kind::from_number(number)
        .filter(|&kind| kind != Kind::Auth || version == Version::V5)
        .ok_or(CodecError::PacketType { value: number })?;
    if kind == Kind::Publish {
        publish::check_flags(flags)?;
        return Ok((kind, flags));
    }
    // 3.1 (section 2.1) lets the packets that are sent at QoS 1 be sent again with DUP.
    let expected = kind.flags();
    let repeated = version == Version::V31 && expected != 0 && flags == expected | DUP;
    if flags == expected || repeated {
        Ok((kind, flags))
    } else {
        Err(CodecError::FixedHeaderFlags { packet: kind.name(), flags })
    }
}

fn read_body(kind: Kind, flags: u8, mut reader: Reader<'_>) -> Result<Packet, CodecError> {
    let packet = match kind {
        Kind::Connect => Packet::Connect(Box::new(connect::read(&mut reader)?)),
        Kind::ConnAck => Packet::ConnAck(Box::new(connack::read(&mut reader)?)),
        Kind::Publish => Packet::Publish(publish::read(&mut reader, flags)?),
        Kind::PubAck => Packet::PubAck(ack::read(&mut reader, ack::RECEIVED)?),
        Kind::PubRec => Packet::PubRec(ack::read(&mut reader, ack::RECEIVED)?),
        Kind::PubRel => Packet::PubRel(ack::read(&mut reader, ack::RELEASED)?),
        Kind::PubComp => Packet::PubComp(ack::read(&mut reader, ack::RELEASED)?),
        Kind::Subscribe => Packet::Subscribe(subscribe::read_subscribe(&mut reader)?),
        Kind::SubAck => Packet::SubAck(ack::read_suback(&mut reader)?),
        Kind::Unsubscribe => Packet::Unsubscribe(subscribe::read_unsubscribe(&mut reader)?),
        Kind::UnsubAck => Packet::UnsubAck(ack::read_unsuback(&mut reader)?),
        Kind::PingReq => Packet::PingReq,
        Kind::PingResp => Packet::PingResp,
        Kind::Disconnect => Packet::Disconnect(disconnect::read(&mut reader)?),
        Kind::Auth => Packet::Auth(disconnect::read_auth(&mut reader)?),
    };
    reader.end()?;
    Ok(packet)
}

fn check(packet: &Packet, version: Version) -> Result<(), EncodeError> {
    let name = packet.name();
    match packet {
        Packet::Connect(connect) => connect::check(connect),
        Packet::ConnAck(connack) => connack::check(connack, version),
        Packet::Publish(publish) => publish::check(publish, version),
        Packet::PubAck(ack) | Packet::PubRec(ack) => ack::check(ack, name, ack::RECEIVED),
        Packet::PubRel(ack) | Packet::PubComp(ack) => ack::check(ack, name, ack::RELEASED),
        Packet::Subscribe(subscribe) => subscribe::check_subscribe(subscribe, version),
        Packet::SubAck(suback) => ack::check_suback(suback),
        Packet::Unsubscribe(unsubscribe) => subscribe::check_unsubscribe(unsubscribe, version),
        Packet::UnsubAck(unsuback) => ack::check_unsuback(unsuback, version),
        Packet::PingReq | Packet::PingResp => Ok(()),
        Packet::Disconnect(disconnect) => disconnect::check(disconnect, version),
        Packet::Auth(auth) => disconnect::check_auth(auth, version),
    }
}

fn first_byte(packet: &Packet) -> u8 {
    let kind = Kind::of(packet);
    let flags = match packet {
        Packet::Publish(publish) => publish::flags(publish),
        Packet::Connect(_)
        | Packet::ConnAck(_)
        | Packet::PubAck(_)
        | Packet::PubRec(_)
        | Packet::PubRel(_)
        | Packet::PubComp(_)
        | Packet::Subscribe(_)
        | Packet::SubAck(_)
        | Packet::Unsubscribe(_)
        | Packet::UnsubAck(_)
        | Packet::PingReq
        | Packet::PingResp
        | Packet::Disconnect(_)
        | Packet::Auth(_) => kind.flags(),
    };
    (kind as u8) << 4 | flags
}

fn write_body<S: Sink>(packet: &Packet, version: Version, sink: &mut S) {
    match packet {
        Packet::Connect(connect) => connect::write(connect, sink),
        Packet::ConnAck(connack) => connack::write(connack, version, sink),
        Packet::Publish(publish) => publish::write(publish, version, sink),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            ack::write(ack, version, sink);
        }
        Packet::Subscribe(subscribe) => subscribe::write_subscribe(subscribe, version, sink),
        Packet::SubAck(suback) => ack::write_suback(suback, version, sink),
        Packet::Unsubscribe(unsubscribe) => {
            subscribe::write_unsubscribe(unsubscribe, version, sink);
        }
        Packet::UnsubAck(unsuback) => ack::write_unsuback(unsuback, version, sink),
        Packet::PingReq | Packet::PingResp => {}
        Packet::Disconnect(disconnect) => disconnect::write(disconnect, version, sink),
        Packet::Auth(auth) => disconnect::write_auth(auth, sink),
    }
}

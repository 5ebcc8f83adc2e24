//! core: CONNECT on the wire, MQTT 5.0 section 3.1 and the same of 3.1.1 and 3.1.

use super::error::{CodecError, EncodeError};
use super::packet::{Connect, ConnectProperties, Version, Will};
use super::read::Reader;
use super::write::Sink;
use crate::model::{MessageProperties, QoS};

// Connect flags, 3.1.2.3.
const RESERVED: u8 = 0b0000_0001;
const CLEAN_START: u8 = 0b0000_0010;
const WILL: u8 = 0b0000_0100;
const WILL_QOS: u8 = 0b0001_1000;
const WILL_QOS_SHIFT: u8 = 3;
const WILL_RETAIN: u8 = 0b0010_0000;
const PASSWORD: u8 = 0b0100_0000;
const USERNAME: u8 = 0b1000_0000;

/// The bit of the level by which a broker says that it bridges.
const BRIDGE: u8 = 0x80;

fn protocol(version: Version) -> (&'static str, u8) {
    match version {
        Version::V31 => ("MQIsdp", 3),
        Version::V311 => ("MQTT", 4),
        Version::V5 => ("MQTT", 5),
    }
}

/// Reads protocol name and level (3.1.2.1, 3.1.2.2), and whether the level says that a broker bridges: bit 7, which
/// mosquitto sets before 5.0 (`try_private`).
pub(super) fn read_version(reader: &mut Reader<'_>) -> Result<(Version, bool), CodecError> {
    let name = reader.str()?;
    let level = reader.byte()?;
    match (name, level) {
        ("MQIsdp", 3) => Ok((Version::V31, false)),
        ("MQIsdp", 0x83) => Ok((Version::V31, true)),
        ("MQTT", 4) => Ok((Version::V311, false)),
        ("MQTT", 0x84) => Ok((Version::V311, true)),
        ("MQTT", 5) => Ok((Version::V5, false)),
        _ => Err(CodecError::UnsupportedVersion { name: name.chars().take(16).collect(), level }),
    }
}

pub(super) fn read(reader: &mut Reader<'_>) -> Result<Connect, CodecError> {
    let (version, bridge) = read_version(reader)?;
    reader.set_version(version);
    let flags = reader.byte()?;
    check_flags(flags, version)?;
    let keep_alive = reader.two()?;
    let mut properties = ConnectProperties::default();
    if version == Version::V5 {
        reader.properties(&mut properties)?;
        if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
            return Err(CodecError::AuthenticationMethodMissing { packet: reader.packet() });
        }
    }
    let client_id = reader.text()?;
    let clean_start = flags & CLEAN_START != 0;
    if version == Version::V311 && client_id.is_empty() && !clean_start {
        return Err(CodecError::ClientIdMissing);
    }
    let will = if flags & WILL != 0 { Some(read_will(reader, flags)?) } else { None };
    let username = if has(reader, flags, USERNAME) { Some(reader.text()?) } else { None };
    let password = if has(reader, flags, PASSWORD) { Some(reader.binary()?) } else { None };
    Ok(Connect {
        version,
        bridge,
        clean_start,
        keep_alive,
        client_id,
        will,
        username,
        password,
        properties,
    })
}

fn check_flags(flags: u8, version: Version) -> Result<(), CodecError> {
    // 3.1 (section 3.1) leaves the reserved bit unused rather than zero.
    if flags & RESERVED != 0 && version != Version::V31 {
        return Err(CodecError::ConnectReservedFlag);
    }
    if flags & WILL == 0 && flags & (WILL_QOS | WILL_RETAIN) != 0 {
        return Err(CodecError::WillFlags { flags });
    }
    if flags & WILL_QOS == WILL_QOS {
        return Err(CodecError::WillQoS);
    }
    if flags & PASSWORD != 0 && flags & USERNAME == 0 && version != Version::V5 {
        return Err(CodecError::PasswordWithoutUsername);
    }
    Ok(())
}

/// Whether the user name or password announced by `flag` is to be read. In 3.1 (section 3.1) the remaining length takes
/// precedence over these flags: what is announced may be missing.
fn has(reader: &Reader<'_>, flags: u8, flag: u8) -> bool {
    flags & flag != 0 && !(reader.version() == Version::V31 && reader.is_empty())
}

fn read_will(reader: &mut Reader<'_>, flags: u8) -> Result<Will, CodecError> {
    let qos =
        QoS::try_from((flags & WILL_QOS) >> WILL_QOS_SHIFT).map_err(|_| CodecError::WillQoS)?;
    let section = if reader.version() == Version::V5 { Some(reader.section()?) } else { None };
    let mut will = Will {
        topic: reader.topic_name()?,
        payload: reader.binary()?,
        qos,
        retain: flags & WILL_RETAIN != 0,
        delay: None,
        message_expiry: None,
        properties: MessageProperties::default(),
    };
    if let Some(section) = section {
        section.fill(&mut will)?;
    }
    Ok(will)
}

pub(super) fn check(connect: &Connect) -> Result<(), EncodeError> {
    let properties = &connect.properties;
    match connect.version {
        Version::V5 => {
            if connect.bridge {
                return Err(EncodeError::BridgeOfV5);
            }
            if properties.authentication_data.is_some()
                && properties.authentication_method.is_none()
            {
                return Err(EncodeError::AuthenticationMethodMissing { packet: "CONNECT" });
            }
        }
        Version::V31 | Version::V311 => {
            if connect.password.is_some() && connect.username.is_none() {
                return Err(EncodeError::PasswordWithoutUsername);
            }
        }
    }
    if connect.version == Version::V311 && connect.client_id.is_empty() && !connect.clean_start {
        return Err(EncodeError::ClientIdMissing);
    }
    Ok(())
}

pub(super) fn write<S: Sink>(connect: &Connect, sink: &mut S) {
    let (name, level) = protocol(connect.version);
    sink.text(name);
    sink.byte(if connect.bridge { level | BRIDGE } else { level });
    sink.byte(flags(connect));
    sink.two(connect.keep_alive);
    if connect.version == Version::V5 {
        sink.properties(&connect.properties);
    }
    sink.text(&connect.client_id);
    if let Some(will) = &connect.will {
        if connect.version == Version::V5 {
            sink.properties(will);
        }
        sink.text(will.topic.as_str());
        sink.binary(&will.payload);
    }
    if let Some(username) = &connect.username {
        sink.text(username);
    }
    if let Some(password) = &connect.password {
        sink.binary(password);
    }
}

fn flags(connect: &Connect) -> u8 {
    let when = |present: bool, flag: u8| if present { flag } else { 0 };
    let will = connect.will.as_ref().map_or(0, |will| {
        WILL | will.qos.level() << WILL_QOS_SHIFT | when(will.retain, WILL_RETAIN)
    });
    will | when(connect.clean_start, CLEAN_START)
        | when(connect.username.is_some(), USERNAME)
        | when(connect.password.is_some(), PASSWORD)
}

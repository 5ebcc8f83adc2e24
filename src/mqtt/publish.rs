//! core: PUBLISH on the wire, MQTT 5.0 section 3.3.

use super::codec::DUP;
use super::error::{CodecError, EncodeError};
use super::packet::{Publish, Version};
use super::read::{Reader, VARIABLE_MAX};
use super::write::Sink;
use crate::model::{QoS, TopicName};

const QOS_SHIFT: u8 = 1;
const RETAIN: u8 = 0b0001;

/// Checks the fixed header flags (3.3.1) before the packet is waited for.
pub(super) fn check_flags(flags: u8) -> Result<(), CodecError> {
    let qos = read_qos(flags)?;
    if qos == QoS::AtMostOnce && flags & DUP != 0 {
        return Err(CodecError::DupAtQoS0);
    }
    Ok(())
}

fn read_qos(flags: u8) -> Result<QoS, CodecError> {
    QoS::try_from(flags >> QOS_SHIFT & 0b11).map_err(|_| CodecError::QoS3)
}

pub(super) fn read(reader: &mut Reader<'_>, flags: u8) -> Result<Publish, CodecError> {
    let qos = read_qos(flags)?;
    let topic = reader.str()?;
    let topic = if topic.is_empty() && reader.version() == Version::V5 {
        None
    } else {
        let named = TopicName::new(topic)
            .map_err(|rule| CodecError::TopicName { packet: reader.packet(), rule })?;
        Some(named)
    };
    let packet_id = if qos == QoS::AtMostOnce { None } else { Some(reader.packet_id()?) };
    let mut publish = Publish {
        dup: flags & DUP != 0,
        qos,
        retain: flags & RETAIN != 0,
        topic,
        packet_id,
        payload: bytes::Bytes::new(),
        properties: None,
        message_expiry: None,
        topic_alias: None,
        subscription_ids: Vec::new(),
    };
    if reader.version() == Version::V5 {
        reader.properties(&mut publish)?;
        if publish.topic.is_none() && publish.topic_alias.is_none() {
            return Err(CodecError::TopicMissing);
        }
    }
    publish.payload = reader.remainder();
    Ok(publish)
}

pub(super) fn check(publish: &Publish, version: Version) -> Result<(), EncodeError> {
    if publish.packet_id.is_some() != (publish.qos != QoS::AtMostOnce) {
        return Err(EncodeError::PacketId);
    }
    if publish.dup && publish.qos == QoS::AtMostOnce {
        return Err(EncodeError::DupAtQoS0);
    }
    if publish.topic.is_none() && (version != Version::V5 || publish.topic_alias.is_none()) {
        return Err(EncodeError::TopicMissing);
    }
    if version == Version::V5 {
        for &id in &publish.subscription_ids {
            check_subscription_id(id)?;
        }
    }
    Ok(())
}

/// A subscription id is 1 to 268,435,455 (3.8.2.1.2).
pub(super) fn check_subscription_id(id: u32) -> Result<(), EncodeError> {
    if (1..=VARIABLE_MAX).contains(&id) { Ok(()) } else { Err(EncodeError::SubscriptionId { id }) }
}

pub(super) fn flags(publish: &Publish) -> u8 {
    let dup = if publish.dup { DUP } else { 0 };
    let retain = if publish.retain { RETAIN } else { 0 };
    dup | publish.qos.level() << QOS_SHIFT | retain
}

pub(super) fn write<S: Sink>(publish: &Publish, version: Version, sink: &mut S) {
    sink.topic(publish.topic.as_ref());
    if let Some(id) = publish.packet_id {
        sink.two(id.get());
    }
    if version == Version::V5 {
        sink.properties(publish);
    }
    sink.raw(&publish.payload);
}

//! core: SUBSCRIBE and UNSUBSCRIBE on the wire, MQTT 5.0 sections 3.8 and 3.10.

use super::error::{CodecError, EncodeError};
use super::packet::{RetainHandling, Subscribe, SubscribeFilter, Unsubscribe, Version};
use super::publish::check_subscription_id;
use super::read::{Reader, Share};
use super::write::Sink;
use crate::model::{QoS, TopicFilter};

// Subscription options, 3.8.3.1.
const QOS: u8 = 0b0000_0011;
const NO_LOCAL: u8 = 0b0000_0100;
const RETAIN_AS_PUBLISHED: u8 = 0b0000_1000;
const RETAIN_HANDLING_SHIFT: u8 = 4;
const RESERVED: u8 = 0b1100_0000;
const RESERVED_BEFORE_5: u8 = 0b1111_1100;

pub(super) fn read_subscribe(reader: &mut Reader<'_>) -> Result<Subscribe, CodecError> {
    let mut subscribe = Subscribe {
        packet_id: reader.packet_id()?,
        subscription_id: None,
        user_properties: Vec::new(),
        filters: Vec::new(),
    };
    if reader.version() == Version::V5 {
        reader.properties(&mut subscribe)?;
    }
    while !reader.is_empty() {
        subscribe.filters.push(read_filter(reader)?);
    }
    if subscribe.filters.is_empty() {
        return Err(CodecError::PayloadEmpty { packet: reader.packet() });
    }
    Ok(subscribe)
}

fn read_filter(reader: &mut Reader<'_>) -> Result<SubscribeFilter, CodecError> {
    let filter = reader.topic_filter()?;
    let options = reader.byte()?;
    let (reserved, options) = match reader.version() {
        // 3.1 (section 3.8) leaves the upper six bits unused rather than zero.
        Version::V31 => (0, options & QOS),
        Version::V311 => (RESERVED_BEFORE_5, options),
        Version::V5 => (RESERVED, options),
    };
    if options & reserved != 0 {
        return Err(CodecError::SubscriptionReservedBits { options });
    }
    let qos = QoS::try_from(options & QOS).map_err(|_| CodecError::SubscriptionQoS)?;
    let retain_handling = match options >> RETAIN_HANDLING_SHIFT & 0b11 {
        0 => RetainHandling::Send,
        1 => RetainHandling::SendIfNew,
        2 => RetainHandling::DoNotSend,
        _ => return Err(CodecError::RetainHandling),
    };
    let no_local = options & NO_LOCAL != 0;
    if no_local && Share::of(filter.as_str()) != Share::No {
        return Err(CodecError::ShareNoLocal);
    }
    let retain_as_published = options & RETAIN_AS_PUBLISHED != 0;
    Ok(SubscribeFilter { filter, qos, no_local, retain_as_published, retain_handling })
}

pub(super) fn read_unsubscribe(reader: &mut Reader<'_>) -> Result<Unsubscribe, CodecError> {
    let mut unsubscribe = Unsubscribe {
        packet_id: reader.packet_id()?,
        user_properties: Vec::new(),
        filters: Vec::new(),
    };
    if reader.version() == Version::V5 {
        reader.properties(&mut unsubscribe)?;
    }
    while !reader.is_empty() {
        unsubscribe.filters.push(reader.topic_filter()?);
    }
    if unsubscribe.filters.is_empty() {
        return Err(CodecError::PayloadEmpty { packet: reader.packet() });
    }
    Ok(unsubscribe)
}

pub(super) fn check_subscribe(subscribe: &Subscribe, version: Version) -> Result<(), EncodeError> {
    let packet = "SUBSCRIBE";
    if subscribe.filters.is_empty() {
        return Err(EncodeError::PayloadEmpty { packet });
    }
    if version != Version::V5 {
        return Ok(());
    }
    for filter in &subscribe.filters {
        check_share(&filter.filter, packet)?;
        if filter.no_local && Share::of(filter.filter.as_str()) == Share::Yes {
            return Err(EncodeError::ShareNoLocal);
        }
    }
    subscribe.subscription_id.map_or(Ok(()), check_subscription_id)
}

pub(super) fn check_unsubscribe(
    unsubscribe: &Unsubscribe,
    version: Version,
) -> Result<(), EncodeError> {
    let packet = "UNSUBSCRIBE";
    if unsubscribe.filters.is_empty() {
        return Err(EncodeError::PayloadEmpty { packet });
    }
    if version != Version::V5 {
        return Ok(());
    }
    unsubscribe.filters.iter().try_for_each(|filter| check_share(filter, packet))
}

fn check_share(filter: &TopicFilter, packet: &'static str) -> Result<(), EncodeError> {
    if Share::of(filter.as_str()) == Share::Malformed {
        return Err(EncodeError::ShareName { packet });
    }
    Ok(())
}

pub(super) fn write_subscribe<S: Sink>(subscribe: &Subscribe, version: Version, sink: &mut S) {
    sink.two(subscribe.packet_id.get());
    if version == Version::V5 {
        sink.properties(subscribe);
    }
    for filter in &subscribe.filters {
        sink.text(filter.filter.as_str());
        let options = match version {
            Version::V5 => options(filter),
            Version::V31 | Version::V311 => filter.qos.level(),
        };
        sink.byte(options);
    }
}

fn options(filter: &SubscribeFilter) -> u8 {
    let no_local = if filter.no_local { NO_LOCAL } else { 0 };
    let retain_as_published = if filter.retain_as_published { RETAIN_AS_PUBLISHED } else { 0 };
    let retain_handling = (filter.retain_handling as u8) << RETAIN_HANDLING_SHIFT;
    filter.qos.level() | no_local | retain_as_published | retain_handling
}

pub(super) fn write_unsubscribe<S: Sink>(
    unsubscribe: &Unsubscribe,
    version: Version,
    sink: &mut S,
) {
    sink.two(unsubscribe.packet_id.get());
    if version == Version::V5 {
        sink.properties(unsubscribe);
    }
    for filter in &unsubscribe.filters {
        sink.text(filter.as_str());
    }
}

//! core: acknowledgements on the wire: PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK and UNSUBACK, MQTT 5.0 sections 3.4 to 3.7,
//! 3.9 and 3.11.

use super::error::{CodecError, EncodeError};
use super::packet::{Ack, SubAck, Version};
use super::properties::PropertySet;
use super::read::Reader;
use super::reason::ReasonCode;
use super::write::Sink;

/// Reasons of PUBACK and PUBREC (3.4.2.1, 3.5.2.1).
pub(super) const RECEIVED: &[ReasonCode] = &[
    ReasonCode::Success,
    ReasonCode::NoMatchingSubscribers,
    ReasonCode::UnspecifiedError,
    ReasonCode::ImplementationSpecificError,
    ReasonCode::NotAuthorized,
    ReasonCode::TopicNameInvalid,
    ReasonCode::PacketIdInUse,
    ReasonCode::QuotaExceeded,
    ReasonCode::PayloadFormatInvalid,
];

/// Reasons of PUBREL and PUBCOMP (3.6.2.1, 3.7.2.1).
pub(super) const RELEASED: &[ReasonCode] = &[ReasonCode::Success, ReasonCode::PacketIdNotFound];

/// 3.9.3.
const SUBSCRIBED: &[ReasonCode] = &[
    ReasonCode::Success,
    ReasonCode::GrantedQoS1,
    ReasonCode::GrantedQoS2,
    ReasonCode::UnspecifiedError,
    ReasonCode::ImplementationSpecificError,
    ReasonCode::NotAuthorized,
    ReasonCode::TopicFilterInvalid,
    ReasonCode::PacketIdInUse,
    ReasonCode::QuotaExceeded,
    ReasonCode::SharedSubscriptionsNotSupported,
    ReasonCode::SubscriptionIdsNotSupported,
    ReasonCode::WildcardSubscriptionsNotSupported,
];

/// 3.1.1 section 3.9.3. 3.1 has no failure; its clients are told nonetheless.
const SUBSCRIBED_BEFORE_5: &[ReasonCode] = &[
    ReasonCode::Success,
    ReasonCode::GrantedQoS1,
    ReasonCode::GrantedQoS2,
    ReasonCode::UnspecifiedError,
];

/// 3.11.3.
const UNSUBSCRIBED: &[ReasonCode] = &[
    ReasonCode::Success,
    ReasonCode::NoSubscriptionExisted,
    ReasonCode::UnspecifiedError,
    ReasonCode::ImplementationSpecificError,
    ReasonCode::NotAuthorized,
    ReasonCode::TopicFilterInvalid,
    ReasonCode::PacketIdInUse,
];

/// Reads PUBACK, PUBREC, PUBREL or PUBCOMP. In 5.0 reason and properties may be left out at the end (3.4.2.1,
/// 3.4.2.2.1).
pub(super) fn read(reader: &mut Reader<'_>, permitted: &[ReasonCode]) -> Result<Ack, CodecError> {
    let mut ack = Ack::new(reader.packet_id()?, ReasonCode::Success);
    if reader.version() == Version::V5 && !reader.is_empty() {
        ack.reason = reader.reason(permitted)?;
        if !reader.is_empty() {
            reader.properties(&mut ack)?;
        }
    }
    Ok(ack)
}

pub(super) fn check(
    ack: &Ack,
    packet: &'static str,
    permitted: &[ReasonCode],
) -> Result<(), EncodeError> {
    check_reason(ack.reason, packet, permitted)
}

fn check_reason(
    reason: ReasonCode,
    packet: &'static str,
    permitted: &[ReasonCode],
) -> Result<(), EncodeError> {
    if permitted.contains(&reason) { Ok(()) } else { Err(EncodeError::Reason { packet, reason }) }
}

/// Whether its packet id is all there is to write.
pub(super) fn is_bare(ack: &Ack, version: Version) -> bool {
    version != Version::V5 || (ack.reason == ReasonCode::Success && ack.is_absent())
}

pub(super) fn write<S: Sink>(ack: &Ack, version: Version, sink: &mut S) {
    sink.two(ack.packet_id.get());
    if version == Version::V5 {
        let bare = ack.is_absent();
        if ack.reason != ReasonCode::Success || !bare {
            sink.byte(ack.reason.byte());
        }
        if !bare {
            sink.properties(ack);
        }
    }
}

pub(super) fn read_suback(reader: &mut Reader<'_>) -> Result<SubAck, CodecError> {
    let permitted = match reader.version() {
        Version::V5 => SUBSCRIBED,
        Version::V31 | Version::V311 => SUBSCRIBED_BEFORE_5,
    };
    read_reasons(reader, permitted)
}

pub(super) fn read_unsuback(reader: &mut Reader<'_>) -> Result<SubAck, CodecError> {
    if reader.version() == Version::V5 {
        return read_reasons(reader, UNSUBSCRIBED);
    }
    let packet_id = reader.packet_id()?;
    Ok(SubAck { packet_id, reason_string: None, user_properties: Vec::new(), reasons: Vec::new() })
}

fn read_reasons(reader: &mut Reader<'_>, permitted: &[ReasonCode]) -> Result<SubAck, CodecError> {
    let packet_id = reader.packet_id()?;
    let mut suback =
        SubAck { packet_id, reason_string: None, user_properties: Vec::new(), reasons: Vec::new() };
    if reader.version() == Version::V5 {
        reader.properties(&mut suback)?;
    }
    while !reader.is_empty() {
        suback.reasons.push(reader.reason(permitted)?);
    }
    if suback.reasons.is_empty() {
        return Err(CodecError::PayloadEmpty { packet: reader.packet() });
    }
    Ok(suback)
}

pub(super) fn check_suback(suback: &SubAck) -> Result<(), EncodeError> {
    check_reasons(suback, "SUBACK", SUBSCRIBED)
}

pub(super) fn check_unsuback(unsuback: &SubAck, version: Version) -> Result<(), EncodeError> {
    match version {
        Version::V5 => check_reasons(unsuback, "UNSUBACK", UNSUBSCRIBED),
        Version::V31 | Version::V311 => Ok(()),
    }
}

fn check_reasons(
    suback: &SubAck,
    packet: &'static str,
    permitted: &[ReasonCode],
) -> Result<(), EncodeError> {
    if suback.reasons.is_empty() {
        return Err(EncodeError::PayloadEmpty { packet });
    }
    suback.reasons.iter().try_for_each(|&reason| check_reason(reason, packet, permitted))
}

pub(super) fn write_suback<S: Sink>(suback: &SubAck, version: Version, sink: &mut S) {
    sink.two(suback.packet_id.get());
    if version == Version::V5 {
        sink.properties(suback);
    }
    for &reason in &suback.reasons {
        let failed_before_5 = version != Version::V5 && reason.is_failure();
        let said = if failed_before_5 { ReasonCode::UnspecifiedError } else { reason };
        sink.byte(said.byte());
    }
}

pub(super) fn write_unsuback<S: Sink>(unsuback: &SubAck, version: Version, sink: &mut S) {
    sink.two(unsuback.packet_id.get());
    if version == Version::V5 {
        sink.properties(unsuback);
        for reason in &unsuback.reasons {
            sink.byte(reason.byte());
        }
    }
}

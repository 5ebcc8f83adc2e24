//! core: CONNACK on the wire, MQTT 5.0 section 3.2, and the return codes it had before.

use super::error::{CodecError, EncodeError};
use super::packet::{ConnAck, ConnAckProperties, Version};
use super::read::Reader;
use super::reason::ReasonCode;
use super::write::Sink;
use crate::model::QoS;

/// 3.2.2.2.
const REASONS: &[ReasonCode] = &[
    ReasonCode::Success,
    ReasonCode::UnspecifiedError,
    ReasonCode::MalformedPacket,
    ReasonCode::ProtocolError,
    ReasonCode::ImplementationSpecificError,
    ReasonCode::UnsupportedProtocolVersion,
    ReasonCode::ClientIdNotValid,
    ReasonCode::BadUserNameOrPassword,
    ReasonCode::NotAuthorized,
    ReasonCode::ServerUnavailable,
    ReasonCode::ServerBusy,
    ReasonCode::Banned,
    ReasonCode::BadAuthenticationMethod,
    ReasonCode::TopicNameInvalid,
    ReasonCode::PacketTooLarge,
    ReasonCode::QuotaExceeded,
    ReasonCode::PayloadFormatInvalid,
    ReasonCode::RetainNotSupported,
    ReasonCode::QoSNotSupported,
    ReasonCode::UseAnotherServer,
    ReasonCode::ServerMoved,
    ReasonCode::ConnectionRateExceeded,
];

/// Return codes of 3.1.1 (section 3.2.2.3), each at its own index, and the reason it stands for.
const RETURN_CODES: [ReasonCode; 6] = [
    ReasonCode::Success,
    ReasonCode::UnsupportedProtocolVersion,
    ReasonCode::ClientIdNotValid,
    ReasonCode::ServerUnavailable,
    ReasonCode::BadUserNameOrPassword,
    ReasonCode::NotAuthorized,
];

/// The return code for a reason; `None` where 3.1.1 [MQTT-3.2.2-6] closes the connection without CONNACK.
fn return_code(reason: ReasonCode) -> Option<u8> {
    (0..).zip(RETURN_CODES).find_map(|(code, known)| (known == reason).then_some(code))
}

pub(super) fn read(reader: &mut Reader<'_>) -> Result<ConnAck, CodecError> {
    let flags = reader.byte()?;
    // 3.1 (section 3.2) has no session present and leaves this byte unused.
    let session_present = reader.version() != Version::V31 && flags & 1 != 0;
    if flags > 1 && reader.version() != Version::V31 {
        return Err(CodecError::ConnAckFlags { flags });
    }
    let mut properties = ConnAckProperties::default();
    let reason = if reader.version() == Version::V5 {
        let reason = reader.reason(REASONS)?;
        reader.properties(&mut properties)?;
        reason
    } else {
        let byte = reader.byte()?;
        *RETURN_CODES
            .get(usize::from(byte))
            .ok_or(CodecError::Reason { packet: reader.packet(), byte })?
    };
    if session_present && reason != ReasonCode::Success {
        return Err(CodecError::SessionPresent);
    }
    if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
        return Err(CodecError::AuthenticationMethodMissing { packet: reader.packet() });
    }
    Ok(ConnAck { session_present, reason, properties })
}

pub(super) fn check(connack: &ConnAck, version: Version) -> Result<(), EncodeError> {
    let said = match version {
        Version::V5 => REASONS.contains(&connack.reason),
        Version::V31 | Version::V311 => return_code(connack.reason).is_some(),
    };
    if !said {
        return Err(EncodeError::Reason { packet: "CONNACK", reason: connack.reason });
    }
    if connack.session_present && connack.reason != ReasonCode::Success {
        return Err(EncodeError::SessionPresent);
    }
    if version == Version::V5 {
        let properties = &connack.properties;
        if properties.maximum_qos == Some(QoS::ExactlyOnce) {
            return Err(EncodeError::MaximumQoS);
        }
        if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
            return Err(EncodeError::AuthenticationMethodMissing { packet: "CONNACK" });
        }
    }
    Ok(())
}

pub(super) fn write<S: Sink>(connack: &ConnAck, version: Version, sink: &mut S) {
    sink.byte(u8::from(connack.session_present && version != Version::V31));
    if version == Version::V5 {
        sink.byte(connack.reason.byte());
        sink.properties(&connack.properties);
    } else {
        sink.byte(return_code(connack.reason).unwrap_or_else(|| connack.reason.byte()));
    }
}

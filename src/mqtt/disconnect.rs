//! core: DISCONNECT and AUTH on the wire, MQTT 5.0 sections 3.14 and 3.15, and who may send which reason.

use super::error::{CodecError, EncodeError};
use super::packet::{Auth, Disconnect, Version};
use super::properties::PropertySet;
use super::read::Reader;
use super::reason::ReasonCode;
use super::write::Sink;

/// 3.14.2.1: reasons either side may give.
const FROM_BOTH: &[ReasonCode] = &[
    ReasonCode::Success,
    ReasonCode::UnspecifiedError,
    ReasonCode::MalformedPacket,
    ReasonCode::ProtocolError,
    ReasonCode::ImplementationSpecificError,
    ReasonCode::BadAuthenticationMethod,
    ReasonCode::TopicNameInvalid,
    ReasonCode::ReceiveMaximumExceeded,
    ReasonCode::TopicAliasInvalid,
    ReasonCode::PacketTooLarge,
    ReasonCode::MessageRateTooHigh,
    ReasonCode::QuotaExceeded,
    ReasonCode::AdministrativeAction,
    ReasonCode::PayloadFormatInvalid,
];

/// 3.14.2.1: the reason only a client gives.
const FROM_CLIENT: &[ReasonCode] = &[ReasonCode::DisconnectWithWill];

/// 3.14.2.1: reasons only a server gives.
const FROM_SERVER: &[ReasonCode] = &[
    ReasonCode::NotAuthorized,
    ReasonCode::ServerBusy,
    ReasonCode::ServerShuttingDown,
    ReasonCode::KeepAliveTimeout,
    ReasonCode::SessionTakenOver,
    ReasonCode::TopicFilterInvalid,
    ReasonCode::RetainNotSupported,
    ReasonCode::QoSNotSupported,
    ReasonCode::UseAnotherServer,
    ReasonCode::ServerMoved,
    ReasonCode::SharedSubscriptionsNotSupported,
    ReasonCode::ConnectionRateExceeded,
    ReasonCode::MaximumConnectTime,
    ReasonCode::SubscriptionIdsNotSupported,
    ReasonCode::WildcardSubscriptionsNotSupported,
];

/// 3.15.2.1.
const AUTH_REASONS: &[ReasonCode] =
    &[ReasonCode::Success, ReasonCode::ContinueAuthentication, ReasonCode::ReAuthenticate];

/// Whether a client may send it: neither a server's reason nor a server reference (3.14.2.1, 3.14.2.2.5).
pub(super) fn sent_by_client(disconnect: &Disconnect) -> bool {
    !FROM_SERVER.contains(&disconnect.reason) && disconnect.server_reference.is_none()
}

/// Whether a server may send it, which before 5.0 it never may: not a client's reason, and no session expiry
/// [MQTT-3.14.2-2].
pub(super) fn sent_by_server(disconnect: &Disconnect) -> bool {
    !FROM_CLIENT.contains(&disconnect.reason) && disconnect.session_expiry.is_none()
}

/// Reads DISCONNECT; in 5.0 reason and properties may be left out at the end (3.14.2.1, 3.14.2.2.1).
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Disconnect, CodecError> {
    let mut disconnect = Disconnect::new(ReasonCode::Success);
    if reader.version() == Version::V5 && !reader.is_empty() {
        let byte = reader.byte()?;
        disconnect.reason = ReasonCode::from_byte(byte)
            .filter(|&reason| is_permitted(reason))
            .ok_or(CodecError::Reason { packet: reader.packet(), byte })?;
        if !reader.is_empty() {
            reader.properties(&mut disconnect)?;
        }
    }
    Ok(disconnect)
}

fn is_permitted(reason: ReasonCode) -> bool {
    [FROM_BOTH, FROM_CLIENT, FROM_SERVER].iter().any(|reasons| reasons.contains(&reason))
}

/// Before 5.0 DISCONNECT has one meaning, that the will is not wanted; a reason that wants it cannot be said.
pub(super) fn check(disconnect: &Disconnect, version: Version) -> Result<(), EncodeError> {
    let reason = disconnect.reason;
    let said = match version {
        Version::V5 => is_permitted(reason),
        Version::V31 | Version::V311 => reason == ReasonCode::Success,
    };
    if said { Ok(()) } else { Err(EncodeError::Reason { packet: "DISCONNECT", reason }) }
}

pub(super) fn write<S: Sink>(disconnect: &Disconnect, version: Version, sink: &mut S) {
    if version == Version::V5 {
        let bare = disconnect.is_absent();
        if disconnect.reason != ReasonCode::Success || !bare {
            sink.byte(disconnect.reason.byte());
        }
        if !bare {
            sink.properties(disconnect);
        }
    }
}

/// Reads AUTH. An empty one says success (3.15.2.1); any other names its method (3.15.2.2.2).
pub(super) fn read_auth(reader: &mut Reader<'_>) -> Result<Auth, CodecError> {
    let mut auth = Auth {
        reason: ReasonCode::Success,
        method: None,
        data: None,
        reason_string: None,
        user_properties: Vec::new(),
    };
    if !reader.is_empty() {
        auth.reason = reader.reason(AUTH_REASONS)?;
        reader.properties(&mut auth)?;
        if auth.method.is_none() {
            return Err(CodecError::AuthenticationMethodMissing { packet: reader.packet() });
        }
    }
    Ok(auth)
}

pub(super) fn check_auth(auth: &Auth, version: Version) -> Result<(), EncodeError> {
    if version != Version::V5 {
        return Err(EncodeError::NotInVersion { what: "AUTH", version });
    }
    if !AUTH_REASONS.contains(&auth.reason) {
        return Err(EncodeError::Reason { packet: "AUTH", reason: auth.reason });
    }
    let empty = auth.reason == ReasonCode::Success && auth.is_absent();
    if auth.method.is_none() && !empty {
        return Err(EncodeError::AuthenticationMethodMissing { packet: "AUTH" });
    }
    Ok(())
}

pub(super) fn write_auth<S: Sink>(auth: &Auth, sink: &mut S) {
    if auth.reason != ReasonCode::Success || !auth.is_absent() {
        sink.byte(auth.reason.byte());
        sink.properties(auth);
    }
}

/// Whether a client may send it (3.15.2.1): success is the server's word.
pub(super) fn auth_sent_by_client(auth: &Auth) -> bool {
    auth.reason != ReasonCode::Success
}

/// Whether a server may send it (3.15.2.1): to re-authenticate is the client's wish.
pub(super) fn auth_sent_by_server(auth: &Auth) -> bool {
    auth.reason != ReasonCode::ReAuthenticate
}

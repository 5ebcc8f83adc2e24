//! core: the server's side of one connection: CONNECT and its answer, keep alive, who may send what, how it ends. MQTT 5.0
//! sections 3.1, 3.2, 3.12, 3.14, 4.13.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::hub::{AttachClient, DetachCause, SessionWill};
use crate::model::{Body, Message, Timestamp};
use crate::mqtt::{
    CodecError, ConnAck, ConnAckProperties, Connect, Packet, ReasonCode, Version, Will, encoded_len,
};

/// How long a connection may take to say CONNECT.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(10);

/// The largest packet taken from a client.
pub(super) const PACKET_BYTES_MAX: u32 = 1024 * 1024;

/// What a packet from a client means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The session's business.
    ForSession(Packet),
    /// Answer this at once.
    Answer(Packet),
    /// The client says goodbye.
    Goodbye(DetachCause),
    /// The connection ends because the client broke the protocol.
    End(ReasonCode),
}

/// Why a CONNECT is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The reason of the CONNACK.
    pub reason: ReasonCode,
}

/// The server's side of a connection that has said CONNECT.
#[derive(Debug)]
pub struct Protocol {
    version: Version,
    keep_alive: Option<Duration>,
    heard: Instant,
    /// Whether the session ends with the connection, so that DISCONNECT must not change that (3.14.2.2.2).
    ends_with_connection: bool,
    assigned_client_id: Option<Arc<str>>,
}

impl Protocol {
    /// Takes a CONNECT; `random` names clients that brought no name.
    ///
    /// # Errors
    /// [`Refusal`] says what to put into the CONNACK.
    pub fn accept(
        connect: Connect,
        random: u64,
        now: Instant,
        wall: Timestamp,
    ) -> Result<(Self, AttachClient), Refusal> {
        let Connect { version, clean_start, keep_alive, client_id, will, properties, .. } = connect;
        if properties.authentication_method.is_some() {
            return Err(Refusal { reason: ReasonCode::BadAuthenticationMethod });
        }
        let assigned = client_id.is_empty().then(|| Arc::from(format!("auto-{random:016x}")));
        // [MQTT-3.1.3-8] of 3.1.1: without a name there is no session to come back to. 3.1 asks for a name always.
        let nameless = match version {
            Version::V31 => false,
            Version::V311 => clean_start,
            Version::V5 => true,
        };
        if assigned.is_some() && !nameless {
            return Err(Refusal { reason: ReasonCode::ClientIdNotValid });
        }
        let expiry = match version {
            Version::V5 => properties.session_expiry.unwrap_or(0),
            Version::V31 | Version::V311 if clean_start => 0,
            Version::V31 | Version::V311 => u32::MAX,
        };
        let keep_alive = Duration::from_secs(keep_alive.into());
        let protocol = Self {
            version,
            keep_alive: (!keep_alive.is_zero()).then_some(keep_alive),
            heard: now,
            ends_with_connection: expiry == 0,
            assigned_client_id: assigned.clone(),
        };
        // [MQTT-3.1.2-24]: who takes no CONNACK of ours can be told nothing else either.
        let packet_bytes_max = properties.maximum_packet_size.map(NonZeroU32::get);
        let connack_bytes = encoded_len(&protocol.connack(false), version);
        if packet_bytes_max.is_some_and(|max| connack_bytes > max as usize) {
            return Err(Refusal { reason: ReasonCode::PacketTooLarge });
        }
        let attach = AttachClient {
            client_id: assigned.unwrap_or(client_id),
            clean_start,
            expiry,
            version,
            receive_maximum: properties.receive_maximum.unwrap_or(NonZeroU16::MAX),
            packet_bytes_max,
            will: will.map(|will| session_will(will, wall)),
        };
        Ok((protocol, attach))
    }

    /// The CONNACK for an accepted CONNECT.
    #[must_use]
    pub fn connack(&self, session_present: bool) -> Packet {
        let properties = ConnAckProperties {
            assigned_client_id: self.assigned_client_id.clone(),
            shared_subscription_available: Some(false),
            maximum_packet_size: NonZeroU32::new(PACKET_BYTES_MAX),
            ..ConnAckProperties::default()
        };
        connack(session_present, ReasonCode::Success, properties)
    }

    /// The version spoken.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// A packet came.
    pub fn handle_packet(&mut self, packet: Packet, now: Instant) -> Step {
        self.heard = now;
        if !packet.sent_by_client() {
            return Step::End(ReasonCode::ProtocolError);
        }
        match packet {
            Packet::PingReq => Step::Answer(Packet::PingResp),
            Packet::Disconnect(disconnect) => {
                let expiry = disconnect.session_expiry;
                if self.ends_with_connection && expiry.is_some_and(|seconds| seconds > 0) {
                    return Step::End(ReasonCode::ProtocolError);
                }
                let normal = disconnect.reason == ReasonCode::Success;
                Step::Goodbye(if normal {
                    DetachCause::Goodbye { expiry }
                } else {
                    DetachCause::GoodbyeWithWill { expiry }
                })
            }
            Packet::Connect(_) | Packet::Auth(_) => Step::End(ReasonCode::ProtocolError),
            packet @ (Packet::ConnAck(_)
            | Packet::Publish(_)
            | Packet::PubAck(_)
            | Packet::PubRec(_)
            | Packet::PubRel(_)
            | Packet::PubComp(_)
            | Packet::Subscribe(_)
            | Packet::SubAck(_)
            | Packet::Unsubscribe(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp) => Step::ForSession(packet),
        }
    }

    /// What came is not MQTT: what the client is told in DISCONNECT.
    #[must_use]
    pub fn handle_malformed(&self, error: &CodecError) -> ReasonCode {
        // Whatever stands in a second CONNECT, it is one [MQTT-3.1.0-2], and DISCONNECT has no other word for it.
        if let CodecError::UnsupportedVersion { .. } | CodecError::ClientIdMissing = error {
            return ReasonCode::ProtocolError;
        }
        error.reason_code()
    }

    /// When the client must have been heard; `None` if it turned keep alive off.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        // [MQTT-3.1.2-22]: one and a half times the keep alive.
        self.keep_alive.map(|keep_alive| self.heard + keep_alive + keep_alive / 2)
    }
}

/// What is answered, and in which version, to a first packet that is not right; `named` is the version it names. `None`
/// is nothing: a peer that does not begin with CONNECT may be no MQTT client at all, and 3.1.1 [MQTT-3.1.4-1] wants no
/// answer to a CONNECT that is malformed.
#[must_use]
pub(super) fn refusal_of_malformed(
    error: &CodecError,
    named: Option<Version>,
) -> Option<(Version, ReasonCode)> {
    let reason = error.reason_code();
    if let CodecError::UnsupportedVersion { .. } | CodecError::ClientIdMissing = error {
        return Some((Version::V311, reason));
    }
    named.filter(|version| *version == Version::V5).map(|version| (version, reason))
}

/// A CONNACK that refuses.
#[must_use]
pub(super) fn refusal(reason: ReasonCode) -> Packet {
    connack(false, reason, ConnAckProperties::default())
}

fn connack(session_present: bool, reason: ReasonCode, properties: ConnAckProperties) -> Packet {
    Packet::ConnAck(Box::new(ConnAck { session_present, reason, properties }))
}

fn session_will(will: Will, wall: Timestamp) -> SessionWill {
    let Will { topic, payload, qos, retain, delay, message_expiry, properties } = will;
    let properties = (!properties.is_empty()).then(|| Arc::new(properties));
    let message = Message {
        topic,
        payload,
        qos,
        retain,
        properties,
        accepted: wall,
        expires: None,
        body: Body::Foreign,
    };
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let (delay, expiry) = (seconds(delay.unwrap_or(0)), message_expiry.map(seconds));
    SessionWill { message, delay, expiry }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::{ConnectProperties, Disconnect};

    fn connect(version: Version, client_id: &str, clean_start: bool) -> Connect {
        Connect {
            version,
            clean_start,
            keep_alive: 10,
            client_id: client_id.into(),
            will: None,
            username: None,
            password: None,
            properties: ConnectProperties::default(),
        }
    }

    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    fn accept(connect: Connect) -> Result<(Protocol, AttachClient), Refusal> {
        Protocol::accept(connect, 7, Instant::now(), Timestamp::default())
    }

    #[test]
    fn a_client_without_a_name_is_given_one_where_it_needs_none() {
        let (protocol, attach) = accept(connect(Version::V5, "", false)).expect("accepted");
        assert_eq!(&*attach.client_id, "auto-0000000000000007");
        let Packet::ConnAck(ack) = protocol.connack(false) else { panic!("a CONNACK") };
        assert_eq!(ack.properties.assigned_client_id, Some(attach.client_id));
        assert!(accept(connect(Version::V311, "", true)).is_ok());
        let refused = accept(connect(Version::V311, "", false)).expect_err("no session to keep");
        assert_eq!(refused.reason, ReasonCode::ClientIdNotValid);
    }

    #[test]
    fn a_session_of_3_1_1_lasts_until_it_is_cleaned() {
        let (_, attach) = accept(connect(Version::V311, "a", false)).expect("accepted");
        assert_eq!(attach.expiry, u32::MAX);
        let (_, attach) = accept(connect(Version::V311, "a", true)).expect("accepted");
        assert_eq!(attach.expiry, 0);
    }

    #[test]
    fn silence_is_allowed_for_one_and_a_half_keep_alives() {
        let (mut protocol, _) = accept(connect(Version::V5, "a", true)).expect("accepted");
        let later = protocol.heard + Duration::from_secs(3);
        assert_eq!(protocol.handle_packet(Packet::PingReq, later), Step::Answer(Packet::PingResp));
        assert_eq!(protocol.poll_timeout(), Some(later + Duration::from_secs(15)));
    }

    #[test]
    fn a_disconnect_cannot_revive_a_session_that_ends_with_its_connection() {
        let (mut protocol, _) = accept(connect(Version::V5, "a", true)).expect("accepted");
        let mut disconnect = Disconnect::new(ReasonCode::Success);
        disconnect.session_expiry = Some(10);
        let step = protocol.handle_packet(Packet::Disconnect(disconnect), protocol.heard);
        assert_eq!(step, Step::End(ReasonCode::ProtocolError));
    }

    #[test]
    fn what_only_a_server_may_send_ends_the_connection() {
        let (mut protocol, _) = accept(connect(Version::V5, "a", true)).expect("accepted");
        let now = protocol.heard;
        let end = Step::End(ReasonCode::ProtocolError);
        assert_eq!(protocol.handle_packet(Packet::PingResp, now), end);
        let again = Packet::Connect(Box::new(connect(Version::V5, "a", true)));
        assert_eq!(protocol.handle_packet(again, now), end);
    }
}

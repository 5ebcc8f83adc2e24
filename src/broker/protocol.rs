//! core: the server's side of one connection: CONNECT and its answer, keep alive, who may send what and how much, topic
//! aliases, how it ends. MQTT 5.0 sections 3.1, 3.2, 3.12, 3.14, 4.9, 4.13.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::alias::{AliasesIn, AliasesOut};
use crate::access::Principal;
use crate::hub::node::NODE_PROPERTY;
use crate::hub::{AttachClient, Attached, ConnectionId, DetachCause, NodeId, Peer, SessionWill};
use crate::model::{Body, Message, Timestamp};
use crate::mqtt::{
    CodecError, ConnAck, ConnAckProperties, Connect, Packet, ReasonCode, UserProperties, Version,
    Will, encoded_len,
};

/// What a client is held to, and told in its CONNACK where its version can tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtocolOptions {
    /// The largest packet taken, in bytes (3.2.2.3.6).
    pub packet_bytes_max: u32,
    /// Messages at QoS 1 and 2 that a client of 5.0 may have under way (3.2.2.3.3).
    pub receive_maximum: NonZeroU16,
    /// Topic aliases of a connection, each way (3.2.2.3.8); 0 for none.
    pub topic_alias_max: u16,
    /// The longest keep alive in seconds; a client of 5.0 that asks for more, or for none, is given this one (3.2.2.3.14).
    /// Earlier ones cannot be told and keep theirs.
    pub keep_alive_max: Option<NonZeroU16>,
}

impl Default for ProtocolOptions {
    fn default() -> Self {
        Self {
            packet_bytes_max: 1024 * 1024,
            receive_maximum: NonZeroU16::MIN.saturating_add(255),
            topic_alias_max: 16,
            keep_alive_max: None,
        }
    }
}

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
    options: ProtocolOptions,
    /// The session expiry the client asked for, in seconds.
    expiry: u32,
    /// The keep alive it is given instead of its own.
    server_keep_alive: Option<u16>,
    /// The largest packet it takes.
    packet_bytes_max: Option<u32>,
    /// Whether it wants reason strings and user properties on every packet (3.1.2.11.7).
    wants_problems: bool,
    /// Its messages at QoS 1 and 2 that are not acknowledged to the end.
    receiving: u16,
    aliases_in: AliasesIn,
    aliases_out: AliasesOut,
    /// Which gateway dials in, if it is one and says so.
    peer: Option<Peer>,
}

impl Protocol {
    /// Takes a CONNECT under `options`; `random` names clients that brought no name.
    ///
    /// # Errors
    /// [`Refusal`] says what to put into the CONNACK.
    pub fn accept(
        connect: Connect,
        options: ProtocolOptions,
        random: u64,
        now: Instant,
        wall: Timestamp,
    ) -> Result<(Self, AttachClient), Refusal> {
        let Connect { version, bridge, clean_start, keep_alive, client_id, will, .. } = connect;
        let properties = connect.properties;
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
        let longest = options.keep_alive_max.filter(|_| version == Version::V5);
        let server_keep_alive =
            longest.map(NonZeroU16::get).filter(|longest| keep_alive == 0 || keep_alive > *longest);
        let keep_alive = Duration::from_secs(server_keep_alive.unwrap_or(keep_alive).into());
        let packet_bytes_max = properties.maximum_packet_size.map(NonZeroU32::get);
        let aliases = properties.topic_alias_maximum.unwrap_or(0).min(options.topic_alias_max);
        let protocol = Self {
            version,
            keep_alive: (!keep_alive.is_zero()).then_some(keep_alive),
            heard: now,
            ends_with_connection: expiry == 0,
            assigned_client_id: assigned.clone(),
            options,
            expiry,
            server_keep_alive,
            packet_bytes_max,
            wants_problems: properties.request_problem_information.unwrap_or(true),
            receiving: 0,
            aliases_in: AliasesIn::new(options.topic_alias_max),
            aliases_out: AliasesOut::new(aliases),
            peer: Peer::among(&properties.user_properties),
        };
        // [MQTT-3.1.2-24]: who takes no CONNACK of ours can be told nothing else either.
        let longest = Attached {
            connection: ConnectionId(0),
            session_present: false,
            expiry: !expiry,
            needs: 0,
            node: NodeId(u64::MAX),
            refused: None,
        };
        let connack_bytes = encoded_len(&protocol.connack(&longest), version);
        if packet_bytes_max.is_some_and(|max| connack_bytes > max as usize) {
            return Err(Refusal { reason: ReasonCode::PacketTooLarge });
        }
        let client_id = assigned.unwrap_or(client_id);
        let principal = Principal::unnamed(&client_id);
        let attach = AttachClient {
            client_id,
            clean_start,
            expiry,
            version,
            receive_maximum: properties.receive_maximum.unwrap_or(NonZeroU16::MAX),
            packet_bytes_max,
            will: will.map(|will| session_will(will, wall)),
            // Whoever has checked more than the CONNECT itself says so.
            principal,
            caller: Arc::default(),
            bridge,
            peer: protocol.peer,
        };
        Ok((protocol, attach))
    }

    /// The CONNACK for an accepted CONNECT. A gateway that said which it is hears which one this is.
    #[must_use]
    pub fn connack(&self, attached: &Attached) -> Packet {
        let node = || (NODE_PROPERTY.into(), attached.node.to_string().into());
        let properties = ConnAckProperties {
            assigned_client_id: self.assigned_client_id.clone(),
            session_expiry: Some(attached.expiry).filter(|expiry| *expiry != self.expiry),
            shared_subscription_available: Some(true),
            receive_maximum: Some(self.options.receive_maximum),
            maximum_packet_size: NonZeroU32::new(self.options.packet_bytes_max),
            topic_alias_maximum: Some(self.options.topic_alias_max).filter(|max| *max > 0),
            server_keep_alive: self.server_keep_alive,
            user_properties: self.peer.map(|_| node()).into_iter().collect(),
            ..ConnAckProperties::default()
        };
        connack(attached.session_present, ReasonCode::Success, properties)
    }

    /// The keep alive it is held to, in seconds; 0 for none.
    #[must_use]
    pub fn keep_alive(&self) -> u16 {
        let seconds = self.keep_alive.map_or(0, |keep_alive| keep_alive.as_secs());
        u16::try_from(seconds).unwrap_or(u16::MAX)
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
            Packet::Publish(mut publish) => {
                if let Err(reason) = self.aliases_in.resolve(&mut publish) {
                    return Step::End(reason);
                }
                if publish.packet_id.is_some() && self.version == Version::V5 {
                    // [MQTT-3.3.4-7]. What a client sends again after a reconnect counts anew (4.9).
                    if self.receiving >= self.options.receive_maximum.get() {
                        return Step::End(ReasonCode::ReceiveMaximumExceeded);
                    }
                    self.receiving += 1;
                }
                Step::ForSession(Packet::Publish(publish))
            }
            packet @ (Packet::ConnAck(_)
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

    /// The client takes what waits for it, and nothing is read from it before it has taken enough: what it may have said
    /// meanwhile cannot be held against it.
    pub fn handle_taking(&mut self, now: Instant) {
        self.heard = now;
    }

    /// A good deal of a packet came, and the rest is on its way.
    pub fn handle_part(&mut self, now: Instant) {
        self.heard = now;
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

    /// A packet leaves: the client is told as much as it asked for, and topics by their aliases. `false` if the packet must not
    /// leave because it is more than the client takes [MQTT-3.1.2-24], [MQTT-3.1.2-25].
    pub fn handle_outgoing(&mut self, packet: &mut Packet) -> bool {
        if self.version != Version::V5 {
            return true;
        }
        match packet {
            Packet::Publish(publish) => {
                let packet_bytes_max = self.packet_bytes_max;
                self.aliases_out.apply(publish, |publish| {
                    packet_bytes_max.is_none_or(|max| {
                        let packet = Packet::Publish(publish.clone());
                        encoded_len(&packet, Version::V5) <= max as usize
                    })
                });
                return true;
            }
            Packet::PubAck(_) | Packet::PubComp(_) => {
                self.receiving = self.receiving.saturating_sub(1);
            }
            Packet::PubRec(ack) if ack.reason.is_failure() => {
                self.receiving = self.receiving.saturating_sub(1);
            }
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::PubRec(_)
            | Packet::PubRel(_)
            | Packet::Subscribe(_)
            | Packet::SubAck(_)
            | Packet::Unsubscribe(_)
            | Packet::UnsubAck(_)
            | Packet::PingReq
            | Packet::PingResp
            | Packet::Disconnect(_)
            | Packet::Auth(_) => {}
        }
        self.leave_out_problems(packet);
        self.packet_bytes_max.is_none_or(|max| encoded_len(packet, Version::V5) <= max as usize)
    }

    /// Takes words for a person out where the client does not want them [MQTT-3.1.2-29] or the packet would be too large
    /// for it [MQTT-3.4.2-2].
    fn leave_out_problems(&self, packet: &mut Packet) {
        let is_wanted =
            self.wants_problems || matches!(packet, Packet::ConnAck(_) | Packet::Disconnect(_));
        let Some((reason_string, user_properties)) = problems(packet) else { return };
        if reason_string.is_none() && user_properties.is_empty() {
            return;
        }
        let max = self.packet_bytes_max.unwrap_or(u32::MAX) as usize;
        let stays = is_wanted && encoded_len(packet, Version::V5) <= max;
        if let Some((reason_string, user_properties)) = problems(packet).filter(|_| !stays) {
            *reason_string = None;
            user_properties.clear();
        }
    }

    /// When the client must have been heard; `None` if it turned keep alive off.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        // [MQTT-3.1.2-22]: one and a half times the keep alive.
        self.keep_alive.map(|keep_alive| self.heard + keep_alive + keep_alive / 2)
    }
}

/// A CONNACK that refuses, with words for a person.
#[must_use]
pub(super) fn refusal(reason: ReasonCode, why: Option<Arc<str>>) -> Packet {
    let properties = ConnAckProperties { reason_string: why, ..ConnAckProperties::default() };
    connack(false, reason, properties)
}

/// The words for a person in a packet of ours.
fn problems(packet: &mut Packet) -> Option<(&mut Option<Arc<str>>, &mut UserProperties)> {
    match packet {
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            Some((&mut ack.reason_string, &mut ack.user_properties))
        }
        Packet::SubAck(ack) | Packet::UnsubAck(ack) => {
            Some((&mut ack.reason_string, &mut ack.user_properties))
        }
        Packet::ConnAck(ack) => {
            Some((&mut ack.properties.reason_string, &mut ack.properties.user_properties))
        }
        Packet::Disconnect(bye) => Some((&mut bye.reason_string, &mut bye.user_properties)),
        Packet::Connect(_)
        | Packet::Publish(_)
        | Packet::Subscribe(_)
        | Packet::Unsubscribe(_)
        | Packet::PingReq
        | Packet::PingResp
        | Packet::Auth(_) => None,
    }
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
            bridge: false,
            clean_start,
            keep_alive: 10,
            client_id: client_id.into(),
            will: None,
            username: None,
            password: None,
            properties: ConnectProperties::default(),
        }
    }

    const ATTACHED: Attached = Attached {
        node: crate::hub::NodeId(1),
        connection: crate::hub::ConnectionId(1),
        session_present: false,
        needs: 0,
        expiry: 0,
        refused: None,
    };

    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    fn accept_under(
        connect: Connect,
        options: ProtocolOptions,
    ) -> Result<(Protocol, AttachClient), Refusal> {
        Protocol::accept(connect, options, 7, Instant::now(), Timestamp::default())
    }

    fn connack_of(protocol: &Protocol, expiry: u32) -> ConnAckProperties {
        let connack = protocol.connack(&Attached { expiry, ..ATTACHED });
        let Packet::ConnAck(ack) = connack else { panic!("a CONNACK") };
        ack.properties
    }

    fn publish(packet_id: u16) -> crate::mqtt::Publish {
        crate::mqtt::Publish {
            dup: false,
            qos: crate::model::QoS::AtLeastOnce,
            retain: false,
            topic: Some(crate::model::TopicName::new("topic").expect("a topic")),
            packet_id: crate::mqtt::PacketId::new(packet_id),
            payload: bytes::Bytes::new(),
            properties: None,
            message_expiry: None,
            topic_alias: None,
            subscription_ids: Vec::new(),
        }
    }

    fn accept(connect: Connect) -> Result<(Protocol, AttachClient), Refusal> {
        accept_under(connect, ProtocolOptions::default())
    }

    #[test]
    fn a_client_without_a_name_is_given_one_where_it_needs_none() {
        let (protocol, attach) = accept(connect(Version::V5, "", false)).expect("accepted");
        assert_eq!(&*attach.client_id, "auto-0000000000000007");
        assert_eq!(connack_of(&protocol, 0).assigned_client_id, Some(attach.client_id));
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

    #[test]
    fn a_client_is_told_what_it_is_given_instead_of_what_it_asked_for() {
        let longest = NonZeroU16::new(20);
        let options = ProtocolOptions { keep_alive_max: longest, ..ProtocolOptions::default() };
        for (asked, given, seconds) in [(0, Some(20), 30), (21, Some(20), 30), (20, None, 30)] {
            let mut connect = connect(Version::V5, "a", true);
            connect.keep_alive = asked;
            connect.properties.session_expiry = Some(100);
            let (protocol, _) = accept_under(connect, options).expect("accepted");
            let told = connack_of(&protocol, 50);
            assert_eq!((told.server_keep_alive, told.session_expiry), (given, Some(50)));
            assert_eq!(connack_of(&protocol, 100).session_expiry, None);
            let silence = protocol.poll_timeout().map(|at| at - protocol.heard);
            assert_eq!(silence, Some(Duration::from_secs(seconds)));
        }
        let early = Connect { keep_alive: 0, ..connect(Version::V311, "a", true) };
        let (protocol, _) = accept_under(early, options).expect("accepted");
        assert_eq!(protocol.poll_timeout(), None);
    }

    #[test]
    fn more_under_way_than_announced_ends_the_connection() {
        let options =
            ProtocolOptions { receive_maximum: NonZeroU16::MIN, ..ProtocolOptions::default() };
        for (version, ends) in [(Version::V5, true), (Version::V311, false)] {
            let (mut protocol, _) =
                accept_under(connect(version, "a", true), options).expect("accepted");
            let now = protocol.heard;
            let say = |protocol: &mut Protocol, id| {
                let step = protocol.handle_packet(Packet::Publish(publish(id)), now);
                step == Step::End(ReasonCode::ReceiveMaximumExceeded)
            };
            assert!(!say(&mut protocol, 1));
            let received = crate::mqtt::Ack::new(
                crate::mqtt::PacketId::new(1).expect("not 0"),
                ReasonCode::Success,
            );
            protocol.handle_outgoing(&mut Packet::PubRec(received.clone()));
            assert_eq!(say(&mut protocol, 2), ends, "{version:?}");
            protocol.handle_outgoing(&mut Packet::PubComp(received.clone()));
            protocol.handle_outgoing(&mut Packet::PubComp(received));
            assert!(!say(&mut protocol, 3));
            let refused = crate::mqtt::Ack::new(
                crate::mqtt::PacketId::new(3).expect("not 0"),
                ReasonCode::QuotaExceeded,
            );
            protocol.handle_outgoing(&mut Packet::PubRec(refused));
            assert!(!say(&mut protocol, 4));
        }
    }

    #[test]
    fn words_for_a_person_are_left_out_where_they_are_not_wanted_or_do_not_fit() {
        let mut spoken = crate::mqtt::Ack::new(
            crate::mqtt::PacketId::new(1).expect("not 0"),
            ReasonCode::QuotaExceeded,
        );
        spoken.reason_string = Some("full".repeat(20).into());
        let silent = crate::mqtt::Ack { reason_string: None, ..spoken.clone() };
        for (wants, max, stays) in [
            (None, None, true),
            (Some(true), Some(200), true),
            (Some(false), None, false),
            (None, Some(60), false),
        ] {
            let mut connect = connect(Version::V5, "a", true);
            connect.properties.request_problem_information = wants;
            let (mut protocol, _) = accept(connect).expect("accepted");
            // Who takes no more than 10 bytes is not let in, as a CONNACK has more.
            protocol.packet_bytes_max = max;
            let mut packet = Packet::PubAck(spoken.clone());
            protocol.handle_outgoing(&mut packet);
            let expected = if stays { spoken.clone() } else { silent.clone() };
            assert_eq!(packet, Packet::PubAck(expected), "{wants:?} {max:?}");
            let mut bye = crate::mqtt::Disconnect::new(ReasonCode::ServerBusy);
            bye.reason_string = Some("busy".repeat(20).into());
            let mut packet = Packet::Disconnect(bye.clone());
            protocol.handle_outgoing(&mut packet);
            assert_eq!(packet == Packet::Disconnect(bye), max != Some(60), "{wants:?} {max:?}");
        }
    }

    #[test]
    fn aliases_are_offered_taken_and_set() {
        let mut connect = connect(Version::V5, "a", true);
        connect.properties.topic_alias_maximum = Some(1);
        let (mut protocol, _) = accept(connect).expect("accepted");
        let announced = connack_of(&protocol, 0).topic_alias_maximum;
        assert_eq!(announced, Some(ProtocolOptions::default().topic_alias_max));
        let now = protocol.heard;
        let aliased = |topic: bool, alias| {
            let publish = publish(1);
            Packet::Publish(crate::mqtt::Publish {
                topic: publish.topic.clone().filter(|_| topic),
                topic_alias: NonZeroU16::new(alias),
                ..publish
            })
        };
        let plain = Step::ForSession(aliased(true, 0));
        assert_eq!(protocol.handle_packet(aliased(true, 16), now), plain);
        assert_eq!(protocol.handle_packet(aliased(false, 16), now), plain);
        let beyond = protocol.handle_packet(aliased(true, 17), now);
        assert_eq!(beyond, Step::End(ReasonCode::TopicAliasInvalid));
        for sent in [aliased(true, 1), aliased(false, 1)] {
            let mut packet = aliased(true, 0);
            protocol.handle_outgoing(&mut packet);
            assert_eq!(packet, sent);
        }
    }
}

//! core: one connection to an upstream: CONNECT and its answer, keep alive, subscriptions. MQTT 5.0 sections 3.1, 3.2,
//! 3.12.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::settings::UplinkSettings;
use crate::hub::node::NODE_PROPERTY;
use crate::hub::{AttachUplink, NodeId, Peer};
use crate::keep_alive::{KeepAlive, KeepAliveStep};
use crate::model::{MessageProperties, QoS, TopicFilter, TopicName};
use crate::mqtt::{
    Connect, ConnectProperties, Packet, PacketId, ReasonCode, RetainHandling, Subscribe,
    SubscribeFilter, Version, Will,
};

/// How long the upstream has for its CONNACK.
const CONNACK_MAX: Duration = Duration::from_secs(15);
/// How long the upstream may leave every message unacknowledged.
const UNANSWERED_MAX: Duration = Duration::from_secs(60);
/// The largest packet taken from upstream.
pub(super) const PACKET_BYTES_MAX: u32 = 1024 * 1024;
/// The packet id of our SUBSCRIBE: the one id no message is given.
pub const SUBSCRIBE_ID: PacketId = PacketId(NonZeroU16::MAX);

/// Why a connection is given up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// No CONNACK in time.
    #[error("no answer to CONNECT within {} s: is this port an MQTT broker?", CONNACK_MAX.as_secs())]
    NoConnAck,
    /// The upstream refused the connection.
    #[error("refused: {reason}{}", hint(*reason))]
    Refused {
        /// Why.
        reason: ReasonCode,
    },
    /// No SUBACK in time.
    #[error("no answer to SUBSCRIBE within {} s", CONNACK_MAX.as_secs())]
    NoSubAck,
    /// Nothing came for one and a half keep alive intervals.
    #[error("nothing heard for {} s although we asked: the link or the broker is dead", silence.as_secs())]
    Silent {
        /// For how long.
        silence: Duration,
    },
    /// It answers when it is asked whether it lives, and acknowledges nothing.
    #[error("no message acknowledged for {} s: the broker is stuck", since.as_secs())]
    Unanswered {
        /// For how long.
        since: Duration,
    },
    /// The upstream said DISCONNECT.
    #[error("the broker ended the connection: {reason}")]
    Disconnected {
        /// Why.
        reason: ReasonCode,
    },
    /// The upstream sent what a server must not send.
    #[error("the broker sent {packet}, which breaks the protocol")]
    Unexpected {
        /// Which packet.
        packet: &'static str,
    },
}

fn hint(reason: ReasonCode) -> &'static str {
    if reason == ReasonCode::UnsupportedProtocolVersion {
        "; set `version: 3.1.1` for this uplink"
    } else if reason == ReasonCode::BadUserNameOrPassword || reason == ReasonCode::NotAuthorized {
        "; check `username` and `password` of this uplink"
    } else if reason == ReasonCode::ClientIdNotValid {
        "; set another `client_id` for this uplink"
    } else {
        ""
    }
}

/// What a packet from the upstream means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// Send this at once.
    Send(Packet),
    /// The connection is up: attach the session; what is for it already is had from [`Link::take_early`].
    Up(AttachUplink),
    /// All subscriptions are made.
    Subscribed,
    /// The session's business.
    ForSession(Packet),
    /// A subscription was refused.
    SubscriptionRefused {
        /// Which filter.
        filter: Arc<str>,
        /// Why.
        reason: ReasonCode,
    },
    /// Nothing to do.
    Nothing,
}

/// What a connection begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dial {
    /// The broker's address.
    pub server: Arc<str>,
    /// Which gateway this is.
    pub node: NodeId,
    /// Whether 3.1.1 says that we bridge.
    pub bridge: bool,
    /// Whether what the broker keeps for us is thrown away: our session stands at another one.
    pub clean_start: bool,
}

#[derive(Debug)]
enum State {
    AwaitConnAck {
        until: Instant,
    },
    /// In 3.1.1 a gateway is asked which it is before anything else; any other broker just grants a subscription.
    AwaitNode {
        until: Instant,
        attach: Box<AttachUplink>,
    },
    Up,
}

/// One connection to an upstream.
#[derive(Debug)]
pub struct Link {
    name: Arc<str>,
    version: Version,
    keep_alive: KeepAlive,
    accept: Vec<(TopicFilter, QoS)>,
    dial: Dial,
    /// Where we say in 3.1.1 which gateway we are, and are told which the other is.
    node_topic: String,
    state: State,
    /// What came for the session before it was attached.
    early: Vec<Packet>,
    traffic: Instant,
    /// When something for the session last came, or when it was first seen to wait for that.
    answered: Option<Instant>,
}

impl Link {
    /// A connection whose CONNECT leaves at `now`.
    #[must_use]
    pub fn new(settings: &UplinkSettings, dial: Dial, now: Instant) -> Self {
        Self {
            name: settings.name.clone(),
            version: settings.version,
            keep_alive: KeepAlive::new(settings.keep_alive, now),
            accept: settings.accept.iter().map(|rule| (rule.filter.clone(), rule.qos)).collect(),
            node_topic: us(settings, dial.node).topic(),
            dial: Dial { bridge: dial.bridge && settings.version != Version::V5, ..dial },
            early: Vec::new(),
            state: State::AwaitConnAck { until: now + CONNACK_MAX },
            traffic: now,
            answered: None,
        }
    }

    /// The CONNECT: our session is kept, and the will says `offline` on the status topic.
    #[must_use]
    pub fn connect_packet(&self, settings: &UplinkSettings, status_topic: &TopicName) -> Packet {
        let node = || (NODE_PROPERTY.into(), us(settings, self.dial.node).to_string().into());
        let expiry = u32::try_from(settings.session_expiry.as_secs()).unwrap_or(u32::MAX);
        Packet::Connect(Box::new(Connect {
            version: settings.version,
            bridge: self.dial.bridge,
            clean_start: self.dial.clean_start,
            keep_alive: u16::try_from(settings.keep_alive.as_secs()).unwrap_or(u16::MAX),
            client_id: settings.client_id.clone(),
            will: Some(Will {
                topic: status_topic.clone(),
                payload: Bytes::from_static(b"offline"),
                qos: QoS::AtLeastOnce,
                retain: true,
                delay: None,
                message_expiry: None,
                properties: MessageProperties::default(),
            }),
            username: settings.username.clone(),
            password: settings
                .password
                .as_ref()
                .map(|secret| Bytes::copy_from_slice(secret.reveal().as_bytes())),
            properties: ConnectProperties {
                session_expiry: (settings.version == Version::V5).then_some(expiry),
                // As much may be under way down here as up: a broker repeats no more than that after a lost link.
                receive_maximum: NonZeroU16::new(settings.window)
                    .filter(|_| settings.version == Version::V5),
                // A larger message would end every connection it is sent on.
                maximum_packet_size: NonZeroU32::new(PACKET_BYTES_MAX)
                    .filter(|_| settings.version == Version::V5),
                user_properties: (settings.version == Version::V5).then(node).into_iter().collect(),
                ..ConnectProperties::default()
            },
        }))
    }

    /// The SUBSCRIBE for what is accepted from upstream, if anything is. Retained messages are wanted only for a
    /// subscription that is new to the upstream (5.0).
    #[must_use]
    pub fn subscribe_packet(&self) -> Option<Packet> {
        let filters: Vec<SubscribeFilter> = self
            .accept
            .iter()
            .map(|(filter, qos)| SubscribeFilter {
                // [MQTT-3.8.3-4]: not for a shared subscription.
                no_local: self.version == Version::V5 && filter.unshared() == *filter,
                filter: filter.clone(),
                qos: *qos,
                retain_as_published: self.version == Version::V5,
                retain_handling: if self.version == Version::V5 {
                    RetainHandling::SendIfNew
                } else {
                    RetainHandling::Send
                },
            })
            .collect();
        (!filters.is_empty()).then(|| subscribe(filters))
    }

    /// What came for the session before it was attached, in order.
    pub fn take_early(&mut self) -> Vec<Packet> {
        std::mem::take(&mut self.early)
    }

    /// A packet came.
    ///
    /// # Errors
    /// [`LinkError`]: the connection is over.
    pub fn handle_packet(&mut self, packet: Packet, now: Instant) -> Result<LinkEvent, LinkError> {
        self.handle_heard(now);
        let name = packet.name();
        match (&mut self.state, packet) {
            (State::AwaitConnAck { .. }, Packet::ConnAck(ack)) => {
                if ack.reason.is_failure() {
                    return Err(LinkError::Refused { reason: ack.reason });
                }
                if let Some(seconds) = ack.properties.server_keep_alive.filter(|s| *s > 0) {
                    self.keep_alive.set_interval(Duration::from_secs(seconds.into()));
                }
                let attach = AttachUplink {
                    name: self.name.clone(),
                    session_present: ack.session_present,
                    version: self.version,
                    receive_maximum: ack.properties.receive_maximum.unwrap_or(NonZeroU16::MAX),
                    packet_bytes_max: ack.properties.maximum_packet_size.map(|size| size.get()),
                    qos_max: ack.properties.maximum_qos.unwrap_or(QoS::ExactlyOnce),
                    retain_available: ack.properties.retain_available.unwrap_or(true),
                    peer: Peer::among(&ack.properties.user_properties),
                    server: Some(self.dial.server.clone()),
                };
                Ok(self.greet(attach, now))
            }
            (_, Packet::Disconnect(disconnect)) => {
                Err(LinkError::Disconnected { reason: disconnect.reason })
            }
            (State::AwaitNode { attach, .. }, Packet::Publish(publish))
                if publish
                    .topic
                    .as_ref()
                    .is_some_and(|topic| topic.as_str() == self.node_topic) =>
            {
                attach.peer = std::str::from_utf8(&publish.payload).ok().and_then(Peer::parse);
                Ok(LinkEvent::Nothing)
            }
            (State::AwaitNode { attach, .. }, Packet::SubAck(_)) => {
                let attach = (**attach).clone();
                self.state = State::Up;
                Ok(LinkEvent::Up(attach))
            }
            (State::AwaitNode { .. }, packet) if packet.sent_by_server() => {
                self.early.push(packet);
                Ok(LinkEvent::Nothing)
            }
            (State::Up, Packet::PingResp) => Ok(LinkEvent::Nothing),
            (State::Up, Packet::SubAck(ack)) => {
                let refused =
                    ack.reasons.iter().zip(&self.accept).find(|(reason, _)| reason.is_failure());
                Ok(refused.map_or(LinkEvent::Subscribed, |(reason, (filter, _))| {
                    let filter = filter.as_str().into();
                    LinkEvent::SubscriptionRefused { filter, reason: *reason }
                }))
            }
            (State::Up, packet) if packet.sent_by_server() => {
                self.traffic = now;
                self.answered = self.answered.map(|_| now);
                Ok(LinkEvent::ForSession(packet))
            }
            (_, _) => Err(LinkError::Unexpected { packet: name }),
        }
    }

    /// The connection is accepted. Where the CONNECT could not say which gateway we are, we do so before all else: what
    /// the other side has been through must be known before anything goes there.
    fn greet(&mut self, attach: AttachUplink, now: Instant) -> LinkEvent {
        let filter = TopicFilter::new(&self.node_topic).ok().filter(|_| self.dial.bridge);
        let Some(filter) = filter else {
            self.state = State::Up;
            return LinkEvent::Up(attach);
        };
        let attach = Box::new(attach);
        self.state = State::AwaitNode { until: now + CONNACK_MAX, attach };
        LinkEvent::Send(subscribe(vec![SubscribeFilter {
            filter,
            qos: QoS::AtMostOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        }]))
    }

    /// Bytes came, whatever they mean: the link lives.
    pub fn handle_heard(&mut self, now: Instant) {
        self.keep_alive.handle_heard(now);
    }

    /// Something for or from the session is on its way.
    pub fn handle_traffic(&mut self, now: Instant) {
        self.traffic = now;
    }

    /// When something for or from the session was last on its way.
    #[must_use]
    pub fn traffic(&self) -> Instant {
        self.traffic
    }

    /// Whether the session waits for acknowledgements, said now and then: a broker that gives none for a minute and more
    /// is left, since with a full window it would be waited for without an end.
    ///
    /// # Errors
    /// [`LinkError::Unanswered`].
    pub fn handle_waiting(&mut self, waits: bool, now: Instant) -> Result<(), LinkError> {
        let answered = self.answered.filter(|_| waits).unwrap_or(now);
        self.answered = waits.then_some(answered);
        let since = now.duration_since(answered);
        if since < UNANSWERED_MAX { Ok(()) } else { Err(LinkError::Unanswered { since }) }
    }

    /// What it means that nothing came by [`Self::poll_timeout`] while the connection comes about.
    #[must_use]
    pub fn overdue(&self) -> LinkError {
        match self.state {
            State::AwaitNode { .. } => LinkError::NoSubAck,
            State::AwaitConnAck { .. } | State::Up => LinkError::NoConnAck,
        }
    }

    /// Bytes left.
    pub fn handle_sent(&mut self, now: Instant) {
        self.keep_alive.handle_sent(now);
    }

    /// When [`Self::handle_timeout`] wants to be called, if ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::AwaitConnAck { until } | State::AwaitNode { until, .. } => Some(until),
            State::Up => self.keep_alive.poll_timeout(),
        }
    }

    /// A deadline has come: asks for a sign of life, or gives up ([`KeepAlive`]).
    ///
    /// # Errors
    /// [`LinkError`]: the connection is over.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<Option<Packet>, LinkError> {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return Ok(None);
        }
        match self.state {
            State::AwaitConnAck { .. } => Err(LinkError::NoConnAck),
            State::AwaitNode { .. } => Err(LinkError::NoSubAck),
            State::Up => match self.keep_alive.handle_timeout(now) {
                KeepAliveStep::Wait => Ok(None),
                KeepAliveStep::Ping => Ok(Some(Packet::PingReq)),
                KeepAliveStep::Silent(silence) => Err(LinkError::Silent { silence }),
            },
        }
    }
}

/// How we say which gateway we are.
fn us(settings: &UplinkSettings, node: NodeId) -> Peer {
    Peer { node, same_names: settings.accept.iter().all(|rule| rule.to.is_none()) }
}

fn subscribe(filters: Vec<SubscribeFilter>) -> Packet {
    Packet::Subscribe(Subscribe {
        packet_id: SUBSCRIBE_ID,
        subscription_id: None,
        user_properties: Vec::new(),
        filters,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::{Ack, ConnAck, ConnAckProperties};

    fn settings() -> UplinkSettings {
        UplinkSettings {
            name: "cloud".into(),
            servers: Vec::new(),
            return_to_first: true,
            start: crate::uplink::Start::Automatic,
            try_private: true,
            version: Version::V5,
            client_id: "gw".into(),
            username: None,
            password: None,
            keep_alive: Duration::from_secs(10),
            window: 10,
            session_expiry: Duration::from_secs(60),
            on_session_lost: crate::uplink::OnSessionLost::Republish,
            live_first: None,
            forward: Vec::new(),
            accept: Vec::new(),
        }
    }

    fn connack(reason: ReasonCode) -> Packet {
        let properties = ConnAckProperties::default();
        Packet::ConnAck(Box::new(ConnAck { session_present: true, reason, properties }))
    }

    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    fn dial() -> Dial {
        let node = NodeId(7);
        Dial { server: "localhost:1883".into(), node, bridge: true, clean_start: false }
    }

    fn up(start: Instant) -> Link {
        let mut link = Link::new(&settings(), dial(), start);
        let event = link.handle_packet(connack(ReasonCode::Success), start);
        assert!(matches!(event, Ok(LinkEvent::Up(AttachUplink { session_present: true, .. }))));
        link
    }

    #[test]
    fn an_upstream_that_never_answers_connect_is_given_up() {
        let start = start();
        let mut link = Link::new(&settings(), dial(), start);
        assert_eq!(link.handle_timeout(start + CONNACK_MAX), Err(LinkError::NoConnAck));
    }

    #[test]
    fn a_refusal_says_what_to_check() {
        let start = start();
        let mut link = Link::new(&settings(), dial(), start);
        let error = link.handle_packet(connack(ReasonCode::BadUserNameOrPassword), start);
        let text = error.expect_err("refused").to_string();
        assert!(text.contains("check `username`"), "{text}");
    }

    #[test]
    fn a_link_that_takes_bytes_and_answers_nothing_is_found_out_within_one_and_a_half_keep_alives()
    {
        let start = start();
        let mut link = up(start);
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        // Messages leave all the time, so the keep alive of the protocol alone would never ask.
        for tenth in 1..100 {
            link.handle_sent(at(f64::from(tenth) / 10.0));
        }
        assert_eq!(link.poll_timeout(), Some(at(10.0)));
        assert_eq!(link.handle_timeout(at(10.0)), Ok(Some(Packet::PingReq)));
        assert_eq!(link.poll_timeout(), Some(at(15.0)));
        let silence = Duration::from_secs(15);
        assert_eq!(link.handle_timeout(at(15.0)), Err(LinkError::Silent { silence }));
    }

    #[test]
    fn an_answer_in_time_keeps_the_link() {
        let start = start();
        let mut link = up(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(link.handle_timeout(at(10)), Ok(Some(Packet::PingReq)));
        assert_eq!(link.handle_packet(Packet::PingResp, at(14)), Ok(LinkEvent::Nothing));
        assert_eq!(link.poll_timeout(), Some(at(20)));
        assert_eq!(link.handle_timeout(at(15)), Ok(None));
    }

    #[test]
    fn a_broker_that_lives_and_acknowledges_nothing_is_left() {
        let start = start();
        let mut link = up(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(link.handle_waiting(false, at(500)), Ok(()));
        // What was sent a moment ago need not be acknowledged.
        assert_eq!(link.handle_waiting(true, at(510)), Ok(()));
        assert_eq!(link.handle_waiting(true, at(560)), Ok(()));
        let ack = Packet::PubAck(Ack::new(SUBSCRIBE_ID, ReasonCode::Success));
        assert!(matches!(link.handle_packet(ack, at(565)), Ok(LinkEvent::ForSession(_))));
        assert_eq!(link.handle_waiting(true, at(600)), Ok(()));
        let since = Duration::from_secs(60);
        assert_eq!(link.handle_waiting(true, at(625)), Err(LinkError::Unanswered { since }));
    }

    #[test]
    fn what_only_a_client_may_send_ends_the_link() {
        let start = start();
        let mut link = up(start);
        let error = link.handle_packet(Packet::PingReq, start);
        assert_eq!(error, Err(LinkError::Unexpected { packet: "PINGREQ" }));
        let early = Link::new(&settings(), dial(), start)
            .handle_packet(Packet::PubAck(Ack::new(SUBSCRIBE_ID, ReasonCode::Success)), start);
        assert_eq!(early, Err(LinkError::Unexpected { packet: "PUBACK" }));
    }

    #[test]
    fn a_bridge_of_3_1_1_learns_which_gateway_is_there_before_its_session_is_attached() {
        let start = start();
        let settings = UplinkSettings { version: Version::V311, ..settings() };
        let mut link = Link::new(&settings, dial(), start);
        let Packet::Connect(connect) =
            link.connect_packet(&settings, &TopicName::new("gw/status").unwrap())
        else {
            panic!("a CONNECT")
        };
        assert!(connect.bridge && connect.properties.user_properties.is_empty());
        let Ok(LinkEvent::Send(Packet::Subscribe(asked))) =
            link.handle_packet(connack(ReasonCode::Success), start)
        else {
            panic!("it asks who is there")
        };
        assert_eq!(asked.filters[0].filter.as_str(), "$SYS/fieldpost/node/0000000000000007/same");
        let publish = |topic: &str, payload: &'static str| {
            Packet::Publish(crate::mqtt::Publish {
                dup: false,
                qos: QoS::AtMostOnce,
                retain: false,
                topic: TopicName::new(topic).ok(),
                packet_id: None,
                payload: Bytes::from_static(payload.as_bytes()),
                properties: None,
                message_expiry: None,
                topic_alias: None,
                subscription_ids: Vec::new(),
            })
        };
        let waits = publish("a", "x");
        assert_eq!(link.handle_packet(waits.clone(), start), Ok(LinkEvent::Nothing));
        let answer = publish(asked.filters[0].filter.as_str(), "0000000000000008");
        assert_eq!(link.handle_packet(answer, start), Ok(LinkEvent::Nothing));
        let granted = Packet::SubAck(crate::mqtt::SubAck {
            packet_id: SUBSCRIBE_ID,
            reason_string: None,
            user_properties: Vec::new(),
            reasons: vec![ReasonCode::Success],
        });
        let Ok(LinkEvent::Up(attach)) = link.handle_packet(granted, start) else {
            panic!("it is up")
        };
        assert_eq!(attach.peer.map(|peer| peer.node), Some(NodeId(8)));
        assert_eq!(link.take_early(), [waits]);
    }
}

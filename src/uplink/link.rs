//! core: one connection to an upstream: CONNECT and its answer, keep alive, subscriptions. MQTT 5.0 sections 3.1, 3.2,
//! 3.12.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::settings::UplinkSettings;
use crate::hub::AttachUplink;
use crate::model::{MessageProperties, QoS, TopicFilter, TopicName};
use crate::mqtt::{
    Connect, ConnectProperties, Packet, PacketId, ReasonCode, RetainHandling, Subscribe,
    SubscribeFilter, Version, Will,
};

/// How long the upstream has for its CONNACK.
const CONNACK_MAX: Duration = Duration::from_secs(15);
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
    /// Nothing came for one and a half keep alive intervals.
    #[error("nothing heard for {} s although we asked: the link or the broker is dead", silence.as_secs())]
    Silent {
        /// For how long.
        silence: Duration,
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
    /// The connection is up: attach the session.
    Up(AttachUplink),
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    AwaitConnAck { until: Instant },
    Up,
}

/// One connection to an upstream.
#[derive(Debug)]
pub struct Link {
    name: Arc<str>,
    version: Version,
    keep_alive: Duration,
    accept: Vec<(Arc<str>, QoS)>,
    state: State,
    last_sent: Instant,
    last_heard: Instant,
    pinged: bool,
}

impl Link {
    /// A connection whose CONNECT leaves at `now`.
    #[must_use]
    pub fn new(settings: &UplinkSettings, now: Instant) -> Self {
        Self {
            name: settings.name.clone(),
            version: settings.version,
            keep_alive: settings.keep_alive,
            accept: settings
                .accept
                .iter()
                .map(|rule| (Arc::from(rule.filter.as_str()), rule.qos))
                .collect(),
            state: State::AwaitConnAck { until: now + CONNACK_MAX },
            last_sent: now,
            last_heard: now,
            pinged: false,
        }
    }

    /// The CONNECT: our session is kept, and the will says `offline` on the status topic.
    #[must_use]
    pub fn connect_packet(settings: &UplinkSettings, status_topic: &TopicName) -> Packet {
        let expiry = u32::try_from(settings.session_expiry.as_secs()).unwrap_or(u32::MAX);
        Packet::Connect(Box::new(Connect {
            version: settings.version,
            clean_start: false,
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
                // A larger message would end every connection it is sent on.
                maximum_packet_size: NonZeroU32::new(PACKET_BYTES_MAX)
                    .filter(|_| settings.version == Version::V5),
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
            .filter_map(|(filter, qos)| {
                Some(SubscribeFilter {
                    filter: TopicFilter::new(filter).ok()?,
                    qos: *qos,
                    no_local: self.version == Version::V5,
                    retain_as_published: self.version == Version::V5,
                    retain_handling: if self.version == Version::V5 {
                        RetainHandling::SendIfNew
                    } else {
                        RetainHandling::Send
                    },
                })
            })
            .collect();
        (!filters.is_empty()).then_some(Packet::Subscribe(Subscribe {
            packet_id: SUBSCRIBE_ID,
            subscription_id: None,
            user_properties: Vec::new(),
            filters,
        }))
    }

    /// A packet came.
    ///
    /// # Errors
    /// [`LinkError`]: the connection is over.
    pub fn handle_packet(&mut self, packet: Packet, now: Instant) -> Result<LinkEvent, LinkError> {
        self.handle_heard(now);
        let name = packet.name();
        match (self.state, packet) {
            (State::AwaitConnAck { .. }, Packet::ConnAck(ack)) => {
                if ack.reason.is_failure() {
                    return Err(LinkError::Refused { reason: ack.reason });
                }
                self.state = State::Up;
                if let Some(seconds) = ack.properties.server_keep_alive.filter(|s| *s > 0) {
                    self.keep_alive = Duration::from_secs(seconds.into());
                }
                Ok(LinkEvent::Up(AttachUplink {
                    name: self.name.clone(),
                    session_present: ack.session_present,
                    version: self.version,
                    receive_maximum: ack.properties.receive_maximum.unwrap_or(NonZeroU16::MAX),
                    packet_bytes_max: ack.properties.maximum_packet_size.map(|size| size.get()),
                    qos_max: ack.properties.maximum_qos.unwrap_or(QoS::ExactlyOnce),
                    retain_available: ack.properties.retain_available.unwrap_or(true),
                    accept: self.accept_filters(),
                }))
            }
            (_, Packet::Disconnect(disconnect)) => {
                Err(LinkError::Disconnected { reason: disconnect.reason })
            }
            (State::Up, Packet::PingResp) => Ok(LinkEvent::Nothing),
            (State::Up, Packet::SubAck(ack)) => {
                let refused =
                    ack.reasons.iter().zip(&self.accept).find(|(reason, _)| reason.is_failure());
                Ok(refused.map_or(LinkEvent::Nothing, |(reason, (filter, _))| {
                    LinkEvent::SubscriptionRefused { filter: filter.clone(), reason: *reason }
                }))
            }
            (State::Up, packet) if packet.sent_by_server() => Ok(LinkEvent::ForSession(packet)),
            (_, _) => Err(LinkError::Unexpected { packet: name }),
        }
    }

    /// Bytes came, whatever they mean: the link lives.
    pub fn handle_heard(&mut self, now: Instant) {
        self.last_heard = now;
        self.pinged = false;
    }

    /// Bytes left.
    pub fn handle_sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        match self.state {
            State::AwaitConnAck { until } => until,
            State::Up if self.pinged => self.last_heard + self.silence_max(),
            State::Up => self.last_sent.min(self.last_heard) + self.keep_alive,
        }
    }

    /// A deadline has come: sends PINGREQ when nothing was sent, or nothing heard, for the keep alive time; gives up when
    /// nothing was heard for one and a half. So a link that takes our bytes and answers nothing is found out as well.
    ///
    /// # Errors
    /// [`LinkError`]: the connection is over.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<Option<Packet>, LinkError> {
        if now < self.poll_timeout() {
            return Ok(None);
        }
        match self.state {
            State::AwaitConnAck { .. } => Err(LinkError::NoConnAck),
            State::Up if now.duration_since(self.last_heard) >= self.silence_max() => {
                Err(LinkError::Silent { silence: now.duration_since(self.last_heard) })
            }
            State::Up => {
                self.pinged = true;
                self.last_sent = now;
                Ok(Some(Packet::PingReq))
            }
        }
    }

    fn accept_filters(&self) -> Vec<TopicFilter> {
        self.accept.iter().filter_map(|(filter, _)| TopicFilter::new(filter).ok()).collect()
    }

    fn silence_max(&self) -> Duration {
        self.keep_alive + self.keep_alive / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::{Ack, ConnAck, ConnAckProperties};

    fn settings() -> UplinkSettings {
        UplinkSettings {
            name: "cloud".into(),
            host: "localhost".into(),
            port: 1883,
            tls: None,
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

    fn up(start: Instant) -> Link {
        let mut link = Link::new(&settings(), start);
        let event = link.handle_packet(connack(ReasonCode::Success), start);
        assert!(matches!(event, Ok(LinkEvent::Up(AttachUplink { session_present: true, .. }))));
        link
    }

    #[test]
    fn an_upstream_that_never_answers_connect_is_given_up() {
        let start = start();
        let mut link = Link::new(&settings(), start);
        assert_eq!(link.handle_timeout(link.poll_timeout()), Err(LinkError::NoConnAck));
    }

    #[test]
    fn a_refusal_says_what_to_check() {
        let start = start();
        let mut link = Link::new(&settings(), start);
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
        assert_eq!(link.poll_timeout(), at(10.0));
        assert_eq!(link.handle_timeout(at(10.0)), Ok(Some(Packet::PingReq)));
        assert_eq!(link.poll_timeout(), at(15.0));
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
        assert_eq!(link.poll_timeout(), at(20));
        assert_eq!(link.handle_timeout(at(15)), Ok(None));
    }

    #[test]
    fn what_only_a_client_may_send_ends_the_link() {
        let start = start();
        let mut link = up(start);
        let error = link.handle_packet(Packet::PingReq, start);
        assert_eq!(error, Err(LinkError::Unexpected { packet: "PINGREQ" }));
        let early = Link::new(&settings(), start)
            .handle_packet(Packet::PubAck(Ack::new(SUBSCRIBE_ID, ReasonCode::Success)), start);
        assert_eq!(early, Err(LinkError::Unexpected { packet: "PUBACK" }));
    }
}

//! core: the client's side of a session: CONNECT, subscriptions, the handshakes of each QoS both ways, the window. MQTT 5.0
//! sections 3 and 4.

use std::collections::{HashMap, HashSet, VecDeque};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::ClientError;
use super::flight::{Flight, Flights};
use super::settings::ClientSettings;
use crate::keep_alive::{KeepAlive, KeepAliveStep};
use crate::model::{QoS, TopicFilter, TopicName};
use crate::mqtt::{
    Ack, ConnAck, ConnAckProperties, Disconnect, Packet, PacketId, Publish, ReasonCode, SubAck,
    Subscribe, SubscribeFilter, Unsubscribe, UserProperties, Version, encoded_len,
};

/// How long the broker has for its CONNACK.
const CONNACK_MAX: Duration = Duration::from_secs(15);

/// What came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// The broker took the connection.
    Connected(Box<ConnAck>),
    /// SUBACK: what became of each filter.
    Subscribed(Vec<(TopicFilter, ReasonCode)>),
    /// UNSUBACK.
    Unsubscribed,
    /// A message, with its topic. At QoS 1 and 2 it is the broker's until [`Session::acknowledge`] is called.
    Message(Publish),
    /// A message of ours at QoS 1 or 2 has come to its end.
    Settled {
        /// Where it was published.
        topic: TopicName,
        /// What the broker says; a failure means that it was not taken.
        reason: ReasonCode,
        /// The broker's own words.
        text: Option<Arc<str>>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting { until: Instant },
    Up,
}

/// One session, over one connection after the other.
#[derive(Debug)]
pub struct Session {
    settings: ClientSettings,
    state: State,
    keep_alive: KeepAlive,
    /// What the broker takes.
    limits: ConnAckProperties,
    /// Whether an earlier process may have left packet ids open.
    is_inherited: bool,
    /// QoS 1 and 2, until the window has room.
    waiting: VecDeque<Publish>,
    flights: Flights,
    /// Published by the broker at QoS 2 and not released.
    received: HashSet<PacketId>,
    aliases: HashMap<NonZeroU16, TopicName>,
    /// The alias of ours that the broker knows.
    alias_known: Option<NonZeroU16>,
    packets: VecDeque<Packet>,
    events: VecDeque<ClientEvent>,
}

impl Session {
    /// A session whose first connection comes about at `now`.
    #[must_use]
    pub fn new(settings: ClientSettings, now: Instant) -> Self {
        let mut session = Self {
            keep_alive: KeepAlive::new(Duration::ZERO, now),
            state: State::Connecting { until: now },
            limits: ConnAckProperties::default(),
            is_inherited: false,
            waiting: VecDeque::new(),
            flights: Flights::default(),
            received: HashSet::new(),
            aliases: HashMap::new(),
            alias_known: None,
            packets: VecDeque::new(),
            events: VecDeque::new(),
            settings,
        };
        session.handle_dialled(now);
        session
    }

    /// A connection is there: CONNECT goes out first. What was under way on an earlier one is forgotten; what came on it
    /// at QoS 2 is not, so that a repeat is known as one.
    pub fn handle_dialled(&mut self, now: Instant) {
        let interval = Duration::from_secs(self.settings.connect.keep_alive.into());
        self.keep_alive = KeepAlive::new(interval, now);
        self.state = State::Connecting { until: now + CONNACK_MAX };
        self.waiting.clear();
        self.flights.clear();
        self.aliases.clear();
        self.alias_known = None;
        self.packets.clear();
        self.packets.push_back(Packet::Connect(Box::new(self.settings.connect.clone())));
    }

    /// The version of the protocol.
    #[must_use]
    pub fn version(&self) -> Version {
        self.settings.version()
    }

    /// Whether CONNACK has come on this connection.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Messages that wait for the window.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing of ours waits for a window or an answer.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.flights.len() == 0
    }

    /// Asks for messages. The answer is [`ClientEvent::Subscribed`].
    pub fn subscribe(
        &mut self,
        filters: Vec<SubscribeFilter>,
        subscription_id: Option<u32>,
        user_properties: UserProperties,
    ) {
        let names = filters.iter().map(|filter| filter.filter.clone()).collect();
        if let Some(packet_id) = self.flights.begin(|_| Flight::Subscribe(names)) {
            let subscribe = Subscribe { packet_id, subscription_id, user_properties, filters };
            self.packets.push_back(Packet::Subscribe(subscribe));
        }
    }

    /// Asks for no more of `filters`. The answer is [`ClientEvent::Unsubscribed`].
    pub fn unsubscribe(&mut self, filters: Vec<TopicFilter>, user_properties: UserProperties) {
        if let Some(packet_id) = self.flights.begin(|_| Flight::Unsubscribe) {
            self.packets.push_back(Packet::Unsubscribe(Unsubscribe {
                packet_id,
                user_properties,
                filters,
            }));
        }
    }

    /// Publishes, at QoS 1 and 2 as soon as the window has room; the packet id is ours to give. Each of those ends in a
    /// [`ClientEvent::Settled`].
    ///
    /// # Errors
    /// The broker has said that it does not take such a message; nothing is sent.
    pub fn publish(&mut self, publish: Publish) -> Result<(), ClientError> {
        self.check(&publish)?;
        if publish.qos == QoS::AtMostOnce {
            self.send(publish);
        } else {
            self.waiting.push_back(publish);
            self.fill_window();
        }
        Ok(())
    }

    fn check(&self, publish: &Publish) -> Result<(), ClientError> {
        if let Some(most) = self.limits.maximum_qos.filter(|most| publish.qos > *most) {
            return Err(ClientError::QoSTooHigh { most });
        }
        if publish.retain && self.limits.retain_available == Some(false) {
            return Err(ClientError::NoRetained);
        }
        let aliases = self.limits.topic_alias_maximum.unwrap_or(0);
        if let Some(alias) = publish.topic_alias.filter(|alias| alias.get() > aliases) {
            return Err(ClientError::AliasTooHigh { alias: alias.get(), most: aliases });
        }
        let numbered = Publish {
            packet_id: (publish.qos > QoS::AtMostOnce).then_some(PacketId(NonZeroU16::MAX)),
            ..publish.clone()
        };
        let bytes = encoded_len(&Packet::Publish(numbered), self.version());
        let most = self.limits.maximum_packet_size.map(std::num::NonZero::get);
        match most.filter(|most| u32::try_from(bytes).is_ok_and(|bytes| bytes > *most)) {
            Some(most) => Err(ClientError::TooLarge { bytes, most }),
            None => Ok(()),
        }
    }

    fn fill_window(&mut self) {
        let theirs = self.limits.receive_maximum.map_or(u16::MAX, NonZeroU16::get);
        let window = usize::from(self.settings.window().min(theirs));
        while self.is_up() && self.flights.len() < window {
            let Some(mut publish) = self.waiting.pop_front() else { return };
            let Some(topic) = publish.topic.clone() else { continue };
            let clears = self.is_inherited && publish.qos == QoS::ExactlyOnce;
            let begun = self.flights.begin(|id| {
                publish.packet_id = Some(id);
                if clears {
                    Flight::Clearing(Box::new(publish.clone()))
                } else {
                    Flight::Published(topic)
                }
            });
            match begun {
                Some(id) if clears => self.ack(Packet::PubRel, id),
                _ => self.send(publish),
            }
        }
    }

    /// Sends a PUBLISH, by its alias alone if the broker knows that one.
    fn send(&mut self, mut publish: Publish) {
        if publish.topic_alias.is_some() {
            if self.alias_known == publish.topic_alias {
                publish.topic = None;
            }
            self.alias_known = publish.topic_alias;
        }
        self.packets.push_back(Packet::Publish(publish));
    }

    fn ack(&mut self, kind: fn(Ack) -> Packet, id: PacketId) {
        self.packets.push_back(kind(Ack::new(id, ReasonCode::Success)));
    }

    /// A message of [`ClientEvent::Message`] is where it should be: the broker need not keep it.
    pub fn acknowledge(&mut self, publish: &Publish) {
        match (publish.qos, publish.packet_id) {
            (QoS::AtLeastOnce, Some(id)) => self.ack(Packet::PubAck, id),
            (QoS::ExactlyOnce, Some(id)) => self.ack(Packet::PubRec, id),
            (QoS::AtMostOnce, _) | (_, None) => {}
        }
    }

    /// Says goodbye; nothing may follow.
    pub fn disconnect(&mut self, disconnect: Disconnect) {
        self.packets.push_back(Packet::Disconnect(disconnect));
    }

    /// A packet came.
    ///
    /// # Errors
    /// [`ClientError`]: the connection is over.
    pub fn handle_packet(&mut self, packet: Packet, now: Instant) -> Result<(), ClientError> {
        self.keep_alive.handle_heard(now);
        let name = packet.name();
        if !packet.sent_by_server() {
            return Err(ClientError::Unexpected { packet: name });
        }
        match (self.state, packet) {
            (State::Connecting { .. }, Packet::ConnAck(ack)) => self.handle_connack(ack),
            (_, Packet::Disconnect(disconnect)) => Err(ClientError::Disconnected {
                reason: disconnect.reason,
                text: disconnect.reason_string,
                server: disconnect.server_reference,
            }),
            (_, Packet::Auth(_)) => Err(ClientError::Auth),
            (State::Up, Packet::Publish(publish)) => self.handle_publish(publish),
            (State::Up, Packet::PubAck(ack)) => {
                self.settle(ack);
                Ok(())
            }
            (State::Up, Packet::PubRec(ack)) => {
                self.handle_pubrec(ack);
                Ok(())
            }
            (State::Up, Packet::PubRel(ack)) => {
                self.received.remove(&ack.packet_id);
                self.ack(Packet::PubComp, ack.packet_id);
                Ok(())
            }
            (State::Up, Packet::PubComp(ack)) => {
                self.handle_pubcomp(ack.packet_id);
                Ok(())
            }
            (State::Up, Packet::SubAck(ack)) => {
                self.handle_suback(ack);
                Ok(())
            }
            (State::Up, Packet::UnsubAck(ack)) => {
                match self.flights.end(ack.packet_id) {
                    Some(Flight::Unsubscribe) => self.events.push_back(ClientEvent::Unsubscribed),
                    Some(other) => self.flights.go_on(ack.packet_id, other),
                    None => {}
                }
                Ok(())
            }
            (State::Up, Packet::PingResp) => Ok(()),
            _ => Err(ClientError::Unexpected { packet: name }),
        }
    }

    fn handle_connack(&mut self, ack: Box<ConnAck>) -> Result<(), ClientError> {
        if ack.reason.is_failure() {
            let text = ack.properties.reason_string;
            return Err(ClientError::Refused { reason: ack.reason, text });
        }
        self.state = State::Up;
        self.limits = ack.properties.clone();
        self.is_inherited = ack.session_present;
        if !ack.session_present {
            self.received.clear();
        }
        if let Some(seconds) = self.limits.server_keep_alive {
            self.keep_alive.set_interval(Duration::from_secs(seconds.into()));
        }
        self.events.push_back(ClientEvent::Connected(ack));
        Ok(())
    }

    fn handle_publish(&mut self, mut publish: Publish) -> Result<(), ClientError> {
        if let Some(alias) = publish.topic_alias {
            match &publish.topic {
                Some(topic) => {
                    let most = self.settings.connect.properties.topic_alias_maximum.unwrap_or(0);
                    if alias.get() > most {
                        return Err(ClientError::Alias { alias: alias.get() });
                    }
                    self.aliases.insert(alias, topic.clone());
                }
                None => publish.topic = self.aliases.get(&alias).cloned(),
            }
            if publish.topic.is_none() {
                return Err(ClientError::Alias { alias: alias.get() });
            }
        }
        if let (QoS::ExactlyOnce, Some(id)) = (publish.qos, publish.packet_id)
            && !self.received.insert(id)
        {
            // A repeat: what it repeats has been handed on.
            self.ack(Packet::PubRec, id);
            return Ok(());
        }
        self.events.push_back(ClientEvent::Message(publish));
        Ok(())
    }

    fn handle_pubrec(&mut self, ack: Ack) {
        let id = ack.packet_id;
        if ack.reason.is_failure() {
            self.settle(ack);
            return;
        }
        match self.flights.end(id) {
            Some(Flight::Published(topic) | Flight::Released(topic)) => {
                self.flights.go_on(id, Flight::Released(topic));
            }
            Some(other) => {
                self.flights.go_on(id, other);
                return;
            }
            None => {}
        }
        self.ack(Packet::PubRel, id);
    }

    fn handle_pubcomp(&mut self, id: PacketId) {
        match self.flights.end(id) {
            Some(Flight::Clearing(publish)) => {
                if let Some(topic) = publish.topic.clone() {
                    self.flights.go_on(id, Flight::Published(topic));
                    self.send(*publish);
                }
            }
            Some(Flight::Released(topic)) => {
                // Whatever the reason: the broker has had the message since its PUBREC.
                self.settled(topic, ReasonCode::Success, None);
            }
            Some(other) => self.flights.go_on(id, other),
            None => {}
        }
    }

    /// PUBACK, or a PUBREC that refuses.
    fn settle(&mut self, ack: Ack) {
        match self.flights.end(ack.packet_id) {
            Some(Flight::Published(topic)) => self.settled(topic, ack.reason, ack.reason_string),
            Some(other) => self.flights.go_on(ack.packet_id, other),
            None => {}
        }
    }

    fn settled(&mut self, topic: TopicName, reason: ReasonCode, text: Option<Arc<str>>) {
        self.events.push_back(ClientEvent::Settled { topic, reason, text });
        self.fill_window();
    }

    fn handle_suback(&mut self, ack: SubAck) {
        match self.flights.end(ack.packet_id) {
            Some(Flight::Subscribe(filters)) => {
                let results = filters.into_iter().zip(ack.reasons).collect();
                self.events.push_back(ClientEvent::Subscribed(results));
                self.fill_window();
            }
            Some(other) => self.flights.go_on(ack.packet_id, other),
            None => {}
        }
    }

    /// Bytes came, or nobody was there to take them: the silence is not the broker's.
    pub fn handle_heard(&mut self, now: Instant) {
        self.keep_alive.handle_heard(now);
    }

    /// Bytes left.
    pub fn handle_sent(&mut self, now: Instant) {
        self.keep_alive.handle_sent(now);
    }

    /// The next packet to send.
    pub fn poll_packet(&mut self) -> Option<Packet> {
        self.packets.pop_front()
    }

    /// What came about next.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called, if ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Connecting { until } => Some(until),
            State::Up => self.keep_alive.poll_timeout(),
        }
    }

    /// A deadline may have come.
    ///
    /// # Errors
    /// [`ClientError`]: the connection is over.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ClientError> {
        if let State::Connecting { until } = self.state {
            let is_over = now >= until;
            return if is_over {
                Err(ClientError::NoConnAck { after: CONNACK_MAX })
            } else {
                Ok(())
            };
        }
        match self.keep_alive.handle_timeout(now) {
            KeepAliveStep::Wait => {}
            KeepAliveStep::Ping => self.packets.push_back(Packet::PingReq),
            KeepAliveStep::Silent(silence) => return Err(ClientError::Silent { silence }),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

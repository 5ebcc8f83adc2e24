//! core: messages that are meant for the gateway itself: they are handed to whoever listens for them in here.

use std::net::IpAddr;
use std::sync::Arc;

use super::route::Wanted;
use super::{Engine, Output};
use crate::model::{Message, Moment, TopicFilter, TopicName};
use crate::store::SessionId;

/// A message to the gateway itself, by the name it has here. The rules let it through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressed {
    /// What was published. It is not retained, whatever the publisher wanted.
    pub message: Message,
    /// Who published it.
    pub sender: Sender,
    /// How it came.
    pub arrival: Arrival,
    /// Where the sender wants an answer (MQTT 5.0, 4.10.1), if the rules let it hear what is said there.
    pub response_topic: Option<TopicName>,
    /// When it came.
    pub at: Moment,
}

/// Who published a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The client id, or the name of an uplink.
    pub name: Arc<str>,
    /// Whether it came over an uplink.
    pub is_uplink: bool,
    /// As whom a client has entered.
    pub user: Option<Arc<str>>,
    /// Where a client comes from.
    pub address: Option<IpAddr>,
}

/// How a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrival {
    /// It is, or was to be, a retained message: nobody knows how old it is or will be.
    pub retained: bool,
    /// It may have come before (DUP).
    pub repeated: bool,
    /// Its packet id; `None` at QoS 0 and for a will.
    pub packet_id: Option<u16>,
}

impl Engine {
    /// From here on messages that match one of `filters` come out as [`Output::Addressed`]. LAN clients that subscribe to
    /// them get them as well, uplinks do not: an upstream would send them back.
    pub fn handle_listen(&mut self, filters: Vec<TopicFilter>) {
        self.listening = filters;
    }

    /// Hands a message of `id` to whoever listens in here, if anybody does.
    pub(super) fn hand_over(
        &mut self,
        message: &mut Message,
        id: SessionId,
        arrival: Arrival,
        now: Moment,
    ) {
        if !self.is_listened_to(message) {
            return;
        }
        let Some(session) = self.sessions.get(&id) else { return };
        message.retain = false;
        let response = message.properties.as_ref().and_then(|it| it.response_topic.as_ref());
        let addressed = Addressed {
            message: message.clone(),
            sender: Sender {
                name: session.name().clone(),
                is_uplink: session.is_uplink(),
                user: session.rights.user().cloned(),
                address: session.rights.address(),
            },
            arrival,
            response_topic: response.filter(|topic| session.rights.may_hear(topic)).cloned(),
            at: now,
        };
        self.outputs.push_back(Output::Addressed(Box::new(addressed)));
    }

    /// Takes the uplinks out of those who want a message that was meant for this gateway.
    pub(super) fn keep_from_upstream(
        &self,
        message: &Message,
        wanted: &mut Vec<(SessionId, Wanted)>,
    ) {
        if self.is_listened_to(message) {
            wanted.retain(|(_, wanted)| wanted.rule.is_none());
        }
    }

    fn is_listened_to(&self, message: &Message) -> bool {
        self.listening.iter().any(|filter| filter.matches(&message.topic))
    }
}

//! What the hub carries: a topic, a payload and how it wants to be delivered.

use std::sync::Arc;

use bytes::Bytes;

use super::{QoS, Timestamp, TopicName};

/// The place of a message in the hub's order: grows by one with each message that is stored, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

impl Seq {
    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The MQTT 5.0 properties that travel with a message unchanged from publisher to subscriber (section 3.3.2.3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MessageProperties {
    /// Payload format indicator: `Some(true)` says the payload is UTF-8 text (3.3.2.3.2).
    pub payload_is_utf8: Option<bool>,
    /// Content type (3.3.2.3.9).
    pub content_type: Option<Arc<str>>,
    /// Response topic (3.3.2.3.5).
    pub response_topic: Option<TopicName>,
    /// Correlation data (3.3.2.3.6).
    pub correlation_data: Option<Bytes>,
    /// User properties in the order they were given (3.3.2.3.7).
    pub user_properties: Vec<(Arc<str>, Arc<str>)>,
}

impl MessageProperties {
    /// Whether there is nothing to carry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Whose words a payload is: what others said is passed on as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Body {
    /// Bytes of somebody else.
    #[default]
    Foreign,
    /// A reading as the gateway itself wrote it. Its time may be set right and it may be marked late on its way.
    Reading {
        /// When it was taken, in milliseconds since the boot, if the clock was not synchronised then.
        unsynced_at: Option<u64>,
    },
}

/// A publication on its way through the hub. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub topic: TopicName,
    /// What was published.
    pub payload: Bytes,
    /// How it was published; a delivery never has more than this.
    pub qos: QoS,
    /// Whether the publisher asked for it to be retained.
    pub retain: bool,
    /// Properties that travel unchanged; `None` is the common case and costs nothing.
    pub properties: Option<Arc<MessageProperties>>,
    /// When it entered the hub. A time that no set clock can have said ([`Timestamp::is_set`]) is one since the boot: the
    /// wall clock was not to be believed then.
    pub accepted: Timestamp,
    /// When it stops being worth delivering (message expiry interval, 3.3.2.3.3), by the same clock as `accepted`.
    pub expires: Option<Timestamp>,
    /// Whose words the payload is.
    pub body: Body,
}

//! core: what an uplink is run with, checked and with every default applied.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{QoS, Secret, TopicFilter, TopicRename};
use crate::mqtt::Version;
use crate::tls::TlsSettings;

/// One upstream broker and what goes to it.
#[derive(Debug, Clone, PartialEq)]
pub struct UplinkSettings {
    /// The key under `uplinks`.
    pub name: Arc<str>,
    /// Where the broker is: the one that is wanted, then those that stand in for it. At least one.
    pub servers: Vec<Server>,
    /// Whether the first is gone back to once it is there again.
    pub return_to_first: bool,
    /// When it connects.
    pub start: Start,
    /// Whether 3.1.1 tells the broker that we bridge, so that it does not send back what we publish. A broker that does
    /// not understand it is asked again without.
    pub try_private: bool,
    /// Protocol version: 3.1.1 or 5.
    pub version: Version,
    /// Client id at the upstream; the gateway id unless configured.
    pub client_id: Arc<str>,
    /// User name.
    pub username: Option<Arc<str>>,
    /// Password.
    pub password: Option<Secret>,
    /// Keep alive, whole seconds from 1 to 65,535.
    pub keep_alive: Duration,
    /// Messages in flight at most, 1 to 65,535; the broker's receive maximum may lower it.
    pub window: u16,
    /// How long the upstream keeps the session while we are away (5.0 only).
    pub session_expiry: Duration,
    /// What to do with messages whose PUBREC came before the upstream lost the session.
    pub on_session_lost: OnSessionLost,
    /// Whether new messages pass those that waited while there was no connection, and how fast these follow.
    pub live_first: Option<Backfill>,
    /// What goes up, first matching rule wins.
    pub forward: Vec<ForwardRule>,
    /// What is subscribed to upstream.
    pub accept: Vec<AcceptRule>,
}

/// One broker's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Host name or address.
    pub host: Arc<str>,
    /// TCP port: 1883, or 8883 with TLS, unless configured.
    pub port: u16,
    /// TLS, if the URL says `mqtts`.
    pub tls: Option<TlsSettings>,
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// When an uplink connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// With the program, and again whenever the connection is lost.
    #[default]
    Automatic,
    /// When so many messages wait, until nothing was sent or received for so long.
    Lazy {
        /// At least 1.
        threshold: u64,
        /// From one second on.
        idle: Duration,
    },
    /// Once in a run of the program: a connection that was lost is not made again.
    Once,
}

/// How what waited follows when new messages have passed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backfill {
    /// Messages a second, at least 1; `None` is as fast as the upstream takes them.
    pub rate: Option<u32>,
}

/// What happens to QoS 2 messages the upstream had received (PUBREC) but not released when it lost our session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnSessionLost {
    /// Publish again under another packet id: never lost, perhaps doubled, counted.
    #[default]
    Republish,
    /// Take the PUBREC as the delivery: never doubled, perhaps lost.
    Trust,
}

/// One rule of what goes up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardRule {
    /// Which topics.
    pub filter: TopicFilter,
    /// QoS at the upstream. Readings are stored whatever it says.
    pub qos: QoS,
    /// The topic upstream; `None` keeps the topic.
    pub to: Option<TopicRename>,
    /// Whether a message keeps its retain flag.
    pub retain: bool,
}

/// One subscription at the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptRule {
    /// Which topics, as they are called upstream.
    pub filter: TopicFilter,
    /// The highest QoS wanted.
    pub qos: QoS,
    /// The topic here; `None` keeps the topic.
    pub to: Option<TopicRename>,
    /// Whether a message keeps its retain flag.
    pub retain: bool,
}

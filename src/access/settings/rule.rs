//! core: a rule about topics as it is written.

use std::fmt;
use std::sync::Arc;

use super::Network;
use crate::model::{TopicError, TopicFilter};

/// A rule: whom it is about, what it allows or denies, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AclRule {
    /// Whether it allows; otherwise it denies.
    pub allow: bool,
    /// What.
    pub action: AclAction,
    /// Which users.
    pub user: UserMatch,
    /// Which clients.
    pub client: ClientMatch,
    /// From where; `None` is from anywhere. A client on a Unix socket comes from no network.
    pub network: Option<Network>,
    /// Which topics; none is every topic, also those that begin with `$`.
    pub topics: Vec<TopicPattern>,
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AclAction {
    /// Publishing, wills included.
    Publish,
    /// Subscribing, and every delivery.
    Subscribe,
    /// Both.
    Both,
}

impl AclAction {
    /// Whether publishing falls under it.
    #[must_use]
    pub fn includes_publish(self) -> bool {
        matches!(self, Self::Publish | Self::Both)
    }

    /// Whether subscribing and deliveries fall under it.
    #[must_use]
    pub fn includes_subscribe(self) -> bool {
        matches!(self, Self::Subscribe | Self::Both)
    }
}

/// Which users a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum UserMatch {
    /// Everybody.
    #[default]
    Anybody,
    /// Everybody with a user name.
    Named,
    /// Whoever entered without a user name.
    Anonymous,
    /// This one.
    Is(Arc<str>),
    /// A user name with `+` or `#` in it, which mosquitto lets no pattern decide about.
    WithWildcard,
}

/// Which clients a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ClientMatch {
    /// All.
    #[default]
    Any,
    /// The one with this client id.
    Is(Arc<str>),
    /// Those whose client id begins so.
    BeginsWith(Arc<str>),
    /// A client id with `+` or `#` in it, which mosquitto lets no pattern decide about.
    WithWildcard,
}

/// A topic filter in which `%u` stands for the user name and `%c` for the client id.
#[derive(Clone, PartialEq, Eq)]
pub struct TopicPattern {
    text: Arc<str>,
    /// Whether it has placeholders: mosquitto knows them only behind `pattern`.
    expands: bool,
}

/// What is wrong with the topic of a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicPatternError {
    /// It is no topic filter.
    #[error(transparent)]
    Filter(#[from] TopicError),
    /// Rules look behind `$share/NAME/`.
    #[error("a rule is about the topics behind `$share/NAME/`, not about shared subscriptions")]
    Share,
}

impl TopicPattern {
    /// Takes a filter with placeholders.
    ///
    /// # Errors
    /// [`TopicPatternError`] says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, TopicPatternError> {
        let plain = text.replace("%u", "x").replace("%c", "x");
        check(&plain)?;
        Ok(Self { text: Arc::from(text), expands: plain != text })
    }

    /// Takes a filter in which `%u` and `%c` stand for themselves.
    ///
    /// # Errors
    /// [`TopicPatternError`] says what is wrong with it.
    pub fn literal(text: &str) -> Result<Self, TopicPatternError> {
        check(text)?;
        Ok(Self { text: Arc::from(text), expands: false })
    }

    /// The text as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `%u` and `%c` in it stand for names.
    #[must_use]
    pub fn expands(&self) -> bool {
        self.expands
    }
}

fn check(plain: &str) -> Result<(), TopicPatternError> {
    TopicFilter::new(plain)?;
    if plain.starts_with("$share/") {
        return Err(TopicPatternError::Share);
    }
    Ok(())
}

impl fmt::Debug for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}

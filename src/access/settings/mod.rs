//! core: what decides who may enter and who may do what, checked and with every default applied.

use std::path::PathBuf;
use std::sync::Arc;

mod network;
mod rule;

pub use network::{Network, NetworkError};
pub use rule::{AclAction, AclRule, ClientMatch, TopicPattern, TopicPatternError, UserMatch};

/// Who may enter and who may do what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccessSettings {
    /// The users; `None` if there are none, so that nobody enters with a password.
    pub users: Option<UsersSettings>,
    /// What they may do.
    pub acl: AclSettings,
}

/// Where the users stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsersSettings {
    /// Password files; no user stands in two of them.
    pub files: Vec<PathBuf>,
    /// What the client id of everybody with a user name begins with; `%u` in it is the user name.
    pub client_id_prefix: Option<Arc<str>>,
}

/// Where the rules stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AclSettings {
    /// There are none: whoever enters may publish and subscribe to everything.
    #[default]
    Open,
    /// In the order in which they decide; what none of them takes is denied.
    Rules(Vec<AclRule>),
    /// In an `acl_file` of mosquitto's.
    File(PathBuf),
}

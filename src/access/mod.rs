//! Who may enter, and who may do what: password files, rules about topics, guesses at passwords.
//!
//! Knows users, passwords, client ids, addresses, topic names and filters. Does not know MQTT packets, listeners, sessions
//! or the configuration file: `broker` asks who may enter, `hub` asks what a [`Principal`] may do.
//!
//! Nothing here falls open: a file with a fault is an error with its line, an empty users file lets nobody in, an empty list
//! of rules allows nothing, and a reload that fails leaves in force what was.

mod acl;
mod acl_file;
mod fault;
mod file_watch;
mod filter;
mod gate;
mod guesses;
mod password;
mod principal;
mod rule;
mod settings;
mod users;
mod users_edit;

pub use acl::{Acl, Grant, Permit};
pub use acl_file::parse_acl_file;
pub use fault::{AccessError, Fault};
pub use file_watch::FileWatch;
pub use gate::{Change, Gate, Login, LoginError};
pub use password::{HashError, PasswordHash, SALT_BYTES};
pub use principal::Principal;
pub use settings::{
    AccessSettings, AclAction, AclRule, AclSettings, ClientMatch, Network, NetworkError,
    TopicPattern, TopicPatternError, UserMatch, UsersSettings,
};
pub use users::Users;
pub use users_edit::{EditError, edit_users};

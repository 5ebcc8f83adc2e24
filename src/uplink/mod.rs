//! Dial-out: one connection to one upstream broker, kept up, told apart from its session.
//!
//! Knows TLS, CONNECT, keep alive, the will and how long to wait before the next try. Does not know which messages are
//! for it or which are acknowledged: that is the session's, in `hub`.

mod settings;

pub use settings::{
    AcceptRule, ClientCertificate, ForwardRule, OnSessionLost, TlsSettings, UplinkSettings,
};

//! What must hold for any bytes: `decode` for the packet decoder, `connection` for clients of a whole broker.

pub mod connection;
pub mod decode;
pub mod script;

//! MQTT packets: one model for 3.1, 3.1.1 and 5.0 and one strict codec under it, for the uplink and the broker alike.
//!
//! Knows bytes and the form of packets. Does not know sockets, sessions or the order in which packets may come: that
//! is `hub`'s (sessions) and the shells' (connections).

mod ack;
mod codec;
mod connack;
mod connect;
mod disconnect;
mod error;
mod packet;
mod properties;
mod publish;
mod read;
mod reason;
mod subscribe;
mod transport;
mod write;

pub use codec::{DecodeOptions, connect_version, decode, decode_front, encode, encoded_len};
pub use error::{CodecError, EncodeError};
pub use packet::{
    Ack, Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect, Packet,
    PacketId, Publish, RetainHandling, SubAck, Subscribe, SubscribeFilter, Unsubscribe,
    UserProperties, Version, Will,
};
pub use reason::ReasonCode;
pub use transport::{Carried, PacketReader, PacketWriter, ReadError};

//! MQTT packets: one model for 3.1, 3.1.1 and 5.0 and one strict codec under it, for the uplink and the broker alike.
//!
//! Knows bytes and the form of packets. Does not know sockets, sessions or the order in which packets may come: that
//! is `hub`'s (sessions) and the shells' (connections).

mod packet;
mod reason;

pub use packet::{
    Ack, Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect, Packet,
    PacketId, Publish, RetainHandling, SubAck, Subscribe, SubscribeFilter, Unsubscribe,
    UserProperties, Version, Will,
};
pub use reason::ReasonCode;

//! The MQTT codec against tables of packets, against laws that hold for any packet, and against another codec.
#![cfg(test)]

#[path = "../malformed/mod.rs"]
mod malformed;
#[path = "../support/pcap.rs"]
mod pcap;

mod arbitrary;
mod connack;
mod connect;
mod disconnect;
mod encode;
mod header;
mod laws;
mod notation;
mod oracle;
mod oracle_v4;
mod oracle_v5;
mod properties;
mod publish;
mod reasons;
mod subscribe;
mod tshark;
mod valid;

//! shell: a client that speaks in the notation of the malformed tables, and hears byte by byte.

use std::io::Read as _;

use bytes::BytesMut;
use fieldpost::mqtt::{Packet, Version, encode};

use crate::client::Client;
use crate::malformed::notation::wire;

impl Client {
    /// What `text` stands for in this client's version: an empty property section, `()`, is of 5.0 only.
    fn wire(&self, text: &str) -> Vec<u8> {
        if self.version == Version::V5 { wire(text) } else { wire(&text.replace(" ()", "")) }
    }

    /// Sends what the tables' notation stands for, right or wrong.
    #[track_caller]
    pub fn say(&mut self, text: &str) {
        self.send_bytes(&self.wire(text));
    }

    /// Exactly these bytes come next.
    #[track_caller]
    pub fn hear(&mut self, text: &str) {
        let expected = self.wire(text);
        while self.bytes.len() < expected.len() {
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => self.bytes.extend_from_slice(&chunk[..count]),
                Err(error) => panic!("{text} does not come: {error}; {:02x?} came", self.bytes),
            }
        }
        let got = self.bytes.split_to(expected.len().min(self.bytes.len()));
        assert_eq!(&got[..], expected, "{text}");
    }

    /// The broker ends the connection with this reason, in whatever words.
    #[track_caller]
    pub fn hear_disconnect(&mut self, reason: u8) {
        let said = self.until_closed();
        let [Packet::Disconnect(why)] = &said[..] else { panic!("{said:?}") };
        assert_eq!(why.reason.byte(), reason, "{why:?}");
    }

    /// The same in bytes.
    #[track_caller]
    pub fn so_far_bytes(&mut self) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        for packet in self.so_far() {
            encode(&packet, self.version, &mut bytes).expect("what was read can be said");
        }
        bytes.to_vec()
    }
}

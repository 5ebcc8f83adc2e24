//! core: when bytes are through a serial wire: at its baud rate and not earlier, whatever a pseudo-terminal would do.

use std::time::{Duration, Instant};

use crate::field::SerialSettings;

/// How long a device thinks before it answers, beyond the silence that ends a frame.
const THINKING: Duration = Duration::from_millis(4);

/// An answer on its way through the wire.
#[derive(Debug)]
pub struct Transmission {
    bytes: Vec<u8>,
    sent: usize,
    begin: Instant,
    character: Duration,
}

impl Transmission {
    /// The answer `bytes` to a request of `request_len` bytes that the gateway handed over at `asked`: the request takes
    /// its time on the wire, 3.5 characters of silence end it (Modbus over serial line 1.02, section 2.5.1.1), the
    /// device thinks, then the answer comes character by character.
    #[must_use]
    pub fn new(line: &SerialSettings, bytes: Vec<u8>, request_len: u32, asked: Instant) -> Self {
        let character = line.characters(1);
        let begin = asked + line.characters(request_len) + character * 7 / 2 + THINKING;
        Self { bytes, sent: 0, begin, character }
    }

    /// The bytes whose last bit has come through since the last call; empty if none has.
    pub fn poll_bytes(&mut self, now: Instant) -> &[u8] {
        let passed = now.saturating_duration_since(self.begin).as_nanos();
        let through = passed.checked_div(self.character.as_nanos()).unwrap_or(u128::MAX);
        let end =
            usize::try_from(through).unwrap_or(usize::MAX).min(self.bytes.len()).max(self.sent);
        let begin = std::mem::replace(&mut self.sent, end);
        self.bytes.get(begin..self.sent).unwrap_or_default()
    }

    /// When the next byte is through; `None` after the last one.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let next = u32::try_from(self.sent + 1).unwrap_or(u32::MAX);
        (self.sent < self.bytes.len()).then(|| self.begin + self.character * next)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use super::*;
    use crate::field::Parity;

    #[test]
    fn an_answer_takes_the_time_its_characters_need() {
        let line = SerialSettings {
            path: "x".into(),
            baud: 9600,
            data_bits: 8,
            parity: Parity::Even,
            stop_bits: 1,
            rs485: None,
        };
        let asked = Instant::now();
        let mut answer = Transmission::new(&line, vec![1, 2, 3], 8, asked);
        let character = Duration::from_secs(11) / 9600;
        let begin = character * 8 + character * 7 / 2 + THINKING;
        let slack = Duration::from_micros(1);
        assert!(answer.poll_bytes(asked + begin).is_empty());
        let first = answer.poll_timeout().expect("bytes are left");
        assert!(first - asked - begin - character < slack);
        assert_eq!(answer.poll_bytes(first), [1]);
        assert!(answer.poll_bytes(first).is_empty());
        assert_eq!(answer.poll_bytes(first + character * 2 + slack), [2, 3]);
        assert_eq!(answer.poll_timeout(), None);
    }
}

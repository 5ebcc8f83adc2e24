//! core: the registers of a first-in-first-out queue (Modbus application protocol 1.1b3, section 6.18).

use std::fmt;

use super::pdu::{Data, Mismatch, words};

/// Registers a queue may hold (section 6.18).
pub const REGISTERS_MAX: u16 = 31;

/// A queue of registers, read with function 24: reading takes nothing out of it.
///
/// ```
/// use fieldpost::field::modbus::fifo::Fifo;
/// assert_eq!(Fifo(1246).request(), [24, 4, 0xde]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fifo(
    /// The address of its pointer, which says how many registers follow.
    pub u16,
);

impl Fifo {
    /// The PDU of the request.
    #[must_use]
    pub fn request(self) -> Vec<u8> {
        let [high, low] = self.0.to_be_bytes();
        vec![24, high, low]
    }

    /// What the answer says after its function code: as many registers as are in the queue, 0 to 31.
    pub(super) fn data(body: &[u8]) -> Result<Data, Mismatch> {
        let &[b0, b1, c0, c1, ref data @ ..] = body else { return Err(Mismatch::Malformed) };
        let bytes = usize::from(u16::from_be_bytes([b0, b1]));
        let count = u16::from_be_bytes([c0, c1]);
        let fits = bytes == data.len() + 2 && usize::from(count) * 2 == data.len();
        let is_one = fits && count <= REGISTERS_MAX;
        if is_one { Ok(Data::Registers(words(data))) } else { Err(Mismatch::Malformed) }
    }
}

impl fmt::Display for Fifo {
    /// For logs: `FIFO queue 1246 (function 24)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FIFO queue {} (function 24)", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification_is_read_and_what_contradicts_itself_is_not() {
        // Section 6.18: the queue at 1246 holds 440 and 4740.
        assert_eq!(Fifo(1246).request(), [24, 0x04, 0xde]);
        let body = [0, 6, 0, 2, 0x01, 0xb8, 0x12, 0x84];
        assert_eq!(Fifo::data(&body), Ok(Data::Registers(vec![440, 4740])));
        assert_eq!(Fifo::data(&[0, 2, 0, 0]), Ok(Data::Registers(Vec::new())));
        for wrong in [
            &[0, 6, 0, 2, 1, 0xb8, 0x12][..],
            &[0, 6, 0, 3, 1, 0xb8, 0x12, 0x84],
            &[0, 4, 0, 2, 1, 0xb8, 0x12, 0x84],
            &[1, 6, 0, 2, 1, 0xb8, 0x12, 0x84],
            &[0, 2, 0],
            &[],
            &[&[0, 66, 0, 32][..], &[0; 64]].concat(),
        ] {
            assert_eq!(Fifo::data(wrong), Err(Mismatch::Malformed), "{wrong:?}");
        }
    }
}

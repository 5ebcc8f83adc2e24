//! core: the header of Modbus TCP (Modbus messaging on TCP/IP 1.0b, section 3.1.3).

use crate::field::UnitId;

/// Bytes before the unit id: transaction id, protocol id, length.
const PREFIX_LEN: usize = 6;
/// What the length field may say: unit id and function code at least, unit id and the longest PDU (253) at most.
const LENGTHS: std::ops::RangeInclusive<u16> = 2..=254;

/// What cannot be a Modbus TCP header; where the next frame begins is unknown after it, so the connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MbapError {
    /// The protocol id is not 0.
    #[error(
        "the answer is not Modbus TCP: protocol id is {protocol}, not 0 (is it RTU or ASCII behind a converter? then `modbus-rtu-over-tcp` or `modbus-ascii-over-tcp`)"
    )]
    Protocol {
        /// What stands there.
        protocol: u16,
    },
    /// The length is none a PDU can have.
    #[error(
        "the answer is not Modbus TCP: its length is {length}, not 2 to 254 (is it RTU or ASCII behind a converter? then `modbus-rtu-over-tcp` or `modbus-ascii-over-tcp`)"
    )]
    Length {
        /// What stands there.
        length: u16,
    },
}

/// A frame with its header taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Copied by the device from the request.
    pub transaction: u16,
    /// Copied by the device from the request.
    pub unit: UnitId,
    /// Function code and data, 1 to 253 bytes.
    pub pdu: Vec<u8>,
}

/// Makes a frame of `pdu`, which must not be longer than 253 bytes.
#[must_use]
pub fn encode(transaction: u16, unit: UnitId, pdu: &[u8]) -> Vec<u8> {
    let length = u16::try_from(pdu.len() + 1).unwrap_or(u16::MAX);
    debug_assert!(LENGTHS.contains(&length), "a PDU is 1 to 253 bytes long");
    let mut frame = Vec::with_capacity(PREFIX_LEN + 1 + pdu.len());
    frame.extend_from_slice(&transaction.to_be_bytes());
    frame.extend_from_slice(&[0, 0]);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.push(unit.0);
    frame.extend_from_slice(pdu);
    frame
}

/// Cuts what comes over one connection into frames. Lives as long as the connection: a frame may begin in one
/// transaction and end in the next.
#[derive(Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
}

impl Reader {
    /// Takes bytes in the order they came.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the next frame off the front; `None` means more must come first.
    ///
    /// # Errors
    /// [`MbapError`] when what stands at the front is no header.
    pub fn poll_frame(&mut self) -> Result<Option<Frame>, MbapError> {
        let &[t0, t1, p0, p1, l0, l1, ..] = self.bytes.as_slice() else { return Ok(None) };
        let protocol = u16::from_be_bytes([p0, p1]);
        if protocol != 0 {
            return Err(MbapError::Protocol { protocol });
        }
        let length = u16::from_be_bytes([l0, l1]);
        if !LENGTHS.contains(&length) {
            return Err(MbapError::Length { length });
        }
        let end = PREFIX_LEN + usize::from(length);
        let Some(&[unit, ref pdu @ ..]) = self.bytes.get(PREFIX_LEN..end) else { return Ok(None) };
        let transaction = u16::from_be_bytes([t0, t1]);
        let frame = Frame { transaction, unit: UnitId(unit), pdu: pdu.to_vec() };
        self.bytes.drain(..end);
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_the_guide_encodes() {
        let frame = encode(0x1501, UnitId(0xff), &[3, 0, 4, 0, 1]);
        assert_eq!(frame, [0x15, 0x01, 0, 0, 0, 6, 0xff, 3, 0, 4, 0, 1]);
    }

    #[test]
    fn a_header_that_is_none_ends_the_connection() {
        let poll = |bytes: &[u8]| {
            let mut reader = Reader::default();
            reader.handle_bytes(bytes);
            reader.poll_frame()
        };
        assert_eq!(poll(b"HTTP/1.1"), Err(MbapError::Protocol { protocol: 0x5450 }));
        assert_eq!(poll(&[0, 1, 0, 0, 0, 1]), Err(MbapError::Length { length: 1 }));
        assert_eq!(poll(&[0, 1, 0, 0, 0, 255, 1]), Err(MbapError::Length { length: 255 }));
        assert_eq!(poll(&[0, 1, 0, 0, 0]), Ok(None));
        assert_eq!(poll(&[0, 1, 0, 0, 0, 3, 1, 3]), Ok(None));
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            pdus in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..=253), 0..5),
            cut in 1..100usize,
        ) {
            let all: Vec<u8> = (0u16..).zip(&pdus).flat_map(|(id, pdu)| encode(id, UnitId(3), pdu)).collect();
            let mut reader = Reader::default();
            let mut out = Vec::new();
            for chunk in all.chunks(cut) {
                reader.handle_bytes(chunk);
                while let Some(frame) = reader.poll_frame().expect("the headers are sound") {
                    out.push(frame.pdu);
                }
            }
            prop_assert_eq!(out, pdus);
        }

        #[test]
        fn any_bytes_give_frames_more_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let mut reader = Reader::default();
            reader.handle_bytes(&bytes);
            while let Ok(Some(frame)) = reader.poll_frame() {
                prop_assert!((1..=253).contains(&frame.pdu.len()));
            }
        }
    }
}

//! core: Modbus RTU frames (Modbus over serial line 1.02, section 2.5.1).

use super::length::{Length, answer_length};
use super::receiver::{Check, Cut};
use crate::field::UnitId;

/// Bytes around a PDU: the unit id before it and the CRC after it.
pub(super) const FRAME_EXTRA: usize = 3;
/// The longest frame (Modbus over serial line 1.02, section 2.5.1).
pub(super) const FRAME_MAX: usize = 256;

/// The CRC-16 of Modbus over `bytes` (Modbus over serial line 1.02, section 6.2.2); goes low byte first.
///
/// ```
/// assert_eq!(fieldpost::field::modbus::rtu::crc(b"123456789"), 0x4b37);
/// ```
#[must_use]
pub fn crc(bytes: &[u8]) -> u16 {
    static MODBUS: crc::Crc<u16> = crc::Crc::<u16>::new(&crc::CRC_16_MODBUS);
    MODBUS.checksum(bytes)
}

/// Makes a frame of `pdu` for `unit`.
#[must_use]
pub fn encode(unit: UnitId, pdu: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(pdu.len() + FRAME_EXTRA);
    frame.push(unit.0);
    frame.extend_from_slice(pdu);
    let crc = crc(&frame);
    frame.extend_from_slice(&crc.to_le_bytes());
    frame
}

/// Looks at what stands at the front of `bytes`, which must not be empty. An RTU frame has no mark at its beginning, so
/// what cannot begin the answer to a question is no frame.
pub(super) fn cut(bytes: &[u8]) -> Cut {
    let length = match answer_length(bytes.get(1..).unwrap_or_default()) {
        Length::Is(length) => length + FRAME_EXTRA,
        Length::Open => return Cut::Beginning,
        Length::Nothing => return Cut::Nothing,
    };
    let Some(frame) = bytes.get(..length) else { return Cut::Beginning };
    let Some((&[unit, ref pdu @ ..], check)) = frame.split_last_chunk::<2>() else {
        return Cut::Nothing;
    };
    let (body, received) = (&frame[..length - 2], u16::from_le_bytes(*check));
    let check = Check::of(received, crc(body));
    Cut::Frame { length, unit: UnitId(unit), pdu: pdu.to_vec(), check }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_of_the_specification_has_its_crc() {
        // Modbus over serial line 1.02, section 6.2.2 and every calculator: unit 1, holding 0, 10 of them.
        let frame = encode(UnitId(1), &[3, 0, 0, 0, 10]);
        assert_eq!(frame, [1, 3, 0, 0, 0, 10, 0xc5, 0xcd]);
    }
}

//! core: Modbus ASCII frames (Modbus over serial line 1.02, section 2.5.2).

use super::receiver::{Check, Cut};
use crate::field::UnitId;

/// What every frame begins with, and nothing else holds.
const COLON: u8 = b':';
/// What every frame ends with.
const END: &[u8] = b"\r\n";
/// The longest frame in characters (section 2.5.2.2).
const FRAME_MAX: usize = 513;
/// Characters of a frame that are no hexadecimal digits: the colon, CR and LF.
const MARKS: usize = 3;
/// Bytes around a PDU: the unit id before it and the LRC after it.
const BYTES_EXTRA: usize = 2;

/// The longitudinal redundancy check over `bytes` (Modbus over serial line 1.02, section 6.2.1).
///
/// ```
/// assert_eq!(fieldpost::field::modbus::ascii::lrc(&[1, 3, 0, 0, 0, 10]), 0xf2);
/// ```
#[must_use]
pub fn lrc(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

/// Makes a frame of `pdu` for `unit`: a colon, two digits for each byte, the LRC, CR and LF.
#[must_use]
pub fn encode(unit: UnitId, pdu: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut bytes = Vec::with_capacity(pdu.len() + BYTES_EXTRA);
    bytes.push(unit.0);
    bytes.extend_from_slice(pdu);
    bytes.push(lrc(&bytes));
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    let digits = digits.filter_map(|digit| DIGITS.get(usize::from(digit)).copied());
    [COLON].into_iter().chain(digits).chain(END.iter().copied()).collect()
}

/// Characters a frame around a PDU of `pdu_len` bytes takes.
#[must_use]
pub fn frame_len(pdu_len: usize) -> usize {
    (pdu_len + BYTES_EXTRA) * 2 + MARKS
}

/// Looks at what stands at the front of `bytes`, which must not be empty. A colon begins a frame wherever it stands, so
/// one that is broken off costs no other.
pub(super) fn cut(bytes: &[u8]) -> Cut {
    let Some((&COLON, rest)) = bytes.split_first() else { return Cut::Nothing };
    let digits = rest.iter().take_while(|c| c.is_ascii_hexdigit()).count();
    match rest.get(digits..) {
        _ if digits + MARKS > FRAME_MAX => Cut::Nothing,
        Some([] | [b'\r']) => Cut::Beginning,
        Some([b'\r', b'\n', ..]) => {
            let bytes = rest.get(..digits).and_then(parse).unwrap_or_default();
            let [unit, pdu @ .., received] = bytes.as_slice() else { return Cut::Nothing };
            if pdu.is_empty() {
                return Cut::Nothing;
            }
            let computed = lrc(&bytes[..bytes.len() - 1]);
            let check = Check::of(u16::from(*received), u16::from(computed));
            Cut::Frame { length: digits + MARKS, unit: UnitId(*unit), pdu: pdu.to_vec(), check }
        }
        _ => Cut::Nothing,
    }
}

/// Two digits a byte; small letters are taken as well, as some devices send them.
fn parse(digits: &[u8]) -> Option<Vec<u8>> {
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_of_the_specification_encodes() {
        let frame = encode(UnitId(1), &[3, 0, 0, 0, 10]);
        assert_eq!(frame, b":01030000000AF2\r\n");
        assert_eq!(frame.len(), frame_len(5));
    }

    #[test]
    fn a_frame_is_cut_where_it_ends_and_what_is_none_is_nothing() {
        let frame = encode(UnitId(0x1f), &[0x83, 2]);
        let more = [frame.as_slice(), b":01"].concat();
        let Cut::Frame { length, unit, pdu, check: Check::Sound } = cut(&more) else { panic!() };
        assert_eq!((length, unit, pdu), (frame.len(), UnitId(0x1f), vec![0x83, 2]));
        for beginning in [&b":"[..], b":01", b":0103F", b":01030000000AF2\r"] {
            assert!(matches!(cut(beginning), Cut::Beginning), "{beginning:?}");
        }
        for nothing in
            [&b"01"[..], b":01:", b":0103F\r\n", b":01F2\r\n", b":\r\n", b":01\rx", b":g"]
        {
            assert!(matches!(cut(nothing), Cut::Nothing), "{nothing:?}");
        }
        let endless = [b":".as_slice(), &[b'0'; 600]].concat();
        assert!(matches!(cut(&endless), Cut::Nothing));
    }
}

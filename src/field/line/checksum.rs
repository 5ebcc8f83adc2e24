//! core: whether a frame is as it was sent.

use crc::{Crc, NoTable};

use crate::field::{ChecksumSettings, Order, Sum, Written};

/// Why a frame is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChecksumError {
    /// It is shorter than what the checksum covers and takes.
    #[error("the frame is too short for its checksum")]
    TooShort,
    /// The places of hexadecimal digits hold something else.
    #[error("where the checksum should stand are no hexadecimal digits")]
    NoDigits,
    /// It differs.
    #[error("the checksum is {received:#04x}, computed {computed:#04x}")]
    Wrong {
        /// What stands in the frame.
        received: u32,
        /// What should.
        computed: u32,
    },
}

/// Looks whether the checksum of `frame`, the marks at its ends included, is right.
///
/// # Errors
/// [`ChecksumError`] when it is not, or is not there.
pub fn verify(settings: &ChecksumSettings, frame: &[u8]) -> Result<(), ChecksumError> {
    let (computed, received) = match *settings {
        ChecksumSettings::Nmea => {
            let from = frame.iter().position(|byte| matches!(byte, b'$' | b'!'));
            let to = frame.iter().rposition(|byte| *byte == b'*');
            let (from, to) = from.zip(to).ok_or(ChecksumError::TooShort)?;
            let covered = frame.get(from + 1..to).ok_or(ChecksumError::TooShort)?;
            let digits = frame.get(to + 1..to + 3).ok_or(ChecksumError::TooShort)?;
            (compute(Sum::Xor, covered), number(digits, Written::Hex)?)
        }
        ChecksumSettings::Range { sum, from, to, at, written } => {
            let place = |position| place(position, frame.len()).ok_or(ChecksumError::TooShort);
            let covered = frame.get(place(from)?..place(to)?).ok_or(ChecksumError::TooShort)?;
            let size = if written == Written::Hex { sum.size() * 2 } else { sum.size() };
            let at = place(at)?;
            let found = frame.get(at..at + size).ok_or(ChecksumError::TooShort)?;
            (compute(sum, covered), number(found, written)?)
        }
    };
    if computed == received { Ok(()) } else { Err(ChecksumError::Wrong { received, computed }) }
}

/// A position in a frame of `len` bytes; below 0 it counts from the end.
fn place(position: i32, len: usize) -> Option<usize> {
    match usize::try_from(position) {
        Ok(position) => (position <= len).then_some(position),
        Err(_) => len.checked_sub(usize::try_from(position.unsigned_abs()).ok()?),
    }
}

fn compute(sum: Sum, bytes: &[u8]) -> u32 {
    let total = || bytes.iter().fold(0u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
    match sum {
        Sum::Xor => bytes.iter().fold(0, |sum, byte| sum ^ u32::from(*byte)),
        Sum::Sum8 => total() & 0xff,
        Sum::Sum16 => total() & 0xffff,
        Sum::Lrc => total().wrapping_neg() & 0xff,
        Sum::Crc8(algorithm) => Crc::<u8, NoTable>::new(algorithm).checksum(bytes).into(),
        Sum::Crc16(algorithm) => Crc::<u16, NoTable>::new(algorithm).checksum(bytes).into(),
        Sum::Crc32(algorithm) => Crc::<u32, NoTable>::new(algorithm).checksum(bytes),
    }
}

/// The number that `bytes`, four or eight digits at most, stand for.
fn number(bytes: &[u8], written: Written) -> Result<u32, ChecksumError> {
    let join = |number: u32, byte: &u8| number << 8 | u32::from(*byte);
    Ok(match written {
        Written::Bytes(Order::Big) => bytes.iter().fold(0, join),
        Written::Bytes(Order::Little) => bytes.iter().rev().fold(0, join),
        Written::Hex => {
            let digit = |byte: &u8| char::from(*byte).to_digit(16);
            let join = |number: u32, byte: &u8| Some(number << 4 | digit(byte)?);
            bytes.iter().try_fold(0, join).ok_or(ChecksumError::NoDigits)?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at_end(sum: Sum, order: Order) -> ChecksumSettings {
        let at = -i32::try_from(sum.size()).expect("a few");
        ChecksumSettings::Range { sum, from: 0, to: at, at, written: Written::Bytes(order) }
    }

    #[test]
    fn each_sum_gives_what_its_catalogue_says_for_the_check_string() {
        // The column "check" of the catalogue of parametrised CRC algorithms: the CRC of "123456789".
        for (name, expected) in [
            ("xor", 0x31),
            ("sum8", 0xdd),
            ("sum16", 0x1dd),
            ("lrc", 0x23),
            ("crc-8-smbus", 0xf4),
            ("crc-8-maxim-dow", 0xa1),
            ("crc-8-rohc", 0xd0),
            ("crc-8-nrsc-5", 0xf7),
            ("crc-16-modbus", 0x4b37),
            ("crc-16-arc", 0xbb3d),
            ("crc-16-ibm-3740", 0x29b1),
            ("crc-16-ibm-sdlc", 0x906e),
            ("crc-16-xmodem", 0x31c3),
            ("crc-16-kermit", 0x2189),
            ("crc-16-spi-fujitsu", 0xe5cc),
            ("crc-16-usb", 0xb4c8),
            ("crc-16-maxim-dow", 0x44c2),
            ("crc-16-dnp", 0xea82),
            ("crc-16-en-13757", 0xc2b7),
            ("crc-32-iso-hdlc", 0xcbf4_3926),
            ("crc-32-bzip2", 0xfc89_1918),
            ("crc-32-mpeg-2", 0x0376_e6e7),
            ("crc-32-iscsi", 0xe306_9283),
        ] {
            let (_, sum) = Sum::NAMES.iter().find(|it| it.0 == name).expect("it is known");
            assert_eq!(compute(*sum, b"123456789"), expected, "{name}");
        }
    }

    #[test]
    fn nmea_covers_what_stands_between_the_dollar_and_the_star() {
        let sentence = b"$GPGLL,5057.970,N,00146.110,E,142451,A*27\r\n";
        assert_eq!(verify(&ChecksumSettings::Nmea, sentence), Ok(()));
        let mut damaged = sentence.to_vec();
        damaged[9] = b'6';
        let wrong = ChecksumError::Wrong { received: 0x27, computed: 0x24 };
        assert_eq!(verify(&ChecksumSettings::Nmea, &damaged), Err(wrong));
        for (bytes, error) in [
            (&b"$GPGLL*2"[..], ChecksumError::TooShort),
            (b"$GPGLL", ChecksumError::TooShort),
            (b"*27$", ChecksumError::TooShort),
            (b"$GPGLL*2x", ChecksumError::NoDigits),
        ] {
            assert_eq!(verify(&ChecksumSettings::Nmea, bytes), Err(error));
        }
    }

    #[test]
    fn a_sum_stands_and_covers_where_it_is_said() {
        // STX, text, ETX, and the exclusive or of all behind STX.
        let bcc = |from| ChecksumSettings::Range {
            sum: Sum::Xor,
            from,
            to: -1,
            at: -1,
            written: Written::Bytes(Order::Big),
        };
        let frame = [0x02, b'1', b'2', 0x03, b'1' ^ b'2' ^ 0x03];
        assert_eq!(verify(&bcc(1), &frame), Ok(()));
        assert!(verify(&bcc(0), &frame).is_err());
        let modbus = at_end(Sum::Crc16(&crc::CRC_16_MODBUS), Order::Little);
        assert_eq!(verify(&modbus, &[0x01, 0x03, 0x02, 0x00, 0x2a, 0x39, 0x9b]), Ok(()));
    }

    proptest! {
        #[test]
        fn no_bytes_and_no_positions_are_too_strange(
            frame in prop::collection::vec(any::<u8>(), 0..40),
            (from, to, at) in (-50..50i32, -50..50i32, -50..50i32),
            index in 0..Sum::NAMES.len(),
            hex in any::<bool>(),
        ) {
            let written = if hex { Written::Hex } else { Written::Bytes(Order::Little) };
            let sum = Sum::NAMES[index].1;
            let _ = verify(&ChecksumSettings::Range { sum, from, to, at, written }, &frame);
            let _ = verify(&ChecksumSettings::Nmea, &frame);
        }

        #[test]
        fn what_is_protected_is_believed_and_a_changed_bit_is_not(
            mut frame in prop::collection::vec(any::<u8>(), 1..40),
            bit in any::<prop::sample::Index>(),
            index in 0..Sum::NAMES.len(),
        ) {
            let sum = Sum::NAMES[index].1;
            let computed = compute(sum, &frame).to_be_bytes();
            let settings = at_end(sum, Order::Big);
            frame.extend(&computed[4 - sum.size()..]);
            prop_assert_eq!(verify(&settings, &frame), Ok(()));
            let bit = bit.index(frame.len() * 8);
            frame[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(verify(&settings, &frame).is_err());
        }
    }
}

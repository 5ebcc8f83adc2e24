//! core: payloads that carry a number, and show it if a byte of them was changed.

use bytes::Bytes;

/// The number of a message in a run, from 0.
pub(super) type Number = usize;

/// Number and length, eight bytes each.
const HEAD_LEN: usize = 16;

/// A payload of `len` bytes and a head.
pub(super) fn write(number: Number, len: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(HEAD_LEN + len);
    bytes.extend_from_slice(&(number as u64).to_le_bytes());
    bytes.extend_from_slice(&(len as u64).to_le_bytes());
    for at in 0..len.div_ceil(8) {
        bytes.extend_from_slice(&filler(number, at));
    }
    bytes.truncate(HEAD_LEN + len);
    bytes.into()
}

/// The number, if every byte is as it was written.
pub(super) fn read(bytes: &[u8]) -> Option<Number> {
    let (head, filling) = bytes.split_first_chunk::<HEAD_LEN>()?;
    let (number, len) = head.split_first_chunk::<8>()?;
    let number = usize::try_from(u64::from_le_bytes(*number)).ok()?;
    let len = u64::from_le_bytes(*len.first_chunk::<8>()?);
    let whole =
        filling.chunks(8).enumerate().all(|(at, chunk)| filler(number, at).starts_with(chunk));
    (filling.len() as u64 == len && whole).then_some(number)
}

/// Eight bytes that differ from message to message and from place to place.
fn filler(number: Number, at: usize) -> [u8; 8] {
    ((number as u64) << 16 ^ at as u64).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_or_a_lost_end_shows() {
        let bytes = write(300, 600);
        assert_eq!(read(&bytes), Some(300));
        assert_eq!(read(&bytes[..500]), None);
        let mut changed = bytes.to_vec();
        changed[100] ^= 1;
        assert_eq!(read(&changed), None);
        assert_eq!(read(&write(301, 0)), Some(301));
    }
}

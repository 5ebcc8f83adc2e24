//! core: the device's side of a read: which question came, and what goes back. For devices that are simulated.

use super::pdu::{Data, ExceptionCode, ReadRange};
use super::query::Query;
use super::rtu;
use crate::field::UnitId;

/// What a device adds to the function code of a request it refuses (application protocol 1.1b3, section 7).
const REFUSED: u8 = 0x80;
/// Length of the frame of a read: unit id, function, address, count, CRC.
const REQUEST_LEN: usize = 8;

/// Answers the PDU of a request; `read` gives as many bits or registers as asked for, or `None` where there are none.
///
/// Refusals are those of the flow charts of application protocol 1.1b3, sections 6.1 to 6.4.
///
/// ```
/// use fieldpost::field::modbus::{pdu::Data, server::answer};
/// let read = |_range| Some(Data::Registers(vec![0x1234]));
/// assert_eq!(answer(&[3, 0, 100, 0, 1], read), [3, 2, 0x12, 0x34]);
/// assert_eq!(answer(&[3, 0, 100, 0, 1], |_range| None), [0x83, 2]);
/// assert_eq!(answer(&[43, 14, 1, 0], |_range| None), [0xab, 1]);
/// ```
#[must_use]
pub fn answer(request: &[u8], read: impl FnOnce(ReadRange) -> Option<Data>) -> Vec<u8> {
    let function = request.first().copied().unwrap_or_default();
    let range = Query::of_request(request)
        .and_then(|query| query.range().ok_or(ExceptionCode::IllegalFunction));
    let data =
        range.and_then(|range| read(range).ok_or(ExceptionCode::IllegalDataAddress).map(bytes));
    match data {
        Ok(data) => {
            let count = u8::try_from(data.len()).expect("an answer holds no more than 250 bytes");
            [&[function, count], data.as_slice()].concat()
        }
        Err(code) => vec![function | REFUSED, code.code()],
    }
}

fn bytes(data: Data) -> Vec<u8> {
    match data {
        Data::Registers(words) => words.into_iter().flat_map(u16::to_be_bytes).collect(),
        Data::Written | Data::ServerId(_) | Data::Identity(_) => Vec::new(),
        Data::Bits(bits) => bits
            .chunks(8)
            .map(|eight| eight.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit)))
            .collect(),
    }
}

/// Finds the reads in what a device hears on a serial line.
///
/// Answers of the other devices are heard as well, and noise; only eight bytes with a right CRC are a request. The CRC
/// of an answer could be right by chance of its data, so whoever knows when the line was silent should say so.
#[derive(Debug, Default)]
pub struct Listener {
    bytes: Vec<u8>,
}

impl Listener {
    /// Takes bytes in the order they came.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The line was silent for 3.5 characters: what came before is no beginning of what comes (Modbus over serial line
    /// 1.02, section 2.5.1.1).
    pub fn handle_silence(&mut self) {
        self.bytes.clear();
    }

    /// The next request: for which unit, and its PDU. `None` means more must come first.
    pub fn poll_request(&mut self) -> Option<(UnitId, Vec<u8>)> {
        while let Some(frame) = self.bytes.get(..REQUEST_LEN) {
            let (body, crc) = frame.split_at(REQUEST_LEN - 2);
            if rtu::crc(body).to_le_bytes() == *crc {
                let request = (UnitId(body[0]), body[1..].to_vec());
                self.bytes.drain(..REQUEST_LEN);
                return Some(request);
            }
            self.bytes.remove(0);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Table;
    use crate::field::modbus::pdu::Answer;
    use proptest::prelude::*;

    #[test]
    fn what_no_answer_can_hold_is_refused_by_its_reason() {
        let never = |_: ReadRange| -> Option<Data> { panic!("nothing to read") };
        assert_eq!(answer(&[], never), [0x80, 1]);
        assert_eq!(answer(&[5, 0, 0, 0xff, 0], never), [0x85, 1]);
        assert_eq!(answer(&[3, 0, 0, 0, 126], never), [0x83, 3]);
        assert_eq!(answer(&[4, 0, 0, 0, 0], never), [0x84, 3]);
        assert_eq!(answer(&[1, 0, 0, 0], never), [0x81, 3]);
        assert_eq!(answer(&[3, 0xff, 0xff, 0, 2], never), [0x83, 2]);
    }

    #[test]
    fn requests_are_found_behind_noise_and_however_they_are_cut() {
        let one = rtu::encode(UnitId(1), &[3, 0, 0, 0, 2]);
        let two = rtu::encode(UnitId(2), &[4, 0, 9, 0, 1]);
        let mut listener = Listener::default();
        let mut found = Vec::new();
        for byte in [&[0xff, 0, 0x55], one.as_slice(), &[7], two.as_slice()].concat() {
            listener.handle_bytes(&[byte]);
            found.extend(listener.poll_request());
        }
        let expected = [(UnitId(1), vec![3, 0, 0, 0, 2]), (UnitId(2), vec![4, 0, 9, 0, 1])];
        assert_eq!(found, expected);
        listener.handle_bytes(&one[..3]);
        listener.handle_silence();
        listener.handle_bytes(&one[3..]);
        assert_eq!(listener.poll_request(), None);
    }

    proptest! {
        #[test]
        fn an_answer_reads_back_as_what_was_given(
            words in proptest::collection::vec(any::<u16>(), 1..=125),
            bits in proptest::collection::vec(any::<bool>(), 1..=2000),
        ) {
            for (table, data) in [(Table::Input, Data::Registers(words)), (Table::Coil, Data::Bits(bits))] {
                let count = match &data {
                    Data::Registers(words) => words.len(),
                    Data::Bits(bits) => bits.len(),
                    Data::Written | Data::ServerId(_) | Data::Identity(_) => 0,
                };
                let range = ReadRange::new(table, 7, u16::try_from(count).expect("2000 at most")).expect("allowed");
                let pdu = answer(&range.request(), |asked| (asked == range).then(|| data.clone()));
                prop_assert_eq!(Query::from(range).answer(&pdu), Ok(Answer::Data(data)));
            }
        }
    }
}

use proptest::prelude::*;

use super::*;
use crate::field::Table;
use crate::field::modbus::pdu::{Data, ReadRange};

const UNIT: UnitId = UnitId(7);

fn question(address: u16, count: u16) -> Question {
    let range = ReadRange::new(Table::Holding, address, count).expect("the range is allowed");
    Question::new(UNIT, range)
}

/// The frame a device whose registers hold their own address answers with.
fn answer_frame(unit: u8, function: u8, address: u16, count: u16) -> Vec<u8> {
    let mut pdu = vec![function, u8::try_from(count * 2).expect("at most 125 registers")];
    (address..address + count).for_each(|word| pdu.extend_from_slice(&word.to_be_bytes()));
    encode(UnitId(unit), &pdu)
}

fn registers(address: u16, count: u16) -> Option<Answer> {
    Some(Answer::Data(Data::Registers((address..address + count).collect())))
}

#[test]
fn the_request_of_the_specification_has_its_crc() {
    // Modbus over serial line 1.02, section 6.2.2 and every calculator: unit 1, holding 0, 10 of them.
    let frame = encode(UnitId(1), &[3, 0, 0, 0, 10]);
    assert_eq!(frame, [1, 3, 0, 0, 0, 10, 0xc5, 0xcd]);
}

#[test]
fn an_answer_is_taken_whole_in_parts_and_after_noise_or_echo() {
    let frame = answer_frame(7, 3, 10, 2);
    assert_eq!(Receiver::new(question(10, 2)).handle_bytes(&frame), registers(10, 2));

    let mut parts = Receiver::new(question(10, 2));
    assert_eq!(parts.handle_bytes(&frame[..4]), None);
    assert_eq!(parts.handle_bytes(&frame[4..]), registers(10, 2));

    for noise in [&[0xff, 0x00, 0x55][..], &[7, 3, 4], &[0; 30], &[7; 30], &[7, 3, 250]] {
        let mut receiver = Receiver::new(question(10, 2));
        assert_eq!(receiver.handle_bytes(&[noise, &frame].concat()), registers(10, 2), "{noise:?}");
    }

    let mut receiver = Receiver::new(question(10, 2));
    let echo = receiver.request().to_vec();
    assert_eq!(receiver.handle_bytes(&echo[..5]), None);
    assert_eq!(receiver.handle_bytes(&echo[5..]), None);
    assert_eq!(receiver.failure(), Failure::EchoOnly);
    assert_eq!(receiver.handle_bytes(&frame), registers(10, 2));
}

#[test]
fn the_reason_says_what_was_seen() {
    let after = |bytes: &[u8]| {
        let mut receiver = Receiver::new(question(10, 2));
        assert_eq!(receiver.handle_bytes(bytes), None);
        receiver.failure()
    };
    assert_eq!(after(&[]), Failure::NoAnswer);
    assert_eq!(after(&[0xff; 30]), Failure::Noise { bytes: 30 });
    assert_eq!(after(&answer_frame(7, 3, 10, 2)[..5]), Failure::Short { received: 5, expected: 9 });
    assert_eq!(after(&answer_frame(8, 3, 10, 2)), Failure::WrongUnit { asked: 7, answered: 8 });
    assert_eq!(after(&answer_frame(7, 4, 10, 2)), Failure::WrongFunction { asked: 3, answered: 4 });
    assert_eq!(after(&answer_frame(7, 3, 10, 1)), Failure::WrongLength { asked: 4, answered: 2 });
    let mut damaged = answer_frame(7, 3, 10, 2);
    damaged[7] ^= 1;
    let Failure::Crc { received, computed } = after(&damaged) else { panic!("{damaged:?}") };
    assert_ne!(received, computed);
}

#[test]
fn a_refusal_is_taken_unless_it_may_belong_to_an_older_question() {
    let refusal = encode(UNIT, &[0x83, 2]);
    let refused = Some(Answer::Refused(ExceptionCode::IllegalDataAddress));
    assert_eq!(Receiver::new(question(10, 2)).handle_bytes(&refusal), refused);

    let older = Question { older_of_function: 1, older_on_bus: true, ..question(10, 2) };
    let mut receiver = Receiver::new(older);
    assert_eq!(receiver.handle_bytes(&refusal), None);
    let code = ExceptionCode::IllegalDataAddress;
    assert_eq!(receiver.failure(), Failure::RefusedSomething { code });
    assert_eq!(receiver.handle_bytes(&refusal), refused, "the second one can only be ours");

    let mut receiver = Receiver::new(older);
    assert_eq!(receiver.handle_bytes(&answer_frame(7, 3, 0, 5)), None, "the older one's answer");
    assert_eq!(receiver.handle_bytes(&refusal), refused, "so this one is ours");
}

#[test]
fn an_older_answer_is_passed_over_and_reported() {
    let mut receiver = Receiver::new(Question { older_on_bus: true, ..question(10, 2) });
    assert_eq!(receiver.handle_bytes(&answer_frame(7, 3, 200, 3)), None);
    assert_eq!(receiver.failure(), Failure::OnlyOlder { count: 1 });
    assert_eq!(receiver.dropped(), [(UNIT, Shape { function: 3, byte_count: 6 })]);
    assert_eq!(receiver.handle_bytes(&answer_frame(7, 3, 10, 2)), registers(10, 2));
}

#[test]
fn bits_that_look_like_the_request_give_no_value() {
    // Coils 0x0300.. answered with bytes that equal the rest of the request.
    let range = ReadRange::new(Table::Coil, 0x0312, 20).expect("the range is allowed");
    let mut receiver = Receiver::new(Question::new(UNIT, range));
    let frame = encode(UNIT, &[1, 3, 0x12, 0, 20]);
    assert_eq!(frame, receiver.request());
    assert_eq!(receiver.handle_bytes(&frame), None);
}

proptest! {
    #[test]
    fn random_bytes_are_never_an_answer_and_never_pile_up(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..30),
    ) {
        let mut receiver = Receiver::new(question(10, 20));
        for chunk in chunks {
            prop_assert_eq!(receiver.handle_bytes(&chunk), None);
            prop_assert!(receiver.bytes.len() < 400);
        }
        let _ = receiver.failure();
    }

    #[test]
    fn an_answer_is_found_behind_any_noise_and_however_it_is_cut(
        noise in proptest::collection::vec(any::<u8>(), 0..40),
        count in 1..=125u16,
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut receiver = Receiver::new(question(1000, count));
        let all = [noise, answer_frame(7, 3, 1000, count)].concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(all.len())).collect();
        cuts.extend([0, all.len()]);
        cuts.sort_unstable();
        let mut answer = None;
        for pair in cuts.windows(2) {
            answer = answer.or(receiver.handle_bytes(&all[pair[0]..pair[1]]));
        }
        prop_assert_eq!(answer, registers(1000, count));
    }

    #[test]
    fn one_flipped_bit_is_never_a_value(bit in 0..9 * 8usize) {
        let mut frame = answer_frame(7, 3, 10, 2);
        frame[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(Receiver::new(question(10, 2)).handle_bytes(&frame), None);
    }
}

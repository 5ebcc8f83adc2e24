use proptest::prelude::*;

use super::*;
use crate::field::Table;
use crate::field::modbus::exchange::Exchange;
use crate::field::modbus::fifo::Fifo;
use crate::field::modbus::file_record::FileRecord;
use crate::field::modbus::identity::{Identity, IdentityQuery, Objects};
use crate::field::modbus::pdu::{Data, ReadRange};
use crate::field::modbus::write::{What, Write};

const UNIT: UnitId = UnitId(7);

fn question(address: u16, count: u16) -> Question {
    let range = ReadRange::new(Table::Holding, address, count).expect("the range is allowed");
    Question::new(UNIT, range)
}

/// The frame a device whose registers hold their own address answers with.
fn answer_frame(unit: u8, function: u8, address: u16, count: u16) -> Vec<u8> {
    let mut pdu = vec![function, u8::try_from(count * 2).expect("at most 125 registers")];
    (address..address + count).for_each(|word| pdu.extend_from_slice(&word.to_be_bytes()));
    rtu::encode(UnitId(unit), &pdu)
}

fn registers(address: u16, count: u16) -> Option<Answer> {
    Some(Answer::Data(Data::Registers((address..address + count).collect())))
}

#[test]
fn an_answer_is_taken_whole_in_parts_and_after_noise_or_echo() {
    let frame = answer_frame(7, 3, 10, 2);
    assert_eq!(Receiver::new(Wrap::Rtu, question(10, 2)).handle_bytes(&frame), registers(10, 2));

    let mut parts = Receiver::new(Wrap::Rtu, question(10, 2));
    assert_eq!(parts.handle_bytes(&frame[..4]), None);
    assert_eq!(parts.handle_bytes(&frame[4..]), registers(10, 2));

    for noise in [&[0xff, 0x00, 0x55][..], &[7, 3, 4], &[0; 30], &[7; 30], &[7, 3, 250]] {
        let mut receiver = Receiver::new(Wrap::Rtu, question(10, 2));
        assert_eq!(receiver.handle_bytes(&[noise, &frame].concat()), registers(10, 2), "{noise:?}");
    }

    let mut receiver = Receiver::new(Wrap::Rtu, question(10, 2));
    let echo = receiver.request().to_vec();
    assert_eq!(receiver.handle_bytes(&echo[..5]), None);
    assert_eq!(receiver.handle_bytes(&echo[5..]), None);
    assert_eq!(receiver.failure(), Failure::EchoOnly);
    assert_eq!(receiver.handle_bytes(&frame), registers(10, 2));
}

#[test]
fn the_reason_says_what_was_seen() {
    let after = |bytes: &[u8]| {
        let mut receiver = Receiver::new(Wrap::Rtu, question(10, 2));
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
    let refusal = rtu::encode(UNIT, &[0x83, 2]);
    let refused = Some(Answer::Refused(ExceptionCode::IllegalDataAddress));
    assert_eq!(Receiver::new(Wrap::Rtu, question(10, 2)).handle_bytes(&refusal), refused);

    let older = Question { older_of_function: 1, older_on_bus: true, ..question(10, 2) };
    let mut receiver = Receiver::new(Wrap::Rtu, older.clone());
    assert_eq!(receiver.handle_bytes(&refusal), None);
    let code = ExceptionCode::IllegalDataAddress;
    assert_eq!(receiver.failure(), Failure::RefusedSomething { code });
    assert_eq!(receiver.handle_bytes(&refusal), refused, "the second one can only be ours");

    let mut receiver = Receiver::new(Wrap::Rtu, older);
    assert_eq!(receiver.handle_bytes(&answer_frame(7, 3, 0, 5)), None, "the older one's answer");
    assert_eq!(receiver.handle_bytes(&refusal), refused, "so this one is ours");
}

#[test]
fn an_older_answer_is_passed_over_and_reported() {
    let mut receiver = Receiver::new(Wrap::Rtu, Question { older_on_bus: true, ..question(10, 2) });
    assert_eq!(receiver.handle_bytes(&answer_frame(7, 3, 200, 3)), None);
    assert_eq!(receiver.failure(), Failure::OnlyOlder { count: 1 });
    assert_eq!(receiver.dropped(), [(UNIT, Shape { function: 3, byte_count: Some(6) })]);
    assert_eq!(receiver.handle_bytes(&answer_frame(7, 3, 10, 2)), registers(10, 2));
}

#[test]
fn a_write_is_answered_by_itself_and_an_adapter_that_hears_itself_says_it_twice() {
    let write = Write::new(10, What::Register(3)).expect("allowed");
    let (question, written) = (Question::write(UNIT, &write), Some(Answer::Data(Data::Written)));
    for wrap in [Wrap::Rtu, Wrap::Ascii] {
        let mut plain = Receiver::new(wrap, question.clone());
        let frame = plain.request().to_vec();
        assert_eq!(plain.handle_bytes(&frame), written);
        let mut echoing = Receiver::new(wrap, question.clone());
        echoing.handle_echoing();
        assert_eq!(echoing.handle_bytes(&frame), None);
        assert_eq!(echoing.failure(), Failure::EchoOnly);
        assert_eq!(echoing.handle_bytes(&frame), written);
    }
}

#[test]
fn the_answer_to_another_write_is_none() {
    let ours = Write::new(10, What::Registers(vec![3, 4])).expect("allowed");
    for (pdu, failure) in [
        (vec![16, 0, 10, 0, 2], None),
        (vec![16, 0, 11, 0, 2], Some(Failure::OtherWrite)),
        (vec![6, 0, 10, 0, 3], Some(Failure::WrongFunction { asked: 16, answered: 6 })),
    ] {
        let mut receiver = Receiver::new(Wrap::Rtu, Question::write(UNIT, &ours));
        let answer = receiver.handle_bytes(&rtu::encode(UNIT, &pdu));
        assert_eq!(answer.is_some(), failure.is_none(), "{pdu:?}");
        if let Some(failure) = failure {
            assert_eq!(receiver.failure(), failure);
        }
    }
    let mut receiver = Receiver::new(Wrap::Rtu, Question::write(UNIT, &ours));
    let refused = Some(Answer::Refused(ExceptionCode::IllegalDataValue));
    assert_eq!(receiver.handle_bytes(&rtu::encode(UNIT, &[0x90, 3])), refused);
}

#[test]
fn bits_that_look_like_the_request_give_no_value() {
    // Coils 0x0300.. answered with bytes that equal the rest of the request.
    let range = ReadRange::new(Table::Coil, 0x0312, 20).expect("the range is allowed");
    let mut receiver = Receiver::new(Wrap::Rtu, Question::new(UNIT, range));
    let frame = rtu::encode(UNIT, &[1, 3, 0x12, 0, 20]);
    assert_eq!(frame, receiver.request());
    assert_eq!(receiver.handle_bytes(&frame), None);
}

/// The frame a device whose registers hold their own address answers with, in either wrap.
fn wrapped(wrap: Wrap, unit: u8, address: u16, count: u16) -> Vec<u8> {
    let mut pdu = vec![3, u8::try_from(count * 2).expect("at most 125 registers")];
    (address..address + count).for_each(|word| pdu.extend_from_slice(&word.to_be_bytes()));
    wrap.encode(UnitId(unit), &pdu)
}

#[test]
fn an_ascii_answer_is_found_and_the_reason_says_what_was_seen() {
    let receive = |bytes: &[u8]| {
        let mut receiver = Receiver::new(Wrap::Ascii, question(10, 2));
        let answer = receiver.handle_bytes(bytes);
        (answer, receiver.failure())
    };
    let right = wrapped(Wrap::Ascii, 7, 10, 2);
    assert_eq!(right, b":070304000A000BDD\r\n");
    assert_eq!(receive(&right).0, registers(10, 2));
    assert_eq!(receive(&right.to_ascii_lowercase()).0, registers(10, 2), "small letters");
    let echo = Wrap::Ascii.encode(UNIT, &question(10, 2).query.request());
    assert_eq!(receive(&[echo.clone(), right.clone()].concat()).0, registers(10, 2));
    assert_eq!(receive(&[b":0703".as_slice(), &right].concat()).0, registers(10, 2));

    assert_eq!(receive(&[]).1, Failure::NoAnswer);
    assert_eq!(receive(&echo).1, Failure::EchoOnly);
    assert_eq!(receive(&[0xff; 30]).1, Failure::Noise { bytes: 30 });
    assert_eq!(receive(&right[..9]).1, Failure::Short { received: 9, expected: right.len() });
    let other = receive(&wrapped(Wrap::Ascii, 8, 10, 2)).1;
    assert_eq!(other, Failure::WrongUnit { asked: 7, answered: 8 });
    let short = receive(&wrapped(Wrap::Ascii, 7, 10, 1)).1;
    assert_eq!(short, Failure::WrongLength { asked: 4, answered: 2 });
    for at in 1..right.len() - 2 {
        let mut damaged = right.clone();
        damaged[at] = if damaged[at] == b'5' { b'6' } else { b'5' };
        assert!(matches!(receive(&damaged), (None, Failure::Lrc { .. })), "at {at}");
    }
}

/// One question of each of the rarer functions, an answer to it, and what that says.
fn rarer() -> Vec<(Query, Vec<u8>, Data)> {
    let exchange = Exchange::new(14, vec![0xff], 3, 2).expect("allowed");
    let record = FileRecord::new(4, 1, 2).expect("allowed");
    let identity = IdentityQuery { objects: Objects::Basic, from: 0 };
    let words = || Data::Registers(vec![0x0dfe, 0x20]);
    let told = Identity {
        conformity: 1,
        more_from: None,
        objects: vec![(0, b"AB".to_vec()), (1, vec![])],
    };
    vec![
        (Query::Exchange(exchange), vec![23, 4, 0x0d, 0xfe, 0, 0x20], words()),
        (Query::FileRecord(record), vec![20, 6, 5, 6, 0x0d, 0xfe, 0, 0x20], words()),
        (Query::Fifo(Fifo(7)), vec![24, 0, 6, 0, 2, 0x0d, 0xfe, 0, 0x20], words()),
        (Query::ServerId, vec![17, 2, 9, 0xff], Data::ServerId(vec![9, 0xff])),
        (
            Query::Identity(identity),
            vec![43, 14, 1, 1, 0, 0, 2, 0, 2, b'A', b'B', 1, 0],
            Data::Identity(told),
        ),
    ]
}

#[test]
fn answers_whose_length_stands_in_them_are_found_behind_echo_and_noise_byte_by_byte() {
    for wrap in [Wrap::Rtu, Wrap::Ascii] {
        for (query, pdu, data) in rarer() {
            let mut receiver = Receiver::new(wrap, Question::new(UNIT, query.clone()));
            let frame = wrap.encode(UNIT, &pdu);
            let all = [&[0, 7, 7][..], receiver.request(), &[UNIT.0, 0x11], &frame].concat();
            let answers: Vec<_> =
                all.chunks(1).filter_map(|byte| receiver.handle_bytes(byte)).collect();
            assert_eq!(answers, [Answer::Data(data)], "{query}");

            let mut receiver = Receiver::new(wrap, Question::new(UNIT, query.clone()));
            let refusal = wrap.encode(UNIT, &[query.function() | 0x80, 1]);
            let refused = Some(Answer::Refused(ExceptionCode::IllegalFunction));
            assert_eq!(receiver.handle_bytes(&refusal), refused, "{query}");

            let mut receiver = Receiver::new(wrap, Question::new(UNIT, query.clone()));
            assert_eq!(receiver.handle_bytes(&frame[..frame.len() - 3]), None);
            assert!(
                matches!(receiver.failure(), Failure::Short { .. }),
                "{:?}",
                receiver.failure()
            );
        }
    }
}

#[test]
fn an_answer_that_contradicts_itself_or_the_question_is_none_and_is_named() {
    let identity = Query::Identity(IdentityQuery { objects: Objects::Regular, from: 0 });
    let record = Query::FileRecord(FileRecord::new(4, 1, 1).expect("allowed"));
    for (query, pdu) in [
        (identity, vec![43, 14, 1, 1, 0, 0, 1, 0, 1, b'A']),
        (Query::Fifo(Fifo(7)), vec![24, 0, 4, 0, 2, 0, 1]),
        (record, vec![20, 4, 2, 6, 0, 1]),
    ] {
        let mut receiver = Receiver::new(Wrap::Rtu, Question::new(UNIT, query.clone()));
        assert_eq!(receiver.handle_bytes(&rtu::encode(UNIT, &pdu)), None, "{query}");
        assert_eq!(receiver.failure(), Failure::Malformed, "{query}");
    }
}

fn wraps() -> impl Strategy<Value = Wrap> {
    prop_oneof![Just(Wrap::Rtu), Just(Wrap::Ascii)]
}

proptest! {
    #[test]
    fn random_bytes_are_never_an_answer_and_never_pile_up(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..30),
        wrap in wraps(),
    ) {
        let mut receiver = Receiver::new(wrap, question(10, 20));
        for chunk in chunks {
            prop_assert_eq!(receiver.handle_bytes(&chunk), None);
            prop_assert!(receiver.bytes.len() < 600);
        }
        let _ = receiver.failure();
    }

    #[test]
    fn random_bytes_are_no_answer_of_a_rarer_function_either(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..30),
        wrap in wraps(),
        which in 0..5usize,
    ) {
        let (query, ..) = rarer().swap_remove(which);
        let begun = [UNIT.0, query.function()];
        let mut receiver = Receiver::new(wrap, Question::new(UNIT, query));
        for chunk in chunks {
            prop_assert_eq!(receiver.handle_bytes(&[&begun[..], &chunk].concat()), None);
            prop_assert!(receiver.bytes.len() < 600);
        }
        let _ = receiver.failure();
    }

    #[test]
    fn one_flipped_bit_is_never_another_answer_of_a_rarer_function(
        bit: prop::sample::Index,
        cut in 1..20usize,
        wrap in wraps(),
        which in 0..5usize,
    ) {
        let (query, pdu, data) = rarer().swap_remove(which);
        let mut frame = wrap.encode(UNIT, &pdu);
        let bit = bit.index(frame.len() * 8);
        frame[bit / 8] ^= 1 << (bit % 8);
        let mut receiver = Receiver::new(wrap, Question::new(UNIT, query));
        let answers: Vec<_> = frame.chunks(cut).filter_map(|chunk| receiver.handle_bytes(chunk)).collect();
        prop_assert!(answers.is_empty() || wrap == Wrap::Ascii && answers == [Answer::Data(data)]);
    }

    #[test]
    fn an_answer_is_found_behind_any_noise_and_however_it_is_cut(
        noise in proptest::collection::vec(any::<u8>(), 0..40),
        count in 1..=125u16,
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        wrap in wraps(),
    ) {
        let mut receiver = Receiver::new(wrap, question(1000, count));
        let all = [noise, wrapped(wrap, 7, 1000, count)].concat();
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
    fn one_flipped_bit_is_never_another_value(bit: prop::sample::Index, wrap in wraps()) {
        let mut frame = wrapped(wrap, 7, 10, 2);
        let bit = bit.index(frame.len() * 8);
        frame[bit / 8] ^= 1 << (bit % 8);
        let answer = Receiver::new(wrap, question(10, 2)).handle_bytes(&frame);
        // In ASCII a flipped bit can turn a letter into its small form, which means the same.
        prop_assert!(answer.is_none() || wrap == Wrap::Ascii && answer == registers(10, 2));
    }

    #[test]
    fn frames_of_others_and_older_ones_are_never_taken_in_any_order(
        others in proptest::collection::vec((1..=9u8, 1..=4u16, any::<bool>()), 0..8),
        cut in 1..40usize,
        wrap in wraps(),
    ) {
        // Whatever comes before it: other units, other lengths, and damaged ones of our own shape.
        let before = others.iter().flat_map(|(unit, count, damage)| {
            let mut frame = wrapped(wrap, *unit, 500, *count);
            if *damage || (*unit, *count) == (7, 2) {
                frame[6] ^= 1;
            }
            frame
        });
        let all: Vec<u8> = before.chain(wrapped(wrap, 7, 10, 2)).collect();
        let mut receiver = Receiver::new(wrap, question(10, 2));
        let answers: Vec<_> = all.chunks(cut).filter_map(|chunk| receiver.handle_bytes(chunk)).collect();
        prop_assert_eq!(answers.into_iter().next(), registers(10, 2));
    }
}

use proptest::prelude::*;

use super::*;
use crate::field::modbus::pdu::Data;

fn holding(address: u16, count: u16) -> ReadRange {
    ReadRange::new(Table::Holding, address, count).expect("the range is allowed")
}

/// One of each, with an answer a device gives.
fn samples() -> Vec<(Query, Vec<u8>)> {
    let write = |what| Query::Write(Write::new(7, what).expect("allowed"));
    let exchange = Exchange::new(14, vec![0xff; 3], 3, 6).expect("allowed");
    let record = FileRecord::new(4, 1, 2).expect("allowed");
    let identity = IdentityQuery { objects: Objects::Basic, from: 0 };
    let coils = ReadRange::new(Table::Coil, 19, 19).expect("allowed");
    vec![
        (holding(107, 3).into(), vec![3, 6, 2, 0x2b, 0, 0, 0, 0x64]),
        (coils.into(), vec![1, 3, 0xcd, 0x6b, 5]),
        (write(What::Coil(true)), vec![5, 0, 7, 0xff, 0]),
        (write(What::Register(3)), vec![6, 0, 7, 0, 3]),
        (write(What::Coils(vec![true; 9])), vec![15, 0, 7, 0, 9]),
        (write(What::Registers(vec![1, 2])), vec![16, 0, 7, 0, 2]),
        (write(What::Mask { keep: 0xf2, set: 0x25 }), vec![22, 0, 7, 0, 0xf2, 0, 0x25]),
        (Query::Exchange(exchange), vec![23, 12, 0, 0xfe, 0x0a, 0xcd, 0, 1, 0, 3, 0, 13, 0, 0xff]),
        (Query::FileRecord(record), vec![20, 6, 5, 6, 0x0d, 0xfe, 0, 0x20]),
        (Query::Fifo(Fifo(1246)), vec![24, 0, 6, 0, 2, 1, 0xb8, 0x12, 0x84]),
        (Query::ServerId, vec![17, 3, 9, 0xff, b'x']),
        (Query::Identity(identity), vec![43, 14, 1, 1, 0, 0, 1, 0, 2, b'A', b'B']),
    ]
}

#[test]
fn a_question_reads_back_from_its_request_and_its_json() {
    for (query, _) in samples() {
        assert_eq!(Query::of_request(&query.request()), Ok(query.clone()));
        let json = serde_json::to_string(&query).expect("JSON");
        assert_eq!(serde_json::from_str::<Query>(&json).expect("the same"), query);
    }
    assert!(serde_json::from_str::<Query>("[3,0,0,0,126]").is_err());
}

#[test]
fn the_example_of_the_specification_for_an_exchange_is_read() {
    // Section 6.17: 6 registers from 3 on are read, 3 from 14 on written.
    let exchange = Exchange::new(14, vec![0xff; 3], 3, 6).expect("allowed");
    let request = [23, 0, 3, 0, 6, 0, 14, 0, 3, 6, 0, 0xff, 0, 0xff, 0, 0xff];
    assert_eq!(exchange.request(), request);
    let (query, answer) = samples().swap_remove(7);
    let words = vec![0xfe, 0x0acd, 1, 3, 13, 0xff];
    assert_eq!(query.answer(&answer), Ok(Answer::Data(Data::Registers(words))));
    let short = Mismatch::Length { asked: 14, answered: 12 };
    assert_eq!(query.answer(&[&[23, 10][..], &[0; 10]].concat()), Err(short));
}

#[test]
fn every_answer_is_taken_and_no_other_for_it() {
    for (query, answer) in samples() {
        assert!(matches!(query.answer(&answer), Ok(Answer::Data(_))), "{query}");
        assert!(query.expected_len() >= answer.len());
        let shape = Shape::of_answer(&answer).expect("it is an answer");
        assert!(query.shape().is_like(shape), "{query}");
        let refusal = [query.function() | REFUSED, 4];
        let code = ExceptionCode::DeviceFailure;
        assert_eq!(query.answer(&refusal), Ok(Answer::Refused(code)));
        assert_eq!(Shape::of_answer(&refusal), None);
        for end in 0..answer.len() {
            assert!(query.answer(&answer[..end]).is_err(), "{query} cut at {end}");
        }
        assert!(query.answer(&[answer.clone(), vec![0]].concat()).is_err(), "{query}");
        for (other, theirs) in samples().iter().filter(|(other, _)| *other != query) {
            assert!(query.answer(theirs).is_err(), "{query} is answered by that of {other}");
        }
    }
}

#[test]
fn what_no_device_can_do_is_refused_by_its_reason() {
    for (pdu, code) in [
        (&[][..], 1),
        (&[43, 13, 0, 0], 1),
        (&[7], 1),
        (&[3, 0, 0, 0, 126], 3),
        (&[3, 0xff, 0xff, 0, 2], 2),
        (&[5, 0, 0, 1, 0], 3),
        (&[16, 0, 0, 0, 2, 4, 0, 1], 3),
        (&[17, 0], 3),
        (&[20, 7, 6, 0, 0, 0, 0, 0, 1], 2),
        (&[23, 0, 0, 0, 1, 0, 0, 0, 1, 2, 0], 3),
        (&[24, 0], 3),
        (&[43, 14, 5, 0], 3),
    ] {
        assert_eq!(Query::of_request(pdu), Err(ExceptionCode::from(code)), "{pdu:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer_of_the_right_shape_or_none(
        bytes in proptest::collection::vec(any::<u8>(), 0..260),
        which in 0..12usize,
    ) {
        let (query, _) = samples().swap_remove(which);
        let pdu = [vec![query.function()], bytes].concat();
        if let Ok(Answer::Data(data)) = query.answer(&pdu) {
            prop_assert!(Shape::of_answer(&pdu).is_some_and(|shape| query.shape().is_like(shape)));
            match (&query, data) {
                (Query::Read(range), Data::Registers(words)) => prop_assert_eq!(words.len(), usize::from(range.count())),
                (Query::Exchange(_), Data::Registers(words)) => prop_assert_eq!(words.len(), 6),
                (Query::FileRecord(_), Data::Registers(words)) => prop_assert_eq!(words.len(), 2),
                (Query::Fifo(_), Data::Registers(words)) => prop_assert!(words.len() <= 31),
                _ => {}
            }
        }
        let _ = Query::of_request(&pdu);
    }
}

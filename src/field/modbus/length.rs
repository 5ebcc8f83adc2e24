//! core: how long an answer is, told by its first bytes. An RTU frame carries no other mark of its end.

/// What a device adds to the function code of a request it refuses (application protocol 1.1b3, section 7).
const REFUSED: u8 = 0x80;
/// The functions whose answers are known here.
const FUNCTIONS: &[u8] = &[1, 2, 3, 4, 5, 6, 15, 16, 17, 20, 22, 23, 24, 43];
/// The longest PDU (application protocol 1.1b3, section 4.1).
pub(super) const PDU_MAX: usize = 253;
/// The kind of encapsulated transport that identifies a device (section 6.21).
pub(super) const MEI_IDENTIFICATION: u8 = 14;

/// How long a PDU is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// So many bytes.
    Is(usize),
    /// More bytes must come before that is known.
    Open,
    /// It can begin no answer.
    Nothing,
}

/// How long the answer is whose PDU begins with `pdu`.
pub(super) fn answer_length(pdu: &[u8]) -> Length {
    let &[function, second, ref rest @ ..] = pdu else { return Length::Open };
    match (function, second) {
        (1..=2, 1..=250) | (17, 1..=251) => counted(second),
        (3..=4 | 23, 2..=250) if second.is_multiple_of(2) => counted(second),
        (20, 4..=244) if second.is_multiple_of(2) => counted(second),
        (5 | 6 | 15 | 16, _) => Length::Is(5),
        (22, _) => Length::Is(7),
        // The byte count has two bytes and says at most 31 registers and their number (section 6.18).
        (24, 0) => match rest {
            [] => Length::Open,
            [low @ 2..=64, ..] if low.is_multiple_of(2) => Length::Is(3 + usize::from(*low)),
            _ => Length::Nothing,
        },
        (43, MEI_IDENTIFICATION) => identification(pdu),
        (_, 1..) if function > REFUSED && FUNCTIONS.contains(&(function - REFUSED)) => {
            Length::Is(2)
        }
        _ => Length::Nothing,
    }
}

/// Function code, byte count and so many bytes.
fn counted(byte_count: u8) -> Length {
    Length::Is(2 + usize::from(byte_count))
}

/// Objects one behind the other, each with its length in front (section 6.21).
fn identification(pdu: &[u8]) -> Length {
    if !matches!(pdu.get(2), None | Some(1..=4)) || !matches!(pdu.get(4), None | Some(0 | 0xff)) {
        return Length::Nothing;
    }
    let Some(&count) = pdu.get(6) else { return Length::Open };
    let mut end = 7;
    for _ in 0..count {
        if end + 2 > PDU_MAX {
            return Length::Nothing;
        }
        let Some(&length) = pdu.get(end + 1) else { return Length::Open };
        end += 2 + usize::from(length);
    }
    if end > PDU_MAX { Length::Nothing } else { Length::Is(end) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_answers_of_the_specification_are_as_long_as_their_beginnings_say() {
        let identification =
            [&[43, 14, 1, 1, 0, 0, 3, 0, 4][..], b"ACME", &[1, 2], b"X1", &[2, 5], b"V2.11"];
        let answers: [&[u8]; 8] = [
            &[17, 3, 1, 0xff, 7],
            &[20, 12, 5, 6, 0x0d, 0xfe, 0, 0x20, 5, 6, 0x33, 0xcd, 0, 0x40],
            &[23, 12, 0, 0xfe, 0x0a, 0xcd, 0, 1, 0, 3, 0, 13, 0, 0xff],
            &[24, 0, 6, 0, 2, 1, 0xb8, 0x12, 0x84],
            &[24, 0, 2, 0, 0],
            &identification.concat(),
            &[0xab, 1],
            &[22, 0, 4, 0, 0xf2, 0, 0x25],
        ];
        for pdu in answers {
            let known = (0..=pdu.len()).find(|len| answer_length(&pdu[..*len]) != Length::Open);
            let known = known.expect("it is known at the end");
            for len in known..=pdu.len() {
                assert_eq!(answer_length(&pdu[..len]), Length::Is(pdu.len()), "{pdu:?}");
            }
        }
        for pdu in [&[24, 1][..], &[24, 0, 66], &[43, 13], &[43, 14, 5], &[0xaa, 1], &[23, 3]] {
            assert_eq!(answer_length(pdu), Length::Nothing, "{pdu:?}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_is_longer_than_a_pdu_and_none_changes_its_length(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            function in proptest::sample::select(FUNCTIONS.to_vec()),
        ) {
            let pdu = [vec![function], bytes].concat();
            let mut known = Length::Open;
            for end in 0..=pdu.len() {
                let length = answer_length(&pdu[..end]);
                prop_assert!(known == Length::Open || known == length);
                known = length;
                if let Length::Is(length) = length {
                    prop_assert!(length <= PDU_MAX);
                }
            }
        }
    }
}

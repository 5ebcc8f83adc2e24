//! core: what a request and an answer say, in words, for whoever reads along.

use super::pdu::ExceptionCode;

/// What a request asks for: `read holding 100+10`.
#[must_use]
pub fn of_request(pdu: &[u8]) -> String {
    let word = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    match *pdu {
        [function @ 1..=4, a, b, c, d] => {
            format!("read {} {}+{}", table(function), word(a, b), word(c, d))
        }
        [5, a, b, value, _] => {
            format!("write coil {} = {}", word(a, b), if value == 0 { "off" } else { "on" })
        }
        [6, a, b, c, d] => format!("write holding {} = {}", word(a, b), word(c, d)),
        [15, a, b, c, d, ..] => format!("write coil {}+{}", word(a, b), word(c, d)),
        [16, a, b, c, d, ..] => format!("write holding {}+{}", word(a, b), word(c, d)),
        [22, a, b, ..] => format!("change bits of holding {}", word(a, b)),
        [23, a, b, c, d, e, f, g, h, ..] => format!(
            "write holding {}+{} and read holding {}+{}",
            word(e, f),
            word(g, h),
            word(a, b),
            word(c, d)
        ),
        [function, ..] => name(function),
        [] => "nothing".to_owned(),
    }
}

/// What an answer says: `answers with 10 registers`, `refuses: …`.
#[must_use]
pub fn of_answer(pdu: &[u8]) -> String {
    match *pdu {
        [function @ 0x81..=0xff, code, ..] => {
            format!("refuses to {}: {}", name(function & 0x7f), ExceptionCode::from(code))
        }
        [1 | 2, count, ..] => format!("answers with {count} bytes of bits"),
        [3 | 4 | 23, 2, high, low] => {
            format!("answers with a register: {}", u16::from_be_bytes([high, low]))
        }
        [3 | 4 | 23, count, ..] => format!("answers with {} registers", count / 2),
        // The answer to a write begins as its request does.
        [5 | 6 | 15 | 16 | 22, ..] => format!("has done it: {}", of_request(pdu)),
        [function, ..] => format!("answers: {}", name(function)),
        [] => "answers nothing".to_owned(),
    }
}

fn table(function: u8) -> &'static str {
    match function {
        1 => "coil",
        2 => "discrete",
        3 => "holding",
        _ => "input",
    }
}

/// What a function code stands for (Modbus application protocol 1.1b3, section 6).
fn name(function: u8) -> String {
    let name = match function {
        1..=4 => return format!("read {}", table(function)),
        5 => "write one coil",
        6 => "write one holding register",
        7 => "read the exception status",
        8 => "diagnose",
        11 => "read the event counter",
        12 => "read the event log",
        15 => "write coils",
        16 => "write holding registers",
        17 => "report the server id",
        20 => "read a file record",
        21 => "write a file record",
        22 => "change bits of a holding register",
        23 => "write and read holding registers",
        24 => "read a FIFO queue",
        43 => "read the device identification",
        _ => return format!("function {function}"),
    };
    format!("{name} (function {function})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests_and_answers_are_told_in_words() {
        assert_eq!(of_request(&[3, 0, 100, 0, 10]), "read holding 100+10");
        assert_eq!(of_request(&[5, 0, 4, 0xff, 0]), "write coil 4 = on");
        assert_eq!(of_request(&[16, 0, 4, 0, 2, 4, 0, 1, 0, 2]), "write holding 4+2");
        assert_eq!(of_answer(&[3, 2, 1, 2]), "answers with a register: 258");
        assert_eq!(of_answer(&[4, 4, 0, 0, 0, 0]), "answers with 2 registers");
        assert_eq!(of_answer(&[6, 0, 9, 0, 7]), "has done it: write holding 9 = 7");
        assert_eq!(
            of_answer(&[0x83, 2]),
            format!("refuses to read holding: {}", ExceptionCode::IllegalDataAddress)
        );
        assert_eq!(of_request(&[43, 14, 1, 0]), "read the device identification (function 43)");
    }

    proptest! {
        #[test]
        fn any_bytes_have_words(pdu in proptest::collection::vec(any::<u8>(), 0..20)) {
            prop_assert!(!of_request(&pdu).is_empty() && !of_answer(&pdu).is_empty());
        }
    }
}

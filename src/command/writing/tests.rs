use super::*;
use crate::field::modbus::encode::{Wish, encode};
use crate::field::modbus::query::Query;
use crate::field::{Place, Table, ValueType, Writable};

const UNIT: UnitId = UnitId(3);

fn start() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    Instant::now()
}

fn point(value_type: ValueType, bit: Option<u8>, read_back: bool) -> PointSettings {
    let place = Place { table: Table::Holding, address: 4, bit };
    let writable = Some(Writable { read_back, ..Writable::default() });
    let every = Duration::from_secs(1);
    PointSettings { writable, ..PointSettings::new("p".into(), place, value_type, every) }
}

/// Plays `script` to a write of 5 (or of the bit): what is asked, in words, and how it ends.
fn play(point: &PointSettings, script: Vec<Result<Data, Failure>>) -> (Vec<String>, Outcome) {
    let now = start();
    let wish = if point.value_type == ValueType::Bool { Wish::Bool(true) } else { Wish::Whole(5) };
    let setting = encode(point, &wish).expect("it can be that");
    let mut writing = Writing::new(UNIT, point, setting, now + Duration::from_secs(10));
    let (mut script, mut asked) = (script.into_iter(), Vec::new());
    loop {
        match writing.poll_next() {
            Next::Done(outcome) => {
                assert_eq!(script.next(), None, "{asked:?}");
                return (asked, outcome);
            }
            Next::Pause(_) => {}
            Next::Ask(question) => {
                let words = if let Query::Write(write) = &question.query {
                    format!("{:?}", write.what())
                } else {
                    assert!(question.query.range().is_some(), "{question}");
                    "read".to_owned()
                };
                asked.push(words);
                match script.next() {
                    Some(result) => writing.handle_outcome(&result, now),
                    None => writing.handle_stopped(),
                }
            }
        }
    }
}

fn says(word: u16) -> Result<Data, Failure> {
    Ok(Data::Registers(vec![word]))
}

fn written() -> Result<Data, Failure> {
    Ok(Data::Written)
}

fn refuses(code: ExceptionCode) -> Result<Data, Failure> {
    Err(Failure::Refused { code })
}

fn silent() -> Result<Data, Failure> {
    Err(Failure::NoAnswer)
}

fn not_asked() -> Result<Data, Failure> {
    Err(Failure::NotAsked { reason: "its time was over".to_owned() })
}

/// How a write of a register ended, and how often it was written.
#[track_caller]
fn end(script: Vec<Result<Data, Failure>>) -> (End, usize) {
    let (asked, outcome) = play(&point(ValueType::U16, None, true), script);
    (outcome.end, asked.iter().filter(|asked| *asked != "read").count())
}

#[test]
fn a_point_is_looked_at_written_once_and_read_back() {
    let (asked, outcome) =
        play(&point(ValueType::U16, None, true), vec![says(2), written(), says(5)]);
    assert_eq!(asked, ["read", "Register(5)", "read"]);
    let (value, before) = (Some(Value::Int(5)), Some(Value::Int(2)));
    assert_eq!(outcome, Outcome { end: End::Confirmed, value, before, reason: None });
    let (asked, outcome) = play(&point(ValueType::U16, None, false), vec![written()]);
    assert_eq!((asked.len(), outcome.end), (1, End::Written));
}

#[test]
fn silence_is_never_answered_by_writing_again() {
    assert_eq!(end(vec![says(2), silent(), says(5)]), (End::Confirmed, 1));
    let still = vec![says(2), silent(), says(2), says(2), silent(), says(2), says(2)];
    assert_eq!(end(still), (End::Failed, 1));
    let dead = [says(2)].into_iter().chain((0..6).map(|_| silent())).collect();
    assert_eq!(end(dead), (End::Unknown, 1));
    let (asked, outcome) = play(&point(ValueType::U16, None, false), vec![silent()]);
    assert_eq!((asked.len(), outcome.end), (1, End::Unknown));
}

#[test]
fn what_is_not_there_is_not_written() {
    assert_eq!(end(vec![silent(), silent()]), (End::Refused, 0));
    assert_eq!(end(vec![silent(), says(2), written(), says(5)]), (End::Confirmed, 1));
    assert_eq!(end(vec![not_asked()]), (End::Refused, 0));
    assert_eq!(end(vec![says(2), not_asked()]), (End::Refused, 1), "asked for, but not sent");
}

#[test]
fn a_refusal_is_told_in_its_own_words() {
    let script = vec![says(2), refuses(ExceptionCode::IllegalDataValue)];
    let (_, outcome) = play(&point(ValueType::U16, None, true), script);
    assert_eq!(outcome.end, End::Failed);
    let words = "the device does not accept this count or value (exception 3)";
    assert_eq!(outcome.reason.as_deref(), Some(words));
}

#[test]
fn a_device_that_does_not_know_the_function_is_asked_by_another() {
    let unknown = || refuses(ExceptionCode::IllegalFunction);
    let script = vec![says(2), unknown(), written(), says(5)];
    let (asked, outcome) = play(&point(ValueType::U16, None, true), script);
    assert_eq!(asked[1..3], ["Register(5)", "Registers([5])"]);
    assert_eq!(outcome.end, End::Confirmed);
    assert_eq!(end(vec![says(2), unknown(), unknown()]), (End::Failed, 2));
    let bit = point(ValueType::Bool, Some(3), true);
    let (asked, outcome) = play(&bit, vec![says(0xf0f0), unknown(), written(), says(0xf0f8)]);
    assert_eq!(asked[2], format!("Register({})", 0xf0f8));
    assert_eq!(outcome.end, End::Confirmed);
}

#[test]
fn a_busy_device_is_asked_again_because_it_says_that_it_did_nothing() {
    let busy = || refuses(ExceptionCode::DeviceBusy);
    assert_eq!(end(vec![says(2), busy(), busy(), written(), says(5)]), (End::Confirmed, 3));
    assert_eq!(end(vec![says(2), busy(), busy(), busy(), busy()]), (End::Failed, 4));
    let acknowledged = refuses(ExceptionCode::Acknowledge);
    assert_eq!(end(vec![says(2), acknowledged, says(2), says(5)]), (End::Confirmed, 1));
}

#[test]
fn what_can_only_be_written_is_not_read_back() {
    let no_address = || refuses(ExceptionCode::IllegalDataAddress);
    assert_eq!(end(vec![no_address(), written()]), (End::Written, 1));
    let unread = [says(2), written()].into_iter().chain((0..5).map(|_| silent())).collect();
    assert_eq!(end(unread), (End::Written, 1));
}

#[test]
fn a_device_that_says_something_else_afterwards_has_failed() {
    let script = [says(2), written()].into_iter().chain((0..5).map(|_| says(4))).collect();
    let (_, outcome) = play(&point(ValueType::U16, None, true), script);
    assert_eq!((outcome.end, outcome.value), (End::Failed, Some(Value::Int(4))));
    let words = "the device took it; read back, it says 4";
    assert_eq!(outcome.reason.as_deref(), Some(words));
}

#[test]
fn a_stop_says_how_far_it_came() {
    assert_eq!(end(vec![]), (End::Refused, 0));
    assert_eq!(end(vec![says(2)]), (End::Unknown, 1));
    assert_eq!(end(vec![says(2), written()]), (End::Written, 1));
    assert_eq!(end(vec![says(2), silent()]), (End::Unknown, 1));
}

//! core: one transaction at a time over a serial line or a TCP connection: when to send, what came, when to give up.

use std::time::{Duration, Instant};

use super::mbap;
use super::pdu::{Answer, Data, Mismatch};
use super::rtu::Receiver;
use super::transaction::{Failure, Outcome, Question};
use crate::field::SerialSettings;

/// Above this rate the silence between frames no longer shrinks (Modbus over serial line 1.02, section 2.5.1.1).
const FIXED_SILENCE_ABOVE_BAUD: u32 = 19_200;
/// The silence between frames above that rate.
const FIXED_SILENCE: Duration = Duration::from_micros(1_750);
/// How long the line must be silent before a damaged frame counts as complete; longer than a USB adapter holds back
/// bytes it has (16 ms).
const SETTLED_AFTER: Duration = Duration::from_millis(25);
/// How often a late answer of the asked unit renews the time for the answer that is waited for.
const RENEWALS_MAX: u8 = 2;
/// After this many questions in a row without any answer a TCP connection is taken for dead.
const SILENT_IN_A_ROW_MAX: u32 = 3;

/// How long the line must be silent between two frames: 3.5 characters, 1.75 ms above 19200 baud.
#[must_use]
pub fn silence(serial: &SerialSettings) -> Duration {
    if serial.baud > FIXED_SILENCE_ABOVE_BAUD { FIXED_SILENCE } else { serial.characters(7) / 2 }
}

/// The transactions of one opened port or connection.
#[derive(Debug)]
pub struct Link {
    timeout: Duration,
    framing: Framing,
    open: Option<Open>,
    /// When the next request may be sent.
    ready: Instant,
    silent_in_a_row: u32,
    unusable: Option<String>,
    answers_dropped: u64,
}

#[derive(Debug)]
enum Framing {
    Rtu { serial: SerialSettings, silence: Duration },
    Mbap { reader: mbap::Reader, last_id: u16 },
}

/// The transaction under way.
#[derive(Debug)]
struct Open {
    question: Question,
    deadline: Instant,
    /// What `deadline` is after a renewal, counted from then.
    allowed: Duration,
    renewals: u8,
    kind: OpenKind,
}

#[derive(Debug)]
enum OpenKind {
    Rtu(Receiver),
    Mbap { id: u16, older: usize },
}

impl Link {
    /// For a serial line that was opened at `now`; devices have `timeout` from the end of the request to the first
    /// character of the answer.
    #[must_use]
    pub fn rtu(serial: &SerialSettings, timeout: Duration, now: Instant) -> Self {
        let silence = silence(serial);
        let framing = Framing::Rtu { serial: serial.clone(), silence };
        Self::new(framing, timeout, now + silence)
    }

    /// For a TCP connection; `first_id` is the first transaction id to use.
    #[must_use]
    pub fn tcp(timeout: Duration, first_id: u16, now: Instant) -> Self {
        let last_id = first_id.wrapping_sub(1);
        Self::new(Framing::Mbap { reader: mbap::Reader::default(), last_id }, timeout, now)
    }

    fn new(framing: Framing, timeout: Duration, ready: Instant) -> Self {
        Self {
            timeout,
            framing,
            open: None,
            ready,
            silent_in_a_row: 0,
            unusable: None,
            answers_dropped: 0,
        }
    }

    /// When the next request may be sent: on a serial line, once it has been silent for long enough.
    #[must_use]
    pub fn poll_ready(&self) -> Instant {
        self.ready
    }

    /// Why the port or connection must be opened again, if it must.
    #[must_use]
    pub fn unusable(&self) -> Option<&str> {
        self.unusable.as_deref()
    }

    /// How many sound frames came that answered no open question.
    #[must_use]
    pub fn answers_dropped(&self) -> u64 {
        self.answers_dropped
    }

    /// Gives devices this long for the answers to the questions that follow.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Begins a transaction at `now`, not before [`Link::poll_ready`]; returns the bytes to send at once.
    pub fn ask(&mut self, question: Question, now: Instant) -> Vec<u8> {
        let (request, allowed, sent, kind) = match &mut self.framing {
            Framing::Rtu { serial, silence } => {
                let receiver = Receiver::new(question);
                let request = receiver.request().to_vec();
                // The operating system takes the bytes at once; the line needs its time for them.
                let sent =
                    now + serial.characters(u32::try_from(request.len()).unwrap_or(u32::MAX));
                let answer_len =
                    u32::try_from(question.range.expected_len() + 3).unwrap_or(u32::MAX);
                let allowed = self.timeout + serial.characters(answer_len);
                self.ready = sent + *silence;
                (request, allowed, sent, OpenKind::Rtu(receiver))
            }
            Framing::Mbap { last_id, .. } => {
                *last_id = last_id.wrapping_add(1);
                let request = mbap::encode(*last_id, question.unit, &question.range.request());
                (request, self.timeout, now, OpenKind::Mbap { id: *last_id, older: 0 })
            }
        };
        let deadline = sent + allowed;
        self.open = Some(Open { question, deadline, allowed, renewals: 0, kind });
        request
    }

    /// Takes bytes that were read at `now`, in a transaction or between two; returns how the transaction ended.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) -> Option<Outcome> {
        match &mut self.framing {
            Framing::Rtu { silence, .. } => {
                let settled_after = SETTLED_AFTER.max(*silence * 4);
                self.ready = self.ready.max(now + *silence);
                self.rtu_bytes(bytes, now, settled_after)
            }
            Framing::Mbap { reader, .. } => {
                reader.handle_bytes(bytes);
                self.mbap_frames()
            }
        }
    }

    fn rtu_bytes(
        &mut self,
        bytes: &[u8],
        now: Instant,
        settled_after: Duration,
    ) -> Option<Outcome> {
        let open = self.open.as_mut()?;
        let OpenKind::Rtu(receiver) = &mut open.kind else { return None };
        let dropped_before = receiver.dropped().len();
        if let Some(answer) = receiver.handle_bytes(bytes) {
            return self.end(answered(answer));
        }
        let dropped = receiver.dropped().get(dropped_before..).unwrap_or_default();
        self.answers_dropped += dropped.len() as u64;
        let was_busy = dropped.iter().any(|(unit, _)| *unit == open.question.unit);
        if receiver.is_settled() {
            open.deadline = open.deadline.min(now + settled_after);
        } else if was_busy && open.renewals < RENEWALS_MAX {
            // Only from here on can the device have worked on this question.
            open.renewals += 1;
            open.deadline = open.deadline.max(now + open.allowed);
        }
        None
    }

    fn mbap_frames(&mut self) -> Option<Outcome> {
        let Framing::Mbap { reader, .. } = &mut self.framing else { return None };
        loop {
            let frame = match reader.poll_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return None,
                Err(error) => {
                    let reason = error.to_string();
                    self.unusable = Some(reason.clone());
                    return self.end(Err(Failure::Port { reason }));
                }
            };
            self.silent_in_a_row = 0;
            let Some(Open { question, kind: OpenKind::Mbap { id, older }, .. }) = &mut self.open
            else {
                self.answers_dropped += 1;
                continue;
            };
            if frame.transaction != *id {
                self.answers_dropped += 1;
                *older += 1;
                continue;
            }
            if frame.unit != question.unit {
                let (asked, answered) = (question.unit.0, frame.unit.0);
                return self.end(Err(Failure::WrongUnit { asked, answered }));
            }
            let result = match question.range.answer(&frame.pdu) {
                Ok(answer) => answered(answer),
                Err(Mismatch::Function { asked, answered }) => {
                    Err(Failure::WrongFunction { asked, answered })
                }
                Err(Mismatch::Length { asked, answered }) => {
                    // Function code and byte count are no data.
                    let (asked, answered) = (asked.saturating_sub(2), answered.saturating_sub(2));
                    Err(Failure::WrongLength { asked, answered })
                }
            };
            return self.end(result);
        }
    }

    /// When [`Link::handle_timeout`] must be called, if a transaction is under way.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.open.as_ref().map(|open| open.deadline)
    }

    /// Ends the transaction if its time is over.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Outcome> {
        let open = self.open.as_ref().filter(|open| open.deadline <= now)?;
        let failure = match &open.kind {
            OpenKind::Rtu(receiver) => receiver.failure(),
            OpenKind::Mbap { older: 0, .. } => Failure::NoAnswer,
            OpenKind::Mbap { older, .. } => Failure::OnlyOlder { count: *older },
        };
        if matches!(self.framing, Framing::Mbap { .. }) {
            self.silent_in_a_row += 1;
            if self.silent_in_a_row >= SILENT_IN_A_ROW_MAX {
                let count = self.silent_in_a_row;
                self.unusable = Some(format!("{count} questions in a row without any answer"));
            }
        }
        self.end(Err(failure))
    }

    /// Ends the transaction because the port or connection failed.
    pub fn handle_port_failure(&mut self, reason: &str) -> Option<Outcome> {
        self.unusable = Some(reason.to_owned());
        self.end(Err(Failure::Port { reason: reason.to_owned() }))
    }

    fn end(&mut self, result: Result<Data, Failure>) -> Option<Outcome> {
        let open = self.open.take()?;
        let dropped = match open.kind {
            OpenKind::Rtu(receiver) => receiver.dropped().to_vec(),
            OpenKind::Mbap { .. } => Vec::new(),
        };
        Some(Outcome { result, dropped })
    }
}

fn answered(answer: Answer) -> Result<Data, Failure> {
    match answer {
        Answer::Data(data) => Ok(data),
        Answer::Refused(code) => Err(Failure::Refused { code }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::modbus::pdu::ReadRange;
    use crate::field::modbus::rtu;
    use crate::field::{Parity, Table, UnitId};

    const UNIT: UnitId = UnitId(3);
    const TIMEOUT: Duration = Duration::from_millis(300);

    fn start() -> Instant {
        #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
        Instant::now()
    }

    fn serial(baud: u32) -> SerialSettings {
        SerialSettings { path: "tty".into(), baud, parity: Parity::None, stop_bits: 1 }
    }

    fn question(count: u16) -> Question {
        Question::new(UNIT, ReadRange::new(Table::Holding, 0, count).expect("allowed"))
    }

    fn pdu(count: u16) -> Vec<u8> {
        let bytes = u8::try_from(count * 2).expect("at most 125");
        [vec![3, bytes], vec![0; usize::from(count) * 2]].concat()
    }

    fn ok(count: u16) -> Result<Data, Failure> {
        Ok(Data::Registers(vec![0; usize::from(count)]))
    }

    #[test]
    fn the_silence_is_three_and_a_half_characters_and_fixed_above_19200() {
        assert_eq!(silence(&serial(9_600)).as_micros(), 3_645);
        assert_eq!(silence(&serial(19_200)).as_micros(), 1_822);
        assert_eq!(silence(&serial(19_201)).as_micros(), 1_750);
        assert_eq!(silence(&serial(115_200)).as_micros(), 1_750);
    }

    #[test]
    fn the_time_for_an_answer_counts_from_the_end_of_the_request_on_the_wire() {
        let now = start();
        let serial = serial(9_600);
        let mut link = Link::rtu(&serial, TIMEOUT, now);
        assert_eq!(link.poll_ready(), now + silence(&serial));
        let request = link.ask(question(1), now);
        assert_eq!(request.len(), 8);
        let deadline = now + serial.characters(8) + TIMEOUT + serial.characters(7);
        assert_eq!(link.poll_timeout(), Some(deadline));
        assert_eq!(link.handle_timeout(deadline - Duration::from_micros(1)), None);
        let outcome = link.handle_timeout(deadline).expect("the time is over");
        assert_eq!(outcome.result, Err(Failure::NoAnswer));
        assert_eq!(link.poll_timeout(), None);
    }

    #[test]
    fn every_byte_seen_moves_the_next_request() {
        let now = start();
        let serial = serial(9_600);
        let mut link = Link::rtu(&serial, TIMEOUT, now);
        let later = now + Duration::from_secs(1);
        assert_eq!(link.handle_bytes(&[0xff], later), None);
        assert_eq!(link.poll_ready(), later + silence(&serial));
    }

    #[test]
    fn a_damaged_answer_is_given_up_once_the_line_is_silent() {
        let now = start();
        let mut link = Link::rtu(&serial(19_200), TIMEOUT, now);
        link.ask(question(1), now);
        let mut frame = rtu::encode(UNIT, &pdu(1));
        frame[4] ^= 1;
        let came = now + Duration::from_millis(20);
        assert_eq!(link.handle_bytes(&frame, came), None);
        assert_eq!(link.poll_timeout(), Some(came + SETTLED_AFTER));
        let outcome = link.handle_timeout(came + SETTLED_AFTER).expect("the time is over");
        assert!(matches!(outcome.result, Err(Failure::Crc { .. })));
    }

    #[test]
    fn a_late_answer_of_the_same_unit_renews_the_time() {
        let now = start();
        let mut link = Link::rtu(&serial(19_200), TIMEOUT, now);
        link.ask(Question { older_of_function: 1, older_on_bus: true, ..question(2) }, now);
        let came = now + Duration::from_millis(200);
        assert_eq!(link.handle_bytes(&rtu::encode(UNIT, &pdu(1)), came), None);
        assert!(link.poll_timeout() > Some(came + TIMEOUT));
        let outcome = link.handle_bytes(&rtu::encode(UNIT, &pdu(2)), came + TIMEOUT);
        assert_eq!(outcome.expect("the answer").result, ok(2));
        assert_eq!(link.answers_dropped(), 1);
    }

    #[test]
    fn over_tcp_an_older_answer_is_dropped_and_the_connection_stays_useful() {
        let now = start();
        let mut link = Link::tcp(TIMEOUT, 0xffff, now);
        assert_eq!(&link.ask(question(2), now)[..2], [0xff, 0xff]);
        assert!(link.handle_timeout(now + TIMEOUT).is_some());
        assert_eq!(&link.ask(question(2), now)[..2], [0, 0]);
        assert_eq!(link.handle_bytes(&mbap::encode(0xffff, UNIT, &pdu(2)), now), None);
        let outcome = link.handle_timeout(now + TIMEOUT).expect("the time is over");
        assert_eq!(outcome.result, Err(Failure::OnlyOlder { count: 1 }));
        link.ask(question(2), now);
        let frames = [mbap::encode(0, UNIT, &pdu(2)), mbap::encode(1, UNIT, &pdu(2))].concat();
        let outcome = link.handle_bytes(&frames, now).expect("the answer");
        assert_eq!(outcome.result, ok(2));
        assert_eq!((link.answers_dropped(), link.unusable()), (2, None));
    }

    #[test]
    fn over_tcp_a_wrong_answer_under_the_right_number_is_told_at_once() {
        let now = start();
        let mut link = Link::tcp(TIMEOUT, 0, now);
        let mut result = |unit, pdu: &[u8]| {
            let id = u16::from_be_bytes(link.ask(question(2), now)[..2].try_into().expect("two"));
            link.handle_bytes(&mbap::encode(id, UnitId(unit), pdu), now).expect("an end").result
        };
        assert_eq!(result(9, &pdu(2)), Err(Failure::WrongUnit { asked: 3, answered: 9 }));
        assert_eq!(result(3, &pdu(1)), Err(Failure::WrongLength { asked: 4, answered: 2 }));
        assert_eq!(result(3, &[4, 2, 0, 0]), Err(Failure::WrongFunction { asked: 3, answered: 4 }));
        assert_eq!(result(3, &pdu(2)), ok(2));
    }

    #[test]
    fn over_tcp_three_silent_questions_in_a_row_or_garbage_ask_for_a_reconnect() {
        let now = start();
        let mut link = Link::tcp(TIMEOUT, 0, now);
        for already in 0..3 {
            assert_eq!(link.unusable(), None, "after {already}");
            link.ask(question(2), now);
            assert!(link.handle_timeout(now + TIMEOUT).is_some());
        }
        assert!(link.unusable().is_some());

        let mut link = Link::tcp(TIMEOUT, 0, now);
        link.ask(question(2), now);
        let outcome = link.handle_bytes(b"SSH-2.0-x", now).expect("an end");
        assert!(matches!(outcome.result, Err(Failure::Port { .. })));
        assert!(link.unusable().is_some());
    }
}

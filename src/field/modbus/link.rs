//! core: one transaction at a time where frames carry no number: when to send, what came, when to give up.

use std::time::{Duration, Instant};

use super::pdu::Data;
use super::receiver::{Receiver, Wrap};
use super::transaction::{Failure, Outcome, Question, Silent};
use crate::field::SerialSettings;

/// Above this rate the silence between frames no longer shrinks (Modbus over serial line 1.02, section 2.5.1.1).
const FIXED_SILENCE_ABOVE_BAUD: u32 = 19_200;
/// The silence between frames above that rate.
const FIXED_SILENCE: Duration = Duration::from_micros(1_750);
/// The silence of a line at 9600 baud, kept before a converter: it may be set to pass bytes on as they come.
const CONVERTER_SILENCE: Duration = Duration::from_millis(4);
/// How long the line must be silent before a damaged frame counts as complete; longer than a USB adapter holds back
/// bytes it has (16 ms).
const SETTLED_AFTER: Duration = Duration::from_millis(25);
/// How often a late answer of the asked unit renews the time for the answer that is waited for.
const RENEWALS_MAX: u8 = 2;

/// How long the line must be silent between two frames: 3.5 characters, 1.75 ms above 19200 baud.
#[must_use]
pub fn silence(serial: &SerialSettings) -> Duration {
    if serial.baud > FIXED_SILENCE_ABOVE_BAUD { FIXED_SILENCE } else { serial.characters(7) / 2 }
}

/// The transactions of one serial line, or of one connection to a converter with a serial line behind it.
#[derive(Debug)]
pub struct Link {
    wrap: Wrap,
    timeout: Duration,
    /// Our own line, whose pace is known; `None` behind a converter.
    serial: Option<SerialSettings>,
    silence: Duration,
    open: Option<Open>,
    /// When the next request may be sent.
    ready: Instant,
    unusable: Option<String>,
    silent: Silent,
    hears_itself: bool,
    answers_dropped: u64,
}

/// The transaction under way.
#[derive(Debug)]
struct Open {
    receiver: Receiver,
    question: Question,
    deadline: Instant,
    /// What `deadline` is after a renewal, counted from then.
    allowed: Duration,
    renewals: u8,
}

impl Link {
    /// For RTU on a serial line that was opened at `now`; devices have `timeout` from the end of the request to the
    /// first character of the answer.
    #[must_use]
    pub fn rtu(serial: &SerialSettings, timeout: Duration, now: Instant) -> Self {
        Self::on_line(Wrap::Rtu, serial, silence(serial), timeout, now)
    }

    /// For ASCII on a serial line. Its frames have marks, so no silence is needed between them.
    #[must_use]
    pub fn ascii(serial: &SerialSettings, timeout: Duration, now: Instant) -> Self {
        Self::on_line(Wrap::Ascii, serial, serial.characters(1), timeout, now)
    }

    fn on_line(
        wrap: Wrap,
        serial: &SerialSettings,
        silence: Duration,
        timeout: Duration,
        now: Instant,
    ) -> Self {
        let ready = now + silence;
        Self { serial: Some(serial.clone()), silence, ready, ..Self::over_tcp(wrap, timeout, now) }
    }

    /// For frames as they are on a serial line, over a TCP connection that was opened at `now`. The converter at its far
    /// end has a line whose pace nobody knows here.
    #[must_use]
    pub fn over_tcp(wrap: Wrap, timeout: Duration, now: Instant) -> Self {
        Self {
            wrap,
            timeout,
            serial: None,
            silence: if wrap == Wrap::Rtu { CONVERTER_SILENCE } else { Duration::ZERO },
            open: None,
            ready: now,
            unusable: None,
            silent: Silent::default(),
            hears_itself: false,
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

    /// Whether a request of ours came back: the adapter receives what it sends.
    #[must_use]
    pub fn hears_itself(&self) -> bool {
        self.hears_itself
    }

    /// Gives devices this long for the answers to the questions that follow.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Begins a transaction at `now`, not before [`Link::poll_ready`]; returns the bytes to send at once.
    pub fn ask(&mut self, question: Question, now: Instant) -> Vec<u8> {
        let answer_len = self.wrap.frame_len(question.query.expected_len());
        let mut receiver = Receiver::new(self.wrap, question.clone());
        if self.hears_itself {
            receiver.handle_echoing();
        }
        let request = receiver.request().to_vec();
        let (sent, allowed) = match &self.serial {
            // The operating system takes the bytes at once; the line needs its time for them.
            Some(serial) => {
                let on_line = |count| serial.characters(u32::try_from(count).unwrap_or(u32::MAX));
                (now + on_line(request.len()), self.timeout + on_line(answer_len))
            }
            None => (now, self.timeout),
        };
        self.ready = sent + self.silence;
        let deadline = sent + allowed;
        self.open = Some(Open { receiver, question, deadline, allowed, renewals: 0 });
        request
    }

    /// Takes bytes that were read at `now`, in a transaction or between two; returns how the transaction ended.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) -> Option<Outcome> {
        self.ready = self.ready.max(now + self.silence);
        self.silent = Silent::default();
        let settled_after = SETTLED_AFTER.max(self.silence * 4);
        let open = self.open.as_mut()?;
        let dropped_before = open.receiver.dropped().len();
        if let Some(answer) = open.receiver.handle_bytes(bytes) {
            return self.end(answer.into());
        }
        let dropped = open.receiver.dropped().get(dropped_before..).unwrap_or_default();
        self.answers_dropped += dropped.len() as u64;
        let was_busy = dropped.iter().any(|(unit, _)| *unit == open.question.unit);
        if open.receiver.is_settled() {
            open.deadline = open.deadline.min(now + settled_after);
        } else if was_busy && open.renewals < RENEWALS_MAX {
            // Only from here on can the device have worked on this question.
            open.renewals += 1;
            open.deadline = open.deadline.max(now + open.allowed);
        }
        None
    }

    /// When [`Link::handle_timeout`] must be called, if a transaction is under way.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.open.as_ref().map(|open| open.deadline)
    }

    /// Ends the transaction if its time is over.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Outcome> {
        let open = self.open.as_ref().filter(|open| open.deadline <= now)?;
        let (failure, unit) = (open.receiver.failure(), open.question.unit);
        if self.serial.is_none() && failure == Failure::NoAnswer {
            self.unusable = self.silent.handle_silence(unit);
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
        self.hears_itself |= open.receiver.is_echoed();
        Some(Outcome { result, dropped: open.receiver.dropped().to_vec() })
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
        SerialSettings {
            path: "tty".into(),
            baud,
            data_bits: 8,
            parity: Parity::None,
            stop_bits: 1,
            rs485: None,
        }
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
    fn an_adapter_that_hears_itself_is_noticed_and_its_echo_is_no_answer() {
        let now = start();
        let mut link = Link::rtu(&serial(19_200), TIMEOUT, now);
        let request = link.ask(question(1), now);
        assert_eq!(link.handle_bytes(&request, now), None);
        let outcome = link.handle_bytes(&rtu::encode(UNIT, &pdu(1)), now).expect("the answer");
        assert_eq!((outcome.result, link.hears_itself()), (ok(1), true));

        let mut link = Link::rtu(&serial(19_200), TIMEOUT, now);
        link.ask(question(1), now);
        link.handle_bytes(&rtu::encode(UNIT, &pdu(1)), now).expect("the answer");
        assert!(!link.hears_itself());
    }

    #[test]
    fn behind_a_converter_three_silent_questions_of_one_unit_cost_the_connection() {
        let now = start();
        let serial = serial(9_600);
        let links = [
            (Link::over_tcp(Wrap::Rtu, TIMEOUT, now), true),
            (Link::over_tcp(Wrap::Ascii, TIMEOUT, now), true),
            (Link::rtu(&serial, TIMEOUT, now), false),
        ];
        for (mut link, is_connection) in links {
            for unit in [UNIT, UnitId(9), UNIT, UnitId(9), UNIT] {
                assert_eq!(link.unusable(), None);
                link.ask(Question { unit, ..question(1) }, now);
                let deadline = link.poll_timeout().expect("it is under way");
                assert!(link.handle_timeout(deadline).is_some());
            }
            assert_eq!(link.unusable().is_some(), is_connection);
        }
    }
}

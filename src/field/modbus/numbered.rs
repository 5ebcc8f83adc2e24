//! core: transactions whose frames carry a number (Modbus TCP, also over UDP): several may be under way.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::mbap::{self, Frame, MbapError};
use super::pdu::{Data, Mismatch};
use super::transaction::{Ended, Failure, Outcome, Question, Silent};

/// Questions that may be lost until fewer are asked at once.
const LOST_MAX: u32 = 2;
/// Answers that make up for a lost question.
const ANSWERS_FOR_ONE_LOST: u32 = 64;

/// The transactions of one connection.
#[derive(Debug)]
pub struct Numbered {
    carrier: Carrier,
    last_id: u16,
    /// How many may be under way.
    window: usize,
    /// Questions that were lost although the same unit answered younger ones.
    lost: u32,
    answers: u32,
    /// Oldest first.
    open: Vec<Open>,
    ended: VecDeque<Ended>,
    silent: Silent,
    unusable: Option<String>,
    answers_dropped: u64,
}

#[derive(Debug)]
enum Carrier {
    Stream(mbap::Reader),
    /// Each read is one frame or nothing of use.
    Datagrams,
}

/// A transaction under way.
#[derive(Debug)]
struct Open {
    ticket: u64,
    question: Question,
    id: u16,
    timeout: Duration,
    deadline: Instant,
    /// Answers that came meanwhile and belong to nothing that is under way.
    older: usize,
    /// Whether its unit has answered a younger question.
    is_overtaken: bool,
}

impl Numbered {
    /// For a TCP connection; `first_id` is the first transaction id to use, `window` how many transactions may be under
    /// way.
    #[must_use]
    pub fn tcp(first_id: u16, window: usize) -> Self {
        Self::new(Carrier::Stream(mbap::Reader::default()), first_id, window)
    }

    /// For datagrams from and to one address.
    #[must_use]
    pub fn udp(first_id: u16, window: usize) -> Self {
        Self::new(Carrier::Datagrams, first_id, window)
    }

    fn new(carrier: Carrier, first_id: u16, window: usize) -> Self {
        Self {
            carrier,
            last_id: first_id.wrapping_sub(1),
            window,
            lost: 0,
            answers: 0,
            open: Vec::new(),
            ended: VecDeque::new(),
            silent: Silent::default(),
            unusable: None,
            answers_dropped: 0,
        }
    }

    /// Why the connection must be opened again, if it must.
    #[must_use]
    pub fn unusable(&self) -> Option<&str> {
        self.unusable.as_deref()
    }

    /// How many sound frames came that answered nothing that was under way.
    #[must_use]
    pub fn answers_dropped(&self) -> u64 {
        self.answers_dropped
    }

    /// How many transactions may be under way: fewer than wanted where the other side was found to lose questions that
    /// come before the one before is answered.
    #[must_use]
    pub fn window(&self) -> usize {
        self.window
    }

    /// How many transactions are under way.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Begins a transaction at `now` that ends as `ticket`; the device has `timeout` for its answer. Returns the bytes
    /// to send at once.
    pub fn ask(
        &mut self,
        ticket: u64,
        question: Question,
        timeout: Duration,
        now: Instant,
    ) -> Vec<u8> {
        self.last_id = self.last_id.wrapping_add(1);
        let (id, deadline) = (self.last_id, now + timeout);
        let (unit, request) = (question.unit, question.query.request());
        self.open.push(Open {
            ticket,
            question,
            id,
            timeout,
            deadline,
            older: 0,
            is_overtaken: false,
        });
        mbap::encode(id, unit, &request)
    }

    /// Takes bytes that were read at `now`: a stretch of the stream, or one datagram.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        match &mut self.carrier {
            Carrier::Stream(reader) => reader.handle_bytes(bytes),
            Carrier::Datagrams => {
                let mut reader = mbap::Reader::default();
                reader.handle_bytes(bytes);
                // What is no frame is dropped: the next datagram begins anew.
                if let Ok(Some(frame)) = reader.poll_frame() {
                    self.handle_frame(&frame, now);
                }
                return;
            }
        }
        loop {
            let Carrier::Stream(reader) = &mut self.carrier else { return };
            match reader.poll_frame() {
                Ok(Some(frame)) => self.handle_frame(&frame, now),
                Ok(None) => return,
                Err(error) => return self.handle_lost(&error),
            }
        }
    }

    fn handle_lost(&mut self, error: &MbapError) {
        if self.unusable.is_none() {
            self.handle_port_failure(&error.to_string());
        }
    }

    fn handle_frame(&mut self, frame: &Frame, now: Instant) {
        self.silent = Silent::default();
        let Some(index) = self.open.iter().position(|open| open.id == frame.transaction) else {
            self.answers_dropped += 1;
            self.open.iter_mut().for_each(|open| open.older += 1);
            return;
        };
        let open = self.open.remove(index);
        self.answers += 1;
        if self.answers.is_multiple_of(ANSWERS_FOR_ONE_LOST) {
            self.lost = self.lost.saturating_sub(1);
        }
        for older in self.open.iter_mut().take(index) {
            older.is_overtaken |= older.question.unit == open.question.unit;
        }
        // A device that does one thing after the other comes to the younger ones only from here on.
        for younger in self.open.iter_mut().skip(index) {
            younger.deadline = now + younger.timeout;
        }
        let result = result(&open.question, frame);
        self.end(open, result);
    }

    /// When [`Numbered::handle_timeout`] must be called, if anything is under way.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.open.iter().map(|open| open.deadline).min()
    }

    /// Ends the transactions whose time is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(index) = self.open.iter().position(|open| open.deadline <= now) {
            let open = self.open.remove(index);
            self.lost += u32::from(open.is_overtaken);
            if self.lost >= LOST_MAX && self.window > 1 {
                (self.window, self.lost) = (self.window / 2, 0);
            }
            let failure = match open.older {
                0 => Failure::NoAnswer,
                count => Failure::OnlyOlder { count },
            };
            self.unusable = self.unusable.take().or(self.silent.handle_silence(open.question.unit));
            self.end(open, Err(failure));
        }
    }

    /// Ends all transactions because the connection failed.
    pub fn handle_port_failure(&mut self, reason: &str) {
        self.unusable = Some(reason.to_owned());
        for open in std::mem::take(&mut self.open) {
            self.end(open, Err(Failure::Port { reason: reason.to_owned() }));
        }
    }

    /// The next transaction that ended.
    pub fn poll_ended(&mut self) -> Option<Ended> {
        self.ended.pop_front()
    }

    fn end(&mut self, open: Open, result: Result<Data, Failure>) {
        let Open { ticket, question, .. } = open;
        let outcome = Outcome { result, dropped: Vec::new() };
        self.ended.push_back(Ended { ticket, question, outcome });
    }
}

/// What a frame under the right number says.
fn result(question: &Question, frame: &Frame) -> Result<Data, Failure> {
    if frame.unit != question.unit {
        let (asked, answered) = (question.unit.0, frame.unit.0);
        return Err(Failure::WrongUnit { asked, answered });
    }
    match question.query.answer(&frame.pdu) {
        Ok(answer) => answer.into(),
        Err(Mismatch::Function { asked, answered }) => {
            Err(Failure::WrongFunction { asked, answered })
        }
        Err(Mismatch::Length { asked, answered }) => {
            // Function code and byte count are no data.
            let (asked, answered) = (asked.saturating_sub(2), answered.saturating_sub(2));
            Err(Failure::WrongLength { asked, answered })
        }
        Err(Mismatch::Content) => Err(Failure::OtherWrite),
        Err(Mismatch::Malformed) => Err(Failure::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::modbus::pdu::ReadRange;
    use crate::field::{Table, UnitId};
    use proptest::prelude::*;

    const UNIT: UnitId = UnitId(3);
    const TIMEOUT: Duration = Duration::from_millis(300);

    fn start() -> Instant {
        #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
        Instant::now()
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

    /// Asks with the count as the ticket.
    fn ask(link: &mut Numbered, question: Question, now: Instant) -> Vec<u8> {
        let count = question.query.range().expect("a read").count();
        link.ask(count.into(), question, TIMEOUT, now)
    }

    fn ended(link: &mut Numbered) -> Vec<(u64, Result<Data, Failure>)> {
        let ended = std::iter::from_fn(|| link.poll_ended());
        ended.map(|ended| (ended.ticket, ended.outcome.result)).collect()
    }

    #[test]
    fn an_older_answer_is_dropped_and_the_connection_stays_useful() {
        let now = start();
        let mut link = Numbered::tcp(0xffff, 8);
        assert_eq!(&ask(&mut link, question(2), now)[..2], [0xff, 0xff]);
        link.handle_timeout(now + TIMEOUT);
        assert_eq!(ended(&mut link), [(2, Err(Failure::NoAnswer))]);
        assert_eq!(&ask(&mut link, question(2), now)[..2], [0, 0]);
        link.handle_bytes(&mbap::encode(0xffff, UNIT, &pdu(2)), now);
        link.handle_timeout(now + TIMEOUT);
        assert_eq!(ended(&mut link), [(2, Err(Failure::OnlyOlder { count: 1 }))]);
        ask(&mut link, question(2), now);
        let frames = [mbap::encode(0, UNIT, &pdu(2)), mbap::encode(1, UNIT, &pdu(2))].concat();
        link.handle_bytes(&frames, now);
        assert_eq!(ended(&mut link), [(2, ok(2))]);
        assert_eq!((link.answers_dropped(), link.unusable()), (2, None));
    }

    #[test]
    fn a_wrong_answer_under_the_right_number_is_told_at_once() {
        let now = start();
        let mut link = Numbered::tcp(0, 8);
        let mut result = |unit, pdu: &[u8]| {
            let id =
                u16::from_be_bytes(ask(&mut link, question(2), now)[..2].try_into().expect("two"));
            link.handle_bytes(&mbap::encode(id, UnitId(unit), pdu), now);
            link.poll_ended().expect("an end").outcome.result
        };
        assert_eq!(result(9, &pdu(2)), Err(Failure::WrongUnit { asked: 3, answered: 9 }));
        assert_eq!(result(3, &pdu(1)), Err(Failure::WrongLength { asked: 4, answered: 2 }));
        assert_eq!(result(3, &[4, 2, 0, 0]), Err(Failure::WrongFunction { asked: 3, answered: 4 }));
        assert_eq!(result(3, &pdu(2)), ok(2));
    }

    #[test]
    fn three_silent_questions_to_one_unit_or_garbage_ask_for_a_new_connection() {
        let now = start();
        let mut link = Numbered::tcp(0, 8);
        for already in 0..3 {
            assert_eq!(link.unusable(), None, "after {already}");
            ask(&mut link, question(2), now);
            link.handle_timeout(now + TIMEOUT);
        }
        assert!(link.unusable().is_some());

        let mut link = Numbered::tcp(0, 8);
        ask(&mut link, question(2), now);
        link.handle_bytes(b"SSH-2.0-x", now);
        assert!(matches!(ended(&mut link)[..], [(2, Err(Failure::Port { .. }))]));
        assert!(link.unusable().is_some());
    }

    #[test]
    fn dead_units_behind_a_gateway_do_not_cost_the_connection_before_others_were_asked() {
        let now = start();
        let mut link = Numbered::tcp(0, 8);
        for unit in 1..=5 {
            for _ in 0..2 {
                ask(&mut link, Question { unit: UnitId(unit), ..question(1) }, now);
                link.handle_timeout(now + TIMEOUT);
                assert_eq!(link.unusable(), None);
            }
        }
    }

    #[test]
    fn answers_find_their_questions_in_any_order() {
        let now = start();
        let mut link = Numbered::tcp(7, 8);
        for count in 1..=3 {
            ask(&mut link, question(count), now);
        }
        assert_eq!(link.open_count(), 3);
        let later = now + TIMEOUT / 2;
        link.handle_bytes(&mbap::encode(8, UNIT, &pdu(2)), later);
        assert_eq!(ended(&mut link), [(2, ok(2))]);
        assert_eq!(link.poll_timeout(), Some(now + TIMEOUT), "the oldest waits no longer");
        link.handle_timeout(now + TIMEOUT);
        assert_eq!(ended(&mut link), [(1, Err(Failure::NoAnswer))]);
        assert_eq!(link.poll_timeout(), Some(later + TIMEOUT), "the younger had to wait its turn");
        link.handle_bytes(&mbap::encode(9, UNIT, &pdu(3)), later);
        assert_eq!(ended(&mut link), [(3, ok(3))]);
        assert_eq!(link.poll_timeout(), None);
    }

    #[test]
    fn a_device_that_loses_questions_under_way_together_is_asked_fewer_at_once() {
        let mut now = start();
        let mut link = Numbered::tcp(0, 8);
        let mut id = 0;
        // It keeps one question in mind: the youngest.
        for window in [8, 8, 4, 4, 2, 2, 1, 1] {
            assert_eq!(link.window(), window);
            for _ in 0..2 {
                ask(&mut link, question(1), now);
                id += 1;
            }
            link.handle_bytes(&mbap::encode(id - 1, UNIT, &pdu(1)), now);
            now += TIMEOUT;
            link.handle_timeout(now);
        }
        // A unit that is dead while others answer tells nothing of the kind.
        let mut link = Numbered::tcp(0, 8);
        for id in (0..20).step_by(2) {
            ask(&mut link, Question { unit: UnitId(9), ..question(1) }, now);
            ask(&mut link, question(1), now);
            link.handle_bytes(&mbap::encode(id + 1, UNIT, &pdu(1)), now);
            now += TIMEOUT;
            link.handle_timeout(now);
        }
        assert_eq!(link.window(), 8);
    }

    #[test]
    fn a_datagram_that_is_no_frame_costs_nothing() {
        let now = start();
        let mut link = Numbered::udp(0, 8);
        ask(&mut link, question(2), now);
        let answer = mbap::encode(0, UNIT, &pdu(2));
        for datagram in [b"SSH-2.0-x".as_slice(), &[], &answer[..9], &[0; 40]] {
            link.handle_bytes(datagram, now);
        }
        assert_eq!(link.unusable(), None);
        link.handle_bytes(&answer, now);
        assert_eq!(ended(&mut link), [(2, ok(2))]);
        link.handle_bytes(&answer, now);
        assert_eq!(link.answers_dropped(), 1, "it came twice");
    }

    proptest! {
        #[test]
        fn any_bytes_end_only_what_was_asked_and_never_with_a_value_of_the_wrong_size(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..30),
            datagrams: bool,
        ) {
            let now = start();
            let mut link =
                if datagrams { Numbered::udp(0, 8) } else { Numbered::tcp(0, 8) };
            for count in 1..=4 {
                ask(&mut link, question(count), now);
            }
            for chunk in chunks {
                link.handle_bytes(&chunk, now);
            }
            link.handle_timeout(now + TIMEOUT);
            let ended = ended(&mut link);
            prop_assert_eq!(ended.len(), 4);
            for (count, result) in ended {
                if let Ok(Data::Registers(words)) = result {
                    prop_assert_eq!(words.len() as u64, count);
                }
            }
        }

        #[test]
        fn answers_in_any_order_and_cut_anywhere_go_to_their_questions_and_those_of_others_nowhere(
            order in Just((0..24u16).collect::<Vec<_>>()).prop_shuffle(),
            cut in 1..60usize,
        ) {
            let now = start();
            let mut link = Numbered::tcp(108, 8);
            for count in 1..=8 {
                ask(&mut link, question(count), now);
            }
            // 100 to 107 and 116 to 123 answer nothing that is under way, in the same shapes.
            let frames = order.iter().flat_map(|number| {
                let (id, count) = (100 + number, number % 8 + 1);
                let words = (0..count).flat_map(|_| id.to_be_bytes());
                let len = u8::try_from(count * 2).expect("small");
                mbap::encode(id, UNIT, &[3, len].into_iter().chain(words).collect::<Vec<u8>>())
            });
            for chunk in frames.collect::<Vec<u8>>().chunks(cut) {
                link.handle_bytes(chunk, now);
            }
            let mut ended = ended(&mut link);
            ended.sort_by_key(|(count, _)| *count);
            let right = |count: u16| {
                (u64::from(count), Ok(Data::Registers(vec![107 + count; usize::from(count)])))
            };
            prop_assert_eq!(ended, (1..=8).map(right).collect::<Vec<_>>());
            prop_assert_eq!(link.answers_dropped(), 16);
        }
    }
}

//! core: which older questions a unit may still answer, so that no answer is taken for that of a younger question.
//!
//! An RTU frame does not say which question it answers; all it carries is unit, function and byte count. A device that
//! is slower than the timeout would have its answer taken for that of the next question of the same shape, and its
//! values published under other points. So the shape of a question that stayed unanswered is kept, and the unit is
//! asked nothing of that shape until it has proved that it is past it. The proof is an answer of another shape: a
//! device answers in the order it is asked. Without a proof the shape is given free after a long time.

use std::time::{Duration, Instant};

use super::pdu::{self, ReadRange};
use super::query::Query;
use super::transaction::{Question, Shape};
use crate::field::UnitId;

/// A device that has not answered after this long will not.
const LATEST_MIN: Duration = Duration::from_secs(10);
/// The same as a multiple of the timeout, where that is longer.
const LATEST_TIMEOUTS: u32 = 20;
/// How often the very same question may stay open before it is not repeated: a slow device that is asked again and again
/// falls further behind than any answer is waited for.
const OWED_ALIKE_MAX: usize = 2;
/// How many registers (or bytes of bits) a question may grow beyond what is wanted to be told from older ones.
const LONGER_MAX: u16 = 4;

#[derive(Debug)]
struct Unanswered {
    unit: UnitId,
    query: Query,
    shape: Shape,
    given_free: Instant,
}

/// The questions of one serial line that stayed unanswered, oldest first.
#[derive(Debug)]
pub struct Late {
    latest: Duration,
    open: Vec<Unanswered>,
}

impl Late {
    /// For a line with this timeout.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { latest: LATEST_MIN.max(timeout * LATEST_TIMEOUTS), open: Vec::new() }
    }

    /// Keeps in mind that `question` was not answered in time.
    pub fn handle_unanswered(&mut self, question: &Question, now: Instant) {
        self.handle_timeout(now);
        self.open.push(Unanswered {
            unit: question.unit,
            query: question.query.clone(),
            shape: question.query.shape(),
            given_free: now + self.latest,
        });
    }

    /// The unit has answered its youngest question: it is past all older ones.
    pub fn handle_answered(&mut self, unit: UnitId) {
        self.open.retain(|older| older.unit != unit);
    }

    /// A late answer of this shape came and was dropped: the unit is past that question and all older ones.
    pub fn handle_dropped(&mut self, unit: UnitId, shape: Shape) {
        let is_it = |older: &Unanswered| older.unit == unit && older.shape.is_like(shape);
        if let Some(last) = self.open.iter().position(is_it) {
            let mut index = 0;
            self.open.retain(|older| {
                index += 1;
                index > last + 1 || older.unit != unit
            });
        }
    }

    /// Gives free what is older than any answer can be.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.open.retain(|older| older.given_free > now);
    }

    /// When nothing of `unit` is open any more, if anything is.
    #[must_use]
    pub fn free_at(&self, unit: UnitId) -> Option<Instant> {
        self.open.iter().filter(|older| older.unit == unit).map(|older| older.given_free).max()
    }

    /// Whether an answer to `range` could be told from those `unit` still owes.
    #[must_use]
    pub fn is_told_apart(&self, unit: UnitId, range: ReadRange) -> bool {
        self.is_free(unit, range.into(), None)
    }

    /// Finds a question near `wanted` whose answer can be told from all that `unit` still owes: `wanted` itself, then
    /// its beginning cut at one of the counts in `shorter`, then, if `longer`, `wanted` and a little more. `None` when
    /// there is none; [`Late::free_at`] then says when to come back.
    pub fn question(
        &self,
        unit: UnitId,
        wanted: ReadRange,
        shorter: impl IntoIterator<Item = u16>,
        longer: bool,
    ) -> Option<Question> {
        let (table, address, count) = (wanted.table(), wanted.address(), wanted.count());
        let step = if pdu::is_bits(table) { 8 } else { 1 };
        let longer = (1..=LONGER_MAX).filter(|_| longer).map(|more| more * step);
        let shorter = shorter.into_iter().filter(|shorter| *shorter < count);
        let after = shorter
            .map(|count| (address, count))
            .chain(longer.clone().map(|more| (address, count.saturating_add(more))))
            .chain(longer.map(|more| (address.saturating_sub(more), count.saturating_add(more))))
            .filter_map(|(from, count)| ReadRange::new(table, from, count).ok())
            .filter(|range| range.address() == address || range.end() == wanted.end());
        let range =
            [wanted].into_iter().chain(after).find(|range| self.is_told_apart(unit, *range))?;
        Some(self.placed(Question::new(unit, range)))
    }

    /// `question` as it can be asked; `None` while its answer could be mixed up with one the unit still owes. With
    /// `may_repeat` that to the very same question is taken as well.
    #[must_use]
    pub fn as_it_is(&self, question: &Question, may_repeat: bool) -> Option<Question> {
        let is_same =
            |older: &&Unanswered| older.unit == question.unit && older.query == question.query;
        let may_repeat = may_repeat && self.open.iter().filter(is_same).count() < OWED_ALIKE_MAX;
        let same = may_repeat.then_some(&question.query);
        let is_free = self.is_free(question.unit, question.query.shape(), same);
        is_free.then(|| self.placed(question.clone()))
    }

    /// Whether the unit may still answer an older question in the same shape.
    #[must_use]
    pub fn is_owed(&self, question: &Question) -> bool {
        !self.is_free(question.unit, question.query.shape(), None)
    }

    fn is_free(&self, unit: UnitId, shape: Shape, but_for: Option<&Query>) -> bool {
        let is_owed = |older: &Unanswered| {
            let is_like = older.unit == unit && older.shape.is_like(shape);
            is_like && but_for != Some(&older.query)
        };
        !self.open.iter().any(is_owed)
    }

    fn placed(&self, question: Question) -> Question {
        let (unit, function) = (question.unit, question.query.function());
        let of_function =
            |older: &&Unanswered| older.unit == unit && older.shape.function == function;
        Question {
            older_of_function: self.open.iter().filter(of_function).count(),
            older_on_bus: !self.open.is_empty(),
            ..question
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Table;
    use crate::field::modbus::fifo::Fifo;

    const UNIT: UnitId = UnitId(7);

    fn holding(address: u16, count: u16) -> ReadRange {
        ReadRange::new(Table::Holding, address, count).expect("the range is allowed")
    }

    fn range(question: &Question) -> ReadRange {
        question.query.range().expect("it is a read")
    }

    fn late() -> (Late, Instant) {
        #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
        let now = Instant::now();
        (Late::new(Duration::from_millis(300)), now)
    }

    #[test]
    fn after_a_timeout_the_next_question_has_another_shape_until_it_is_answered() {
        let (mut late, now) = late();
        let asked = late.question(UNIT, holding(10, 2), [1], true).expect("nothing is open");
        assert_eq!(asked, Question::new(UNIT, holding(10, 2)));
        late.handle_unanswered(&asked, now);

        let next = late.question(UNIT, holding(20, 2), [1], true).expect("one register less");
        assert_eq!((range(&next), next.older_of_function), (holding(20, 1), 1));
        late.handle_unanswered(&next, now);
        let next = late.question(UNIT, holding(20, 2), [1], true).expect("one register more");
        assert_eq!((range(&next), next.older_of_function), (holding(20, 3), 2));
        assert_eq!(late.question(UNIT, holding(20, 2), [1], false), None);

        let other = late.question(UnitId(8), holding(20, 2), [1], true).expect("another unit");
        assert_eq!((range(&other), other.older_of_function), (holding(20, 2), 0));

        late.handle_answered(UNIT);
        assert_eq!(late.free_at(UNIT), None);
        assert!(late.is_told_apart(UNIT, holding(20, 2)));
    }

    #[test]
    fn a_dropped_answer_settles_that_question_and_the_older_ones() {
        let (mut late, now) = late();
        for count in [2, 1, 3] {
            late.handle_unanswered(&Question::new(UNIT, holding(0, count)), now);
        }
        late.handle_unanswered(&Question::new(UnitId(8), holding(0, 1)), now);
        late.handle_dropped(UNIT, holding(0, 1).into());
        assert!(late.is_told_apart(UNIT, holding(0, 2)));
        assert!(late.is_told_apart(UNIT, holding(0, 1)));
        assert!(!late.is_told_apart(UNIT, holding(0, 3)));
        assert!(!late.is_told_apart(UnitId(8), holding(0, 1)));
        late.handle_dropped(UNIT, holding(0, 9).into());
        assert!(!late.is_told_apart(UNIT, holding(0, 3)));
    }

    #[test]
    fn an_answer_whose_length_the_device_chooses_is_like_any_of_its_function() {
        let (mut late, now) = late();
        let asked = Question::new(UNIT, Query::ServerId);
        late.handle_unanswered(&asked, now);
        assert_eq!(late.as_it_is(&asked, false), None);
        assert!(late.as_it_is(&asked, true).is_some(), "it is the very same");
        let fifo = Question::new(UNIT, Query::Fifo(Fifo(0)));
        assert!(late.as_it_is(&fifo, false).is_some(), "it is of another function");
        late.handle_dropped(UNIT, Shape { function: 17, byte_count: Some(9) });
        assert!(late.as_it_is(&asked, false).is_some());
    }

    #[test]
    fn shapes_are_given_free_after_ten_seconds_or_twenty_timeouts() {
        for (timeout, latest) in [(300, 10_000), (1_000, 20_000)] {
            let (_, now) = late();
            let mut late = Late::new(Duration::from_millis(timeout));
            late.handle_unanswered(&Question::new(UNIT, holding(0, 1)), now);
            let free_at = late.free_at(UNIT).expect("a question is open");
            assert_eq!(free_at - now, Duration::from_millis(latest));
            late.handle_timeout(free_at - Duration::from_millis(1));
            assert!(!late.is_told_apart(UNIT, holding(0, 1)));
            late.handle_timeout(free_at);
            assert!(late.is_told_apart(UNIT, holding(0, 1)));
        }
    }

    #[test]
    fn a_longer_question_stays_within_the_table_and_holds_what_is_wanted() {
        let (mut late, now) = late();
        late.handle_unanswered(&Question::new(UNIT, holding(65_535, 1)), now);
        let next = late.question(UNIT, holding(65_535, 1), [], true).expect("one register before");
        assert_eq!(range(&next), holding(65_534, 2));

        let coils = |count| ReadRange::new(Table::Coil, 0, count).expect("the range is allowed");
        late.handle_unanswered(&Question::new(UNIT, coils(3)), now);
        let next = late.question(UNIT, coils(5), [], true).expect("one byte more");
        assert_eq!(range(&next), coils(13));

        late.handle_unanswered(&Question::new(UnitId(9), holding(0, 125)), now);
        assert_eq!(late.question(UnitId(9), holding(0, 125), [], true), None);
    }
}

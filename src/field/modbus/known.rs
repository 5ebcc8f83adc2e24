//! core: what a device allows in one read: told in the configuration, or learnt from what it refused.
//!
//! A block that is refused although each of its parts is answered has one of three reasons: it is longer than the
//! device allows, there is a hole in a gap that was read over, or the device's table has a border there. The exception
//! and the gap say which is likelier; an answer that speaks against it takes it back. Once in a while it is held in doubt
//! and found out again: a device may have got new firmware, or be another.

use std::collections::BTreeMap;
use std::fmt;

use super::pdu::{self, ReadRange};
use crate::field::{Allowed, Hole, Table};

/// How long a read of one kind of table may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Longest {
    /// The longest that was answered, 0 for none.
    pub answered: u16,
    /// The shortest that was refused for its length, if any.
    pub refused: Option<ReadRange>,
}

impl Longest {
    /// What to ask for at most; halfway between what is known to be fine and what is not, until they meet.
    fn most(&self, told: u16) -> u16 {
        let Some(refused) = self.refused else { return told };
        told.min((self.answered + (refused.count() - self.answered) / 2).max(1))
    }

    fn is_found(&self) -> bool {
        self.refused.is_some_and(|refused| self.answered + 1 == refused.count())
    }
}

/// What was learnt about a device by asking it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Learnt {
    /// Places of values that it refuses; no read may touch them besides their own.
    pub refused: Vec<ReadRange>,
    /// Addresses before which a read must end, with where the part before it ended and the length of the block that
    /// was refused.
    pub cuts: BTreeMap<(Table, u16), (u32, u16)>,
    /// How many registers it gives at a time.
    pub registers: Longest,
    /// How many bits it gives at a time.
    pub bits: Longest,
    /// It was silent where others refuse: to find out again what it does not have would take it offline for a while.
    pub by_silence: bool,
}

impl Learnt {
    /// Whether there is anything that changes a plan.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.refused.is_empty()
            && self.cuts.is_empty()
            && self.registers.refused.is_none()
            && self.bits.refused.is_none()
    }
}

/// Something that was found out for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lesson {
    /// It gives no more than this at a time.
    Longest {
        /// Of which kind of table.
        is_bits: bool,
        /// How many.
        most: u16,
    },
    /// It does not have these, which were read over.
    Hole(Hole),
    /// It does not give both sides of this address at a time.
    Border {
        /// In which table.
        table: Table,
        /// The first address behind it.
        address: u16,
    },
}

impl fmt::Display for Lesson {
    /// The YAML that tells it under the device.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Longest { is_bits: false, most } => write!(f, "max_registers: {most}"),
            Self::Longest { is_bits: true, most } => write!(f, "max_bits: {most}"),
            Self::Hole(hole) => write!(f, "holes: [{}]", HoleText(*hole)),
            Self::Border { table, address } => {
                write!(f, "borders: [{{ {}: {address} }}]", table.key())
            }
        }
    }
}

/// A hole as it is written in the configuration.
#[derive(Debug, Clone, Copy)]
pub struct HoleText(pub Hole);

impl fmt::Display for HoleText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hole { table, address, count } = self.0;
        let table = table.key();
        match count {
            1 => write!(f, "{{ {table}: {address} }}"),
            _ => write!(f, "{{ {table}: {address}, count: {count} }}"),
        }
    }
}

/// What a device allows, told and learnt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    told: Allowed,
    learnt: Learnt,
    /// What was learnt and is being found out again: what is only confirmed is no news.
    doubted: Learnt,
    /// Counts what changes plans.
    changes: u64,
}

impl Known {
    /// Begins with what is told and what was learnt before.
    #[must_use]
    pub fn new(told: Allowed, learnt: Learnt) -> Self {
        Self { told, learnt, doubted: Learnt::default(), changes: 0 }
    }

    /// What was learnt so far.
    #[must_use]
    pub fn learnt(&self) -> &Learnt {
        &self.learnt
    }

    /// Counts what changes plans: a plan made at another count is out of date.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// How many registers or bits of `table` a read may ask for.
    #[must_use]
    pub fn count_max(&self, table: Table) -> u16 {
        let told = if pdu::is_bits(table) { self.told.bits_max } else { self.told.registers_max };
        let told = told.unwrap_or(u16::MAX).min(pdu::count_max(table));
        self.longest(table).most(told)
    }

    /// Whether a read of `range` holds nothing that the device is known to refuse.
    #[must_use]
    pub fn allows(&self, range: ReadRange) -> bool {
        let (table, from) = (range.table(), u32::from(range.address()));
        let inside = |address: u16| from < u32::from(address) && u32::from(address) < range.end();
        let is_cut = self.learnt.cuts.keys().any(|(of, at)| *of == table && inside(*at))
            || self.told.borders.iter().any(|(of, at)| *of == table && inside(*at));
        let holes = self.told.holes.iter().any(|hole| {
            hole.table == table && u32::from(hole.address) < range.end() && from < hole.end()
        });
        let refused = self.learnt.refused.iter().any(|other| other.overlaps(range));
        range.count() <= self.count_max(table) && !is_cut && !holes && !refused
    }

    /// Whether `range` is a value that is known to be refused.
    #[must_use]
    pub fn is_refused(&self, range: ReadRange) -> bool {
        self.learnt.refused.contains(&range)
    }

    /// It was silent to what it will be taken to refuse.
    pub fn handle_silence(&mut self) {
        self.learnt.by_silence = true;
    }

    /// Holds in doubt where reads must end and how long they may be, so that longer ones are tried again. Values that are
    /// refused by themselves are not meant: those are asked for again all the time.
    pub fn handle_doubt(&mut self) {
        let Learnt { cuts, registers, bits, by_silence, .. } = &mut self.learnt;
        if *by_silence || cuts.is_empty() && registers.refused.is_none() && bits.refused.is_none() {
            return;
        }
        self.doubted = Learnt {
            cuts: std::mem::take(cuts),
            registers: Longest { refused: registers.refused.take(), ..registers.clone() },
            bits: Longest { refused: bits.refused.take(), ..bits.clone() },
            ..Learnt::default()
        };
        self.changes += 1;
    }

    /// `range` was answered.
    pub fn handle_answer(&mut self, range: ReadRange) -> Option<Lesson> {
        let was = self.longest(range.table()).clone();
        let longest = self.longest_mut(range.table());
        longest.answered = longest.answered.max(range.count());
        // What is answered is not too long.
        longest.refused = longest.refused.filter(|refused| refused.count() > longest.answered);
        if was.refused.is_none() || was == *longest {
            return None;
        }
        self.changes += 1;
        self.found(range.table(), &was)
    }

    /// The value at `range` is refused by itself.
    pub fn handle_refused(&mut self, range: ReadRange) {
        if !self.is_refused(range) {
            self.learnt.refused.push(range);
            self.explain(range.table(), |witness| witness.overlaps(range));
            self.changes += 1;
        }
    }

    /// The value at `range` is refused no longer.
    pub fn handle_allowed(&mut self, range: ReadRange) {
        if self.is_refused(range) {
            self.learnt.refused.retain(|refused| *refused != range);
            self.changes += 1;
        }
    }

    /// `block` is refused although what lies before `left_end` and from `right` on is answered. `is_quantity` when the
    /// device said that the number asked for is wrong.
    pub fn handle_parted(
        &mut self,
        block: ReadRange,
        left_end: u32,
        right: ReadRange,
        is_quantity: bool,
    ) -> Option<Lesson> {
        let table = block.table();
        let has_gap = left_end < u32::from(right.address());
        self.changes += 1;
        let longest = self.longest(table);
        if block.count() > longest.answered && (is_quantity || !has_gap) {
            let was = longest.clone();
            let doubted =
                if pdu::is_bits(table) { &self.doubted.bits } else { &self.doubted.registers };
            // As long as it was before: that need not be halved towards again.
            let is_confirmed =
                |it: &ReadRange| was.answered < it.count() && it.count() <= block.count();
            let confirmed = doubted.refused.filter(is_confirmed);
            let longest = self.longest_mut(table);
            longest.refused = Some(match longest.refused {
                Some(refused) if refused.count() <= block.count() => refused,
                Some(_) | None => confirmed.unwrap_or(block),
            });
            // Cuts that its length explains.
            let is_bits = pdu::is_bits(table);
            self.learnt.cuts.retain(|(of, _), (_, count)| {
                pdu::is_bits(*of) != is_bits || *count < block.count()
            });
            return self.found(table, &was).filter(|_| confirmed.is_none());
        }
        let address = right.address();
        let cut = (left_end, block.count());
        self.learnt.cuts.insert((table, address), cut);
        let inside = |witness: ReadRange| {
            witness.table() == table
                && witness.address() < address
                && u32::from(address) < witness.end()
        };
        self.explain(table, inside);
        let is_news =
            self.doubted.cuts.get(&(table, address)).is_none_or(|(end, _)| *end != left_end);
        let gap = u16::try_from(left_end).ok().filter(|_| has_gap);
        is_news.then_some(match gap {
            Some(from) => Lesson::Hole(Hole { table, address: from, count: address - from }),
            None => Lesson::Border { table, address },
        })
    }

    /// Takes back that reads may be too long when that was concluded from a read that is explained by something else.
    fn explain(&mut self, table: Table, is_explained: impl Fn(ReadRange) -> bool) {
        let longest = self.longest_mut(table);
        longest.refused = longest.refused.filter(|witness| !is_explained(*witness));
    }

    fn found(&self, table: Table, was: &Longest) -> Option<Lesson> {
        let longest = self.longest(table);
        let is_bits = pdu::is_bits(table);
        let is_told = self.told_max(is_bits).is_some_and(|told| told <= longest.answered);
        let lesson = Lesson::Longest { is_bits, most: longest.answered };
        (longest.is_found() && longest != was && !is_told).then_some(lesson)
    }

    fn told_max(&self, is_bits: bool) -> Option<u16> {
        if is_bits { self.told.bits_max } else { self.told.registers_max }
    }

    fn longest(&self, table: Table) -> &Longest {
        if pdu::is_bits(table) { &self.learnt.bits } else { &self.learnt.registers }
    }

    fn longest_mut(&mut self, table: Table) -> &mut Longest {
        if pdu::is_bits(table) { &mut self.learnt.bits } else { &mut self.learnt.registers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(address: u16, count: u16) -> ReadRange {
        ReadRange::new(Table::Holding, address, count).expect("allowed")
    }

    #[test]
    fn what_is_told_bounds_reads() {
        let told = Allowed {
            registers_max: Some(16),
            bits_max: None,
            holes: vec![Hole { table: Table::Holding, address: 40, count: 2 }],
            borders: vec![(Table::Holding, 60)],
        };
        let known = Known::new(told, Learnt::default());
        assert!(known.allows(holding(24, 16)) && !known.allows(holding(0, 17)));
        assert!(!known.allows(holding(41, 2)) && known.allows(holding(42, 2)));
        assert!(known.allows(holding(50, 10)) && !known.allows(holding(50, 11)));
        assert!(known.allows(holding(60, 10)));
        assert_eq!((known.count_max(Table::Holding), known.count_max(Table::Coil)), (16, 2000));
    }

    #[test]
    fn the_longest_read_is_found_by_halving() {
        let mut known = Known::default();
        for count in [25, 25] {
            known.handle_answer(holding(0, count));
        }
        assert_eq!(known.handle_parted(holding(0, 50), 25, holding(25, 25), false), None);
        let mut asked = Vec::new();
        let lesson = loop {
            let count = known.count_max(Table::Holding);
            asked.push(count);
            let lesson = if count > 32 {
                known.handle_parted(holding(0, count), 9, holding(9, count - 9), false)
            } else {
                known.handle_answer(holding(0, count))
            };
            if lesson.is_some() {
                break lesson;
            }
        };
        assert_eq!(asked, [37, 31, 34, 32, 33]);
        assert_eq!(lesson, Some(Lesson::Longest { is_bits: false, most: 32 }));
        assert_eq!(known.count_max(Table::Holding), 32);
        assert_eq!(lesson.map(|it| it.to_string()).as_deref(), Some("max_registers: 32"));
    }

    #[test]
    fn a_hole_in_a_gap_and_a_border_are_told_from_a_read_that_is_too_long() {
        let mut known = Known::default();
        known.handle_answer(holding(0, 3));
        let lesson = known.handle_parted(holding(0, 13), 3, holding(10, 3), false);
        assert_eq!(
            lesson.map(|it| it.to_string()).as_deref(),
            Some("holes: [{ holding: 3, count: 7 }]")
        );
        assert_eq!(known.count_max(Table::Holding), 125);
        assert!(!known.allows(holding(0, 11)) && known.allows(holding(3, 7)));

        known.handle_answer(holding(20, 30));
        let lesson = known.handle_parted(holding(60, 20), 70, holding(70, 10), false);
        assert_eq!(lesson.map(|it| it.to_string()).as_deref(), Some("borders: [{ holding: 70 }]"));
    }

    #[test]
    fn what_speaks_against_a_conclusion_takes_it_back() {
        let mut known = Known::default();
        known.handle_answer(holding(0, 10));
        known.handle_parted(holding(0, 20), 10, holding(10, 10), false);
        assert_eq!(known.count_max(Table::Holding), 15);
        // The border inside that block explains it.
        known.handle_parted(holding(10, 2), 11, holding(11, 1), false);
        assert_eq!(known.count_max(Table::Holding), 125);

        known.handle_parted(holding(20, 40), 30, holding(40, 20), false);
        assert!(!known.allows(holding(30, 20)), "a hole in the gap is likelier");
        known.handle_parted(holding(100, 30), 115, holding(115, 15), true);
        assert!(known.allows(holding(36, 10)), "its length explains that as well");
    }

    #[test]
    fn what_is_in_doubt_is_confirmed_without_news_or_forgotten() {
        let mut known = Known::default();
        known.handle_answer(holding(0, 32));
        known.handle_parted(holding(0, 33), 32, holding(32, 1), true);
        known.handle_parted(holding(60, 20), 70, holding(75, 5), false);
        assert!(!known.allows(holding(60, 20)));
        let was = known.clone();
        known.handle_doubt();
        assert!(known.allows(holding(60, 20)) && known.allows(holding(0, 100)));
        assert_eq!(known.handle_parted(holding(0, 100), 60, holding(60, 40), true), None);
        assert_eq!(known.handle_parted(holding(60, 20), 70, holding(75, 5), false), None);
        assert_eq!(known.learnt(), was.learnt());

        known.handle_doubt();
        known.handle_answer(holding(0, 100));
        assert_eq!(known.handle_parted(holding(0, 120), 60, holding(60, 60), true), None);
        assert_eq!(known.count_max(Table::Holding), 110);

        let mut known = was;
        known.handle_silence();
        known.handle_doubt();
        assert!(!known.allows(holding(60, 20)), "finding out again would cost too much");
    }
}

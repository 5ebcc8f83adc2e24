//! core: few reads out of many points: neighbours in one, gaps read over where that is cheaper on this wire.

use std::collections::BTreeSet;
use std::time::Duration;

use super::link;
use super::pdu::{self, RangeError, ReadRange};
use crate::field::{PointSettings, PortSettings, SerialSettings, Table};

/// What a device needs before it answers, guessed; real ones need 2 to 50 ms.
const TURNAROUND: Duration = Duration::from_millis(5);
/// What one transaction over TCP costs, guessed from a device in the same building.
const TCP_TRANSACTION: Duration = Duration::from_millis(2);
/// What one byte over TCP costs.
const TCP_BYTE: Duration = Duration::from_micros(1);

/// What a transaction costs in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireCost {
    /// Each transaction, whatever it brings.
    pub transaction: Duration,
    /// Each byte of data it brings.
    pub byte: Duration,
}

impl WireCost {
    /// On what carries the frames of a bus.
    #[must_use]
    pub fn of_port(port: &PortSettings) -> Self {
        match port {
            PortSettings::Rtu(serial) => Self::rtu(serial),
            PortSettings::Ascii(serial) => Self::ascii(serial),
            PortSettings::Tcp(_)
            | PortSettings::Tls(..)
            | PortSettings::Udp(_)
            | PortSettings::RtuOverTcp(_)
            | PortSettings::AsciiOverTcp(_) => Self::tcp(),
        }
    }

    /// As [`WireCost::rtu`], with two characters a byte, 17 of request, 11 around the data, and no silence.
    #[must_use]
    pub fn ascii(serial: &SerialSettings) -> Self {
        Self { transaction: serial.characters(17 + 11) + TURNAROUND, byte: serial.characters(2) }
    }

    /// On a serial line: 8 characters of request, 5 around the data of the answer, the device's turn-around and the
    /// silence around both frames.
    #[must_use]
    pub fn rtu(serial: &SerialSettings) -> Self {
        let transaction = serial.characters(8 + 5) + TURNAROUND + link::silence(serial) * 2;
        Self { transaction, byte: serial.characters(1) }
    }

    /// Over TCP, where bytes cost next to nothing.
    #[must_use]
    pub fn tcp() -> Self {
        Self { transaction: TCP_TRANSACTION, byte: TCP_BYTE }
    }

    /// What reading `range` costs.
    #[must_use]
    pub fn of(&self, range: ReadRange) -> Duration {
        self.transaction + self.byte * u32::from(range.byte_count())
    }
}

/// A point as the plan sees it: where it stands and how much room it takes; never split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The caller's number for the point.
    pub point: usize,
    /// Where it stands.
    pub range: ReadRange,
}

impl Wanted {
    /// The room that `settings` takes.
    ///
    /// # Errors
    /// [`RangeError`] when it reaches beyond the table or is longer than one read.
    pub fn new(point: usize, settings: &PointSettings) -> Result<Self, RangeError> {
        let (table, address) = (settings.place.table, settings.place.address);
        let count = if pdu::is_bits(table) { 1 } else { settings.value_type.registers() };
        Ok(Self { point, range: ReadRange::new(table, address, count)? })
    }
}

/// One read of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// What is asked for.
    pub range: ReadRange,
    /// The points it brings, by address.
    pub points: Vec<Wanted>,
}

impl Read {
    /// The read that brings `points`, which must be of one table, sorted by address and close enough.
    fn over(points: &[Wanted]) -> Option<Self> {
        let first = points.first()?.range;
        let end = points.iter().map(|wanted| wanted.range.end()).max()?;
        Some(Self { range: up_to(first, end)?, points: points.to_vec() })
    }

    /// The two halves of this read, cut where no value is; `None` when every cut would go through one.
    #[must_use]
    pub fn halves(&self) -> Option<(Self, Self)> {
        let middle = self.points.len() / 2;
        let cut = self.cuts().min_by_key(|cut| cut.abs_diff(middle))?;
        let (left, right) = self.points.split_at_checked(cut)?;
        Some((Self::over(left)?, Self::over(right)?))
    }

    /// The counts below that of the whole read at which it can be cut without cutting a value, longest first.
    pub fn shorter(&self) -> impl Iterator<Item = u16> {
        self.cuts()
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .filter_map(|cut| Some(Self::over(self.points.get(..cut)?)?.range.count()))
    }

    /// The part of this read that lies behind what `range` has brought, if any.
    #[must_use]
    pub fn without(&self, range: ReadRange) -> Option<Self> {
        let rest = self.points.iter().filter(|wanted| wanted.range.end() > range.end());
        Self::over(&rest.copied().collect::<Vec<_>>())
    }

    /// Indices into `points` before which no value hangs over.
    fn cuts(&self) -> impl Iterator<Item = usize> {
        let mut end = 0;
        let free = self.points.iter().enumerate().filter_map(move |(index, wanted)| {
            let is_free = index > 0 && u32::from(wanted.range.address()) >= end;
            end = end.max(wanted.range.end());
            is_free.then_some(index)
        });
        free.collect::<Vec<_>>().into_iter()
    }
}

/// What a device has been found not to allow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Addresses before which a read must end: no read may hold both sides.
    pub cuts: BTreeSet<(Table, u32)>,
    /// Places it refuses; no read may touch them besides their own.
    pub refused: Vec<ReadRange>,
}

impl Known {
    fn allows(&self, range: ReadRange) -> bool {
        let (table, from) = (range.table(), u32::from(range.address()));
        let is_cut = self.cuts.range((table, from + 1)..(table, range.end())).next().is_some();
        let touches = |other: &ReadRange| {
            other.table() == table && u32::from(other.address()) < range.end() && from < other.end()
        };
        !is_cut && !self.refused.iter().any(touches)
    }
}

/// Makes the cheapest set of reads that brings all `points`, each exactly once.
///
/// Within a table sorted by address, a cheapest plan never needs to swap points between reads, so the best plan for
/// the first n points is the best of: the last read begins at some point before, plus the best plan up to there.
#[must_use]
pub fn plan(points: &[Wanted], wire: &WireCost, known: &Known) -> Vec<Read> {
    let mut points = points.to_vec();
    points.sort_by_key(|wanted| {
        (wanted.range.table(), wanted.range.address(), wanted.range.end(), wanted.point)
    });
    // For each n, the cost of the first n points and where the last read of that plan begins.
    let mut best: Vec<(Duration, usize)> = vec![(Duration::ZERO, 0)];
    for end in 1..=points.len() {
        let mut choice: Option<(Duration, usize)> = None;
        let mut last_end = 0;
        for (begin, wanted) in points.iter().enumerate().take(end).rev() {
            last_end = wanted.range.end().max(last_end);
            let is_one_table =
                points.get(end - 1).map(|last| last.range.table()) == Some(wanted.range.table());
            let Some(range) = up_to(wanted.range, last_end).filter(|_| is_one_table) else { break };
            // Points that overlap a cut or a refused place can still be read alone.
            let is_alone = points.get(begin..end).is_some_and(|all| {
                all.first().is_some_and(|first| first.range == range)
                    && all.last().is_some_and(|last| last.range == range)
            });
            if !is_alone && !known.allows(range) {
                continue;
            }
            let before = best.get(begin).map_or(Duration::MAX, |(cost, _)| *cost);
            let cost = before.saturating_add(wire.of(range));
            if choice.is_none_or(|(cheapest, _)| cost < cheapest) {
                choice = Some((cost, begin));
            }
        }
        best.push(choice.unwrap_or((Duration::MAX, end - 1)));
    }
    let mut reads = Vec::new();
    let mut end = points.len();
    while let Some((_, begin)) = best.get(end).copied().filter(|_| end > 0) {
        reads.extend(points.get(begin..end).and_then(Read::over));
        end = begin;
    }
    reads.reverse();
    reads
}

/// The range from the beginning of `first` up to the address `end`, if one read can hold it.
fn up_to(first: ReadRange, end: u32) -> Option<ReadRange> {
    let count = u16::try_from(end.checked_sub(u32::from(first.address()))?).ok()?;
    ReadRange::new(first.table(), first.address(), count).ok()
}

/// What running all `reads` once costs.
#[must_use]
pub fn cost(reads: &[Read], wire: &WireCost) -> Duration {
    reads.iter().map(|read| wire.of(read.range)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Parity;
    use proptest::prelude::*;

    fn wanted(points: &[(u16, u16)]) -> Vec<Wanted> {
        wanted_in(Table::Holding, points)
    }

    fn wanted_in(table: Table, points: &[(u16, u16)]) -> Vec<Wanted> {
        let range = |(address, count)| ReadRange::new(table, address, count).expect("allowed");
        let numbered = points.iter().copied().enumerate();
        numbered.map(|(point, place)| Wanted { point, range: range(place) }).collect()
    }

    fn rtu(baud: u32) -> WireCost {
        let path = "tty".into();
        WireCost::rtu(&SerialSettings {
            path,
            baud,
            data_bits: 8,
            parity: Parity::None,
            stop_bits: 1,
            rs485: None,
        })
    }

    fn ranges(reads: &[Read]) -> Vec<(u16, u16)> {
        reads.iter().map(|read| (read.range.address(), read.range.count())).collect()
    }

    fn planned(points: &[(u16, u16)], wire: &WireCost) -> Vec<(u16, u16)> {
        ranges(&plan(&wanted(points), wire, &Known::default()))
    }

    #[test]
    fn neighbours_join_and_gaps_are_read_over_where_that_is_cheaper() {
        let wire = rtu(9_600);
        assert_eq!(planned(&[(102, 2), (100, 2)], &wire), [(100, 4)]);
        assert_eq!(planned(&[(100, 2), (110, 1)], &wire), [(100, 11)]);
        assert_eq!(planned(&[(100, 2), (150, 1)], &wire), [(100, 2), (150, 1)]);
        assert_eq!(planned(&[(100, 2), (150, 1)], &WireCost::tcp()), [(100, 51)]);
        assert_eq!(planned(&[], &wire), []);
        assert_eq!(planned(&[(121, 1), (121, 1), (120, 4)], &wire), [(120, 4)]);
    }

    #[test]
    fn no_read_is_longer_than_the_protocol_allows_nor_splits_a_value() {
        let points: Vec<_> = (0..100).map(|index| (index * 4, 4)).collect();
        let reads = planned(&points, &WireCost::tcp());
        assert_eq!(reads.len(), 4, "400 registers, 31 values of four in each read");
        assert!(reads.iter().all(|(address, count)| address % 4 == 0 && count % 4 == 0));
        let coils: Vec<_> = (0..2_001).map(|index| (index, 1)).collect();
        let reads = plan(&wanted_in(Table::Coil, &coils), &WireCost::tcp(), &Known::default());
        assert_eq!(reads.len(), 2);
    }

    #[test]
    fn tables_are_read_apart() {
        let mut points = wanted(&[(0, 1)]);
        points.extend(wanted_in(Table::Input, &[(0, 1)]));
        assert_eq!(plan(&points, &rtu(9_600), &Known::default()).len(), 2);
    }

    #[test]
    fn what_a_device_refuses_is_kept_out_of_other_reads() {
        let points = wanted(&[(0, 1), (1, 1), (2, 1), (4, 1)]);
        let mut known = Known::default();
        known.refused.push(points[1].range);
        assert_eq!(ranges(&plan(&points, &WireCost::tcp(), &known)), [(0, 1), (1, 1), (2, 3)]);
        known.cuts.insert((Table::Holding, 4));
        assert_eq!(
            ranges(&plan(&points, &WireCost::tcp(), &known)),
            [(0, 1), (1, 1), (2, 1), (4, 1)]
        );
    }

    #[test]
    fn a_read_halves_between_values_and_shortens_at_them() {
        let read =
            &plan(&wanted(&[(0, 2), (2, 4), (6, 1), (9, 1)]), &rtu(9_600), &Known::default())[0];
        let (left, right) = read.halves().expect("there are four values");
        assert_eq!((ranges(&[left]), ranges(&[right])), (vec![(0, 6)], vec![(6, 4)]));
        assert_eq!(read.shorter().collect::<Vec<_>>(), [7, 6, 2]);
        let first = ReadRange::new(Table::Holding, 0, 6).expect("allowed");
        assert_eq!(ranges(&[read.without(first).expect("two values are left")]), [(6, 4)]);
        assert_eq!(read.without(read.range), None);

        let overlapping = &plan(&wanted(&[(0, 2), (1, 2)]), &rtu(9_600), &Known::default())[0];
        assert_eq!(overlapping.halves(), None);
    }

    /// Tries every way to cut the sorted points into reads.
    fn cheapest(points: &[Wanted], wire: &WireCost) -> Duration {
        if points.is_empty() {
            return Duration::ZERO;
        }
        (1..=points.len())
            .filter_map(|first| {
                let (head, tail) = points.split_at(first);
                Some(wire.of(Read::over(head)?.range) + cheapest(tail, wire))
            })
            .min()
            .expect("one point can always be read")
    }

    proptest! {
        #[test]
        fn every_point_is_read_whole_once_at_the_least_cost(
            places in proptest::collection::vec((0..300u16, 1..=4u16), 1..9),
            baud in prop_oneof![Just(9_600), Just(115_200)],
        ) {
            let (mut points, wire) = (wanted(&places), rtu(baud));
            let reads = plan(&points, &wire, &Known::default());
            let mut seen = Vec::new();
            for read in &reads {
                for wanted in &read.points {
                    prop_assert!(wanted.range.address() >= read.range.address());
                    prop_assert!(wanted.range.end() <= read.range.end());
                    seen.push(wanted.point);
                }
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..places.len()).collect::<Vec<_>>());
            points.sort_by_key(|wanted| (wanted.range.address(), wanted.range.end()));
            prop_assert_eq!(cost(&reads, &wire), cheapest(&points, &wire));
        }
    }
}

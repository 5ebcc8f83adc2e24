//! core: few reads out of many points: neighbours in one, gaps read over where that is cheaper on this wire.

use std::time::Duration;

use super::known::Known;
use super::link;
use super::pdu::{RangeError, ReadRange};
use crate::field::{DeviceSettings, PointSettings, PortSettings, SerialSettings};

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
    /// The bytes of request and answer around the data.
    pub frame_bytes: u32,
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
        let frame_bytes = 17 + 11;
        let transaction = serial.characters(frame_bytes) + TURNAROUND;
        Self { transaction, byte: serial.characters(2), frame_bytes }
    }

    /// On a serial line: 8 characters of request, the device's turn-around, which is at least the silence between
    /// frames, 5 characters around the data of the answer, and the silence behind it.
    #[must_use]
    pub fn rtu(serial: &SerialSettings) -> Self {
        let (frame_bytes, silence) = (8 + 5, link::silence(serial));
        let transaction = serial.characters(frame_bytes) + TURNAROUND.max(silence) + silence;
        Self { transaction, byte: serial.characters(1), frame_bytes }
    }

    /// Over TCP, where bytes cost next to nothing: 12 bytes of request, 9 around the data of the answer.
    #[must_use]
    pub fn tcp() -> Self {
        Self { transaction: TCP_TRANSACTION, byte: TCP_BYTE, frame_bytes: 12 + 9 }
    }

    /// How long reading `range` takes.
    #[must_use]
    pub fn of(&self, range: ReadRange) -> Duration {
        self.transaction + self.byte * u32::from(range.byte_count())
    }

    /// How long the answer to `range` is on its way without the device's turn-around, request included.
    #[must_use]
    pub fn on_the_way(&self, range: ReadRange) -> Duration {
        self.byte * self.bytes(range)
    }

    /// How many bytes go over the wire to read `range`.
    #[must_use]
    pub fn bytes(&self, range: ReadRange) -> u32 {
        self.frame_bytes + u32::from(range.byte_count())
    }
}

/// The points of a device, each with the others of its period.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ByPeriod {
    /// The points of each period, in the order of the file.
    pub periods: Vec<(Duration, Vec<Wanted>)>,
    /// Points that cannot be read at all.
    pub impossible: Vec<(usize, RangeError)>,
}

/// Puts the points of `device` together by their periods.
#[must_use]
pub fn by_period(device: &DeviceSettings) -> ByPeriod {
    let mut all = ByPeriod::default();
    let is_read = |(index, _): &(usize, &PointSettings)| device.is_read(*index);
    for (index, point) in device.points.iter().enumerate().filter(is_read) {
        match Wanted::new(index, point) {
            Ok(wanted) => match all.periods.iter_mut().find(|(every, _)| *every == point.every) {
                Some((_, wanteds)) => wanteds.push(wanted),
                None => all.periods.push((point.every, vec![wanted])),
            },
            Err(error) => all.impossible.push((index, error)),
        }
    }
    all
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
        Ok(Self { point, range: ReadRange::new(table, address, settings.width())? })
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
    #[must_use]
    pub fn over(points: &[Wanted]) -> Option<Self> {
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

/// Makes the cheapest set of reads that brings all `points`, each exactly once.
///
/// What the device refuses by itself is read alone. Of the others, sorted by address within a table, some cheapest plan
/// has each read bring a stretch: of two reads that interleave, the one that begins later can take over what begins
/// behind its first address, and neither grows by that. So the best plan for the first n points is the best of: the
/// last read begins at some point before, plus the best plan up to there.
#[must_use]
pub fn plan(points: &[Wanted], wire: &WireCost, known: &Known) -> Vec<Read> {
    let mut points = points.to_vec();
    points.sort_by_key(|wanted| {
        (wanted.range.table(), wanted.range.address(), wanted.range.end(), wanted.point)
    });
    let (points, alone): (Vec<_>, Vec<_>) =
        points.into_iter().partition(|wanted| known.allows(wanted.range));
    let alone = alone.chunk_by(|a, b| a.range == b.range).filter_map(Read::over);
    let mut reads: Vec<Read> = points.chunk_by(|a, b| a.range.table() == b.range.table()).fold(
        Vec::new(),
        |mut all, of| {
            all.extend(cheapest(of, wire, known));
            all
        },
    );
    reads.extend(alone);
    reads.sort_by_key(|read| (read.range.table(), read.range.address(), read.range.end()));
    reads
}

/// The cheapest reads for sorted points of one table, each of which may be read.
fn cheapest(points: &[Wanted], wire: &WireCost, known: &Known) -> Vec<Read> {
    // For each n, the cost of the first n points and where the last read of that plan begins.
    let mut best: Vec<(Duration, usize)> = vec![(Duration::ZERO, 0)];
    for end in 1..=points.len() {
        let mut choice: Option<(Duration, usize)> = None;
        let mut last_end = 0;
        for (begin, wanted) in points.iter().enumerate().take(end).rev() {
            last_end = wanted.range.end().max(last_end);
            // What is not allowed is not allowed as part of more either.
            let range = up_to(wanted.range, last_end).filter(|range| known.allows(*range));
            let Some(range) = range else { break };
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
    use crate::field::modbus::known::Learnt;
    use crate::field::{Allowed, Hole, Parity, Table};
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
        known.handle_refused(points[1].range);
        assert_eq!(ranges(&plan(&points, &WireCost::tcp(), &known)), [(0, 1), (1, 1), (2, 3)]);
        known.handle_answer(points[0].range);
        let block = ReadRange::new(Table::Holding, 2, 3).expect("allowed");
        known.handle_parted(block, 3, points[3].range, false);
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

    #[test]
    fn a_transaction_costs_what_the_wire_takes_for_it() {
        let serial = |baud, parity| SerialSettings {
            path: "tty".into(),
            baud,
            data_bits: 8,
            parity,
            stop_bits: 1,
            rs485: None,
        };
        let thirty = ReadRange::new(Table::Holding, 0, 30).expect("allowed");
        let cycle = |serial: &SerialSettings| (WireCost::rtu(serial).of(thirty) * 4).as_micros();
        assert_eq!(cycle(&serial(9_600, Parity::None)), 338_749);
        assert_eq!(cycle(&serial(19_200, Parity::Even)), 195_312);
        assert_eq!(rtu(9_600).bytes(thirty), 8 + 65);
        // Far below, the turn-around is the silence that the device has to keep.
        let slow = serial(300, Parity::None);
        assert_eq!(
            WireCost::rtu(&slow).transaction,
            slow.characters(13) + link::silence(&slow) * 2
        );
    }

    #[test]
    fn reads_are_no_longer_than_told_and_stay_out_of_holes_and_within_borders() {
        let told = Allowed {
            registers_max: Some(10),
            holes: vec![Hole { table: Table::Holding, address: 14, count: 1 }],
            borders: vec![(Table::Holding, 3)],
            ..Allowed::default()
        };
        let points: Vec<_> = (0..14).chain(15..25).map(|address| (address, 1)).collect();
        let reads = plan(&wanted(&points), &WireCost::tcp(), &Known::new(told, Learnt::default()));
        assert_eq!(reads.len(), 4, "{:?}", ranges(&reads));
        assert_eq!(ranges(&reads)[0], (0, 3));
    }

    /// The cost of the cheapest way to put points into reads, of all ways there are.
    fn cheapest_of_all(
        points: &[Wanted],
        reads: &mut Vec<Vec<Wanted>>,
        wire: &WireCost,
        known: &Known,
    ) -> Duration {
        let Some((first, rest)) = points.split_first() else {
            return reads
                .iter()
                .map(|read| price(read, wire, known))
                .fold(Duration::ZERO, Duration::saturating_add);
        };
        let mut best = Duration::MAX;
        for index in 0..=reads.len() {
            match reads.get_mut(index) {
                Some(read) => read.push(*first),
                None => reads.push(vec![*first]),
            }
            best = best.min(cheapest_of_all(rest, reads, wire, known));
            reads[index].pop();
            reads.retain(|read| !read.is_empty());
        }
        best
    }

    fn price(points: &[Wanted], wire: &WireCost, known: &Known) -> Duration {
        let first = points[0].range;
        let (from, end) = points.iter().fold((first.address(), first.end()), |(from, end), it| {
            (from.min(it.range.address()), end.max(it.range.end()))
        });
        let one_table = points.iter().all(|it| it.range.table() == first.table());
        let count = u16::try_from(end - u32::from(from)).expect("small");
        let range = ReadRange::new(first.table(), from, count).ok().filter(|_| one_table);
        let alone = points.iter().all(|it| it.range == first);
        match range {
            Some(range) if alone || known.allows(range) => wire.of(range),
            Some(_) | None => Duration::MAX,
        }
    }

    fn table() -> impl Strategy<Value = Table> {
        prop_oneof![4 => Just(Table::Holding), 1 => Just(Table::Input), 2 => Just(Table::Coil)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn every_point_is_read_whole_once_at_the_least_cost_of_all_plans(
            places in proptest::collection::vec((table(), 0..90u16, 1..=6u16), 1..7),
            wire in prop_oneof![Just(rtu(9_600)), Just(rtu(115_200)), Just(WireCost::tcp())],
            registers_max in proptest::option::of(1..40u16),
            bits_max in proptest::option::of(1..40u16),
            holes in proptest::collection::vec((table(), 0..90u16, 1..4u16), 0..3),
            borders in proptest::collection::vec((table(), 0..90u16), 0..3),
        ) {
            let hole = |(table, address, count)| Hole { table, address, count };
            let holes = holes.into_iter().map(hole).collect();
            let told = Allowed { registers_max, bits_max, holes, borders };
            let known = Known::new(told, Learnt::default());
            let points: Vec<Wanted> = places.iter().enumerate().map(|(point, place)| {
                let (table, address, count) = *place;
                let count = if crate::field::modbus::pdu::is_bits(table) { 1 } else { count };
                Wanted { point, range: ReadRange::new(table, address, count).expect("allowed") }
            }).collect();
            let reads = plan(&points, &wire, &known);
            let mut seen = Vec::new();
            for read in &reads {
                let is_alone = read.points.iter().all(|wanted| wanted.range == read.range);
                prop_assert!(is_alone || known.allows(read.range));
                for wanted in &read.points {
                    prop_assert!(wanted.range.table() == read.range.table());
                    prop_assert!(wanted.range.address() >= read.range.address());
                    prop_assert!(wanted.range.end() <= read.range.end());
                    seen.push(wanted.point);
                }
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..places.len()).collect::<Vec<_>>());
            let least = cheapest_of_all(&points, &mut Vec::new(), &wire, &known);
            prop_assert_eq!(cost(&reads, &wire), least);
        }
    }
}

//! core: a simulated device: what its registers hold at a time.

use std::time::Duration;

use crate::field::modbus::pdu::{Data, ReadRange, is_bits};
use crate::field::modbus::server;
use crate::field::{Table, UnitId};

/// How a quantity moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Signal {
    /// Up and down between `mid - swing` and `mid + swing`, once in `period`.
    Wave {
        /// The middle.
        mid: f64,
        /// How far from it.
        swing: f64,
        /// How long up and down again takes.
        period: Duration,
    },
    /// Grows steadily.
    Total {
        /// What it begins with.
        start: f64,
        /// How much it grows a second.
        rate: f64,
    },
    /// One after the other, over and over, each for `every`.
    Steps {
        /// The values, at least one.
        values: &'static [u16],
        /// How long each holds.
        every: Duration,
    },
    /// How many requests this device has heard.
    Asked,
}

/// How a quantity stands in the registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One bit: whether the quantity is not 0.
    Bit,
    /// One register, signed or not.
    Word,
    /// Two registers, the high one first.
    Long,
    /// Two registers, the low one first.
    LongLowFirst,
    /// IEEE 754 single, two registers, the high one first.
    Float,
}

impl Form {
    fn registers(self) -> u16 {
        match self {
            Self::Bit | Self::Word => 1,
            Self::Long | Self::LongLowFirst | Self::Float => 2,
        }
    }
}

/// One quantity of a device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// In which table.
    pub table: Table,
    /// Its first address.
    pub address: u16,
    /// How it stands there.
    pub form: Form,
    /// How it moves.
    pub signal: Signal,
}

/// A simulated device.
#[derive(Debug, Clone, PartialEq)]
pub struct Bank {
    unit: UnitId,
    cells: Vec<Cell>,
    asked: u32,
}

impl Bank {
    /// A device that answers as `unit`. What no cell covers is refused with exception 2.
    #[must_use]
    pub fn new(unit: UnitId, cells: Vec<Cell>) -> Self {
        Self { unit, cells, asked: 0 }
    }

    /// The unit id it answers to.
    #[must_use]
    pub fn unit(&self) -> UnitId {
        self.unit
    }

    /// Answers the PDU of a request as it is `since` the start.
    pub fn handle_request(&mut self, request: &[u8], since: Duration) -> Vec<u8> {
        self.asked = self.asked.wrapping_add(1);
        server::answer(request, |range| self.read(range, since))
    }

    fn read(&self, range: ReadRange, since: Duration) -> Option<Data> {
        let words: Option<Vec<u16>> = (u32::from(range.address())..range.end())
            .map(|address| self.word(range.table(), u16::try_from(address).ok()?, since))
            .collect();
        let words = words?;
        if is_bits(range.table()) {
            return Some(Data::Bits(words.into_iter().map(|word| word != 0).collect()));
        }
        Some(Data::Registers(words))
    }

    fn word(&self, table: Table, address: u16, since: Duration) -> Option<u16> {
        let in_cell = |cell: &&Cell| {
            let after = address.checked_sub(cell.address);
            cell.table == table && after.is_some_and(|after| after < cell.form.registers())
        };
        let cell = self.cells.iter().find(in_cell)?;
        let words = cell.form.words(cell.signal.value(since, self.asked));
        words.get(usize::from(address - cell.address)).copied()
    }
}

impl Signal {
    fn value(self, since: Duration, asked: u32) -> f64 {
        match self {
            Self::Wave { mid, swing, period } => {
                let turn = since.as_secs_f64() / period.as_secs_f64();
                mid + swing * (turn * std::f64::consts::TAU).sin()
            }
            Self::Total { start, rate } => start + rate * since.as_secs_f64(),
            Self::Steps { values, every } => {
                let step = since.as_millis() / every.as_millis().max(1);
                let count = values.len().max(1) as u128;
                let value = usize::try_from(step % count).ok().and_then(|at| values.get(at));
                f64::from(value.copied().unwrap_or_default())
            }
            Self::Asked => f64::from(asked),
        }
    }
}

impl Form {
    /// The registers, as many as [`Self::registers`]; a second one that is not needed is 0.
    fn words(self, value: f64) -> [u16; 2] {
        match self {
            Self::Bit => [u16::from(value != 0.0), 0],
            Self::Word => [halves(value)[1], 0],
            Self::Long => halves(value),
            Self::LongLowFirst => {
                let [high, low] = halves(value);
                [low, high]
            }
            Self::Float => split(single(value).to_bits()),
        }
    }
}

/// The whole number nearest to `value` in two's complement, 32 bits, high register first.
fn halves(value: f64) -> [u16; 2] {
    #[allow(clippy::cast_possible_truncation, reason = "saturates; simulated values are small")]
    let whole = value.round() as i64;
    let [.., a, b, c, d] = whole.to_be_bytes();
    split(u32::from_be_bytes([a, b, c, d]))
}

fn split(bits: u32) -> [u16; 2] {
    let [a, b, c, d] = bits.to_be_bytes();
    [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
}

#[allow(clippy::cast_possible_truncation, reason = "what a register pair can hold of it")]
fn single(value: f64) -> f32 {
    value as f32
}

/// The devices on the serial line: `meter` (unit 1) and `climate` (unit 2) of `demo.yaml`.
#[must_use]
pub fn serial_devices() -> Vec<Bank> {
    let wave =
        |mid, swing, seconds| Signal::Wave { mid, swing, period: Duration::from_secs(seconds) };
    let input = |address, form, signal| Cell { table: Table::Input, address, form, signal };
    let meter = vec![
        input(0, Form::Float, wave(230.0, 2.5, 17)),
        input(6, Form::Float, wave(4.2, 1.1, 11)),
        input(12, Form::Float, wave(950.0, 260.0, 11)),
        input(342, Form::Float, Signal::Total { start: 1834.2, rate: 0.95 / 3600.0 }),
    ];
    let fan = Signal::Steps { values: &[1, 0], every: Duration::from_secs(4) };
    let climate = vec![
        input(1, Form::Word, wave(-15.0, 62.0, 23)),
        input(2, Form::Word, wave(540.0, 35.0, 31)),
        Cell { table: Table::Coil, address: 0, form: Form::Bit, signal: fan },
    ];
    vec![Bank::new(UnitId(1), meter), Bank::new(UnitId(2), climate)]
}

/// The devices behind Modbus TCP: `boiler` (unit 1) and `solar` (unit 2) of `demo.yaml`.
#[must_use]
pub fn tcp_devices() -> Vec<Bank> {
    let cell = |table, address, form, signal| Cell { table, address, form, signal };
    let wave =
        |mid, swing, seconds| Signal::Wave { mid, swing, period: Duration::from_secs(seconds) };
    let steps = |values, seconds| Signal::Steps { values, every: Duration::from_secs(seconds) };
    let boiler = vec![
        cell(Table::Holding, 100, Form::Word, wave(565.0, 40.0, 13)),
        cell(Table::Holding, 120, Form::Word, steps(&[1, 1, 1, 0], 3)),
        cell(Table::DiscreteInput, 4, Form::Bit, steps(&[1, 1, 1, 0], 3)),
        cell(Table::Input, 130, Form::LongLowFirst, Signal::Asked),
    ];
    let solar = vec![
        cell(Table::Input, 10, Form::Long, wave(1450.0, 1500.0, 19)),
        cell(Table::Input, 12, Form::Long, Signal::Total { start: 7_431_210.0, rate: 40.0 }),
    ];
    vec![Bank::new(UnitId(1), boiler), Bank::new(UnitId(2), solar)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(5500);

    fn bank(table: Table, form: Form, signal: Signal) -> Bank {
        Bank::new(UnitId(1), vec![Cell { table, address: 10, form, signal }])
    }

    #[test]
    fn numbers_stand_in_the_registers_as_their_form_says() {
        let fixed = |value| Signal::Total { start: value, rate: 0.0 };
        let answer = |form, value, request: &[u8]| {
            bank(Table::Holding, form, fixed(value)).handle_request(request, MOMENT)
        };
        assert_eq!(answer(Form::Word, -2.0, &[3, 0, 10, 0, 1]), [3, 2, 0xff, 0xfe]);
        assert_eq!(answer(Form::Long, -2.0, &[3, 0, 10, 0, 2]), [3, 4, 0xff, 0xff, 0xff, 0xfe]);
        assert_eq!(answer(Form::Long, 65_538.4, &[3, 0, 10, 0, 2]), [3, 4, 0, 1, 0, 2]);
        assert_eq!(answer(Form::LongLowFirst, 65_538.0, &[3, 0, 10, 0, 2]), [3, 4, 0, 2, 0, 1]);
        assert_eq!(answer(Form::Float, 1.0, &[3, 0, 10, 0, 2]), [3, 4, 0x3f, 0x80, 0, 0]);
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let mut bank = bank(Table::Input, Form::Float, Signal::Asked);
        assert_eq!(bank.handle_request(&[4, 0, 9, 0, 2], MOMENT), [0x84, 2]);
        assert_eq!(bank.handle_request(&[4, 0, 11, 0, 2], MOMENT), [0x84, 2]);
        assert_eq!(bank.handle_request(&[3, 0, 10, 0, 2], MOMENT), [0x83, 2]);
        assert_eq!(bank.handle_request(&[6, 0, 10, 0, 2], MOMENT), [0x86, 1]);
    }

    #[test]
    fn quantities_move_with_the_time_and_the_counter_with_each_request() {
        let steps = Signal::Steps { values: &[0, 1], every: Duration::from_secs(5) };
        let mut coil = bank(Table::Coil, Form::Bit, steps);
        assert_eq!(coil.handle_request(&[1, 0, 10, 0, 1], Duration::ZERO), [1, 1, 0]);
        assert_eq!(coil.handle_request(&[1, 0, 10, 0, 1], MOMENT), [1, 1, 1]);
        let mut counter = bank(Table::Input, Form::Word, Signal::Asked);
        for count in 1..4 {
            assert_eq!(counter.handle_request(&[4, 0, 10, 0, 1], MOMENT), [4, 2, 0, count]);
        }
        let wave = Signal::Wave { mid: 5.0, swing: 2.0, period: Duration::from_secs(4) };
        assert!((wave.value(Duration::from_secs(1), 0) - 7.0).abs() < 1e-9);
    }
}

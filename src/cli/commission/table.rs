//! core: registers in every interpretation side by side.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use crate::field::modbus::decode::decode;
use crate::field::modbus::pdu::{Data, ReadRange};
use crate::field::{Order, Place, PointSettings, Table, ValueType};
use crate::model::{Quality, Value};

/// The orders of the bytes of a value: what they are called among technicians, word order, byte order.
const ORDERS: [(&str, Order, Order); 4] = [
    ("ABCD", Order::Big, Order::Big),
    ("CDAB", Order::Little, Order::Big),
    ("BADC", Order::Big, Order::Little),
    ("DCBA", Order::Little, Order::Little),
];
/// What the orders are in the configuration.
const LEGEND: &str =
    "ABCD as it is; CDAB `word_order: little`; BADC `byte_order: little`; DCBA both";
/// What a measured quantity is unlikely to be nearer to zero than, and to be beyond.
const PLAUSIBLE: std::ops::Range<f64> = 1e-6..1e9;
/// Bits shown in a line.
const BITS_IN_LINE: usize = 16;

/// What stands from one address on.
#[derive(Debug)]
pub(super) struct Registers<'w> {
    /// Which table they are of; `None` for a file or a queue, whose registers are numbered.
    pub(super) table: Option<Table>,
    pub(super) first: u32,
    pub(super) words: &'w [u16],
}

/// One value of several registers in one order.
struct Reading {
    text: String,
    json: Json,
    is_plausible: bool,
}

impl Registers<'_> {
    /// The tables: a line for each register, then for each pair, then for each four.
    pub(super) fn to_text(&self) -> String {
        let mut lines = vec![
            ["address", "manual", "hex", "u16", "i16", "bits", "text", "bcd"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for (at, word) in self.words.iter().enumerate() {
            lines.push(vec![
                self.address(at).to_string(),
                self.manual(at),
                format!("{word:04x}"),
                word.to_string(),
                word.cast_signed().to_string(),
                format!("{:08b} {:08b}", word >> 8, word & 0xff),
                printable(*word),
                bcd(*word).map_or("-".to_owned(), |number| number.to_string()),
            ]);
        }
        let mut text = grid(&lines);
        for (width, kinds) in self.wide() {
            let _ = write!(text, "\n{}", self.wide_grid(width, &kinds[..1]));
            let _ = write!(text, "\n{}", self.wide_grid(width, &kinds[1..]));
        }
        if self.words.len() > 1 {
            let _ = writeln!(text, "\n{LEGEND}; · no likely measurement");
        }
        text
    }

    /// A line for each address, a column for each order; what several kinds say differently stands side by side.
    fn wide_grid(&self, width: usize, kinds: &[(&str, ValueType)]) -> String {
        let names: Vec<&str> = kinds.iter().map(|(name, _)| *name).collect();
        let names = names.join("/");
        let head = ORDERS.iter().map(|(order, ..)| format!("{names} {order}"));
        let mut lines: Vec<Vec<String>> =
            vec![["address".to_owned()].into_iter().chain(head).collect()];
        for at in 0..=self.words.len() - width {
            let cell = |(_, word_order, byte_order): &(&str, Order, Order)| {
                let mut shown: Vec<String> = kinds
                    .iter()
                    .map(|(_, value_type)| {
                        let reading = self.reading(at, *value_type, *word_order, *byte_order);
                        let mark = if reading.is_plausible { "" } else { "·" };
                        format!("{mark}{}", reading.text)
                    })
                    .collect();
                shown.dedup();
                shown.join("/")
            };
            let address = self.address(at).to_string();
            lines.push([address].into_iter().chain(ORDERS.iter().map(cell)).collect());
        }
        grid(&lines)
    }

    /// The same for machines: a list, an object for each register.
    pub(super) fn to_json(&self) -> Json {
        let register = |(at, word): (usize, &u16)| {
            let mut register = json!({
                "address": self.address(at),
                "manual": self.table.map(|_| self.manual(at)),
                "hex": format!("{word:04x}"),
                "u16": word,
                "i16": word.cast_signed(),
                "text": printable(*word),
                "bcd": bcd(*word),
            });
            for (width, kinds) in self.wide() {
                if at + width > self.words.len() {
                    continue;
                }
                for (kind, value_type) in kinds {
                    let orders = ORDERS.iter().map(|(name, word_order, byte_order)| {
                        let reading = self.reading(at, *value_type, *word_order, *byte_order);
                        ((*name).to_owned(), reading.json)
                    });
                    register[*kind] = orders.collect::<Map<_, _>>().into();
                }
            }
            register
        };
        self.words.iter().enumerate().map(register).collect()
    }

    fn wide(&self) -> impl Iterator<Item = (usize, &'static [(&'static str, ValueType)])> {
        const TWO: &[(&str, ValueType)] =
            &[("f32", ValueType::F32), ("u32", ValueType::U32), ("i32", ValueType::I32)];
        const FOUR: &[(&str, ValueType)] =
            &[("f64", ValueType::F64), ("u64", ValueType::U64), ("i64", ValueType::I64)];
        [(2, TWO), (4, FOUR)].into_iter().filter(|(width, _)| *width <= self.words.len())
    }

    fn address(&self, at: usize) -> u32 {
        self.first + u32::try_from(at).unwrap_or(u32::MAX)
    }

    /// The address as manuals write it, `40101` or `400101`.
    fn manual(&self, at: usize) -> String {
        self.table.map_or("-".to_owned(), |table| manual(table, self.address(at)))
    }

    fn reading(&self, at: usize, value_type: ValueType, word: Order, byte: Order) -> Reading {
        let value = self.value(at, value_type, word, byte);
        let is_plausible = match value {
            Some(Value::Float { value, .. }) => value == 0.0 || PLAUSIBLE.contains(&value.abs()),
            Some(_) => true,
            None => false,
        };
        let (text, json) = match &value {
            Some(Value::Float { value, .. }) => (float(*value), json!(value)),
            Some(Value::Int(number)) => (number.to_string(), json!(number)),
            Some(Value::UInt(number)) => (number.to_string(), json!(number)),
            Some(other) => (other.to_string(), json!(other.to_string())),
            None => ("-".to_owned(), Json::Null),
        };
        Reading { text, json, is_plausible }
    }

    /// As a point of the configuration would have it.
    fn value(&self, at: usize, value_type: ValueType, word: Order, byte: Order) -> Option<Value> {
        let place = Place { table: Table::Holding, address: 0, bit: None };
        let point = PointSettings::new("it".into(), place, value_type, Duration::from_secs(1));
        let point = PointSettings { word_order: word, byte_order: byte, ..point };
        let words = self.words.get(at..at + usize::from(point.width()))?;
        let range = ReadRange::new(Table::Holding, 0, point.width()).ok()?;
        match decode(&point, range, &Data::Registers(words.to_vec())) {
            (value, Quality::Good) => value,
            _ => None,
        }
    }
}

/// An address as manuals write it: counted from 1, the table in front, six digits where five do not do.
pub(super) fn manual(table: Table, address: u32) -> String {
    let digit = match table {
        Table::Coil => 0,
        Table::DiscreteInput => 1,
        Table::Input => 3,
        Table::Holding => 4,
    };
    let number = address + 1;
    if number > 9_999 { format!("{digit}{number:05}") } else { format!("{digit}{number:04}") }
}

/// Bits, some in a line.
pub(super) fn bits_text(table: Table, first: u16, bits: &[bool]) -> String {
    let mut lines = vec![["address", "manual", "bits"].map(str::to_owned).to_vec()];
    for (line, bits) in bits.chunks(BITS_IN_LINE).enumerate() {
        let address = u32::from(first) + u32::try_from(line * BITS_IN_LINE).unwrap_or(u32::MAX);
        let shown: Vec<&str> = bits.iter().map(|bit| if *bit { "1" } else { "0" }).collect();
        lines.push(vec![address.to_string(), manual(table, address), shown.join(" ")]);
    }
    grid(&lines)
}

/// Bits for machines.
pub(super) fn bits_json(table: Table, first: u16, bits: &[bool]) -> Json {
    let bit = |(at, bit): (usize, &bool)| {
        let address = u32::from(first) + u32::try_from(at).unwrap_or(u32::MAX);
        json!({ "address": address, "manual": manual(table, address), "value": bit })
    };
    bits.iter().enumerate().map(bit).collect()
}

/// Columns as wide as they must be, to the right.
fn grid(lines: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for line in lines {
        widths.resize(widths.len().max(line.len()), 0);
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

/// Seven digits are what a single holds; more are of no use to the eye.
fn float(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else if PLAUSIBLE.contains(&value.abs()) {
        let whole = value.abs().log10().floor().max(0.0);
        // At most 8 digits stand before the point.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 8")]
        let decimals = 6 - (whole as usize).min(6);
        let text = format!("{value:.decimals$}");
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text
        }
    } else {
        format!("{value:.1e}")
    }
}

/// The two characters of a register; `.` for what is none.
fn printable(word: u16) -> String {
    let shown =
        |byte: u8| if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '.' };
    word.to_be_bytes().map(shown).iter().collect()
}

/// The number whose decimal digits stand in the half bytes; `None` if one is no digit.
fn bcd(word: u16) -> Option<u16> {
    let digits = [12, 8, 4, 0].map(|shift| word >> shift & 0xf);
    let is_number = digits.iter().all(|digit| *digit <= 9);
    is_number.then(|| digits.iter().fold(0, |number, digit| number * 10 + digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(first: u32, words: &[u16]) -> Registers<'_> {
        Registers { table: Some(Table::Holding), first, words }
    }

    #[test]
    fn a_register_is_shown_in_every_way() {
        let text = holding(100, &[0xfff6]).to_text();
        let row: Vec<&str> = text.lines().nth(1).expect("a line").split_whitespace().collect();
        assert_eq!(
            row,
            ["100", "40101", "fff6", "65526", "-10", "11111111", "11110110", "..", "-"]
        );
        let text = holding(9_999, &[0x4142, 0x1234]).to_text();
        assert!(
            text.contains("410000") && text.contains("AB") && text.contains(" 1234\n"),
            "{text}"
        );
    }

    #[test]
    fn the_right_order_of_a_float_stands_out_wherever_it_is() {
        // 230.5 is 0x43668000.
        for (order, words) in [
            ("ABCD", [0x4366, 0x8000]),
            ("CDAB", [0x8000, 0x4366]),
            ("BADC", [0x6643, 0x0080]),
            ("DCBA", [0x0080, 0x6643]),
        ] {
            let shown = holding(0, &words);
            let json = &shown.to_json()[0]["f32"];
            assert_eq!(json[order], 230.5, "{order}: {json}");
            let text = shown.to_text();
            assert!(text.contains(" 230.5"), "{text}");
            assert!(text.contains('·'), "{text}");
        }
    }

    #[test]
    fn wide_values_are_shown_where_there_are_registers_enough_and_as_a_point_would_have_them() {
        let words = [0, 0, 1, 0x86a0];
        let json = holding(10, &words).to_json();
        assert_eq!(json[0]["u64"]["ABCD"], 100_000);
        assert_eq!(json[2]["u32"]["ABCD"], 100_000);
        assert!(json[3].get("u32").is_none() && json[1].get("u64").is_none());
        assert_eq!(holding(0, &[0xffff, 0xfffe]).to_json()[0]["i32"]["ABCD"], -2);
        assert!(!holding(0, &[1]).to_text().contains("f32"));
    }

    #[test]
    fn numbers_are_as_long_as_they_are_of_use() {
        for (value, text) in [
            (230.5, "230.5"),
            (0.0, "0"),
            (-1.25, "-1.25"),
            (1e-41, "1.0e-41"),
            (123_456_789.0, "123456789"),
            (0.1, "0.1"),
            (49.987_654_3, "49.98765"),
        ] {
            assert_eq!(float(value), text);
        }
        assert_eq!((bcd(0x1234), bcd(0x12a4)), (Some(1234), None));
        assert_eq!(manual(Table::Input, 65_535), "365536");
    }

    #[test]
    fn bits_stand_sixteen_in_a_line() {
        let bits: Vec<bool> = (0..20).map(|at| at % 3 == 0).collect();
        let text = bits_text(Table::Coil, 4, &bits);
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains("00005  1 0 0 1"), "{text}");
        assert_eq!(bits_json(Table::Coil, 4, &bits)[3]["value"], true);
    }
}

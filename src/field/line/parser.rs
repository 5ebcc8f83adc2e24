//! core: which value of a point stands in a frame.

use std::cell::OnceCell;
use std::sync::Arc;

use crate::field::modbus::decode::{packed, packed_len, written};
use crate::field::{Pick, PickFrom, PointSettings, ValueType};
use crate::model::{Quality, Value};

/// A frame whose values are looked for.
#[derive(Debug)]
pub struct Content<'f> {
    bytes: &'f [u8],
    /// Read once for all points.
    json: OnceCell<Option<serde_json::Value>>,
}

/// What a point finds in a frame.
#[derive(Debug)]
enum Found {
    Text(String),
    Value((Option<Value>, Quality)),
}

impl<'f> Content<'f> {
    /// A frame with the marks at its ends.
    #[must_use]
    pub fn new(bytes: &'f [u8]) -> Self {
        Self { bytes, json: OnceCell::new() }
    }

    /// The frame.
    #[must_use]
    pub fn bytes(&self) -> &'f [u8] {
        self.bytes
    }

    /// The value of `point`; `None` if the frame is not for it.
    #[must_use]
    pub fn value(&self, point: &PointSettings, pick: &Pick) -> Option<(Option<Value>, Quality)> {
        if pick.when.as_ref().is_some_and(|when| !when.is_in(self.bytes)) {
            return None;
        }
        let text = match self.find(point, &pick.from)? {
            Found::Text(text) => text,
            Found::Value(value) => return Some(value),
        };
        if pick.invalid.iter().any(|word| is_same(word, &text)) {
            let shown = text.trim();
            let reason = format!("the device says `{shown}`, which stands for no value").into();
            return Some((None, Quality::Invalid { reason }));
        }
        let is_text = matches!(point.value_type, ValueType::Text { .. });
        if text.trim().is_empty() && !is_text {
            let reason = Arc::from("the device leaves it empty");
            return Some((None, Quality::Invalid { reason }));
        }
        if pick.decimal_comma {
            return Some(written(point, &text.replace('.', "").replace(',', ".")));
        }
        Some(written(point, &text))
    }

    fn find(&self, point: &PointSettings, from: &PickFrom) -> Option<Found> {
        let bytes = match from {
            PickFrom::Match { pattern, group } => {
                let found = pattern.find(self.bytes)?;
                let group = found.get(*group).map(|group| group.as_bytes());
                if point.value_type == ValueType::Bool {
                    let text = if group.is_some() { "1" } else { "0" };
                    return Some(Found::Text(text.to_owned()));
                }
                group?
            }
            PickFrom::Characters { first, last } => self.bytes.get(*first..=*last)?,
            PickFrom::Column { index, separator } => {
                self.bytes.split(|byte| byte == separator).nth(*index)?
            }
            PickFrom::Json(pointer) => {
                let json = self.json.get_or_init(|| serde_json::from_slice(self.bytes).ok());
                return Some(of_json(json.as_ref()?.pointer(pointer)?));
            }
            PickFrom::Bytes { at, order } => {
                let bytes = self.bytes.get(*at..)?.get(..packed_len(point.value_type))?;
                return Some(Found::Value(packed(point, bytes, *order)));
            }
        };
        Some(Found::Text(text(bytes)))
    }
}

/// What is no UTF-8 is taken as Latin-1: old devices mean that by it.
fn text(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

fn of_json(value: &serde_json::Value) -> Found {
    match value {
        serde_json::Value::String(text) => Found::Text(text.clone()),
        serde_json::Value::Bool(_) | serde_json::Value::Number(_) => Found::Text(value.to_string()),
        serde_json::Value::Null => {
            let reason = Arc::from("the device says `null`, which stands for no value");
            Found::Value((None, Quality::Invalid { reason }))
        }
        serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
            let reason = Arc::from("the pointer leads to a group, not to a value");
            Found::Value((None, Quality::OutOfRange { reason }))
        }
    }
}

/// Whether two texts are equal but for white space around them, or the same number.
fn is_same(word: &str, text: &str) -> bool {
    let (word, text) = (word.trim(), text.trim());
    let numbers = || Some((word.parse::<f64>().ok()?, text.parse::<f64>().ok()?));
    word == text || numbers().is_some_and(|(a, b)| a.total_cmp(&b).is_eq())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::{Encoding, Half, Marker, Order, Pattern, Place, Table};
    use proptest::prelude::*;
    use std::time::Duration;

    const TEXT: ValueType = ValueType::Text { length: 250, encoding: Encoding::Guess };

    fn pick(from: PickFrom) -> Pick {
        Pick { from, when: None, send: None, invalid: Vec::new(), decimal_comma: false }
    }

    fn point(value_type: ValueType) -> PointSettings {
        let place = Place { table: Table::Holding, address: 0, bit: None };
        PointSettings::new("it".into(), place, value_type, Duration::from_secs(1))
    }

    fn said(frame: &[u8], value_type: ValueType, pick: &Pick) -> Option<String> {
        say(frame, &point(value_type), pick)
    }

    fn say(frame: &[u8], point: &PointSettings, pick: &Pick) -> Option<String> {
        let (value, quality) = Content::new(frame).value(point, pick)?;
        let value = value.map_or("-".to_owned(), |value| value.to_string());
        Some(match quality.reason() {
            None => value,
            Some(reason) => format!("{value} {} {reason}", quality.word()),
        })
    }

    fn matching(pattern: &str) -> PickFrom {
        PickFrom::Match { pattern: Pattern::new(pattern).expect("right"), group: 1 }
    }

    #[test]
    fn a_group_of_an_expression_is_the_value() {
        let weight = pick(matching(r"^(?:ST|US),GS,\s*(?<value>[-+\d.\s]+)kg"));
        let f64 = ValueType::F64;
        assert_eq!(said(b"ST,GS,+  12.50kg\r\n", f64, &weight).as_deref(), Some("12.5"));
        assert_eq!(said(b"OL,GS,+  99.99kg\r\n", f64, &weight), None);
        let wrong = "- out_of_range the device says `--`, which is no number";
        assert_eq!(said(b"ST,GS,--kg\r\n", f64, &weight).as_deref(), Some(wrong));
        let comma = Pick { decimal_comma: true, ..pick(matching(r"([-\d.,]+) kg")) };
        for (text, value) in [("12,5 kg", "12.5"), ("-1.234,50 kg", "-1234.5"), ("7 kg", "7")] {
            assert_eq!(said(text.as_bytes(), f64, &comma).as_deref(), Some(value), "{text}");
        }
        let invalid = Pick { invalid: vec!["--".into(), "999.90".into()], ..weight };
        let none = "- invalid the device says `--`, which stands for no value";
        assert_eq!(said(b"ST,GS,--kg\r\n", f64, &invalid).as_deref(), Some(none));
        assert!(said(b"ST,GS,999.9kg", f64, &invalid).expect("it fits").contains("no value"));
    }

    #[test]
    fn a_bit_says_whether_its_group_takes_part() {
        let south = pick(matching(r"^\$GPGLL,[\d.]+,(?:(?<value>S)|N)"));
        assert_eq!(said(b"$GPGLL,12.3,S", ValueType::Bool, &south).as_deref(), Some("true"));
        assert_eq!(said(b"$GPGLL,12.3,N", ValueType::Bool, &south).as_deref(), Some("false"));
        assert_eq!(said(b"$GPGLL,,", ValueType::Bool, &south), None);
    }

    #[test]
    fn columns_are_fixed_or_delimited() {
        let fixed = pick(PickFrom::Characters { first: 4, last: 8 });
        assert_eq!(said(b"NET  12.5kg", ValueType::F64, &fixed).as_deref(), Some("12.5"));
        assert_eq!(said(b"NET", ValueType::F64, &fixed), None);
        let column = |index| pick(PickFrom::Column { index, separator: b';' });
        assert_eq!(said(b"a;1.5;b\r\n", ValueType::F64, &column(1)).as_deref(), Some("1.5"));
        assert_eq!(said(b"a;1.5;b\r\n", TEXT, &column(2)).as_deref(), Some("b"));
        assert_eq!(said(b"a;1.5;b\r\n", TEXT, &column(3)), None);
        let when = Some(Pattern::new("^x;").expect("right"));
        assert_eq!(said(b"a;1.5;b\r\n", TEXT, &Pick { when, ..column(2) }), None);
    }

    #[test]
    fn json_is_pointed_into() {
        let frame = br#"{"t":[{"c":21.5,"name":"hall","on":true,"x":null}]}"#;
        let json = |pointer: &str| pick(PickFrom::Json(pointer.into()));
        assert_eq!(said(frame, ValueType::F64, &json("/t/0/c")).as_deref(), Some("21.5"));
        assert_eq!(said(frame, TEXT, &json("/t/0/name")).as_deref(), Some("hall"));
        assert_eq!(said(frame, ValueType::Bool, &json("/t/0/on")).as_deref(), Some("true"));
        assert!(said(frame, TEXT, &json("/t/0/x")).expect("there").starts_with("- invalid"));
        assert!(said(frame, TEXT, &json("/t")).expect("there").contains("group"));
        assert_eq!(said(frame, TEXT, &json("/t/1/c")), None);
        assert_eq!(said(b"no json", TEXT, &json("/t")), None);
    }

    #[test]
    fn packed_numbers_have_a_place_a_type_and_an_order() {
        let frame = [0xaa, 0x01, 0xff, 0x38, 0x12, 0x34, 0x56, 0x78, b'o', b'k', b' '];
        let at = |at, order| pick(PickFrom::Bytes { at, order });
        let (big, little) = (Order::Big, Order::Little);
        assert_eq!(said(&frame, ValueType::I16, &at(2, big)).as_deref(), Some("-200"));
        assert_eq!(said(&frame, ValueType::I16, &at(2, little)).as_deref(), Some("14591"));
        assert_eq!(said(&frame, ValueType::U32, &at(4, big)).as_deref(), Some("305419896"));
        assert_eq!(said(&frame, ValueType::U32, &at(4, little)).as_deref(), Some("2018915346"));
        assert_eq!(said(&frame, ValueType::U8(Half::Low), &at(0, big)).as_deref(), Some("170"));
        let text = ValueType::Text { length: 3, encoding: Encoding::Ascii };
        assert_eq!(said(&frame, text, &at(8, little)).as_deref(), Some("ok"));
        assert_eq!(said(&frame, ValueType::U64, &at(4, big)), None, "it is not long enough");
        let mut bit = point(ValueType::Bool);
        bit.place.bit = Some(7);
        assert_eq!(say(&frame, &bit, &at(0, big)).as_deref(), Some("true"));
        bit.place.bit = Some(6);
        assert_eq!(say(&frame, &bit, &at(0, big)).as_deref(), Some("false"));
        let invalid = vec![Marker::Pattern(0xff38)];
        let marked = PointSettings { invalid, ..point(ValueType::I16) };
        assert!(say(&frame, &marked, &at(2, big)).expect("there").starts_with("- invalid"));
    }

    proptest! {
        #[test]
        fn no_frame_is_too_strange(
            frame in prop::collection::vec(any::<u8>(), 0..40),
            (first, count) in (0..50usize, 0..50usize),
            kind in 0..5u8,
            value_type in prop::sample::select(vec![
                ValueType::F64, ValueType::Bool, TEXT, ValueType::I48, ValueType::Bcd { registers: 2 },
            ]),
        ) {
            let from = match kind {
                0 => matching(r"^(\d+)|x"),
                1 => PickFrom::Characters { first, last: first + count },
                2 => PickFrom::Column { index: first, separator: frame.first().copied().unwrap_or(0) },
                3 => PickFrom::Json("/a".into()),
                _ => PickFrom::Bytes { at: first, order: Order::Little },
            };
            let _ = said(&frame, value_type, &pick(from));
        }
    }
}

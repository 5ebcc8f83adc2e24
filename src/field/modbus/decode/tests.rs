use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::field::{Encoding, Half, Marker, Place, Table, TimeLayout};

fn point(value_type: ValueType) -> PointSettings {
    let place = Place { table: Table::Holding, address: 100, bit: None };
    PointSettings::new("point".into(), place, value_type, Duration::from_secs(1))
}

fn text(length: u8) -> ValueType {
    encoded(length, Encoding::Guess)
}

fn encoded(length: u8, encoding: Encoding) -> ValueType {
    ValueType::Text { length, encoding }
}

fn time(layout: TimeLayout) -> ValueType {
    ValueType::Time { layout, offset_minutes: 0 }
}

/// Decodes registers that stand at address 100, in the middle of a longer answer.
fn full(point: &PointSettings, registers: &[u16]) -> (Option<Value>, Quality) {
    let mut all = vec![0xdead, 0xbeef];
    all.extend_from_slice(registers);
    all.push(0xdead);
    let count = u16::try_from(all.len()).expect("few");
    let range = ReadRange::new(Table::Holding, 98, count).expect("allowed");
    decode(point, range, &Data::Registers(all))
}

fn good(point: &PointSettings, registers: &[u16]) -> Value {
    match full(point, registers) {
        (Some(value), Quality::Good) => value,
        other => panic!("{other:?}"),
    }
}

fn written(point: &PointSettings, registers: &[u16]) -> String {
    good(point, registers).to_string()
}

#[test]
fn known_vectors_of_every_type_decode() {
    for (value_type, registers, text) in [
        (ValueType::I16, &[0x8000][..], "-32768"),
        (ValueType::U16, &[0x8000], "32768"),
        (ValueType::I32, &[0xffff, 0xfffe], "-2"),
        (ValueType::U32, &[0x0001, 0x0002], "65538"),
        (ValueType::U32, &[0xffff, 0xffff], "4294967295"),
        (ValueType::I64, &[0x8000, 0, 0, 0], "-9223372036854775808"),
        (ValueType::U64, &[0, 0, 0, 5], "5"),
        (ValueType::U64, &[0xffff; 4], "18446744073709551615"),
        (ValueType::F32, &[0x3dcc, 0xcccd], "0.1"),
        (ValueType::F32, &[0x42f6, 0xe979], "123.456"),
        (ValueType::F32, &[0x8000, 0x0000], "0"),
        (ValueType::F64, &[0x3ff3, 0xc0ca, 0x428c, 0x59fb], "1.2345678901234567"),
        (ValueType::F64, &[0x400c, 0, 0, 0], "3.5"),
        (ValueType::Bcd { registers: 1 }, &[0x1234], "1234"),
        (ValueType::Bcd { registers: 2 }, &[0x9999, 0x0001], "99990001"),
        (ValueType::Bcd { registers: 4 }, &[0x9999, 0x9999, 0x9999, 0x9999], "9999999999999999"),
        (text(6), &[0x4d45, 0x5445, 0x5220], "METER"),
        (text(5), &[0x4d45, 0x5445, 0x5258], "METER"),
        (text(6), &[0x4d00, 0x5445, 0x5220], "M"),
        (text(4), &[0, 0], ""),
        (text(4), &[0xc2b0, 0x4300], "°C"),
        (text(2), &[0xb043], "°C"),
        (ValueType::I8(Half::Low), &[0x7ffe], "-2"),
        (ValueType::I8(Half::High), &[0x80ff], "-128"),
        (ValueType::U8(Half::Low), &[0x01fe], "254"),
        (ValueType::U8(Half::High), &[0x01fe], "1"),
        (ValueType::U48, &[0x0001, 0x0000, 0x0002], "4294967298"),
        (ValueType::U48, &[0xffff, 0xffff, 0xffff], "281474976710655"),
        (ValueType::I48, &[0xffff, 0xffff, 0xfffd], "-3"),
        (ValueType::I48, &[0x8000, 0x0000, 0x0000], "-140737488355328"),
        (ValueType::SignMagnitude { registers: 1 }, &[0x8005], "-5"),
        (ValueType::SignMagnitude { registers: 1 }, &[0x7fff], "32767"),
        (ValueType::SignMagnitude { registers: 1 }, &[0x8000], "0"),
        (ValueType::SignMagnitude { registers: 2 }, &[0x8001, 0x0000], "-65536"),
        (ValueType::SignMagnitude { registers: 4 }, &[0x8000, 0, 0, 1], "-1"),
        (ValueType::SignMagnitude { registers: 4 }, &[0xffff; 4], "-9223372036854775807"),
        (encoded(6, Encoding::Ascii), &[0x4d45, 0x5445, 0x5220], "METER"),
        (encoded(2, Encoding::Latin1), &[0xc2b0], "\u{c2}°"),
        (encoded(2, Encoding::Utf8), &[0xc2b0], "°"),
        (encoded(8, Encoding::Utf16), &[0x20ac, 0x0020, 0xd83d, 0xde00], "€ 😀"),
        (encoded(8, Encoding::Utf16), &[0x0041, 0x0020, 0x0000, 0x0042], "A"),
        // 1234567890 and 2^32 - 1 seconds, as `date -u -d @…` writes them.
        (time(TimeLayout::Unix), &[0x4996, 0x02d2], "2009-02-13T23:31:30Z"),
        (time(TimeLayout::Unix), &[0xffff, 0xffff], "2106-02-07T06:28:15Z"),
        (time(TimeLayout::Unix), &[0, 0], "1970-01-01T00:00:00Z"),
        // 951784192 s: 2000 was a leap year.
        (time(TimeLayout::Unix), &[0x38bb, 0x1300], "2000-02-29T00:29:52Z"),
        (time(TimeLayout::UnixMs), &[0, 0x0000, 0x0000, 0x04d2], "1970-01-01T00:00:01.234Z"),
        // 2026-11-21 is a Saturday, 6 above the day; 7.123 s past 03:10.
        (time(TimeLayout::Cp56), &[26, 0x0bd5, 0x030a, 7123], "2026-11-21T03:10:07.123Z"),
        (time(TimeLayout::Cp56), &[26, 0x06d5, 0x830a, 7123], "2026-06-21T03:10:07.123+01:00"),
        (time(TimeLayout::Registers), &[2024, 2, 29, 23, 59, 59], "2024-02-29T23:59:59Z"),
        (time(TimeLayout::Registers), &[26, 11, 21, 3, 10, 0], "2026-11-21T03:10:00Z"),
        (time(TimeLayout::Bytes), &[0x1a0b, 0x1503, 0x0a00], "2026-11-21T03:10:00Z"),
        (time(TimeLayout::Bcd), &[0x2611, 0x2103, 0x1000], "2026-11-21T03:10:00Z"),
        (ValueType::Bool, &[0], "false"),
        (ValueType::Bool, &[0x0100], "true"),
    ] {
        assert_eq!(written(&point(value_type), registers), text, "{value_type:?} {registers:x?}");
    }
    assert_eq!(
        good(&point(ValueType::U64), &[0x7fff, 0xffff, 0xffff, 0xffff]),
        Value::Int(i64::MAX)
    );
    assert_eq!(good(&point(ValueType::U64), &[0x8000, 0, 0, 0]), Value::UInt(1 << 63));
}

#[test]
fn both_orders_turn_words_and_bytes() {
    // 0x01020304 in the four orders, as the tables of every meter name them.
    let orders = [
        (Order::Big, Order::Big, [0x0102, 0x0304]),       // ABCD
        (Order::Little, Order::Big, [0x0304, 0x0102]),    // CDAB
        (Order::Big, Order::Little, [0x0201, 0x0403]),    // BADC
        (Order::Little, Order::Little, [0x0403, 0x0201]), // DCBA
    ];
    for (word_order, byte_order, registers) in orders {
        let point = PointSettings { word_order, byte_order, ..point(ValueType::U32) };
        assert_eq!(good(&point, &registers), Value::Int(0x0102_0304));
    }
    let swapped = PointSettings { byte_order: Order::Little, ..point(ValueType::U16) };
    assert_eq!(good(&swapped, &[0x0201]), Value::Int(0x0102));
    let swapped = PointSettings { byte_order: Order::Little, ..point(text(4)) };
    assert_eq!(written(&swapped, &[0x454d, 0x4554]), "METE");
    let swapped = PointSettings { word_order: Order::Little, ..point(ValueType::I64) };
    assert_eq!(good(&swapped, &[1, 2, 3, 4]), Value::Int(0x0004_0003_0002_0001));
}

#[test]
fn the_time_of_iec_60870_comes_in_both_orders_and_with_the_offset_of_its_clock() {
    // As its seven bytes go over a wire, the lowest first: 7123 ms, 10, 3, 21 and Saturday, 11, 26.
    let wire = [0xd3, 0x1b, 0x0a, 0x03, 0xd5, 0x0b, 0x1a, 0x00];
    let registers: Vec<u16> =
        wire.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
    let both = PointSettings {
        word_order: Order::Little,
        byte_order: Order::Little,
        ..point(time(TimeLayout::Cp56))
    };
    assert_eq!(written(&both, &registers), "2026-11-21T03:10:07.123Z");
    for (offset_minutes, end) in [(60, "+01:00"), (-210, "-03:30"), (840, "+14:00"), (0, "Z")] {
        let value_type = ValueType::Time { layout: TimeLayout::Registers, offset_minutes };
        let told = written(&point(value_type), &[2026, 1, 2, 3, 4, 5]);
        assert_eq!(told, format!("2026-01-02T03:04:05{end}"));
    }
}

#[test]
fn several_values_make_a_list_in_the_order_of_their_addresses() {
    let list = |value_type, count| PointSettings { count: Some(count), ..point(value_type) };
    assert_eq!(written(&list(ValueType::I16, 3), &[1, 0xffff, 0]), "[1,-1,0]");
    let swapped = PointSettings { word_order: Order::Little, ..list(ValueType::U32, 2) };
    assert_eq!(written(&swapped, &[1, 0, 2, 0]), "[1,2]");
    assert_eq!(written(&list(text(2), 2), &[0x4142, 0x4300]), "[AB,C]");
    assert_eq!(written(&list(ValueType::U16, 1), &[7]), "[7]");

    let marked = PointSettings {
        invalid: vec![Marker::Pattern(0x7fff)],
        scale: 0.5,
        ..list(ValueType::I16, 4)
    };
    let (value, quality) = full(&marked, &[1, 0x7fff, 0x7fff, 4]);
    assert_eq!(value.map(|value| value.to_string()).as_deref(), Some("[0.5,null,null,2.0]"));
    assert_eq!(quality.word(), "invalid");
    assert!(quality.reason().is_some_and(|reason| reason.starts_with("value 2: ")), "{quality:?}");

    let coils = PointSettings {
        place: Place { table: Table::Coil, address: 12, bit: None },
        count: Some(3),
        ..point(ValueType::Bool)
    };
    let range = ReadRange::new(Table::Coil, 10, 6).expect("allowed");
    let bits = Data::Bits(vec![false, false, true, false, true, false]);
    let (value, quality) = decode(&coils, range, &bits);
    assert_eq!(value.map(|value| value.to_string()).as_deref(), Some("[true,false,true]"));
    assert_eq!(quality, Quality::Good);
}

#[test]
fn a_set_of_bits_is_the_list_of_those_that_are_set() {
    let bit_names = vec![(0, "overload".into()), (3, "door open".into()), (31, "fault".into())];
    let point = PointSettings { bit_names, ..point(ValueType::U32) };
    assert_eq!(written(&point, &[0, 0]), "[]");
    assert_eq!(written(&point, &[0, 0b1001]), "[overload,door open]");
    assert_eq!(written(&point, &[0x8000, 0b0100]), "[2,fault]");
}

#[test]
fn fraction_bits_stand_behind_the_binary_point() {
    let fixed = |value_type, fraction_bits, registers: &[u16]| {
        written(&PointSettings { fraction_bits, ..point(value_type) }, registers)
    };
    assert_eq!(fixed(ValueType::I16, 8, &[0x0180]), "1.5");
    assert_eq!(fixed(ValueType::I16, 15, &[0x8000]), "-1");
    assert_eq!(fixed(ValueType::I16, 15, &[0x0001]), "0.000030517578125");
    assert_eq!(fixed(ValueType::U32, 16, &[0x0003, 0x4000]), "3.25");
    assert_eq!(fixed(ValueType::SignMagnitude { registers: 1 }, 4, &[0x8018]), "-1.5");
    let scaled = PointSettings { fraction_bits: 8, scale: 100.0, ..point(ValueType::U16) };
    assert_eq!(written(&scaled, &[0x0040]), "25");
}

#[test]
fn marks_for_no_value_become_quality() {
    let invalid = |value_type, marker, registers: &[u16], word: &str| {
        let point = PointSettings { invalid: vec![marker], ..point(value_type) };
        let (value, quality) = full(&point, registers);
        assert_eq!((value, quality.word()), (None, "invalid"));
        assert!(quality.reason().is_some_and(|reason| reason.contains(word)), "{quality:?}");
    };
    invalid(ValueType::I16, Marker::Pattern(0x8000), &[0x8000], "0x8000");
    invalid(ValueType::U32, Marker::Pattern(0xffff_ffff), &[0xffff, 0xffff], "0xffffffff");
    invalid(ValueType::I48, Marker::Pattern(0x8000_0000_0000), &[0x8000, 0, 0], "0x800000000000");
    invalid(ValueType::U8(Half::High), Marker::Pattern(0xff), &[0xff00], "0xff");
    invalid(
        ValueType::SignMagnitude { registers: 1 },
        Marker::Pattern(0x8000),
        &[0x8000],
        "0x8000",
    );
    invalid(ValueType::Bcd { registers: 1 }, Marker::Pattern(0xffff), &[0xffff], "0xffff");
    invalid(ValueType::F32, Marker::NaN, &[0x7fc0, 0x0001], "NaN");
    invalid(ValueType::F64, Marker::NaN, &[0xfff8, 0, 0, 0], "NaN");
    invalid(ValueType::F32, Marker::Pattern(0xc61c_3c00), &[0xc61c, 0x3c00], "-9999");
    invalid(time(TimeLayout::Cp56), Marker::NaN, &[26, 0x0bd5, 0x038a, 0], "time is invalid");
    let little = PointSettings {
        invalid: vec![Marker::Pattern(0x8000)],
        byte_order: Order::Little,
        ..point(ValueType::I16)
    };
    assert_eq!(full(&little, &[0x0080]).1.word(), "invalid");
    assert_eq!(good(&little, &[0x8000]), Value::Int(128));
}

#[test]
fn bits_come_from_coils_and_registers() {
    let coil = PointSettings {
        place: Place { table: Table::Coil, address: 12, bit: None },
        ..point(ValueType::Bool)
    };
    let range = ReadRange::new(Table::Coil, 10, 4).expect("allowed");
    let bits = Data::Bits(vec![false, false, true, false]);
    assert_eq!(decode(&coil, range, &bits), (Some(Value::Bool(true)), Quality::Good));

    for bit in 0..16 {
        let mut point = point(ValueType::Bool);
        point.place.bit = Some(bit);
        assert_eq!(good(&point, &[1 << bit]), Value::Bool(true));
        assert_eq!(good(&point, &[!(1 << bit)]), Value::Bool(false));
    }
}

#[test]
fn scaled_numbers_have_the_digits_of_their_scale_and_no_dust() {
    let scaled = |scale, offset, decimals, number: i16| {
        let point = PointSettings { scale, offset, decimals, ..point(ValueType::I16) };
        written(&point, &[number.cast_unsigned()])
    };
    assert_eq!(scaled(0.1, 0.0, None, 3), "0.3");
    assert_eq!(scaled(0.1, 0.0, None, 214), "21.4");
    assert_eq!(scaled(0.1, 0.0, None, 210), "21.0");
    assert_eq!(scaled(0.001, 0.0, None, -7), "-0.007");
    assert_eq!(scaled(1.0, -40.0, None, 7), "-33");
    assert_eq!(scaled(0.5, 0.25, None, 3), "1.75");
    assert_eq!(scaled(10.0, 0.0, None, 21), "210");
    assert_eq!(scaled(-0.1, 0.0, None, 0), "0.0");
    assert_eq!(scaled(0.1, 0.0, Some(0), -4), "0");
    assert_eq!(scaled(0.1, 0.0, Some(2), 3), "0.30");
    assert_eq!(scaled(1.0, 0.0, Some(0), 3), "3");
    assert_eq!(scaled(1.0, 0.0, Some(1), 3), "3.0");
    assert_eq!(scaled(1.0 / 3.0, 0.0, None, 2), "0.666666666666667");

    let point = PointSettings { scale: 0.1, ..point(ValueType::I16) };
    assert_eq!(good(&point, &[3]), Value::Float { value: 0.3, decimals: Some(1) });
}

#[test]
fn scaled_floats_keep_the_precision_of_their_type() {
    let float = |scale, decimals, number: f32| {
        let point = PointSettings { scale, decimals, ..point(ValueType::F32) };
        let bits = number.to_bits();
        written(&point, &[(bits >> 16) as u16, (bits & 0xffff) as u16])
    };
    assert_eq!(float(0.1, None, 3.0), "0.3");
    assert_eq!(float(1000.0, None, 0.1), "100");
    assert_eq!(float(1.0, Some(2), 230.456), "230.46");
    assert_eq!(float(1.0, None, 230.456), "230.456");
}

#[test]
fn names_go_by_the_number_before_scaling_and_others_stay_numbers() {
    let names = vec![(-1, "fault".into()), (0, "off".into()), (1, "heating".into())];
    let point = PointSettings { names: names.clone(), ..point(ValueType::I16) };
    assert_eq!(written(&point, &[0]), "off");
    assert_eq!(good(&point, &[0xffff]), Value::Text("fault".into()));
    assert_eq!(good(&point, &[7]), Value::Int(7));
    let scaled = PointSettings { scale: 0.1, ..point };
    assert_eq!(written(&scaled, &[1]), "heating");
    assert_eq!(written(&scaled, &[7]), "0.7");
    let bit = PointSettings { names, ..self::point(ValueType::Bool) };
    assert_eq!(written(&bit, &[1]), "heating");
}

#[test]
fn what_is_no_number_is_out_of_range_and_has_no_value() {
    let bad = |point: &PointSettings, registers: &[u16], word: &str| {
        let (value, quality) = full(point, registers);
        assert_eq!((value, quality.word()), (None, "out_of_range"));
        assert!(quality.reason().is_some_and(|reason| reason.contains(word)), "{quality:?}");
    };
    bad(&point(ValueType::F32), &[0x7fc0, 0], "NaN");
    bad(&point(ValueType::F32), &[0xff80, 0], "-inf");
    bad(&point(ValueType::F64), &[0x7ff0, 0, 0, 0], "inf");
    bad(&point(ValueType::Bcd { registers: 1 }), &[0x123a], "0x123a");
    bad(&point(ValueType::Bcd { registers: 2 }), &[0x00f0, 0x0001], "0x00f00001");
    bad(&point(encoded(2, Encoding::Ascii)), &[0x41b0], "0xb0");
    bad(&point(encoded(2, Encoding::Utf8)), &[0x41b0], "0xb0");
    bad(&point(encoded(2, Encoding::Utf16)), &[0xd800], "0xd800");
    bad(&point(time(TimeLayout::Registers)), &[2023, 2, 29, 0, 0, 0], "2023-02-29");
    bad(&point(time(TimeLayout::Registers)), &[2023, 0, 1, 0, 0, 0], "2023-00-01");
    bad(&point(time(TimeLayout::Registers)), &[2023, 1, 1, 24, 0, 0], "24:00:00");
    bad(&point(time(TimeLayout::Bcd)), &[0x2a01, 0x0100, 0x0000], "2a01");
    bad(&point(time(TimeLayout::UnixMs)), &[0xffff; 4], "9999");
    let point = PointSettings { scale: 1e300, ..point(ValueType::F64) };
    bad(&point, &[0x7fe0, 0, 0, 0], "too large");
}

proptest! {
    #[test]
    fn whole_numbers_survive_every_order(number in any::<i64>(), word in any::<bool>(), byte in any::<bool>()) {
        let order = |little| if little { Order::Little } else { Order::Big };
        let point = PointSettings {
            word_order: order(word), byte_order: order(byte), ..point(ValueType::I64)
        };
        let mut registers: Vec<u16> =
            number.to_be_bytes().as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
        if byte { registers.iter_mut().for_each(|register| *register = register.swap_bytes()) }
        if word { registers.reverse() }
        prop_assert_eq!(good(&point, &registers), Value::Int(number));
    }

    #[test]
    fn singles_are_written_as_short_as_they_can_be(bits in any::<u32>()) {
        let float = f32::from_bits(bits);
        prop_assume!(float.is_finite() && float != 0.0);
        let text = written(&point(ValueType::F32), &[(bits >> 16) as u16, (bits & 0xffff) as u16]);
        prop_assert_eq!(text.parse::<f32>().expect("a number"), float);
        prop_assert_eq!(text, float.to_string());
    }

    #[test]
    fn any_registers_give_a_finite_value_or_a_reason(
        registers in proptest::collection::vec(any::<u16>(), 8),
        value_type in any_type(),
        scale in any::<f64>().prop_filter("config refuses others", |scale| scale.is_finite()),
        decimals in proptest::option::of(0..=17u8),
        (word, byte) in any::<(bool, bool)>(),
        (fraction_bits, marker) in (0..=63u8, any::<u64>()),
        (has_bit_names, is_list) in any::<(bool, bool)>(),
    ) {
        let order = |little| if little { Order::Little } else { Order::Big };
        let bit_names = if has_bit_names { vec![(3, "three".into())] } else { Vec::new() };
        let invalid = vec![Marker::Pattern(marker), Marker::NaN];
        let count = is_list.then(|| 8 / value_type.registers());
        let (word_order, byte_order) = (order(word), order(byte));
        let point = PointSettings {
            scale, decimals, word_order, byte_order, fraction_bits, bit_names, invalid, count,
            ..point(value_type)
        };
        let check = |value: &Value| -> Result<(), TestCaseError> {
            match value {
                Value::Float { value, .. } => prop_assert!(value.is_finite()),
                Value::Text(text) => prop_assert!(!text.ends_with(' ')),
                Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::List(_) => {}
            }
            Ok(())
        };
        match full(&point, &registers) {
            (Some(Value::List(values)), quality) => {
                values.iter().flatten().try_for_each(check)?;
                prop_assert_eq!(values.iter().all(Option::is_some), quality == Quality::Good);
            }
            (Some(value), quality) => {
                check(&value)?;
                prop_assert_eq!(quality, Quality::Good);
            }
            (None, quality) => prop_assert!(matches!(quality.word(), "out_of_range" | "invalid")),
        }
    }

    #[test]
    fn any_second_since_1970_is_written_as_the_clock_of_this_house_writes_it(
        seconds in any::<u32>(), unix_ms in 0..253_402_300_800_000u64,
    ) {
        let halves = |number: u64| [48, 32, 16, 0].map(|shift| (number >> shift & 0xffff) as u16);
        let [.., high, low] = halves(seconds.into());
        let at = crate::model::Timestamp::from_unix_ms(u64::from(seconds) * 1_000).to_string();
        prop_assert_eq!(written(&point(time(TimeLayout::Unix)), &[high, low]), at.replace(".000", ""));
        let at = crate::model::Timestamp::from_unix_ms(unix_ms).to_string();
        prop_assert_eq!(written(&point(time(TimeLayout::UnixMs)), &halves(unix_ms)), at);
    }
}

fn any_type() -> impl Strategy<Value = ValueType> {
    let encodings =
        [Encoding::Guess, Encoding::Ascii, Encoding::Latin1, Encoding::Utf8, Encoding::Utf16];
    let layouts = [
        TimeLayout::Unix,
        TimeLayout::UnixMs,
        TimeLayout::Cp56,
        TimeLayout::Registers,
        TimeLayout::Bytes,
        TimeLayout::Bcd,
    ];
    let plain = [
        ValueType::Bool,
        ValueType::I8(Half::High),
        ValueType::U8(Half::Low),
        ValueType::I16,
        ValueType::U16,
        ValueType::I32,
        ValueType::U32,
        ValueType::I48,
        ValueType::U48,
        ValueType::I64,
        ValueType::U64,
        ValueType::F32,
        ValueType::F64,
    ];
    let wide = proptest::sample::select(vec![1, 2, 4]);
    prop_oneof![
        4 => proptest::sample::select(plain.to_vec()),
        1 => wide.clone().prop_map(|registers| ValueType::Bcd { registers }),
        1 => wide.prop_map(|registers| ValueType::SignMagnitude { registers }),
        1 => (1..=16u8, proptest::sample::select(encodings.to_vec()))
            .prop_map(|(length, encoding)| encoded(length, encoding)),
        1 => (proptest::sample::select(layouts.to_vec()), -840..=840i16)
            .prop_map(|(layout, offset_minutes)| ValueType::Time { layout, offset_minutes }),
    ]
}

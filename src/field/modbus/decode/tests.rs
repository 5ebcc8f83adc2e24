use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::field::{Place, Table};

fn point(value_type: ValueType) -> PointSettings {
    PointSettings {
        name: "point".into(),
        place: Place { table: Table::Holding, address: 100, bit: None },
        value_type,
        word_order: Order::Big,
        byte_order: Order::Big,
        scale: 1.0,
        offset: 0.0,
        decimals: None,
        unit: None,
        names: Vec::new(),
        every: Duration::from_secs(1),
    }
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
        (ValueType::Text { length: 6 }, &[0x4d45, 0x5445, 0x5220], "METER"),
        (ValueType::Text { length: 5 }, &[0x4d45, 0x5445, 0x5258], "METER"),
        (ValueType::Text { length: 6 }, &[0x4d00, 0x5445, 0x5220], "M"),
        (ValueType::Text { length: 4 }, &[0, 0], ""),
        (ValueType::Text { length: 4 }, &[0xc2b0, 0x4300], "°C"),
        (ValueType::Text { length: 2 }, &[0xb043], "°C"),
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
    let swapped =
        PointSettings { byte_order: Order::Little, ..point(ValueType::Text { length: 4 }) };
    assert_eq!(written(&swapped, &[0x454d, 0x4554]), "METE");
    let swapped = PointSettings { word_order: Order::Little, ..point(ValueType::I64) };
    assert_eq!(good(&swapped, &[1, 2, 3, 4]), Value::Int(0x0004_0003_0002_0001));
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
        scale in any::<f64>().prop_filter("config refuses others", |scale| scale.is_finite()),
        decimals in proptest::option::of(0..=17u8),
    ) {
        for value_type in [
            ValueType::Bool, ValueType::I16, ValueType::U64, ValueType::F32, ValueType::F64,
            ValueType::Bcd { registers: 4 }, ValueType::Text { length: 15 },
        ] {
            let point = PointSettings { scale, decimals, ..point(value_type) };
            match full(&point, &registers) {
                (Some(Value::Float { value, .. }), Quality::Good) => prop_assert!(value.is_finite()),
                (Some(_), quality) => prop_assert_eq!(quality, Quality::Good),
                (None, quality) => prop_assert_eq!(quality.word(), "out_of_range"),
            }
        }
    }
}

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::field::{Marker, Place};

fn point(table: Table, value_type: ValueType) -> PointSettings {
    let place = Place { table, address: 10, bit: None };
    let writable = Some(Writable::default());
    PointSettings {
        writable,
        ..PointSettings::new("p".into(), place, value_type, Duration::from_secs(1))
    }
}

fn holding(value_type: ValueType) -> PointSettings {
    point(Table::Holding, value_type)
}

fn text(text: &str) -> Wish {
    Wish::Text(text.to_owned())
}

fn what(point: &PointSettings, wish: &Wish) -> What {
    encode(point, wish).expect("it can be that").write.what().clone()
}

fn refusal(point: &PointSettings, wish: &Wish) -> String {
    encode(point, wish).expect_err("it cannot be that").to_string()
}

#[test]
fn a_number_goes_back_through_scale_and_offset_to_the_nearest_step() {
    let tenths = PointSettings { scale: 0.1, offset: -5.0, ..holding(ValueType::I16) };
    assert_eq!(what(&tenths, &Wish::Float(21.4)), What::Register(264));
    assert_eq!(what(&tenths, &Wish::Whole(-6)), What::Register(10u16.wrapping_neg()));
    let setting = encode(&tenths, &Wish::Float(21.44)).expect("it can be that");
    assert_eq!(setting.value, Value::Float { value: 21.4, decimals: Some(1) });
    assert_eq!(setting.otherwise.map(|it| it.function()), Some(16));
    assert_eq!(what(&tenths, &text("21.4")), What::Register(264));
    let fixed = PointSettings { fraction_bits: 4, ..holding(ValueType::U16) };
    assert_eq!(what(&fixed, &Wish::Float(2.5)), What::Register(40));
}

#[test]
fn what_a_point_cannot_be_is_refused_by_its_reason() {
    let plain = holding(ValueType::U16);
    assert_eq!(refusal(&plain, &Wish::Float(1.5)), "1.5 is not a whole number");
    let beyond = "this takes 65536 in the register, which holds 0 to 65535";
    assert_eq!(refusal(&plain, &Wish::Whole(65_536)), beyond);
    assert!(refusal(&plain, &Wish::Float(1e300)).contains("which holds 0 to 65535"));
    assert_eq!(refusal(&plain, &text("warm")), "`warm` is not a number");
    assert_eq!(refusal(&plain, &Wish::Bool(true)), "true is not a number");
    let marked = PointSettings { invalid: vec![Marker::Pattern(0x8000)], ..plain.clone() };
    assert!(refusal(&marked, &Wish::Whole(0x8000)).contains("stands for no value"));
    assert_eq!(
        refusal(&PointSettings { writable: None, ..plain }, &Wish::Whole(1)),
        "this point is not `writable`"
    );
}

#[test]
fn limits_hold_for_what_is_asked_and_for_what_would_come_of_it() {
    let writable = Some(Writable { min: Some(20.0), max: Some(79.95), ..Writable::default() });
    let point = PointSettings { scale: 0.1, writable, ..holding(ValueType::I16) };
    assert_eq!(refusal(&point, &Wish::Whole(19)), "19 is below 20, the limit of this point");
    assert_eq!(refusal(&point, &Wish::Whole(80)), "80 is above 79.95, the limit of this point");
    assert_eq!(refusal(&point, &Wish::Float(79.95)), "80 is above 79.95, the limit of this point");
    assert_eq!(what(&point, &Wish::Float(79.9)), What::Register(799));
}

#[test]
fn names_and_words_stand_for_numbers_and_bits() {
    let names = vec![(0, Arc::from("off")), (1, Arc::from("heating")), (2, Arc::from("fault"))];
    let state = PointSettings { names, ..holding(ValueType::U16) };
    assert_eq!(what(&state, &text("Heating")), What::Register(1));
    assert_eq!(what(&state, &Wish::Whole(2)), What::Register(2));
    assert_eq!(refusal(&state, &Wish::Whole(3)), "3 is none of off, heating, fault");
    assert_eq!(refusal(&state, &text("hot")), "`hot` is none of off, heating, fault");
    let coil = point(Table::Coil, ValueType::Bool);
    for (wish, on) in
        [(Wish::Bool(true), true), (Wish::Whole(0), false), (text("ON"), true), (text("no"), false)]
    {
        assert_eq!(what(&coil, &wish), What::Coil(on));
    }
    assert_eq!(refusal(&coil, &text("open")), "`open` is not true or false");
    let valve =
        PointSettings { names: vec![(0, "closed".into()), (1, "open".into())], ..coil.clone() };
    assert_eq!(what(&valve, &text("open")), What::Coil(true));
    let three = PointSettings { count: Some(3), ..coil };
    let list = Wish::List(vec![Wish::Bool(true), Wish::Whole(0), text("on")]);
    assert_eq!(what(&three, &list), What::Coils(vec![true, false, true]));
    assert_eq!(refusal(&three, &Wish::Bool(true)), "this point is a list of 3 values");
}

#[test]
fn a_part_of_a_register_leaves_the_rest_of_it_alone() {
    let mut bit = holding(ValueType::Bool);
    bit.place.bit = Some(3);
    assert_eq!(what(&bit, &Wish::Bool(true)), What::Mask { keep: !8, set: 8 });
    let write = encode(&bit, &Wish::Bool(false)).expect("it can be that").write;
    assert_eq!(masked(&write, 0xffff).map(|it| it.what().clone()), Some(What::Register(0xfff7)));
    let high = holding(ValueType::I8(Half::High));
    assert_eq!(what(&high, &Wish::Whole(-1)), What::Mask { keep: 0x00ff, set: 0xff00 });
    let swapped = PointSettings { byte_order: Order::Little, ..high };
    assert_eq!(what(&swapped, &Wish::Whole(-1)), What::Mask { keep: 0xff00, set: 0x00ff });
}

#[test]
fn a_text_is_padded_and_never_cut() {
    let name = holding(ValueType::Text { length: 5, encoding: Encoding::Guess });
    assert_eq!(what(&name, &text("abc")), What::Registers(vec![0x6162, 0x6300, 0]));
    assert!(refusal(&name, &text("abcdef")).contains("5 bytes"));
    let ascii = holding(ValueType::Text { length: 5, encoding: Encoding::Ascii });
    assert_eq!(refusal(&ascii, &text("é")), "`é` is no ASCII");
}

proptest! {
    #[test]
    fn what_is_sent_reads_back_as_what_was_asked(number in any::<i64>(), kind in 0..10usize, little: bool, swapped: bool) {
        let kinds = [
            ValueType::I16, ValueType::U16, ValueType::I32, ValueType::U32, ValueType::I48, ValueType::U48,
            ValueType::I64, ValueType::U64, ValueType::SignMagnitude { registers: 2 }, ValueType::Bcd { registers: 2 },
        ];
        let order = |is_little| if is_little { Order::Little } else { Order::Big };
        let point = PointSettings { word_order: order(little), byte_order: order(swapped), ..holding(kinds[kind]) };
        for number in [number, number >> 20, number >> 34, number >> 50] {
            let Ok(setting) = encode(&point, &Wish::Whole(number.into())) else { continue };
            prop_assert_eq!(setting.value, Value::Int(number));
        }
    }

    #[test]
    fn floats_survive_the_round(number in -1e30f64..1e30) {
        let double = encode(&holding(ValueType::F64), &Wish::Float(number)).expect("it can be that");
        prop_assert_eq!(double.value, Value::Float { value: number, decimals: None });
        let single = encode(&holding(ValueType::F32), &Wish::Float(number)).expect("it can be that");
        let Value::Float { value, .. } = single.value else { panic!() };
        prop_assert!((value - number).abs() <= number.abs() * 1e-6);
    }
}

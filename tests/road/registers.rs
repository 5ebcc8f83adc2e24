//! What another library puts into registers is what we take out of them.

use std::time::Duration;

use fieldpost::field::modbus::decode::decode;
use fieldpost::field::modbus::pdu::{Data, ReadRange};
use fieldpost::field::{Encoding, Order, Place, PointSettings, Table, ValueType};
use fieldpost::model::{Quality, Value};

use crate::support;

#[test]
fn every_value_that_pymodbus_puts_into_registers_comes_out_again() {
    let mut command = support::script("pymodbus_registers.py");
    let output = command.args(["20261121", "900"]).output().expect("pymodbus runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("text");
    assert_eq!(lines.lines().count(), 900);
    for line in lines.lines() {
        let told: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let registers = told["registers"].as_array().expect("a list").iter();
        let register = |it: &serde_json::Value| it.as_u64().and_then(|it| u16::try_from(it).ok());
        let registers: Vec<u16> = registers.map(|it| register(it).expect("a register")).collect();
        let place = Place { table: Table::Holding, address: 0, bit: None };
        let value_type = value_type(&told, registers.len());
        let every = Duration::from_secs(1);
        let point = PointSettings {
            word_order: if told["word_order"] == "big" { Order::Big } else { Order::Little },
            count: told["value"].as_array().map(|_| 3),
            ..PointSettings::new("it".into(), place, value_type, every)
        };
        let count = u16::try_from(registers.len()).expect("few");
        let range = ReadRange::new(Table::Holding, 0, count).expect("allowed");
        let (value, quality) = decode(&point, range, &Data::Registers(registers));
        assert_eq!(quality, Quality::Good, "{line}");
        assert!(is_same(&value.expect("there is one"), &told["value"]), "{line}");
    }
}

fn value_type(told: &serde_json::Value, registers: usize) -> ValueType {
    match told["type"].as_str().expect("a name") {
        "INT16" => ValueType::I16,
        "UINT16" => ValueType::U16,
        "INT32" => ValueType::I32,
        "UINT32" => ValueType::U32,
        "INT64" => ValueType::I64,
        "UINT64" => ValueType::U64,
        "FLOAT32" => ValueType::F32,
        "FLOAT64" => ValueType::F64,
        "STRING" => ValueType::Text {
            length: u8::try_from(registers * 2).expect("short"),
            encoding: match told["encoding"].as_str().expect("a name") {
                "ascii" => Encoding::Ascii,
                "latin-1" => Encoding::Latin1,
                "utf-8" => Encoding::Utf8,
                _ => Encoding::Utf16,
            },
        },
        other => panic!("{other}"),
    }
}

fn is_same(value: &Value, told: &serde_json::Value) -> bool {
    match value {
        Value::Bool(bit) => told == bit,
        Value::Int(int) => told == int,
        Value::UInt(int) => told == int,
        // Singles are written as short as they can be.
        Value::Float { value, .. } => told.as_f64().is_some_and(|told| {
            let (single, told_single) = (*value as f32, told as f32);
            // The reader of this JSON may be off by the last bit.
            let is_near = (told - value).abs() <= told.abs() * f64::EPSILON;
            is_near || told_single.is_finite() && told_single.to_bits() == single.to_bits()
        }),
        Value::Text(text) => told == &**text,
        Value::List(values) => told.as_array().is_some_and(|told| {
            told.len() == values.len()
                && values
                    .iter()
                    .zip(told)
                    .all(|(value, told)| value.as_ref().is_some_and(|value| is_same(value, told)))
        }),
    }
}

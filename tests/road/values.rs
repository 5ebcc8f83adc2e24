//! Every data type in every order, over every kind of bus, arrives exactly as the device holds it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::support::{self, ModbusServer, Mosquitto, Received, Site, Subscriber, wait_until};

/// One kind of value: name, keys of the point, bytes on the wire in natural order, the JSON expected.
type Kind = (&'static str, &'static str, Vec<u8>, &'static str);

fn kinds() -> Vec<Kind> {
    vec![
        ("i16", "type: i16", (-12345i16).to_be_bytes().to_vec(), "-12345"),
        ("u16", "type: u16", 65535u16.to_be_bytes().to_vec(), "65535"),
        ("untyped", "unit: V", 513u16.to_be_bytes().to_vec(), "513"),
        ("i32", "type: i32", (-2_023_456_789i32).to_be_bytes().to_vec(), "-2023456789"),
        ("u32", "type: u32", 4_023_456_789u32.to_be_bytes().to_vec(), "4023456789"),
        ("i64", "type: i64", (i64::MIN + 1).to_be_bytes().to_vec(), "-9223372036854775807"),
        ("u64", "type: u64", (u64::MAX - 1).to_be_bytes().to_vec(), "18446744073709551614"),
        ("f32", "type: f32", 3.75159f32.to_be_bytes().to_vec(), "3.75159"),
        ("f32_small", "type: f32", (-1.5e-5f32).to_be_bytes().to_vec(), "-0.000015"),
        ("f64", "type: f64", 2.818_281_828_459_045f64.to_be_bytes().to_vec(), "2.818281828459045"),
        ("bcd4", "type: bcd, digits: 4", vec![0x98, 0x76], "9876"),
        ("bcd8", "type: bcd, digits: 8", vec![0x12, 0x34, 0x56, 0x78], "12345678"),
        (
            "bcd16",
            "type: bcd, digits: 16",
            vec![0x12, 0x34, 0x56, 0x78, 0x90, 0x12, 0x34, 0x56],
            "1234567890123456",
        ),
        ("text", "type: string, length: 8", "Pümpe-7".as_bytes().to_vec(), "\"Pümpe-7\""),
        ("text_odd", "type: string, length: 5", b"ab\"cd".to_vec(), "\"ab\\\"cd\""),
        ("bit_set", "bit: 11", 0x0800u16.to_be_bytes().to_vec(), "true"),
        ("bit_clear", "bit: 3", 0xfff7u16.to_be_bytes().to_vec(), "false"),
        ("scaled", "type: i16, scale: 0.1", (-215i16).to_be_bytes().to_vec(), "-21.5"),
        (
            "shifted",
            "type: u32, scale: 0.01, offset: -5, decimals: 3",
            2000u32.to_be_bytes().to_vec(),
            "15.000",
        ),
        ("rounded", "type: f32, decimals: 1", 230.26f32.to_be_bytes().to_vec(), "230.3"),
        ("named", "enum: { 0: off, 1: heating }", 1u16.to_be_bytes().to_vec(), "\"heating\""),
        ("u8_high", "type: u8, byte: high", vec![0xfe, 0x01], "254"),
        ("i8_low", "type: i8", vec![0x01, 0xfe], "-2"),
        ("u48", "type: u48", 281_474_976_710_654u64.to_be_bytes()[2..].to_vec(), "281474976710654"),
        (
            "i48",
            "type: i48",
            (-140_737_488_355_327i64).to_be_bytes()[2..].to_vec(),
            "-140737488355327",
        ),
        ("sm32", "type: sm32", vec![0x80, 0x01, 0x00, 0x02], "-65538"),
        ("fixed", "type: i16, fraction_bits: 8", vec![0xfe, 0x80], "-1.5"),
        (
            "bit_set_names",
            "bits: { 0: overload, 3: door }",
            vec![0x80, 0x09],
            "[\"overload\",\"door\",15]",
        ),
        ("list", "type: i16, count: 1, invalid: 0x8000", vec![0xff, 0xfe], "[-2]"),
        (
            "unix",
            "type: time, layout: unix",
            1_795_230_600u32.to_be_bytes().to_vec(),
            "\"2026-11-21T03:10:00Z\"",
        ),
        (
            "cp56",
            "type: time, layout: cp56, utc_offset: \"+01:00\"",
            vec![0, 26, 11, 0xd5, 3, 10, 0x1b, 0xd3],
            "\"2026-11-21T03:10:07.123+01:00\"",
        ),
        (
            "utf_16",
            "type: string, length: 8, encoding: utf-16",
            vec![0, 0x50, 0, 0xfc, 0x20, 0xac, 0, 0],
            "\"Pü€\"",
        ),
        (
            "latin_1",
            "type: string, length: 4, encoding: latin-1",
            vec![0x50, 0xfc, 0x6d, 0x70],
            "\"Pümp\"",
        ),
        ("unnamed", "enum: { 0: off, 1: heating }", 7u16.to_be_bytes().to_vec(), "7"),
    ]
}

/// A device's registers and bits, the YAML of its points, and what each point must say.
#[derive(Default)]
struct Everything {
    bank: Vec<(&'static str, u16, u16)>,
    points: String,
    expected: BTreeMap<String, &'static str>,
}

impl Everything {
    fn new() -> Self {
        let mut all = Self::default();
        for table in ["holding", "input"] {
            let mut address = 100;
            for kind in kinds() {
                let words = kind.2.len().div_ceil(2);
                let is_text = kind.1.contains("string");
                for word_order in ["big", "little"] {
                    if word_order == "little" && (words == 1 || is_text) {
                        continue;
                    }
                    for byte_order in ["big", "little"] {
                        all.add(table, &mut address, &kind, word_order, byte_order);
                    }
                }
            }
        }
        for (table, address, bit) in [
            ("coil", 3, 1),
            ("coil", 4, 0),
            ("coil", 20, 1),
            ("discrete", 0, 0),
            ("discrete", 1, 1),
        ] {
            all.bank.push((table, address, bit));
            let name = format!("{table}-{address}");
            writeln!(all.points, "      {name}: {{ {table}: {address} }}").unwrap();
            all.expected.insert(name, if bit == 1 { "true" } else { "false" });
        }
        all
    }

    fn add(
        &mut self,
        table: &'static str,
        address: &mut u16,
        (name, keys, bytes, json): &Kind,
        word_order: &str,
        byte_order: &str,
    ) {
        let mut bytes = bytes.clone();
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        let mut words: Vec<[u8; 2]> = bytes.chunks(2).map(|pair| [pair[0], pair[1]]).collect();
        let mut orders = String::new();
        if word_order == "little" {
            words.reverse();
            orders.push_str(", word_order: little");
        }
        if byte_order == "little" {
            words.iter_mut().for_each(|word| word.reverse());
            orders.push_str(", byte_order: little");
        }
        let name = format!("{table}-{name}-{word_order}-{byte_order}");
        writeln!(self.points, "      {name}: {{ {table}: {address}, {keys}{orders} }}").unwrap();
        self.expected.insert(name, json);
        for word in words {
            self.bank.push((table, *address, u16::from_be_bytes(word)));
            *address += 1;
        }
    }
}

/// Every good reading says what was set; gives how many points were seen.
fn check(all: &Everything, messages: &[Received]) -> usize {
    let mut seen = BTreeMap::new();
    for message in messages {
        let mut levels = message.topic.split('/').skip(1);
        let (Some(device), Some(point)) = (levels.next(), levels.next()) else { continue };
        let Some(json) = all.expected.get(point) else { continue };
        let begin = format!("{{\"value\":{json},");
        assert!(
            message.payload.starts_with(&begin) && message.payload.contains("\"quality\":\"good\""),
            "{}: {} instead of {json}",
            message.topic,
            message.payload
        );
        seen.insert((device.to_owned(), point.to_owned()), ());
    }
    seen.len()
}

#[test]
fn every_type_and_order_arrives_as_set_over_rtu_and_tcp_from_two_libraries() {
    let all = Everything::new();
    let (line, other_line) = (support::pty_pair(), support::pty_pair());
    let _rtu = ModbusServer::pymodbus_rtu(&line.far(), 17, &all.bank, None);
    let _rtu_too = ModbusServer::libmodbus_rtu(&other_line.far(), 247, &all.bank);
    let tcp = ModbusServer::pymodbus_tcp(&all.bank, None);
    let tcp_too = ModbusServer::libmodbus_tcp(&all.bank);
    let broker = Mosquitto::start();
    let paho = Subscriber::paho(broker.port(), "far", "gw/#");
    let mosquitto = support::mosquitto_sub(broker.port(), "gw/#", &["-q", "2", "-V", "mqttv311"]);
    let site = Site::new();
    let points = &all.points;
    site.write_config(&format!(
        "gateway: {{ id: gw, state_dir: \"{{state}}\" }}
buses:
  line: {{ modbus-rtu: \"{}\", timeout: 5s }}
  other: {{ modbus-rtu: \"{}\", timeout: 5s }}
  tcp: {{ modbus-tcp: \"127.0.0.1:{}\", timeout: 5s }}
  tcp-too: {{ modbus-tcp: \"127.0.0.1:{}\", timeout: 5s }}
devices:
  pymodbus-rtu:
    bus: line
    unit: 17
    points: &all
{points}
  libmodbus-rtu: {{ bus: other, unit: 247, points: *all }}
  pymodbus-tcp: {{ bus: tcp, unit: 1, points: *all }}
  libmodbus-tcp: {{ bus: tcp-too, unit: 1, points: *all }}
uplinks:
  far: {{ url: \"{}\", qos: 2 }}
",
        line.near().display(),
        other_line.near().display(),
        tcp.port(),
        tcp_too.port(),
        broker.url(),
    ));
    let mut gateway = site.start();
    let wanted = 4 * all.expected.len();
    for far in [&paho, &mosquitto] {
        wait_until("every point of every device arrives", || {
            assert!(!gateway.process().has_ended(), "{}", gateway.log());
            check(&all, &far.received()) == wanted
        });
    }
    assert!(gateway.sigterm().success(), "{}", gateway.log());
}

#[test]
fn what_changes_at_the_device_changes_at_the_broker() {
    let line = support::pty_pair();
    let device = ModbusServer::pymodbus_rtu(&line.far(), 3, &[("holding", 9, 7)], Some(40));
    let broker = Mosquitto::start();
    let far = Subscriber::paho(broker.port(), "far", "gw/meter/count");
    let site = Site::new();
    site.write_config(&format!(
        "gateway: {{ id: gw, state_dir: \"{{state}}\" }}
buses: {{ line: {{ modbus-rtu: \"{}\", timeout: 5s }} }}
devices:
  meter:
    {{ bus: line, unit: 3, every: 50ms, points: {{ count: {{ holding: 40, type: u32 }} }} }}
uplinks: {{ far: {{ url: \"{}\", qos: 2 }} }}
",
        line.near().display(),
        broker.url(),
    ));
    let mut gateway = site.start();
    far.wait_for(20);
    assert!(gateway.sigterm().success(), "{}", gateway.log());
    let answered: Vec<u64> = device.counted().into_iter().map(u64::from).collect();
    // The broker has them all; they may be on their way from there.
    wait_until("all of it arrives", || far.received().len() >= answered.len());
    let got: Vec<u64> = crate::reading::readings(&far.stop())
        .iter()
        .map(|reading| reading.value.as_u64().expect("a number"))
        .collect();
    assert_eq!(got, answered);
}

#[test]
fn only_news_arrives_and_the_value_before_a_jump_with_it() {
    let line = support::pty_pair();
    let device = ModbusServer::pymodbus_rtu(&line.far(), 3, &[("holding", 9, 7)], Some(40));
    let broker = Mosquitto::start();
    let far = Subscriber::paho(broker.port(), "far", "gw/meter/+");
    let site = Site::new();
    site.write_config(&format!(
        "gateway: {{ id: gw, state_dir: \"{{state}}\" }}
buses: {{ line: {{ modbus-rtu: \"{}\", timeout: 5s }} }}
devices:
  meter:
    bus: line
    unit: 3
    every: 20ms
    report: change
    points:
      count: {{ holding: 40, type: u32, report: {{ change: 5, before_jump: true }} }}
      still: {{ holding: 9 }}
uplinks: {{ far: {{ url: \"{}\", qos: 2 }} }}
",
        line.near().display(),
        broker.url(),
    ));
    let mut gateway = site.start();
    let counts = || {
        let readings = crate::reading::readings(&far.received());
        readings.iter().filter(|reading| reading.topic == "gw/meter/count").count()
    };
    wait_until("some jumps arrive", || counts() >= 12);
    assert!(gateway.sigterm().success(), "{}", gateway.log());
    // What the device answered, one by one: of each five steps the last before the jump and the jump.
    let mut expected: Vec<u64> = Vec::new();
    let mut told: Option<u64> = None;
    for answered in device.counted().into_iter().map(u64::from) {
        match told {
            Some(last) if answered - last < 5 => continue,
            Some(_) => expected.extend([answered - 1, answered]),
            None => expected.push(answered),
        }
        told = Some(answered);
    }
    // The broker has them all; they may be on their way from there.
    wait_until("all of it arrives", || counts() >= expected.len());
    let got = crate::reading::readings(&far.stop());
    let (count, still): (Vec<_>, Vec<_>) =
        got.iter().partition(|reading| reading.topic == "gw/meter/count");
    let got: Vec<u64> = count.iter().map(|it| it.value.as_u64().expect("a number")).collect();
    assert_eq!(got, expected);
    assert_eq!(still.len(), 1, "it never changed: {still:?}");
}

#[test]
fn points_made_of_others_arrive_with_the_value_and_quality_of_their_parts() {
    let bank = [
        ("holding", 10, 2301),
        ("holding", 11, (-1i16).cast_unsigned()),
        ("holding", 12, 0x8000),
        ("input", 10, 7),
    ];
    let mut device = ModbusServer::pymodbus_tcp(&bank, None);
    let broker = Mosquitto::start();
    let far = Subscriber::paho(broker.port(), "far", "gw/meter/+");
    let site = Site::new();
    site.write_config(&format!(
        "gateway: {{ id: gw, state_dir: \"{{state}}\" }}
buses: {{ tcp: {{ modbus-tcp: \"127.0.0.1:{}\", timeout: 5s }} }}
devices:
  meter:
    bus: tcp
    unit: 1
    every: 50ms
    report: change
    points:
      factor: {{ holding: 11, type: i16, every: 1h, publish: false }}
      no-factor: {{ holding: 12, type: i16, invalid: 0x8000, publish: false }}
      power: {{ holding: 10, scale_by: factor, unit: W }}
      lost: {{ holding: 10, scale_by: no-factor }}
      other: {{ input: 10 }}
      sum: {{ expression: \"(power + other) * 10 - min(`other`, 5)\", unit: W }}
      ratio: {{ expression: \"power / (other - 7)\" }}
uplinks: {{ far: {{ url: \"{}\", qos: 2 }} }}
",
        device.port(),
        broker.url(),
    ));
    let mut gateway = site.start();
    let arrived = || {
        let readings = crate::reading::readings(&far.received());
        let readings =
            readings.into_iter().map(|it| (it.topic, (it.value.to_string(), it.quality)));
        readings.collect::<BTreeMap<_, _>>()
    };
    wait_until("every point arrives", || arrived().len() >= 5);
    let good = arrived();
    let good: Vec<_> = good
        .iter()
        .map(|(topic, (value, quality))| (&topic[9..], value.as_str(), quality.as_str()))
        .collect();
    assert_eq!(
        good,
        [
            ("lost", "null", "invalid"),
            ("other", "7", "good"),
            ("power", "230.1", "good"),
            ("ratio", "null", "out_of_range"),
            ("sum", "2366", "good"),
        ]
    );
    device.kill();
    wait_until("what is made of stale values is stale", || {
        arrived().get("gw/meter/sum") == Some(&("2366".to_owned(), "stale".to_owned()))
    });
    assert!(gateway.sigterm().success(), "{}", gateway.log());
}

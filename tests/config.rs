//! The configuration: files that are right, files that are wrong with what must be said of them, and any text at all.

#![allow(clippy::disallowed_methods, reason = "a test may read and write files")]

use std::fs;
use std::num::NonZeroU16;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fieldpost::access::{AclAction, AclRule, AclSettings, ClientMatch, UserMatch};
use fieldpost::broker::{
    ClientCa, Limits, ListenAt, ListenerRules, ListenerSettings, ListenerTls, Origins, PerAddress,
    WebSocketSettings,
};
use fieldpost::cli::{self, CheckArgs, ExitStatus};
use fieldpost::clock::ClockTrust;
use fieldpost::config::{
    self, Complaints, Parsed, SecretAnswer, SecretReference, SecretSource, Settings, Severity,
    SystemSecrets, TemplateAnswer, TemplateSource,
};
use fieldpost::field::{
    Change, ChecksumSettings, Encoding, Formula, FrameEnd, Half, Level, LinePort, Marker, Order,
    Parity, PickFrom, PortSettings, Sum, Table, TimeLayout, UnitId, ValueType, Written,
};
use fieldpost::model::{QoS, Secret};
use fieldpost::mqtt::Version;
use fieldpost::payload::{Format, PointFormat, Template};
use fieldpost::uplink::OnSessionLost;
use proptest::prelude::*;

/// What stands in the test files wherever somebody wrote a secret into them, and what every secret is in these tests.
const SECRET: &str = "hunter2";

/// Has every secret but the variable `ABSENT`.
struct TestSecrets;

impl SecretSource for TestSecrets {
    fn secret(&self, reference: &SecretReference) -> SecretAnswer {
        if *reference == SecretReference::Env("ABSENT".to_owned()) {
            let severity = Severity::Error;
            let (message, remedy) = ("it is not here".to_owned(), "put it there".to_owned());
            return SecretAnswer::Absent { severity, message, remedy };
        }
        SecretAnswer::Found(Secret::new(SECRET))
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).expect("the folder is there");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
}

fn load(path: &Path) -> Result<Parsed, Complaints> {
    config::load(path, &TestSecrets)
}

fn settings(path: &str) -> Settings {
    match load(&root().join(path)) {
        Ok(parsed) => parsed.settings,
        Err(complaints) => panic!("{path} should be right\n{complaints}"),
    }
}

#[test]
fn each_invalid_file_gets_the_complaints_that_lie_beside_it() {
    let paths = files("tests/data/config/invalid");
    assert!(paths.len() >= 25, "only {} files", paths.len());
    let mut wrong = String::new();
    for path in paths {
        let complaints = match load(&path) {
            Ok(_) => {
                wrong += &format!("{}: no complaint at all\n", path.display());
                continue;
            }
            Err(complaints) => complaints.to_string(),
        };
        let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
        let found = complaints.replace(&path.display().to_string(), &name);
        // Templates lie in a folder beside it.
        let beside = format!("{}/", path.parent().expect("a folder").display());
        let found = found.replace(&beside, "");
        let beside = path.with_extension("expected");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&beside, &found).expect("the folder can be written to");
        }
        let expected = fs::read_to_string(&beside).unwrap_or_default();
        if found != expected {
            wrong += &format!("{name}\n{}\n", difference(&expected, &found));
        }
    }
    assert!(
        wrong.is_empty(),
        "{wrong}If the new words (+) are the better ones, take them over with UPDATE_EXPECTED=1 and read the diff."
    );
}

/// Lines that only one side has, in their order.
fn difference(expected: &str, found: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (expected.lines().collect(), found.lines().collect());
    let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let rest = old.len().min(new.len()) - same;
    let tail =
        old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(o, n)| o == n).count();
    let removed = old[same..old.len() - tail].iter().map(|line| format!("  - {line}\n"));
    let added = new[same..new.len() - tail].iter().map(|line| format!("  + {line}\n"));
    format!("  from line {}\n", same + 1) + &removed.chain(added).collect::<String>()
}

#[test]
fn each_complaint_says_where_what_and_what_to_do() {
    for path in files("tests/data/config/invalid") {
        let complaints = load(&path).expect_err("the file is wrong");
        assert!(complaints.count(Severity::Error) > 0, "{}", path.display());
        for complaint in &complaints {
            let is_whole_file = path.ends_with("utf-16.yaml");
            assert_eq!(complaint.line > 0 && complaint.column > 0, !is_whole_file, "{complaint}");
            assert!(!complaint.message.is_empty() && !complaint.remedy.is_empty(), "{complaint}");
            assert!(!complaint.message.ends_with('.'), "{complaint}");
        }
    }
}

#[test]
fn no_complaint_shows_a_secret() {
    for path in files("tests/data/config/invalid") {
        let complaints = load(&path).expect_err("the file is wrong");
        for text in [complaints.to_string(), format!("{complaints:?}")] {
            assert!(!text.contains(SECRET), "{}\n{text}", path.display());
        }
    }
}

#[test]
fn settings_do_not_show_their_secrets() {
    let settings = settings("config/fieldpost.yaml");
    let password = settings.uplinks[0].password.clone().expect("the reference file names one");
    assert_eq!(password.reveal(), SECRET);
    for text in [format!("{settings:?}"), format!("{settings:#?}"), password.to_string()] {
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[test]
fn each_valid_file_is_fine() {
    for folder in ["config", "config/sites", "config/lines", "tests/data/config/valid"] {
        for path in files(folder) {
            if let Err(complaints) = load(&path) {
                panic!("{complaints}");
            }
        }
    }
}

#[test]
fn the_files_that_are_shipped_give_no_warning() {
    assert_eq!(files("config/sites").len(), 3);
    for path in [files("config"), files("config/sites"), files("config/lines")].concat() {
        let parsed = load(&path).expect("it is right");
        assert!(parsed.warnings.is_empty(), "{}", parsed.warnings);
    }
}

#[test]
fn every_kind_of_bus_is_run_as_it_is_written() {
    let settings = settings("tests/data/config/valid/every-kind-of-bus.yaml");
    let port = |name: &str| {
        let bus = settings.buses.iter().find(|bus| &*bus.name == name);
        bus.expect("the bus is there").port.clone()
    };
    let PortSettings::Ascii(serial) = port("ascii") else { panic!("ASCII") };
    assert_eq!((serial.baud, serial.data_bits, serial.parity), (19_200, 7, Parity::Even));
    let PortSettings::Ascii(serial) = port("ascii-8") else { panic!("ASCII") };
    assert_eq!((serial.data_bits, serial.parity), (8, Parity::None));
    let PortSettings::RtuOverTcp(tcp) = port("converter") else { panic!("RTU over TCP") };
    assert_eq!((&*tcp.host, tcp.port), ("192.0.2.20", 4001));
    let PortSettings::AsciiOverTcp(tcp) = port("text-converter") else { panic!("ASCII over TCP") };
    assert_eq!((&*tcp.host, tcp.port), ("2001:db8::20", 23));
    let PortSettings::Udp(udp) = port("datagrams") else { panic!("UDP") };
    assert_eq!(udp.port, 502);
    let plain = settings.buses.iter().find(|bus| &*bus.name == "plain").expect("it is there");
    assert_eq!(plain.in_flight, 16);
    let rs485 = |name: &str| {
        let PortSettings::Rtu(serial) = port(name) else { panic!("RTU") };
        let rs485 = serial.rs485.expect("it is switched on");
        (rs485.rts_on_send, rs485.delay_before.as_millis(), rs485.delay_after.as_millis())
    };
    assert_eq!(rs485("switched"), (Level::High, 0, 0));
    assert_eq!(rs485("switched-low"), (Level::Low, 1, 100));
    let PortSettings::Tls(tcp, tls) = port("secure") else { panic!("TLS") };
    assert_eq!((tcp.port, tls.name.as_deref()), (802, Some("plc-17")));
    assert!(tls.settings.ca.is_some() && tls.settings.client.is_some());
    let PortSettings::Tls(tcp, tls) = port("secure-by-system") else { panic!("TLS") };
    assert_eq!((tcp.port, tls.settings.ca, tls.settings.client), (8020, None, None));
}

#[test]
fn a_device_with_a_template_is_run_with_what_both_say() {
    let settings = settings("tests/data/config/valid/templates.yaml");
    let device = |name: &str| {
        let device = settings.devices.iter().find(|it| &*it.name == name);
        device.expect("the device is there").clone()
    };
    let point = |of: &str, name: &str| {
        let device = device(of);
        let point = device.points.iter().find(|it| &*it.name == name);
        point.unwrap_or_else(|| panic!("{of} has no {name}")).clone()
    };
    let names = |of: &str| {
        let device = device(of);
        device.points.iter().map(|it| it.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(device("whole").allowed.registers_max, Some(80));
    assert_eq!(point("whole", "voltage_l3").place.address, 4);
    assert_eq!(point("single", "voltage_l1").every, Duration::from_secs(5));
    assert!(!names("single").contains(&"voltage_l2".to_owned()));
    assert_eq!(device("changed").allowed.registers_max, Some(20));
    let power = point("changed", "power");
    assert_eq!((power.place.address, power.every.as_secs()), (12, 2));
    assert_eq!((power.unit.as_deref(), power.report.is_some()), (Some("W"), true));
    assert_eq!(point("changed", "energy").place.address, 400);
    assert_eq!(point("changed", "temperature").place.address, 7);
    assert!(!names("changed").contains(&"current".to_owned()));
    // What the wanted ones are made of stays, and is not published.
    assert_eq!(names("few"), ["power", "power_sf", "energy", "energy_sf"]);
    let made: Vec<_> = device("few").computed.iter().map(|it| it.name.to_string()).collect();
    assert_eq!(made, ["power", "energy", "half"]);
    let own = device("own");
    assert_eq!((own.unit, own.allowed.registers_max), (UnitId(17), Some(10)));
    let level = point("own", "level_2");
    assert_eq!((level.place.address, level.word_order, level.offset), (12, Order::Little, -1.5));
    assert_eq!(level.every, Duration::from_secs(10));
    assert_eq!(point("own", "alarm_2").place.bit, Some(1));
    assert!(!names("own").contains(&"wide".to_owned()));
    let off = device("scaled-part-off");
    assert!(off.computed.iter().all(|it| &*it.name != "power"), "it is off");
    assert!(off.computed.iter().any(|it| &*it.name == "loss"), "and part of another");
}

#[test]
fn every_kind_of_line_is_run_as_it_is_written() {
    let settings = settings("tests/data/config/valid/every-kind-of-line.yaml");
    assert!(settings.buses.is_empty(), "none of them is a Modbus bus");
    let line = |name: &str| {
        let line = settings.lines.iter().find(|line| &*line.name == name);
        line.expect("the line is there")
    };
    let marks = line("marks");
    assert_eq!(*marks.frame.starts_with, [2]);
    assert_eq!(marks.frame.end, FrameEnd::Mark { mark: [3][..].into(), tail: 1 });
    let xor = ChecksumSettings::Range {
        sum: Sum::Xor,
        from: 1,
        to: -1,
        at: -1,
        written: Written::Bytes(Order::Big),
    };
    assert_eq!(marks.checksum, Some(xor));
    assert_eq!(line("fixed").frame.end, FrameEnd::Length(9));
    let Some(ChecksumSettings::Range { to, at, written, .. }) = line("fixed").checksum else {
        panic!("that of Modbus")
    };
    assert_eq!((to, at, written), (-2, -2, Written::Bytes(Order::Little)));
    let field = line("field");
    let end = FrameEnd::Field { at: 1, size: 1, order: Order::Big, adds: 3 };
    assert_eq!((&field.frame.end, field.silent_after), (&end, None));
    let LinePort::Tcp(tcp) = &field.port else { panic!("a converter") };
    assert_eq!((&*tcp.host, tcp.port), ("192.0.2.10", 23));
    assert_eq!(line("pauses").frame.end, FrameEnd::Silence(Duration::from_millis(20)));
    assert_eq!(line("pauses").timeout, Duration::from_secs(2));
    let pick = |device: &str, point: &str| {
        let device = settings.devices.iter().find(|it| &*it.name == device).expect("the device");
        let point = device.points.iter().find(|it| &*it.name == point).expect("the point");
        (point.clone(), point.pick.clone().expect("it is taken out of frames"))
    };
    let group = |point: &str| {
        let PickFrom::Match { group, .. } = pick("marks", point).1.from else { panic!("{point}") };
        group
    };
    assert_eq!((group("only_group"), group("own_name"), group("chosen")), (1, 2, 2));
    let (point, columns) = pick("marks", "columns");
    assert_eq!(columns.from, PickFrom::Characters { first: 2, last: 6 });
    assert_eq!((columns.invalid.len(), point.invalid.len(), columns.send), (2, 0, None));
    let (point, packed) = pick("fixed", "packed");
    assert_eq!(packed.from, PickFrom::Bytes { at: 1, order: Order::Little });
    assert_eq!(packed.send.as_deref(), Some(&b"R\x01\r"[..]), "that of its device");
    assert_eq!((point.every.as_secs(), &point.invalid[..]), (5, &[Marker::Pattern(1 << 31)][..]));
    let (point, text) = pick("fixed", "text");
    assert_eq!((point.every.as_secs(), text.send.as_deref()), (3_600, Some(&b"?"[..])));
    let (_, column) = pick("pauses", "x");
    assert_eq!(column.from, PickFrom::Column { index: 1, separator: b';' });
    assert!(column.when.expect("it is said").is_in(b"x;1"));
}

#[test]
fn the_reference_file_gives_what_it_says() {
    let settings = settings("config/fieldpost.yaml");
    assert_eq!(&*settings.gateway.id, "pump-house");
    let [rs485, plant] = &settings.buses[..] else { panic!("two buses") };
    let PortSettings::Rtu(serial) = &rs485.port else { panic!("a serial bus") };
    assert_eq!((serial.baud, serial.parity, serial.stop_bits), (9_600, Parity::Even, 1));
    assert_eq!(rs485.timeout, Duration::from_millis(300));
    assert_eq!(serial.data_bits, 8);
    let PortSettings::Tcp(tcp) = &plant.port else { panic!("a TCP bus") };
    assert_eq!((&*tcp.host, tcp.port), ("192.0.2.10", 502));
    assert_eq!(plant.timeout, Duration::from_secs(1));

    let [meter_1, meter_2, roof, boiler, weigher] = &settings.devices[..] else {
        panic!("five devices")
    };
    let made: Vec<&str> = roof.computed.iter().map(|it| &*it.name).collect();
    assert_eq!(made, ["voltage_l1", "power", "energy"]);
    let [scale] = &settings.lines[..] else { panic!("one line") };
    let LinePort::Serial(serial) = &scale.port else { panic!("a serial line") };
    assert_eq!((serial.baud, serial.parity, serial.data_bits), (9_600, Parity::None, 8));
    let end = FrameEnd::Mark { mark: b"\r\n"[..].into(), tail: 0 };
    assert_eq!((&scale.frame.end, scale.frame.bytes_max), (&end, 4_096));
    assert_eq!((scale.timeout.as_secs(), scale.silent_after.map(|it| it.as_secs())), (1, Some(60)));
    let weight = &weigher.points[0];
    assert_eq!((weight.value_type, weight.unit.as_deref()), (ValueType::F64, Some("kg")));
    let from = weight.pick.as_ref().map(|pick| &pick.from);
    assert!(matches!(from, Some(PickFrom::Match { group: 1, .. })), "{from:?}");
    assert_eq!(meter_1.points, meter_2.points, "an alias is the same again");
    assert_eq!(meter_1.points[0].every, Duration::from_secs(1));
    assert_eq!(meter_1.points[2].every, Duration::from_secs(60));
    assert_eq!((&*boiler.bus, boiler.unit), ("plant", UnitId(3)));
    let point = |name: &str| {
        boiler.points.iter().find(|point| &*point.name == name).expect("the point is there")
    };
    let flow = point("flow_temperature");
    assert_eq!((flow.place.table, flow.place.address, flow.place.bit), (Table::Holding, 100, None));
    assert_eq!((flow.value_type, flow.scale, flow.offset), (ValueType::I16, 0.1, 0.0));
    assert_eq!((flow.decimals, flow.unit.as_deref()), (Some(1), Some("°C")));
    assert_eq!(flow.every, Duration::from_millis(500));
    assert_eq!(point("energy").word_order, Order::Little);
    let names: Vec<(i64, &str)> =
        point("state").names.iter().map(|(n, name)| (*n, &**name)).collect();
    assert_eq!(names, [(0, "off"), (1, "heating"), (2, "fault")]);
    assert_eq!((point("alarm").place.bit, point("alarm").value_type), (Some(3), ValueType::Bool));
    assert_eq!(
        (point("door").place.table, point("door").place.address),
        (Table::DiscreteInput, 16)
    );
    assert_eq!(point("counter").value_type, ValueType::Bcd { registers: 2 });
    assert_eq!(
        point("serial_number").value_type,
        ValueType::Text { length: 20, encoding: Encoding::Guess }
    );

    let [cloud] = &settings.uplinks[..] else { panic!("one uplink") };
    let server = &cloud.servers[0];
    assert_eq!(
        (&*server.host, server.port, server.tls.is_some()),
        ("broker.example.com", 8_883, true)
    );
    assert_eq!((cloud.version, &*cloud.client_id), (Version::V5, "pump-house"));
    assert_eq!((cloud.keep_alive, cloud.window), (Duration::from_secs(30), 100));
    assert_eq!(cloud.session_expiry, Duration::from_secs(7 * 86_400));
    assert_eq!(cloud.on_session_lost, OnSessionLost::Republish);
    assert_eq!(cloud.live_first, None);
    assert_eq!(cloud.forward[0].qos, QoS::ExactlyOnce);
    let to = cloud.forward[0].to.as_ref().map(ToString::to_string);
    assert_eq!(to.as_deref(), Some("plant/boiler/{rest}"));
    assert_eq!((cloud.forward[1].qos, &cloud.forward[1].to), (QoS::AtLeastOnce, &None));
    assert_eq!(cloud.accept[0].filter.as_str(), "sites/announcements/#");
    let plain = ListenerSettings::plain("127.0.0.1:1883".parse().expect("an address"));
    assert_eq!(settings.broker.listeners, [plain]);
    assert_eq!(settings.queue.size_bytes_max, 256 << 20);
    assert_eq!(settings.queue.age_max, Duration::from_secs(30 * 86_400));
    assert_eq!(settings.queue.state_dir, PathBuf::from("/var/lib/fieldpost"));
    assert_eq!(settings.gateway.clock, ClockTrust::Auto);
    assert_eq!(&*settings.log.level, "info");
}

#[test]
fn types_are_run_with_what_is_written() {
    let settings = settings("tests/data/config/valid/every-type.yaml");
    let points = &settings.devices[0].points;
    let point = |name: &str| points.iter().find(|point| &*point.name == name).expect("it is there");
    let markers = |name: &str| {
        let patterns = point(name).invalid.iter().map(|marker| match marker {
            Marker::Pattern(pattern) => Some(*pattern),
            Marker::NaN => None,
        });
        patterns.collect::<Vec<_>>()
    };
    assert_eq!(point("high").value_type, ValueType::I8(Half::High));
    assert_eq!(point("low").value_type, ValueType::U8(Half::Low));
    assert_eq!(markers("high"), [Some(0x80)]);
    assert_eq!(markers("low"), [Some(0xff), Some(0xfe)]);
    assert_eq!(markers("signed"), [Some(0xffff_ffff_ffff)]);
    assert_eq!(markers("magnitude"), [Some(0x8000), Some(0x8005)]);
    assert_eq!(markers("decimal"), [Some(0x9999_9999), Some(0xffff_ffff)]);
    assert_eq!(markers("single"), [None, Some(0xc61c_3c00), Some(0x7f80_0000)]);
    assert_eq!(markers("double"), [None, Some(1e20f64.to_bits())]);
    assert_eq!(point("widest-magnitude").value_type, ValueType::SignMagnitude { registers: 4 });
    assert_eq!(point("fixed").fraction_bits, 15);
    assert_eq!((point("list").count, point("list").width()), (Some(125), 125));
    assert_eq!(point("switches").width(), 2_000);
    let names: Vec<_> = point("alarms").bit_names.iter().map(|(n, name)| (*n, &**name)).collect();
    assert_eq!(names, [(0, "overload"), (31, "fault")]);
    let time = |layout, offset_minutes| ValueType::Time { layout, offset_minutes };
    assert_eq!(point("clock").value_type, time(TimeLayout::Cp56, -210));
    assert_eq!(point("shown").value_type, time(TimeLayout::Registers, 840));
    assert_eq!(point("exact").value_type, time(TimeLayout::UnixMs, 0));
    let utf_16 = ValueType::Text { length: 20, encoding: Encoding::Utf16 };
    assert_eq!(point("name").value_type, utf_16);
}

#[test]
fn a_point_reports_as_it_says_or_as_its_device_does() {
    let settings = settings("tests/data/config/valid/every-report.yaml");
    let [boiler, meter] = &settings.devices[..] else { panic!("two devices") };
    let report = |name: &str| {
        let point = boiler.points.iter().find(|point| &*point.name == name);
        let report = point.expect("it is there").report?;
        Some((report.change, report.at_least, report.at_most, report.before_jump))
    };
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(report("inherited"), Some((Change::Absolute(0.0), seconds(600), None, false)));
    assert_eq!(report("own"), Some((Change::Absolute(0.2), seconds(60), seconds(5), true)));
    assert_eq!(report("share"), Some((Change::Percent(1.0), None, None, false)));
    assert_eq!(report("plain-share"), Some((Change::Percent(0.5), None, None, false)));
    assert_eq!(report("slower"), Some((Change::None, None, seconds(5), false)));
    assert_eq!(report("changes"), Some((Change::Absolute(0.0), None, None, false)));
    assert_eq!(report("all"), None);
    assert_eq!(meter.points[0].report, None);
}

#[test]
fn a_point_looks_as_it_says_or_as_its_device_or_the_gateway_does() {
    let settings = settings("tests/data/config/valid/every-format.yaml");
    let format = |device: &str| {
        let found = settings.formats.iter().find(|(name, _)| **name == *device);
        found.expect("it is there").1.clone()
    };
    let together = |device: &str| -> Vec<&str> {
        let device = settings.devices.iter().find(|it| &*it.name == device).expect("it is there");
        let read = device.points.iter().map(|it| (&*it.name, it.together));
        let made = device.computed.iter().map(|it| (&*it.name, it.together));
        read.chain(made).filter(|(_, together)| *together).map(|(name, _)| name).collect()
    };
    let inherited = format("together");
    assert_eq!(inherited.format, Format::Together { units: false });
    assert_eq!(together("together"), ["flow", "made"]);
    assert_eq!(inherited.points.len(), 3);
    assert_eq!(inherited.points.get("bare"), Some(&PointFormat::Value));
    let words = Template::parse(r#"{"v":{value},"t":{time_ms}}"#).expect("right");
    assert_eq!(inherited.points.get("worded"), Some(&PointFormat::Template(words.into())));
    assert_eq!(format("with-units").format, Format::Together { units: true });
    assert_eq!(format("each").format, Format::Each(PointFormat::Json));
    assert!(together("each").is_empty());
    assert!(matches!(format("worded").format, Format::Each(PointFormat::Template(_))));
    assert_eq!(format("worded").points.get("bare"), Some(&PointFormat::Value));
    assert_eq!(together("weigher"), ["weight"]);
}

#[test]
fn points_that_are_made_of_others_are_made_of_what_is_read() {
    let settings = settings("tests/data/config/valid/every-expression.yaml");
    let boiler = &settings.devices[0];
    let read: Vec<_> = boiler
        .points
        .iter()
        .map(|point| (&*point.name, point.publish, point.report.is_some()))
        .collect();
    assert_eq!(
        read,
        [
            ("flow", true, true),
            ("return-flow", false, true),
            ("factor", false, true),
            ("pump", true, true),
            ("power", false, false),
        ]
    );
    assert_eq!(boiler.point_count(), 6, "what is neither read nor published is made within others");
    let [heat, power] = &boiler.computed[..] else { panic!("two that are published") };
    // flow 41, return-flow 21, factor -1, pump on, power 50.
    let value = |formula: &Formula| {
        formula.evaluate(&|part| [41.0, 21.0, -1.0, 1.0, 50.0].get(part).copied())
    };
    assert_eq!((&*heat.name, value(&heat.formula)), ("heat", Some(20.0 * 5.0 * 1.163)));
    assert_eq!((heat.unit.as_deref(), heat.decimals, heat.report), (Some("kW"), None, None));
    assert_eq!((&*power.name, value(&power.formula)), ("power", Some(5.0)));
    assert_eq!((power.unit.as_deref(), power.decimals), (Some("W"), Some(2)));
    assert_eq!(power.report.map(|report| report.change), Some(Change::Percent(1.0)));
}

/// In the reference file each default stands behind `# key:`; written out, it must change nothing.
#[test]
fn the_defaults_of_the_reference_file_are_those_of_the_program() {
    let text = fs::read_to_string(root().join("config/fieldpost.yaml")).expect("it is there");
    let mut written = String::new();
    let mut count = 0;
    for line in text.lines() {
        let bare = line.trim_start();
        let default = bare.strip_prefix("# ").filter(|rest| {
            let (key, value) = rest.split_once(": ").unwrap_or_default();
            let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            is_key
                && !value.contains(' ')
                && !matches!(key, "ca" | "certificate" | "key" | "runtime_dir")
        });
        if let Some(default) = default {
            count += 1;
            let indent = &line[..line.len() - bare.len()];
            written += &format!("{indent}{default}\n");
        } else {
            written += &format!("{line}\n");
        }
    }
    assert!(count >= 17, "only {count} defaults found");
    match config::parse("reference", &written, &TestSecrets) {
        Ok(parsed) => assert_eq!(parsed.settings, settings("config/fieldpost.yaml")),
        Err(complaints) => panic!("{complaints}"),
    }
}

#[test]
fn what_is_left_out_has_its_default() {
    let settings = settings("tests/data/config/valid/smallest.yaml");
    assert_eq!(settings.devices[0].unit, UnitId(255));
    assert_eq!(settings.devices[0].points[0].value_type, ValueType::Bool);
    let text = "gateway: { id: g }\nbuses: { b: { modbus-tcp: plc } }\n\
        devices: { d: { bus: b, points: { p: { coil: 0 } } } }\nuplinks: { u: { url: \"mqtt://h\" } }\n";
    let parsed = config::parse("text", text, &TestSecrets).expect("it is right");
    let uplink = &parsed.settings.uplinks[0];
    assert_eq!((uplink.servers[0].port, &uplink.servers[0].tls), (1_883, &None));
    assert_eq!(uplink.forward[0].filter.as_str(), "g/#");
    assert_eq!((uplink.forward[0].qos, uplink.accept.len()), (QoS::AtLeastOnce, 0));
}

#[test]
fn a_dry_run_says_what_the_uplinks_do_with_a_topic() {
    let said = |topic: &str, json| {
        let topic = Some(fieldpost::model::TopicName::new(topic).expect("a topic"));
        let file = root().join("tests/data/config/valid/bridges.yaml");
        let mut out = Vec::new();
        cli::check(&CheckArgs { file, topic, plan: false, json }, &mut out)
            .expect("a vector takes everything");
        String::from_utf8(out).expect("text")
    };
    let out = said("a/1/b/2/c/d", false);
    assert!(
        out.ends_with(
            "cloud: published here, goes up as `2/1/c/d`, QoS 1 at most, never retained, by `a/+/b/+/#`\n"
        ),
        "{out}"
    );
    let out = said("sites/x/cmd/pump", false);
    assert!(
        out.ends_with(
            "cloud: published here, goes up as `sites/x/sites/x/cmd/pump`, QoS 1 at most, by `#`\n\
             cloud: published there, comes as `lan/cmd/pump`, QoS 1 at most, by `sites/x/cmd/#`\n"
        ),
        "{out}"
    );
    for topic in ["$SYS/broker/version", "pump-house/uplinks/cloud/state"] {
        let out = said(topic, false);
        assert!(out.ends_with(&format!("no uplink takes `{topic}`\n")), "{out}");
    }
    let report: serde_json::Value = serde_json::from_str(&said("jobs/7", true)).expect("JSON");
    let road = &report["topic"][1];
    assert_eq!((&road["rules"], &road["topic"]), (&"accept".into(), &"jobs/7".into()));
}

#[test]
fn a_broker_needs_neither_devices_nor_uplinks() {
    let path = "tests/data/config/valid/a-broker-alone.yaml";
    let listeners = settings(path).broker.listeners;
    let addresses = ["127.0.0.1:1883", "[::1]:1883", "127.0.0.2:0", "127.0.0.2:0"]
        .map(|address| ListenerSettings::plain(address.parse().expect("an address")));
    assert_eq!(listeners, addresses);
    let (status, out) = check(path, false);
    assert_eq!(status, ExitStatus::Done);
    assert!(
        out.ends_with("yaml: fine: 0 buses, 0 devices, 0 points, 0 uplinks, 4 listeners\n"),
        "{out}"
    );
    assert!(settings("tests/data/config/valid/smallest.yaml").broker.listeners.is_empty());
}

#[test]
fn a_listener_is_run_with_what_is_written() {
    let broker = settings("tests/data/config/valid/every-kind-of-listener.yaml").broker;
    let limits = Limits {
        connections: 200,
        sessions: 300,
        half_open: 20,
        half_open_per_address: PerAddress { max: 5, binds_loopback: true },
        connection_rate: PerAddress { max: 10, binds_loopback: true },
        connect_timeout: Duration::from_secs(5),
        packet_bytes: 256 * 1024,
        inflight: NonZeroU16::new(20).expect("not 0"),
        queued_messages: 1000,
        queued_bytes: 1 << 20,
        stored_messages: 2000,
        stored_bytes: 3 << 20,
        subscriptions: 30,
        retained_messages: 400,
        retained_bytes: 2 << 20,
        topic_levels: 8,
        topic_bytes: 200,
        keep_alive: NonZeroU16::new(300),
        session_expiry: 86_400,
    };
    assert_eq!(broker.limits, limits);
    let tls = ListenerTls {
        certificate: "/etc/fieldpost/broker.pem".into(),
        key: "/etc/fieldpost/broker.key".into(),
        client_ca: None,
    };
    let client_ca =
        |required| Some(ClientCa { path: "/etc/fieldpost/clients.pem".into(), required });
    let rules = ListenerRules { limits, ..ListenerRules::default() };
    let anonymous = ListenerRules { anonymous: true, ..rules.clone() };
    let at = |address: &str| ListenAt::Address(address.parse().expect("an address"));
    let websocket = |origins| Some(WebSocketSettings { origins });
    let these = Origins::These(vec!["https://dashboard.example.com".into()]);
    let certified = ListenerRules { certificate_user: true, ..rules };
    let expected = [
        ListenerSettings {
            at: at("127.0.0.1:1883"),
            tls: None,
            websocket: None,
            rules: anonymous.clone(),
        },
        ListenerSettings {
            at: at("0.0.0.0:8883"),
            tls: Some(ListenerTls { client_ca: client_ca(true), ..tls.clone() }),
            websocket: None,
            rules: ListenerRules {
                connections_max: Some(50),
                client_id_prefix: Some("line-3-".into()),
                ..certified.clone()
            },
        },
        ListenerSettings {
            at: at("127.0.0.1:9001"),
            tls: None,
            websocket: websocket(Origins::SameHost),
            rules: anonymous.clone(),
        },
        ListenerSettings {
            at: at("0.0.0.0:9002"),
            tls: Some(ListenerTls { client_ca: client_ca(false), ..tls.clone() }),
            websocket: websocket(these),
            rules: certified,
        },
        ListenerSettings {
            at: at("0.0.0.0:9003"),
            tls: Some(tls),
            websocket: websocket(Origins::Any),
            rules: anonymous.clone(),
        },
        ListenerSettings {
            at: ListenAt::Path { path: "/run/fieldpost/mqtt.sock".into(), mode: 0o600 },
            tls: None,
            websocket: None,
            rules: anonymous,
        },
    ];
    assert_eq!(broker.listeners, expected);
}

#[test]
fn users_and_rules_of_the_broker_are_what_the_file_says() {
    let broker = settings("tests/data/config/valid/a-broker-with-users-and-rules.yaml").broker;
    let anonymous: Vec<bool> = broker.listeners.iter().map(|l| l.rules.anonymous).collect();
    assert_eq!(anonymous, [false, true]);
    let users = broker.access.users.expect("two files");
    let paths = ["/etc/fieldpost/passwd", "/etc/fieldpost/more"].map(PathBuf::from);
    assert_eq!((&users.files[..], users.client_id_prefix.as_deref()), (&paths[..], Some("%u-")));
    let AclSettings::Rules(rules) = broker.access.acl else { panic!("rules") };
    let topics = |rule: &AclRule| -> Vec<String> {
        rule.topics.iter().map(|topic| topic.as_str().to_owned()).collect()
    };
    let [none, own, all, panel] = &rules[..] else { panic!("four rules") };
    assert_eq!(
        (none.allow, none.action, &none.user),
        (false, AclAction::Both, &UserMatch::Anonymous)
    );
    assert_eq!(topics(none), ["admin/#", "$SYS/#"]);
    assert_eq!((own.allow, own.action, &own.user), (true, AclAction::Publish, &UserMatch::Named));
    assert_eq!(own.client, ClientMatch::BeginsWith("pump-".into()));
    assert_eq!((all.action, &all.user), (AclAction::Subscribe, &UserMatch::Is("ann".into())));
    assert_eq!(all.network, "192.0.2.0/24".parse().ok());
    assert_eq!(
        (&panel.client, &panel.user),
        (&ClientMatch::Is("panel".into()), &UserMatch::Anybody)
    );
    assert_eq!(topics(panel), ["x/%u/100%"]);
    let open = settings("tests/data/config/valid/a-broker-alone.yaml").broker.access;
    assert_eq!((open.users, open.acl), (None, AclSettings::Open));
}

#[test]
fn words_keep_their_spelling_whatever_yaml_makes_of_them_elsewhere() {
    let settings = settings("tests/data/config/valid/words-that-look-like-others.yaml");
    assert_eq!(&*settings.gateway.id, "007");
    assert_eq!(&*settings.buses[0].name, "no");
    let device = &settings.devices[0];
    assert_eq!((&*device.name, &*device.points[1].name), ("1", "0x1"));
    let names: Vec<&str> = device.points[0].names.iter().map(|(_, name)| &**name).collect();
    assert_eq!(names, ["no", "yes", "null"]);
    assert_eq!(&*settings.uplinks[0].client_id, "12345");
}

#[test]
fn a_file_that_is_not_there_is_a_complaint_with_a_remedy() {
    let complaints = load(Path::new("/nowhere/site.yaml")).expect_err("it is not there");
    assert_eq!(
        complaints.to_string(),
        "/nowhere/site.yaml: error: there is no such file\n  = help: look at the spelling of the path, or name another file (`-c FILE`, `check FILE`)\n"
    );
    let folder = root().join("config");
    assert!(load(&folder).expect_err("a folder").to_string().contains("this is a directory"));
}

#[test]
fn a_secret_that_is_missing_fails_a_run() {
    let text = "gateway: { id: g }\nbuses: { b: { modbus-tcp: plc } }\n\
        devices: { d: { bus: b, points: { p: { coil: 0 } } } }\n\
        uplinks: { u: { url: \"mqtts://h\", username: u, password: { env: ABSENT } } }\n";
    let complaints = config::parse("text", text, &TestSecrets).expect_err("the secret is absent");
    let paths: Vec<&str> = complaints.iter().map(|complaint| complaint.path.as_str()).collect();
    assert_eq!(paths, ["uplinks.u.password"]);
}

fn site(password: &str) -> String {
    format!(
        "gateway: {{ id: g }}\nbuses: {{ b: {{ modbus-tcp: plc }} }}\n\
        devices: {{ d: {{ bus: b, points: {{ p: {{ coil: 0 }} }} }} }}\n\
        uplinks: {{ u: {{ url: \"mqtts://h\", username: u, password: {password} }} }}\n"
    )
}

#[test]
fn a_secret_file_loses_one_line_break_and_must_be_closed_to_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("password");
    fs::write(&path, format!("{SECRET}\n\n")).expect("it can be written");
    let text = site(&format!("{{ file: {} }}", path.display()));
    for (mode, warnings) in [(0o600, 0), (0o640, 1), (0o644, 1)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
        let parsed = config::parse("text", &text, &SystemSecrets::for_run()).expect("it is right");
        let password = parsed.settings.uplinks[0].password.as_ref().map(Secret::reveal);
        assert_eq!(password, Some("hunter2\n"));
        assert_eq!(parsed.warnings.count(Severity::Warning), warnings, "{mode:o}");
        assert!(!parsed.warnings.to_string().contains(SECRET));
    }
}

#[test]
fn a_secret_that_is_absent_is_an_error_in_a_run_and_a_warning_in_a_check() {
    let folder = tempfile::tempdir().expect("a folder");
    let empty = folder.path().join("empty");
    fs::write(&empty, "\n").expect("it can be written");
    for password in [
        "{ env: FIELDPOST_TEST_THAT_NOBODY_SETS }".to_owned(),
        "{ credential: fieldpost-test-that-nobody-hands-over }".to_owned(),
        format!("{{ file: {}/absent }}", folder.path().display()),
        format!("{{ file: {} }}", empty.display()),
    ] {
        let text = site(&password);
        let complaints = config::parse("text", &text, &SystemSecrets::for_run()).expect_err(&text);
        assert_eq!(complaints.count(Severity::Error), 1, "{complaints}");
        let parsed = config::parse("text", &text, &SystemSecrets::for_check()).expect(&text);
        assert_eq!(parsed.warnings.count(Severity::Warning), 1);
        assert_eq!(parsed.settings.uplinks[0].password, None);
    }
}

#[test]
fn a_secret_comes_out_of_the_environment() {
    let text = site("{ env: CARGO_MANIFEST_DIR }");
    let parsed =
        config::parse("text", &text, &SystemSecrets::for_run()).expect("it is set in tests");
    let password = parsed.settings.uplinks[0].password.as_ref().map(Secret::reveal);
    assert_eq!(password, Some(env!("CARGO_MANIFEST_DIR")));
}

fn check(path: &str, json: bool) -> (ExitStatus, String) {
    let mut out = Vec::new();
    let args = CheckArgs { file: root().join(path), topic: None, plan: false, json };
    let status = cli::check(&args, &mut out).expect("a vector takes everything");
    (status, String::from_utf8(out).expect("it is text"))
}

#[test]
fn check_ends_with_one_line_that_sums_up() {
    let (status, out) = check("config/sites/rs485-meters.yaml", false);
    assert_eq!(status, ExitStatus::Done);
    assert!(
        out.ends_with("rs485-meters.yaml: fine: 1 bus, 3 devices, 12 points, 1 uplink\n"),
        "{out}"
    );
    let (status, out) = check("tests/data/config/invalid/numbers-of-a-manual.yaml", false);
    assert_eq!(status, ExitStatus::Wrong);
    assert!(out.ends_with("numbers-of-a-manual.yaml: 1 error, 3 warnings\n"), "{out}");
    let (status, out) = check("nowhere.yaml", false);
    assert_eq!(status, ExitStatus::Wrong);
    assert!(out.ends_with("nowhere.yaml: 1 error\n"), "{out}");
}

#[test]
fn check_tells_machines_the_same_as_people() {
    let (status, out) = check("tests/data/config/invalid/several-at-once.yaml", true);
    let report: serde_json::Value = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!((status, &report["fine"]), (ExitStatus::Wrong, &serde_json::json!(false)));
    let list = report["complaints"].as_array().expect("it is a list");
    let count = |key: &str| report[key].as_u64().expect("it is a number");
    assert_eq!(u64::try_from(list.len()).ok(), Some(count("errors") + count("warnings")));
    let unit = list.iter().find(|item| item["path"] == "devices.boiler.unit").expect("it is there");
    assert_eq!(
        (&unit["line"], &unit["column"], &unit["text"]),
        (&10.into(), &11.into(), &"300".into())
    );
    let (status, out) = check("config/fieldpost.yaml", true);
    let report: serde_json::Value = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!((status, &report["counts"]["devices"]), (ExitStatus::Done, &serde_json::json!(5)));
}

#[test]
fn check_says_how_each_bus_will_be_read_and_which_cannot_keep_its_periods() {
    let plan = |args: CheckArgs| {
        let mut out = Vec::new();
        let status = cli::check(&args, &mut out).expect("a vector can be written to");
        (status, String::from_utf8(out).expect("it is text"))
    };
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("plan.yaml");
    let yaml = format!(
        "gateway: {{ id: g, state_dir: {} }}\n\
         buses: {{ line: {{ modbus-rtu: /dev/ttyS9, parity: none }} }}\n\
         devices:\n\
         \x20 fast: {{ bus: line, unit: 3, every: 20ms, points: {{ flow: {{ holding: 4 }}, sum: {{ holding: 8, type: u32 }} }} }}\n\
         \x20 slow: {{ bus: line, unit: 4, points: {{ pump: {{ coil: 1 }} }} }}\n\
         uplinks: {{ cloud: {{ url: \"mqtt://127.0.0.1\" }} }}\n",
        dir.path().display()
    );
    fs::write(&file, yaml).expect("a file");
    let args = |plan, json| CheckArgs { file: file.clone(), topic: None, plan, json };
    let (status, out) = plan(args(true, true));
    let report: serde_json::Value = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!((status, &report["warnings"]), (ExitStatus::Done, &1.into()), "{out}");
    let bus = &report["buses"][0];
    assert_eq!((&bus["transactions"], &bus["fits"]), (&2.into(), &false.into()));
    assert_eq!(bus["tightest"]["point"], "flow");
    assert!(bus["utilisation"].as_f64().expect("a number") > 1.0);
    assert!(bus["wire_ms"].as_f64().expect("a number") > 50.0);
    let read = &bus["reads"][0];
    let places = [&read["unit"], &read["function"], &read["start"], &read["count"]];
    assert_eq!(places.map(|number| number.as_u64()), [Some(3), Some(3), Some(4), Some(6)]);
    assert_eq!(read["points"], serde_json::json!(["flow", "sum"]));
    let (_, out) = plan(args(true, false));
    for words in ["cannot keep its periods", "1 warning", "bus `line`: 2 transactions", "flow, sum"]
    {
        assert!(out.contains(words), "{words}: {out}");
    }
    let (_, out) = plan(args(false, false));
    assert!(out.contains("cannot keep its periods") && !out.contains("flow, sum"), "{out}");
}

/// Whatever the text is: no panic, every place inside the file, and nothing but settings or an error.
fn judge(text: &str) -> Result<(), TestCaseError> {
    let complaints = match config::parse("any", text, &TestSecrets) {
        Ok(parsed) => {
            prop_assert_eq!(parsed.warnings.count(Severity::Error), 0);
            parsed.warnings
        }
        Err(complaints) => {
            prop_assert!(complaints.count(Severity::Error) > 0);
            complaints
        }
    };
    let shown = complaints.to_string();
    prop_assert!(!shown.contains(SECRET), "{}", shown);
    prop_assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{:?}", shown);
    let lines: Vec<&str> = text.split('\n').collect();
    for complaint in complaints.iter().filter(|complaint| complaint.file == "any") {
        let line = lines.get(complaint.line - 1);
        prop_assert!(line.is_some(), "{}", complaint);
        let length = line.map_or(0, |line| line.chars().count());
        prop_assert!((1..=length + 1).contains(&complaint.column), "{}", complaint);
    }
    Ok(())
}

/// Whatever it is called.
struct OneTemplate(String);

impl TemplateSource for OneTemplate {
    fn names(&self, _folder: Option<&str>) -> Vec<String> {
        Vec::new()
    }

    fn template(&self, _folder: Option<&str>, name: &str) -> TemplateAnswer {
        TemplateAnswer::Found { file: format!("{name}.yaml"), text: self.0.clone() }
    }
}

#[test]
fn templates_that_unfold_into_too_much_are_refused() {
    let points: String = (0..900)
        .map(|at| format!("  \"p{at}_{{n}}\": {{ for: {{ n: 1..1000 }}, holding: \"{{n}}\" }}\n"))
        .collect();
    let text =
        format!("name: it\ntitle: it\nclass: io\nsource: {{ title: it }}\npoints:\n{points}");
    let (cards, wrong) = config::templates(&OneTemplate(text), None, Some("it"));
    assert!(cards.is_empty());
    assert!(wrong[0].to_string().contains("more than a gateway can hold"), "{}", wrong[0]);
}

fn reference() -> String {
    fs::read_to_string(root().join("config/fieldpost.yaml")).expect("it is there")
}

/// A fragment that YAML or this file gives a meaning to.
fn fragment() -> impl Strategy<Value = String> {
    let known = [
        ": ",
        "\n",
        "  ",
        "\t",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "&a ",
        "*a",
        "|\n",
        "> ",
        "\"",
        "'",
        "#",
        "!",
        "%",
        "---\n",
        "...\n",
        "? ",
        "<<: ",
        "~",
        "\u{feff}",
        "\r\n",
        "°",
        "0x",
        "-1",
        "65536",
        "é",
        "\0",
        "gateway",
        "id",
        "buses",
        "devices",
        "points",
        "holding",
        "enum",
        "unit",
        "bit",
        "uplinks",
        "url",
        "mqtts://",
        "forward",
        "filter",
        "to",
        "{rest}",
        "queue",
        "max_size",
        "1MiB",
        "300ms",
        "null",
        "template",
        "eastron-sdm630",
        "parameters",
        "phases",
        "only",
        "off",
    ];
    prop_oneof![
        4 => prop::sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => ".{0,12}",
    ]
}

#[test]
fn a_password_behind_the_end_of_the_document_is_not_shown_either() {
    let text = reference().replace("{ credential: cloud-password }", SECRET);
    let at = text.find("    password: ").expect("it is there");
    for end in ["...\n", "---\n"] {
        let text = format!("{}{end}{}", &text[..at], &text[at..]);
        judge(&text).expect("nothing secret is shown");
    }
}

#[test]
fn an_uplink_of_3_1_1_keeps_to_what_brokers_take_without_saying() {
    let parse = |keys: &str| {
        let text = format!(
            "gateway: {{ id: g }}\nbuses: {{ b: {{ modbus-tcp: 127.0.0.1 }} }}\n\
             devices: {{ d: {{ bus: b, points: {{ p: {{ holding: 1 }} }} }} }}\n\
             uplinks: {{ u: {{ url: \"mqtt://127.0.0.1\", {keys} }} }}\n"
        );
        fieldpost::config::parse("window.yaml", &text, &SystemSecrets::for_run()).expect("fine")
    };
    assert_eq!(parse("version: 5").settings.uplinks[0].window, 100);
    assert_eq!(parse("version: 3.1.1").settings.uplinks[0].window, 20);
    let wider = parse("version: 3.1.1, window: 50");
    assert_eq!(wider.settings.uplinks[0].window, 50);
    assert!(wider.warnings.to_string().contains("max_inflight_messages"), "{}", wider.warnings);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_judged_without_a_panic(text in "(?s).{0,500}") {
        judge(&text)?;
    }

    #[test]
    fn any_heap_of_yaml_is_judged_without_a_panic(parts in prop::collection::vec(fragment(), 0..200)) {
        let mut text = parts.concat();
        let mut end = text.len().min(2_048);
        while !text.is_char_boundary(end) { end -= 1; }
        text.truncate(end);
        judge(&text)?;
    }

    #[test]
    fn any_text_is_a_template_or_is_complained_about(
        which in 0usize..3, at in 0usize..8_000, length in 0usize..40, put in fragment(), second in fragment(), after in 0usize..8_000,
    ) {
        let names = ["own-device", "bad-points", "sunspec-inverter"];
        let folders = ["tests/data/config/valid/templates", "tests/data/config/invalid/templates", "config/templates"];
        let file = root().join(folders[which]).join(format!("{}.yaml", names[which]));
        let mut text = fs::read_to_string(file).expect("it is there");
        for (at, length, put) in [(at, length, &put), (after, 0, &second)] {
            let boundary = |mut at: usize| {
                at = at.min(text.len());
                while !text.is_char_boundary(at) { at -= 1; }
                at
            };
            let from = at % (text.len() + 1);
            text.replace_range(boundary(from)..boundary(from + length), put);
        }
        let (cards, wrong) = config::templates(&OneTemplate(text), None, Some(names[which]));
        prop_assert_eq!(cards.len() + wrong.len(), 1);
        let shown = wrong.iter().map(ToString::to_string).collect::<String>();
        prop_assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{:?}", shown);
    }

    #[test]
    fn the_reference_file_is_judged_wherever_it_is_broken(
        at in 0usize..20_000, length in 0usize..40, put in fragment(), second in 0usize..20_000, other in fragment(),
    ) {
        let mut text = reference();
        for (at, length, put) in [(at, length, &put), (second, 0, &other)] {
            let boundary = |mut at: usize| {
                at = at.min(text.len());
                while !text.is_char_boundary(at) { at -= 1; }
                at
            };
            let range = boundary(at % (text.len() + 1))..boundary(at % (text.len() + 1) + length);
            text.replace_range(range, put);
        }
        judge(&text)?;
    }

    #[test]
    fn a_password_written_into_the_file_is_never_shown(at in 0usize..20_000, put in fragment()) {
        let mut text = reference().replace("{ credential: cloud-password }", SECRET);
        let mut at = at % (text.len() + 1);
        while !text.is_char_boundary(at) { at -= 1; }
        // Broken anywhere but in the words that say what is secret.
        let from = text.find("password: ").expect("it is there");
        prop_assume!(!(from..=from + "password: ".len() + SECRET.len()).contains(&at));
        text.insert_str(at, &put);
        judge(&text)?;
    }
}

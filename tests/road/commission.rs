//! `fieldpost read` and `write` at devices of other people's making: over a port of their own, and through a gateway that
//! goes on polling.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::lan::port;
use crate::support::{ModbusServer, Process, Site, mosquitto_sub, pty_pair, wait_until};

const BANK: &[(&str, u16, u16)] = &[
    ("coil", 4, 1),
    ("coil", 5, 0),
    ("holding", 100, 0x4366),
    ("holding", 101, 0x8000),
    ("holding", 110, 205),
    ("holding", 300, 7),
    ("holding", 500, 8),
    ("holding", 700, 9),
];

/// How a command ended, and what it said on both outputs.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    /// The lines of its JSON.
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{self}"))
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}\n{}\n{}", self.code, self.out, self.err)
    }
}

#[track_caller]
fn fieldpost(words: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fieldpost"));
    let output = command.args(words).env_remove("RUNTIME_DIRECTORY").output();
    let Output { status, stdout, stderr } = output.expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Said { code: status.code(), out: text(stdout), err: text(stderr) }
}

#[track_caller]
fn done(words: &[&str]) -> Said {
    let said = fieldpost(words);
    assert_eq!(said.code, Some(0), "{words:?}: {said}");
    said
}

fn with<'w>(words: &[&'w str], bus: &[&'w str]) -> Vec<&'w str> {
    [words, bus].concat()
}

/// What every device can do that has the [`BANK`].
fn registers_are_read_and_written(bus: &[&str]) {
    let ask = |words: &[&str]| done(&with(words, bus));
    let read = ask(&["read", "--holding", "100", "--count", "2", "--json"]).json();
    assert_eq!(read["registers"][0]["f32"]["ABCD"], 230.5, "{read}");
    assert_eq!(read["registers"][1]["hex"], "8000");
    let same = ask(&["read", "--holding", "0x0064", "--count", "2", "--json"]).json();
    assert_eq!(same["registers"], read["registers"], "an address in hexadecimal");
    let point = ask(&["read", "--holding", "100", "--type", "f32"]).out;
    assert!(point.contains("value = 230.5\nNAME: { holding: 100, type: f32 }"), "{point}");
    let coils = ask(&["read", "--coil", "4", "--count", "2", "--json"]).json();
    assert_eq!([&coils["bits"][0]["value"], &coils["bits"][1]["value"]], [true, false]);

    let setpoint = ["--holding", "110", "--type", "i16", "--scale", "0.1"];
    let written = ask(&with(&["write", "21.5"], &setpoint)).out;
    assert!(written.contains("request 06 00 6e 00 d7"), "{written}");
    assert!(written.ends_with("confirmed: 21.5, was 20.5\n"), "{written}");
    let exchanged = ask(&["write", "7", "--holding", "110", "--then-read", "110"]).out;
    assert!(exchanged.contains("function 23") && exchanged.contains("0007"), "{exchanged}");
    let lamp = ask(&["write", "false", "--coil", "4"]).out;
    assert!(lamp.ends_with("confirmed: false, was true\n"), "{lamp}");
}

/// What pymodbus can do besides: queue and file are always the same.
fn a_queue_a_file_and_what_the_device_is_are_read(bus: &[&str]) {
    let ask = |words: &[&str]| done(&with(words, bus)).json();
    let words = |read: &Value| -> Vec<Value> {
        read["registers"].as_array().expect("a list").iter().map(|it| it["u16"].clone()).collect()
    };
    let queue = ask(&["read", "--fifo", "1000", "--json"]);
    assert_eq!(words(&queue), [0, 1, 2, 3]);
    let file = ask(&["read", "--file", "4", "--record", "1", "--count", "10", "--json"]);
    let text: String = file["registers"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|it| it["text"].as_str())
        .collect();
    assert_eq!(text, "SERVER DUMMY RECORD.");
    let told = ask(&["read", "--identify", "--json"]);
    let texts: Vec<&Value> =
        told["objects"].as_array().expect("a list").iter().map(|it| &it["text"]).collect();
    assert_eq!(texts, [&json!("Peer"), &json!("PM"), &Value::Null, &json!("pymodbus device")]);
    assert_eq!(told["server_id"]["text"], "Peer-PM-3");
}

fn rtu(tty: &Path) -> [&str; 4] {
    ["--modbus-rtu", tty.to_str().expect("text"), "--parity", "none"]
}

#[test]
fn pymodbus_is_read_and_written_over_tcp() {
    let device = ModbusServer::pymodbus_tcp(BANK, None);
    let place = format!("127.0.0.1:{}", device.port());
    registers_are_read_and_written(&["--modbus-tcp", &place]);
    a_queue_a_file_and_what_the_device_is_are_read(&["--modbus-tcp", &place]);
}

#[test]
fn pymodbus_is_read_and_written_on_a_serial_line() {
    let line = pty_pair();
    let _device = ModbusServer::pymodbus_rtu(&line.far(), 1, BANK, None);
    let near = line.near();
    registers_are_read_and_written(&rtu(&near));
    a_queue_a_file_and_what_the_device_is_are_read(&rtu(&near));
}

#[test]
fn libmodbus_is_read_and_written_over_tcp_and_on_a_serial_line() {
    let identified = |bus: &[&str]| {
        let told = done(&with(&["read", "--identify", "--json"], bus)).json();
        let id = told["server_id"]["text"].as_str().expect("a text");
        assert!(id.starts_with("LMB"), "{told}");
        assert_eq!(told["failures"][0]["function"], 43, "it does not know it: {told}");
    };
    let device = ModbusServer::libmodbus_tcp(BANK);
    let place = format!("127.0.0.1:{}", device.port());
    registers_are_read_and_written(&["--modbus-tcp", &place]);
    identified(&["--modbus-tcp", &place]);
    let line = pty_pair();
    let _device = ModbusServer::libmodbus_rtu(&line.far(), 1, BANK);
    let near = line.near();
    registers_are_read_and_written(&rtu(&near));
    identified(&rtu(&near));
}

#[test]
fn what_is_not_there_is_named_with_what_is_near_it() {
    let device = ModbusServer::pymodbus_tcp(BANK, None);
    let place = format!("127.0.0.1:{}", device.port());
    let bus = ["--modbus-tcp", place.as_str()];
    let said = fieldpost(&with(&["read", "--holding", "99", "--count", "2"], &bus));
    assert_eq!(said.code, Some(1), "{said}");
    assert!(said.err.contains("the device has no such address (exception 2"), "{said}");
    assert!(said.err.contains("--holding 100 --count 2"), "{said}");
    let said = fieldpost(&with(&["read", "--holding", "40101", "--count", "2"], &bus));
    assert!(said.err.contains("looks like the number of a manual"), "{said}");
    assert!(said.err.contains("--holding 100 --count 2"), "{said}");
    for wrong in [
        &["read", "--holding", "0"][..],
        &["read", "--holding", "0", "--bus", "x", "--modbus-tcp", "h"],
        &["read", "--holding", "70000", "--modbus-tcp", "h"],
        &["write", "1", "--holding", "0", "--modbus-tcp", "h", "--baud", "9600"],
    ] {
        assert_eq!(fieldpost(wrong).code, Some(2), "{wrong:?}");
    }
    let said = fieldpost(&with(&["write", "warm", "--holding", "110"], &bus));
    assert_eq!((said.code, said.err.contains("`warm` is not a number")), (Some(1), true), "{said}");
}

#[test]
fn a_read_that_repeats_itself_ends_well_with_ctrl_c() {
    let device = ModbusServer::pymodbus_tcp(BANK, None);
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_fieldpost"));
    command.args(["read", "--holding", "300", "--json", "--every", "20ms", "--modbus-tcp"]);
    command.arg(format!("127.0.0.1:{}", device.port()));
    let mut reader = Process::spawn(command, &dir.path().join("read"));
    wait_until("it reads again", || reader.log().lines().count() >= 3);
    reader.signal("INT");
    assert_eq!(reader.wait().code(), Some(0), "{}", reader.log());
    assert!(reader.log().lines().all(|line| line.contains(r#""u16":7"#)), "{}", reader.log());
}

/// A gateway whose reads leave the line no gap.
fn busy(site: &Site, tty: &Path) {
    site.write_config(&format!(
        "gateway: {{ id: gw, state_dir: \"{{state}}\" }}\n\
         buses: {{ rs485: {{ modbus-rtu: {}, parity: none }} }}\n\
         devices:\n  boiler:\n    bus: rs485\n    unit: 1\n    every: 10ms\n    points:\n\
         \x20     flow: {{ holding: 100, type: f32 }}\n\
         \x20     one: {{ holding: 300 }}\n\
         \x20     two: {{ holding: 500 }}\n\
         \x20     three: {{ holding: 700 }}\n\
         \x20     setpoint: {{ holding: 110, type: i16, scale: 0.1, writable: {{ min: 20, max: 80 }} }}\n\
         broker: {{ listeners: [ {{ tcp: 127.0.0.1:0, anonymous: true }} ] }}\n",
        tty.display()
    ));
}

#[test]
fn a_running_gateway_asks_for_others_and_goes_on_polling() {
    let line = pty_pair();
    let _device = ModbusServer::pymodbus_rtu(&line.far(), 1, BANK, None);
    let site = Site::new();
    busy(&site, &line.near());
    let mut gateway = site.start();
    gateway.wait_for_log("device answered");
    let values = mosquitto_sub(port(&mut gateway), "gw/boiler/one", &[]);
    values.wait_for(1);
    let (config, near) = (site.config(), line.near());
    let config = config.to_str().expect("text");

    let bus = ["-c", config, "--bus", "rs485", "--unit", "1"];
    registers_are_read_and_written_through(&bus);
    a_queue_a_file_and_what_the_device_is_are_read(&bus);
    let device = ["-c", config, "--device", "boiler"];
    let read = done(&with(&["read", "--holding", "300", "--json"], &device)).json();
    assert_eq!(read["registers"][0]["u16"], 7);
    let by_port = [&rtu(&near)[..], &["-c", config]].concat();
    let said = done(&with(&["read", "--holding", "300", "--json"], &by_port));
    assert!(said.err.contains("belongs to the gateway that runs, as bus `rs485`"), "{said}");

    let set = ["write", "--point", "setpoint"];
    let written = done(&[&set[..], &["21.5"], &device].concat());
    assert!(written.out.contains("confirmed: 21.5"), "{written}");
    let refused = fieldpost(&[&set[..], &["90"], &device].concat());
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.err.contains("90 is above 80, the limit of this point"), "{refused}");
    let raw = ["write", "--holding", "110", "215"];
    let raw = done(&[&raw[..], &["-c", config, "--device", "boiler"]].concat());
    assert!(raw.err.contains("`setpoint` stands there and has limits"), "{raw}");
    let misspelt = fieldpost(&[&["write", "--point", "setpont", "21.5"], &device[..]].concat());
    assert_eq!(misspelt.code, Some(2), "{misspelt}");
    assert!(misspelt.err.contains("has no point `setpont`; it has "), "{misspelt}");
    let log = gateway.log();
    assert!(log.contains("unit is written to by command"), "{log}");
    assert!(log.contains(r#"request="06 00 6e 00 d7""#), "the log has the value: {log}");

    for (wrong, why) in [
        (&["--bus", "plant"][..], "no bus `plant`; it has rs485"),
        (&["--device", "pump"], "no device `pump`; it has boiler"),
        (&["--bus", "rs485", "--baud", "19200"], "the configuration says what `--baud` is"),
    ] {
        let said = fieldpost(&[&["read", "--holding", "0", "-c", config], wrong].concat());
        assert_eq!((said.code, said.err.contains(why)), (Some(2), true), "{said}");
    }
    let before = values.received().len();
    wait_until("values keep coming", || values.received().len() > before + 20);
    assert!(gateway.sigterm().success());

    // Without the gateway the same words open the port.
    let read = done(&with(&["read", "--holding", "300", "--json"], &bus)).json();
    assert_eq!(read["registers"][0]["u16"], 7);
}

/// As [`registers_are_read_and_written`], with what the gateway polls left as it is.
fn registers_are_read_and_written_through(bus: &[&str]) {
    let ask = |words: &[&str]| done(&with(words, bus));
    let read = ask(&["read", "--holding", "100", "--count", "2", "--json"]).json();
    assert_eq!(read["registers"][0]["f32"]["ABCD"], 230.5, "{read}");
    let lamp = ask(&["write", "false", "--coil", "4"]).out;
    assert!(lamp.ends_with("confirmed: false, was true\n"), "{lamp}");
    let said = fieldpost(&with(&["read", "--holding", "99"], bus));
    assert!(said.code == Some(1) && said.err.contains("--holding 100"), "{said}");
}

#[test]
fn a_port_that_somebody_else_holds_is_said_to_be_held_by_whom() {
    let line = pty_pair();
    let _device = ModbusServer::pymodbus_rtu(&line.far(), 1, BANK, None);
    let site = Site::new();
    busy(&site, &line.near());
    let mut gateway = site.start();
    gateway.wait_for_log("device answered");
    let near = line.near();
    let said = fieldpost(&with(&["read", "--holding", "300"], &rtu(&near)));
    assert_eq!(said.code, Some(1), "{said}");
    let holder = format!("fieldpost (process {})", gateway.process().id());
    assert!(said.err.contains("is held by") && said.err.contains(&holder), "{said}");
    assert!(said.err.contains("--config"), "{said}");
    assert!(gateway.sigterm().success());
}

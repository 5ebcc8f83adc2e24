//! What a LAN client or an upstream publishes under `…/set` is written to devices of other people's making, once, and
//! answered.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use serde_json::{Value, json};

use super::lan::port;
use crate::support::{
    Fieldpost, ModbusServer, Mosquitto, Site, Subscriber, mosquitto_pub, mosquitto_sub, pty_pair,
    wait_until,
};

const POINTS: &str = "\
    pump: { coil: 4, writable: true }\n\
    lamps: { coil: 10, count: 3, writable: true }\n\
    setpoint: { holding: 110, type: i16, scale: 0.1, writable: { min: 20, max: 80 } }\n\
    energy: { holding: 120, type: f32, word_order: little, writable: true }\n\
    mode: { holding: 130, enum: { 0: off, 1: heating }, writable: true }\n\
    alarm: { holding: 140, bit: 3, writable: true }\n\
    name: { holding: 150, type: string, length: 4, writable: true }\n\
    flow: { holding: 160 }\n";

const BANK: &[(&str, u16, u16)] = &[
    ("coil", 4, 0),
    ("coil", 10, 0),
    ("coil", 11, 0),
    ("coil", 12, 1),
    ("holding", 110, 205),
    ("holding", 120, 0),
    ("holding", 121, 0),
    ("holding", 130, 0),
    ("holding", 140, 0xf0f0),
    ("holding", 150, 0),
    ("holding", 151, 0),
    ("holding", 160, 7),
];

pub(crate) fn configure(site: &Site, bus: &str, points: &str, more: &str) {
    let points: String = points.lines().map(|line| format!("      {line}\n")).collect();
    site.write_config(&format!(
        "gateway: {{ id: gw, state_dir: \"{{state}}\" }}\n\
         buses: {{ plant: {{ {bus} }} }}\n\
         devices:\n  boiler:\n    bus: plant\n    unit: 1\n    every: 60s\n    points:\n{points}\
         broker: {{ listeners: [ {{ tcp: 127.0.0.1:0, anonymous: true }} ] }}\n{more}"
    ));
}

/// What was answered, without the time, under which topic.
fn answers(near: &Subscriber, count: usize) -> Vec<(String, Value)> {
    let got = near.wait_for(count).into_iter().map(|message| {
        let mut answer: Value = serde_json::from_str(&message.payload).expect("JSON");
        let answer_time = answer.as_object_mut().and_then(|answer| answer.remove("time"));
        assert!(answer_time.is_some(), "{answer}");
        (message.topic, answer)
    });
    got.collect()
}

/// Publishes for a point and takes the answer.
fn ask(port: u16, near: &Subscriber, asked: &mut usize, place: &str, payload: &str) -> Value {
    mosquitto_pub(port, &format!("gw/{place}/set"), payload, &["-q", "1"]);
    *asked += 1;
    let (topic, answer) = answers(near, *asked).pop().expect("an answer");
    assert_eq!(topic, format!("gw/{place}/set/result"));
    answer
}

fn all_kinds_of_points_are_written_over(bus: &str) {
    let site = Site::new();
    configure(&site, &format!("{bus}, timeout: 5s"), POINTS, "");
    let mut gateway = site.start();
    let port = port(&mut gateway);
    let near = mosquitto_sub(port, "gw/+/+/set/result", &["-q", "1"]);
    gateway.wait_for_log("device answered");
    let mut asked = 0;
    let mut point = |point: &str, payload: &str| {
        ask(port, &near, &mut asked, &format!("boiler/{point}"), payload)
    };
    for (name, payload, value, before) in [
        ("pump", "on", json!(true), json!(false)),
        ("pump", "0", json!(false), json!(true)),
        ("lamps", "[true, 1, false]", json!([true, true, false]), json!([false, false, true])),
        ("setpoint", "55", json!(55.0), json!(20.5)),
        ("setpoint", "21.44", json!(21.4), json!(55.0)),
        ("energy", "1.5", json!(1.5), json!(0)),
        ("mode", "heating", json!("heating"), json!("off")),
        ("alarm", "true", json!(true), json!(false)),
        ("name", "42", json!("42"), json!("")),
    ] {
        let expected = json!({"result": "confirmed", "value": value, "before": before});
        assert_eq!(point(name, payload), expected, "{name} {payload}");
    }
    let with_id = point("setpoint", r#"{"value": 30, "id": "a-1"}"#);
    let expected = json!({"id": "a-1", "result": "confirmed", "value": 30.0, "before": 21.4});
    assert_eq!(with_id, expected);
    for (name, payload, reason) in [
        ("setpoint", "19", "19 is below 20, the limit of this point"),
        ("setpoint", "warm", "`warm` is not a number"),
        ("setpoint", "", "the payload is empty"),
        ("mode", "fault", "`fault` is none of off, heating"),
        ("name", "longer", "the text takes more than the 4 bytes there are"),
        ("flow", "1", "this point is not `writable`"),
        ("valve", "1", "device `boiler` has no point `valve`"),
        (
            "setpoint",
            r#"{"value": 30, "valid_until": "2020-01-01T00:00:00Z"}"#,
            "its time was over when it came",
        ),
    ] {
        assert_eq!(point(name, payload), json!({"result": "refused", "reason": reason}));
    }
    let repeated = point("setpoint", r#"{"value": 40, "id": "a-1"}"#);
    assert_eq!((&repeated["result"], &repeated["id"]), (&json!("refused"), &json!("a-1")));
    let log = gateway.log();
    assert!(log.contains("point written") && log.contains("write refused"), "{log}");
    assert!(gateway.sigterm().success());
}

#[test]
fn every_kind_of_point_is_written_to_pymodbus_over_tcp_and_read_back() {
    let device = ModbusServer::pymodbus_tcp(BANK, None);
    let bus = format!("modbus-tcp: \"127.0.0.1:{}\"", device.port());
    all_kinds_of_points_are_written_over(&bus);
}

#[test]
fn every_kind_of_point_is_written_to_libmodbus_over_tcp_and_read_back() {
    let device = ModbusServer::libmodbus_tcp(BANK);
    let bus = format!("modbus-tcp: \"127.0.0.1:{}\"", device.port());
    all_kinds_of_points_are_written_over(&bus);
}

#[test]
fn every_kind_of_point_is_written_to_pymodbus_over_ascii_and_read_back() {
    let line = pty_pair();
    let far = line.far();
    let way = ["--ascii", far.to_str().expect("text"), "--baud", "19200"];
    let _device = ModbusServer::pymodbus_by(&way, BANK);
    let near = line.near();
    let bus = format!("modbus-ascii: {}, baud: 19200, parity: none, data_bits: 8", near.display());
    all_kinds_of_points_are_written_over(&bus);
}

#[test]
fn every_kind_of_point_is_written_to_libmodbus_on_a_serial_line_and_read_back() {
    let line = pty_pair();
    let _device = ModbusServer::libmodbus_rtu(&line.far(), 1, BANK);
    let bus = format!("modbus-rtu: {}, baud: 9600, parity: none", line.near().display());
    all_kinds_of_points_are_written_over(&bus);
}

#[test]
fn every_kind_of_point_is_written_to_pymodbus_through_a_converter_and_over_udp() {
    let framings =
        [("modbus-rtu-over-tcp", "--tcp", "rtu"), ("modbus-ascii-over-tcp", "--tcp", "ascii")];
    for (kind, way, framer) in framings {
        let device = ModbusServer::pymodbus_by(&[way, "--framer", framer], BANK);
        all_kinds_of_points_are_written_over(&format!("{kind}: \"127.0.0.1:{}\"", device.port()));
    }
    let device = ModbusServer::pymodbus_by(&["--udp"], BANK);
    let bus = format!("modbus-udp: \"127.0.0.1:{}\"", device.port());
    all_kinds_of_points_are_written_over(&bus);
}

#[test]
fn several_points_are_written_by_one_message_or_none_of_them() {
    let device = ModbusServer::pymodbus_tcp(BANK, None);
    let site = Site::new();
    configure(&site, &format!("modbus-tcp: \"127.0.0.1:{}\"", device.port()), POINTS, "");
    let mut gateway = site.start();
    let port = port(&mut gateway);
    let near = mosquitto_sub(port, "gw/+/set/result", &["-q", "1"]);
    let mut asked = 0;
    let mut ask = |payload: &str| ask(port, &near, &mut asked, "boiler", payload);
    let bad = ask(r#"{"values": {"pump": true, "setpoint": 90}, "id": 1}"#);
    let expected = json!({"id": 1, "result": "refused", "points": {
        "pump": {"result": "refused", "reason": "another point of this request cannot be written"},
        "setpoint": {"result": "refused", "reason": "90 is above 80, the limit of this point"},
    }});
    assert_eq!(bad, expected);
    let good = ask(r#"{"pump": true, "setpoint": 50}"#);
    let expected = json!({"result": "confirmed", "points": {
        "pump": {"result": "confirmed", "value": true, "before": false},
        "setpoint": {"result": "confirmed", "value": 50.0, "before": 20.5},
    }});
    assert_eq!(good, expected);
    assert!(gateway.sigterm().success());
}

#[test]
fn an_upstream_asks_through_accept_and_gets_the_answer_where_it_wants_it() {
    let device = ModbusServer::pymodbus_tcp(BANK, None);
    let upstream = Mosquitto::start();
    // What lies there retained was asked nobody knows when.
    mosquitto_pub(upstream.port(), "gw/boiler/mode/set", "heating", &["-r"]);
    let site = Site::new();
    let uplinks = format!(
        "uplinks:\n  cloud:\n    url: {}\n    forward: [ {{ filter: \"gw/#\", qos: 1 }}, \
         {{ filter: \"replies/#\", qos: 1 }} ]\n    accept: [ {{ filter: \"gw/+/+/set\", qos: 1 }} ]\n",
        upstream.url()
    );
    configure(&site, &format!("modbus-tcp: \"127.0.0.1:{}\"", device.port()), POINTS, &uplinks);
    let far = mosquitto_sub(upstream.port(), "gw/+/+/set/result", &["-q", "1"]);
    let replies = mosquitto_sub(upstream.port(), "replies/#", &["-q", "1"]);
    let mut gateway = site.start();
    gateway.wait_for_log("uplink connected");
    let refused = answers(&far, 1).pop().expect("an answer");
    assert_eq!(refused.0, "gw/boiler/mode/set/result");
    assert_eq!(refused.1["result"], "refused");
    assert!(refused.1["reason"].as_str().is_some_and(|it| it.contains("retained")), "{refused:?}");
    let v5 = ["-q", "1", "-V", "5", "-D", "publish", "response-topic", "replies/panel"];
    mosquitto_pub(upstream.port(), "gw/boiler/setpoint/set", "44", &v5);
    let expected = json!({"result": "confirmed", "value": 44.0, "before": 20.5});
    assert_eq!(answers(&far, 2).pop().expect("an answer").1, expected);
    assert_eq!(answers(&replies, 1), [("replies/panel".to_owned(), expected)]);
    let log = gateway.log();
    assert!(log.contains("uplink \\\"cloud\\\"") || log.contains("uplink \"cloud\""), "{log}");
    assert!(gateway.sigterm().success());
}

#[test]
fn whoever_the_rules_keep_from_a_topic_writes_nothing_there_and_hears_nothing_elsewhere() {
    let device = ModbusServer::pymodbus_tcp(BANK, None);
    let site = Site::new();
    configure(&site, &format!("modbus-tcp: \"127.0.0.1:{}\"", device.port()), POINTS, "");
    let rules = "anonymous: true } ], acl: [ { deny: publish, topic: gw/boiler/pump/set }, \
                 { deny: subscribe, topic: \"secret/#\" }, { allow: both, topic: \"#\" } ] }";
    let yaml = std::fs::read_to_string(site.config()).expect("the configuration");
    let yaml = yaml.replace("anonymous: true } ] }", rules);
    std::fs::write(site.config(), yaml).expect("the configuration");
    let mut gateway = site.start();
    let port = port(&mut gateway);
    let near = mosquitto_sub(port, "gw/+/+/set/result", &["-q", "1"]);
    mosquitto_pub(port, "gw/boiler/pump/set", "on", &["-q", "1"]);
    let elsewhere =
        ["-q", "1", "-V", "5", "-D", "publish", "response-topic", "secret/x", "-i", "me"];
    mosquitto_pub(port, "gw/boiler/setpoint/set", "44", &elsewhere);
    let expected = json!({"result": "confirmed", "value": 44.0, "before": 20.5});
    let said = ("gw/boiler/setpoint/set/result".to_owned(), expected);
    assert_eq!(answers(&near, 1), [said], "the pump was not looked at");
    let log = gateway.log();
    assert!(log.contains("point written") && log.contains("\"me\""), "{log}");
    assert!(!log.contains("secret/x"), "{log}");
    assert!(gateway.sigterm().success());
}

/// A Modbus TCP device with one register, 7, which takes what is written and tells the test of it. It answers a write when
/// it is told to.
pub(crate) fn slow_device() -> (u16, Receiver<u16>, Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let ((told, writes), (answer, may_answer)) = (channel(), channel());
    thread::spawn(move || {
        let mut register = 7u16;
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            while serve(&mut stream, &mut register, &told, &may_answer).is_some() {}
        }
    });
    (port, writes, answer)
}

fn serve(
    stream: &mut TcpStream,
    register: &mut u16,
    told: &Sender<u16>,
    may_answer: &Receiver<bool>,
) -> Option<()> {
    let mut request = [0; 12];
    stream.read_exact(&mut request).ok()?;
    let [t0, t1, .., unit, function, _, _, v0, v1] = request;
    if function == 6 {
        *register = u16::from_be_bytes([v0, v1]);
        told.send(*register).ok()?;
        return if may_answer.recv().ok()? { stream.write_all(&request).ok() } else { Some(()) };
    }
    let [high, low] = register.to_be_bytes();
    stream.write_all(&[t0, t1, 0, 0, 0, 5, unit, 3, 2, high, low]).ok()
}

#[test]
fn a_kill_between_the_write_and_its_answer_writes_nothing_twice_and_says_that_it_is_not_known() {
    let (device, writes, answer) = slow_device();
    let site = Site::new();
    let points = "it: { holding: 0, writable: true }\n";
    let bus = format!("modbus-tcp: \"127.0.0.1:{device}\", timeout: 10s");
    configure(&site, &bus, points, "");
    let mut gateway = site.start();
    let request = r#"{"value": 9, "id": "once"}"#;
    mosquitto_pub(port(&mut gateway), "gw/boiler/it/set", request, &["-q", "1"]);
    assert_eq!(writes.recv(), Ok(9));
    gateway.sigkill();
    answer.send(false).expect("the device is there");
    // Somebody waits for answers in a session of the store, before the gateway is there again to give one.
    gateway.restart(&site);
    wait_until("the request that was under way is found", || {
        gateway.log().contains("request was under way when the gateway was stopped")
    });
    let port = port(&mut gateway);
    let near = mosquitto_sub(port, "gw/+/+/set/result", &["-q", "1"]);
    // The client never heard that it was taken, and says it again.
    mosquitto_pub(port, "gw/boiler/it/set", request, &["-q", "1"]);
    let got = answers(&near, 1).pop().expect("an answer").1;
    assert_eq!((&got["result"], &got["id"]), (&json!("refused"), &json!("once")), "{got}");
    answer.send(true).expect("the device is there");
    mosquitto_pub(port, "gw/boiler/it/set", r#"{"value": 10, "id": "twice"}"#, &["-q", "1"]);
    assert_eq!(writes.recv(), Ok(10), "nothing was written in between");
    let got = answers(&near, 2).pop().expect("an answer").1;
    let expected = json!({"id": "twice", "result": "confirmed", "value": 10, "before": 9});
    assert_eq!(got, expected);
    assert!(gateway.sigterm().success());
}

/// A client of MQTT 3.1.1 that says everything byte by byte.
fn mqtt(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the broker");
    let connect = [16, 15, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 3, b'r', b'a', b'w'];
    stream.write_all(&connect).expect("it is there");
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).expect("an answer");
    assert_eq!(connack, [32, 2, 0, 0]);
    stream
}

/// Publishes under packet id 7 at QoS 1 and waits for the acknowledgement.
fn publish(stream: &mut TcpStream, payload: &str, is_repeated: bool) {
    let topic = "gw/boiler/it/set";
    let length = u8::try_from(2 + topic.len() + 2 + payload.len()).expect("short");
    let head = [0x32 | u8::from(is_repeated) << 3, length, 0, topic.len() as u8];
    let packet = [&head, topic.as_bytes(), &[0, 7], payload.as_bytes()].concat();
    stream.write_all(&packet).expect("it is there");
    let mut puback = [0; 4];
    stream.read_exact(&mut puback).expect("an answer");
    assert_eq!(puback, [64, 2, 0, 7]);
}

#[test]
fn a_packet_that_is_repeated_after_a_kill_is_not_written_again_and_another_of_its_number_is() {
    let (device, writes, answer) = slow_device();
    let site = Site::new();
    let points = "it: { holding: 0, writable: true }\n";
    configure(&site, &format!("modbus-tcp: \"127.0.0.1:{device}\", timeout: 10s"), points, "");
    let mut gateway = site.start();
    let mut client = mqtt(port(&mut gateway));
    publish(&mut client, "9", false);
    assert_eq!(writes.recv(), Ok(9));
    gateway.sigkill();
    answer.send(false).expect("the device is there");
    gateway.restart(&site);
    let port = port(&mut gateway);
    let near = mosquitto_sub(port, "gw/+/+/set/result", &["-q", "1"]);
    let mut client = mqtt(port);
    publish(&mut client, "9", true);
    let got = answers(&near, 1).pop().expect("an answer").1;
    assert_eq!(got["result"], "refused", "{got}");
    for number in [2, 3] {
        answer.send(true).expect("the device is there");
        publish(&mut client, "9", false);
        let got = answers(&near, number).pop().expect("an answer").1;
        assert_eq!(got, json!({"result": "confirmed", "value": 9, "before": 9}));
    }
    assert_eq!(writes.try_iter().collect::<Vec<_>>(), [9, 9]);
    assert!(gateway.sigterm().success());
}

#[test]
fn a_write_that_is_not_answered_is_looked_up_instead_of_repeated() {
    let (device, writes, answer) = slow_device();
    let site = Site::new();
    let points = "it: { holding: 0, writable: true }\n";
    configure(&site, &format!("modbus-tcp: \"127.0.0.1:{device}\", timeout: 200ms"), points, "");
    let mut gateway = site.start();
    let port = port(&mut gateway);
    let near = mosquitto_sub(port, "gw/+/+/set/result", &["-q", "1"]);
    gateway.wait_for_log("device answered");
    answer.send(false).expect("the device is there");
    mosquitto_pub(port, "gw/boiler/it/set", "9", &["-q", "1"]);
    let got = answers(&near, 1).pop().expect("an answer").1;
    assert_eq!(got, json!({"result": "confirmed", "value": 9, "before": 7}));
    assert_eq!(writes.try_iter().collect::<Vec<_>>(), [9]);
    assert!(gateway.sigterm().success());
}

#[test]
fn a_bus_that_is_lost_refuses_at_once_and_nothing_waits_for_its_return() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let site = Site::new();
    configure(&site, &format!("modbus-tcp: \"{gone}\""), POINTS, "");
    let mut gateway: Fieldpost = site.start();
    let port = port(&mut gateway);
    gateway.wait_for_log("bus lost");
    let near = mosquitto_sub(port, "gw/+/+/set/result", &["-q", "1"]);
    let got = ask(port, &near, &mut 0, "boiler/pump", "on");
    assert_eq!(got["result"], "refused", "{got}");
    assert!(got.get("reason").is_some(), "{got}");
    assert!(gateway.sigterm().success());
}

//! Requests to write by clients of MQTT 5 that are not ours: each gets its answer where it wants it and under what it knows it
//! by, also over a kill.

use serde_json::{Value, json};

use super::lan::port;
use super::writes::{configure, slow_device};
use crate::support::{
    self, ModbusServer, Received, Site, mosquitto_pub, mosquitto_sub, wait_until,
};

#[test]
fn a_client_of_paho_gets_each_answer_under_its_correlation_data() {
    let device = ModbusServer::pymodbus_tcp(&[("holding", 1, 7), ("holding", 2, 8)], None);
    let site = Site::new();
    let points =
        "one: { holding: 1, writable: { max: 100 } }\ntwo: { holding: 2, writable: true }\n";
    let bus = format!("modbus-tcp: \"127.0.0.1:{}\", timeout: 5s", device.port());
    configure(&site, &bus, points, "");
    let mut gateway = site.start();
    let port = port(&mut gateway).to_string();
    gateway.wait_for_log("device answered");
    let mut command = support::script("requester.py");
    command.args([&port, "panel/answers"]);
    command.args(["gw/boiler/one/set", "50", "gw/boiler/two/set", r#"{"value": 60, "id": 1}"#]);
    command.args(["gw/boiler/one/set", "101", "gw/boiler/set", r#"{"one": 51, "two": 61}"#]);
    let output = command.output().expect("paho runs");
    assert!(output.status.success(), "{output:?}\n{}", gateway.log());
    let text = String::from_utf8(output.stdout).expect("text");
    let said: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(said.len(), 4);
    let expected = [
        json!({"result": "confirmed", "value": 50, "before": 7}),
        json!({"id": 1, "result": "confirmed", "value": 60, "before": 8}),
        json!({"result": "refused", "reason": "101 is above 100, the limit of this point"}),
        json!({"result": "confirmed", "points": {
            "one": {"result": "confirmed", "value": 51, "before": 50},
            "two": {"result": "confirmed", "value": 61, "before": 60},
        }}),
    ];
    for (said, expected) in said.iter().zip(expected) {
        assert_eq!(said["strangers"], json!([]));
        let answers = said["answers"].as_array().expect("a list");
        assert_eq!(answers.len(), 1, "one answer each: {said}");
        let mut answer: Value =
            serde_json::from_str(answers[0].as_str().expect("text")).expect("JSON");
        answer.as_object_mut().expect("an object").remove("time");
        assert_eq!(answer, expected);
    }
    assert!(gateway.sigterm().success());
}

#[test]
fn a_client_of_mosquitto_rr_gets_its_answer() {
    let device = ModbusServer::pymodbus_tcp(&[("holding", 1, 7)], None);
    let site = Site::new();
    let bus = format!("modbus-tcp: \"127.0.0.1:{}\", timeout: 5s", device.port());
    configure(&site, &bus, "one: { holding: 1, writable: true }\n", "");
    let mut gateway = site.start();
    let port = port(&mut gateway).to_string();
    let output = support::program("mosquitto_rr")
        .args(["-h", "127.0.0.1", "-p", &port, "-V", "5", "-q", "1", "-W", "30"])
        .args(["-t", "gw/boiler/one/set", "-e", "panel/answers", "-m", "9"])
        .output()
        .expect("mosquitto_rr runs");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&answer["result"], &answer["value"]), (&json!("confirmed"), &json!(9)), "{answer}");
    assert!(gateway.sigterm().success());
}

#[test]
fn requests_that_were_acknowledged_are_answered_after_a_kill_whether_they_were_sent_or_waited() {
    let (device, writes, answer) = slow_device();
    let site = Site::new();
    let points = "it: { holding: 0, writable: true }\n";
    configure(&site, &format!("modbus-tcp: \"127.0.0.1:{device}\", timeout: 10s"), points, "");
    let mut gateway = site.start();
    let first_port = port(&mut gateway);
    let durable = ["-q", "1", "-V", "5", "-i", "panel", "-c", "-x", "3600"];
    // A session that is kept, so that answers which come before anybody is back wait for it.
    drop(mosquitto_sub(first_port, "answers", &durable).stop());
    let ask = |value: &str, token: &str, port: u16| {
        let properties = ["-D", "publish", "response-topic", "answers", "-D", "publish"];
        let arguments = [&["-q", "1", "-V", "5"][..], &properties, &["correlation-data", token]];
        mosquitto_pub(port, "gw/boiler/it/set", value, &arguments.concat());
    };
    ask("9", "sent", first_port);
    assert_eq!(writes.recv(), Ok(9));
    ask(r#"{"value": 10, "id": "behind"}"#, "waited", first_port);
    wait_until("the second is noted", || {
        let noted = std::fs::read_to_string(site.state_dir().join("requests"));
        noted.is_ok_and(|text| text.contains("behind"))
    });
    gateway.sigkill();
    answer.send(false).expect("the device is there");
    gateway.restart(&site);
    let panel = mosquitto_sub(port(&mut gateway), "answers", &durable);
    let got = panel.wait_for(2);
    let of = |token: &str| -> Value {
        let is_it = |it: &&Received| it.correlation.as_deref() == Some(token);
        let mine: Vec<&Received> = got.iter().filter(is_it).collect();
        assert_eq!(mine.len(), 1, "{got:?}");
        serde_json::from_str(&mine[0].payload).expect("JSON")
    };
    assert_eq!(of("sent")["result"], "unknown");
    let waited = of("waited");
    assert_eq!((&waited["result"], &waited["id"]), (&json!("refused"), &json!("behind")));
    let reason = "the gateway was stopped before this was sent; nothing was written";
    assert_eq!(waited["reason"], reason);
    // Nothing of it was sent, so it may be asked again under the same id.
    answer.send(true).expect("the device is there");
    ask(r#"{"value": 10, "id": "behind"}"#, "again", port(&mut gateway));
    assert_eq!(writes.recv(), Ok(10), "and only that");
    let again = panel.wait_for(3).pop().expect("three");
    let again: Value = serde_json::from_str(&again.payload).expect("JSON");
    assert_eq!(again["result"], "confirmed", "{again}");
    gateway.sigkill();
    gateway.restart(&site);
    gateway.wait_for_log("broker listens");
    assert!(!gateway.process().own_log().contains("request was under way"), "all are answered");
    assert!(gateway.sigterm().success());
}

//! `fieldpost clients` on a gateway that runs, and on none.

use std::path::Path;
use std::process::{Command, Output};

use fieldpost::mqtt::{Packet, ReasonCode, Version};
use serde_json::{Value, json};

use crate::broker::{Broker, USERS, as_user, site_with_users};
use crate::client::{Client, QOS1, connect, persistent, publish, subscription};
use crate::support::{Site, mosquitto_sub, require_peers};

fn clients(config: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fieldpost"));
    command.args(["clients", "-c"]).arg(config).args(arguments).output().expect("it runs")
}

#[track_caller]
fn listed(broker: &Broker) -> Value {
    let output = clients(&broker.site.config(), &["--json"]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn find<'a>(list: &'a Value, id: &str) -> &'a Value {
    let clients = list["clients"].as_array().unwrap();
    clients.iter().find(|client| client["client_id"] == id).expect("it is listed")
}

#[test]
fn who_is_there_and_who_is_away_is_listed() {
    require_peers();
    let site = site_with_users(&["ann"]);
    let broker = Broker::start(site, "anonymous: true", USERS, "");
    let with = ["-i", "sub", "-u", "ann", "-P", "nna", "-k", "33", "-V", "5", "-q", "1"];
    let _sub = mosquitto_sub(broker.port, "a/#", &with);
    let mut meter = connect(Version::V311, "meter");
    meter.keep_alive = 0;
    let _meter = Client::connect(broker.port, meter);
    let (mut away, _) = Client::connect(broker.port, persistent(Version::V5, "away"));
    away.subscribe(&[subscription("a/b", QOS1), subscription("a/c", QOS1)]);
    away.disconnect(ReasonCode::Success, None);
    let (mut writer, _) = Client::connect(broker.port, as_user(Version::V5, "writer", "ann"));
    writer.publish(QOS1, 1, "a/b", "12345");
    writer.publish(QOS1, 1, "a/c", "1");

    let list = listed(&broker);
    assert_eq!((&list["connected"], &list["away"]), (&json!(3), &json!(1)));
    let sub = find(&list, "sub");
    let fields = ["connected", "user", "version", "keep_alive_s", "clean_start", "subscriptions"];
    let shown = fields.map(|field| sub[field].clone());
    assert_eq!(shown, [json!(true), json!("ann"), json!("5.0"), json!(33), json!(true), json!(1)]);
    assert!(sub["address"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(sub["listener"], format!("mqtt://127.0.0.1:{}", broker.port));
    assert!(sub["since"].as_str().unwrap().ends_with('Z'));
    let meter = find(&list, "meter");
    assert_eq!((&meter["user"], &meter["keep_alive_s"]), (&Value::Null, &json!(0)));
    assert_eq!((&meter["version"], &meter["session_expiry_s"]), (&json!("3.1.1"), &json!(0)));
    let away = find(&list, "away");
    let fields = ["connected", "queued", "queued_bytes", "subscriptions", "session_expiry_s"];
    let shown = fields.map(|field| away[field].clone());
    assert_eq!(shown, [json!(false), json!(2), json!(6), json!(2), json!(3600)]);
    assert_eq!(away["version"], Value::Null);

    let table = clients(&broker.site.config(), &[]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.starts_with("client id"), "{table}");
    assert!(table.ends_with("3 connected, 1 away\n"), "{table}");
    for line in ["away", "meter", "sub", "writer"] {
        assert_eq!(table.lines().filter(|l| l.starts_with(line)).count(), 1, "{table}");
    }
}

#[test]
fn what_a_client_lost_and_was_denied_is_counted() {
    let rules = "limits: { stored_messages: 1 }\n  acl: [ { deny: publish, topic: \"no/#\" }, { allow: both, topic: \"#\" } ]";
    let broker = Broker::start(Site::new(), "anonymous: true", rules, "");
    let (mut away, _) = Client::connect(broker.port, persistent(Version::V5, "away"));
    away.subscribe(&[subscription("a", QOS1)]);
    away.disconnect(ReasonCode::Success, None);
    let (mut writer, _) = Client::connect(broker.port, connect(Version::V5, "writer"));
    (0..3).for_each(|_| writer.publish(QOS1, 1, "a", "1"));
    writer.send(Packet::Publish(publish(QOS1, 1, "no/x", "1")));
    assert!(matches!(writer.receive(), Packet::PubAck(ack) if ack.reason.is_failure()));
    let list = listed(&broker);
    assert_eq!(find(&list, "away")["totals"]["dropped"], 2);
    assert_eq!(find(&list, "writer")["totals"]["denied"], 1);
}

#[test]
fn a_client_is_sent_away_by_command() {
    let broker = Broker::start(Site::new(), "anonymous: true", "", "");
    let (mut client, _) = Client::connect(broker.port, persistent(Version::V5, "c"));
    let done = clients(&broker.site.config(), &["disconnect", "c"]);
    assert!(done.status.success(), "{done:?}");
    match client.receive() {
        Packet::Disconnect(bye) => assert_eq!(bye.reason, ReasonCode::AdministrativeAction),
        other => panic!("{other:?}"),
    }
    assert_eq!(client.until_closed(), []);
    assert!(Client::connect(broker.port, persistent(Version::V5, "c")).1, "its session stays");
    let nobody = clients(&broker.site.config(), &["disconnect", "nobody"]);
    assert_eq!(nobody.status.code(), Some(1));
    let said = String::from_utf8(nobody.stderr).unwrap();
    assert!(said.contains("no client `nobody` is connected"), "{said}");
}

#[test]
fn without_a_gateway_there_is_nobody_to_ask() {
    let mut broker = Broker::start(Site::new(), "anonymous: true", "", "");
    let state_dir = broker.site.state_dir();
    let by_directory = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fieldpost"));
        command.args(["clients", "--state-dir"]).arg(&state_dir).output().unwrap()
    };
    let none = by_directory();
    assert!(none.status.success(), "{none:?}");
    assert_eq!(none.stdout, b"no client is connected, and no session waits\n");
    broker.gateway.sigterm();
    for output in [clients(&broker.site.config(), &[]), by_directory()] {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("no gateway runs with the queue in"), "{said}");
    }
}

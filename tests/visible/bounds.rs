//! What happens at each bound is counted where the README says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroU16;

use fieldpost::broker::Limits;
use fieldpost::config::{self, SystemSecrets};
use fieldpost::mqtt::{Packet, Publish, ReasonCode, Version};

use crate::broker::{Broker, USERS, site_with_users, with_password};
use crate::client::{Client, QOS0, QOS1, connect, persistent, publish, subscription};
use crate::support::{Site, Subscriber, mosquitto_sub, require_peers, wait_until};

const COUNTED: &str = "$SYS/broker/fieldpost/";

/// The rows of the README's table: the bound, its default, where it is counted.
fn table() -> Vec<[String; 3]> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let rows = readme.lines().skip_while(|line| !line.starts_with("| bound |")).skip(2);
    let cells = |row: &str| -> Vec<String> {
        row.split('|').map(|cell| cell.trim().replace('`', "")).collect()
    };
    rows.take_while(|row| row.starts_with('|'))
        .map(|row| match &cells(row)[..] {
            [_, bound, default, _, counted, _] => [bound.clone(), default.clone(), counted.clone()],
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn the_bounds_of_the_readme_are_those_of_the_configuration() {
    let rows = table();
    assert!(rows.len() >= 17, "{rows:?}");
    for [bound, default, _] in &rows {
        let Some(key) = bound.strip_prefix("limits.") else { continue };
        if default == "none" {
            continue;
        }
        let yaml = format!(
            "gateway: {{ id: gw, state_dir: /s }}\n\
             broker: {{ listeners: [ {{ tcp: \"127.0.0.1:1\", anonymous: true }} ], limits: {{ {key}: {default} }} }}\n"
        );
        let parsed = config::parse("readme", &yaml, &SystemSecrets::for_check());
        let parsed = parsed.unwrap_or_else(|complaints| panic!("{key}: {complaints}"));
        // Who writes the bound of an address means every address.
        let mut limits = parsed.settings.broker.limits;
        limits.half_open_per_address.binds_loopback = false;
        limits.connection_rate.binds_loopback = false;
        assert_eq!(limits, Limits::default(), "{key}: {default}");
    }
}

fn watch(broker: &Broker) -> Subscriber {
    mosquitto_sub(broker.port, &format!("{COUNTED}#"), &["-i", "watcher"])
}

fn counts(watcher: &Subscriber) -> BTreeMap<String, u64> {
    let got = watcher.received().into_iter();
    let name = |topic: String| topic.strip_prefix(COUNTED).unwrap().to_owned();
    got.map(|got| (name(got.topic), got.payload.parse().unwrap())).collect()
}

#[track_caller]
fn counted(watcher: &Subscriber, name: &str, least: u64) {
    wait_until(&format!("{name} is {least} or more"), || {
        counts(watcher).get(name).is_some_and(|count| *count >= least)
    });
}

#[test]
fn the_counts_of_the_readme_are_told() {
    require_peers();
    let broker = Broker::start(Site::new(), "anonymous: true", "sys_interval: 1s", "");
    let watcher = watch(&broker);
    counted(&watcher, "store/commits", 0);
    let told: BTreeSet<String> = counts(&watcher).into_keys().collect();
    for [bound, _, counted] in table() {
        let names = counted.split(", ").filter(|name| *name != "–");
        for name in names {
            assert!(told.contains(name), "{bound}: {name} is not among {told:?}");
        }
    }
}

const TIGHT: &str = "limits:\n    connections: 6\n    connect_timeout: 1s\n    packet_size: 1KiB\n    inflight: 2\n\
    \x20   queued_messages: 200\n    stored_messages: 2\n    subscriptions: 2\n    retained_messages: 1\n\
    \x20   topic_levels: 4\n    topic_length: 40\n    half_open: 2\n  sys_interval: 1s";

#[test]
fn each_bound_that_is_reached_is_counted() {
    require_peers();
    let broker = Broker::start(site_with_users(&["ann"]), "anonymous: true", TIGHT, USERS);
    let watcher = watch(&broker);
    let dial = |id: &str| Client::connect(broker.port, connect(Version::V5, id)).0;

    let mut c = dial("c");
    let kept = |at| Publish { retain: true, ..publish(QOS1, 1, at, "x") };
    for (packet, name) in [
        (publish(QOS1, 1, "a/b/c/d/e", ""), "refused/topic_levels"),
        (publish(QOS1, 1, &"x".repeat(41), ""), "refused/topic_length"),
    ] {
        c.send(Packet::Publish(packet));
        assert!(matches!(c.receive(), Packet::PubAck(ack) if ack.reason.is_failure()));
        counted(&watcher, name, 1);
    }
    for at in ["kept", "not/kept"] {
        c.send(Packet::Publish(kept(at)));
        c.receive();
    }
    counted(&watcher, "refused/retained", 1);
    c.subscribe(&["1", "2", "3"].map(|filter| subscription(filter, QOS0)));
    counted(&watcher, "refused/subscriptions", 1);

    let (mut away, _) = Client::connect(broker.port, persistent(Version::V5, "away"));
    away.subscribe(&[subscription("s", QOS1)]);
    away.disconnect(ReasonCode::Success, None);
    (0..4).for_each(|_| c.publish(QOS1, 1, "s", "x"));
    counted(&watcher, "dropped/stored", 2);

    // It reads, acknowledges nothing, and so has more and more waiting.
    let mut lazy = connect(Version::V5, "lazy");
    lazy.properties.receive_maximum = NonZeroU16::new(1);
    let (mut lazy, _) = Client::connect(broker.port, lazy);
    lazy.subscribe(&[subscription("q", QOS1)]);
    (0..210).for_each(|_| c.publish(QOS1, 1, "q", "x"));
    counted(&watcher, "dropped/queued", 9);
    drop(lazy);

    let large = "x".repeat(2000);
    let mut loud = dial("loud");
    loud.send(Packet::Publish(publish(QOS0, 0, "a", &large)));
    loud.until_closed();
    counted(&watcher, "refused/packet_size", 1);

    let mut hasty = dial("hasty");
    for number in 1..4 {
        hasty.send(Packet::Publish(publish(crate::client::QOS2, number, "a", "")));
    }
    hasty.until_closed();
    counted(&watcher, "refused/inflight", 1);

    let wrong = with_password(Version::V5, "thief", "ann", "guess");
    let (_, answer) = Client::try_connect(broker.port, wrong);
    assert_eq!(answer.reason, ReasonCode::BadUserNameOrPassword);
    counted(&watcher, "refused/login", 1);

    let silent: Vec<Client> = (0..3).map(|_| Client::dial(broker.port, Version::V5)).collect();
    counted(&watcher, "refused/half_open", 1);
    counted(&watcher, "refused/connect_timeout", 2);
    drop(silent);

    let full: Vec<_> = (0..6)
        .map(|number| {
            Client::try_connect(broker.port, connect(Version::V5, &format!("full{number}")))
        })
        .collect();
    assert_eq!(full[5].1.reason, ReasonCode::QuotaExceeded);
    counted(&watcher, "refused/connections", 1);
}

//! `$SYS/broker/…`: mosquitto's names, true values, nothing stored.

use std::collections::BTreeMap;

use fieldpost::mqtt::{Packet, ReasonCode, Version};

use crate::broker::{ANYBODY, Broker, NAMED, USERS, site_with_users, user};
use crate::client::{Client, QOS0, QOS1, QOS2, connect, persistent, subscription};
use crate::support::{
    Mosquitto, Site, Subscriber, mosquitto_pub, mosquitto_sub, require_peers, wait_until,
};

const EVERY_SECOND: &str = "sys_interval: 1s";

/// What mosquitto 2.0.11 tells and we do not.
const NOT_OURS: [&str; 2] = [
    // Of an allocator that counts, which costs time on each allocation; the service manager knows the memory in use.
    "$SYS/broker/heap/current",
    "$SYS/broker/heap/maximum",
];

fn start(more: &str) -> Broker {
    Broker::start(Site::new(), ANYBODY, EVERY_SECOND, more)
}

/// The last value of each topic, once `enough` holds of them.
#[track_caller]
fn values(
    watcher: &Subscriber,
    what: &str,
    enough: impl Fn(&BTreeMap<String, String>) -> bool,
) -> BTreeMap<String, String> {
    let mut last = BTreeMap::new();
    wait_until(what, || {
        last = watcher.received().into_iter().map(|got| (got.topic, got.payload)).collect();
        enough(&last)
    });
    last
}

/// Everything a broker tells, after its values were brought up to date once more.
#[track_caller]
fn tree(port: u16) -> BTreeMap<String, String> {
    let watcher = mosquitto_sub(port, "$SYS/#", &[]);
    let uptimes = || watcher.received().iter().filter(|m| m.topic.ends_with("/uptime")).count();
    wait_until("the broker tells its uptime again", || uptimes() > 2);
    values(&watcher, "they are there", |_| true)
}

/// Digits as `0`, so that values of one form are the same text.
fn form(value: &str) -> String {
    let zeroed = |c: char| if c.is_ascii_digit() { '0' } else { c };
    let mut form: String = value.chars().map(zeroed).collect();
    while form.contains("00") {
        form = form.replace("00", "0");
    }
    form
}

#[test]
fn every_topic_of_mosquitto_s_tree_is_there_in_its_form() {
    require_peers();
    let broker = start("");
    let mosquitto = Mosquitto::start_with("allow_anonymous true\nsys_interval 1\n");
    let (theirs, ours) = (tree(mosquitto.port()), tree(broker.port));
    assert!(theirs.len() > 45, "{theirs:?}");
    for (topic, value) in &theirs {
        if NOT_OURS.contains(&topic.as_str()) || topic == "$SYS/broker/version" {
            continue;
        }
        let our = ours.get(topic).unwrap_or_else(|| panic!("{topic} ({value}) is missing"));
        assert_eq!(form(our), form(value), "{topic}");
    }
    let version = format!("fieldpost version {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(ours["$SYS/broker/version"], version);
    let further = ours.keys().filter(|topic| !theirs.contains_key(*topic));
    let strange: Vec<_> =
        further.filter(|topic| !topic.starts_with("$SYS/broker/fieldpost/")).collect();
    // Mosquitto leaves out what is 1 when it starts.
    let known = ["$SYS/broker/clients/total", "$SYS/broker/clients/maximum"];
    assert!(strange.iter().all(|topic| known.contains(&topic.as_str())), "{strange:?}");
}

#[test]
fn the_counts_are_those_of_what_went_through() {
    require_peers();
    let broker = start("");
    let reader = mosquitto_sub(broker.port, "a/#", &["-q", "1", "-i", "reader"]);
    let (away, _) = Client::connect(broker.port, persistent(Version::V5, "away"));
    away.disconnect(ReasonCode::Success, None);
    for number in 0..5 {
        mosquitto_pub(broker.port, "a/b", &format!("12345{number}"), &["-q", "1"]);
    }
    mosquitto_pub(broker.port, "a/kept", "x", &["-r"]);
    reader.wait_for(6);
    let watcher = mosquitto_sub(broker.port, "$SYS/broker/#", &["-i", "watcher"]);
    let is = |values: &BTreeMap<String, String>, name: &str, value: &str| {
        values.get(&format!("$SYS/broker/{name}")).map(String::as_str) == Some(value)
    };
    values(&watcher, "the counts are right", |all| {
        is(all, "clients/connected", "2")
            && is(all, "clients/active", "2")
            && is(all, "clients/disconnected", "1")
            && is(all, "clients/total", "3")
            && is(all, "publish/messages/received", "6")
            && is(all, "publish/bytes/received", "31")
            && is(all, "retained messages/count", "1")
            && is(all, "subscriptions/count", "2")
            && is(all, "publish/messages/dropped", "0")
            && is(all, "fieldpost/ended/by_client", "7")
    });
    let last = values(&watcher, "bytes were counted", |all| {
        let load = |name: &str| -> f64 {
            all.get(&format!("$SYS/broker/load/{name}")).map_or(0.0, |load| load.parse().unwrap())
        };
        // Averages follow at the next interval.
        all.get("$SYS/broker/bytes/sent").is_some_and(|bytes| bytes.len() > 3)
            && load("messages/received/1min") > load("messages/received/15min")
            && load("connections/1min") > 0.0
            && load("sockets/1min") > 0.0
    });
    let number = |name: &str| -> f64 { last[&format!("$SYS/broker/{name}")].parse().unwrap() };
    // Six publishers and three others said CONNECT, and six PUBLISH came; mosquitto_pub says DISCONNECT.
    assert!(number("messages/received") >= 21.0, "{last:?}");
    assert!(number("bytes/received") > 31.0 && number("publish/messages/sent") >= 6.0, "{last:?}");
}

#[test]
fn it_is_retained_for_who_comes_and_stored_for_nobody() {
    let broker = start("");
    let early = mosquitto_sub(broker.port, "$SYS/broker/uptime", &[]);
    early.wait_for(1);
    // A durable session that asks for QoS 2 is the worst there is.
    let (mut client, _) = Client::connect(broker.port, persistent(Version::V5, "durable"));
    client.subscribe(&[subscription("$SYS/broker/uptime", QOS2)]);
    let first = client.receive_publish();
    assert!(first.retain && first.qos == QOS0, "{first:?}");
    let live = client.receive_publish();
    assert!(!live.retain && live.qos == QOS0, "{live:?}");
    client.subscribe(&[subscription("$SYS/broker/fieldpost/store/commits", QOS2)]);
    let mut commits = Vec::new();
    let mut uptimes = 0;
    while uptimes < 4 {
        let got = client.receive_publish();
        match got.topic.unwrap().as_str() {
            "$SYS/broker/uptime" => uptimes += 1,
            _ => commits.push(String::from_utf8(got.payload.to_vec()).unwrap()),
        }
    }
    // The subscriptions are in; from then on nothing is written. The count may come once more with the second of them.
    assert!(commits.len() <= 2, "{commits:?}");
    client.disconnect(ReasonCode::Success, None);
    let watcher = mosquitto_sub(broker.port, "$SYS/broker/uptime", &[]);
    watcher.wait_for(3);
    let (mut client, present) = Client::connect(broker.port, persistent(Version::V5, "durable"));
    assert!(present);
    assert!(client.payloads().len() <= 1, "nothing waited but what may have come just now");
}

#[test]
fn the_rules_decide_who_sees_it() {
    let rules = "acl: [ { allow: subscribe, user: ann, topic: \"$SYS/broker/uptime\" } ]";
    let users = format!("{USERS}\n  {EVERY_SECOND}");
    let broker = Broker::start(site_with_users(&["ann", "bob"]), NAMED, &users, rules);
    let mut bob = user(broker.port, Version::V5, "bob");
    let refused = bob.subscribe(&[subscription("$SYS/#", QOS0)]);
    assert_eq!(refused, [ReasonCode::NotAuthorized]);
    let mut ann = user(broker.port, Version::V5, "ann");
    assert_eq!(ann.subscribe(&[subscription("$SYS/#", QOS0)]), [ReasonCode::Success]);
    for _ in 0..3 {
        let topic = ann.receive_publish().topic.unwrap();
        assert_eq!(topic.as_str(), "$SYS/broker/uptime");
    }
    assert_eq!(bob.so_far(), []);
}

#[test]
fn a_bridge_that_forwards_everything_does_not_forward_it() {
    let site = Site::new();
    let uplinks =
        "\nuplinks: { far: { url: \"mqtt://127.0.0.1:1\", forward: [ { filter: \"#\" } ] } }";
    let broker = Broker::start(site, ANYBODY, EVERY_SECOND, uplinks);
    let mut watcher = Client::subscriber(broker.port, Version::V5, "w", "$SYS/broker/uptime", QOS0);
    (0..3).for_each(|_| _ = watcher.receive_publish());
    watcher.publish(QOS1, 1, "plain", "x");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_fieldpost"))
        .args(["queue", "export", "-c"])
        .arg(broker.site.config())
        .output()
        .unwrap();
    let exported = String::from_utf8(output.stdout).unwrap();
    assert!(exported.contains("\"plain\""), "{exported}");
    assert!(!exported.contains("$SYS/broker/uptime"), "{exported}");
}

#[test]
fn an_interval_of_0_leaves_it_out() {
    let broker = Broker::start(Site::new(), ANYBODY, "sys_interval: 0", "");
    let (mut client, _) = Client::connect(broker.port, connect(Version::V5, "c"));
    client.subscribe(&[subscription("$SYS/#", QOS0), subscription("a", QOS0)]);
    assert_eq!(client.so_far(), Vec::<Packet>::new());
}

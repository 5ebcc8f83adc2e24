//! What the log says of clients: one line for each that comes, goes, or is refused, and not a flood of them.

use fieldpost::mqtt::{Packet, ReasonCode, Version};

use crate::broker::{Broker, NAMED, USERS, site_with_users, user, with_password};
use crate::client::{Client, QOS0, QOS1, connect, publish, subscription};
use crate::support::{Site, wait_until};

fn start(more: &str) -> Broker {
    Broker::start(Site::new(), "anonymous: true", more, "")
}

/// The lines that say `text`.
fn lines(broker: &Broker, text: &str) -> Vec<String> {
    broker.gateway.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

/// The one line that says `text`, once it is there; it says `all`, too.
#[track_caller]
fn line(broker: &Broker, text: &str, all: &[&str]) {
    wait_until(text, || !lines(broker, text).is_empty());
    let said = lines(broker, text);
    assert_eq!(said.len(), 1, "{said:?}");
    for part in all {
        assert!(said[0].contains(part), "{part} is not in {}", said[0]);
    }
}

#[test]
fn who_comes_and_why_somebody_goes_is_said() {
    let broker = start("");
    let listener = format!("listener=mqtt://127.0.0.1:{}", broker.port);
    let mut first = connect(Version::V311, "polite");
    first.keep_alive = 77;
    let (polite, _) = Client::connect(broker.port, first);
    let came = ["client_id=polite", "peer=127.0.0.1:", &listener, "MQTT 3.1.1", "keep_alive=77"];
    line(&broker, "client connected", &came);
    polite.disconnect(ReasonCode::Success, None);
    line(&broker, "client gone", &["client_id=polite", "client said DISCONNECT", &listener]);

    Client::connect(broker.port, connect(Version::V5, "rude")).0.cut();
    line(&broker, "without DISCONNECT", &["client gone", "client_id=rude", "peer=127.0.0.1:"]);

    let mut idle = connect(Version::V5, "idle");
    idle.keep_alive = 1;
    let (mut idle, _) = Client::connect(broker.port, idle);
    let words = idle.until_closed();
    assert!(
        matches!(&words[..], [Packet::Disconnect(bye)] if bye.reason == ReasonCode::KeepAliveTimeout)
    );
    line(&broker, "client sent away", &["client_id=idle", "keep alive timeout"]);

    let (mut wrong, _) = Client::connect(broker.port, connect(Version::V311, "wrong"));
    wrong.send_bytes(b"\x36\x00");
    wrong.until_closed();
    line(&broker, "malformed packet", &["client sent away", "client_id=wrong", "why="]);
}

#[test]
fn two_clients_with_one_client_id_are_named_once() {
    let broker = start("");
    let clients: Vec<Client> =
        (0..8).map(|_| Client::connect(broker.port, connect(Version::V5, "twin")).0).collect();
    wait_until("all were taken over", || lines(&broker, "session taken over").len() == 7);
    let usual = lines(&broker, "client id connected twice");
    assert_eq!(usual.len(), 3, "{usual:?}");
    assert!(usual[0].contains("first=127.0.0.1:") && usual[0].contains("second=127.0.0.1:"));
    let fight =
        ["client_id=twin", "first=127.0.0.1:", "second=127.0.0.1:", "a client id of its own"];
    line(&broker, "two clients share a client id", &fight);
    drop(clients);
}

#[test]
fn who_is_refused_is_named_with_the_reason() {
    let rules =
        "acl:\n    - { deny: both, topic: \"a/secret/#\" }\n    - { allow: both, topic: \"a/#\" }";
    let broker = Broker::start(site_with_users(&["ann"]), NAMED, USERS, rules);
    Client::try_connect(broker.port, with_password(Version::V5, "thief", "ann", "guess"));
    let refused = ["client_id=\"thief\"", "user=\"ann\"", "peer=127.0.0.1:", "password"];
    line(&broker, "client refused", &refused);

    let mut ann = user(broker.port, Version::V5, "ann");
    let published = |at| Packet::Publish(publish(QOS1, 1, at, "x"));
    ann.send(published("a/secret/x"));
    ann.receive();
    ann.send(published("b"));
    ann.receive();
    ann.subscribe(&[subscription("a/secret/#", QOS0)]);
    wait_until("all is said", || lines(&broker, "denied by the rules").len() == 3);
    let said = lines(&broker, "denied by the rules");
    for (line, parts) in said.iter().zip([
        ["what=\"publish\"", "topic=a/secret/x", "rule 1 denies it"],
        ["what=\"publish\"", "topic=b", "no rule allows it"],
        ["what=\"subscribe\"", "topic=a/secret/#", "rule 1 denies it"],
    ]) {
        let client = ["user=\"ann\"", "address=127.0.0.1"];
        assert!(parts.iter().chain(&client).all(|part| line.contains(part)), "{line}");
    }
}

#[test]
fn a_flood_does_not_fill_the_log() {
    let broker = start("acl: []");
    for number in 0..60 {
        let id = format!("c{number}");
        let (mut client, _) = Client::connect(broker.port, connect(Version::V5, &id));
        client.send(Packet::Publish(publish(QOS1, 1, "a", "x")));
        client.receive();
        client.disconnect(ReasonCode::Success, None);
    }
    for _ in 0..20 {
        let mut stranger = Client::dial(broker.port, Version::V311);
        stranger.send_bytes(b"\xc0\x00");
        stranger.until_closed();
    }
    wait_until("the first are said", || lines(&broker, "client gone").len() >= 30);
    let count = |text| lines(&broker, text).len();
    assert_eq!((count("client connected"), count("client gone")), (30, 30));
    assert_eq!((count("denied by the rules"), count("instead of CONNECT")), (5, 1));
}

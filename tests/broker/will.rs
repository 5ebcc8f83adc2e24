//! What is said for a client that is gone.

use fieldpost::mqtt::{Connect, ReasonCode, Version, Will};

use crate::client::{Client, QOS0, QOS1, VERSIONS, connect, persistent, subscription, will};
use crate::gateway::Gateway;
use crate::support::wait_until;

fn mortal(version: Version) -> Connect {
    Connect { will: Some(will("gone")), ..connect(version, "mortal") }
}

#[test]
fn a_will_is_said_after_a_cut_and_not_after_a_goodbye() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut watcher = Client::subscriber(gateway.port, version, "w", "will", QOS0);
        let (client, _) = Client::connect(gateway.port, mortal(version));
        client.disconnect(ReasonCode::Success, None);
        let (mut last, _) = Client::connect(gateway.port, connect(version, "last"));
        last.publish(crate::client::QOS1, 1, "will", "none so far");
        assert_eq!(watcher.payloads(), ["none so far"]);
        let (client, _) = Client::connect(gateway.port, mortal(version));
        client.cut();
        assert_eq!(&watcher.receive_publish().payload[..], b"gone");
    }
}

#[test]
fn a_client_may_say_goodbye_and_ask_for_its_will() {
    let gateway = Gateway::start();
    let mut watcher = Client::subscriber(gateway.port, Version::V5, "w", "will", QOS0);
    let (client, _) = Client::connect(gateway.port, mortal(Version::V5));
    client.disconnect(ReasonCode::DisconnectWithWill, None);
    assert_eq!(&watcher.receive_publish().payload[..], b"gone");
}

#[test]
fn whoever_breaks_the_protocol_or_is_taken_over_has_its_will_said() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut watcher = Client::subscriber(gateway.port, version, "w", "will", QOS0);
        let (mut client, _) = Client::connect(gateway.port, mortal(version));
        client.send_bytes(b"\xff\xff\xff");
        assert_eq!(&watcher.receive_publish().payload[..], b"gone");
        let _old = Client::connect(gateway.port, mortal(version));
        let _new = Client::connect(gateway.port, connect(version, "mortal"));
        assert_eq!(&watcher.receive_publish().payload[..], b"gone");
    }
}

#[test]
fn a_delayed_will_is_said_late_and_not_if_the_client_returns() {
    let gateway = Gateway::start();
    let mut watcher = Client::subscriber(gateway.port, Version::V5, "w", "will", QOS0);
    let delayed = |name, payload, delay| Connect {
        will: Some(Will { delay: Some(delay), ..will(payload) }),
        ..persistent(Version::V5, name)
    };
    let (client, _) = Client::connect(gateway.port, delayed("returns", "no", 1));
    client.cut();
    let (_client, present) = Client::connect(gateway.port, persistent(Version::V5, "returns"));
    assert!(present);
    let (client, _) = Client::connect(gateway.port, delayed("stays", "yes", 2));
    client.cut();
    // The other's would have been due before.
    assert_eq!(&watcher.receive_publish().payload[..], b"yes");
    assert_eq!(watcher.so_far(), []);
}

/// A session that waits for wills, left.
fn leave_a_watcher(gateway: &Gateway, version: Version) {
    let (mut watcher, _) = Client::connect(gateway.port, persistent(version, "w"));
    watcher.subscribe(&[subscription("will", QOS1)]);
    watcher.disconnect(ReasonCode::Success, None);
}

#[test]
fn the_will_of_whoever_was_connected_when_the_gateway_was_killed_is_said_once_at_its_start() {
    for version in VERSIONS {
        for connect in [connect(version, "mortal"), persistent(version, "mortal")] {
            let mut gateway = Gateway::start();
            leave_a_watcher(&gateway, version);
            let mortal = Connect { will: Some(will("gone")), ..connect };
            let _mortal = Client::connect(gateway.port, mortal);
            let _other = Client::connect(gateway.port, crate::client::connect(version, "other"));
            gateway.kill();
            wait_until("it is kept", || gateway.status().uncommitted == 0);
            gateway.kill();
            let (mut watcher, _) = Client::connect(gateway.port, persistent(version, "w"));
            assert_eq!(watcher.fetched(1), ["gone"]);
        }
    }
}

#[test]
fn a_goodbye_takes_the_will_back_also_from_the_store() {
    for version in VERSIONS {
        let mut gateway = Gateway::start();
        leave_a_watcher(&gateway, version);
        let mortal = Connect { will: Some(will("gone")), ..persistent(version, "mortal") };
        let (client, _) = Client::connect(gateway.port, mortal.clone());
        client.disconnect(ReasonCode::Success, None);
        let (client, _) = Client::connect(gateway.port, mortal);
        drop(client);
        // Its successor has none, and it was said for the one that was cut off.
        let (client, _) = Client::connect(gateway.port, persistent(version, "mortal"));
        gateway.kill();
        drop(client);
        let (mut watcher, _) = Client::connect(gateway.port, persistent(version, "w"));
        assert_eq!(watcher.fetched(1), ["gone"]);
    }
}

#[test]
fn a_delayed_will_waits_for_its_client_over_a_kill() {
    let mut gateway = Gateway::start();
    leave_a_watcher(&gateway, Version::V5);
    for (name, delay) in [("returns", 3600), ("stays", 1)] {
        let delayed = Will { delay: Some(delay), ..will(name) };
        let mortal = Connect { will: Some(delayed), ..persistent(Version::V5, name) };
        let (client, _) = Client::connect(gateway.port, mortal);
        if name == "stays" {
            client.cut();
        }
    }
    gateway.kill();
    let (_returned, present) = Client::connect(gateway.port, persistent(Version::V5, "returns"));
    assert!(present);
    let (mut watcher, _) = Client::connect(gateway.port, persistent(Version::V5, "w"));
    assert_eq!(&watcher.receive_publish().payload[..], b"stays");
    assert_eq!(watcher.so_far(), []);
}

//! Wills. MQTT 5.0 sections 3.1.2.5, 3.1.3.2, 3.14.4.

use fieldpost::model::MessageProperties;
use fieldpost::mqtt::{Connect, ReasonCode, Version, Will};

use super::enter;
use crate::client::{Client, QOS0, QOS1, QOS2, VERSIONS, connect, persistent, topic, will};
use crate::gateway::Gateway;

fn with(version: Version, will: Will) -> Connect {
    Connect { will: Some(will), ..connect(version, "mortal") }
}

#[test]
fn a_will_is_retained_exactly_if_it_says_so_and_has_its_own_qos() {
    for version in VERSIONS {
        for retain in [false, true] {
            for qos in [QOS0, QOS1, QOS2] {
                let gateway = Gateway::start();
                let mut watcher = Client::subscriber(gateway.port, version, "w", "will", QOS2);
                let will = Will { retain, qos, ..will("gone") };
                let (mortal, _) = Client::connect(gateway.port, with(version, will));
                mortal.cut();
                let got = watcher.receive_publish();
                assert_eq!((got.qos, got.retain), (qos, false), "as an ordinary message");
                let mut late = Client::subscriber(gateway.port, version, "l", "will", QOS2);
                let kept = if retain { vec!["gone"] } else { vec![] };
                assert_eq!(late.payloads(), kept);
            }
        }
    }
}

#[test]
fn a_will_is_said_once() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut watcher = Client::subscriber(gateway.port, version, "w", "will", QOS0);
        let staying = Connect { will: Some(will("gone")), ..persistent(version, "mortal") };
        let (mortal, _) = Client::connect(gateway.port, staying);
        mortal.cut();
        assert_eq!(watcher.payloads(), ["gone"]);
        let (mortal, _) = Client::connect(gateway.port, persistent(version, "mortal"));
        mortal.cut();
        let (mortal, _) = Client::connect(gateway.port, connect(version, "mortal"));
        mortal.cut();
        assert_eq!(watcher.so_far(), []);
    }
}

#[test]
fn without_a_will_nothing_is_said() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut watcher = Client::subscriber(gateway.port, version, "w", "#", QOS0);
        enter(&gateway, version, "mortal").cut();
        assert_eq!(watcher.so_far(), []);
    }
}

#[test]
fn a_goodbye_takes_the_will_back_for_good() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut watcher = Client::subscriber(gateway.port, version, "w", "will", QOS0);
        let staying = Connect { will: Some(will("gone")), ..persistent(version, "mortal") };
        let (mortal, _) = Client::connect(gateway.port, staying);
        mortal.disconnect(ReasonCode::Success, None);
        let (mortal, _) = Client::connect(gateway.port, connect(version, "mortal"));
        mortal.cut();
        assert_eq!(watcher.so_far(), []);
    }
}

#[test]
fn all_a_will_carries_arrives_in_its_order() {
    let gateway = Gateway::start();
    let mut watcher = Client::subscriber(gateway.port, Version::V5, "w", "will", QOS0);
    let properties = MessageProperties {
        payload_is_utf8: Some(true),
        content_type: Some("text/plain".into()),
        response_topic: Some(topic("answers")),
        correlation_data: Some(vec![0, 255].into()),
        user_properties: ["b", "a", "b"].map(|key| (key.into(), "v".into())).to_vec(),
    };
    let will = Will { properties: properties.clone(), message_expiry: Some(100), ..will("gone") };
    Client::connect(gateway.port, with(Version::V5, will)).0.cut();
    let got = watcher.receive_publish();
    assert_eq!(got.properties.as_deref(), Some(&properties));
    assert!(got.message_expiry.is_some_and(|left| (90..=100).contains(&left)), "{got:?}");
}

#[test]
fn the_end_of_its_session_does_not_wait_for_the_delay_of_a_will() {
    let gateway = Gateway::start();
    let mut watcher = Client::subscriber(gateway.port, Version::V5, "w", "will", QOS0);
    // The session ends with the connection: the will is due at once, whatever its delay (3.1.3.2.2).
    let delayed = Will { delay: Some(3600), ..will("gone") };
    Client::connect(gateway.port, with(Version::V5, delayed.clone())).0.cut();
    assert_eq!(&watcher.receive_publish().payload[..], b"gone");
    // It ends because a clean start throws it away.
    let staying = Connect { will: Some(delayed), ..persistent(Version::V5, "mortal") };
    Client::connect(gateway.port, staying).0.cut();
    assert_eq!(watcher.so_far(), []);
    let _clean = enter(&gateway, Version::V5, "mortal");
    assert_eq!(&watcher.receive_publish().payload[..], b"gone");
}

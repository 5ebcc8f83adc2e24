//! Clients that are not ours.

use crate::gateway::Gateway;
use crate::support::{Subscriber, mosquitto_pub, mosquitto_sub};

#[test]
fn mosquitto_s_clients_are_served_in_both_versions_at_each_qos() {
    for version in ["311", "5"] {
        let gateway = Gateway::start();
        mosquitto_pub(gateway.port, "site/status", "online", &["-V", version, "-q", "1", "-r"]);
        let subscriber = mosquitto_sub(gateway.port, "site/#", &["-V", version, "-q", "2"]);
        for qos in ["0", "1", "2"] {
            mosquitto_pub(gateway.port, "site/pump", qos, &["-V", version, "-q", qos]);
        }
        let got: Vec<_> = subscriber
            .wait_for(4)
            .into_iter()
            .map(|message| (message.topic, message.payload, message.qos, message.retain))
            .collect();
        let pump = |qos: u64| ("site/pump".to_owned(), qos.to_string(), qos, false);
        let status = ("site/status".to_owned(), "online".to_owned(), 1, true);
        assert_eq!(got, [status, pump(0), pump(1), pump(2)]);
    }
}

#[test]
fn paho_s_session_gets_what_came_while_it_was_away() {
    let gateway = Gateway::start();
    Subscriber::paho(gateway.port, "paho", "site/#").stop();
    for number in 0..20 {
        mosquitto_pub(gateway.port, "site/pump", &number.to_string(), &["-q", "2", "-V", "5"]);
    }
    let subscriber = Subscriber::paho(gateway.port, "paho", "site/#");
    let got: Vec<String> = subscriber.wait_for(20).into_iter().map(|m| m.payload).collect();
    let expected: Vec<String> = (0..20).map(|number: u32| number.to_string()).collect();
    assert_eq!(got, expected);
}

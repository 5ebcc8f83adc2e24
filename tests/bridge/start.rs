//! When an uplink connects, and what it says of itself.

use serde_json::Value;

use crate::gateway::Gateway;
use crate::support::{Mosquitto, mosquitto_pub, mosquitto_sub, wait_until};

fn is(state: &str) -> impl Fn(&Value) -> bool {
    move |said| said["state"] == state
}

#[test]
fn the_lan_is_told_how_an_uplink_is_doing_and_the_upstream_is_not() {
    let mut peer = Mosquitto::start();
    let mut gateway =
        Gateway::start_anywhere("gw", &format!("  cloud: {{ url: \"{}\" }}\n", peer.url()));
    let said = gateway.wait_for_state("cloud", is("online"));
    assert_eq!(said["broker"], format!("127.0.0.1:{}", peer.port()));
    assert_eq!(said["last_error"], Value::Null);
    let sys = mosquitto_sub(gateway.port, "$SYS/broker/connection/cloud/state", &["-q", "1"]);
    assert_eq!((sys.wait_for(1)[0].payload.as_str(), sys.received()[0].retain), ("1", true));
    peer.stop();
    let said = gateway.wait_for_state("cloud", |said| said["failures"].as_u64() >= Some(2));
    assert_eq!(said["state"], "offline");
    assert!(said["last_error"].as_str().unwrap().contains("refused"), "{said}");
    wait_until("it says so to dashboards", || sys.received().last().unwrap().payload == "0");
    peer.start_again();
    gateway.wait_for_state("cloud", is("online"));
    wait_until("it says so to dashboards", || sys.received().last().unwrap().payload == "1");
    assert!(gateway.process.sigterm().success());
    assert!(!peer.log().contains("gw/uplinks"), "{}", peer.log());
}

#[test]
fn a_lazy_uplink_connects_for_what_waits_and_rests_afterwards() {
    let peer = Mosquitto::start();
    let gateway = Gateway::start_anywhere(
        "gw",
        &format!(
            "  cloud: {{ url: \"{}\", start: lazy, threshold: 3, idle: 1s, qos: 2, forward: [ {{ filter: \"lan/#\" }} ] }}\n",
            peer.url()
        ),
    );
    let far = mosquitto_sub(peer.port(), "lan/#", &["-q", "2"]);
    gateway.wait_for_state("cloud", is("resting"));
    for round in 1..=3 {
        for number in 1..=2 {
            mosquitto_pub(gateway.port, "lan/a", &number.to_string(), &["-q", "1"]);
        }
        assert_eq!(peer.log().matches("as gw").count(), round - 1, "{}", peer.log());
        mosquitto_pub(gateway.port, "lan/a", "3", &["-q", "1"]);
        far.wait_for(3 * round);
        wait_until("it has said goodbye", || {
            peer.log().matches("Client gw disconnected.").count() == round
        });
        gateway.wait_for_state("cloud", is("resting"));
    }
    let got: Vec<String> = far.received().into_iter().map(|got| got.payload).collect();
    assert_eq!(got, ["1", "2", "3"].repeat(3));
}

#[test]
fn an_uplink_that_connects_once_is_not_connected_again_before_the_next_start() {
    let mut peer = Mosquitto::start();
    let mut gateway = Gateway::start_anywhere(
        "gw",
        &format!(
            "  cloud: {{ url: \"{}\", start: once, forward: [ {{ filter: \"lan/#\" }} ] }}\n",
            peer.url()
        ),
    );
    gateway.wait_for_state("cloud", is("online"));
    peer.stop();
    let said = gateway.wait_for_state("cloud", is("over"));
    assert!(said["last_error"].as_str().is_some());
    peer.start_again();
    mosquitto_pub(gateway.port, "lan/a", "1", &["-q", "1"]);
    let far = mosquitto_sub(peer.port(), "lan/#", &["-q", "1"]);
    assert!(gateway.process.sigterm().success());
    assert_eq!(peer.log().matches("as gw").count(), 1, "{}", peer.log());
    gateway.process.restart(&gateway.site);
    assert_eq!(far.wait_for(1)[0].payload, "1");
}

//! A client in the LAN publishes into the gateway's own broker, and it arrives upstream as a reading does.

use crate::support::{Fieldpost, Mosquitto, Site, Subscriber, mosquitto_pub, mosquitto_sub};

/// A gateway with a broker and an uplink and without a device.
fn start(site: &Site, upstream: &Mosquitto) -> Fieldpost {
    site.write_config(&format!(
        "gateway: {{ id: gw, state_dir: \"{{state}}\" }}\n\
         broker: {{ listeners: [ {{ tcp: 127.0.0.1:0, anonymous: true }} ] }}\n\
         uplinks:\n  cloud:\n    url: {}\n    \
         forward: [ {{ filter: \"lan/#\", qos: 2 }} ]\n    \
         accept: [ {{ filter: \"down/#\", qos: 2 }} ]\n",
        upstream.url()
    ));
    site.start()
}

/// The port it says it listens on.
#[track_caller]
pub(crate) fn port(gateway: &mut Fieldpost) -> u16 {
    gateway.wait_for_log("broker listens");
    let log = gateway.process().own_log();
    let address = log.split("address=mqtt://127.0.0.1:").nth(1).expect("an address");
    let digits: String = address.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a port")
}

#[test]
fn what_a_lan_client_publishes_arrives_upstream_once_also_over_a_kill_and_an_outage() {
    let mut upstream = Mosquitto::start();
    let far = Subscriber::paho(upstream.port(), "far", "lan/#");
    let site = Site::new();
    let mut gateway = start(&site, &upstream);
    let mut numbers = 0..;
    let mut publish = |gateway: &mut Fieldpost| {
        let port = port(gateway);
        for number in numbers.by_ref().take(10) {
            mosquitto_pub(port, "lan/pump", &format!("{number}"), &["-q", "2"]);
        }
    };
    publish(&mut gateway);
    gateway.sigkill();
    gateway.restart(&site);
    publish(&mut gateway);
    gateway.wait_for_log("uplink connected");
    upstream.stop();
    publish(&mut gateway);
    gateway.sigkill();
    gateway.restart(&site);
    publish(&mut gateway);
    upstream.start_again();
    let got: Vec<String> = far.wait_for(40).into_iter().map(|message| message.payload).collect();
    let expected: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    assert_eq!(got, expected);
    assert!(gateway.sigterm().success());
    assert_eq!(far.stop().len(), 40);
}

#[test]
fn what_comes_from_upstream_reaches_a_lan_client_and_does_not_go_back() {
    let upstream = Mosquitto::start();
    let site = Site::new();
    let mut gateway = start(&site, &upstream);
    let near = mosquitto_sub(port(&mut gateway), "down/#", &["-q", "2"]);
    let far = mosquitto_sub(upstream.port(), "#", &["-q", "2"]);
    gateway.wait_for_log("uplink connected");
    crate::support::wait_until("the gateway has subscribed", || {
        upstream.log().contains("Sending SUBACK to gw")
    });
    far.wait_for(1);
    mosquitto_pub(upstream.port(), "down/pump", "on", &["-q", "2"]);
    let got = near.wait_for(1);
    assert_eq!(
        (got[0].topic.as_str(), got[0].payload.as_str(), got[0].qos),
        ("down/pump", "on", 2)
    );
    mosquitto_pub(port(&mut gateway), "lan/pump", "runs", &["-q", "2"]);
    let up = |message: &crate::support::Received| (message.topic.clone(), message.payload.clone());
    let got: Vec<_> = far.wait_for(3).iter().map(up).collect();
    let said = |topic: &str, payload: &str| (topic.to_owned(), payload.to_owned());
    let online = said("gw/status", "online");
    assert_eq!(got, [online, said("down/pump", "on"), said("lan/pump", "runs")]);
}

#[test]
fn a_port_that_is_taken_is_said_with_what_to_look_for() {
    let upstream = Mosquitto::start();
    let site = Site::new();
    let port = upstream.port();
    site.write_config(&format!(
        "gateway: {{ id: gw, state_dir: \"{{state}}\" }}\n\
         broker: {{ listeners: [ {{ tcp: 127.0.0.1:{port}, anonymous: true }} ] }}\n"
    ));
    let mut gateway = site.start();
    assert_eq!(gateway.process().wait().code(), Some(1));
    let log = gateway.log();
    assert!(log.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{log}");
}

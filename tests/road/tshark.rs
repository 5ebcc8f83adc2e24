//! What the gateway says to its upstream and to other people's clients in the LAN, as tshark reads it.

use crate::lan::port;
use crate::support::pcap::{Pcap, dissect};
use crate::support::{
    Capture, Mosquitto, Site, Subscriber, mosquitto_pub, mosquitto_sub, program, wait_until,
};

#[test]
fn tshark_reads_both_sides_of_the_gateway_without_a_complaint() {
    let mut pcap = Pcap::default();
    for (version, uplink) in [("311", "3.1.1"), ("5", "5")] {
        let upstream = Mosquitto::start();
        let up = Capture::start(upstream.port());
        let site = Site::new();
        site.write_config(&format!(
            "gateway: {{ id: gw, state_dir: \"{{state}}\" }}\n\
             broker: {{ listeners: [ {{ tcp: 127.0.0.1:0, anonymous: true }} ] }}\n\
             uplinks:\n  cloud:\n    url: mqtt://127.0.0.1:{}\n    version: {uplink}\n    \
             forward: [ {{ filter: \"lan/0\", qos: 0 }}, {{ filter: \"lan/1\", qos: 1 }}, \
             {{ filter: \"lan/#\", qos: 2 }} ]\n    \
             accept: [ {{ filter: \"down/#\", qos: 2 }} ]\n",
            up.port()
        ));
        let mut gateway = site.start();
        let lan = Capture::start(port(&mut gateway));
        gateway.wait_for_log("uplink connected");
        wait_until("the gateway has subscribed", || {
            upstream.log().contains("Sending SUBACK to gw")
        });
        let far = mosquitto_sub(upstream.port(), "lan/#", &["-q", "2"]);
        let near = mosquitto_sub(lan.port(), "down/#", &["-q", "2", "-V", version]);
        let paho = Subscriber::paho(lan.port(), "paho", "down/#");
        for qos in ["0", "1", "2"] {
            mosquitto_pub(lan.port(), &format!("lan/{qos}"), "up", &["-q", qos, "-V", version]);
            mosquitto_pub(upstream.port(), "down/x", "down", &["-q", qos]);
        }
        far.wait_for(3);
        near.wait_for(3);
        paho.wait_for(3);
        paho.stop();
        drop(near);
        assert!(gateway.sigterm().success());
        up.add_to(&mut pcap);
        lan.add_to(&mut pcap);
    }
    let path = tempfile::tempdir().expect("a directory");
    let path = path.path().join("road.pcap");
    pcap.write(&path);
    let dissected = dissect(program("tshark"), &path);
    assert!(dissected.complaints.is_empty(), "{:#?}", dissected.complaints);
    assert!(dissected.types.len() > 100, "{:?}", dissected.types);
}

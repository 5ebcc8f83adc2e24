//! Names, flags and properties on their way over a bridge.

use crate::gateway::Gateway;
use crate::support::{Mosquitto, Received, mosquitto_pub, mosquitto_sub, wait_until};

fn names(received: &[Received]) -> Vec<(&str, u64, bool)> {
    received.iter().map(|got| (got.topic.as_str(), got.qos, got.retain)).collect()
}

#[test]
fn each_rule_gives_its_names_both_ways_with_its_qos_and_its_retain_flag() {
    for version in ["3.1.1", "5"] {
        let peer = Mosquitto::start();
        let mut gateway = Gateway::start_anywhere(
            "gw",
            &format!(
                "  up:
    url: {}
    version: {version}
    qos: 2
    forward:
      - {{ filter: \"lan/+/temp/#\", to: \"sites/x/{{1}}/{{#}}\", qos: 1 }}
      - {{ filter: \"lan/once/#\", to: \"sites/y/{{topic}}\", retain: drop }}
      - {{ filter: \"out/#\", prefix: {{ local: \"lan/\", remote: \"sites/z/\" }} }}
    accept:
      - {{ filter: \"sites/x/cmd/#\", to: \"cmd/{{rest}}\", qos: 1 }}
      - {{ filter: \"sites/x/drop/#\", to: \"drop/{{rest}}\", retain: drop }}
    both:
      - {{ filter: \"shared/#\", prefix: {{ local: \"lan/\", remote: \"sites/both/\" }} }}
",
                peer.url()
            ),
        );
        gateway.process.wait_for_log("uplink connected");
        wait_until("the gateway has subscribed", || {
            peer.log().contains("gw 2 sites/both/shared/#")
        });
        let five = ["-V", "mqttv5", "-q", "2", "--retain-as-published"];
        let far = mosquitto_sub(peer.port(), "sites/+/#", &five[..4]);
        let near = mosquitto_sub(gateway.port, "#", &["-V", "mqttv5", "-q", "2", "-T", "gw/#"]);
        for (topic, flags) in [
            ("lan/hall/temp/1", &["-q", "2"][..]),
            ("lan/once/a", &["-q", "2", "-r"]),
            ("lan/out/b/c", &["-q", "2"]),
            ("lan/shared/d", &["-q", "2"]),
        ] {
            mosquitto_pub(gateway.port, topic, "up", flags);
        }
        assert_eq!(
            names(&far.wait_for(4)),
            [
                ("sites/x/hall/1", 1, false),
                ("sites/y/lan/once/a", 2, false),
                ("sites/z/out/b/c", 2, false),
                ("sites/both/shared/d", 2, false),
            ]
        );
        near.wait_for(4);
        for (topic, flags) in [
            ("sites/x/cmd/pump/on", &["-q", "2"][..]),
            ("sites/x/drop/e", &["-q", "2", "-r"]),
            ("sites/both/shared/f", &["-q", "2"]),
        ] {
            mosquitto_pub(peer.port(), topic, "down", flags);
        }
        let got = near.wait_for(7);
        assert_eq!(
            names(&got[4..]),
            [("cmd/pump/on", 1, false), ("drop/e", 2, false), ("lan/shared/f", 2, false)]
        );
        // Whoever comes later finds retained what was retained and kept its flag.
        let late = mosquitto_sub(gateway.port, "+/e", &["-q", "1"]);
        mosquitto_pub(gateway.port, "late/e", "end", &["-q", "1"]);
        assert_eq!(late.wait_for(1)[0].payload, "end");
        let late = mosquitto_sub(peer.port(), "sites/y/#", &["-q", "1"]);
        mosquitto_pub(peer.port(), "sites/y/end", "end", &["-q", "1"]);
        assert_eq!(late.wait_for(1)[0].payload, "end");
    }
}

#[test]
fn what_is_retained_before_an_uplink_is_there_goes_up_once_and_not_again_at_each_connection() {
    for version in ["3.1.1", "5"] {
        let mut peer = Mosquitto::start();
        let mut gateway =
            Gateway::start_anywhere("gw", "  none: { url: \"mqtt://127.0.0.1:1\" }\n");
        for topic in ["state/a", "state/b"] {
            mosquitto_pub(gateway.port, topic, "1", &["-q", "1", "-r"]);
        }
        assert!(gateway.process.sigterm().success());
        let config = std::fs::read_to_string(gateway.site.config()).unwrap();
        gateway.site.write_config(&format!(
            "{config}  up: {{ url: \"{}\", version: {version}, client_id: up, \
             forward: [ {{ filter: \"state/#\" }} ], accept: [ {{ filter: \"theirs/#\" }} ] }}\n",
            peer.url()
        ));
        mosquitto_pub(peer.port(), "theirs/a", "1", &["-q", "1", "-r"]);
        gateway.process.restart(&gateway.site);
        let far = mosquitto_sub(peer.port(), "state/#", &["-q", "1"]);
        far.wait_for(2);
        wait_until("the gateway has subscribed", || peer.log().contains("up 1 theirs/#"));
        let near = mosquitto_sub(gateway.port, "theirs/#", &["-q", "1"]);
        near.wait_for(1);
        for _ in 0..3 {
            let connections = gateway.process.log().matches("uplink connected uplink=up").count();
            peer.stop();
            peer.start_again();
            wait_until("the gateway is back", || {
                gateway.process.log().matches("uplink connected uplink=up").count() > connections
            });
        }
        mosquitto_pub(gateway.port, "state/a", "2", &["-q", "1", "-r"]);
        mosquitto_pub(gateway.port, "state/b", "", &["-q", "1", "-r"]);
        wait_until("the change arrives", || peer.log().matches("'state/b'").count() >= 3);
        mosquitto_pub(peer.port(), "theirs/a", "", &["-q", "1", "-r"]);
        wait_until("it is cleared", || near.received().iter().any(|got| got.payload.is_empty()));
        let log = peer.log();
        let from_us = log
            .lines()
            .filter(|line| line.contains("Received PUBLISH from up (") && line.contains("'state/"));
        assert_eq!(from_us.count(), 4, "{log}");
        let to_us = log
            .lines()
            .filter(|line| line.contains("Sending PUBLISH to up (") && line.contains("'theirs/"));
        assert_eq!(to_us.count(), 2, "{log}");
    }
}

#[test]
fn properties_of_5_0_pass_both_ways() {
    let peer = Mosquitto::start();
    let gateway = Gateway::start_anywhere(
        "gw",
        &format!(
            "  up:\n    url: {}\n    forward: [ {{ filter: \"up/#\" }} ]\n    accept: [ {{ filter: \"down/#\" }} ]\n",
            peer.url()
        ),
    );
    wait_until("the gateway has subscribed", || peer.log().contains("gw 1 down/#"));
    let shown = "{\"topic\":\"%t\",\"payload\":\"%p %C %R %D %P %E\",\"qos\":%q}";
    let ways = [(gateway.port, peer.port(), "up/a"), (peer.port(), gateway.port, "down/a")];
    for (from, to, topic) in ways {
        let far = mosquitto_sub(to, topic, &["-V", "mqttv5", "-q", "1", "-F", shown]);
        let properties = "-V mqttv5 -q 1 -D publish content-type text/plain \
                          -D publish response-topic answers/here -D publish correlation-data c0ffee \
                          -D publish message-expiry-interval 3600 -D publish user-property colour blue";
        let properties: Vec<&str> = properties.split_whitespace().collect();
        mosquitto_pub(from, topic, "hello", &properties);
        let got = far.wait_for(1);
        let payload = &got[0].payload;
        let said = "hello text/plain answers/here c0ffee colour:blue";
        assert!(payload.starts_with(said), "{payload}");
        let left: u32 = payload.rsplit(' ').next().unwrap().parse().expect("an expiry");
        assert!((3000..=3600).contains(&left), "{payload}");
    }
}

#[test]
fn what_no_rule_has_asked_for_is_not_taken_from_a_broker_that_still_sends_it() {
    let peer = Mosquitto::start();
    let uplinks = |filter: &str| {
        format!(
            "  up: {{ url: \"{}\", log_only: none, accept: [ {{ filter: \"{filter}\" }} ] }}\n",
            peer.url()
        )
        .replace(" log_only: none,", "")
    };
    let mut gateway = Gateway::start_anywhere("gw", &uplinks("old/#"));
    wait_until("the gateway has subscribed", || peer.log().contains("gw 1 old/#"));
    gateway.process.sigkill();
    let config = std::fs::read_to_string(gateway.site.config()).unwrap();
    gateway.site.write_config(&config.replace("old/#", "new/#"));
    gateway.process.restart(&gateway.site);
    wait_until("the gateway has subscribed", || peer.log().contains("gw 1 new/#"));
    let near = mosquitto_sub(gateway.port, "+/a", &["-q", "1"]);
    mosquitto_pub(peer.port(), "old/a", "no", &["-q", "1"]);
    mosquitto_pub(peer.port(), "new/a", "yes", &["-q", "1"]);
    assert_eq!(near.wait_for(1)[0].payload, "yes");
    wait_until("it is acknowledged all the same", || {
        peer.log().matches("Received PUBACK from gw").count() >= 2
    });
}

//! Several brokers for one uplink.

use crate::gateway::{Gateway, numbers, payloads, publish_numbers, wait_for_marks};
use crate::support::{Mosquitto, Subscriber, mosquitto_pub, mosquitto_sub, wait_until};

#[test]
fn the_next_broker_stands_in_and_the_first_is_gone_back_to_and_nothing_is_lost() {
    for version in ["3.1.1", "5"] {
        let (mut first, second) = (Mosquitto::start(), Mosquitto::start());
        let mut gateway = Gateway::start_anywhere(
            "gw",
            &format!(
                "  cloud:\n    urls: [ \"{}\", \"{}\" ]\n    version: {version}\n    qos: 2\n    \
                 forward: [ {{ filter: \"lan/#\" }} ]\n    accept: [ {{ filter: \"down/#\" }} ]\n",
                first.url(),
                second.url()
            ),
        );
        let at_first = Subscriber::paho(first.port(), "far", "lan/#");
        let at_second = Subscriber::paho(second.port(), "far", "lan/#");
        publish_numbers(gateway.port, "lan/a", "a", 100);
        wait_until("they arrive", || at_first.received().len() == 100);
        first.stop();
        publish_numbers(gateway.port, "lan/a", "b", 100);
        wait_for_marks(gateway.port, "lan/mark", &[&at_second]);
        // A kill does not make it forget where its session stands.
        gateway.process.sigkill();
        first.start_again();
        gateway.process.restart(&gateway.site);
        gateway.process.wait_for_log("uplink connected");
        publish_numbers(gateway.port, "lan/a", "c", 100);
        wait_for_marks(gateway.port, "lan/other-mark", &[&at_first]);
        let clean = first.log().lines().rfind(|line| line.contains(" as gw (")).unwrap().to_owned();
        assert!(
            clean.contains(" c1,"),
            "the packet ids of an older session are not its own: {clean}"
        );
        first.stop();
        wait_until("the other one stands in again", || second.log().matches(" as gw").count() == 2);
        first.start_again();
        gateway.process.wait_for_log("first broker is there again");
        let near = mosquitto_sub(gateway.port, "down/#", &["-q", "1"]);
        wait_until("it has subscribed there", || {
            gateway.wait_for_state("cloud", |_| true)["broker"]
                == format!("127.0.0.1:{}", first.port())
        });
        publish_numbers(gateway.port, "lan/a", "d", 100);
        wait_for_marks(gateway.port, "lan/mark", &[&at_first]);
        wait_until("commands come from there", || {
            mosquitto_pub(first.port(), "down/a", "on", &["-q", "1"]);
            !near.received().is_empty()
        });
        let mut all = payloads(&at_first.stop());
        all.extend(payloads(&at_second.stop()));
        all.sort_unstable();
        assert_eq!(all, numbers(&[("a", 100), ("b", 100), ("c", 100), ("d", 100)]));
        let log = second.log();
        assert!(log.contains("Client gw disconnected."), "{log}");
    }
}

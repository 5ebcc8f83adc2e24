//! What goes up under which name and QoS, to how many brokers, and what comes down.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::reading::readings;
use crate::support::{
    self, ModbusServer, Mosquitto, Received, Site, Subscriber, mosquitto_sub, wait_until,
};

/// A site with a device that counts and these uplinks.
fn site(device: &ModbusServer, uplinks: &str) -> Site {
    let site = Site::new();
    site.write_config(&format!(
        "gateway: {{ id: gw, state_dir: \"{{state}}\" }}
buses: {{ plant: {{ modbus-tcp: \"127.0.0.1:{}\", timeout: 10s }} }}
devices:
  boiler:
    bus: plant
    unit: 1
    every: 50ms
    points:
      count: {{ holding: 0, type: u32 }}
      again: {{ holding: 0, type: u32 }}
      third: {{ holding: 0, type: u32 }}
uplinks:
{uplinks}
",
        device.port(),
    ));
    site
}

fn of<'a>(all: &'a [Received], topic: &str) -> Vec<&'a Received> {
    all.iter().filter(|got| got.topic == topic).collect()
}

#[test]
fn each_rule_has_its_qos_and_its_topic_and_the_first_that_matches_wins() {
    let device = ModbusServer::pymodbus_tcp(&[], Some(0));
    for version in ["3.1.1", "5"] {
        let broker = Mosquitto::start();
        let far = Subscriber::paho(broker.port(), "far", "#");
        let three = if version == "5" { "mqttv5" } else { "mqttv311" };
        let also = mosquitto_sub(broker.port(), "sites/#", &["-q", "2", "-V", three]);
        let site = site(
            &device,
            &format!(
                "  far:
    url: \"{}\"
    version: {version}
    forward:
      - {{ filter: gw/boiler/count, qos: 2, to: sites/x/total }}
      - {{ filter: gw/boiler/again, qos: 0 }}
      - {{ filter: \"gw/boiler/#\", qos: 1, to: \"sites/x/{{rest}}\" }}
",
                broker.url()
            ),
        );
        let mut gateway = site.start();
        also.wait_for(20);
        assert!(gateway.sigterm().success(), "{}", gateway.log());
        wait_until("the device's state arrives", || {
            !of(&far.received(), "sites/x/status").is_empty()
        });
        let all = far.received();
        let qos = |topic: &str| -> BTreeSet<u64> {
            of(&all, topic).into_iter().map(|got| got.qos).collect()
        };
        assert_eq!(qos("sites/x/total"), BTreeSet::from([2]));
        assert_eq!(qos("gw/boiler/again"), BTreeSet::from([0]));
        assert_eq!(qos("sites/x/third"), BTreeSet::from([1]));
        assert_eq!(qos("sites/x/status"), BTreeSet::from([1]));
        let topics: BTreeSet<&str> = all.iter().map(|got| got.topic.as_str()).collect();
        let known =
            ["gw/boiler/again", "gw/status", "sites/x/status", "sites/x/third", "sites/x/total"];
        assert_eq!(topics, BTreeSet::from(known));
        let counts: Vec<u64> = of(&all, "sites/x/total")
            .into_iter()
            .filter_map(|got| crate::reading::Reading::of(got)?.value.as_u64())
            .collect();
        let first = counts[0];
        let expected: Vec<u64> = (first..first + counts.len() as u64).collect();
        assert_eq!(counts, expected);
    }
}

#[test]
fn two_uplinks_get_everything_each_also_while_one_is_away() {
    let device = ModbusServer::pymodbus_tcp(&[], Some(0));
    let (first, mut second) = (Mosquitto::start(), Mosquitto::start());
    let far = Subscriber::paho_with(first.port(), "far", "gw/boiler/+", &["--version", "3"]);
    let other = Subscriber::paho(second.port(), "far", "gw/boiler/+");
    let uplinks = format!(
        "  one: {{ url: \"{}\", qos: 2, version: 3.1.1 }}\n  two: {{ url: \"{}\", qos: 2 }}\n",
        first.url(),
        second.url()
    );
    let site = site(&device, &uplinks);
    let mut gateway = site.start();
    far.wait_for(60);
    other.wait_for(60);
    second.stop();
    far.wait_for(far.received().len() + 60);
    gateway.sigkill();
    gateway.restart(&site);
    second.start_again();
    gateway.wait_for_log("uplink connected uplink=two");
    let last = *device.counted().last().unwrap();
    for far in [&far, &other] {
        wait_until("the queue is empty", || {
            readings(&far.received()).iter().any(|got| got.value.as_u64() > Some(last.into()))
        });
    }
    assert!(gateway.sigterm().success(), "{}", gateway.log());
    assert!(gateway.log().trim_end().ends_with("gateway stopped queued=0"), "{}", gateway.log());
    let last = *device.counted().last().unwrap();
    for far in [&far, &other] {
        wait_until("the last arrives", || {
            readings(&far.received()).iter().filter(|got| got.value == last).count() == 3
        });
    }
    let ids = |far: &Subscriber| -> Vec<(u64, u64)> {
        let mut ids: Vec<_> = readings(&far.received()).iter().map(|got| got.id).collect();
        ids.sort_unstable();
        ids
    };
    let (at_first, mut at_second) = (ids(&far), ids(&other));
    // mosquitto's restart may make it deliver again by itself what was under way to the subscriber.
    at_second.dedup();
    assert_eq!(at_first, at_second);
    let distinct: BTreeSet<_> = at_first.iter().collect();
    assert_eq!(distinct.len(), at_first.len());
}

#[test]
fn what_is_accepted_from_one_broker_arrives_once_at_the_other_over_kills() {
    const COUNT: usize = 600;
    let device = ModbusServer::pymodbus_tcp(&[], Some(0));
    for version in ["3.1.1", "5"] {
        let (above, below) = (Mosquitto::start(), Mosquitto::start());
        let far = Subscriber::paho(below.port(), "far", "orders/#");
        let site = site(
            &device,
            &format!(
                "  above:
    url: \"{}\"
    version: {version}
    forward: [{{ filter: \"gw/#\", qos: 0 }}]
    accept: [{{ filter: \"orders/#\", qos: 2 }}]
  below:
    url: \"{}\"
    version: {version}
    forward: [{{ filter: \"orders/#\", qos: 2 }}]
",
                above.url(),
                below.url()
            ),
        );
        let mut gateway = site.start();
        wait_until("the subscription is made", || above.log().contains("Sending SUBACK to gw"));
        let port = above.port();
        let orders = format!(
            "seq 1 {COUNT} | mosquitto_pub -h 127.0.0.1 -p {port} -t orders/a -q 2 -l -V mqttv5"
        );
        let mut publisher = Command::new("sh")
            .args(["-c", &orders])
            .stdin(Stdio::null())
            .spawn()
            .expect("a shell starts");
        for kill in 1..=4 {
            wait_until("orders arrive", || far.received().len() >= kill * COUNT / 8);
            // The instant itself, not a wait for something.
            thread::sleep(Duration::from_micros(fastrand::u64(0..20_000)));
            gateway.sigkill();
            gateway.restart(&site);
        }
        far.wait_for(COUNT);
        assert!(publisher.wait().unwrap().success());
        assert!(gateway.sigterm().success(), "{}", gateway.log());
        support::mosquitto_pub(below.port(), "orders/end", "end", &["-q", "2"]);
        wait_until("the end arrives", || far.received().iter().any(|got| got.payload == "end"));
        let got: Vec<String> = far.stop().into_iter().map(|got| got.payload).collect();
        let mut expected: Vec<String> = (1..=COUNT).map(|order| order.to_string()).collect();
        expected.push("end".to_owned());
        assert_eq!(got, expected, "{}", gateway.log());
    }
}

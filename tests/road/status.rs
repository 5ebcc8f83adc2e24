//! Who is online: the gateway by its will and its farewell, each device by its answers.

use std::time::{Duration, Instant};

use crate::support::{
    self, Fieldpost, ModbusServer, Mosquitto, Proxy, Site, Subscriber, wait_until,
};

/// A gateway with one device, its status going to `port`.
fn start(site: &Site, device: u16, port: u16, uplink: &str) -> Fieldpost {
    site.write_config(&format!(
        "gateway: {{ id: gw, state_dir: \"{{state}}\" }}
buses: {{ plant: {{ modbus-tcp: \"127.0.0.1:{device}\", timeout: 500ms }} }}
devices:
  boiler: {{ bus: plant, unit: 1, every: 100ms, points: {{ flow: {{ holding: 1 }} }} }}
uplinks: {{ far: {{ url: \"mqtt://127.0.0.1:{port}\", keep_alive: 2s{uplink} }} }}
",
    ));
    site.start()
}

fn words(far: &Subscriber) -> Vec<String> {
    far.received().into_iter().map(|got| got.payload).collect()
}

/// What a subscriber that comes late is told.
#[track_caller]
fn retained(port: u16, topic: &str) -> String {
    let got = support::mosquitto_sub(port, topic, &["-q", "1"]).wait_for(1);
    assert!(got[0].retain, "{got:?}");
    got[0].payload.clone()
}

#[test]
fn a_start_says_online_a_kill_offline_within_one_and_a_half_keep_alives_and_a_stop_offline() {
    let device = ModbusServer::pymodbus_tcp(&[("holding", 1, 5)], None);
    for version in ["3.1.1", "5"] {
        let broker = Mosquitto::start();
        let far = Subscriber::paho(broker.port(), "far", "gw/status");
        let site = Site::new();
        let mut gateway =
            start(&site, device.port(), broker.port(), &format!(", version: {version}"));
        wait_until("online", || words(&far) == ["online"]);
        assert_eq!(retained(broker.port(), "gw/status"), "online");

        gateway.sigkill();
        let killed = Instant::now();
        wait_until("offline by the will", || words(&far) == ["online", "offline"]);
        assert!(killed.elapsed() < Duration::from_secs(3), "{:?}", killed.elapsed());
        assert_eq!(retained(broker.port(), "gw/status"), "offline");

        gateway.restart(&site);
        wait_until("online again", || words(&far) == ["online", "offline", "online"]);
        let status = gateway.sigterm();
        assert_eq!(status.code(), Some(0), "{}", gateway.log());
        wait_until("offline by the farewell", || {
            words(&far) == ["online", "offline", "online", "offline"]
        });
        assert_eq!(retained(broker.port(), "gw/status"), "offline");
        // The connection ended by DISCONNECT, so the will was not needed.
        assert!(broker.log().contains("Received DISCONNECT from gw"), "{}", broker.log());
    }
}

#[test]
fn a_gateway_that_vanishes_with_its_line_is_offline_after_one_and_a_half_keep_alives() {
    let device = ModbusServer::pymodbus_tcp(&[("holding", 1, 5)], None);
    let broker = Mosquitto::start();
    let proxy = Proxy::start(broker.port());
    let far = Subscriber::paho(broker.port(), "far", "gw/status");
    let site = Site::new();
    let mut gateway = start(&site, device.port(), proxy.port(), "");
    wait_until("online", || words(&far) == ["online"]);
    // Not even the end of the connection comes through.
    proxy.swallow();
    gateway.sigkill();
    let gone = Instant::now();
    wait_until("offline by the will", || words(&far) == ["online", "offline"]);
    // One and a half times 2 s; mosquitto looks every 5 s.
    assert!(gone.elapsed() < Duration::from_secs(3 + 6), "{:?}", gone.elapsed());
    assert!(broker.log().contains("Client gw has exceeded timeout"), "{}", broker.log());
}

#[test]
fn a_device_that_goes_away_is_said_to_be_offline_and_its_values_stale() {
    let mut device = ModbusServer::pymodbus_tcp(&[("holding", 1, 5)], None);
    let broker = Mosquitto::start();
    let far = Subscriber::paho(broker.port(), "far", "gw/boiler/+");
    let site = Site::new();
    let mut gateway = start(&site, device.port(), broker.port(), "");
    let states = || -> Vec<String> {
        let all = far.received().into_iter();
        all.filter(|got| got.topic == "gw/boiler/status").map(|got| got.payload).collect()
    };
    wait_until("online", || states() == ["online"]);
    assert_eq!(retained(broker.port(), "gw/boiler/status"), "online");
    device.freeze();
    wait_until("offline", || states() == ["online", "offline"]);
    assert_eq!(retained(broker.port(), "gw/boiler/status"), "offline");
    wait_until("the last value is marked", || {
        let last = far.received().into_iter().rfind(|got| got.topic == "gw/boiler/flow");
        last.is_some_and(|got| {
            got.payload.starts_with("{\"value\":5,")
                && got.payload.contains("\"quality\":\"stale\"")
        })
    });
    device.thaw();
    wait_until("online again", || states() == ["online", "offline", "online"]);
    device.kill();
    wait_until("offline again", || states() == ["online", "offline", "online", "offline"]);
    let log = gateway.log();
    assert!(log.contains("device fell silent") && log.contains("device answers again"), "{log}");
    assert!(gateway.sigterm().success());
}

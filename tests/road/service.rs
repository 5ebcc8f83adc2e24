//! The gateway as a service: how it starts, how it stops, what it refuses.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::reading::readings;
use crate::support::{DEADLINE, ModbusServer, Mosquitto, Site, Subscriber, wait_until};

fn config(device: u16, broker: u16, state: &str) -> String {
    format!(
        "gateway: {{ id: gw, state_dir: \"{state}\" }}
buses: {{ plant: {{ modbus-tcp: \"127.0.0.1:{device}\", timeout: 10s }} }}
devices:
  boiler: {{ bus: plant, unit: 1, every: 20ms, points: {{ count: {{ holding: 0, type: u32 }} }} }}
uplinks: {{ far: {{ url: \"mqtt://127.0.0.1:{broker}\", qos: 2, keep_alive: 60s }} }}
"
    )
}

#[test]
fn a_stop_delivers_what_was_read_up_to_it_and_tells_the_service_manager() {
    let device = ModbusServer::pymodbus_tcp(&[], Some(0));
    let broker = Mosquitto::start();
    // At QoS 2 its client library passes on at PUBREL, and what is QoS 1 before it.
    let far = Subscriber::paho_with(broker.port(), "far", "gw/#", &["--qos", "1"]);
    let site = Site::new();
    let path = site.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let site = site.with_env("NOTIFY_SOCKET", path.to_str().unwrap());
    site.write_config(&config(device.port(), broker.port(), "{state}"));
    let told = || {
        let mut bytes = [0; 256];
        let count = socket.recv(&mut bytes).expect("the service manager is told");
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    };
    let mut gateway = site.start();
    assert!(told().contains("READY=1"));
    far.wait_for(20);
    let status = gateway.sigterm();
    assert_eq!(status.code(), Some(0), "{}", gateway.log());
    while !told().contains("STOPPING=1") {}
    let log = gateway.log();
    assert!(log.trim_end().ends_with("gateway stopped queued=0"), "{log}");
    wait_until("the farewell arrives", || {
        far.received().last().is_some_and(|got| got.payload == "offline")
    });
    let got: Vec<u64> =
        readings(&far.received()).iter().filter_map(|got| got.value.as_u64()).collect();
    let answered: Vec<u64> = device.counted().into_iter().map(u64::from).collect();
    assert_eq!(got, answered);
}

#[test]
fn a_second_signal_ends_the_stop_at_once_and_loses_nothing() {
    let device = ModbusServer::pymodbus_tcp(&[], Some(0));
    let mut broker = Mosquitto::start();
    let far = Subscriber::paho(broker.port(), "far", "gw/boiler/count");
    let site = Site::new();
    site.write_config(&config(device.port(), broker.port(), "{state}"));
    let mut gateway = site.start();
    far.wait_for(20);
    // Nobody takes what waits, so the orderly stop takes its whole time.
    broker.freeze();
    let before = device.counted().len();
    wait_until("more is read", || device.counted().len() > before + 20);
    gateway.process().signal("TERM");
    gateway.wait_for_log("bus stopped");
    let asked = Instant::now();
    gateway.process().signal("INT");
    let status = gateway.process().wait();
    assert_eq!(status.code(), Some(1), "{}", gateway.log());
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert!(gateway.log().contains("stopped at once"), "{}", gateway.log());
    let last = *device.counted().last().unwrap();
    broker.thaw();
    gateway.restart(&site);
    wait_until("everything arrives", || {
        readings(&far.received()).iter().any(|got| got.value.as_u64() > Some(last.into()))
    });
    let got: Vec<u64> =
        readings(&far.received()).iter().filter_map(|got| got.value.as_u64()).collect();
    let expected: Vec<u64> = (1..=got.len() as u64).collect();
    assert_eq!(got, expected);
}

#[test]
fn a_second_gateway_on_the_same_state_dir_is_refused_by_name() {
    let device = ModbusServer::pymodbus_tcp(&[], Some(0));
    let broker = Mosquitto::start();
    let (site, other) = (Site::new(), Site::new());
    site.write_config(&config(device.port(), broker.port(), "{state}"));
    let state = site.state_dir().display().to_string();
    other.write_config(&config(device.port(), broker.port(), &state));
    let mut gateway = site.start();
    gateway.wait_for_log("uplink connected");
    let mut second = other.start();
    assert_eq!(second.process().wait().code(), Some(1));
    let log = second.log();
    assert!(log.contains("is in use by another process") && log.contains(&state), "{log}");
    assert!(gateway.sigterm().success(), "{}", gateway.log());
}

#[test]
fn a_second_gateway_in_the_same_runtime_dir_is_refused_and_cannot_ask_the_first() {
    let device = ModbusServer::pymodbus_tcp(&[], Some(0));
    let broker = Mosquitto::start();
    let (site, other) = (Site::new(), Site::new());
    site.write_config(&config(device.port(), broker.port(), "{state}"));
    let runtime = site.runtime_dir().display().to_string();
    let shared = format!("\"{{state}}\", runtime_dir: \"{runtime}\"");
    other.write_config(
        &config(device.port(), broker.port(), "{state}").replace("\"{state}\"", &shared),
    );
    let mut gateway = site.start();
    gateway.wait_for_log("uplink connected");
    let mut second = other.start();
    assert_eq!(second.process().wait().code(), Some(1));
    let log = second.log();
    assert!(log.contains("is in use by another gateway") && log.contains(&runtime), "{log}");

    let queue = |site: &Site| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fieldpost"));
        let output = command.args(["queue", "status", "-c"]).arg(site.config()).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (done, words) = queue(&other);
    assert!(!done && words.contains("give each a `runtime_dir` of its own"), "{words}");
    assert!(queue(&site).0);
    assert!(gateway.sigterm().success(), "{}", gateway.log());

    second.restart(&other);
    second.wait_for_log("uplink connected");
}

#[test]
fn a_state_dir_that_cannot_be_written_is_refused_by_name() {
    let site = Site::new();
    let file = site.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    let state = file.join("state").display().to_string();
    site.write_config(&config(1, 1, &state));
    let mut gateway = site.start();
    assert_eq!(gateway.process().wait().code(), Some(1));
    let log = gateway.log();
    assert!(log.contains("cannot make the state directory") && log.contains(&state), "{log}");
}

#[test]
fn a_wrong_configuration_is_refused_with_every_complaint() {
    let site = Site::new();
    site.write_config(
        &config(1, 1, "{state}").replace("every:", "evry:").replace("qos: 2", "qos: 3"),
    );
    let mut gateway = site.start();
    assert_eq!(gateway.process().wait().code(), Some(2));
    let log = gateway.log();
    let told = ["evry", "every", "3", "fieldpost check"];
    assert!(told.iter().all(|word| log.contains(word)), "{log}");
    assert!(!log.contains("gateway started"), "{log}");
}

//! Through a running gateway.

use super::support::{ModbusServer, Site, pty_pair};
use super::{end, report, stderr, units};

#[test]
fn a_bus_of_a_running_gateway_is_scanned_without_freeing_its_port() {
    let line = pty_pair();
    let tty = line.far();
    let tty = tty.to_str().expect("a plain path");
    let _server = ModbusServer::pymodbus_by(&["--rtu", tty, "--also", "3"], &[("holding", 0, 77)]);
    let site = Site::new();
    site.write_config(&format!(
        "gateway: {{ id: g, state_dir: \"{{state}}\" }}\n\
         buses: {{ rs485: {{ modbus-rtu: {}, baud: 9600, parity: none, timeout: 100ms }} }}\n\
         devices: {{ meter: {{ bus: rs485, unit: 1, points: {{ a: {{ holding: 0 }} }} }} }}\n",
        line.near().display()
    ));
    let mut gateway = site.start();
    gateway.wait_for_log("device answered");
    let config = site.config();
    let config = config.to_str().expect("a plain path");
    let through = ["--bus", "rs485", "--config", config, "--units", "1-5"];
    let said = report(&through, 0);
    assert_eq!(units(&said), [(1, "unit"), (3, "unit")]);
    assert_eq!(said["units"][0]["configured_as"], "meter", "{said:#}");
    let yaml = said["yaml"].as_str().expect("text");
    assert!(yaml.contains("unit: 3") && !yaml.contains("unit: 1\n"), "{yaml}");
    assert!(!yaml.contains("buses:"), "{yaml}");

    let output = end(&[&through[..], &["--baud", "19200"]].concat());
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(stderr(&output).contains("a running bus keeps its settings"), "{output:?}");
    let near = line.near();
    let output = end(&[near.to_str().expect("a plain path")]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("fieldpost scan --bus NAME"), "{output:?}");
    let output = end(&["--bus", "elsewhere", "--config", config]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(stderr(&output).contains("rs485"), "{output:?}");

    gateway.sigterm();
    let output = end(&through);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("no gateway runs"), "{output:?}");
}

//! Over TCP.

use super::support::ModbusServer;
use super::{assert_fine, report, units};

#[test]
fn units_behind_a_modbus_gateway_are_found() {
    let server =
        ModbusServer::pymodbus_by(&["--tcp", "--also", "4", "--also", "5"], &[("holding", 0, 77)]);
    let at = format!("127.0.0.1:{}", server.port());
    let said = report(&["--modbus-tcp", &at], 0);
    assert_eq!(units(&said), [(1, "unit"), (4, "unit"), (5, "unit")]);
    assert_eq!(said["settings"][0]["denied"], 244, "{said:#}");
    assert_eq!(said["answers_to_any_unit"], false, "{said:#}");
    assert_fine(said["yaml"].as_str().expect("text"));
}

#[test]
fn units_are_found_by_datagrams() {
    let server = ModbusServer::pymodbus_by(&["--udp", "--also", "3"], &[("holding", 0, 77)]);
    let at = format!("127.0.0.1:{}", server.port());
    let said = report(&["--modbus-udp", &at, "--units", "1-4"], 0);
    assert_eq!(units(&said), [(1, "unit"), (3, "unit")]);
    assert_fine(said["yaml"].as_str().expect("text"));
}

#[test]
fn a_device_that_answers_to_every_id_is_one() {
    let server = ModbusServer::libmodbus_tcp(&[("holding", 0, 77)]);
    let at = format!("127.0.0.1:{}", server.port());
    let said = report(&["--modbus-tcp", &at], 0);
    assert_eq!(said["answers_to_any_unit"], true, "{said:#}");
    let yaml = said["yaml"].as_str().expect("text");
    assert_eq!(yaml.matches("    unit: ").count(), 1, "{yaml}");
    assert_fine(yaml);
}

#[test]
fn rtu_and_ascii_behind_a_converter_are_scanned() {
    for (framer, way) in [("rtu", "--modbus-rtu-over-tcp"), ("ascii", "--modbus-ascii-over-tcp")] {
        let server = ModbusServer::pymodbus_by(
            &["--tcp", "--framer", framer, "--silent", "--also", "4"],
            &[("holding", 0, 77)],
        );
        let at = format!("127.0.0.1:{}", server.port());
        let said = report(&[way, &at, "--units", "1-6"], 0);
        assert_eq!(units(&said), [(1, "unit"), (4, "unit")], "{way}");
        assert_fine(said["yaml"].as_str().expect("text"));
    }
}

#[test]
fn nobody_who_listens_is_told() {
    let port = super::support::free_port().to_string();
    let output = super::end(&["--modbus-tcp", &format!("127.0.0.1:{port}")]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(super::stderr(&output).contains("cannot connect to 127.0.0.1"), "{output:?}");
}

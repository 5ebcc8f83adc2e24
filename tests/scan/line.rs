//! On serial lines.

use super::far_end::{FarEnd, Station};
use super::support::{ModbusServer, Process, pty_pair, wait_until};
use super::{assert_fine, end, report, scan, stderr, stdout, units};

const NAMED: Station = Station::Named(7, 19_200, ["Acme", "Meter X1", "2.0"]);

#[test]
fn units_are_found_at_their_baud_rate_and_their_configuration_can_be_pasted() {
    let line =
        FarEnd::open(&[Station::Device(1, 19_200, 230), NAMED, Station::Device(40, 9_600, 1)]);
    let output = end(&[line.path(), "--parity", "none", "--units", "1-12"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let yaml = stdout(&output);
    assert!(yaml.contains("baud: 19200, parity: none"), "{yaml}");
    assert!(yaml.contains("  unit-1:\n") && yaml.contains("230 when scanned"), "{yaml}");
    assert!(yaml.contains("  acme-meter-x1-7:\n"), "{yaml}");
    assert_fine(&yaml);
    assert!(stderr(&output).contains("2 units found"), "{output:?}");
    let asked = line.heard();
    assert!(asked.iter().all(|(unit, _)| *unit != 0), "nobody is asked by a broadcast");
    assert!(asked.iter().all(|(_, baud)| [9_600, 19_200].contains(baud)), "no setting after that");
}

#[test]
fn a_device_that_a_template_knows_is_written_with_it() {
    let line = FarEnd::open(&[Station::AbbB23(4, 9_600)]);
    let said = report(&[line.path(), "--baud", "9600", "--parity", "none", "--units", "1-5"], 0);
    let yaml = said["yaml"].as_str().expect("text");
    assert!(yaml.contains("  abb-b23-4:\n") && yaml.contains("    template: abb-b23\n"), "{yaml}");
    assert_eq!(said["units"][0]["templates"][0]["sure"], true, "{said:#}");
    assert_fine(yaml);
}

#[test]
fn two_devices_with_one_id_are_named() {
    let line = FarEnd::open(&[Station::Twins(5, 9_600), Station::Device(6, 9_600, 1)]);
    let arguments = [line.path(), "--baud", "9600", "--parity", "none", "--units", "1-8"];
    let said = report(&arguments, 0);
    assert_eq!(units(&said), [(5, "probably two devices"), (6, "unit")]);
    let yaml = said["yaml"].as_str().expect("text");
    assert!(yaml.contains("# unit 5 at 9600 8N1: probably two devices"), "{yaml}");
    assert!(!yaml.contains("unit: 5"), "{yaml}");
    assert_fine(yaml);
}

#[test]
fn two_devices_that_answer_one_after_the_other_are_named() {
    let line = FarEnd::open(&[Station::SlowTwins(5, 9_600), Station::Device(6, 9_600, 1)]);
    let arguments = [line.path(), "--baud", "9600", "--parity", "none", "--units", "1-8"];
    let said = report(&arguments, 0);
    assert_eq!(units(&said), [(5, "probably two devices"), (6, "unit")]);
    assert_eq!(said["units"][0]["answers_twice"], true, "{said:#}");
}

#[test]
fn noise_ends_a_setting_early() {
    let line = FarEnd::open(&[Station::Chatter(9_600), Station::Device(9, 19_200, 1)]);
    let said = report(&[line.path(), "--baud", "9600,19200", "--parity", "none", "-u", "1-16"], 0);
    assert_eq!(units(&said), [(9, "unit")]);
    assert_eq!(said["settings"][0]["left_for_noise"], true, "{said:#}");
    assert!(said["settings"][0]["asked"].as_u64() < Some(16), "{said:#}");
}

#[test]
fn units_at_two_settings_are_found_when_that_is_wanted_and_one_of_them_is_pasted() {
    let line = FarEnd::open(&[Station::Device(1, 9_600, 1), Station::Device(2, 19_200, 1)]);
    let arguments = [line.path(), "--baud", "9600,19200", "--parity", "none", "-u", "1-3"];
    assert_eq!(units(&report(&arguments, 0)), [(1, "unit")]);
    let said = report(&[&arguments[..], &["--all-settings"]].concat(), 0);
    assert_eq!(units(&said), [(1, "unit"), (2, "unit")]);
    let yaml = said["yaml"].as_str().expect("text");
    assert!(yaml.contains("\n    unit: 1\n") && yaml.contains("\n#     unit: 2\n"), "{yaml}");
    assert_fine(yaml);
}

#[test]
fn a_silent_line_brings_what_to_look_at() {
    let line = FarEnd::open(&[]);
    let output = end(&[line.path(), "--baud", "9600", "--parity", "even", "--units", "1-3"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""));
    let said = stderr(&output);
    for words in ["tried unit ids 1 to 3 at 9600 8E1", "A and B swapped", "--ask input"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(line.heard(), [(1, 9_600), (2, 9_600), (3, 9_600)]);
}

#[test]
fn an_adapter_that_hears_itself_alone_is_named() {
    let line = FarEnd::open(&[Station::Echo]);
    let output = end(&[line.path(), "--baud", "9600", "--parity", "even", "--units", "1-3"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("the adapter hears itself"), "{output:?}");
}

#[test]
fn an_adapter_that_hears_itself_hides_nobody() {
    let line = FarEnd::open(&[Station::Echo, Station::Device(2, 9_600, 5)]);
    let said = report(&[line.path(), "--baud", "9600", "--parity", "none", "-u", "1-4"], 0);
    assert_eq!(units(&said), [(2, "unit")]);
}

#[test]
fn a_unit_that_takes_nothing_but_input_registers_is_found_when_these_are_asked_for() {
    let line = FarEnd::open(&[Station::InputOnly(3, 9_600)]);
    let arguments = [line.path(), "--baud", "9600", "--parity", "none", "-u", "1-4"];
    assert_eq!(units(&report(&arguments, 1)), []);
    let said = report(&[&arguments[..], &["--ask", "input"]].concat(), 0);
    assert_eq!(units(&said), [(3, "unit")]);
    assert!(said["yaml"].as_str().expect("text").contains("input-0: { input: 0 }"), "{said:#}");
}

#[test]
fn ctrl_c_ends_it_and_what_was_found_is_printed() {
    let line = FarEnd::open(&[Station::Device(1, 9_600, 1)]);
    let dir = tempfile::tempdir().expect("a directory");
    let command = scan(&[line.path(), "--timeout", "2s"]);
    let mut scan = Process::spawn(command, &dir.path().join("log"));
    scan.wait_for_log("unit 1 at 9600 8N1");
    wait_until("the next id is asked", || line.heard().iter().any(|(unit, _)| *unit == 2));
    scan.signal("INT");
    assert_eq!(scan.wait().code(), Some(0));
    let log = scan.own_log();
    assert!(log.contains("  unit-1:\n"), "{log}");
    assert!(log.contains("stopped before the end"), "{log}");
    assert!(log.contains("# Not everything was asked"), "{log}");
}

#[test]
fn the_devices_of_pymodbus_are_found() {
    let line = pty_pair();
    let more = ["--also", "3", "--also", "9"];
    let tty = line.far();
    let tty = tty.to_str().expect("a plain path");
    let rtu = [&["--rtu", tty][..], &more].concat();
    let _server = ModbusServer::pymodbus_by(&rtu, &[("holding", 0, 77)]);
    let near = line.near();
    let port = near.to_str().expect("a plain path");
    let said = report(&[port, "--baud", "9600", "--parity", "none", "--units", "1-10"], 0);
    assert_eq!(units(&said), [(1, "unit"), (3, "unit"), (9, "unit")]);
    assert_eq!(said["units"][0]["vendor"], "Peer", "{said:#}");
    assert_fine(said["yaml"].as_str().expect("text"));
}

#[test]
fn a_port_that_is_not_there_is_told_with_those_that_are() {
    let output = end(&["/dev/ttyNOWHERE0"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("/dev/ttyNOWHERE0 does not exist"), "{output:?}");
}

#[test]
fn what_cannot_be_meant_is_wrong_usage() {
    for arguments in [
        &[][..],
        &["/dev/ttyUSB0", "--units", "0-3"],
        &["/dev/ttyUSB0", "--units", "9-3"],
        &["/dev/ttyUSB0", "--modbus-tcp", "192.0.2.1"],
        &["--modbus-tcp", "192.0.2.1", "--baud", "9600"],
        &["--modbus-rtu-over-tcp", "192.0.2.1"],
        &["ttyUSB0"],
        &["/dev/ttyUSB0", "--units", "1-255"],
    ] {
        let output = end(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    }
}

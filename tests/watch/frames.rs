//! What passed on a bus: as text, as JSON, and in a capture that tshark reads.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::stage::{ask, device, told};
use crate::support::{ModbusServer, Process, Site, program, pty_pair, wait_until};

/// A site whose bus `rs485` is a line at `tty`, with one device of unit 3.
fn on_line(site: &Site, tty: &Path) {
    site.write_config(&format!(
        "gateway: {{ id: gw, state_dir: \"{{state}}\" }}
buses: {{ rs485: {{ modbus-rtu: {}, baud: 19200, timeout: 300ms }} }}
devices: {{ meter: {{ bus: rs485, unit: 3, every: 50ms, points: {{ x: {{ holding: 100 }}, y: {{ holding: 101 }} }} }} }}
",
        tty.display()
    ));
}

/// A site whose bus `plant` is reached as `port` says, with one device of unit 1.
fn plant(site: &Site, port: &str) {
    site.write_config(&format!(
        "gateway: {{ id: gw, state_dir: \"{{state}}\" }}
buses: {{ plant: {{ {port} }} }}
devices: {{ boiler: {{ bus: plant, unit: 1, every: 50ms, points: {{ x: {{ holding: 1 }}, y: {{ holding: 2 }} }} }} }}
"
    ));
}

/// What tshark says of each packet of a capture: `fields`, then whatever it finds wrong. Comments of ours are no complaint.
fn dissect(path: &Path, fields: &[&str]) -> Vec<Vec<String>> {
    let mut tshark: Command = program("tshark");
    tshark.arg("-r").arg(path).args(["-o", "mbrtu.crc_verification:TRUE", "-T", "fields"]);
    tshark.args(["-E", "separator=|", "-E", "aggregator=;"]);
    for field in fields.iter().chain(&["_ws.malformed", "_ws.expert.severity"]) {
        tshark.args(["-e", field]);
    }
    let done = tshark.output().expect("tshark runs");
    assert!(done.status.success(), "{done:?}");
    let text = String::from_utf8(done.stdout).expect("text");
    text.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect()
}

/// Takes the capture of a bus into a file and has tshark read it.
#[track_caller]
fn captured(site: &Site, bus: &str, fields: &[&str]) -> Vec<Vec<String>> {
    let path = site.path().join("frames.pcapng");
    let file = path.to_str().expect("a plain path");
    told(site, &["frames", bus, "--pcap", file]);
    dissect(&path, fields)
}

#[test]
fn tshark_reads_units_functions_and_crc_status_of_a_serial_line_and_our_words_beside_them() {
    let (line, site) = (pty_pair(), Site::new());
    device(&line.far(), |request| match request.number % 5 {
        1 => {
            let mut damaged = request.right();
            let last = damaged.len() - 1;
            damaged[last] ^= 1;
            damaged
        }
        2 => request.refusal(6),
        _ => request.right(),
    });
    on_line(&site, &line.near());
    let mut gateway = site.start();
    gateway.wait_for_log("device answered");
    let damaged = "CRC wrong: ";
    wait_until("a damaged and a refused answer pass", || {
        let text = told(&site, &["frames", "rs485"]);
        text.contains(damaged) && text.contains("(exception 6: ")
    });
    let text = told(&site, &["frames", "rs485"]);
    assert!(text.starts_with("rs485, Modbus RTU: "), "{text}");
    assert!(
        text.contains("-> 03 03 00 64 00 02 84 36         unit 3 read holding 100+2\n"),
        "{text}"
    );
    assert!(text.contains("unit 3 answers with 2 registers, after "), "{text}");
    assert!(
        text.contains(
            "!! unit 3 holding 100..=101: the answer is of the right length, but damaged"
        )
    );

    let fields = [
        "frame.packet_flags_direction",
        "mbrtu.unit_id",
        "modbus.func_code",
        "mbrtu.crc16.status",
        "modbus.exception_code",
        "frame.comment",
    ];
    let packets = captured(&site, "rs485", &fields);
    let (mut sound, mut wrong, mut refused) = (0, 0, 0);
    for packet in &packets {
        let [direction, unit, function, status, exception, comment, malformed, _] = &packet[..]
        else {
            panic!("{packet:?}");
        };
        assert_eq!(
            (unit.as_str(), function.as_str(), malformed.as_str()),
            ("3", "3", ""),
            "{packet:?}"
        );
        if direction == "0x00000002" {
            assert!(comment.starts_with("unit 3 read holding 100+"), "{packet:?}");
        }
        match status.as_str() {
            "1" => sound += 1,
            "0" => {
                wrong += 1;
                assert!(comment.contains(damaged), "{packet:?}");
            }
            _ => panic!("the CRC was not looked at: {packet:?}"),
        }
        if exception == "6" {
            refused += 1;
            assert!(comment.contains("the device is busy"), "{packet:?}");
        }
    }
    assert!(sound > 4 && wrong > 0 && refused > 0, "{packets:?}");
    assert!(gateway.sigterm().success());
}

#[test]
fn tshark_finds_questions_and_answers_of_modbus_tcp_and_udp_without_a_complaint() {
    let tcp = ModbusServer::pymodbus_tcp(&[("holding", 1, 5), ("holding", 2, 6)], None);
    let udp = ModbusServer::pymodbus_by(&["--udp"], &[("holding", 1, 5), ("holding", 2, 6)]);
    let (tcp, udp) = (format!("modbus-tcp: \"127.0.0.1:{}\"", tcp.port()), udp.port());
    let ways = [(tcp, "mbtcp"), (format!("modbus-udp: \"127.0.0.1:{udp}\""), "mbudp")];
    for (port, protocol) in ways {
        let site = Site::new();
        plant(&site, &port);
        let mut gateway = site.start();
        gateway.wait_for_log("device answered");
        wait_until("several answers pass", || {
            told(&site, &["frames", "plant"]).matches("answers with 2 registers").count() > 3
        });
        let fields =
            ["frame.protocols", "mbtcp.unit_id", "modbus.func_code", "modbus.regval_uint16"];
        let packets = captured(&site, "plant", &fields);
        assert!(packets.len() > 6, "{packets:?}");
        for packet in &packets {
            let [protocols, unit, function, registers, malformed, complaints] = &packet[..] else {
                panic!("{packet:?}");
            };
            assert!(protocols.contains(protocol) || protocols.contains("mbtcp"), "{packet:?}");
            assert_eq!((unit.as_str(), function.as_str()), ("1", "3"), "{packet:?}");
            assert!(["", "5;6"].contains(&registers.as_str()), "{packet:?}");
            assert_eq!(malformed, "");
            // Our words are comments; whatever is worse is a complaint.
            let ours = |severity: &str| ["", "1048576"].contains(&severity);
            assert!(complaints.split(';').all(ours), "{packet:?}");
        }
        assert!(packets.iter().any(|packet| packet[3] == "5;6"), "{packets:?}");
        assert!(gateway.sigterm().success());
    }
}

#[test]
fn what_is_no_frame_of_modbus_rtu_is_shown_and_captured_as_text_or_data() {
    let (line, site) = (pty_pair(), Site::new());
    site.write_config(&format!(
        "gateway: {{ id: gw, state_dir: \"{{state}}\" }}
buses: {{ scale: {{ line: {}, baud: 9600, frame: {{ ends_with: \"\\r\\n\" }} }} }}
devices:
  weigher: {{ bus: scale, points: {{ weight: {{ match: '^ST,(?<value>[\\d.]+)kg', type: f64 }} }} }}
",
        line.near().display()
    ));
    let mut gateway = site.start();
    gateway.wait_for_log("line started");
    let mut far = OpenOptions::new().write(true).open(line.far()).expect("the far port");
    wait_until("what was said is shown", || {
        far.write_all(b"ST,12.5kg\r\n").expect("the line takes it");
        far.write_all(b"US,?\r\n").expect("the line takes it");
        let text = told(&site, &["frames", "scale"]);
        text.contains("<- ST,12.5kg\\r\\n") && text.contains("!! this frame fits no point")
    });
    let packets = captured(&site, "scale", &["frame.protocols", "frame.interface_name"]);
    assert!(!packets.is_empty());
    for packet in &packets {
        assert_eq!(packet[..3], ["exported_pdu:data-text-lines", "scale", ""], "{packet:?}");
    }
    assert!(gateway.sigterm().success());
}

#[test]
fn entries_are_lines_of_json_and_follow_one_another() {
    let server = ModbusServer::pymodbus_tcp(&[("holding", 1, 5), ("holding", 2, 6)], None);
    let site = Site::new();
    plant(&site, &format!("modbus-tcp: \"127.0.0.1:{}\"", server.port()));
    let mut gateway = site.start();
    gateway.wait_for_log("device answered");
    let mut follow = Command::new(env!("CARGO_BIN_EXE_fieldpost"));
    follow.args(["frames", "plant", "--json", "--follow", "-c"]).arg(site.config());
    let follow = Process::spawn(follow, &site.path().join("follow.log"));
    wait_until("frames are shown as they pass", || follow.log().lines().count() > 40);
    let entries: Vec<Value> = follow
        .log()
        .lines()
        .take(40)
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    drop(follow);
    assert_eq!(entries[0]["kind"], "opened");
    let number = |entry: &Value| entry["number"].as_u64().expect("a number");
    for pair in entries.windows(2) {
        assert!(number(&pair[0]) <= number(&pair[1]), "{pair:?}");
        assert!(pair[0]["mono_us"].as_u64() <= pair[1]["mono_us"].as_u64(), "{pair:?}");
    }
    let hexes = entries.iter().filter(|entry| entry["kind"] == "sent");
    assert!(hexes.clone().count() > 10);
    for sent in hexes {
        assert!(sent["hex"].as_str().expect("text").ends_with("010300010002"), "{sent}");
    }
    assert!(gateway.sigterm().success());
}

#[test]
fn a_bus_that_is_not_there_and_a_gateway_that_does_not_run_are_told() {
    let site = Site::new();
    plant(&site, "modbus-tcp: \"127.0.0.1:1\"");
    let done = ask(&site, &["frames", "plant"]);
    assert_eq!(done.status.code(), Some(1));
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains("no gateway runs"), "{said}");
    let mut gateway = site.start();
    gateway.wait_for_log("bus lost");
    let done = ask(&site, &["frames", "rs485"]);
    assert_eq!(done.status.code(), Some(1));
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains("the gateway has no bus `rs485`; it has plant"), "{said}");
    let text = told(&site, &["frames", "plant"]);
    assert!(text.contains("== lost: cannot connect to 127.0.0.1:1: refused"), "{text}");
    assert!(gateway.sigterm().success());
}

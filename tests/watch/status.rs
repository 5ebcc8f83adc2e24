//! How a gateway is doing: what it says of its port, its devices and the whole bus when one is sick in each way.

use serde_json::Value;

use crate::stage::{ask, device, told};
use crate::support::{ModbusServer, Mosquitto, Site, pty_pair, wait_until};

fn status(site: &Site) -> Value {
    serde_json::from_str(&told(site, &["status", "--json"])).expect("JSON")
}

/// A device of the first bus.
fn of<'a>(status: &'a Value, name: &str) -> &'a Value {
    let devices = status["buses"][0]["devices"].as_array().expect("devices");
    devices.iter().find(|device| device["name"] == name).expect("it is there")
}

/// A gateway on one line with these devices, `name: unit`, and these lines of configuration behind them.
fn on_line(site: &Site, tty: &std::path::Path, units: &[(&str, u8)], more: &str) {
    let devices: String = units
        .iter()
        .map(|(name, unit)| {
            format!("  {name}: {{ bus: rs485, unit: {unit}, every: 20ms, points: {{ x: {{ holding: 1 }} }} }}\n")
        })
        .collect();
    site.write_config(&format!(
        "gateway: {{ id: gw, state_dir: \"{{state}}\" }}
buses: {{ rs485: {{ modbus-rtu: {}, baud: 19200, timeout: 100ms }} }}
devices:
{devices}{more}",
        tty.display()
    ));
}

#[test]
fn each_device_is_told_by_how_it_is_and_what_went_wrong_and_misses_are_counted() {
    let (line, site, broker) = (pty_pair(), Site::new(), Mosquitto::start());
    device(&line.far(), |request| match request.unit {
        1 => request.right(),
        2 => {
            let mut damaged = request.right();
            damaged[4] ^= 0x40;
            damaged
        }
        3 => request.refusal(4),
        _ => Vec::new(),
    });
    let units = [("well", 1), ("garbled", 2), ("refusing", 3), ("silent", 4)];
    let uplink = format!("uplinks: {{ far: {{ url: \"{}\" }} }}\n", broker.url());
    on_line(&site, &line.near(), &units, &uplink);
    let mut gateway = site.start();
    gateway.wait_for_log("uplink connected");
    let states = |status: &Value| units.map(|(name, _)| of(status, name)["state"].clone());
    wait_until("everybody is known, and reads were left out", || {
        let status = status(&site);
        let missed = |group: &Value| group["missed"].as_u64().unwrap_or(0);
        states(&status) == ["online", "garbling", "refusing", "silent"]
            && of(&status, "well")["groups"]
                .as_array()
                .expect("groups")
                .iter()
                .map(missed)
                .sum::<u64>()
                > 0
            && ["only garbled garbles", "silent never answered"]
                .iter()
                .all(|hint| status["buses"][0]["hints"].to_string().contains(hint))
    });
    let status = status(&site);
    let bus = &status["buses"][0];
    assert_eq!((&bus["name"], &bus["open"]), (&"rs485".into(), &true.into()));
    let port = format!("Modbus RTU at {}, 19200 baud, 8E1", line.near().display());
    assert_eq!(bus["port"], port);
    let utilisation = bus["utilisation"].as_f64().expect("a number");
    assert!(utilisation > 0.0 && utilisation <= 1.0, "{bus:#}");
    assert!(bus["per_second"].as_f64() > Some(0.0), "{bus:#}");
    let count = |of: &Value, kind: &str| of["errors"][kind].as_u64().unwrap_or(0);
    assert!(count(of(&status, "garbled"), "checksum") > 0, "{bus:#}");
    assert!(count(of(&status, "refusing"), "refused") > 0, "{bus:#}");
    assert!(count(of(&status, "silent"), "no_answer") > 0, "{bus:#}");
    assert_eq!(of(&status, "well")["errors"], serde_json::json!({}));
    assert_eq!(of(&status, "well")["quality"], 1.0);
    assert_eq!(of(&status, "silent")["quality"], 0.0);
    let last = |name| of(&status, name)["last_error"].as_str().expect("words").to_owned();
    assert!(last("silent").starts_with("no answer (is the device on and wired"));
    assert!(last("garbled").contains("CRC is 0x"), "{}", last("garbled"));
    assert!(last("refusing").contains("(exception 4: "), "{}", last("refusing"));
    let hints = bus["hints"].to_string();
    assert!(hints.contains("only garbled garbles its answers"), "{hints}");
    assert!(hints.contains("silent never answered while others on this bus do"), "{hints}");
    assert_eq!(status["queue"]["sessions"][0]["connected"], true, "{status:#}");
    let text = told(&site, &["status"]);
    assert!(text.starts_with("gw, fieldpost "), "{text}");
    assert!(text.contains("GARBLING") && text.contains("uplink far: connected"), "{text}");
    assert!(gateway.sigterm().success());
}

#[test]
fn a_line_on_which_everything_is_wrong_in_one_way_is_told_its_cause() {
    type Answer = fn(&crate::stage::Request) -> Vec<u8>;
    let ways: [(Answer, &str); 3] = [
        (|_| vec![0xf8, 0x80, 0x78, 0x00, 0xfe, 0x80], "most likely the baud rate is wrong"),
        (|_| Vec::new(), "nobody on this line ever answered"),
        (
            |request| {
                let mut damaged = request.right();
                damaged[3] ^= 0x80;
                damaged
            },
            "most likely parity or stop bits",
        ),
    ];
    for (answer, cause) in ways {
        let (line, site) = (pty_pair(), Site::new());
        device(&line.far(), answer);
        on_line(&site, &line.near(), &[("a", 1), ("b", 2)], "");
        let mut gateway = site.start();
        wait_until(cause, || {
            let done = ask(&site, &["status"]);
            String::from_utf8_lossy(&done.stdout).contains(cause)
        });
        assert!(gateway.sigterm().success());
    }
}

#[test]
fn a_bus_that_is_lost_says_why_and_a_gateway_that_does_not_run_is_told() {
    let mut server = ModbusServer::pymodbus_tcp(&[("holding", 1, 5)], None);
    let site = Site::new();
    site.write_config(&format!(
        "gateway: {{ id: gw, state_dir: \"{{state}}\" }}
buses: {{ plant: {{ modbus-tcp: \"127.0.0.1:{}\", timeout: 200ms }} }}
devices: {{ boiler: {{ bus: plant, unit: 1, every: 50ms, points: {{ x: {{ holding: 1 }} }} }} }}
",
        server.port()
    ));
    let done = ask(&site, &["status"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stderr).contains("no gateway runs"), "{done:?}");
    let mut gateway = site.start();
    gateway.wait_for_log("device answered");
    assert_eq!(status(&site)["buses"][0]["open"], true);
    server.kill();
    wait_until("the bus is lost", || status(&site)["buses"][0]["open"] == false);
    let status = status(&site);
    let reason = status["buses"][0]["reason"].as_str().expect("words");
    assert!(reason.contains("refused (nothing listens there"), "{reason}");
    assert_eq!(of(&status, "boiler")["state"], "silent");
    let text = told(&site, &["status"]);
    assert!(text.contains("  LOST for ") && text.contains("refused"), "{text}");
    assert!(gateway.sigterm().success());
}

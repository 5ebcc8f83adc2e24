//! TLS with certificates that fit and that do not, and passwords that are right and wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::{self, Authority, Fieldpost, ModbusServer, Mosquitto, Site, Subscriber};

const PASSWORD: &str = "correct horse battery";

/// A site whose gateway reads one point and sends it to `url`.
fn site(device: &ModbusServer, url: &str, uplink: &str) -> Site {
    let site = Site::new();
    site.write_config(&format!(
        "gateway: {{ id: gw, state_dir: \"{{state}}\" }}
buses: {{ plant: {{ modbus-tcp: \"127.0.0.1:{}\" }} }}
devices:
  boiler: {{ bus: plant, unit: 1, every: 100ms, points: {{ flow: {{ holding: 1 }} }} }}
uplinks: {{ far: {{ url: \"{url}\", qos: 2{uplink} }} }}
",
        device.port(),
    ));
    site
}

fn ca(path: &Path) -> String {
    format!(", ca: \"{}\"", path.display())
}

/// Waits for `words` in the log of a gateway that must never connect, and stops it.
#[track_caller]
fn assert_refused(mut gateway: Fieldpost, broker: &Mosquitto, words: &[&str]) {
    gateway.wait_for_log("uplink unreachable");
    let log = gateway.log();
    let line = log.lines().find(|line| line.contains("uplink unreachable")).unwrap();
    println!("{line}");
    assert!(words.iter().all(|word| line.contains(word)), "{words:?}: {line}");
    assert!(gateway.sigterm().success(), "{}", gateway.log());
    assert!(!broker.log().contains("PUBLISH from gw"), "{}", broker.log());
}

#[test]
fn tls_works_with_the_right_authority_and_name_in_both_versions() {
    let device = ModbusServer::pymodbus_tcp(&[("holding", 1, 5)], None);
    let authority = Authority::new("ours");
    let broker = authority.broker("127.0.0.1", "");
    let url = format!("mqtts://127.0.0.1:{}", broker.port());
    let authority_path = authority.ca().display().to_string();
    let trust = ["--cafile", &authority_path, "-q", "2"];
    let far = support::mosquitto_sub(broker.port(), "gw/boiler/flow", &trust);
    for version in ["3.1.1", "5"] {
        let uplink = format!("{}, version: {version}", ca(&authority.ca()));
        let site = site(&device, &url, &uplink);
        let mut gateway = site.start();
        far.wait_for(far.received().len() + 3);
        assert!(gateway.sigterm().success(), "{}", gateway.log());
    }
    assert!(far.received().iter().all(|got| got.payload.starts_with("{\"value\":5,")));
}

#[test]
fn an_authority_that_is_not_trusted_a_wrong_name_and_a_missing_file_are_refused_by_name() {
    let device = ModbusServer::pymodbus_tcp(&[("holding", 1, 5)], None);
    let (authority, stranger) = (Authority::new("ours"), Authority::new("theirs"));
    let broker = authority.broker("127.0.0.1", "");
    let url = format!("mqtts://127.0.0.1:{}", broker.port());

    let strange = site(&device, &url, &ca(&stranger.ca()));
    assert_refused(strange.start(), &broker, &["TLS", "certificate", "UnknownIssuer"]);

    let missing = site(&device, &url, &ca(Path::new("/nowhere/ca.pem")));
    assert_refused(missing.start(), &broker, &["/nowhere/ca.pem"]);

    let other = authority.broker("broker.example.com", "");
    let url = format!("mqtts://127.0.0.1:{}", other.port());
    let misnamed = site(&device, &url, &ca(&authority.ca()));
    assert_refused(misnamed.start(), &other, &["TLS", "certificate", "not valid for name"]);

    let plain = Mosquitto::start();
    let url = format!("mqtts://127.0.0.1:{}", plain.port());
    let no_tls = site(&device, &url, &ca(&authority.ca()));
    assert_refused(no_tls.start(), &plain, &["TLS"]);
}

#[test]
fn a_client_certificate_is_shown_where_it_is_asked_for_and_missed_by_name() {
    let device = ModbusServer::pymodbus_tcp(&[("holding", 1, 5)], None);
    let authority = Authority::new("ours");
    let broker = authority.broker("127.0.0.1", "require_certificate true\n");
    let url = format!("mqtts://127.0.0.1:{}", broker.port());

    let without = site(&device, &url, &ca(&authority.ca()));
    assert_refused(without.start(), &broker, &["CertificateRequired"]);

    let (certificate, key) = authority.sign("gw");
    let uplink = format!(
        "{}, certificate: \"{}\", key: \"{}\"",
        ca(&authority.ca()),
        certificate.display(),
        key.display()
    );
    let site = site(&device, &url, &uplink);
    let mut gateway = site.start();
    gateway.wait_for_log("uplink connected");
    assert!(gateway.sigterm().success(), "{}", gateway.log());
    let log = gateway.log();
    assert!(log.contains("gateway stopped queued=0"), "{log}");
}

#[test]
fn a_password_is_checked_by_the_broker_and_never_stands_in_the_log() {
    let device = ModbusServer::pymodbus_tcp(&[("holding", 1, 5)], None);
    let dir = tempfile::tempdir().unwrap();
    let users = dir.path().join("users");
    let made = Command::new("mosquitto_passwd")
        .args(["-b", "-c", users.to_str().unwrap(), "pump-house", PASSWORD])
        .status()
        .expect("mosquitto_passwd runs");
    assert!(made.success());
    let broker = Mosquitto::start_with(&format!("password_file {}\n", users.display()));
    let secret = |text: &str| {
        let path = dir.path().join("password");
        fs::write(&path, format!("{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let right = secret(PASSWORD);
    let uplink = |version: &str| {
        format!(
            ", version: {version}, username: pump-house, password: {{ file: \"{}\" }}",
            right.display()
        )
    };
    for version in ["3.1.1", "5"] {
        secret(PASSWORD);
        let site = site(&device, &broker.url(), &uplink(version)).with_env("RUST_LOG", "trace");
        let login = ["-u", "pump-house", "-P", PASSWORD, "-q", "2"];
        let far: Subscriber = support::mosquitto_sub(broker.port(), "gw/boiler/flow", &login);
        let mut gateway = site.start();
        far.wait_for(3);
        assert!(gateway.sigterm().success(), "{}", gateway.log());
        let log = gateway.log();
        assert!(log.contains("TRACE"), "{log}");
        assert!(!log.contains(PASSWORD), "{log}");

        let wrong = "wrong horse battery";
        secret(wrong);
        let mut gateway = site.start();
        gateway.wait_for_log("uplink unreachable");
        let log = gateway.log();
        let line = log.lines().find(|line| line.contains("uplink unreachable")).unwrap();
        println!("{line}");
        assert!(line.contains("check `username` and `password`"), "{line}");
        assert!(!log.contains(wrong) && !log.contains(PASSWORD), "{log}");
    }
}
